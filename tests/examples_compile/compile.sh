#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# compile.sh SOURCE_DIR LIBRARY HEADER CC "CFLAGS" CXX: HEADER compiles alone, in C++ too unless it is for managers;
# its examples compile without a warning, with and without DBG_SR_MEMORY, and run.
set -eu
source=$1 library=$2 header=$3 cc=$4 flags=$5 cxx=$6
here=$source/tests/examples_compile
warnings="-Wall -Wextra -Wshadow -Wconversion -Werror"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export MEMAPI_REGISTRY="$work/registry" MEMAPI_CONFIG="$work/mmd.conf" XDG_STATE_HOME="$work"
: >"$work/mmd.conf"

printf '#include <memapi/%s>\n#include <memapi/%s>\n' "$header" "$header" >"$work/alone.c"
$cc -std=c17 $flags $warnings -Wstrict-prototypes -I"$source/include" -fsyntax-only "$work/alone.c"
case $header in
manager.h | heap.h | undo.h | own.h | module.h) ;;
*)
	cp "$work/alone.c" "$work/alone.cc"
	# -Wshadow in C++ means a function that has the name of its struct, which C++ allows
	$cxx -std=c++17 $flags $warnings -Wno-shadow -I"$source/include" -fsyntax-only "$work/alone.cc"
	;;
esac

awk -v name="$header" -f "$here/examples.awk" "$source/include/memapi/$header" >"$work/examples.c"
for build in release DBG_SR_MEMORY; do
	$cc -std=c17 $flags $warnings -D$build=1 -I"$source/include" -I"$here" "$work/examples.c" "$library" \
		-Wl,-rpath,"$(dirname "$library")" -o "$work/examples"
	"$work/examples" || { echo "$header, $build: an example returned what is not 0"; exit 1; }
done
echo "$header: $(grep -c '^static int example_' "$work/examples.c" || true) examples"
