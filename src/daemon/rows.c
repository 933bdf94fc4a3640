/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/rows.h"

#include <string.h>
#include <time.h>

void row_count(struct json_writer *w, const char *key, uint64_t value)
{
	jw_key(w, key);
	value == OBS_UNKNOWN ? jw_null(w) : jw_uint(w, value);
}

void row_text(struct json_writer *w, const char *key, const char *text)
{
	jw_key(w, key);
	*text ? jw_string(w, text) : jw_null(w);
}

void row_bool(struct json_writer *w, const char *key, bool value)
{
	jw_key(w, key);
	jw_bool(w, value);
}

void row_site(struct json_writer *w, const struct obs_site *s)
{
	jw_key(w, "site");
	if (!*s->file && !*s->function && !s->address && !s->stack) {
		jw_null(w);
		return;
	}
	jw_open(w, '{');
	row_text(w, "file", s->file);
	row_text(w, "function", s->function);
	row_count(w, "line", s->line ? s->line : OBS_UNKNOWN);
	row_text(w, "module", s->module);
	if (s->address)
		jw_key(w, "address"), jw_address(w, s->address);
	if (s->stack)
		jw_key(w, "stack"), jw_address(w, s->stack);
	jw_close(w, '}');
}

void row_owner(struct json_writer *w, const struct obs_owner *o)
{
	jw_key(w, "owner");
	if (o->pid <= 0) {
		jw_null(w);
		return;
	}
	jw_open(w, '{');
	jw_key(w, "pid"), jw_int(w, o->pid);
	row_text(w, "command", o->command);
	row_bool(w, "alive", o->alive);
	jw_close(w, '}');
}

void row_sums(struct json_writer *w, const struct tally_row *row)
{
	jw_key(w, "count"), jw_uint(w, tally_count(row));
	jw_key(w, "bytes"), jw_uint(w, tally_bytes(row));
	row_bool(w, "estimated", row->estimated);
	jw_key(w, "sampled"), jw_uint(w, row->sampled);
}

void row_pool(struct json_writer *w, const struct obs_info *pool)
{
	jw_key(w, "pool"), jw_string(w, pool->id);
	jw_key(w, "domain"), jw_string(w, row_domain(pool->domain));
	row_text(w, "name", pool->name);
	jw_key(w, "pid"), jw_int(w, pool->pid);
	row_text(w, "command", pool->command);
	row_text(w, "manager", pool->manager);
}

void row_age(struct json_writer *w, const char *key, uint64_t since)
{
	uint64_t now = (uint64_t)time(NULL);

	row_count(w, key, since == OBS_UNKNOWN ? OBS_UNKNOWN : now > since ? now - since : 0);
}

const char *row_domain(enum obs_domain domain) { return domain == OBS_PKG ? "pkg" : "shm"; }

const char *row_state(enum obs_state state)
{
	static const char *const names[] = { "live", "draining", "exited", "crashed", "damaged" };

	return names[state];
}

const char *row_tracking(enum obs_tracking tracking)
{
	static const char *const names[] = { "off", "sites", "stacks", "sampled" };

	return names[tracking];
}

const char *row_on_death(unsigned on_death)
{
	static const char *const names[] = { "keep", "reclaim", "quarantine" };

	return names[on_death < 3 ? on_death : 0];
}

/* ---- places ---- */

void places_of(struct places *pl, struct obs_pool *pool)
{
	pl->pool = pool;
	memset(pl->site_number, 0, sizeof pl->site_number);
	memset(pl->owner_number, 0, sizeof pl->owner_number);
}

const struct obs_site *places_site(struct places *pl, uint32_t site)
{
	unsigned at = site % 256;

	if (pl->site_number[at] != site + 1ull) {
		obs_site(pl->pool, site, &pl->site[at]);
		pl->site_number[at] = site + 1ull;
	}
	return &pl->site[at];
}

const struct obs_owner *places_owner(struct places *pl, uint32_t slot)
{
	unsigned at = slot % 64;

	if (pl->owner_number[at] != slot + 1ull) {
		obs_owner(pl->pool, slot, &pl->owner[at]);
		pl->owner_number[at] = slot + 1ull;
	}
	return &pl->owner[at];
}

void row_skipped(struct json_writer *w, struct json_writer *skipped)
{
	jw_key(w, "skipped"), jw_open(w, '[');
	if (skipped->len)
		jw_raw(w, skipped->text, skipped->len);
	jw_close(w, ']');
	jw_free(skipped);
}

void row_skip(const char *file, const char *reason, void *arg)
{
	struct json_writer *w = arg;

	jw_open(w, '{');
	jw_key(w, "file"), jw_string(w, file);
	jw_key(w, "reason"), jw_string(w, reason);
	jw_close(w, '}');
}
