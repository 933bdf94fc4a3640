# SPDX-License-Identifier: BSD-2-Clause
"""Workers are killed with SIGKILL under load, and now and then the sweeper, too.

    test_kill.py REGISTRAR MMD MMCTL [KILLS]		KILLS: of workers

What must hold afterwards: every contact that was answered 200 is there; every worker answers; the pool is whole; and when
all contacts have expired, every byte that is still used is the registrar's table, or was lost on purpose: these are
named by `mmctl leaks` with dead owner and call site.
"""
import os
import random
import shutil
import signal
import sys
import tempfile
import time

from daemon import Daemon
from load import Fleet, lost
from sip import Registrar, wait_for

CONF = "memory.track = sites\n"
WORKERS = 4
EXPIRES = 25


def check(what, true):
    print(("ok      " if true else "NOT OK  ") + what, flush=True)
    if not true:
        sys.exit(1)


def is_sweeper(pid):
    with open(f"/proc/{pid}/comm") as f:
        return f.read() == "registrar-sweep\n"


def children(registrar):
    """Workers and sweeper, when all of them are there and say who they are."""
    pids = registrar.children()
    try:
        sweepers = [pid for pid in pids if is_sweeper(pid)]
    except OSError:
        return None
    return (set(pids) - set(sweepers), sweepers[0]) if len(pids) == WORKERS + 1 and len(sweepers) == 1 else None


def kill_some(registrar, kills, rng):
    """So many workers; told are those, and the sweepers that were killed beside."""
    killed = {"workers": 0, "sweepers": 0}
    while killed["workers"] < kills:
        workers, sweeper = wait_for(lambda: children(registrar))
        who = "sweepers" if rng.random() < 0.1 else "workers"
        try:
            os.kill(rng.choice(sorted(workers)) if who == "workers" else sweeper, signal.SIGKILL)
            killed[who] += 1
        except ProcessLookupError:
            pass
        time.sleep(rng.uniform(0.03, 0.12))
    return killed


def worker_pids(registrar):
    """Pids of the workers that answer, asked until all rows have."""
    client = registrar.client(timeout=0.5)
    seen = {}

    def ask():
        try:
            reply = client.options()
            seen[reply.count("worker")] = reply.count("pid")
        except TimeoutError:
            pass
        return len(seen) == WORKERS and set(seen.values()) <= set(registrar.children())
    wait_for(ask, 20, 0)
    client.close()
    return set(seen.values())


def count(registrar, name):
    client = registrar.client(timeout=2)
    n = client.options().count(name)
    client.close()
    return n


def unnamed(daemon, living):
    """Used fragments that are neither the table's nor named by leaks with dead owner and call site; and the leaks.

    The living workers were asked for their pids, and may have lost something on purpose since."""
    suspects = daemon.ask("leaks", "shm", "--evidence", "owner_dead", codes=(0, 10))["suspects"]
    named = {(s["site"]["file"], s["site"]["function"], s["site"]["line"], s["owner"]["pid"]): s for s in suspects}
    fragments = daemon.ask("dump", "shm", "--used")["fragments"]
    used = sum(p["used"] for p in daemon.ask("stats", "shm")["pools"])
    bad = [] if used == sum(f["size"] for f in fragments) else [f"{used} bytes are used, fragments have not as many"]
    for f in fragments:
        key = (f["site"]["file"], f["site"]["function"], f["site"]["line"], f["owner"]["pid"])
        if f["site"]["function"] == "table_make" or (f["site"]["function"] == "forget_shared" and f["owner"]["pid"] in living):
            continue
        if f["owner"]["alive"] is not False or key not in named or not f["site"]["line"]:
            bad.append(f)
    return bad, suspects


def main():
    program, mmd, mmctl = sys.argv[1:4]
    kills = int(sys.argv[4]) if len(sys.argv) > 4 else 50
    seed = int(os.environ.get("SEED", random.randrange(1 << 32)))
    rng = random.Random(seed)
    directory = tempfile.mkdtemp(prefix="registrar-kill-")
    print(f"seed {seed}, {kills} workers to be killed", flush=True)
    try:
        with Daemon(mmd, mmctl, directory, CONF) as daemon, \
             Registrar(program, "--workers", str(WORKERS), "--min-expires", "1", "--remember", "5",
                       "--sweep", "100", "--buckets", "16", "--leak-shm", "2", directory=directory,
                       environment=daemon.environment) as registrar:
            fleet = Fleet(registrar.port, expires=EXPIRES)
            try:
                killed = kill_some(registrar, kills, rng)
            finally:
                done, answers, again, wrong = fleet.stop()
            print(f"        {killed['workers']} workers and {killed['sweepers']} sweepers were killed; {len(done)} users, {answers} answers, {again} retransmissions, "
                  f"{count(registrar, 'repairs')} buckets repaired")
            check(f"every request was answered as it must be {wrong[:3]}", not wrong and answers > 10 * kills)
            bad = lost(registrar.port, done)
            check(f"no contact that was answered 200 is lost {bad[:3]}", not bad)
            check("no worker is stuck", len(worker_pids(registrar)) == WORKERS)
            whole = daemon.run("check", "shm")
            check(f"the pool is whole {whole.stdout if whole.returncode else ''}", whole.returncode == 0)
            wait_for(lambda: count(registrar, "records") == 0, EXPIRES + 30, 0.5)
            check("all contacts have expired", True)
            fragments = daemon.ask("dump", "shm", "--used")["fragments"]
            left = [f for f in fragments if f["site"]["function"] not in ("table_make", "forget_shared")]
            check(f"nothing is left but the table and the deliberate leak {left[:3]}",
                  not left and any(f["site"]["function"] == "table_make" for f in fragments))
            for pid in registrar.children():
                os.kill(pid, signal.SIGKILL)
            bad, suspects = unnamed(daemon, worker_pids(registrar))
            check(f"every byte that is still used is named with dead owner and call site {bad[:3]}", not bad)
            check("so is the deliberate leak", any(s["site"]["function"] == "forget_shared" for s in suspects))
            check("and nothing else", all(s["site"]["function"] == "forget_shared" for s in suspects))
            check("the pool is whole", daemon.run("check", "shm").returncode == 0)
            complaints = registrar.complaints()
            check(f"the registrar did not complain {complaints[:500]}", not complaints)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
