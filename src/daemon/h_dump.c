/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * dump: fragments one by one, in slices, in pages.
 *
 * Where the ledger knows every fragment in use, those come from it, and a walk of the heap adds the free ones; where it
 * does not (tracking was off), the walk gives all. Of a process that is gone there is only the ledger, and for what is
 * suspected there is evidence in the ledger alone.
 *
 *	for each pool:	LEDGER ─> FREE		or	HEAP		a page may end anywhere in between
 *
 * Neither takes a lock, so pause_us is 0. Cost: 32 bytes read a record that is looked at, 1000 of them a question of
 * time.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ctl/memory.h"
#include "daemon/aside.h"
#include "daemon/evidence.h"
#include "daemon/page.h"
#include "daemon/pick.h"

enum phase { LEDGER, FREE, HEAP };
enum { LOOK = 1024, LOOK_LATE = 32, TRIES = 200 };

struct filter {
	int state;			/* enum obs_frag_state, -1: any */
	bool quarantined;		/* ... of the used ones those that are */
	char site[256];			/* "": any */
	int64_t owner;			/* 0: any */
	uint64_t min_size, latest;	/* latest: time of the youngest, OBS_UNKNOWN: any */
	unsigned evidence;		/* only suspects, with this; 0: all */
};

struct dump {
	struct rpc_call *call;
	struct pick pick;
	struct filter filter;
	struct page at;
	size_t i;			/* of pick */
	uint64_t left;
	unsigned seen, tries;
	bool began;			/* the pool at `i` has its phase */
	bool no_heap;			/* ... and its heap cannot be read */
	struct json_writer errors;
	/* of the walk that runs */
	struct view *view;
	const char *id;
	uint32_t match_site;		/* the last one that was asked, + 1 */
	bool matches, grows;
	unsigned of_pool, found;	/* evidence: that the pool can give, that there is for this fragment */
	struct growth growth;		/* as it was when the call came */
};

/* ---- which ---- */

/* A function, or the one where a stack begins. */
static bool function_matches(const struct obs_site *s, const char *want)
{
	size_t len = strlen(want);

	return len && !strncmp(s->function, want, len) &&
	       (!s->function[len] || (s->stack && !strncmp(s->function + len, " < ", 3)));
}

/* FILE:LINE, FILE or its end, a function, or an address or a stack's number. */
static bool site_matches(const struct obs_site *s, const char *want)
{
	size_t file = strlen(s->file), len;
	const char *colon = strrchr(want, ':');
	char *end;

	if (!strncmp(want, "0x", 2))
		return (s->address | s->stack) && (s->address | s->stack) == strtoull(want, &end, 16) && !*end;
	if (function_matches(s, want))
		return true;
	if (colon && (strtoull(colon + 1, &end, 10) != s->line || *end || !colon[1]))
		return false;
	len = colon ? (size_t)(colon - want) : strlen(want);
	return len && len <= file && !memcmp(s->file + file - len, want, len) &&
	       (len == file || s->file[file - len - 1] == '/');
}

static bool wants_site(struct dump *s, uint32_t site)
{
	if (!*s->filter.site && !(s->of_pool & GROWING))
		return true;
	if (s->match_site != site + 1) {
		s->match_site = site + 1;
		s->matches = !*s->filter.site || site_matches(places_site(&s->view->places, site), s->filter.site);
		s->grows = s->of_pool & GROWING && growth_of(&s->growth, s->id, site);
	}
	return s->matches;
}

/* After wants_site(). */
static bool is_suspected(struct dump *s, const struct obs_fragment *f)
{
	if (!s->filter.evidence)
		return true;
	s->found = 0;
	if (f->state != OBS_USED)
		return false;
	if (s->of_pool & OWNER_DEAD && evidence_owner_dead(&s->view->places, f))
		s->found |= OWNER_DEAD;
	s->found |= (s->of_pool & AT_EXIT) | (s->of_pool & GROWING && s->grows ? GROWING : 0);
	return s->found;
}

static bool wants(struct dump *s, const struct obs_fragment *f)
{
	const struct filter *want = &s->filter;

	if ((want->state >= 0 &&
	     (f->state != (enum obs_frag_state)want->state || f->quarantined != want->quarantined)) ||
	    f->size < want->min_size)
		return false;
	if ((s->at.phase == FREE) != (f->state == OBS_FREE) && s->at.phase != HEAP)
		return false;
	if (want->latest != OBS_UNKNOWN && (f->time == OBS_UNKNOWN || f->time > want->latest))
		return false;
	if (!wants_site(s, f->state == OBS_FREE ? 0 : f->site) || !is_suspected(s, f))
		return false;
	return !want->owner ||
	       (f->state != OBS_FREE && places_owner(&s->view->places, f->slot)->pid == want->owner);
}

