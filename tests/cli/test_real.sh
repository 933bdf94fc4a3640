#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# mmctl against a real mmd and real heaps: those of rpc_app, which does what its words say. Numbers that differ from run
# to run are masked before comparing: pids, addresses, ages.
. "$(dirname "$0")/lib.sh"
export XDG_RUNTIME_DIR=$T
mkdir -p "$T/config/memapi"
printf '%s\n' 'memory.manager = fm' '[leaks]' 'samples = 2' 'interval = 1' >"$T/config/memapi/mmd.conf"
apps=()

mmd_start() {
	"$MMD" 2>"$T/mmd.log" &
	mmd=$!
	apps+=($mmd)
	disown
	for _ in $(seq 100); do
		"$MMCTL" -t 1 ping >/dev/null 2>&1 && return
		sleep 0.05
	done
	bad "mmd does not start: $(cat "$T/mmd.log")"
	exit 1
}

# A program that stays until the end of the test; its pid in $app.
app_start() {
	local ready
	mkfifo "$T/pipe.$#.${#apps[@]}"
	exec {hold}<>"$T/pipe.$#.${#apps[@]}"
	rm -f "$T/app.out"	# the one before was ready, too
	"$APP" "$@" <"$T/pipe.$#.${#apps[@]}" >"$T/app.out" 2>"$T/app.err" &
	app=$!
	apps+=($app)
	disown
	for _ in $(seq 100); do
		grep -qsx "ready $app" "$T/app.out" && return
		sleep 0.05
	done
	bad "the program does not get ready: $(cat "$T/app.out" "$T/app.err")"
}
trap 'kill -9 "${apps[@]}" 2>/dev/null; stop; rm -rf "$T"' EXIT

run() {
	step="mmctl $*"
	"$MMCTL" "$@" >"$T/out" 2>"$T/err"
	code=$?
}

holds() {	# CODE REGEX...: the exit code, and a line for each
	local want=$1 regex
	shift
	[ "$code" = "$want" ] || bad "exit code $code, not $want; stderr: $(cat "$T/err")"
	for regex; do
		grep -qE -- "$regex" "$T/out" || bad "no line /$regex/ in: $(head -30 "$T/out")"
	done
}

mmd_start
run status
holds 0 "^daemon   mmd [0-9.]+, pid $mmd, up [0-9]" "^socket   $T/mmd.sock\$" "^config   $T/config/memapi/mmd.conf\$" \
	'^pkg     fm   fm             file$' "^pkg:$mmd:1 +live +fm"

MEMAPI_TRACK=off app_start pkg=7,100 shm=5,200 fail	# also where a build tracks by default
run stats
holds 0 "^pkg:$app:1 +rpc_app pkg=7,100 s… +fm +live +[0-9]+ .* 7 +[0-9]+ +0  off\$" '^shm:.* +fm +live' '^total '
run stats pkg --pid "$app" -o csv
holds 0 "^pkg:$app:1,pkg,,$app,"
[ "$(wc -l <"$T/out")" = 2 ] || bad 'not one row'
run dump pkg --pid "$app" --used -o ndjson
holds 0 '^\{"pool":"pkg:'
[ "$(wc -l <"$T/out")" = 7 ] || bad "not 7 fragments"
run dump shm --owner "$app" --used --min-size 200 -n 3 -o csv
holds 0 ',used,'
[ "$(wc -l <"$T/out")" = 4 ] || bad 'not 3 fragments'
run dump shm --used --min-size 1G
holds 0
says 'no such fragment'
run summary shm
holds 0 '^ *[0-9]+ +5 +[0-9]+ +[0-9]+ +.*app\.c|^ *[0-9]+ +5 .*' ' total$'
run check
holds 0 "^pkg:$app:1 +ok"
run failures
holds 0 "^[0-9]{10}  shm:.* +$app +35184372088832 .* (limit|exhausted) "

# Tracking on and off.
run track on pkg --pid "$app"
holds 0 "^pkg:$app:1  sites\$"
run track off --pid "$app"
holds 0 "^pkg:$app:1  off\$"
run track off shm
holds 1
says 'always has its ledger'

