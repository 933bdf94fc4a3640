/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * summary: used memory in groups. Each pool's ledger is summed by number first (site, slot, size class), which costs no
 * look at names; then each number gets its name, and equal names of several pools come together.
 *
 *	records ─> tally by number ─(end of a pool)─> tally by name ─(end)─> sorted, cut to `limit`
 *
 * Memory that nobody tracked is one row of its own, `untracked`; where some was sampled, what samples do not stand for.
 * Bounded: TALLY_MAX groups; each arrow in slices.
 */
#include <stdio.h>
#include <string.h>

#include "base/fnv.h"
#include "ctl/memory.h"
#include "daemon/tally.h"
#include "daemon/visit.h"

enum by { BY_SITE, BY_MODULE, BY_SIZE, BY_OWNER };

struct summary {
	struct visit v;
	enum by by;
	uint64_t limit;
	struct tally_row all, pool;	/* of everything, of this pool */
	size_t named, written;		/* numbers of this pool that have their name; rows of the answer */
	bool naming, opened;
	struct tally numbers, names;
	struct json_writer text;	/* members of each name's row: "key":…,"site":… */
};

static unsigned size_class(uint64_t size)
{
	unsigned power = 0;

	while (power < 63 && (1ull << power) < size)
		power++;
	return power;
}

static uint64_t number_of(enum by by, const struct obs_fragment *f)
{
	if (by == BY_SIZE)
		return size_class(f->size);
	return by == BY_OWNER ? f->slot : f->site;
}

static bool on_record(const struct obs_fragment *f, void *arg)
{
	struct summary *s = arg;

	if (f->state == OBS_USED) {
		tally_row_add(&s->pool, f);
		tally_add(&s->numbers, number_of(s->by, f), f);
	}
	return visit_goes_on(&s->v);
}

/* ---- names ---- */

static void site_key(const struct obs_site *site, char *buf, size_t bytes)
{
	if (*site->file && site->line)
		snprintf(buf, bytes, "%s:%ju%s%s", site->file, (uintmax_t)site->line, *site->function ? " " : "", site->function);
	else if (site->stack)		/* those that are named alike are one row */
		snprintf(buf, bytes, "%s%s%s", site->file, *site->file ? " " : "", site->function);
	else if (site->address)
		snprintf(buf, bytes, "%s%s0x%jx", site->file, *site->file ? "+" : "", (uintmax_t)site->address);
	else
		snprintf(buf, bytes, "%s", *site->file ? site->file : site->function);
}

/* The name of a number in pool `p`; "" is not known. */
static void name_of(struct summary *s, uint64_t number, char *buf, size_t bytes)
{
	struct places *places = &s->v.view->places;

	*buf = 0;
	switch (s->by) {
	case BY_SITE:
		site_key(places_site(places, (uint32_t)number), buf, bytes);
		break;
	case BY_MODULE:
		snprintf(buf, bytes, "%s", places_site(places, (uint32_t)number)->module);
		break;
	case BY_SIZE:
		if (number < 5)
			snprintf(buf, bytes, "1-16");
		else
			snprintf(buf, bytes, "%ju-%ju", (uintmax_t)(1ull << (number - 1)) + 1, (uintmax_t)(1ull << number));
		break;
	case BY_OWNER:
		if (places_owner(places, (uint32_t)number)->pid)
			snprintf(buf, bytes, "%jd %s", (intmax_t)places_owner(places, (uint32_t)number)->pid,
				 places_owner(places, (uint32_t)number)->command);
		break;
	}
}

/* "key":…,"site":… without braces, into s->text. */
static void note_members(struct summary *s, struct tally_row *row, const char *name, const struct obs_site *site)
{
	row->text = (uint32_t)s->text.len;
	s->text.comma = false;
	row_text(&s->text, "key", name);
	if (site)
		row_site(&s->text, site);
	else
		jw_key(&s->text, "site"), jw_null(&s->text);
	row->text_len = (uint32_t)(s->text.len - row->text);
}

static struct tally_row *named(struct summary *s, const char *name, const struct obs_site *site)
{
	struct tally_row *row = tally_at(&s->names, fnv_text(name));

	if (row && !row->text_len)
		note_members(s, row, row->key ? name : "others", row->key ? site : NULL);	/* 0: TALLY_MAX is reached */
	return row;
}

/* The next numbers get their names; true: all have. */
static bool fold(struct summary *s)
{
	char name[256];

	for (unsigned n = 0; n < VISIT_PIECE && s->named < s->numbers.count; n++) {
		const struct tally_row *number = &s->numbers.row[s->named++];
		struct tally_row *row;

		name_of(s, number->key, name, sizeof name);
		row = named(s, name, s->by == BY_SITE ? places_site(&s->v.view->places, (uint32_t)number->key) : NULL);
		if (row)
			tally_merge(row, number);
	}
	s->names.failed |= s->numbers.failed;
	return s->named == s->numbers.count;
}

