#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# The tour: a SIP registrar under load, and what mmd and mmctl show of its memory. ./dev run calls it.
#
#	tour.sh [--once]	--once: end after the tour; the exit code is not 0 when a step does not show what it should
#
# BUILD names the build directory (build/release), TOUR_DIR a directory for everything that is made (a temporary one),
# TOUR_FIRST and TOUR_THEN the managers before and after the restart, TOUR_RATE sipp's calls a second.
# Nothing else is touched: socket, registry, configuration and stored choice lie there, the packets stay on loopback.
set -u
here=$(dirname "$(readlink -f "$0")")
BUILD=$(readlink -f "${BUILD-$here/../../build/release}")
once=
case "${1-}" in
"") ;;
--once) once=1 ;;
*)
	echo "usage: $0 [--once]" >&2
	exit 2
	;;
esac

for program in "$BUILD"/bin/{mmd,mmctl,registrar} sipp jq; do
	command -v "$program" >/dev/null && continue
	echo "tour: $program is not there: ./dev build makes the programs, apt-get install sip-tester jq the rest" >&2
	exit 2
done
PATH=$BUILD/bin:$PATH

T=${TOUR_DIR-$(mktemp -d "${TMPDIR:-/tmp}/memapi-tour.XXXXXX")}
mkdir -p "$T" && T=$(readlink -f "$T") && cd "$T" && rm -rf state || exit 2
unset "${!MEMAPI_@}"	# what the caller has set is stronger than the file and the stored choice
export MEMAPI_CONFIG=$T/mmd.conf MEMAPI_REGISTRY=$T/registry XDG_STATE_HOME=$T/state XDG_CONFIG_HOME=$T/config
export XDG_RUNTIME_DIR=$T MMD_SOCKET=$T/mmd.sock

# What sipp sends a second, and for how long each time.
RATE=${TOUR_RATE-400}
SECONDS_OF_LOAD=${TOUR_SECONDS-8}
LEAK=3
FIRST=${TOUR_FIRST-qm} THEN=${TOUR_THEN-fm}	# managers before and after the restart

mmd_pid='' registrar_pid='' sipp_pid='' failed=0

finish() {
	for pid in $sipp_pid $registrar_pid $mmd_pid; do
		kill "$pid" 2>/dev/null
	done
	wait 2>/dev/null
	[ -n "${TOUR_DIR-}" ] || rm -rf "$T"
}
trap finish EXIT
trap 'exit 130' INT TERM

# ---- how it looks ----

if [ -t 1 ] && [ -z "${NO_COLOR-}" ]; then
	bold=$'\e[1m' red=$'\e[1;31m' plain=$'\e[0m' clear=$'\r\e[K'
else
	bold='' red='' plain='' clear=''
fi

heading() { printf '\n%s== %s%s\n' "$bold" "$*" "$plain"; }
note() { printf '%s\n' "$*"; }
bad() {
	printf '%stour: %s%s\n' "$red" "$*" "$plain" >&2
	failed=1
}
die() {
	bad "$*"
	for log in mmd.log registrar.log; do
		[ ! -s "$T/$log" ] || { echo "-- $log" >&2; tail -n 20 "$T/$log" >&2; }
	done
	exit 1
}

# show CODES MMCTL-WORDS…: what a person would type, and its output
show() {
	local codes=" $1 " code
	shift
	printf '%s$ mmctl %s%s\n' "$bold" "$*" "$plain"
	mmctl "$@" 2>&1
	code=$?
	[[ $codes == *" $code "* ]] || bad "mmctl $*: exit code $code, expected$codes"
	echo
}

# expect WHAT FILTER MMCTL-WORDS…: the same answer as JSON must make the filter true
expect() {
	local what=$1 filter=$2
	shift 2
	mmctl -o json "$@" >"$T/answer" 2>"$T/error"
	jq -e "$filter" "$T/answer" >/dev/null 2>>"$T/error" || bad "not seen: $what (mmctl $*; $(tail -n 1 "$T/error"))"
}

