#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# modules.sh SOURCE BUILD - what is said of modules that are wrong, before anything was made; good ones in programs, mmd and
# mmctl; the example, built as a stranger would, in both domains and across processes.
set -u
source=$1 build=$2 bad=0 count=0
work=$(mktemp -d)
export MEMAPI_REGISTRY=$work/registry XDG_STATE_HOME=$work/state XDG_CONFIG_HOME=$work/config MMD_SOCKET=$work/mmd.sock
unset MEMAPI_CONFIG GLIBC_TUNABLES
mkdir "$work/path" "$work/registry" && chmod 700 "$work/registry"
bin=$build/bin path=$work/path mmd_pid=
end() {
	[ -z "$mmd_pid" ] || kill "$mmd_pid" 2>/dev/null
	wait
	rm -rf "$work"
}
trap end EXIT

# The sanitizers' runtime is the program's; a module has none of its own, and may be unloaded without harm.
flags="-I$source/include -O1 -Wall -Wextra -fPIC -shared"

expect() {	# WHAT SAID EXPECTED: equal, where $work is WORK
	count=$((count + 1))
	[ "${2//$work/WORK}" = "$3" ] && return
	printf '%s\n\tsaid     %s\n\texpected %s\n' "$1" "${2//$work/WORK}" "$3"
	bad=1
}
has() {		# WHAT SAID PART
	count=$((count + 1))
	[[ "${2//$work/WORK}" == *"$3"* ]] && return
	printf '%s\n\tsaid     %s\n\tmust have %s\n' "$1" "${2//$work/WORK}" "$3"
	bad=1
}
module() {	# NAME FLAGS...: a module in $path
	# shellcheck disable=SC2086
	"$CC" $flags "${@:2}" -o "$path/$1.so" "$source/tests/modules/bad.c" || exit 1
}
ask() { MEMAPI_MODULE_PATH=${MODULE_PATH-$path} "$bin/modules_ask" "$@" 2>&1; }
left=$(sed -n 's/^MANAGER_LEFT_OUT(\(.*\))$/\1 /p' "$build/generated/managers.def" | tr -d '\n')
names=$(sed -n 's/^MANAGER\(_OWN\)\?(\(.*\))$/\2/p' "$build/generated/managers.def" | paste -sd ' ')
shared=$(sed -n 's/^MANAGER(\(.*\))$/\1/p' "$build/generated/managers.def" | paste -sd ' ')
sharded=$(sed -n 's/^MANAGER_SHARDED(\([^,]*\),.*/ \1/p' "$build/generated/managers.def" | tr -d '\n')
names=$names$sharded shared=$shared$sharded
tail="${left:+, left out of this build: $left}; available: $names"
first=$(ask any)

why() {		# NAME REASON: a program gets this error
	expect "module:$1" "$(ask pkg "module:$1")" "module:$1: no such manager for pkg: $2$tail"
}

# ---- each thing that may be wrong with a file ----

module bad
expect 'a good one serves' "$(ask pkg module:bad)" module:bad
expect 'by its path, too' "$(ask pkg "$path/bad.so")" module:bad
chmod 666 "$path/bad.so"
why bad 'WORK/path/bad.so: everybody may write to it'
chmod 755 "$path/bad.so"
chmod 777 "$path"
why bad 'WORK/path: everybody may write to it'
chmod 1777 "$path"
expect 'a sticky directory is like /tmp: others cannot replace its files' "$(ask pkg module:bad)" module:bad
chmod 755 "$path"
if [ "$(id -u)" = 0 ]; then
	chown 65534 "$path/bad.so"
	why bad 'WORK/path/bad.so: belongs to uid 65534: a module must be root'\''s or ours'
	chown 0 "$path/bad.so"
fi
ln -s bad.so "$path/other.so"
why other 'WORK/path/bad.so: its manager is called bad'
rm "$path/other.so"
echo 'no library' >"$path/text.so"
why text 'WORK/path/text.so: cannot be loaded: file too short'
rm "$path/text.so"
mkdir "$path/dir.so"
why dir 'WORK/path/dir.so: not a regular file'
rmdir "$path/dir.so"
why nix 'WORK/path/nix.so: No such file or directory; there are module:bad'
why ../path/bad "a module's name is at most 23 of a-z 0-9 _ -"
why '' "a module's name is at most 23 of a-z 0-9 _ -"
expect 'a path that is not absolute' "$(ask pkg ./bad.so)" \
	"./bad.so: no such manager for pkg: ./bad.so: the path of a module begins with /$tail"
