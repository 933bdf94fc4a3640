/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The bugs that --leak-pkg and --leak-shm switch on, so that there is something to find. Nothing else calls this.
 */
#include "server.h"

/* "Keeps" a copy of the request's size and forgets where. */
static void forget_private(size_t bytes)
{
	char *volatile lost = pkg_malloc(bytes);

	if (lost)
		memset(lost, 'p', bytes);
}

static void forget_shared(size_t bytes)
{
	char *volatile lost = shm_malloc(bytes);

	if (lost)
		memset(lost, 's', bytes);
}

/* Every request that makes the sum of the percents go over a hundred: evenly spread, the same in every run. */
static bool due(uint64_t turn, unsigned percent) { return turn * percent / 100 != (turn - 1) * percent / 100; }

void demo_leak(struct server *s, size_t bytes)
{
	uint64_t turn = ++s->leak_turn;

	if (due(turn, s->opt.leak_pkg))
		forget_private(bytes);
	if (due(turn, s->opt.leak_shm))
		forget_shared(bytes);
}
