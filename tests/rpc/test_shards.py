#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""What mmd answers of sharded pools: each is one pool in every method.

    test_shards.py MMD SHARDS

SHARDS is shards.c, whose pools are told there. Its shared pool has 30 + 3 * 10 fragments of its own, 10 of the dead.
"""
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from test_socket import Place, check, has_members, pages  # noqa: E402

DEAD, LEFT, OWN = 4000000, 4000001, 30 + 3 * 10
TESTS = []


def test(fn):
    TESTS.append(fn)
    return fn


@test
def a_sharded_pool_is_one_row(p):
    p.start()
    a = p.app()
    with p.client() as c:
        status = c.call("status")
        has_members("status", status)
        check(not status["skipped"], status["skipped"])
        rows = {r["pool"]: r for r in status["pools"]}
        check(rows["shm:table:1"]["shards"] == 4 and rows["shm:table:1"]["state"] == "live", rows)
        check(rows["pkg:%d:1" % a.pid]["shards"] == 3, rows)
        check([r["shards"] for n, r in rows.items() if n.startswith("pkg:%d:" % p.running[0].pid)] == [1], rows)
        check(not [n for n in rows if "+" in n], rows)
        stats = c.call("stats")
        has_members("stats", stats)
        rows = {r["pool"]: r for r in stats["pools"]}
        table, pkg = rows["shm:table:1"], rows["pkg:%d:1" % a.pid]
        check(table["shards"] == 4 and table["fragments"] == OWN + 10 and table["size"] == 4 << 20, table)
        check(table["dead"] == 1 and table["users"] == 1 and table["failures"] == 1, table)
        check(table["real_used"] + table["cached"] + table["free"] == table["committed"], table)
        check(pkg["shards"] == 3 and pkg["fragments"] == 30, pkg)
        check(c.call("stats", pool="table")["pools"] == [c.call("stats", pool="shm:table:1")["pools"][0]])


@test
def a_process_is_found_by_its_slots_in_any_shard(p):
    p.start()
    a = p.app()
    with p.client() as c:
        for pid in (a.pid, DEAD, LEFT):
            check("shm:table:1" in [r["pool"] for r in c.call("stats", pid=pid)["pools"]], pid)
        check(c.error("stats", pid=LEFT + 1)["code"] == -32001)


@test
def a_dump_has_all_shards_in_pages_of_any_size(p):
    p.start()
    a = p.app()
    with p.client() as c:
        for limit in (1, 7, 30, 1000):
            rows = pages(c, domain="shm", pool="table", limit=limit)
            used = [f for f in rows if f["state"] == "used"]
            check(len(used) == OWN + 10 and len({f["address"] for f in rows}) == len(rows), limit, len(used), len(rows))
            check(len([f for f in rows if f["state"] == "free"]) >= 4, "free fragments of each")
        check({f["site"]["file"] for f in used} == {"reg.c"}, used)
        dead = pages(c, domain="shm", pool="table", owner=DEAD)
        check(len(dead) == 10 and all(f["owner"] == {"pid": DEAD, "command": "worker", "alive": False} and
                                      f["site"]["line"] == 11 for f in dead), dead)
        check(len(pages(c, domain="shm", pool="table", owner=a.pid)) == OWN)
        check(len(pages(c, domain="pkg", pid=a.pid, state="used", limit=4)) == 30)
        more = c.call("dump", domain="shm", pool="table", limit=1)["next"]
        e = c.error("dump", domain="shm", pool="table", cursor="f" + "0" * 14 + more[0] + more[more.index("-"):])
        check(e["code"] == -32602 and e["data"]["param"] == "cursor", e)


@test
def sums_are_of_all_shards(p):
    p.start()
    a = p.app()
    with p.client() as c:
        used = c.call("stats", pool="table")["pools"][0]["used"]
        for by, counts in (("site", [OWN, 10]), ("module", [OWN + 10]), ("owner", [OWN, 10]), ("size", [OWN, 10])):
            r = c.call("summary", domain="shm", pool="table", by=by)
            check(sorted((x["count"] for x in r["rows"]), reverse=True) == counts, by, r)
            check(r["total"] == {"count": OWN + 10, "bytes": used, "estimated": False, "sampled": 0}, by, r)
        r = c.call("leaks", domain="shm", pool="table", evidence="owner_dead")["suspects"]
        check(len(r) == 1 and r[0]["count"] == 10 and r[0]["site"]["line"] == 11, r)
        check(r[0]["owner"] == {"pid": DEAD, "command": "worker", "alive": False}, r)
        r = c.call("check", pool="table")["pools"]
        check(len(r) == 1 and r[0]["ok"] and r[0]["walked"]["used"] == used == r[0]["counted"]["used"], r)
        r = c.call("failures", pool="table")["failures"]
        check(len(r) == 1 and r[0]["requested"] == 5000 and r[0]["site"]["line"] == 10, r)
        check(c.call("track", domain="pkg", pid=a.pid, mode="stacks")["pools"][0]["tracking"] == "stacks")
        a.stdin.close()			# it ends without a word: what it held is told at its exit
        a.wait()
        r = c.call("leaks", domain="pkg", pool="pkg:%d:1" % a.pid, evidence="at_exit")["suspects"]
        check(len(r) == 1 and r[0]["count"] == 30 and r[0]["site"]["line"] == 12 and r[0]["owner"]["pid"] == a.pid, r)


@test
def a_pool_that_lacks_a_shard_is_damaged_and_what_it_has_is_told(p):
    p.start()
    p.app("2")
    with p.client() as c:
        row = [r for r in c.call("status")["pools"] if r["pool"] == "shm:table:1"][0]
        check(row["state"] == "damaged" and row["reason"] == "shard 2 of 4: it is not there", row)
        stats = c.call("stats", pool="table")["pools"][0]
        check(stats["used"] is None and stats["real_used"] is None and stats["size"] is None, stats)
        check(len([f for f in pages(c, domain="shm", pool="table") if f["state"] == "used"]) == OWN, "all but 10")
        r = c.call("check", pool="table")["pools"][0]
        check(r["ok"] is False and [e["what"] for e in r["errors"]] == ["shard 2: it is not there, or not believed"], r)


@test
def shards_without_their_pool_are_skipped(p):
    p.start()
    p.app()
    os.unlink(os.path.join(p.env["MEMAPI_REGISTRY"], "shm-table-1"))
    time.sleep(3.5)
    with p.client() as c:
        status = c.call("status")
        check("shm:table:1" not in [r["pool"] for r in status["pools"]], status["pools"])
        check(sorted(s["file"] for s in status["skipped"]) == ["shm-table-1+%d" % k for k in (1, 2, 3)], status["skipped"])
        check({s["reason"] for s in status["skipped"]} == {"a shard without its pool"}, status["skipped"])


def main():
    for fn in TESTS:
        place = Place()
        began = time.monotonic()
        try:
            fn(place)
        except BaseException:
            print("FAIL", fn.__name__)
            if os.path.exists(place.log):
                print(place.logged()[-3000:])
            raise
        finally:
            place.end()
        print("ok   %s (%.1f s)" % (fn.__name__, time.monotonic() - began), flush=True)


if __name__ == "__main__":
    main()
