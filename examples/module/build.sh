#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# build.sh [DIRECTORY] - stack.so from stack.c and module.c, with the installed headers (CFLAGS=-I… for others)
set -eu
here=$(dirname "$0") to=${1-.}
flags="${CFLAGS-$(pkg-config --cflags memapi)} -O2 -Wall -Wextra -fPIC -fvisibility=hidden -fno-strict-aliasing"

for domain in PKG SHM VIEW; do
	${CC-cc} $flags -DMEM_DOMAIN_$domain -c "$here/stack.c" -o "$to/stack_$domain.o"
done
${CC-cc} $flags -shared "$here/module.c" "$to"/stack_PKG.o "$to"/stack_SHM.o "$to"/stack_VIEW.o -o "$to/stack.so"
rm "$to"/stack_PKG.o "$to"/stack_SHM.o "$to"/stack_VIEW.o
