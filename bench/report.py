# SPDX-License-Identifier: BSD-2-Clause
"""What the benchmarks in Python share: the machine in a line, series of rounds, verdicts, tables in text and Markdown."""
import os
import platform
import statistics


def machine():
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        cpu = next((line.split(":", 1)[1].strip() for line in f if line.startswith("model name")), platform.machine())
    return f"{cpu}, {os.cpu_count()} CPUs, Linux {platform.release()}, glibc {platform.libc_ver()[1]}, load {os.getloadavg()[0]:.2f} at the start"


def series(values):
    if not values:
        return None
    return {"median": round(statistics.median(values), 4), "min": round(min(values), 4), "max": round(max(values), 4)}


def judge(values, limit):
    """met or MISSED when the middle half of the rounds agrees, as bench_judge() does; noisy else."""
    if not values:
        return "unknown"
    v = sorted(values)
    quarter = len(v) // 4
    middle = v[quarter:len(v) - quarter]
    if max(middle) <= limit:
        return "met"
    return "MISSED" if min(middle) > limit else "too noisy"


def print_table(rows):
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        print("  ".join(text.ljust(w) if i == 0 else text.rjust(w) for i, (text, w) in enumerate(zip(row, widths))).rstrip())
    print()


def markdown(rows):
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|---|" + "--:|" * (len(rows[0]) - 1), *lines[1:]])


def write(path, text, name=""):
    """Puts the text between the marks `<!-- table NAME -->` and `<!-- /table NAME -->` of the file."""
    begin, end = (f"<!-- {mark} -->" for mark in (f"table {name}".strip(), f"/table {name}".strip()))
    with open(path, encoding="utf-8") as f:
        before, rest = f.read().split(begin + "\n", 1)
    with open(path, "w", encoding="utf-8") as f:
        f.write(before + begin + "\n" + text + end + rest.split(end, 1)[1])
