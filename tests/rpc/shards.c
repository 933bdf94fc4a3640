/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sharded pools made by hand in the registry MEMAPI_REGISTRY, which is there: what an observer must show as one pool
 * each. Says "ready PID" and waits for the end of its input.
 *
 *	shm:table:1	4 shards; each has 30 fragments of its process at reg.c:10, 20 of them freed but in shard 0;
 *			shards 1 and 3 have 5 each of a dead worker at reg.c:11, with another slot in each;
 *			a slot of a process that left in order, in shard 3; a failure in shard 2
 *	pkg:PID:1	3 shards with 10 fragments each
 *
 * argv[1], if any, is the number of a shard of `table` that is not made.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "observe/meta_fixture.h"

enum { SHM = 4, PKG = 3, GROUP = 77, DEAD = 4000000, LEFT = 4000001 };

static void work(struct fixture *f, unsigned k)
{
	void *held[30];

	for (unsigned i = 0; i < 30; i++)
		held[i] = fixture_alloc(f, 100, 1);
	for (unsigned i = 0; k && i < 20; i++)
		fixture_free(f, held[i]);
}

static void die(struct fixture *f, uint32_t slot)
{
	f->slot = slot;
	fixture_slot(f, slot, SLOT_LIVE, DEAD, "worker");
	for (unsigned i = 0; i < 5; i++)
		fixture_alloc(f, 200, 2);
	fixture_slot(f, slot, SLOT_DEAD, DEAD, "worker");
}

int main(int argc, char **argv)
{
	int without = argc > 1 ? atoi(argv[1]) : -1;
	struct fixture *shm[SHM], *pkg[PKG];

	fixture_registry_is(getenv("MEMAPI_REGISTRY"));
	for (unsigned k = SHM; k--; )
		if ((int)k != without)
			shm[k] = fixture_shm_shard("table", 1, k, SHM, GROUP);
	for (unsigned k = PKG; k--; )
		pkg[k] = fixture_pkg_shard(getpid(), 1, k, PKG, GROUP);
	fixture_site(shm[0], "reg.c", 10);
	fixture_site(shm[0], "reg.c", 11);
	fixture_site(pkg[0], "reg.c", 12);
	for (unsigned k = 0; k < SHM; k++) {
		if ((int)k == without)
			continue;
		work(shm[k], k);
		if (k % 2)
			die(shm[k], 3 * k);
		if (k == 3)
			fixture_slot(shm[k], 1, SLOT_LEFT, LEFT, "polite");
	}
	if (without != 2)
		fixture_failure(shm[2], 5000, 0);
	for (unsigned k = 0; k < PKG; k++)
		for (unsigned i = 0; i < 10; i++)
			fixture_alloc(pkg[k], 50, 1);
	printf("ready %d\n", (int)getpid());
	fflush(stdout);
	while (getchar() != EOF)
		;
	return 0;
}
