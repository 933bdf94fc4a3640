#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# headers.sh SOURCE BUILD CC CXX - each header compiles by itself; the applications' ones also as C11 and C++11
set -u
source=$1 build=$2 cc=$3 cxx=$4 bad=0
cd "$source" || exit 1
mapfile -t headers < <(find include src tools examples bench tests -name '*.h' | sort)
common=(-fsyntax-only -Iinclude -Isrc -Itools -Itests -I"$build/generated")
libraries=$(pkg-config --cflags json-c libevent criterion 2>/dev/null)

try() {	# HEADER COMMAND...: says what the compiler says
	local said
	said=$(printf '#include "%s"\n' "$source/$1" | "${@:2}" "${common[@]}" - 2>&1) || {
		printf '%s does not compile alone (%s):\n%s\n' "$1" "$2" "$said"
		bad=1
	}
}
for header in "${headers[@]}"; do
	# shellcheck disable=SC2086
	try "$header" "$cc" -x c -std=gnu17 -D_GNU_SOURCE -Wall -Wextra -Werror $libraries
	case $header in
	include/memapi/manager.h | include/memapi/heap.h | include/memapi/undo.h | include/memapi/own.h | include/memapi/module.h) ;;
	include/*)
		try "$header" "$cc" -x c -std=c11 -Wall -Wextra -Wpedantic -Werror
		try "$header" "$cc" -x c -std=c11 -DDBG_SR_MEMORY -Wall -Wextra -Wpedantic -Werror
		try "$header" "$cxx" -x c++ -std=c++11 -Wall -Wextra -Wpedantic -Werror
		try "$header" "$cxx" -x c++ -std=c++11 -DDBG_SR_MEMORY -Wall -Wextra -Werror
		;;
	esac
done
echo "${#headers[@]} headers"
exit $bad
