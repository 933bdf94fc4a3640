# SPDX-License-Identifier: BSD-2-Clause
# For tests that run the built programs: . lib.sh; then
#
#	serve <<'END'			a fake daemon with this script (fake.c)
#	run VERB …			mmctl on its socket; output in $T/out and $T/err, exit code in $code
#	terminal VERB …			the same on a terminal of $COLUMNS
#	gives CODE <<'END'		code and stdout are exactly these
#	says TEXT			stderr holds TEXT; `says nothing`: it is empty
#	sent <<'END'			the fake daemon got exactly these calls
#
# MMCTL and FAKE name the programs. Everything lies in $T, which goes away.
set -u
T=$(mktemp -d "${TMPDIR:-/tmp}/mmctl-test.XXXXXX")
fake_pid=
failed=0
step='(start)'
unset MMD_SOCKET XDG_RUNTIME_DIR COLUMNS
export MEMAPI_REGISTRY=$T/registry XDG_STATE_HOME=$T/state XDG_CONFIG_HOME=$T/config LC_ALL=C.UTF-8 TZ=UTC TERM=xterm

stop() {
	[ -z "$fake_pid" ] || kill "$fake_pid" 2>/dev/null
	fake_pid=
}
trap 'stop; rm -rf "$T"' EXIT

serve() {
	stop
	fake_pid=$("$FAKE" "$T/sock" "$T/log") || exit 1
}

run() {
	step="mmctl $*"
	"$MMCTL" -s "$T/sock" "$@" >"$T/out" 2>"$T/err"
	code=$?
}

# A terminal's output has CR LF, and stderr in it.
terminal() {
	step="mmctl $* (terminal)"
	script -qec "$(printf '%q ' "$MMCTL" -s "$T/sock" "$@")" /dev/null </dev/null 2>"$T/err" | tr -d '\r' >"$T/out"
	code=${PIPESTATUS[0]}
}

bad() {
	failed=1
	printf '%s: FAILED: %s\n' "$step" "$1"
}

gives() {
	cat >"$T/want"
	[ "$code" = "$1" ] || bad "exit code $code, not $1; stderr: $(cat "$T/err")"
	diff -u --label expected --label stdout "$T/want" "$T/out" || bad 'stdout differs'
}

says() {
	if [ "$1" = nothing ]; then
		[ ! -s "$T/err" ] || bad "stderr is not empty: $(cat "$T/err")"
	else
		grep -qF -- "$1" "$T/err" || bad "stderr does not say '$1' but: $(cat "$T/err")"
	fi
}

sent() {
	cat >"$T/want"
	diff -u --label expected --label sent "$T/want" "$T/log" || bad 'other calls were sent'
}
