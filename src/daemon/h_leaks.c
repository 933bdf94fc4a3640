/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * leaks: memory that looks lost, each row with its evidence.
 *
 *	owner_dead	shm: the owner of the fragments is dead, by site and owner. What it is, not what it may mean
 *	at_exit		pkg: what a program that ended or crashed still held; what it inherited by fork is not counted
 *	growing		a call site whose bytes rose in each of the last N samples; the figures stand beside it
 *
 * A live cache has none of these and is never named. Ledgers are summed in slices; then the suspects are sorted, the
 * biggest first, and a page of them is written. The cursor counts suspects.
 */
#include <stdio.h>
#include <string.h>

#include "ctl/memory.h"
#include "daemon/daemon.h"
#include "daemon/page.h"
#include "daemon/pick.h"
#include "daemon/sample.h"
#include "daemon/tally.h"

enum { LOOK = 4096, LOOK_LATE = 256 };
enum evidence { OWNER_DEAD = 1, AT_EXIT = 2, GROWING = 4 };

struct leaks {
	struct daemon *d;
	struct rpc_call *call;
	struct pick pick;
	unsigned wanted;		/* evidence */
	size_t i;
	uint64_t at, limit;
	struct page page;
	unsigned seen, of_pool;		/* of_pool: evidence that this pool can give */
	bool sharded;
	struct tally dead, sites;	/* of this pool: by site and owner, by site */
	struct tally suspects;		/* of all */
	struct json_writer text;	/* members of each suspect that are no sums */
};

/**
 * Rows are by slot. A thread has one in each shard that it used; there its process stands for all of them. The row
 * remembers a slot of the owner in `text`, which is its user's.
 */
static void add_dead(struct leaks *s, const struct obs_fragment *f, const struct obs_owner *owner)
{
	uint64_t who = s->sharded ? (uint64_t)owner->pid : f->slot, key = f->site | who << 32;
	struct tally_row *row = tally_at(&s->dead, key);

	if (row && !row->count)
		row->text = f->slot;
	tally_add(&s->dead, key, f);
}

static bool on_record(const struct obs_fragment *f, void *arg)
{
	struct leaks *s = arg;

	if (f->state == OBS_USED) {
		const struct obs_owner *owner = s->of_pool & OWNER_DEAD ? places_owner(&s->d->places, f->slot) : NULL;

		if (owner && owner->pid > 0 && !owner->alive)
			add_dead(s, f, owner);
		if (s->of_pool & (AT_EXIT | GROWING))
			tally_add(&s->sites, f->site, f);
	}
	return ++s->seen % LOOK_LATE || !rpc_late(s->call);
}

/* ---- from sums to suspects ---- */

static void growth(struct leaks *s, const uint64_t *figures)
{
	unsigned n = sampler_samples(s->d->sampler), interval = sampler_interval(s->d->sampler);
	struct json_writer *w = &s->text;

	jw_key(w, "rate"), jw_real(w, (double)(figures[n] - figures[0]) / ((double)n * interval));
	jw_key(w, "samples"), jw_uint(w, n);
	jw_key(w, "interval"), jw_uint(w, interval);
	jw_key(w, "figures"), jw_open(w, '[');
	for (unsigned i = 0; i <= n; i++)
		jw_uint(w, figures[i]);
	jw_close(w, ']');
}

/* figures: NULL but for growing. */
static void suspect(struct leaks *s, const char *evidence, const struct tally_row *sums, bool by_slot,
		    const uint64_t *figures)
{
	static const struct obs_owner nobody;
	struct tally_row *row = tally_at(&s->suspects, s->suspects.count + 1);
	struct json_writer *w = &s->text;

	if (!row || row->text_len)
		return;				/* no memory, or TALLY_MAX */
	tally_merge(row, sums);
	row->text = (uint32_t)w->len;
	w->comma = false;
	jw_key(w, "evidence"), jw_string(w, evidence);
	jw_key(w, "pool"), jw_string(w, s->pick.id[s->i]);
	row_site(w, places_site(&s->d->places, (uint32_t)sums->key));
	row_owner(w, by_slot		     ? places_owner(&s->d->places, sums->text)
		     : s->pick.id[s->i][0] == 'p' ? places_owner(&s->d->places, 0)
						  : &nobody);
	if (figures)
		growth(s, figures);
	else
		jw_key(w, "rate"), jw_null(w);
	row->text_len = (uint32_t)(w->len - row->text);
}

static void conclude(struct leaks *s)
{
	uint64_t figures[65];

	for (size_t i = 0; i < s->dead.size; i++)
		if (s->dead.row[i].used)
			suspect(s, "owner_dead", &s->dead.row[i], true, NULL);
	for (size_t i = 0; i < s->sites.size; i++) {
		const struct tally_row *row = &s->sites.row[i];

		if (!row->used)
			continue;
		if (s->of_pool & AT_EXIT)
			suspect(s, "at_exit", row, false, NULL);
		else if (sampler_growth(s->d->sampler, s->pick.id[s->i], (uint32_t)row->key, figures))
			suspect(s, "growing", row, false, figures);
	}
}