/* ---- rows ---- */

static void write_fragment(struct dump *s, const struct obs_fragment *f)
{
	static const char *const states[] = { "used", "free", "cached" };
	static const struct obs_site no_site;
	static const struct obs_owner no_owner;
	bool known = f->state != OBS_FREE && f->index != OBS_UNKNOWN;
	bool is_pkg = !strncmp(s->id, "pkg:", 4);
	struct json_writer *w = s->call->out;

	jw_open(w, '{');
	jw_key(w, "pool"), jw_string(w, s->id);
	jw_key(w, "address"), jw_address(w, f->address);
	jw_key(w, "size"), jw_uint(w, f->size);
	row_count(w, "requested", f->requested);
	jw_key(w, "state"), jw_string(w, f->quarantined ? "quarantined" : states[f->state]);
	row_site(w, known ? places_site(&s->view->places, f->site) : &no_site);
	row_owner(w, known || (is_pkg && f->state != OBS_FREE) ? places_owner(&s->view->places, f->slot) : &no_owner);
	row_age(w, "age", known ? f->time : OBS_UNKNOWN);
	row_count(w, "stamp", known ? f->stamp : OBS_UNKNOWN);
	jw_key(w, "weight");
	known && f->sampled ? jw_real(w, f->weight) : jw_null(w);
	if (s->filter.evidence)
		jw_key(w, "evidence"), evidence_write(w, s->found);
	jw_close(w, '}');
}

static bool on_fragment(const struct obs_fragment *f, void *arg)
{
	struct dump *s = arg;

	if (wants(s, f)) {
		write_fragment(s, f);
		s->left--;
	}
	return s->left && (++s->seen % LOOK_LATE || !rpc_late(s->call));
}

static void note_error(struct dump *s, int error)
{
	if (!s->errors.len)
		jw_open(&s->errors, '[');
	jw_open(&s->errors, '{');
	jw_key(&s->errors, "pool"), jw_string(&s->errors, s->id);
	jw_key(&s->errors, "reason"), jw_string(&s->errors, pick_reason(error));
	jw_close(&s->errors, '}');
}

/* ---- the way through the pools ---- */

static enum phase first_phase(const struct dump *s, struct obs_pool *p)
{
	struct obs_stats stats;

	if (s->filter.evidence || obs_counts(p, &stats) || !stats.untracked ||
	    (stats.state != OBS_LIVE && stats.state != OBS_DRAINING))
		return LEDGER;
	return s->filter.state == OBS_FREE ? FREE : HEAP;
}

static bool has_free(struct obs_pool *p)
{
	struct obs_stats stats;

	if (obs_info(p)->domain == OBS_SHM)
		return true;
	return !obs_counts(p, &stats) && (stats.state == OBS_LIVE || stats.state == OBS_DRAINING) &&
	       stats.free_fragments != OBS_UNKNOWN;
}

static void next_pool(struct dump *s)
{
	s->i++;
	s->at.at = 0;
	s->began = s->no_heap = false;
	s->tries = 0;
}

static void next_phase(struct dump *s, struct obs_pool *p)
{
	s->at.at = 0;
	if (s->at.phase == LEDGER && !s->no_heap && !s->filter.evidence &&
	    (s->filter.state < 0 || s->filter.state == OBS_FREE) && has_free(p))
		s->at.phase = FREE;
	else
		next_pool(s);
}

/* The heap could not be read. What was asked for by name fails the call, others are named beside the rest. */
static void on_error(struct dump *s, int error)
{
	if (error == -EAGAIN && s->tries++ < TRIES)
		return;				/* the next slice tries again */
	if (error == -EINVAL && s->at.at) {
		page_stale(s->call);
	} else if (s->pick.one && s->pick.count == 1 && s->at.phase != FREE) {
		pick_fail(s->call, s->id, error);
	} else {
		note_error(s, error);
		if (s->at.phase == HEAP) {
			s->at.phase = LEDGER;	/* what it had tracked is something */
			s->at.at = 0;
			s->no_heap = true;
		} else {
			next_pool(s);
		}
	}
}

