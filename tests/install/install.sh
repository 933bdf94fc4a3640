#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# install.sh HERE BUILD CC CXX LIBDIR - installs into a directory of its own, then builds and runs programs against that copy:
# pkg-config and CMake, C and C++, shared and static, with and without DBG_SR_MEMORY
set -u
here=$1 build=$2 cc=$3 cxx=$4 lib=$5 bad=0
tmp=$(mktemp -d) && trap 'rm -rf "$tmp"' EXIT
prefix=$tmp/prefix
export MEMAPI_REGISTRY=$tmp/registry XDG_STATE_HOME=$tmp XDG_CONFIG_HOME=$tmp LD_LIBRARY_PATH=$prefix/$lib
export PKG_CONFIG_PATH=$prefix/$lib/pkgconfig

fault() {
	printf '%s\n' "$*"
	bad=1
}

try() {	# PROGRAM: what it prints
	local said
	said=$("$1" 2>&1)
	[ "$said" = 'said by the child' ] || fault "$(basename "$1"): $? $said"
}

compile() {	# NAME COMPILER...: app.c becomes a program, and runs
	local name=$1
	shift
	"$@" -Wall -Wextra -Werror -o "$tmp/$name" 2>&1 || {
		fault "$name does not compile: $*"
		return
	}
	try "$tmp/$name"
}

cmake --install "$build" --prefix "$prefix" >"$tmp/log" 2>&1 || {
	cat "$tmp/log"
	exit 1
}

for file in include/memapi/{memapi,inline,inline_shm,memcore,manager,heap,undo,own,module,observe}.h "$lib"/libmemapi{,-preload}.so "$lib"/libmemapi.a "$lib/pkgconfig/memapi.pc" \
	"$lib/cmake/memapi/memapiConfig.cmake" bin/mmd bin/mmctl share/man/man1/mmctl.1 share/man/man5/mmd.conf.5 \
	share/man/man7/memapi.7 share/man/man8/mmd.8 lib/systemd/system/mmd.service share/doc/memapi/mmd.conf \
	share/bash-completion/completions/mmctl; do
	[ -e "$prefix/$file" ] || fault "not installed: $file"
done

cp "$here/app/app.c" "$tmp/app.c" && cp "$tmp/app.c" "$tmp/app.cc"
for debug in '' -DDBG_SR_MEMORY; do
	# shellcheck disable=SC2046
	for form in shared static; do
		if [ $form = shared ]; then
			link=$(pkg-config --libs memapi)
		else
			link="$prefix/$lib/libmemapi.a $(pkg-config --static --libs-only-other memapi)"
		fi
		# shellcheck disable=SC2086
		compile "c_$form$debug" "$cc" $debug "$tmp/app.c" $(pkg-config --cflags memapi) $link
		# shellcheck disable=SC2086
		compile "cc_$form$debug" "$cxx" $debug "$tmp/app.cc" $(pkg-config --cflags memapi) $link
	done
done

if cmake -G Ninja -S "$here/app" -B "$tmp/app" -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_C_COMPILER="$cc" -DCMAKE_CXX_COMPILER="$cxx" \
	>"$tmp/log" 2>&1 && cmake --build "$tmp/app" -j 2 >>"$tmp/log" 2>&1; then
	for program in "$tmp"/app/memapi*_c "$tmp"/app/memapi*_cc "$tmp"/app/memapi*_dbg; do
		try "$program"
	done
else
	cat "$tmp/log"
	fault "the CMake project does not build"
fi

# Programs that were linked with it find a soname, and no name of ours but the documented ones.
readelf -d "$prefix/$lib/libmemapi.so" | grep -q 'SONAME.*libmemapi\.so\.[0-9]' || fault "no soname"
names=$(nm -D --defined-only "$prefix/$lib/libmemapi.so" | awk '{ print $3 }' | grep -vE '^(pkg_|shm_|mem_|memapi_|obs_)')
[ -z "$names" ] || fault "libmemapi.so gives away: $names"
needs=$(readelf -d "$prefix/$lib/libmemapi.so" | sed -n 's/.*NEEDED.*\[\(.*\)\]/\1/p' | grep -vE '^(libc|ld-linux.*)\.so')
[ -z "$needs" ] || fault "libmemapi.so needs more than the C library at each start: $needs"

# The installed programs find the installed library, and the installed example is a good configuration.
[ "$("$prefix/bin/mmctl" --version)" ] || fault "mmctl does not run"
"$prefix/bin/mmd" -c "$prefix/share/doc/memapi/mmd.conf" --check-config >"$tmp/log" 2>&1 || fault "mmd: $(cat "$tmp/log")"

# The installed mmctl finds the installed preload library, and so does a program that it starts.
"$prefix/bin/mmctl" run -- sh -c "grep -q '$prefix/$lib/libmemapi-preload.so' /proc/\$\$/maps" >"$tmp/log" 2>&1 ||
	fault "mmctl run: $(cat "$tmp/log")"
names=$(nm -D --defined-only "$prefix/$lib/libmemapi-preload.so" | awk '{ print $3 }' |
	grep -vE '^(_Zn[wa]m|_Zd[la]Pv|mall|.*alloc|cfree|free(_aligned)?(_sized)?$|.*memalign$|memapi_preload_(refusal|room))')
[ -z "$names" ] || fault "libmemapi-preload.so gives away: $names"
# Its modules are found where they were installed, by programs and by mmd.
for module in "$build"/lib/memapi/*.so; do
	[ -e "$module" ] || continue
	name=$(basename "$module" .so)
	[ -e "$prefix/$lib/memapi/$name.so" ] || fault "not installed: $lib/memapi/$name.so"
	"$prefix/bin/mmd" -c /dev/null -X "module:$name" --check-config >"$tmp/log" 2>&1 || fault "mmd on $name: $(cat "$tmp/log")"
	MEMAPI_CONFIG=/dev/null GLIBC_TUNABLES=glibc.rtld.optional_static_tls=8192 MEMAPI_PKG_MANAGER=module:$name try "$tmp/c_shared"
done
exit $bad