expect 'a library that is no module' "$(ask pkg "$build/lib/libmemapi.so")" \
	"$build/lib/libmemapi.so: no such manager for pkg: $(readlink -f "$build/lib/libmemapi.so"): not a module: it exports no memapi_module$tail"
MODULE_PATH=$work/none why bad 'WORK/none/bad.so: No such file or directory'

# ---- and with what is in it ----

module bad -DBAD_ABI
why bad 'WORK/path/bad.so: its descriptor is of module ABI 2, here is 1'
module bad -DBAD_SIZE
why bad 'WORK/path/bad.so: its descriptor has 8 bytes, here are 56'
module bad -DBAD_SYMBOL
why bad 'WORK/path/bad.so: not a module: it exports no memapi_module'
module bad -DBAD_NAME
why bad 'WORK/path/bad.so: its descriptor lacks a name (at most 23 of a-z 0-9 _ -) or a summary of one line'
module bad -DBAD_SUMMARY
why bad 'WORK/path/bad.so: its descriptor lacks a name (at most 23 of a-z 0-9 _ -) or a summary of one line'
module bad -DBAD_SHM
why bad 'WORK/path/bad.so: it keeps its own memory, of which each process has its own: shm cannot be served'
module bad -DBAD_DOMAINS
why bad "WORK/path/bad.so: its descriptor's domains and operations do not agree"
module bad -DBAD_MEMBERS
why bad 'WORK/path/bad.so: its pkg operations: walk or check is missing'
module bad -DBAD_OPS_ABI
has 'operations of another ABI' "$(ask pkg module:bad)" 'WORK/path/bad.so: its pkg operations are of manager ABI 2 with '
module bad -DBAD_NEEDS
has 'an unloadable one' "$(ask pkg module:bad)" 'WORK/path/bad.so: cannot be loaded: undefined symbol: memapi_test_nobody_has_this'

# ---- what cannot be shared ----

module bad
own='keeps its own memory, and each process has its own: nothing of it can be shared'
expect 'sys for shm' "$(ask shm sys)" "sys: no such manager for shm: sys $own${left:+, left out of this build: $left}; available: $shared"
expect 'a module for shm' "$(ask shm module:bad)" \
	"module:bad: no such manager for shm: module:bad $own${left:+, left out of this build: $left}; available: $shared"

# ---- a program goes on with defaults, and says so once ----

expect 'a program with a bad environment' "$(MEMAPI_PKG_MANAGER=module:nix ask any)" \
	"memapi: MEMAPI_PKG_MANAGER: \"module:nix\" found, allowed: for pkg ${names// /, }; WORK/path/nix.so: No such file or directory; there are module:bad; going on with defaults
$first"
expect 'a good environment' "$(MEMAPI_PKG_MANAGER=module:bad ask any)" module:bad

# ---- mmd: nothing is made before the configuration was found good ----

