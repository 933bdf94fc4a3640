#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""An allocator beside its peers, each as a preload library of the same program.

    peers.py [-r ROUNDS] [-s SCALE] [-o json] [--write FILE] [--row ROW ...] [--manager NAME ...] [--peer NAME=PATH.so ...]
             [--judge MANAGER]

Rows are loads of bench/peer_work.c. Each runs on glibc, on jemalloc, tcmalloc and mimalloc where Debian's libraries are
installed, on every --peer, and on each manager of memapi, with its magazines and (NAME-) without; one after the other in each
round, the order reversed every other round. A figure is the median of the ratios to glibc in the same round, [least-most].
--judge: whose figures are compared with the goals. --write puts the tables into the Markdown FILE, between its
<!-- table peers --> marks.
"""
import argparse
import glob
import json
import os
import statistics
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../tests/programs"))
sys.dont_write_bytecode = True
import programs as p  # noqa: E402 pylint: disable=wrong-import-position
from report import judge, machine, markdown, print_table, series, write  # noqa: E402 pylint: disable=wrong-import-position

LIBRARIES = {"jemalloc": "libjemalloc.so.2", "tcmalloc": "libtcmalloc_minimal.so.4", "mimalloc": "libmimalloc.so.2*"}

# group, [(figure, what a person reads, the work that prints it, goal or None)]
GROUPS = [
    ("one thread, ns a pair", [
        ("lifo64", "64 B LIFO", "lifo64", 0.58), ("lifo400", "400 B LIFO", "lifo400", None),
        ("batch64", "64 B, batches of 256", "batch64", None), ("random1k", "16-1024 B, 1k live", "random1k", 0.54),
        ("random100k", "100k live", "random100k", 0.22), ("random1m", "1M live", "random1m", 0.44)]),
    ("large blocks, ns a pair, and realloc, ns a call", [
        ("large", "4 KiB-1 MiB, 64 live", "large", 0.58), ("realloc1", "one array to 1 MiB", "realloc1", 1.5),
        ("realloc2", "two to 64 KiB", "realloc2", 0.13)]),
    ("two threads, wall ns a pair of one", [
        ("lifo64_2", "64 B LIFO", "lifo64_2", 0.49), ("random1k_2", "16-1024 B, 1k live each", "random1k_2", 0.53),
        ("random100k_2", "100k live each", "random100k_2", None), ("handover", "one takes, the other frees", "handover", 0.08),
        ("larson", "threads that end", "larson", None)]),
    ("single pairs of 16-1024 B, 10k live, ns with the clock's own", [
        ("latency_p50", "median", "latency", None), ("latency_p999", "99.9 %", "latency", None),
        ("latency_p99999", "99.999 %", "latency", None)]),
    ("resident bytes a byte held, and ms of the six phases", [
        ("bytes16", "16 B", "bytes16", 0.75), ("bytes64", "64 B", "bytes64", 0.90), ("bytes_mixed", "16-1024 B", "bytes_mixed", None),
        ("shift", "sizes shifted", "shift", 1.10), ("shift_cpu", "time of it", "shift", 0.30), ("left20", "20 % left", "shift", None),
        ("left10", "10 % left", "shift", 1.0)]),
]
FIGURES = {figure: (text, work, goal) for _, figures in GROUPS for figure, text, work, goal in figures}


class Allocator:
    """A name in the table, and the environment that makes a program run on it."""

    def __init__(self, name, preload, **env):
        self.name, self.env = name, {"LD_PRELOAD": preload, **env}


def allocators(build, managers, peers):
    found = [Allocator(p.GLIBC, p.c_library())]
    for name, pattern in LIBRARIES.items():
        paths = sorted(glob.glob("/usr/lib/*/" + pattern))
        if paths:
            found.append(Allocator(name, paths[0]))
        else:
            print(f"{name}: no {pattern} here, left out", file=sys.stderr)
    found += [Allocator(*peer.split("=", 1)) for peer in peers]
    preload = os.path.realpath(os.path.join(build, "lib/libmemapi-preload.so"))
    for m in managers:
        found.append(Allocator(m, preload, MEMAPI_MANAGER=m))
        if m != "sys" and not m.startswith("module:"):  # these have none of ours
            found.append(Allocator(m + "-", preload, MEMAPI_MANAGER=m, MEMAPI_MAGAZINES="no"))
    return found


def run(build, work, allocator, scale):
    """{figure: value} of one work on one allocator; {}: it failed."""
    with tempfile.TemporaryDirectory(prefix="memapi-peers-") as directory:
        env = {"PATH": "/usr/bin:/bin", "MEMAPI_CONFIG": "/dev/null", "MEMAPI_REGISTRY": os.path.join(directory, "registry"),
               "XDG_STATE_HOME": directory, **allocator.env}
        try:
            said = subprocess.run([os.path.join(build, "bin/bench_peer_work"), work, str(scale)], env=env, stdout=subprocess.PIPE, text=True,
                                  check=True, timeout=300).stdout
            return {line.split()[0]: float(line.split()[1]) for line in said.splitlines()}
        except (subprocess.SubprocessError, OSError) as e:
            print(f"{work} on {allocator.name}: {e}", file=sys.stderr)
            return {}


def measure(build, works, all_of, rounds, scale):
    """{(figure, allocator name): [value of each round, None where it failed]}"""
    found = {}
    for r in range(rounds):
        for work in works:
            for a in all_of if r % 2 == 0 else reversed(all_of):
                values = run(build, work, a, scale)
                for figure in (f for f in FIGURES if FIGURES[f][1] == work):
                    found.setdefault((figure, a.name), []).append(values.get(figure))
    return found


def ratios(found, figure, name):
    pairs = zip(found[figure, name], found[figure, p.GLIBC])
    return [value / base for value, base in pairs if value is not None and base]


def cell(found, figure, name):
    values = ratios(found, figure, name)
    if None in found[figure, name] or not values:
        return "FAILED"
    return f"{statistics.median(values):.2f} [{min(values):.2f}-{max(values):.2f}]"


def absolute(found, figure):
    values = [v for v in found[figure, p.GLIBC] if v is not None]
    return f"{statistics.median(values):.4g}" if values else "FAILED"


def tables(found, all_of):
    """[(title, rows)], one table a group of which something was measured."""
    result = []
    for title, figures in GROUPS:
        names = [f for f, *_ in figures if (f, p.GLIBC) in found]
        if not names:
            continue
        rows = [["x glibc", *(FIGURES[f][0] for f in names)], ["glibc itself", *(absolute(found, f) for f in names)]]
        rows += [[a.name, *(cell(found, f, a.name) for f in names)] for a in all_of[1:]]
        result.append((title, rows))
    return result


def verdicts(found, name):
    lines = []
    for figure, (text, _, goal) in FIGURES.items():
        if goal is not None and (figure, name) in found:
            values = ratios(found, figure, name)
            lines.append((judge(values, goal), f"{name}, {text}: <= {goal} x glibc", series(values)))
    return lines


def options():
    a = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    a.add_argument("-r", "--rounds", type=int, default=5)
    a.add_argument("-s", "--scale", type=float, default=1)
    a.add_argument("-o", "--output", choices=["table", "json"], default="table")
    a.add_argument("--write")
    a.add_argument("--row", action="append", choices=list(FIGURES))
    a.add_argument("--manager", action="append")
    a.add_argument("--peer", action="append", default=[], metavar="NAME=PATH")
    a.add_argument("--judge", default="fm")
    o = a.parse_args()
    for peer in o.peer:
        if not os.path.exists(peer.partition("=")[2]):
            a.error(f"--peer {peer}: it must be NAME=PATH of a library that is there")
    return o


def print_json(found):
    for (figure, name), values in found.items():
        print(json.dumps({"bench": "peers", "row": figure, "allocator": name, "value": series([v for v in values if v is not None]),
                          "to_glibc": series(ratios(found, figure, name)), "works": None not in values}))


def main():
    o = options()
    build = os.path.join(os.environ.get("BENCH_BIN", os.path.join(HERE, "../build/release/bin")), "..")
    all_of, where = allocators(build, o.manager or p.managers(build), o.peer), machine()
    works = list(dict.fromkeys(FIGURES[f][1] for f in o.row or FIGURES))
    found = measure(build, works, all_of, o.rounds, o.scale)
    shown, judged = tables(found, all_of), verdicts(found, o.judge)
    told = [f"{verdict:<10} {goal}: {s['median'] if s else '?'} [{s['min'] if s else '?'}-{s['max'] if s else '?'}]" for verdict, goal, s in judged]
    if o.output == "json":
        print_json(found)
    else:
        print(f"{where}; {o.rounds} rounds; NAME-: without magazines\n")
        for title, rows in shown:
            print(title)
            print_table(rows)
        print("\n".join(told))
    if o.write:
        text = "\n".join(f"{title}\n\n{markdown(rows)}\n" for title, rows in shown)
        write(o.write, f"{where}; medians of {o.rounds} rounds.\n\n{text}\n```\n" + "\n".join(told) + "\n```\n", "peers")
    sys.exit(any(verdict == "MISSED" for verdict, *_ in judged))


if __name__ == "__main__":
    main()
