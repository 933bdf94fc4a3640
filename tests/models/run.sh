#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# run.sh short|full [MODEL], run.sh LINE: checks the models with Spin, a line a run (LINE: of the file `runs`, one): what was
# searched, and what came of it. Exit status 1: a property does not hold, or a planted bug was not caught; 2: it could not be run.
set -u
form=${1-} only=${2-} bad=0 ran=0
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
level=-O1		# of one line's: most of its time is the compiler's
case $form in
short | full) level=-O2 ;;
"" | *[!0-9]*)
	echo "usage: run.sh short|full [MODEL], run.sh LINE" >&2
	exit 2
	;;
esac
for tool in spin gcc; do
	command -v $tool >/dev/null || { echo "models: there is no $tool (Debian: apt-get install $tool)" >&2; exit 2; }
done
tmp=$(mktemp -d) && trap 'rm -rf "$tmp"' EXIT

one() {	# MODEL SEARCH EXPECTED DEFINES
	local model=$1 search=$2 expected=$3 defines=$4 errors states depth seconds covered=all got
	local compile=("$level" -w) arguments=(-m1000000)
	case $search in
	all) compile+=(-DSAFETY -DCOLLAPSE) ;;
	safe) compile+=(-DSAFETY -DCOLLAPSE) arguments+=(-E) ;;
	ends) compile+=(-DNP -DNFAIR=6 -DCOLLAPSE) arguments+=(-l -f) ;;
	bits) compile+=(-DSAFETY -DBITSTATE) arguments+=(-E -w32 -k3 -Q5) covered=bitstate ;;
	*) echo "runs: no such search: $search" >&2; return 2 ;;
	esac
	rm -rf "${tmp:?}"/*
	cp "$here/$model.pml" "$tmp"
	# shellcheck disable=SC2086	# defines are words
	(cd "$tmp" && spin -a $defines "$model.pml" && gcc "${compile[@]}" -o pan pan.c) >"$tmp/made" 2>&1 || {
		echo "models: could not be made: $model $defines" >&2
		cat "$tmp/made" >&2
		return 2
	}
	(cd "$tmp" && timeout 1500 ./pan "${arguments[@]}") >"$tmp/said" 2>&1
	errors=$(sed -n 's/.*errors: \([0-9]*\).*/\1/p' "$tmp/said")
	depth=$(sed -n 's/.*depth reached \([0-9]*\),.*/\1/p' "$tmp/said")
	states=$(sed -n 's/^ *\([0-9.e+]*\) states, stored.*/\1/p' "$tmp/said" | head -n 1)
	seconds=$(sed -n 's/^pan: elapsed time \([0-9.e+-]*\) seconds/\1/p' "$tmp/said")
	if [ -z "$errors" ] || grep -q 'max search depth too small\|out of memory' "$tmp/said"; then
		got='not finished' covered=some
	elif [ "$errors" = 0 ]; then
		got=holds
	else
		got=caught covered=-
	fi
	printf '%-9s %-5s %-9s %12s %8s %7s  %-12s %s\n' "$model" "$search" "$covered" "${states:--}" "${depth:--}" \
		"${seconds:--}" "$got" "$defines"
	if [ "$got" = caught ]; then
		sed -n 's/^pan:[0-9]*: \(.*\) (at depth.*/\t\1/p' "$tmp/said" | head -n 1
	fi
	[ "$got" = "$expected" ] && return 0
	echo "models: expected: $expected" >&2
	# shellcheck disable=SC2086
	[ ! -f "$tmp/$model.pml.trail" ] || (cd "$tmp" && spin -t -p $defines "$model.pml" | tail -n 60) >&2
	return 1
}

printf '%-9s %-5s %-9s %12s %8s %7s  %-12s %s\n' model search searched states depth s result defines
line=0
while IFS=$'\t' read -r when model search expected defines; do
	line=$((line + 1))
	[[ $when == short || $when == full ]] || continue
	[[ $form == full || $form == "$when" || $form == "$line" ]] || continue
	[[ -z $only || $model == "$only" ]] || continue
	ran=1
	one "$model" "$search" "$expected" "$defines"
	case $? in 0) ;; 1) bad=1 ;; *) exit 2 ;; esac
done <"$here/runs"
[ $ran = 1 ] || { echo "models: no such run: $form $only" >&2; exit 2; }
exit $bad
