#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Command lines, right and wrong; nothing of the wrong ones reaches a daemon. Then: no daemon, a deaf one, denied.
. "$(dirname "$0")/lib.sh"

wrong() {	# TEXT WORDS…
	local text=$1
	shift
	run "$@"
	gives 2 </dev/null
	says "$text"
}

serve <<'END'
stats {"pools":[],"total":{}}
END
wrong 'a verb is missing'
wrong 'no verb `stat`; did you mean `status`?' stat
wrong 'no verb `lekas`; did you mean `leaks`?' lekas
wrong 'no verb `frobnicate`' frobnicate
wrong 'manager: after it comes one of: list, get, set, reset' manager
wrong 'manager frob: after it comes one of: list, get, set, reset' manager frob
wrong 'dump: pkg|shm is missing' dump
wrong '`heap` is not pkg|shm' dump heap
wrong 'dump: one word too many: `shm`' dump pkg shm
wrong '--free: the state is used already' dump pkg --used --free
wrong '--min-size: `4X` is not what is allowed' dump pkg --min-size 4X
wrong '--min-size: `-1` is not what is allowed' dump pkg --min-size=-1
wrong '--min-size: `9223372036854775807K` is not' dump pkg --min-size 9223372036854775807K
wrong '--older-than: `soon` is not what is allowed' dump pkg --older-than soon
wrong '--older-than: `inf` is not what is allowed' dump pkg --older-than inf
wrong '--pid: `0x10` is not what is allowed' dump pkg --pid 0x10
wrong '--limit: `0` is no whole number from 1 on' dump pkg -n 0
wrong '--by: `colour` is not what is allowed: site module size owner' summary pkg --by colour
wrong '--evidence: `rumour` is not what is allowed' leaks --evidence rumour
wrong '--pid: an argument is missing' dump pkg --pid
wrong 'unknown or ambiguous option --leaks' stats --leaks
wrong 'unknown option -x' stats -x
wrong '--used takes no argument' dump pkg --used=yes
wrong '--output: `yaml` is none of table, json, csv, ndjson' stats -o yaml
wrong '--timeout: `0` is no number of seconds' stats -t 0
wrong '--timeout: `nan` is no number of seconds' stats -t nan
wrong '`maybe` is not off|on|sites|stacks|sampled' track maybe
wrong 'pool drop: NAME is missing' pool drop
wrong 'shm: the domain is pkg already' manager set fm shm --domain pkg
wrong 'call: the parameters are no JSON object or array: {' call stats '{'
wrong 'call: the parameters are no JSON object or array: 7' call stats 7
wrong 'there is no csv' call stats -o csv
wrong 'not about free ones' dump pkg --leaks --free
wrong 'no topic `frob`' help frob
wrong '\x1b[31m' $'\033[31m'
: | sent

# Options stand where one likes.
serve <<'END'
dump {"fragments":[],"next":null,"pause_us":3}
dump {"fragments":[],"next":null,"pause_us":3}
END
run dump --min-size 4K shm --older-than 2h --site main.c:7 --owner 12 --pid 13 --pool shm:a:1 --used -n 5 -o csv
run -o csv --timeout=2 dump shm --used --older 1.5
sent <<'END'
dump {"min_size":4096,"older_than":7200,"site":"main.c:7","owner":12,"pid":13,"pool":"shm:a:1","state":"used","domain":"shm","limit":5}
dump {"state":"used","older_than":1.5,"domain":"shm","limit":1000}
END

# Help needs no daemon.
for verb in 'manager set' dump restart; do
	run $verb --help
	[ "$code" = 0 ] && grep -q '^Example$' "$T/out" || bad 'no help'
	run help $verb
	[ "$code" = 0 ] && grep -q '^  mmctl '"$verb" "$T/out" || bad 'no example'
done
run --version
[ "$code" = 0 ] && grep -q '^mmctl [0-9]' "$T/out" || bad 'no version'

# Nobody there: which socket was tried, and what to do.
stop
rm -f "$T/sock"
run ping
gives 3 </dev/null
says "no daemon on $T/sock (No such file or directory); start one: mmd --socket $T/sock"
step='MMD_SOCKET'
MMD_SOCKET=$T/other "$MMCTL" stats >"$T/out" 2>"$T/err"
code=$?
gives 3 </dev/null
says "no daemon on $T/other"
step='XDG_RUNTIME_DIR'
if [ ! -e /run/mmd/mmd.sock ]; then
	XDG_RUNTIME_DIR=$T "$MMCTL" stats >"$T/out" 2>"$T/err"
	code=$?
	gives 3 </dev/null
	says "no daemon on $T/mmd.sock or /run/mmd/mmd.sock; start one"
fi
step='a path that is too long'
"$MMCTL" -s "$(printf '/%0200d' 0)" ping >"$T/out" 2>"$T/err"
code=$?
gives 2 </dev/null
says 'the path of a socket has at most 107 bytes'

# A stale socket file.
serve <<'END'
ping "pong"
END
stop
sleep 0.1
run ping
gives 3 </dev/null
says 'Connection refused'

# It listens, but does not answer.
serve <<'END'
.ping
END
run -t 0.2 ping
gives 5 </dev/null
says 'ping: no answer from'
says 'in 0.2 s; -t SECONDS waits longer'

# No role.
serve <<'END'
!manager.set {"jsonrpc":"2.0","id":@,"error":{"code":-32004,"message":"Role missing","data":{"param":"role","got":"read","allowed":"admin"}}}
!manager.set {"jsonrpc":"2.0","id":@,"error":{"code":-32002,"message":"No such manager","data":{"param":"name","got":"fmm","allowed":["qm","fm"]}}}
END
run manager set fm
gives 4 </dev/null
says 'manager.set: Role missing: role is read; allowed: admin (-32004)'
run manager set fmm
gives 1 </dev/null
says 'manager.set: No such manager: name is fmm; allowed: qm fm (-32002)'
exit $failed
