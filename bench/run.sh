#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# run.sh [--against FILE] [NAME ...] [-- OPTIONS]: runs the benchmarks NAME (all of them), tables on stdout.
# `reference` runs only by name: it wants foreign allocators, ./dev bench reference -- --against tlsf=ADAPTER.so
# BENCH_BIN: where they are built. With --json FILE the figures are kept for a later --against.
set -u
here=$(cd "$(dirname "$0")" && pwd)
bin=${BENCH_BIN:-$here/../build/release/bin}
all="pairs fail start introspect"
names= against= keep=

while [ $# -gt 0 ]; do
	case $1 in
	--against) against=${2:?--against needs a file}; shift 2 ;;
	--json) keep=${2:?--json needs a file}; shift 2 ;;
	--) shift; break ;;
	-*) echo "usage: $0 [--json FILE] [--against FILE] [NAME ...] [-- OPTIONS]; names: $all reference" >&2; exit 2 ;;
	*) names="$names $1"; shift ;;
	esac
done

failed=0
if [ -n "$keep$against" ]; then
	out=${keep:-$(mktemp)}
	: >"$out"
fi
for name in ${names:-$all}; do
	if [ ! -x "$bin/bench_$name" ]; then
		echo "$name: not built (looked for $bin/bench_$name); names: $all reference" >&2
		failed=2
		continue
	fi
	printf '== %s ==\n' "$name"
	if [ -n "$keep$against" ]; then
		"$bin/bench_$name" -o json "$@" >>"$out" || failed=1
	else
		"$bin/bench_$name" "$@" || failed=1
	fi
done
if [ -n "$against" ]; then
	"$bin/bench_against" "$against" "$out" || failed=1
	[ -n "$keep" ] || rm -f "$out"
fi
exit $failed