static void look(struct dump *s)
{
	struct obs_pool *p = pick_at(s->view, &s->pick, s->i);
	int error;

	if (!p) {
		if (s->pick.one && s->pick.count == 1)
			pick_fail(s->call, s->pick.id[s->i], -ENOENT);
		next_pool(s);
		return;
	}
	s->id = s->pick.id[s->i];
	if (s->view->places.pool != p) {
		places_of(&s->view->places, p);
		s->match_site = 0;
		s->of_pool = s->filter.evidence ? evidence_of_pool(p) & s->filter.evidence : 0;
	}
	if (s->filter.evidence && !s->of_pool) {
		next_pool(s);
		return;
	}
	if (!s->began) {
		s->at.phase = first_phase(s, p);
		s->at.at = 0;
		s->began = true;
	}
	if (s->at.phase == LEDGER && s->filter.state == OBS_FREE)
		error = 0;
	else if (s->at.phase == LEDGER)
		error = obs_records(p, &s->at.at, LOOK, on_fragment, s);
	else
		error = obs_walk(p, &s->at.at, LOOK, on_fragment, s);
	if (error)
		on_error(s, error);
	else if (!s->at.at)
		next_phase(s, p);
}

static void finish(struct dump *s)
{
	struct rpc_call *call = s->call;

	jw_close(call->out, ']');
	if (s->i < s->pick.count && s->began) {
		snprintf(s->at.pool, sizeof s->at.pool, "%s", s->pick.id[s->i]);
		page_write(call, &s->at);
	} else if (s->i < s->pick.count) {
		/* the page ended between two pools */
		s->at = (struct page){ .phase = HEAP + 1 };
		snprintf(s->at.pool, sizeof s->at.pool, "%s", s->pick.id[s->i]);
		page_write(call, &s->at);
	} else {
		jw_key(call->out, "next"), jw_null(call->out);
	}
	jw_key(call->out, "pause_us"), jw_uint(call->out, 0);
	if (s->errors.len) {
		jw_close(&s->errors, ']');
		jw_key(call->out, "errors"), jw_raw(call->out, s->errors.text, s->errors.len);
	}
	jw_close(call->out, '}');
	rpc_done(call);
}

static void step(struct rpc_call *call)
{
	struct dump *s = call->state;

	s->call = call;
	s->view = view_of(call);
	places_of(&s->view->places, NULL);
	while (s->left && s->i < s->pick.count && !call->error.code) {
		look(s);
		if (rpc_late(call))
			return;
	}
	if (!call->error.code)
		finish(s);
}

static void drop(void *state)
{
	struct dump *s = state;

	pick_free(&s->pick);
	jw_free(&s->errors);
	growth_free(&s->growth);
	ctl_free(s);
}

/* ---- the beginning ---- */

static void read_filter(struct rpc_call *call, struct filter *f)
{
	const char *state = rpc_text(call, "state"), *site = rpc_text(call, "site"), *evidence = rpc_text(call, "evidence");
	double older = rpc_seconds(call, "older_than", -1);

	f->quarantined = state && !strcmp(state, "quarantined");
	f->state = !state				       ? -1 :
		   !strcmp(state, "used") || f->quarantined ? OBS_USED :
		   !strcmp(state, "free")		       ? OBS_FREE :
							 OBS_CACHED;
	snprintf(f->site, sizeof f->site, "%s", site ? site : "");
	f->owner = (int64_t)rpc_uint(call, "owner", 0);
	f->evidence = evidence ? evidence_read(evidence) : 0;
	f->min_size = rpc_uint(call, "min_size", 0);
	f->latest = older < 0 ? OBS_UNKNOWN : (double)time(NULL) > older ? (uint64_t)((double)time(NULL) - older) : 0;
}

/* Goes on where the cursor says. */
static bool resume(struct rpc_call *call, struct dump *s)
{
	if (!page_read(call, &s->at))
		return false;
	if (!*s->at.pool)
		return true;
	while (s->i < s->pick.count && strcmp(s->pick.id[s->i], s->at.pool) != 0)
		s->i++;
	if (s->i == s->pick.count || s->at.phase > HEAP + 1) {
		page_stale(call);
		return false;
	}
	s->began = s->at.phase <= HEAP;
	return true;
}

void rpc_dump(struct rpc_call *call)
{
	static bool is_long;
	struct dump *s = ctl_zalloc(sizeof *s);

	if (s)
		read_filter(call, &s->filter);
	if (!s || (s->filter.evidence & GROWING && !sampler_growth(daemon_of(call)->sampler, &s->growth))) {
		rpc_fail(call, RPC_INTERNAL, NULL, "out of memory");
		ctl_free(s);
		return;
	}
	s->left = rpc_uint(call, "limit", RPC_ROWS);
	if (!pick_pools(call, OBS_PKG | OBS_SHM, &s->pick) || !resume(call, s)) {
		drop(s);
		return;
	}
	jw_open(call->out, '{');
	jw_key(call->out, "fragments"), jw_open(call->out, '[');
	aside_later(call, step, s, drop, pick_private(&s->pick), &is_long);
}
