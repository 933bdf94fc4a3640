/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What must hold of a pool after somebody was killed, and what the stepped program should have.
 *
 * Structure: walk, check, counters, ledger and tails agree, and no lock is held. Meaning: each of the program's
 * finished calls happened, with its contents; the one under way happened wholly or not at all.
 */
#ifndef STEP_LOOK_H
#define STEP_LOOK_H

#include <stdbool.h>
#include <sys/types.h>

#include "board.h"
#include "mem/pool.h"

enum { RECORDS_MOST = 4096 };		/* of one shard, in these tests */

struct model {
	struct pool *p;			/* shards */
	unsigned shards;
	pid_t victim;
	struct entry { void *ptr; uint64_t size; unsigned char fill; } held[HELD + 1];	/* the last one is its mutex */
	unsigned count;
	void *root;			/* that it set last */
	uint8_t by_record[SHARDS_MAX][RECORDS_MOST];	/* place in held + 1 */
};

/** First thing wrong with the structure of a shard, or NULL. @lock_free: and nobody has its lock. */
const char *look_pool(struct pool *p, bool lock_free);
/** First thing wrong with what the victim has, `call` of it being under way (NULL: none), or NULL. */
const char *look_model(const struct model *m, const struct call *call);
/** `call` is over and gave `got`. The pool is as it left it. */
void look_made(struct model *m, const struct call *call, void *got);
/** Live records of the slots of `pid` in a shard. */
uint64_t look_records_of(const struct pool *p, pid_t pid);

#endif /* STEP_LOOK_H */
