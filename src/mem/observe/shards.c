/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A sharded pool: several files, one pool to who looks.
 *
 *	shm-NAME-INC	-> shard 0: the struct obs_pool that callers have, with the sites of all
 *	shm-NAME-INC+1	   .shard[1]	a pool of its own to everything else in here
 *	shm-NAME-INC+2	   .shard[2]
 *
 * Shard 0 gets its name last, so who sees it finds the others by theirs. One is believed as any file is, and only if it
 * has the group, the number of shards, the manager and the user of shard 0. Without one of them the pool is damaged and
 * says which; what the others hold is told all the same.
 *
 * Invariant: shard[0] of a pool is itself, shard[k] has identity k; pools without shards go the same way, in one turn.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mem/observe/peek.h"

enum { ALL_SHARDS_MAX = 16384 };	/* that are found by name: no directory's length limits them */

_Static_assert(SHARDS_MAX - 1 <= UINT64_MAX >> SHARD_AT, "a cursor has room for every shard");
_Static_assert(SLOTS_MAX <= 1 << SHARD_SLOT_AT, "the number of a slot does not reach the shard");

static void forget(struct obs_pool *p, unsigned k)
{
	if (!p->shard[k])
		return;
	peek_close(p->shard[k]);
	free(p->shard[k]);
	p->shard[k] = NULL;
	p->o->shards--;
}

void peek_pool_free(struct obs_pool *p)
{
	for (unsigned k = 1; k < SHARDS_MAX; k++)
		forget(p, k);
	peek_close(p);
	free(p);
}

/** NULL, or why a file that is a shard is none of this pool. */
static const char *foreign(const struct obs_pool *p, const struct obs_pool *s)
{
	if (s->owner != p->owner)
		return "a shard that belongs to another user than its pool";
	if (s->id.group != p->id.group || s->id.shards != p->id.shards)
		return "a shard of another pool";
	return strcmp(s->id.manager, p->id.manager) ? "a shard with another manager than its pool" : NULL;
}

static int find(struct obs_pool *p, unsigned k, const char *file, char reason[96])
{
	struct peek_key key = p->key;
	struct obs_pool *s = p->shard[k];
	const char *what;
	int e;

	if (s && peek_named(p->dir, file, s) && peek_still(s))
		return 0;
	forget(p, k);
	if (p->o->shards == ALL_SHARDS_MAX) {
		snprintf(reason, 96, "too many shards");
		return -ENOSPC;
	}
	key.shard = k;
	e = peek_believe(p->o, p->dir, file, &key, reason, &s);
	if (e)
		return e;
	p->shard[k] = s;
	p->o->shards++;
	what = foreign(p, s);
	if (!what)
		return 0;
	snprintf(reason, 96, "%s", what);
	forget(p, k);
	return -EUCLEAN;
}

void peek_shards(struct obs_pool *p)
{
	char file[PEEK_FILE + 16], reason[96];

	*p->lacks = '\0';
	for (unsigned k = 1; k < p->id.shards; k++) {
		int e;

		snprintf(file, sizeof file, "%s+%u", p->file, k);
		e = find(p, k, file, reason);
		if (!e)
			continue;
		if (e != -ENOENT)
			peek_skip(p->o, p->dir, file, reason);
		if (!*p->lacks)
			snprintf(p->lacks, sizeof p->lacks, "shard %u of %u: %.64s", k, p->id.shards,
				 e == -ENOENT ? "it is not there" : reason);
	}
}

int peek_list(struct obs_pool *p, peek_list_fn *list, uint64_t *cursor, uint64_t max, obs_fragment_fn *fn, void *arg)
{
	uint64_t at = SHARD_REST(*cursor);
	unsigned k = SHARD_OF(*cursor);
	int e = k < p->id.shards ? 0 : -EINVAL;

	while (!e && max && k < p->id.shards) {
		if (p->shard[k])
			e = list(p->shard[k], &at, &max, fn, arg);
		else
			at = 0;			/* the pool is damaged and says so; the others are still true */
		if (!e && !at)
			k++;
		*cursor = k < p->id.shards ? SHARD_IN(at, k) : 0;
	}
	return e;
}
