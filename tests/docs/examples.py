#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""examples.py SOURCE BUILD CC - every piece of code that the documentation shows to applications compiles and runs

	README.md, the first C block		a program, exit status 0
	memapi(7), EXAMPLE			a program that prints 42
	Example: in a docblock of the headers	the body of a function that returns int; its end is a success; a comment
						`// void f(...)` stands for a function that the reader writes
"""
import os
import re
import subprocess
import sys
import tempfile

SOURCE, BUILD, CC = sys.argv[1:4]
FLAGS = ["-std=gnu11", "-Wall", "-I" + os.path.join(SOURCE, "include"), "-L" + os.path.join(BUILD, "lib"),
	 "-Wl,-rpath," + os.path.join(BUILD, "lib"), "-lmemapi"]


def read(*parts):
	with open(os.path.join(*parts), encoding="utf-8") as f:
		return f.read()


def docblock_examples(header):
	"""(line, code) of each Example: in a comment; it goes on while its lines begin with a tab."""
	lines = read(SOURCE, "include/memapi", header).split("\n")
	for i, line in enumerate(lines):
		if re.match(r" \* Example:$", line):
			code = []
			for text in lines[i + 1:]:
				if not text.startswith(" *\t"):
					break
				code.append(text[3:])
			yield i + 1, "\n".join(code)


def programs():
	yield "README.md", re.search(r"^```c\n(.*?)^```", read(SOURCE, "README.md"), re.S | re.M).group(1), ""
	man = read(BUILD, "man/memapi.7").split('.SH EXAMPLE\n.nf\n')[1].split("\n.fi")[0]
	yield "memapi.7", man.replace("\\e", "\\").replace("\\-", "-"), "42\n"
	for header in sorted(os.listdir(os.path.join(SOURCE, "include/memapi"))):
		for line, code in docblock_examples(header):
			theirs = "".join(x + " { }\n" for x in re.findall(r"// (void \w+\(.*\))$", code, re.M))
			yield ("%s:%d" % (header, line),
			       "#include <errno.h>\n#include <memapi/%s>\n#include <memapi/memapi.h>\n#include <string.h>\n"
			       "%sstatic int example(void)\n{\n%s\n\treturn 0;\n}\nint main(void) { return example() ? 1 : 0; }\n"
			       % (header, theirs, code), "")


def fault(name, code, expected, tmp):
	path = os.path.join(tmp, "example")
	with open(path + ".c", "w", encoding="utf-8") as f:
		f.write(code)
	made = subprocess.run([CC, path + ".c", "-o", path] + FLAGS, capture_output=True, text=True, check=False)
	if made.returncode:
		return "%s does not compile:\n%s" % (name, made.stderr)
	env = dict(os.environ, MEMAPI_REGISTRY=os.path.join(tmp, "registry"), XDG_STATE_HOME=tmp, XDG_CONFIG_HOME=tmp)
	ran = subprocess.run([path], capture_output=True, text=True, env=env, timeout=20, check=False)
	if ran.returncode or ran.stdout != expected:
		return "%s: exit status %d, said %r, %r expected\n%s" % (name, ran.returncode, ran.stdout, expected, ran.stderr)
	return None


def main():
	count = bad = 0
	with tempfile.TemporaryDirectory() as tmp:
		for name, code, expected in programs():
			what = fault(name, code, expected, tmp)
			count += 1
			if what:
				bad += 1
				print(what)
	print("%d examples" % count)
	return 1 if bad or count < 3 else 0


if __name__ == "__main__":
	sys.exit(main())