# eventually SECONDS FILTER MMCTL-WORDS…: until the filter is true
eventually() {
	local end=$((SECONDS + $1)) filter=$2
	shift 2
	until mmctl -o json "$@" 2>/dev/null | jq -e "$filter" >/dev/null 2>&1; do
		[ $SECONDS -lt $end ] || return 1
		sleep 0.3
	done
}

ask() { mmctl -o json "${@:2}" | jq -r "$1"; }

# ---- what runs ----

start_mmd() {
	mmd --socket "$MMD_SOCKET" >"$T/mmd.log" 2>&1 &
	mmd_pid=$!
	for _ in $(seq 100); do
		mmctl ping >/dev/null 2>&1 && return
		kill -0 $mmd_pid 2>/dev/null || break
		sleep 0.1
	done
	die "mmd does not answer"
}

start_registrar() {
	: >"$T/registrar.log"
	registrar --listen 127.0.0.1:0 --workers 3 --pool registrar --leak $LEAK >>"$T/registrar.log" 2>&1 &
	registrar_pid=$!
	for _ in $(seq 100); do
		port=$(sed -n 's/.*listening on 127\.0\.0\.1:\([0-9]*\),.*/\1/p' "$T/registrar.log")
		[ -z "$port" ] || break
		kill -0 $registrar_pid 2>/dev/null || die "the registrar did not start"
		sleep 0.1
	done
	[ -n "$port" ] || die "the registrar does not listen"
	sed 's/^registrar: /registrar /' "$T/registrar.log"
}

stop() {	# PID NAME: it must end in order
	kill "$1"
	wait "$1" || bad "$2's exit code was $?"
}

run_sipp() {	# SCENARIO CALLS [OPTIONS]: in a subshell, which becomes sipp
	local scenario=$1 calls=$2
	shift 2
	exec sipp "127.0.0.1:$port" -sf "$here/sipp/$scenario.xml" -m "$calls" -r "$RATE" -l 500 -i 127.0.0.1 -nostdin \
		-key user "$scenario" -key expires 600 -timeout 60 -timeout_error "$@" >"$T/sipp.out" 2>"$T/sipp.err"
}

# What the registrar holds, as mmctl sees it.
registered() {
	printf '%s addresses registered, %s bytes shared' \
		"$(ask '[.rows[] | select(.site.function == "bucket_make") | .count] | add // 0' summary shm 2>/dev/null)" \
		"$(ask '[.pools[] | select(.name == "registrar") | .used] | add' stats shm 2>/dev/null)"
}

# load SECONDS: calls, with a line that tells how it goes
load() {
	local calls=$(($1 * RATE))
	run_sipp refresh "$calls" &
	sipp_pid=$!
	while kill -0 $sipp_pid 2>/dev/null; do
		progress "sipp: $RATE calls a second; $(registered)"
		sleep 0.5
	done
	wait $sipp_pid || bad "sipp: some calls failed: $(tail -n 3 "$T/sipp.err")"
	sipp_pid=
	progress_end "sipp: $calls calls of 3 REGISTERs; $(registered)"
}

progress() { [ -z "$clear" ] || printf '%s%s' "$clear" "$*"; }
progress_end() { printf '%s%s\n' "$clear" "$*"; }

# ---- the tour ----

cat >"$T/mmd.conf" <<CONF
memory.manager = $FIRST
memory.track = sites
leaks.samples = 3
leaks.interval = 2
[pool.registrar]
size = 256M
CONF

heading "mmd, and a SIP registrar that forgets memory in $LEAK of 100 requests"
note "$(sed 's/^/    /' "$T/mmd.conf")"
start_mmd
start_registrar
load "$SECONDS_OF_LOAD"

heading "every heap on this machine"
show 0 status
expect "the registrar's pool on $FIRST" ".pools[] | select(.name == \"registrar\" and .state == \"live\" and .manager == \"$FIRST\")" status

heading "how much is used: the pool that all workers share, and a private heap for each process"
show 0 stats shm
show 0 stats pkg
expect "contacts in the pool" '[.pools[] | select(.name == "registrar") | .used] | add > 100000' stats shm
expect "private heaps of the workers" '[.pools[] | select((.command | startswith("registrar")) and .fragments > 0)] | length >= 3' stats pkg

