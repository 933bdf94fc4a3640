#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""What does a manager cost a real program?

    programs.py [-r ROUNDS] [-s SCALE] [-o json] [--keep FILE] [--write FILE] [--program NAME ...] [--manager NAME ...]

The programs of tests/programs, on each manager and on glibc, one after the other in each round; ratios are to glibc in the
same round, and what is printed is their median. time: user and system time of the program and its children. memory: its
peak. A time whose rounds differ by more than a quarter of it has a ~. --write puts the table into the Markdown FILE, between its
<!-- table --> marks. --keep: rounds are added to those in FILE, and the table is of all of them, so that it can be made in
pieces, a program or a round at a time; with -r 0 of nothing else.
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


def keep(file, found):
    """Adds what was found to the lines of the file: what is in it now, all rounds."""
    everything = {}
    if os.path.exists(file):
        with open(file, encoding="utf-8") as f:
            for line in f:
                name, manager, rounds = json.loads(line)
                everything[name, manager] = [r and (r[0], r[1], p.Cost(*r[2])) for r in rounds]
    for key, rounds in found.items():
        everything.setdefault(key, []).extend(rounds)
    with open(file, "w", encoding="utf-8") as f:
        f.writelines(json.dumps([*key, rounds]) + "\n" for key, rounds in everything.items())
    return everything


def cell(rounds):
    if not rounds:
        return "-"
    if None in rounds:
        return "FAILED"
    times = [r[0] for r in rounds]
    noisy = "~" if max(times) - min(times) > statistics.median(times) / 4 else ""
    return f"{statistics.median(times):.2f}{noisy} / {statistics.median(r[1] for r in rounds):.2f}"


def table(found, names, managers):
    rows = [["program", "glibc: s, MiB", *managers]]
    for name in names:
        base = [r[2] for r in found.get((name, p.GLIBC), []) if r]
        first = f"{statistics.median(c.cpu for c in base):.2f}, {statistics.median(c.peak for c in base) / 1024:.0f}" if base else "FAILED"
        rows.append([name, first, *(cell(found.get((name, m))) for m in managers)])
    return rows


def main():
    a = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    a.add_argument("-r", "--rounds", type=int, default=5)
    a.add_argument("-s", "--scale", type=int, default=2)
    a.add_argument("-o", "--output", choices=["table", "json"], default="table")
    a.add_argument("--keep")
    a.add_argument("--write")
    a.add_argument("--program", action="append", choices=list(p.PROGRAMS))
    a.add_argument("--manager", action="append")
    o = a.parse_args()
    build = os.path.join(os.environ.get("BENCH_BIN", os.path.join(HERE, "../build/release/bin")), "..")
    lack = p.missing()
    if lack:
        sys.exit("missing: apt-get install " + " ".join(lack))
    names, managers, where = o.program or list(p.PROGRAMS), o.manager or p.everything(build), machine()
    found = measure(build, names, managers, o.rounds, o.scale)
    if o.keep:
        found = keep(o.keep, found)
        names = [name for name in p.PROGRAMS if (name, p.GLIBC) in found]
        managers = o.manager or [m for m in p.everything(build) if any(key[1] == m for key in found)]
    rows, counts = table(found, names, managers), sorted(map(len, found.values()))
    of = f"{counts[0]} rounds" if counts[0] == counts[-1] else f"{counts[0]} to {counts[-1]} rounds"
    if o.output == "json":
        for (name, manager), rounds in found.items():
            good = [r for r in rounds if r]
            print(json.dumps({"bench": "programs", "program": name, "allocator": manager, "works": str(len(good) == len(rounds)),
                              "time_to_glibc": series([r[0] for r in good]), "memory_to_glibc": series([r[1] for r in good])}))
    else:
        print(f"{where}; {of}; time / memory, x glibc\n")
        print_table(rows)
    if o.write:
        write(o.write, f"{where}; medians of {of}.\n\n{markdown(rows)}\n")
    sys.exit(any(None in r for r in found.values()))


if __name__ == "__main__":
    main()
