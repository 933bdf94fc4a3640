#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# run.sh [--against FILE] [NAME ...] [-- OPTIONS]: runs the benchmarks NAME (all but programs and peers, which take a quarter
# of an hour each, and reference, which wants foreign allocators), tables on stdout.
#	peers -- --write docs/performance.md		managers beside glibc, jemalloc, tcmalloc, mimalloc: renews that table
#	programs -- --write docs/programs.md		renews that table; in pieces by --keep FILE
#	reference -- --against tlsf=ADAPTER.so		beside a reference implementation, see bench/reference.h
# BENCH_BIN: where they are built. With --json FILE the figures are kept for a later --against.
set -u
here=$(cd "$(dirname "$0")" && pwd)
bin=${BENCH_BIN:-$here/../build/release/bin}
export BENCH_BIN="$bin"
# jemalloc wants more room for its threads' variables than is left when it is loaded late
export GLIBC_TUNABLES="${GLIBC_TUNABLES:-glibc.rtld.optional_static_tls=8192}"
all="floors pairs fail start introspect serve recovery"
names= against= keep=

while [ $# -gt 0 ]; do
	case $1 in
	--against) against=${2:?--against needs a file}; shift 2 ;;
	--json) keep=${2:?--json needs a file}; shift 2 ;;
	--) shift; break ;;
	-*) echo "usage: $0 [--json FILE] [--against FILE] [NAME ...] [-- OPTIONS]; names: $all programs peers reference" >&2; exit 2 ;;
	*) names="$names $1"; shift ;;
	esac
done

failed=0
if [ -n "$keep$against" ]; then
	out=${keep:-$(mktemp)}
	: >"$out"
fi
for name in ${names:-$all}; do
	program=$bin/bench_$name
	case $name in programs | peers) program=$here/$name.py ;; esac
	if [ ! -x "$program" ]; then
		echo "$name: not built (looked for $program); names: $all programs peers reference" >&2
		failed=2
		continue
	fi
	printf '== %s ==\n' "$name"
	if [ -n "$keep$against" ]; then
		"$program" -o json "$@" >>"$out" || failed=1
	else
		"$program" "$@" || failed=1
	fi
done
if [ -n "$against" ]; then
	"$bin/bench_against" "$against" "$out" || failed=1
	[ -n "$keep" ] || rm -f "$out"
fi
exit $failed
