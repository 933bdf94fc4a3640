/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * check: each heap walked, its invariants tested, its counters compared with what the walk counted; then the faults
 * that its users ran into (double free, overrun, …) with both places. Reports, never aborts. Runs in a thread: a heap
 * is checked in one go.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "ctl/behind.h"
#include "ctl/memory.h"
#include "daemon/daemon.h"
#include "daemon/job.h"
#include "daemon/pick.h"

enum { ERRORS_MAX = 1000 };		/* told of one pool; the rest is counted */

/* Of one thread. */
struct check {
	struct json_writer *rows;
	unsigned told;
	struct obs_pool *pool;
};

static void write_error(struct check *s, uint64_t address, const char *what)
{
	if (s->told++ >= ERRORS_MAX)
		return;
	jw_open(s->rows, '{');
	jw_key(s->rows, "address");
	address ? jw_address(s->rows, address) : jw_null(s->rows);
	jw_key(s->rows, "what"), jw_string(s->rows, what);
	jw_close(s->rows, '}');
}

static void on_error(uint64_t address, const char *what, void *arg) { write_error(arg, address, what); }

static void site_text(struct obs_pool *p, uint32_t number, char *buf, size_t bytes)
{
	struct obs_site s;

	obs_site(p, number, &s);
	if (*s.file && s.line)
		snprintf(buf, bytes, "%s:%ju %s", s.file, (uintmax_t)s.line, s.function);
	else if (s.address)
		snprintf(buf, bytes, "%s 0x%jx", s.file, (uintmax_t)s.address);
	else
		snprintf(buf, bytes, "an unknown place");
}

static bool on_fault(const struct obs_fault *f, void *arg)
{
	struct check *s = arg;
	char what[640], at[160], alloc[160], freed[160];
	int len;

	site_text(s->pool, f->site, at, sizeof at);
	site_text(s->pool, f->alloc_site, alloc, sizeof alloc);
	site_text(s->pool, f->free_site, freed, sizeof freed);
	len = snprintf(what, sizeof what, "%s by pid %jd at %s", f->kind, (intmax_t)f->pid, at);
	if (f->alloc_site)
		len += snprintf(what + len, sizeof what - (size_t)len, ", allocated at %s", alloc);
	if (f->free_site)
		snprintf(what + len, sizeof what - (size_t)len, ", freed before at %s", freed);
	write_error(s, f->address, what);
	return true;
}

static void totals(struct json_writer *w, const char *key, const struct obs_totals *t)
{
	jw_key(w, key), jw_open(w, '{');
	row_count(w, "used", t->used);
	row_count(w, "free", t->free);
	row_count(w, "fragments", t->fragments);
	row_count(w, "free_fragments", t->free_fragments);
	row_count(w, "largest_free", t->largest_free);
	jw_close(w, '}');
}

static void check_pool(struct check *s, struct obs_pool *p)
{
	struct json_writer *w = s->rows;
	struct obs_check result = { .known = false };
	unsigned faults;
	int error;

	s->told = 0;
	s->pool = p;
	jw_open(w, '{');
	jw_key(w, "pool"), jw_string(w, obs_info(p)->id);
	jw_key(w, "errors"), jw_open(w, '[');
	error = obs_check(p, &result, on_error, s);
	if (error) {
		result = (struct obs_check){ .known = false };
		write_error(s, 0, pick_reason(error));
	}
	faults = s->told;
	obs_faults(p, on_fault, s);
	faults = s->told - faults;
	jw_close(w, ']');
	jw_key(w, "ok");
	result.known ? jw_bool(w, result.ok && !faults) : jw_null(w);
	jw_key(w, "error_count"), jw_uint(w, s->told);
	if (result.known) {
		totals(w, "walked", &result.walked);
		totals(w, "counted", &result.counted);
	} else {
		jw_key(w, "walked"), jw_null(w);
		jw_key(w, "counted"), jw_null(w);
	}
	jw_key(w, "faults"), jw_uint(w, faults);
	jw_key(w, "pause_us"), jw_uint(w, result.pause_ns / 1000);
	jw_close(w, '}');
}

/* Named, and not there any more. */
static void check_gone(struct check *s, const char *id)
{
	struct json_writer *w = s->rows;

	s->told = 0;
	jw_open(w, '{');
	jw_key(w, "pool"), jw_string(w, id);
	jw_key(w, "errors"), jw_open(w, '[');
	write_error(s, 0, pick_reason(-ENOENT));
	jw_close(w, ']');
	jw_key(w, "ok"), jw_null(w);
	jw_key(w, "error_count"), jw_uint(w, s->told);
	jw_key(w, "walked"), jw_null(w);
	jw_key(w, "counted"), jw_null(w);
	jw_key(w, "faults"), jw_uint(w, 0);
	jw_key(w, "pause_us"), jw_uint(w, 0);
	jw_close(w, '}');
}

/* The heap of a process that ended is no more; who asks about everything does not ask about those. */
static bool is_gone(struct obs_pool *p)
{
	struct obs_stats stats;

	return obs_info(p)->domain == OBS_PKG && !obs_counts(p, &stats) &&
	       (stats.state == OBS_EXITED || stats.state == OBS_CRASHED);
}

/* In the thread. */
static bool run(const void *state, struct json_writer *out)
{
	const struct pick *pick = state;
	struct check s = { .rows = out };
	struct obs_pool *p;
	struct obs *o;
	bool ok;

	if (obs_open(NULL, &o))
		return false;
	obs_meanwhile(o, ctl_give_way);
	ok = !obs_scan(o, NULL, NULL);
	for (size_t i = 0; ok && i < pick->count; i++) {
		p = obs_find(o, pick->id[i]);
		if (!p && pick->one)
			check_gone(&s, pick->id[i]);
		else if (p && (pick->one || !is_gone(p)))
			check_pool(&s, p);
	}
	obs_close(o);
	return ok;
}

static void done(struct rpc_call *call)
{
	const struct json_writer *rows = job_found(call);

	if (!rows) {
		rpc_fail(call, RPC_INTERNAL, NULL, "out of memory, or the registry cannot be read");
		return;
	}
	jw_open(call->out, '{');
	jw_key(call->out, "pools"), jw_open(call->out, '[');
	if (rows->len)
		jw_raw(call->out, rows->text, rows->len);
	jw_close(call->out, ']');
	jw_close(call->out, '}');
}

static void drop(void *state)
{
	pick_free(state);
	ctl_free(state);
}

void rpc_check(struct rpc_call *call)
{
	struct pick *pick = ctl_zalloc(sizeof *pick);

	if (!pick)
		rpc_fail(call, RPC_INTERNAL, NULL, "out of memory");
	else if (!pick_pools(call, OBS_PKG | OBS_SHM, pick) ||
		 !job_start(call, run, done, drop, pick, !pick_private(pick)))
		drop(pick);
}
