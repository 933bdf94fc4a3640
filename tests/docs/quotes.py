#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""quotes.py SOURCE - code that docs/managers.md quotes stands so in tests/managers/ff.c"""
import os
import re
import sys


def main():
	os.chdir(sys.argv[1])
	with open("tests/managers/ff.c", encoding="utf-8") as f:
		code = f.read()
	with open("docs/managers.md", encoding="utf-8") as f:
		blocks = re.findall(r"^```c\n(.*?)^```", f.read(), re.S | re.M)
	strange = [block for block in blocks if block not in code]
	for block in strange:
		print("docs/managers.md quotes what is not in tests/managers/ff.c:\n" + block)
	return 1 if strange or len(blocks) < 5 else 0


if __name__ == "__main__":
	sys.exit(main())
