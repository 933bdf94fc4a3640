#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# mmctl run: programs that know nothing of memapi, what becomes of their exit status, and what mmctl sees of them.
. "$(dirname "$0")/lib.sh"
export XDG_RUNTIME_DIR=$T
unset LD_PRELOAD
pids=()
trap 'kill -9 "${pids[@]}" 2>/dev/null; stop; rm -rf "$T"' EXIT

run() {
	step="mmctl run $*"
	"$MMCTL" run "$@" >"$T/out" 2>"$T/err"
	code=$?
}

# ---- no daemon is needed; the exit status is the program's ----
for status in 0 1 2 126 127 200; do
	run -- sh -c "exit $status"
	gives $status </dev/null
	says nothing
done
run sh -c 'kill -KILL $$'
gives 137 </dev/null
run --track on sh -c 'echo $MEMAPI_TRACK; tr "\0" "\n" </proc/$$/maps | grep -c memapi-preload >/dev/null && echo there; echo $0' -m
gives 0 <<END
sites
there
-m
END
LD_PRELOAD=libm.so.6 run --size 1G --guards --keep --abort printenv MEMAPI_PKG_SIZE MEMAPI_DEBUG MEMAPI_TRACK MEMAPI_KEEP_EXITED \
	MEMAPI_SAFETY LD_PRELOAD
gives 0 <<END
1G
yes
sites
yes
abort
$(realpath "$PRELOAD"):libm.so.6
END

# The heap's file is none of the descriptors that a program counts on.
step='standard descriptors that are closed'
"$MMCTL" run sh -c 'for fd in 0 1 2 3 4; do echo $fd $(readlink /proc/$$/fd/$fd) >>'"$T/fds"'; done' <&- >&- 2>&- 3>&- 4>&-
[ "$(wc -l <"$T/fds")" = 5 ] && ! grep -q "$MEMAPI_REGISTRY" "$T/fds" || bad "among 0 to 4: $(cat "$T/fds")"

# ---- what is wrong is said before the program runs ----
run nosuchprogram
gives 127 </dev/null
says 'mmctl: run: nosuchprogram: No such file or directory'
run "$T"
gives 126 </dev/null
says 'Permission denied'
run --manager nosuch touch "$T/ran"
gives 2 </dev/null
says "nosuch: no such manager for pkg"
for manager in $MANAGERS; do
	says " $manager"
done
[ ! -e "$T/ran" ] || bad 'it ran'
run --size 1 true
gives 2 </dev/null
says 'MEMAPI_PKG_SIZE: "1" found, allowed: 0, or 64K'
run --track loud true
gives 2 </dev/null
says '`loud` is not what is allowed: off on sites stacks sampled'
MEMAPI_CONFIG=$T/none run true
gives 2 </dev/null
says "$T/none: No such file or directory"
run
gives 2 </dev/null
says 'run: PROGRAM [ARGUMENT...] is missing'
cp "$PROGRAM_STATIC" "$T/static"
run "$T/static" <<<''
[ "$code" = 42 ] || bad "a static program: $code"
says 'is linked statically: it keeps the malloc() that it has'
mkdir "$T/a b" && mkdir "$T/a b/bin" "$T/a b/lib" && cp "$MMCTL" "$T/a b/bin/" && cp "$PRELOAD" "$T/a b/lib/"
step='a path that LD_PRELOAD cannot hold'
"$T/a b/bin/mmctl" run true >"$T/out" 2>"$T/err"
code=$?
gives 1 </dev/null
says 'a blank or a colon'
rm "$T/a b/lib/"*
"$T/a b/bin/mmctl" run true >"$T/out" 2>"$T/err"
code=$?
gives 1 </dev/null
says 'libmemapi-preload.so is not in ../lib'

# ---- faults are the program's own ----
run --guards --abort "$PROGRAM" twice
gives 134 </dev/null
says 'memapi: double free of'
says 'allocated at cli_run_program (hold_much+'
run "$PROGRAM" twice
gives 0 </dev/null

# ---- a module; one whose library needs room for thread-local storage gets it beside what the user has ----
for manager in $MODULES; do
	GLIBC_TUNABLES=glibc.malloc.perturb=0 run --manager "module:$manager" sh -c 'echo $MEMAPI_PKG_MANAGER; tr "\0" "\n" </proc/$$/maps |
		grep -c "/memapi/$0.so" >/dev/null && echo there; case $GLIBC_TUNABLES in *perturb=0) echo kept ;; esac' "$manager"
	gives 0 <<END
module:$manager
there
kept
END
	says nothing
	room=glibc.rtld.optional_static_tls=8192
	step="module:$manager, preloaded by hand"
	GLIBC_TUNABLES=$room MEMAPI_MANAGER=module:$manager LD_PRELOAD=$PRELOAD sh -c \
		'grep -c "/memapi/$0.so" /proc/$$/maps >/dev/null && echo there' "$manager" >"$T/out" 2>"$T/err"
	code=$?
	gives 0 <<<there
	says nothing
done
if [[ " $MODULES " == *" jemalloc "* ]]; then
	GLIBC_TUNABLES=glibc.rtld.optional_static_tls=512 run --manager module:jemalloc true
	gives 2 </dev/null
	says 'start the program with GLIBC_TUNABLES=glibc.rtld.optional_static_tls=8192'
	run --manager module:jemalloc sh -c 'echo $GLIBC_TUNABLES'
	gives 0 <<<glibc.rtld.optional_static_tls=8192
fi

# ---- it is seen, by manager, pid and command; call sites are its functions ----
"$MMD" 2>"$T/mmd.log" &
pids+=($!)
disown
for _ in $(seq 100); do
	"$MMCTL" -t 1 ping >/dev/null 2>&1 && break
	sleep 0.05
done
for manager in $MANAGERS; do
	mkfifo "$T/in.$manager"
	exec {hold}<>"$T/in.$manager"
	# straight: a hidden shell would be the pid
	"$MMCTL" run --manager "$manager" --track sites "$PROGRAM" seen -x <"$T/in.$manager" >"$T/out.$manager" &
	pid=$!
	pids+=($pid)
	disown
	for _ in $(seq 100); do
		grep -q '^ready' "$T/out.$manager" && break
		sleep 0.05
	done
	step="stats of $manager"
	"$MMCTL" stats pkg --pid $pid -o csv >"$T/out" 2>"$T/err" || bad "exit code $?"
	grep -q "^pkg:$pid:1,.*cli_run_program seen -x.*,$manager,live," "$T/out" || bad "not seen: $(cat "$T/out")"
	step="summary of $manager"
	"$MMCTL" summary pkg --pid $pid -o csv >"$T/out" 2>"$T/err" || bad "exit code $?"
	grep -q '^5[0-9]*,1,.*cli_run_program.*hold_much+' "$T/out" || bad "no hold_much: $(cat "$T/out")"
	step="check of $manager"
	"$MMCTL" check pkg --pool "pkg:$pid:1" >"$T/out" 2>"$T/err" || bad "exit code $?: $(cat "$T/out" "$T/err")"
done
[ $failed = 0 ] && exit 0
exit 1
