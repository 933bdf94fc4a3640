/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Members that many results have, written the same way everywhere: absent knowledge is null, never 0 or "".
 */
#ifndef DAEMON_ROWS_H
#define DAEMON_ROWS_H

#include <stdbool.h>
#include <stdint.h>

#include "ctl/json_write.h"
#include "daemon/tally.h"
#include "memapi/observe.h"

/** "key": value. OBS_UNKNOWN, "", are null. */
void row_count(struct json_writer *w, const char *key, uint64_t value);
void row_text(struct json_writer *w, const char *key, const char *text);
void row_bool(struct json_writer *w, const char *key, bool value);
/** {file, reason} of what was skipped; `arg` is the writer. */
void row_skip(const char *file, const char *reason, void *arg);
/** "skipped": of what row_skip() wrote, which is freed. */
void row_skipped(struct json_writer *w, struct json_writer *skipped);
/** "site": {file, function, line, module, address}, or null */
void row_site(struct json_writer *w, const struct obs_site *site);
/** "owner": {pid, command, alive}, or null */
void row_owner(struct json_writer *w, const struct obs_owner *owner);
/** "pool", "domain", "name", "pid", "command", "manager" */
void row_pool(struct json_writer *w, const struct obs_info *pool);
/** "age": seconds from `time` to now, both CLOCK_REALTIME */
void row_age(struct json_writer *w, const char *key, uint64_t time);

const char *row_domain(enum obs_domain domain);		/* pkg shm */
const char *row_state(enum obs_state state);		/* live draining exited crashed damaged */
/** "count", "bytes", and whether they are estimated, from how many samples. */
void row_sums(struct json_writer *w, const struct tally_row *row);
const char *row_tracking(enum obs_tracking tracking);	/* off sites stacks sampled */
const char *row_on_death(unsigned on_death);		/* keep reclaim quarantine */

/** Sites and owners of one pool, looked up once a slice: each costs system calls. */
struct places {
	struct obs_pool *pool;
	uint64_t site_number[256], owner_number[64];	/* + 1, 0: empty */
	struct obs_site site[256];
	struct obs_owner owner[64];
};

/** Forgets what is known, when the pool is another one or a slice begins. */
void places_of(struct places *pl, struct obs_pool *pool);
/* Valid until the next question. */
const struct obs_site *places_site(struct places *pl, uint32_t site);
const struct obs_owner *places_owner(struct places *pl, uint32_t slot);

#endif /* DAEMON_ROWS_H */
