/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * leaks: memory that looks lost, each row with its evidence (evidence.h).
 *
 * A live cache has none of these and is never named. Ledgers are summed in slices; then the suspects are sorted, the
 * biggest first, and a page of them is written. The cursor counts suspects.
 */
#include <stdio.h>
#include <string.h>

#include "ctl/memory.h"
#include "daemon/evidence.h"
#include "daemon/page.h"
#include "daemon/tally.h"
#include "daemon/visit.h"

struct leaks {
	struct visit v;
	unsigned wanted, of_pool;	/* evidence: asked for, and what this pool can give of it */
	uint64_t limit;
	struct page page;
	uint64_t concluded, passed,
		written; /* sums of this pool that are judged; suspects of earlier pages, of this one */
	bool concluding, opened;
	struct growth growth;		/* as it was when the call came */
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
		if (s->of_pool & OWNER_DEAD && evidence_owner_dead(&s->v.view->places, f))
			add_dead(s, f, places_owner(&s->v.view->places, f->slot));
		if (s->of_pool & (AT_EXIT | GROWING))
			tally_add(&s->sites, f->site, f);
	}
	return visit_goes_on(&s->v);
}

/* ---- from sums to suspects ---- */

static void growth(struct leaks *s, const uint64_t *figures)
{
	unsigned n = s->growth.samples, interval = s->growth.interval;
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
	jw_key(w, "pool"), jw_string(w, visit_id(&s->v));
	row_site(w, places_site(&s->v.view->places, (uint32_t)sums->key));
	row_owner(w, by_slot ? places_owner(&s->v.view->places, sums->text) :
		  visit_id(&s->v)[0] == 'p' ? places_owner(&s->v.view->places, 0) : &nobody);
	if (figures)
		growth(s, figures);
	else
		jw_key(w, "rate"), jw_null(w);
	row->text_len = (uint32_t)(w->len - row->text);
}

static void conclude_site(struct leaks *s, const struct tally_row *row)
{
	const uint64_t *figures;

	if (s->of_pool & AT_EXIT)
		suspect(s, "at_exit", row, false, NULL);
	else if ((figures = growth_of(&s->growth, visit_id(&s->v), (uint32_t)row->key)))
		suspect(s, "growing", row, false, figures);
}

/* The next sums are judged; true: all are. */
static bool conclude(struct leaks *s)
{
	size_t all = s->dead.count + s->sites.count;

	for (unsigned n = 0; n < VISIT_PIECE && s->concluded < all; n++, s->concluded++)
		if (s->concluded < s->dead.count)
			suspect(s, "owner_dead", &s->dead.row[s->concluded], true, NULL);
		else
			conclude_site(s, &s->sites.row[s->concluded - s->dead.count]);
	return s->concluded == all;
}

static void end_pool(struct leaks *s)
{
	s->suspects.failed |= s->dead.failed | s->sites.failed;
	tally_free(&s->dead);
	tally_free(&s->sites);
	s->concluding = false;
	s->concluded = 0;
	visit_next(&s->v);
}

static void look(struct visit *v)
{
	struct leaks *s = (struct leaks *)(void *)v;
	struct obs_pool *p = visit_pool(v);
	int error;

	if (p && !v->at && !s->concluding) {
		s->of_pool = evidence_of_pool(p) & s->wanted;
		s->sharded = obs_info(p)->shards > 1;
	}
	if (!p || !s->of_pool) {
		end_pool(s);
		return;
	}
	if (!s->concluding) {
		error = obs_records(p, &v->at, VISIT_LOOK, on_record, s);
		visit_error(v, error);
		if (!error && v->at)
			return;
		s->concluding = true;	/* after an error, too: `at` stays where that was */
	}
	if (conclude(s))
		end_pool(s);
}

/* ---- the page ---- */

static void write_suspect(struct leaks *s, const struct tally_row *row)
{
	struct json_writer *w = s->v.call->out;

	jw_open(w, '{');
	jw_raw(w, s->text.text + row->text, row->text_len);
	row_sums(w, row);
	row_age(w, "oldest", row->oldest);
	jw_key(w, "examples"), jw_open(w, '[');
	for (unsigned i = 0; i < TALLY_EXAMPLES && i < row->count; i++)
		jw_address(w, row->example[i]);
	jw_close(w, ']');
	jw_close(w, '}');
}

static void write_end(struct leaks *s)
{
	struct json_writer *w = s->v.call->out;

	jw_close(w, ']');
	s->page.at += s->written;
	if (s->page.at < s->suspects.count)
		page_write(s->v.call, &s->page);
	else
		jw_key(w, "next"), jw_null(w);
	jw_key(w, "samples"), jw_uint(w, s->growth.samples);
	jw_key(w, "interval"), jw_uint(w, s->growth.interval);
	row_bool(w, "unsampled", s->growth.full);
	jw_close(w, '}');
}

/* The next suspects, the biggest first; those of earlier pages are passed over. */
static bool write_page(struct leaks *s)
{
	struct json_writer *w = s->v.call->out;

	if (!s->opened) {
		jw_open(w, '{');
		jw_key(w, "suspects"), jw_open(w, '[');
		s->opened = true;
	}
	for (unsigned n = 0; n < VISIT_PIECE; n++) {
		const struct tally_row *row = s->written < s->limit ? tally_pop(&s->suspects) : NULL;

		if (!row) {
			write_end(s);
			return true;
		}
		if (s->passed < s->page.at) {
			s->passed++;
			continue;
		}
		write_suspect(s, row);
		s->written++;
	}
	return false;
}

static bool finish(struct visit *v)
{
	struct leaks *s = (struct leaks *)(void *)v;

	if (s->suspects.failed || s->text.failed) {
		rpc_fail(v->call, RPC_INTERNAL, NULL, "out of memory");
		return true;
	}
	return tally_order(&s->suspects) && write_page(s);
}

static void drop(void *state)
{
	struct leaks *s = state;

	pick_free(&s->v.pick);
	tally_free(&s->dead);
	tally_free(&s->sites);
	tally_free(&s->suspects);
	jw_free(&s->text);
	growth_free(&s->growth);
	ctl_free(s);
}

void rpc_leaks(struct rpc_call *call)
{
	static bool is_long;
	struct leaks *s = ctl_zalloc(sizeof *s);

	if (!s || !sampler_growth(daemon_of(call)->sampler, &s->growth)) {
		rpc_fail(call, RPC_INTERNAL, NULL, "out of memory");
		ctl_free(s);
		return;
	}
	s->v.look = look;
	s->v.finish = finish;
	s->wanted = evidence_read(rpc_text(call, "evidence"));
	s->limit = rpc_uint(call, "limit", RPC_ROWS);
	if (page_read(call, &s->page))
		visit_begin(call, &s->v, drop, &is_long);
	else
		drop(s);
}
