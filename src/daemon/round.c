/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * All ledgers are read, which takes 50 ms for two million fragments: as work of the loop each round was what the
 * slowest of a thousand requests of an observed server waited for. On a busy machine a round takes long, and the
 * samples that should begin meanwhile are left out. Ledgers are files: nothing of an observed process is held.
 */
#include "daemon/round.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "base/fnv.h"
#include "ctl/behind.h"
#include "ctl/memory.h"
#include "daemon/daemon.h"
#include "daemon/thread.h"

enum { LOOK = 4096, LOOK_LATE = 256 };	/* records a call, and between two looks whether mmd ends */

uint64_t round_pool(const char *id) { return fnv_text(id); }

size_t round_place(const struct round_row *rows, uint64_t pool, uint32_t site)
{
	size_t at = (size_t)(((pool ^ site) * 0x9e3779b97f4a7c15) >> 32) % ROUND_TABLE;

	while (rows[at].used && (rows[at].pool != pool || rows[at].site != site))
		at = (at + 1) % ROUND_TABLE;
	return at;
}

/* ---- the thread ---- */

static struct round_row *row_of(struct round *r, uint32_t site)
{
	size_t at = round_place(r->row, r->pool, site);

	if (!r->row[at].used && r->count < ROUND_SITES) {
		r->row[at] = (struct round_row){ .pool = r->pool, .site = site, .used = true };
		r->count++;
	}
	return r->row[at].used ? &r->row[at] : NULL;
}

static bool on_record(const struct obs_fragment *f, void *arg)
{
	struct round *r = arg;
	struct round_row *row;

	if (f->state == OBS_USED && f->site) {
		row = row_of(r, f->site);
		r->full |= !row;
		if (row)
			row->sum += (uint64_t)((double)f->alike * f->weight);
	}
	if (++r->seen % LOOK_LATE)
		return true;
	ctl_give_way();
	return !atomic_load(&r->stop);
}

static bool is_sampled(struct obs_pool *p)
{
	struct obs_stats stats;

	if (obs_counts(p, &stats) || (stats.state != OBS_LIVE && stats.state != OBS_DRAINING))
		return false;
	return obs_info(p)->domain == OBS_SHM || stats.tracking != OBS_OFF;
}

static void sum_pool(struct round *r, struct obs_pool *p)
{
	uint64_t at = 0;

	r->pool = round_pool(obs_info(p)->id);
	while (!obs_records(p, &at, LOOK, on_record, r) && at && !atomic_load(&r->stop))
		;
}

static void *body(void *arg)
{
	struct round *r = arg;
	struct obs_pool *p;

	thread_idle();
	memset(r->row, 0, sizeof r->row);
	r->count = 0;
	r->full = false;
	if ((r->obs || !obs_open(NULL, &r->obs)) && !obs_scan(r->obs, NULL, NULL))
		for (size_t i = 0; (p = obs_at(r->obs, i)); i++)
			if (is_sampled(p))
				sum_pool(r, p);
	while (write(r->ends[1], "", 1) == -1 && errno == EINTR)
		;
	return NULL;
}

/* ---- the loop ---- */

static void on_end(evutil_socket_t fd, short what, void *arg)
{
	struct round *r = arg;
	char byte;

	(void)what;
	if (read(fd, &byte, 1) != 1)
		return;
	pthread_join(r->thread, NULL);
	r->runs = false;
	r->done(r->arg);
}

void round_start(struct round *r)
{
	if (!r->runs)
		r->runs = !thread_start(&r->thread, "mmd-sample", body, r);
}

int round_new(struct event_base *base, void (*done)(void *arg), void *arg, struct round **ret_round)
{
	struct round *r = ctl_zalloc(sizeof *r);
	int error = -ENOMEM;

	if (!r)
		return error;
	r->done = done;
	r->arg = arg;
	if (pipe2(r->ends, O_CLOEXEC)) {
		error = -errno;
		ctl_free(r);
		return error;
	}
	r->readable = event_new(base, r->ends[0], EV_READ | EV_PERSIST, on_end, r);
	if (!r->readable || event_add(r->readable, NULL)) {
		round_free(r);
		return error;
	}
	*ret_round = r;
	return 0;
}

void round_free(struct round *r)
{
	if (!r)
		return;
	atomic_store(&r->stop, true);
	if (r->runs)
		pthread_join(r->thread, NULL);
	if (r->readable)
		event_free(r->readable);
	close(r->ends[0]);
	close(r->ends[1]);
	obs_close(r->obs);
	ctl_free(r);
}
