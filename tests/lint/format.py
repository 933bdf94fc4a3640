#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""format.py [--show | --fix] FILE... - the layout of C files is what .clang-format decides, but for what a person does better

clang-format may be overruled in three things, since version 14 knows no way to keep them:
	- the column of a trailing comment: a table of members has its comments one below the other, by tabs;
	- what fits one line stays there: a struct of two members, an initialiser, a function of two statements; and where
	  a long line is broken;
	- the layout of macros.
It decides everything else: indentation, spaces inside a line, braces, 120 columns but for texts. Exit status 1: something is to mend.
--show says how; --fix does it, line by line, and is to be looked at afterwards.
"""
from concurrent.futures import ProcessPoolExecutor
import difflib
import re
import subprocess
import sys
import tempfile

COLUMNS = 120


def width(line):
	return len(line.expandtabs(8))


def indent(line):
	return len(line) - len(line.lstrip())


def plain(line):
	"""The line without what may differ: blanks before a trailing comment, and in `; )` of a for without a step."""
	line = re.sub(r"\s+(/\*.*|//.*)$", r" \1", line.rstrip())
	return line.replace("; )", ";)")


def macro_lines(lines):
	"""Numbers of lines that belong to a #define."""
	inside, found = False, set()
	for i, line in enumerate(lines):
		inside = inside or line.lstrip().startswith("#")
		if inside:
			found.add(i)
		inside = inside and line.endswith("\\")
	return found


def same_words(a, b):
	words = lambda lines: re.sub(r"\s*\\\s", " ", re.sub(r"\s+", " ", " ".join(plain(x).strip() for x in lines)))
	tight = lambda text: re.sub(r"([({\[]) | ([)}\]])", r"\1\2", re.sub(r"\s+", " ", text)).replace("}* ", "} *")
	return tight(words(a)) == tight(words(b))


def faults(path):
	with open(path, encoding="utf-8") as f:
		text = f.read()
	made = subprocess.run(["clang-format", "--style=file", path], check=True, capture_output=True, text=True).stdout
	have, want = text.split("\n"), made.split("\n")
	macros = macro_lines(have)
	for i, line in enumerate(have):
		if width(line) > COLUMNS and '"' not in line:	# a text is not broken: people look for it
			yield i, [line], ["(at most %d columns)" % COLUMNS]
		if line != line.rstrip():
			yield i, [line], ["(blanks at the end)"]
		if re.match(r" \*[a-z]+[ .,;:)]", line):	# clang-format takes the blank away when it wraps
			yield i, [line], ["(a blank behind the star)"]
	pairs = difflib.SequenceMatcher(None, [plain(x) for x in have], [plain(x) for x in want], autojunk=False)
	for tag, a, b, c, d in pairs.get_opcodes():
		if tag == "equal" or all(i in macros for i in range(a, b)) and a < b:
			continue
		same_place = a < b and c < d and (indent(have[a]) == indent(want[c]) or have[a].startswith("\t."))
		if same_place and same_words(have[a:b], want[c:d]):	# "\t.": initialisers, which macros among them confuse
			continue
		yield a, have[a:b], want[c:d]


def faults_of(path):
	return list(faults(path))


def fix(path):
	"""clang-format on the lines with faults, from the last to the first. Comments are wrapped anew there."""
	with open(".clang-format", encoding="utf-8") as f:
		style = f.read().replace("ReflowComments: false", "ReflowComments: true")
	with tempfile.NamedTemporaryFile("w", suffix=".yaml") as config:
		config.write(style)
		config.flush()
		lines = sorted({(at + 1, at + max(1, len(have))) for at, have, _ in faults(path)}, reverse=True)
		for first, last in lines:
			subprocess.run(["clang-format", "-i", "--style=file:" + config.name, "--lines=%d:%d" % (first, last), path],
				       check=True)


def main():
	show, mend = sys.argv[1:2] == ["--show"], sys.argv[1:2] == ["--fix"]
	bad = 0
	paths = sys.argv[1 + (show or mend):]
	with ProcessPoolExecutor() as pool:
		looked = list(pool.map(fix if mend else faults_of, paths, chunksize=8))
	for path, found in zip(paths, looked):
		for line, have, want in found or ():
			bad += 1
			print("%s:%d: layout" % (path, line + 1))
			if show:
				print("".join("\t-%s\n" % x for x in have) + "".join("\t+%s\n" % x for x in want), end="")
	return 1 if bad else 0


if __name__ == "__main__":
	sys.exit(main())