refuses() {	# WHAT PART MMD-ARGUMENTS...
	local said code=0
	said=$(timeout 20 "$bin/mmd" --socket "$MMD_SOCKET" "${@:3}" 2>&1 >/dev/null) || code=$?
	expect "$1: exit code" $code 2
	has "$1" "$said" "$2"
	expect "$1: nothing was made" "$(ls -A "$work/registry")$(ls "$MMD_SOCKET" 2>/dev/null)" ''
}
rm -rf "$work/registry"/*
mkdir -p "$work/config/memapi"
conf=$work/config/memapi/mmd.conf
printf 'memory.pkg.manager = module:nix\nmemory.module_path = %s\n' "$path" >"$conf"
refuses 'in the file, with the path behind it' \
	"WORK/config/memapi/mmd.conf:1: memory.pkg.manager: \"module:nix\" found, allowed: for pkg ${names// /, }; WORK/path/nix.so: No such file or directory; there are module:bad"
printf 'memory.module_path = %s\n' "$path" >"$conf"
chmod 666 "$path/bad.so"
refuses 'on the command line' '-X: "module:bad" found' -X module:bad
refuses 'its reason' 'WORK/path/bad.so: everybody may write to it' -X module:bad
chmod 755 "$path/bad.so"
refuses 'alone for both' "module:bad $own" -x module:bad
refuses 'sys alone for both' "sys $own" -x sys
expect 'a check of the configuration' "$("$bin/mmd" --check-config -X module:bad)" 'WORK/config/memapi/mmd.conf: good'

# ---- the example, built out of the tree ----

CFLAGS="-I$source/include" "$source/examples/module/build.sh" "$path" || bad=1
expect 'the example in pkg' "$(ask pkg module:stack)" module:stack
expect 'the example in shm' "$(ask shm module:stack)" module:stack
MEMAPI_MODULE_PATH=$path MEMAPI_CONFIG=/dev/null "$bin/modules_calls" module:stack 20000 || bad=1

start_mmd() {
	"$bin/mmd" --socket "$MMD_SOCKET" 2>"$work/log" &
	mmd_pid=$!
	for ((i = 0; i < 100; i++)); do
		"$bin/mmctl" status >/dev/null 2>&1 && break
		sleep 0.05
	done
}

cat >"$conf" <<CONF
memory.module_path = $path
memory.pkg.manager = module:stack
[pool.stacked]
manager = module:stack
size = 4M
CONF
start_mmd
mmctl() { "$bin/mmctl" "$@" 2>&1; }
has 'mmd on a module' "$(mmctl -o json manager get)" '"now":"module:stack"'
expect 'a program in its pool' "$(MEMAPI_SHM_POOL=stacked ask shm)" module:stack
has 'its pool' "$(mmctl -o csv stats shm)" 'shm:stacked:1'
has 'a check of everything on it' "$(mmctl -o json check)" '"ok":true'
! mmctl -o json check | grep -q '"ok":false\|"ok":null' || expect 'check' 'not ok' ok

# ---- mmctl manager list, set ----

list=$(mmctl -o json manager list)
has 'the list has sys' "$list" '"name":"sys","source":"built in","domains":["pkg"],"capabilities":["any alignment","own memory","realloc"]'
has 'and modules' "$list" "\"name\":\"module:stack\",\"source\":\"module WORK/path/stack.so\",\"domains\":[\"pkg\",\"shm\"]"
has 'with advice' "$list" '"advice":"a stack: for programs that free in the reverse order of allocation"'
module wrong -DBAD_ABI
has 'one that cannot be used' "$(mmctl manager list)" 'WORK/path/wrong.so: its descriptor is of module ABI 2, here is 1'
rm "$path/wrong.so"
has 'set checks at once' "$(mmctl manager set module:nix --domain pkg)" 'WORK/path/nix.so: No such file or directory'
has 'set for shm' "$(mmctl manager set module:bad)" "module:bad $own"
has 'set' "$(mmctl -o json manager set module:bad --domain pkg)" '"pkg":{"now":"module:stack","next":"module:bad","from":"choice"'
expect 'which programs follow' "$(ask any)" module:bad
kill "$mmd_pid"
wait "$mmd_pid"
expect 'mmd ends in order' $? 0
mmd_pid=

# ---- those that are shipped ----

rm -f "$conf"
unset MEMAPI_MODULE_PATH
rm -rf "$XDG_STATE_HOME"
printf 'memory.pkg.manager = sys\n' >"$conf"
start_mmd
list=$(mmctl -o json manager list)
stats=$(mmctl -o json stats pkg)
for word in size real_used free free_fragments largest_free committed; do
	has "what sys cannot know: $word" "$stats" "\"$word\":null"
done
has 'check of sys' "$(mmctl -o json check pkg)" '"ok":true'
has 'its table' "$(mmctl manager list)" 'built in'
IFS=';' read -ra modules <<<"$MODULES"
for name in "${modules[@]}"; do
	has "$name is in the list" "$list" "\"name\":\"module:$name\",\"source\":\"module $(readlink -f "$build/lib/memapi/$name.so")\",\"domains\":[\"pkg\"]"
	has "set $name" "$(mmctl -o json manager set "module:$name" --domain pkg)" "\"next\":\"module:$name\""
done
has 'nothing is skipped' "$list" '"skipped":[]'
kill "$mmd_pid"
wait "$mmd_pid"
expect 'mmd on sys ends in order' $? 0
mmd_pid=

echo "$count questions"
exit $bad
