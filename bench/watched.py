#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""What each way of watching costs a whole program: python3 with PYTHONMALLOC=malloc, preloaded, the ways in turns.

	bench/watched.py LIBMEMAPI-PRELOAD.so [ROUNDS [MANAGER]]

The program builds lists, dictionaries and strings and factors numbers, 0.3 s without us. Its CPU time counts, a ratio is
taken within its round, and of the rounds the median, with their quartiles.
"""
import os, resource, statistics, subprocess, sys, tempfile

PROGRAM = """
def factor(n):
    out, d = [], 2
    while d * d <= n:
        while n % d == 0:
            out.append(d)
            n //= d
        d += 1
    return out + [n]
keep = {}
for i in range(12000):
    keep[i % 3000] = {"name": "entry %d" % i, "factors": factor(10 ** 6 + i), "words": [str(j) * 3 for j in range(20)]}
print(len(keep), sum(len(v["factors"]) for v in keep.values()))
"""
WAYS = {"off": "off", "sampled": "sampled", "sites": "sites", "off again": "off"}


def cpu(env):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-S", "-c", PROGRAM], env=env, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main():
    lib, rounds = os.path.abspath(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 15
    manager = sys.argv[3] if len(sys.argv) > 3 else "fm"
    plain = dict(os.environ, PYTHONMALLOC="malloc", PYTHONHASHSEED="0")
    ratios = {way: [] for way in ["glibc", *WAYS]}
    with tempfile.TemporaryDirectory() as registry:
        ours = dict(plain, LD_PRELOAD=lib, MEMAPI_REGISTRY=registry, MEMAPI_CONFIG="/dev/null", MEMAPI_MANAGER=manager)
        for n in range(rounds + 1):
            ways = list(WAYS.items())
            took = {way: cpu(dict(ours, MEMAPI_TRACK=track)) for way, track in (ways if n % 2 else reversed(ways))}
            took["glibc"] = cpu(plain)
            for way in ratios if n else ():		# the first round warms up
                ratios[way].append(took[way] / took["off"])
            for name in os.listdir(registry):
                os.unlink(os.path.join(registry, name))
    for way, r in ratios.items():
        q = statistics.quantiles(r, n=4)
        print(f"{way:<10} {statistics.median(r):.3f} x off [{q[0]:.3f}-{q[2]:.3f}]")


main()
