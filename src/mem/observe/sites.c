/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Places in code by their number, owners by their slot. Numbers index a table; the writer's chains are not followed.
 * Sites are all in shard 0, which is what callers have; a slot's number tells its shard.
 */
#include <string.h>

#include "mem/observe/peek.h"

void obs_site(struct obs_pool *p, uint32_t site, struct obs_site *ret_site)
{
	struct meta_site s;

	memset(ret_site, 0, sizeof *ret_site);
	if (site == 0 || site >= SITES_MAX)
		return;
	if (peek_meta(p, META_SITES + offsetof(struct meta_sites, site) + (uint64_t)site * sizeof s, &s, sizeof s))
		return;
	peek_text(ret_site->file, sizeof ret_site->file, s.file, sizeof s.file);
	peek_text(ret_site->function, sizeof ret_site->function, s.function, sizeof s.function);
	peek_text(ret_site->module, sizeof ret_site->module, s.module, sizeof s.module);
	ret_site->line = s.line;
	ret_site->address = s.address & SITE_STACK ? 0 : s.address;
	ret_site->stack = s.address & SITE_STACK ? s.address & ~SITE_STACK : 0;
}

void obs_owner(struct obs_pool *p, uint32_t slot, struct obs_owner *ret_owner)
{
	unsigned k = slot >> SHARD_SLOT_AT;
	struct obs_pool *shard = k < p->id.shards ? p->shard[k] : NULL;
	struct meta_slot s;

	memset(ret_owner, 0, sizeof *ret_owner);
	if (p->key.domain == OBS_PKG) {
		ret_owner->pid = p->id.pid;
		memcpy(ret_owner->command, p->info.command, sizeof ret_owner->command);
		ret_owner->alive = p->info.foreign || peek_process_lives(p->id.pid, p->id.start_time);
		return;
	}
	if (!shard || !peek_slot(shard, slot & 0xffff, &s) || SLOT_STATE(s.state) == SLOT_FREE)
		return;
	ret_owner->pid = SLOT_PID(s.state) > 0 ? SLOT_PID(s.state) : 0;
	peek_text(ret_owner->command, sizeof ret_owner->command, s.command, sizeof s.command);
	ret_owner->alive = peek_slot_lives(shard, &s);
}
