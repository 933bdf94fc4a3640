#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# The checkers find what they are for: a tree with one planted fault a file, each of which must be told.
set -u
lint=$1
dir=$(mktemp -d) && trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 1
mkdir -p include/memapi src/mem/{base,meta,mgr,front} src/{ctl,conf,daemon} tools/mmctl
touch include/memapi/memapi.h src/mem/base/align.h src/mem/meta/layout.h src/mem/front/front.h src/ctl/rpc.h src/conf/conf.h
bad=0
expect() {	# FILE CODE WORDS: the fault that FILE with CODE must have; no words: none
	local said
	printf '%b' "$2" >"$1"
	said=$(python3 "$lint/arrows.py" "$1")
	if [ -n "${3-}" ] && [[ $said != *"$3"* ]] || [ -z "${3-}" ] && [ -n "$said" ]; then
		printf '%s: %b\n expected: %s\n said:     %s\n' "$1" "$2" "${3-nothing}" "$said"
		bad=1
	fi
}
expect src/mem/base/a.c '#include "mem/meta/layout.h"\n' 'src/mem/base may not include src/mem/meta'
expect src/mem/mgr/a.c '#include "mem/front/front.h"\n' 'src/mem/mgr may not include src/mem/front'
expect src/mem/front/a.c '#include "mem/base/align.h"\n#include <sys/mman.h>\n'
expect src/mem/front/a.c '#include "conf/conf.h"\n' 'may not include src/conf'
expect src/ctl/a.c '#include "mem/meta/layout.h"\n' 'src/ctl may not include src/mem/meta'
expect src/ctl/a.c '#include <json-c/json.h>\n#include <event2/event.h>\n#include "memapi/memapi.h"\n'
expect src/mem/init.c '#include <json-c/json.h>\n' 'nothing to do with <json-c/json.h>'
expect src/conf/a.c '#include <ini.h>\n#include "ctl/rpc.h"\n' 'src/conf may not include src/ctl'
expect src/mem/init.c '#include <ini.h>\n#include "conf/conf.h"\n'
expect include/memapi/a.h '#include <sys/mman.h>\n' 'C standard library only'
expect include/memapi/a.h '#include <stdint.h>\n'
expect tools/mmctl/a.c '#include "mem/meta/layout.h"\n' 'tools may not include src/mem/meta'
expect tools/mmctl/a.c '#include "conf/conf.h"\n'
expect src/daemon/a.c '#include "x.c"\n' '.c file is never included'
expect src/mem/front/a.c 'int f(void) { printf("x"); return 0; }\n' 'does not call printf()'
expect src/mem/front/a.c 'int f(void) { fprintf(out, "exit(1)"); return x->exit(1); } /* exit(1) */\n'
expect src/conf/a.c 'const char *f(int e) { return strerror(e); }\n' 'takes a lock of the program'
cat >x.c <<'C'
struct two { int a, b; };	/* one line */

static int f(struct two *t)
{
	if(t->a)
	    return 1;
	return t->b;   
}
C
printf 'BasedOnStyle: LLVM\nIndentWidth: 8\nUseTab: Always\nBreakBeforeBraces: Linux\nColumnLimit: 120\n' >.clang-format
said=$(python3 "$lint/format.py" x.c | tr '\n' ' ')
if [ "$said" != 'x.c:7: layout x.c:5: layout ' ]; then
	echo "format.py said: $said"
	bad=1
fi
exit $bad
