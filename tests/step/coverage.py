#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""coverage.py LIBRARY ADDRESSES... [--functions] - which instructions of libmemapi.so were kill points

ADDRESSES are what `step` writes: places in the library, one a line. Counted against objdump's instructions of those
functions that were entered at all. --functions: each of them, least covered first, with the first that was not reached.
"""
import bisect
import re
import subprocess
import sys

LABEL = re.compile(r"^([0-9a-f]+) <(.+)>:$")
INSTRUCTION = re.compile(r"^\s+([0-9a-f]+):\t(\S+)")


def functions_of(library):
	"""(start, name, instructions) of each function, without what only fills the room to the next one."""
	found = []
	text = subprocess.run(["objdump", "-d", "--no-show-raw-insn", library], check=True, capture_output=True, text=True).stdout
	for line in text.splitlines():
		label = LABEL.match(line)
		if label:
			found.append((int(label[1], 16), label[2], []))
			continue
		instruction = INSTRUCTION.match(line)
		if instruction and found and not re.match(r"(cs|data16|nop|xchg|\(bad\))", instruction[2]):
			found[-1][2].append(int(instruction[1], 16))
	return found


def main(arguments):
	library, *files = [a for a in arguments if not a.startswith("--")]
	seen = set()
	for file in files:
		with open(file, encoding="ascii") as f:
			seen.update(int(line, 16) for line in f)
	functions = functions_of(library)
	starts = [f[0] for f in functions]
	entered = {}
	for at in seen:
		entered.setdefault(bisect.bisect_right(starts, at) - 1, set()).add(at)
	rows, total, reached = [], 0, 0
	for i, points in entered.items():
		_, name, instructions = functions[i]
		if name.endswith("@plt"):		# one jump, and what lazy binding would need
			continue
		missed = [at for at in instructions if at not in points]
		total += len(instructions)
		reached += len(instructions) - len(missed)
		rows.append((len(instructions) - len(missed), len(instructions), name, missed))
	if "--functions" in arguments:
		for got, all_, name, missed in sorted(rows, key=lambda r: r[0] / max(r[1], 1)):
			print(f"{100 * got / max(all_, 1):5.1f} %  {got:5} of {all_:5}  {name}" + (f"  first missed: {missed[0]:#x}" if missed else ""))
	print(f"{len(seen)} distinct instructions were kill points; of the {len(rows)} functions that were entered {reached} of "
	      f"{total} instructions: {100 * reached / max(total, 1):.1f} %")


if __name__ == "__main__":
	if len(sys.argv) < 3:
		sys.exit(__doc__)
	main(sys.argv[1:])
