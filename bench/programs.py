#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""What does a manager cost a real program?

    programs.py [-r ROUNDS] [-s SCALE] [-o json] [--write FILE] [--program NAME ...] [--manager NAME ...]

The programs of tests/programs, on each manager and on glibc, one after the other in each round; ratios are to glibc in the
same round, and what is printed is their median. time: user and system time of the program and its children. memory: its
peak. --write puts the table into the Markdown FILE, between its <!-- table --> marks.
"""
import argparse
import json
import os
import statistics
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../tests/programs"))
sys.dont_write_bytecode = True
import programs as p  # noqa: E402 pylint: disable=wrong-import-position
from report import machine, markdown, print_table, series, write  # noqa: E402 pylint: disable=wrong-import-position


def one(build, name, manager, scale):
    try:
        with p.Run(build, manager, scale) as run:
            return p.PROGRAMS[name](run)
    except (p.Fault, p.subprocess.TimeoutExpired, OSError) as e:
        print(f"{name} on {manager}: {e}", file=sys.stderr)
        return None


def measure(build, names, managers, rounds, scale):
    """{(program, manager): [(time ratio, memory ratio, Cost), ...]}; None for a round in which it did not work."""
    found = {}
    for r in range(rounds):
        for name in names:
            order = [p.GLIBC, *managers] if r % 2 == 0 else [p.GLIBC, *reversed(managers)]
            base = None
            for manager in order:
                cost = one(build, name, manager, scale)
                base = cost if manager == p.GLIBC else base
                ok = cost and base
                found.setdefault((name, manager), []).append((cost.cpu / max(base.cpu, 0.005), cost.peak / base.peak, cost) if ok else None)
    return found


def cell(rounds):
    if None in rounds:
        return "FAILED"
    return " / ".join(f"{statistics.median(r[i] for r in rounds):.2f}" for i in (0, 1))


def table(found, names, managers):
    rows = [["program", "glibc: s, MiB", *managers]]
    for name in names:
        base = [r[2] for r in found[name, p.GLIBC] if r]
        first = f"{statistics.median(c.cpu for c in base):.2f}, {statistics.median(c.peak for c in base) / 1024:.0f}" if base else "FAILED"
        rows.append([name, first, *(cell(found[name, m]) for m in managers)])
    return rows


def main():
    a = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    a.add_argument("-r", "--rounds", type=int, default=5)
    a.add_argument("-s", "--scale", type=int, default=2)
    a.add_argument("-o", "--output", choices=["table", "json"], default="table")
    a.add_argument("--write")
    a.add_argument("--program", action="append", choices=list(p.PROGRAMS))
    a.add_argument("--manager", action="append")
    o = a.parse_args()
    build = os.path.join(os.environ.get("BENCH_BIN", os.path.join(HERE, "../build/release/bin")), "..")
    lack = p.missing()
    if lack:
        sys.exit("missing: apt-get install " + " ".join(lack))
    names, managers, where = o.program or list(p.PROGRAMS), o.manager or p.managers(build), machine()
    found = measure(build, names, managers, o.rounds, o.scale)
    rows = table(found, names, managers)
    if o.output == "json":
        for (name, manager), rounds in found.items():
            good = [r for r in rounds if r]
            print(json.dumps({"bench": "programs", "program": name, "allocator": manager, "works": str(len(good) == len(rounds)),
                              "time_to_glibc": series([r[0] for r in good]), "memory_to_glibc": series([r[1] for r in good])}))
    else:
        print(where + f"; {o.rounds} rounds; time / memory, x glibc\n")
        print_table(rows)
    if o.write:
        write(o.write, f"{where}; medians of {o.rounds} rounds.\n\n{markdown(rows)}\n")
    sys.exit(any(None in r for r in found.values()))


if __name__ == "__main__":
    main()