static uint64_t beyond(uint64_t all, uint64_t known) { return all > known ? all - known : 0; }

static void add_untracked(struct summary *s, struct obs_pool *p)
{
	struct tally_row rest = { .oldest = OBS_UNKNOWN, .estimated = s->pool.sampled }, *row;
	struct obs_stats stats;

	if (obs_counts(p, &stats) || !stats.untracked || stats.untracked == OBS_UNKNOWN)
		return;
	rest.count = rest.estimated ? beyond(stats.fragments, tally_count(&s->pool)) : stats.untracked;
	rest.bytes = rest.estimated ? beyond(stats.used, tally_bytes(&s->pool)) : stats.untracked_bytes;
	if (!rest.count && !rest.bytes)
		return;
	row = named(s, "untracked", NULL);
	if (row)
		tally_merge(row, &rest);
	tally_merge(&s->all, &rest);
}

/* ---- slices ---- */

static void end_pool(struct summary *s)
{
	tally_free(&s->numbers);
	s->pool = (struct tally_row){ .oldest = OBS_UNKNOWN };
	s->naming = false;
	s->named = 0;
	visit_next(&s->v);
}

static void look(struct visit *v)
{
	struct summary *s = (struct summary *)(void *)v;
	struct obs_pool *p = visit_pool(v);
	int error;

	if (p && !s->naming) {
		error = obs_records(p, &v->at, VISIT_LOOK, on_record, s);
		visit_error(v, error);
		if (!error && v->at)
			return;
		s->naming = true;	/* after an error, too: `at` stays where that was */
	}
	if (p && !fold(s))
		return;
	if (p) {
		add_untracked(s, p);
		tally_merge(&s->all, &s->pool);
	}
	end_pool(s);			/* or it went away meanwhile */
}

static void write_row(struct summary *s, const struct tally_row *row)
{
	struct json_writer *w = s->v.call->out;

	jw_open(w, '{');
	jw_raw(w, s->text.text + row->text, row->text_len);
	row_sums(w, row);
	row_count(w, "largest", row->largest ? row->largest : OBS_UNKNOWN);
	row_age(w, "oldest", row->oldest);
	jw_close(w, '}');
}

static void write_end(struct summary *s)
{
	struct json_writer *w = s->v.call->out;

	jw_close(w, ']');
	jw_key(w, "total"), jw_open(w, '{');
	row_sums(w, &s->all);
	jw_close(w, '}');
	jw_key(w, "groups"), jw_uint(w, s->names.count);
	jw_close(w, '}');
}

/* The next rows, the biggest first. */
static bool write_rows(struct summary *s)
{
	struct json_writer *w = s->v.call->out;

	if (!s->opened) {
		jw_open(w, '{');
		jw_key(w, "rows"), jw_open(w, '[');
		s->opened = true;
	}
	for (unsigned n = 0; n < VISIT_PIECE; n++) {
		const struct tally_row *row = s->written < s->limit ? tally_pop(&s->names) : NULL;

		if (!row) {
			write_end(s);
			return true;
		}
		write_row(s, row);
		s->written++;
	}
	return false;
}

static bool finish(struct visit *v)
{
	struct summary *s = (struct summary *)(void *)v;

	if (s->names.failed || s->text.failed) {
		rpc_fail(v->call, RPC_INTERNAL, NULL, "out of memory");
		return true;
	}
	return tally_order(&s->names) && write_rows(s);
}

static void drop(void *state)
{
	struct summary *s = state;

	pick_free(&s->v.pick);
	tally_free(&s->numbers);
	tally_free(&s->names);
	jw_free(&s->text);
	ctl_free(s);
}

static enum by read_by(const char *text)
{
	if (!text || !strcmp(text, "site"))
		return BY_SITE;
	return !strcmp(text, "module") ? BY_MODULE : !strcmp(text, "size") ? BY_SIZE : BY_OWNER;
}

void rpc_summary(struct rpc_call *call)
{
	static bool is_long;
	struct summary *s = ctl_zalloc(sizeof *s);

	if (!s) {
		rpc_fail(call, RPC_INTERNAL, NULL, "out of memory");
		return;
	}
	s->v.look = look;
	s->v.finish = finish;
	s->by = read_by(rpc_text(call, "by"));
	s->limit = rpc_uint(call, "limit", RPC_ROWS);
	visit_begin(call, &s->v, drop, &is_long);
}