# What a dead program leaves behind.
run leaks --evidence owner_dead
holds 0
app_start shm=1,64 fork
run leaks shm
holds 10 '^owner_dead +shm:.* +10 +[0-9]+ '
run dump shm --leaks
holds 10 '^owner_dead .*\(dead\)'
[ "$(grep -c ^owner_dead "$T/out")" = 10 ] || bad 'not 10 fragments'
(MEMAPI_TRACK=sites "$APP" pkg=3,50 crash >/dev/null; true) 2>/dev/null
run leaks --pool default	# a domain that has no such pool is no error
holds 0
run leaks --pid "$app" --evidence owner_dead
holds 10 '^owner_dead +shm:.* +10 +[0-9]+ '
run leaks --pool nosuch
holds 1
says 'No such pool'
run leaks pkg -o ndjson
holds 10 '"evidence":"at_exit".*"count":3'
run dump pkg --leaks -o json
holds 10 '"evidence":\["at_exit"\]'
python3 -c 'import json,sys; assert len(json.load(open(sys.argv[1]))["fragments"]) == 3' "$T/out" || bad 'no JSON of 3 fragments'

# Of samples: what is told is marked as estimated, and a leak is named by its stack.
MEMAPI_TRACK=sampled MEMAPI_SAMPLE=4K app_start pkg=5000,100 sites=1
run stats pkg --pid "$app"
holds 0 "^pkg:$app:1 .* sampled\$"
run summary pkg --pid "$app"
holds 0 '^ *~[0-9]+ +~[0-9]+ .*app\.c:[0-9]+ many < main < ' ' total$'
says '~: estimated from allocations that were sampled'
grep -q '+0x' "$T/out" && bad "a stack's number as an address: $(cat "$T/out")"
run dump pkg --pid "$app" --used --site many -n 1
holds 0 '^POOL +ADDRESS +SIZE +REQUESTED +WEIGHT' "^pkg:$app:1 .* [0-9]+ +100 +[0-9]+\.?[0-9]* +used .*app\.c:[0-9]+ many < main < "
run track off pkg --pid "$app"
holds 0 "^pkg:$app:1  off\$"
run track sampled pkg --pid "$app"
holds 0 "^pkg:$app:1  sampled\$"
run track sampled shm
holds 1
says 'always has its ledger'
kill -9 "$app"
run leaks pkg --pid "$app"
holds 10 "^at_exit +pkg:$app:1 +~[0-9]+ +~[0-9]+ .*app\.c:[0-9]+ many < main < "
says '~: estimated from allocations that were sampled'

# A leak that grows under the eyes of mmd.
app_start grow
for _ in $(seq 20); do
	run leaks shm --evidence growing
	[ "$code" = 10 ] && break
	sleep 0.5
done
holds 10 '^growing +shm:' '^GROWING +RISES +EVERY +SITE +BYTES OVER TIME' '  2      1  .* [0-9]+ [0-9]+ [0-9]+$'
kill -9 "$app"

# The choice, and the restart that makes it true.
run manager list
holds 0 '^NAME +DEFAULT +DOMAINS' '^fm '
run manager set fm --domain shm
holds 0 '^pkg     fm   fm             file' '^shm     fm   fm             choice'
run manager set nosuch
holds 1
says 'allowed:'
run restart
holds 0 "^old  $mmd +[0-9]" "^new  $mmd +[0-9]"
awk '/^old/ { old = $3 } /^new/ { new = $3 } END { exit !(new < old) }' "$T/out" || bad "not started anew: $(cat "$T/out")"
run manager get shm
holds 0 '^shm     fm   fm             choice'
run manager reset
holds 0 '^shm     fm   fm             file'

# Pools.
run pool list
holds 0 '^default  shm:default:[0-9]+  live '
run pool drop nosuch
holds 1
says 'No such pool'
run dump pkg --pool pkg:1:1
holds 1
run call rpc.discover
holds 0 '^\{"schema":'
run call stats '["shm"]'
holds 0 '"domain":"shm"'
run call stats '{"domain":"heap"}'
holds 1
says 'allowed: pkg shm'

# Many pages in little memory.
app_start shm=60000,16
id=$("$MMCTL" -o csv stats shm | awk -F, -v pid="$app" '$4 == pid { print $1 }')
run dump shm --pool "$id" --used -o ndjson
holds 0
[ "$(wc -l <"$T/out")" = 60000 ] || bad "$(wc -l <"$T/out") fragments, not 60000"
if [ -z "$SANITIZED" ]; then
	for format in table json csv; do
		step="dump -o $format in 40 MiB"
		(ulimit -v 40960 && exec "$MMCTL" dump shm --used -o $format) >/dev/null 2>"$T/err" || bad "$(cat "$T/err")"
	done
fi

# Who reads only the head of it is no error of ours.
step='dump | head'
"$MMCTL" dump shm 2>"$T/err" | head -1 >/dev/null
says nothing

kill "$mmd"
for _ in $(seq 50); do
	run ping
	[ "$code" = 3 ] && break
	sleep 0.1
done
holds 3
says "no daemon on $T/mmd.sock"
exit $failed