heading "which line of code holds it"
show 0 summary shm --by site
show 0 summary pkg --by site
expect "contacts by their call site" '.rows[] | select(.site.function == "bucket_make" and .site.module == "registrar" and .count > 100)' summary shm

heading "a leak while it grows: the same 200 phones register again and again, yet these call sites rise and rise"
(echo SEQUENTIAL && seq -f 'phone%g' 200) >"$T/phones.csv"
run_sipp phones $((RATE * 16)) -inf "$T/phones.csv" &
sipp_pid=$!
rises() { printf '[.suspects[].site.function] | index("%s") and (index("bucket_make") | not)' "$1"; }
eventually 25 "$(rises forget_shared)" leaks shm --evidence growing || bad "the shared leak is not seen to grow"
eventually 25 "$(rises forget_private)" leaks pkg --evidence growing || bad "the private leak is not seen to grow"
show 10 leaks shm --evidence growing
show 10 leaks pkg --evidence growing

heading "kill -9 a worker in the middle of it"
worker=$(tr ' ' '\n' <"/proc/$registrar_pid/task/$registrar_pid/children" | head -n 1)
note "\$ kill -9 $worker"
kill -9 "$worker"
wait $sipp_pid || bad "sipp: some calls failed: $(tail -n 3 "$T/sipp.err")"
sipp_pid=
show 10 leaks shm --evidence owner_dead
show 10 leaks pkg --evidence at_exit
show 10 dump pkg --leaks --evidence at_exit -n 5
expect "the dead worker's shared leak, with line and owner" \
	".suspects[] | select(.evidence == \"owner_dead\" and .site.function == \"forget_shared\" and .site.line > 0 and .owner.pid == $worker)" leaks shm
expect "the dead worker's private leak" \
	'.suspects[] | select(.evidence == "at_exit" and .site.function == "forget_private" and .site.line > 0)' leaks pkg
(run_sipp options 20) || bad "the registrar does not answer after the kill"
note "the registrar answers; its heaps are whole:"
show 0 check shm

heading "another manager, for the next restart"
show 0 manager list
show 0 manager set "$THEN"
expect "$THEN chosen" ".shm.now == \"$FIRST\" and .shm.next == \"$THEN\" and .pkg.next == \"$THEN\"" manager get
show 0 restart
show 0 status
expect "mmd on $THEN" ".managers.shm.now == \"$THEN\" and .managers.pkg.now == \"$THEN\"" status
expect "the old pool, draining with its registrar" \
	".pools[] | select(.name == \"registrar\" and .state == \"draining\" and .manager == \"$FIRST\")" status
note "\$ kill $registrar_pid; registrar &"
stop "$registrar_pid" "the registrar"
start_registrar
note "it begins with an empty pool on $THEN, and the phones register again"
load $((SECONDS_OF_LOAD / 2))
show 0 stats shm
show 0 stats pkg
expect "the registrar's pool on $THEN" \
	".pools[] | select(.name == \"registrar\" and .manager == \"$THEN\" and .used > 100000)" stats shm
expect "the workers' private heaps on $THEN" \
	"[.pools[] | select((.command | startswith(\"registrar\")) and .state == \"live\" and .manager == \"$THEN\")] | length >= 3" \
	stats pkg
show 0 check

if [ -n "$once" ]; then
	stop "$registrar_pid" "the registrar"
	registrar_pid=''
	stop "$mmd_pid" mmd
	mmd_pid=''
fi
[ $failed = 0 ] || die "the tour did not show all that it should"
heading "that was the tour, in $SECONDS s"
[ -z "$once" ] || exit 0
cat <<TEXT
mmd (pid $mmd_pid) and the registrar (pid $registrar_pid, 127.0.0.1:$port) stay up. Ask them from another terminal:

    export MMD_SOCKET=$MMD_SOCKET PATH=$BUILD/bin:\$PATH
    mmctl status
    mmctl dump shm --leaks
    sipp 127.0.0.1:$port -sf $here/sipp/register.xml -i 127.0.0.1 -key user me -key expires 600 -r 10 -m 100

Ctrl-C, or kill $$, stops everything.
TEXT
wait
