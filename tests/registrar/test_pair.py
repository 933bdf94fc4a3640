# SPDX-License-Identifier: BSD-2-Clause
"""The registrar on one manager for shared memory, and each one for private memory.

    test_pair.py REGISTRAR MMD MMCTL SHM_MANAGER PKG_MANAGER...

For each pair: mmd with -x and -X; phones register, refresh and expire while memory is forgotten on purpose; a worker is
killed; nothing that was answered 200 is lost, stats name both managers, and every heap is whole. A few seconds each.
"""
import os
import shutil
import signal
import sys
import tempfile

from daemon import Daemon
from sip import Registrar, wait_for

CONF = "memory.track = sites\n[pool.registrar]\nsize = 32M\n"
WORKERS, PHONES, SHORT, LONG = 3, 60, 1, 600


def check(what, true):
    if not true:
        print("NOT OK  " + what, flush=True)
        sys.exit(1)


def register(registrar, name, expires, cseq):
    """All phones; every answer must be 200 with the one contact."""
    client = registrar.client(timeout=1)
    for n in range(PHONES):
        contact = f"<sip:{name}{n}@10.0.0.{n % 250}>;expires={expires}"
        for _ in range(5):              # a worker may be killed with the request in its hands
            try:
                reply = client.register(contact, user=f"{name}{n}", call_id=f"{name}{n}", cseq=cseq)
                break
            except TimeoutError:
                continue
        check(f"{name}{n} was answered 200: {reply.text[:60]}", reply.status == 200 and len(reply.contacts()) == 1)
    client.close()


def all_there(registrar, name):
    client = registrar.client(timeout=2)
    missing = [n for n in range(PHONES) if len(client.query(f"{name}{n}").contacts()) != 1]
    client.close()
    return not missing


def records(registrar):
    client = registrar.client(timeout=2)
    n = client.options().count("records")
    client.close()
    return n


def managers_seen(daemon, shm, pkg):
    rows = daemon.ask("stats")["pools"]
    pool = [p for p in rows if p["domain"] == "shm" and p["name"] == "registrar"]
    heaps = [p for p in rows if p["domain"] == "pkg" and p["command"].startswith("registrar") and p["fragments"]]
    check(f"stats: the pool on {shm}: {pool}", len(pool) == 1 and pool[0]["manager"] == shm and pool[0]["used"] > 0)
    check(f"stats: {WORKERS} heaps on {pkg}: {heaps}",
          len(heaps) >= WORKERS and all(h["manager"] == pkg for h in heaps))


def whole(daemon):
    for domain in ("shm", "pkg"):
        said = daemon.run("check", domain)
        check(f"check {domain}: {said.stdout} {said.stderr}", said.returncode == 0)


def kill_one(registrar):
    before = registrar.children()
    os.kill(before[0], signal.SIGKILL)
    wait_for(lambda: before[0] not in registrar.children() and len(registrar.children()) == len(before))


def pair(programs, shm, pkg):
    directory = tempfile.mkdtemp(prefix="registrar-pair-")
    try:
        with Daemon(*programs[1:], directory, CONF, "-x", shm, "-X", pkg) as daemon, \
             Registrar(programs[0], "-x", shm, "-X", pkg, "--workers", str(WORKERS), "--pool", "registrar",
                       "--min-expires", "1", "--remember", "1", "--sweep", "100", "--leak", "5", directory=directory,
                       environment=daemon.environment) as registrar:
            for cseq in range(1, 4):
                register(registrar, "stays", LONG, cseq)
            register(registrar, "goes", SHORT, 1)
            kill_one(registrar)
            register(registrar, "stays", LONG, 4)
            wait_for(lambda: records(registrar) == PHONES, 20, 0.1)
            check("who registered for long is there", all_there(registrar, "stays"))
            managers_seen(daemon, shm, pkg)
            whole(daemon)
            dead = daemon.ask("leaks", "shm", "--evidence", "owner_dead", codes=(0, 10))["suspects"]
            check(f"what the dead worker left is named: {dead}", all(s["site"]["line"] > 0 for s in dead))
            complaints = registrar.complaints()
            check(f"the registrar did not complain: {complaints[:500]}", not complaints)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def main():
    programs, shm = sys.argv[1:4], sys.argv[4]
    for pkg in sys.argv[5:]:
        pair(programs, shm, pkg)
        print(f"ok      shm {shm}, pkg {pkg}", flush=True)


if __name__ == "__main__":
    main()
