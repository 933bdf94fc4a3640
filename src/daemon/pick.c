/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/pick.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "ctl/memory.h"
#include "daemon/log.h"

int pick_scan(struct view *view, obs_skip_fn *skip, void *arg)
{
	static int told;
	int error = obs_scan(view->obs, skip, arg);

	if (error && error != told)
		log_line(LOG_WARNING, "the registry cannot be read: %s", strerror(-error));
	told = error;
	return error;
}

void pick_unread(struct rpc_call *call, int error)
{
	rpc_fail(call, RPC_INTERNAL, NULL, "the registry cannot be read: %s", strerror(-error));
}

/* A shared pool is its maker's and that of every process which ever got a slot in it. */
static bool has_process(struct obs_pool *p, int64_t pid)
{
	struct obs_owner owner;
	struct obs_stats stats;

	if (obs_info(p)->pid == pid)
		return true;
	if (obs_info(p)->domain == OBS_PKG || obs_counts(p, &stats))
		return false;
	for (uint32_t shard = 0; shard < obs_info(p)->shards; shard++)
		for (uint32_t slot = 0; slot < stats.slots; slot++) {
			obs_owner(p, slot | shard << 16, &owner);
			if (owner.pid == pid)
				return true;
		}
	return false;
}

/* By id; a shared pool by its name too, in every incarnation. */
static bool is_called(const struct obs_info *info, const char *name)
{
	return !strcmp(info->id, name) || (*info->name && !strcmp(info->name, name));
}

static bool add(struct pick *pick, const char *id)
{
	if (!(pick->count & (pick->count - 1))) {	/* room for the next power of two */
		void *more = ctl_resize(pick->id, (pick->count ? pick->count * 2 : 1) * sizeof *pick->id);

		if (!more)
			return false;
		pick->id = more;
	}
	memcpy(pick->id[pick->count++], id, sizeof *pick->id);
	return true;
}

bool pick_pools(struct rpc_call *call, unsigned also, struct pick *ret_pick)
{
	struct view *view = view_of(call);
	const char *domain = rpc_text(call, "domain"), *name = rpc_text(call, "pool");
	int64_t pid = (int64_t)rpc_uint(call, "pid", 0);
	struct pick pick = { .one = name || pid };
	struct obs_pool *p;
	int error;

	if (domain)
		also &= !strcmp(domain, "pkg") ? OBS_PKG : OBS_SHM;
	error = pick_scan(view, NULL, NULL);
	for (size_t i = 0; (p = obs_at(view->obs, i)); i++) {
		const struct obs_info *info = obs_info(p);

		if (!(info->domain & also) || (name && !is_called(info, name)) || (pid && !has_process(p, pid)))
			continue;
		if (!add(&pick, info->id)) {
			pick_free(&pick);
			rpc_fail(call, RPC_INTERNAL, NULL, "out of memory");
			return false;
		}
	}
	if (error && !(name && pick.count)) {	/* some may be lacking */
		pick_free(&pick);
		pick_unread(call, error);
		return false;
	}
	if (pick.one && !pick.count) {
		rpc_fail(call, RPC_NO_POOL, name ? "pool" : "pid", "no pool like that%s%s: see status", domain ? " in " : "",
			 domain ? domain : "");
		rpc_allowed(call, name ? "id or name of a pool, as status tells them" :
					 "pid of a process with a pool, as status tells them");
		return false;
	}
	*ret_pick = pick;
	return true;
}

bool pick_private(const struct pick *pick)
{
	for (size_t i = 0; i < pick->count; i++)
		if (strncmp(pick->id[i], "pkg:", 4) == 0)
			return true;
	return false;
}

void pick_free(struct pick *pick)
{
	ctl_free(pick->id);
	*pick = (struct pick){ 0 };
}

struct obs_pool *pick_at(const struct view *view, const struct pick *pick, size_t i)
{
	return i < pick->count ? obs_find(view->obs, pick->id[i]) : NULL;
}

const char *pick_reason(int error)
{
	switch (-error) {
	case EUCLEAN:
	case ENODATA:
		return "damaged: what is there cannot be";
	case EACCES:
	case EPERM:
		return "the kernel denies mmd the look into that process (ptrace_scope, other user)";
	case ESRCH:
		return "the process is gone, and its heap with it; what it had tracked is in the ledger";
	case EAGAIN:
		return "the heap changes faster than it can be read; try again";
	case ENOENT:
	case ESTALE:
		return "the pool is gone";
	default:
		return strerror(-error);
	}
}

void pick_fail(struct rpc_call *call, const char *id, int error)
{
	int code = RPC_INTERNAL;

	if (error == -EUCLEAN || error == -ENODATA)
		code = RPC_DAMAGED;
	else if (error == -ESRCH || error == -ENOENT || error == -ESTALE)
		code = RPC_NO_POOL;
	else if (error == -EAGAIN)
		code = RPC_LIMIT;
	rpc_fail(call, code, NULL, "%s: %s", id, pick_reason(error));
}
