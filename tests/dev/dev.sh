#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# dev.sh SOURCE - ./dev on machines that lack something: it installs, or says what to install; and wrong words. The machines
# are made of a few fake programs in front of PATH.
set -u
source=$1 bad=0
tmp=$(mktemp -d) && trap 'rm -rf "$tmp"' EXIT
cd "$source" || exit 1

fake() {	# NAME LINES: a program
	printf '#!/bin/bash\n%s\n' "$2" >"$tmp/bin/$1"
	chmod +x "$tmp/bin/$1"
}

bare() {	# UID: nothing is installed, and nothing is done; what would have been done goes to $tmp/done
	rm -rf "${tmp:?}/bin" "$tmp/done"
	mkdir "$tmp/bin"
	: >"$tmp/done"
	fake id "echo $1"
	fake dpkg-query 'exit 1'
	fake apt-get "echo apt-get \"\$@\" >>'$tmp/done'"
	fake sudo "echo sudo \"\$@\" >>'$tmp/done'; exec \"\$@\""
	fake cmake 'exit 1'
	for program in bash dirname readlink env sed grep cut awk nproc cat git python3; do
		ln -s "$(command -v $program)" "$tmp/bin/$program"
	done
}

expect() {	# STATUS TEXT ARGUMENT...: ./dev ARGUMENT... ends so and says that
	local said status
	said=$(PATH=$tmp/bin /bin/bash ./dev "${@:3}" 2>&1)
	status=$?
	if [ $status != "$1" ] || [[ $said != *"$2"* ]]; then
		printf './dev %s: exit %s, said:\n%s\nexpected: exit %s, %s\n\n' "${*:3}" $status "$said" "$1" "$2"
		bad=1
	fi
}

did() {	# TEXT
	grep -qF -- "$1" "$tmp/done" || {
		printf 'not done: %s, but:\n%s\n' "$1" "$(cat "$tmp/done")"
		bad=1
	}
}

bare 0
expect 0 'lint [--fix]' help
expect 0 'ThreadSanitizer' --help
expect 1 'no such verb: fly' fly
expect 1 'no such preset: fly' build fly
expect 1 'SECONDS is a number, found: soon' fuzz fm soon
expect 1 'installing gcc g++ cmake' build
did 'apt-get -qq update'
did 'apt-get -qq -y install --no-install-recommends gcc g++ cmake ninja-build pkg-config'
! grep -q sudo "$tmp/done" || {
	echo 'sudo by root'
	bad=1
}

bare 1000
expect 1 'installing gcc g++' build
did 'sudo apt-get -qq update'

bare 1000
rm "$tmp/bin/sudo"
expect 1 'missing, and there is no sudo; as root: apt-get install gcc g++' build

bare 0
fake apt-get 'exit 100'
expect 1 'could not install gcc g++' build
exit $bad
