#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""arrows.py - nothing includes upwards

An arrow of the layers may be followed any number of times: what a layer's neighbour may include, the layer may too. Also
looked for: what src/mem must not do (print, exit, talk to sockets), and an #include of a .c file. Exit status 1: a fault.
"""
import os
import re
import sys

# layer: the layers below it that it may include, and libraries besides C's
LAYERS = {
	"include/memapi": ((), ()),
	"src/base": ((), ()),
	"src/mem/base": (("src/base",), ()),
	"src/mem/region": (("src/mem/base",), ()),
	"src/mem/meta": (("src/mem/base", "src/mem/region", "include/memapi"), ("elf.h",)),
	"src/mem/mgr": (("src/mem/base", "include/memapi"), ()),
	"src/mem/modules": (("include/memapi",), ("mimalloc.h", "jemalloc", "gperftools")),
	"src/mem/front": (("src/mem/meta", "src/mem/mgr"), ()),
	"src/mem/reap": (("src/mem/front",), ()),
	"src/mem/observe": (("src/mem/meta", "include/memapi"), ("elfutils", "elf.h", "gelf.h")),
	"src/mem/preload": (("src/mem",), ()),
	"src/mem/host.h": (("include/memapi",), ()),
	"src/mem": (("src/mem/front", "src/mem/reap", "src/mem/observe", "src/mem/host.h", "src/conf"), ()),
	"src/conf": ((), ("ini.h",)),
	"src/ctl": (("src/base", "include/memapi"), ("json-c", "event2")),
	"src/daemon": (("src/ctl", "src/conf", "include/memapi", "src/mem/host.h"), ("json-c", "event2", "argp.h")),
	"tools": (("src/ctl", "src/conf", "tools"), ("json-c", "argp.h", "ncurses.h", "curses.h", "elf.h")),
}
# a file that belongs to another layer than its folder
FILES = {
	"src/mem/pool.h": "src/mem/meta",	# one process's view of a pool: what META is reached through
	"src/mem/host.h": "src/mem/host.h",	# what libmemapi offers to the daemon alone
}
# what the C library and the kernel offer: no directory, or one of these
SYSTEM = {"sys", "linux", "asm", "arpa", "netinet", "net"}
# a library that the applications' headers must not need
STANDARD = {"assert", "complex", "ctype", "errno", "fenv", "float", "inttypes", "limits", "locale", "math", "setjmp",
	    "signal", "stdalign", "stdarg", "stdatomic", "stdbool", "stddef", "stdint", "stdio", "stdlib", "string",
	    "threads", "time", "wchar"}
# a library never prints, exits or talks; text goes where the caller says
FORBIDDEN = re.compile(r"(?<![\w.>])(printf|puts|putchar|perror|exit|_exit|syslog|socket|system|popen)\s*\(")
# it waits for a lock that a program may hold while it allocates: error_name() does not
LOCKING = re.compile(r"(?<![\w.>])(strerror)\s*\(")
COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*|\"(?:\\.|[^\"\\\n])*\"", re.S)


def layer_of(path):
	if path in FILES:
		return FILES[path]
	parts = path.split("/")
	for n in (3, 2, 1):
		if "/".join(parts[:n]) in LAYERS and len(parts) > n:
			return "/".join(parts[:n])
	return None


def below(layer):
	found, todo = set(), [layer]
	while todo:
		at = todo.pop()
		if at not in found:
			found.add(at)
			todo += LAYERS[at][0]
	return found


def libraries(layer):
	return {name for at in below(layer) for name in LAYERS[at][1]}


def where(path, name):
	"""File that #include "name" in `path` means, or None: one that is made by the build."""
	for folder in (os.path.dirname(path), "include", "src", "tools", ""):
		found = os.path.normpath(os.path.join(folder, name))
		if os.path.exists(found):
			return found
	return None


def include_faults(path, line):
	match = re.match(r'\s*#\s*include\s*(["<])([^">]+)[">]', line)
	if not match:
		return
	name, layer = match.group(2), layer_of(path)
	if name.endswith(".c"):
		yield "a .c file is never included"
	if layer is None:
		return
	if match.group(1) == '"' or name.startswith("memapi/"):
		target = where(path, name)
		to = layer_of(target) if target else layer
		if to and to not in below(layer):
			yield "%s may not include %s: only %s" % (layer, to, ", ".join(sorted(below(layer))))
		return
	first = name.split("/")[0]
	if layer == "include/memapi" and name[:-2] not in STANDARD:
		yield "applications' headers need the C standard library only, not <%s>" % name
	elif "/" in name and first not in SYSTEM and first not in libraries(layer):
		yield "%s has nothing to do with <%s>" % (layer, name)
	elif any(name in LAYERS[x][1] for x in LAYERS) and name not in libraries(layer):
		yield "%s has nothing to do with <%s>" % (layer, name)


def faults(path):
	with open(path, encoding="utf-8") as f:
		text = f.read()
	for i, line in enumerate(text.split("\n")):
		for fault in include_faults(path, line):
			yield i, fault
	if path.startswith("src/mem/") and not path.startswith("src/mem/preload/"):
		code = COMMENT.sub(lambda m: re.sub(r"[^\n]", " ", m.group(0)), text)
		for match in FORBIDDEN.finditer(code):
			yield code.count("\n", 0, match.start()), "a library does not call %s()" % match.group(1)
	if path.startswith(("src/mem/", "src/conf/")):
		code = COMMENT.sub(lambda m: re.sub(r"[^\n]", " ", m.group(0)), text)
		for match in LOCKING.finditer(code):
			yield code.count("\n", 0, match.start()), "%s() takes a lock of the program; error_name()" % match.group(1)


def main():
	bad = 0
	for path in sys.argv[1:]:
		for line, fault in faults(path):
			bad += 1
			print("%s:%d: %s" % (path, line + 1, fault))
	return 1 if bad else 0


if __name__ == "__main__":
	sys.exit(main())
