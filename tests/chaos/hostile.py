#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Noise in the META of live pools, while mmd and mmctl look at them.

    hostile.py MMD MMCTL APP SECONDS [SEED]

Two programs and two hosted pools are victims, one of each stays as it is. A mutator writes noise into the victims' META:
bits, words, plausible numbers, other places' bytes; most of the time it spares the identity, without which a file is
just skipped; now and then it puts back what was there. Meanwhile every method is asked, by mmctl too. What must hold:
mmd and mmctl never crash and answer within seconds; the others' rows are exact to the byte; a victim is told as damaged
or skipped with a reason, or with numbers that nobody promised anything of.
"""
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

ANSWER_S = 20			# of the slowest answer; under ASan, and beside everything else
INTERESTING = [0, 1, 7, 8, 0xff, 0x1000, 0xffff, 0x10000, 1 << 31, (1 << 32) - 1, 1 << 32, 1 << 47, 1 << 63, (1 << 64) - 1]
METHODS = [("status", {}), ("stats", {}), ("dump", {"domain": "shm", "limit": 500}), ("dump", {"domain": "pkg", "limit": 500}),
           ("summary", {"domain": "shm"}), ("summary", {"domain": "pkg", "by": "owner"}), ("leaks", {"domain": "shm"}),
           ("leaks", {"domain": "pkg"}), ("failures", {}), ("check", {}), ("pool.list", {}), ("track", {"mode": "sites"})]
VERBS = [["status"], ["stats", "shm"], ["check"], ["leaks", "shm"], ["dump", "shm"], ["failures"]]
EXACT = ("size", "used", "real_used", "max_used", "free", "cached", "fragments", "free_fragments", "largest_free", "failures",
         "state", "users", "dead", "manager")


class Place:
    def __init__(self, mmd, app, managers):
        self.mmd, self.app_path = mmd, app
        self.dir = tempfile.mkdtemp(prefix="hostile-")
        self.path = os.path.join(self.dir, "sock")
        self.registry = os.path.join(self.dir, "registry")
        conf = os.path.join(self.dir, "mmd.conf")
        with open(conf, "w") as f:
            for pool, manager in managers.items():
                f.write("[pool.%s]\nsize = 8M\nmanager = %s\nkeep = yes\non_death = %s\n" %
                        (pool, manager, "reclaim" if pool.endswith("reclaim") else "keep"))
        self.env = {**os.environ, "MEMAPI_REGISTRY": self.registry, "MEMAPI_CONFIG": conf, "XDG_STATE_HOME": self.dir,
                    "MEMAPI_TRACK": "sites"}
        self.log = open(os.path.join(self.dir, "log"), "wb")
        self.running = []
        self.conf = conf
        self.start()

    def start(self):
        self.daemon = self.run([self.mmd, "-c", self.conf, "--socket", self.path], stdout=self.log, stderr=self.log)
        deadline = time.monotonic() + 30
        while not os.path.exists(self.path):
            assert self.daemon.poll() is None and time.monotonic() < deadline, "mmd does not come up"
            time.sleep(0.05)

    def restart(self):
        """After kill -9: it finds the pools, with the noise in them."""
        self.daemon.kill()
        self.daemon.wait()
        os.unlink(self.path)
        self.start()

    def run(self, argv, **kw):
        env = {**self.env, **kw.pop("env", {})}
        p = subprocess.Popen(argv, env=env, **kw)
        self.running.append(p)
        return p

    def app(self, *words, **env):
        p = self.run([self.app_path, *words], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        said = p.stdout.readline().decode()
        assert said.startswith("ready"), said
        return p

    def call(self, method, params):
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(ANSWER_S)
            s.connect(self.path)
            s.sendall(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode() + b"\n")
            got = b""
            while not got.endswith(b"\n"):
                more = s.recv(1 << 20)
                assert more, "mmd hung up in %s" % method
                got += more
        return json.loads(got)

    def end(self):
        for p in self.running:
            if p.poll() is None:
                p.kill()
            p.wait()
        self.log.close()


def extents(f):
    """What of the file has memory behind it."""
    out, at, end = [], 0, os.fstat(f.fileno()).st_size
    while at < end:
        try:
            start = os.lseek(f.fileno(), at, os.SEEK_DATA)
        except OSError:
            break
        at = os.lseek(f.fileno(), start, os.SEEK_HOLE)
        out.append((start, at))
    return out


class Victim:
    def __init__(self, path):
        self.path = path
        self.f = open(path, "r+b", buffering=0)
        self.was = [(a, os.pread(self.f.fileno(), b - a, a)) for a, b in extents(self.f)]
        self.spans = [(a, len(data)) for a, data in self.was]

    def restore(self):
        for at, data in self.was:
            os.pwrite(self.f.fileno(), data, at)

    def place(self, dice):
        """Mostly where the meaning is dense: the live page, the roots, the first slots and records."""
        r = dice.random()
        if r < 0.04:
            return dice.randrange(0, 312)
        if r < 0.40:
            return 4096 + dice.randrange(0, 700)
        at, size = dice.choice(self.spans)
        return at + (dice.randrange(min(size, 4096)) if r < 0.7 else dice.randrange(size))

    def noise(self, dice):
        at, kind = self.place(dice), dice.randrange(5)
        if kind == 0:
            byte = os.pread(self.f.fileno(), 1, at) or b"\0"
            data = bytes([byte[0] ^ 1 << dice.randrange(8)])
        elif kind == 1:
            at, data = at & ~7, dice.choice(INTERESTING).to_bytes(8, "little")
        elif kind == 2:
            at, data = at & ~7, dice.getrandbits(64).to_bytes(8, "little")
        elif kind == 3:
            at, data = at & ~7, os.pread(self.f.fileno(), 64, self.place(dice) & ~7)
        else:
            data = dice.randbytes(dice.randrange(1, 200))
        at = min(at, max(a + n for a, n in self.spans) - len(data))
        os.pwrite(self.f.fileno(), data, max(at, 0))


def mutate(paths, seed):
    """In a process of its own: noise all the time."""
    dice = random.Random(seed)
    victims = [Victim(p) for p in paths]
    while True:
        for v in victims:
            for _ in range(dice.randrange(1, 60)):
                v.noise(dice)
            if dice.randrange(12) == 0:
                v.restore()
        time.sleep(dice.random() * 0.01)


def exact(rows, pools):
    return {r["pool"]: {k: r.get(k) for k in EXACT} for r in rows if r["pool"] in pools}


def campaign(place, mmctl, seconds, seed):
    dice = random.Random(seed)
    victim, good = place.app("pkg=300,64", "shm=300,100", "fork", "fail"), place.app("pkg=300,64", "shm=300,100", "fork", "fail")
    users = [place.app("shm=300,100", "fork", MEMAPI_SHM_POOL=name) for name in ("victim", "victim-reclaim", "good")]
    time.sleep(2.5)			# mmd has reaped what it had to
    pools = ["shm:good:1", "shm:%d:1" % good.pid, "pkg:%d:1" % good.pid]
    for p in [victim, *users[:2]]:	# they would meet the noise themselves
        p.send_signal(signal.SIGSTOP)
    before = exact(place.call("stats", {})["result"]["pools"], pools)
    assert len(before) == 3, before
    names = ["shm-victim-1", "shm-victim-reclaim-1", "shm-%d-1" % victim.pid, "pkg-%d-1" % victim.pid]
    if os.environ.get("HOSTILE_HOSTED") == "no":
        names = names[2:]
    pid = os.fork()
    if pid == 0:
        try:
            mutate([os.path.join(place.registry, n) for n in names], seed)
        finally:
            os._exit(1)
    count, slowest, told, until = 0, 0.0, {"damaged": 0, "skipped": 0}, time.monotonic() + seconds
    try:
        while time.monotonic() < until:
            method, params = dice.choice(METHODS)
            began = time.monotonic()
            answer = place.call(method, params)
            slowest = max(slowest, time.monotonic() - began)
            count += 1
            assert place.daemon.poll() is None, "mmd ended"
            if method == "stats":
                now = exact(answer["result"]["pools"], pools)
                assert now == before, "a row changed: %s, it was %s" % (now, before)
            if method == "status":
                told["damaged"] += sum(r["state"] == "damaged" for r in answer["result"]["pools"])
                told["skipped"] += len(answer["result"]["skipped"])
                assert {r["pool"] for r in answer["result"]["pools"]} >= set(pools), answer
            if method == "check" and "result" in answer:
                for r in answer["result"]["pools"]:
                    assert r["pool"] not in pools or r["ok"], r
            if count % 8 == 0:
                got = subprocess.run([mmctl, "-s", place.path, "-o", "json", *dice.choice(VERBS)], capture_output=True,
                                     env=place.env, timeout=ANSWER_S)
                assert got.returncode in (0, 1, 10), (got.returncode, got.stderr[-1000:])
            assert os.waitpid(pid, os.WNOHANG) == (0, 0), "the mutator ended"
    finally:
        os.kill(pid, signal.SIGKILL)
        try:
            os.waitpid(pid, 0)
        except ChildProcessError:
            pass
    place.restart()
    time.sleep(1.5)
    now = exact(place.call("stats", {})["result"]["pools"], pools)
    assert now == before, "after a restart: %s, it was %s" % (now, before)
    place.daemon.terminate()
    assert place.daemon.wait(30) == 0, "mmd's end: %d" % place.daemon.returncode
    print("hostile: %d answers, slowest %.2f s, %d times damaged, %d times skipped with a reason: the others exact" %
          (count, slowest, told["damaged"], told["skipped"]))
    assert told["damaged"] + told["skipped"], "nobody noticed"


def main():
    mmd, mmctl, app, seconds = sys.argv[1:5]
    seed = int(sys.argv[5]) if len(sys.argv) > 5 and int(sys.argv[5]) else int.from_bytes(os.urandom(4), "little")
    managers = os.environ.get("HOSTILE_MANAGERS", "fm qm fm").split()
    print("hostile: seed %d, %s s" % (seed, seconds), flush=True)
    place = Place(mmd, app, dict(zip(("victim", "victim-reclaim", "good"), managers)))
    try:
        campaign(place, mmctl, float(seconds), seed)
    except BaseException:
        place.end()
        with open(os.path.join(place.dir, "log"), errors="replace") as f:
            print(f.read()[-4000:])
        raise
    finally:
        place.end()
        shutil.rmtree(place.dir, ignore_errors=True)


if __name__ == "__main__":
    main()