static unsigned can_give(struct obs_pool *p)
{
	struct obs_stats stats;
	bool live;

	if (obs_stats(p, &stats))
		return 0;
	live = stats.state == OBS_LIVE || stats.state == OBS_DRAINING;
	if (obs_info(p)->domain == OBS_SHM)
		return OWNER_DEAD | (live ? GROWING : 0);
	return live ? GROWING : stats.state == OBS_DAMAGED ? 0 : AT_EXIT;
}

static void end_pool(struct leaks *s)
{
	s->suspects.failed |= s->dead.failed | s->sites.failed;
	tally_free(&s->dead);
	tally_free(&s->sites);
	s->at = 0;
	s->i++;
}

static void look(struct leaks *s)
{
	struct obs_pool *p = pick_at(s->d, &s->pick, s->i);
	int error = 0;

	if (p && s->d->places.pool != p)
		places_of(&s->d->places, p);
	if (p && !s->at) {
		s->of_pool = can_give(p) & s->wanted;
		s->sharded = obs_info(p)->shards > 1;
	}
	if (!p || !s->of_pool) {
		end_pool(s);
		return;
	}
	error = obs_records(p, &s->at, LOOK, on_record, s);
	if (error && s->pick.one && s->pick.count == 1)
		pick_fail(s->call, s->pick.id[s->i], error);
	if (!error && s->at)
		return;
	conclude(s);
	end_pool(s);
}

/* ---- the page ---- */

static void write_suspect(struct leaks *s, const struct tally_row *row)
{
	struct json_writer *w = s->call->out;

	jw_open(w, '{');
	jw_raw(w, s->text.text + row->text, row->text_len);
	jw_key(w, "count"), jw_uint(w, row->count);
	jw_key(w, "bytes"), jw_uint(w, row->bytes);
	row_age(w, "oldest", row->oldest);
	jw_key(w, "examples"), jw_open(w, '[');
	for (unsigned i = 0; i < TALLY_EXAMPLES && i < row->count; i++)
		jw_address(w, row->example[i]);
	jw_close(w, ']');
	jw_close(w, '}');
}

static void write_page(struct leaks *s)
{
	struct json_writer *w = s->call->out;
	uint64_t i = s->page.at;

	tally_sort(&s->suspects);
	jw_open(w, '{');
	jw_key(w, "suspects"), jw_open(w, '[');
	for (; i < s->suspects.count && i - s->page.at < s->limit; i++)
		write_suspect(s, &s->suspects.row[i]);
	jw_close(w, ']');
	s->page.at = i;
	if (i < s->suspects.count)
		page_write(s->call, &s->page);
	else
		jw_key(w, "next"), jw_null(w);
	jw_key(w, "samples"), jw_uint(w, sampler_samples(s->d->sampler));
	jw_key(w, "interval"), jw_uint(w, sampler_interval(s->d->sampler));
	jw_close(w, '}');
}

static void step(struct rpc_call *call)
{
	struct leaks *s = call->state;

	s->call = call;
	places_of(&s->d->places, NULL);
	while (s->i < s->pick.count && !call->error.code) {
		look(s);
		if (rpc_late(call))
			return;
	}
	if (call->error.code)
		return;
	if (s->suspects.failed || s->text.failed)
		rpc_fail(call, RPC_INTERNAL, NULL, "out of memory");
	else
		write_page(s);
	rpc_done(call);
}

static void drop(void *state)
{
	struct leaks *s = state;

	pick_free(&s->pick);
	tally_free(&s->dead);
	tally_free(&s->sites);
	tally_free(&s->suspects);
	jw_free(&s->text);
	ctl_free(s);
}

static unsigned read_evidence(const char *text)
{
	if (!text)
		return OWNER_DEAD | AT_EXIT | GROWING;
	return !strcmp(text, "owner_dead") ? OWNER_DEAD : !strcmp(text, "at_exit") ? AT_EXIT : GROWING;
}

void rpc_leaks(struct rpc_call *call)
{
	struct leaks *s = ctl_zalloc(sizeof *s);

	if (!s) {
		rpc_fail(call, RPC_INTERNAL, NULL, "out of memory");
		return;
	}
	s->d = daemon_of(call);
	s->wanted = read_evidence(rpc_text(call, "evidence"));
	s->limit = rpc_uint(call, "limit", RPC_ROWS);
	if (!page_read(call, &s->page) || !pick_pools(call, OBS_PKG | OBS_SHM, &s->pick)) {
		drop(s);
		return;
	}
	rpc_later(call, step, s, drop);
	step(call);
}
