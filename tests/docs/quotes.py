#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""quotes.py SOURCE - code that a document quotes stands so in the files that it is about"""
import os
import re
import sys

QUOTES = {
	"docs/managers.md": (["tests/managers/ff.c"], 5),
	"docs/modules.md": (["examples/module/stack.c", "examples/module/module.c"], 6),
}


def text_of(path):
	with open(path, encoding="utf-8") as f:
		return f.read()


def main():
	bad = 0
	os.chdir(sys.argv[1])
	for document, (sources, least) in QUOTES.items():
		code = "\0".join(text_of(path) for path in sources)
		blocks = re.findall(r"^```c\n(.*?)^```", text_of(document), re.S | re.M)
		for block in blocks:
			if block not in code:
				print("%s quotes what is not in %s:\n%s" % (document, ", ".join(sources), block))
				bad = 1
		if len(blocks) < least:
			print("%s: %d quotes found, %d and more expected" % (document, len(blocks), least))
			bad = 1
	return bad


if __name__ == "__main__":
	sys.exit(main())
