/* SPDX-License-Identifier: BSD-2-Clause */
#include "mem/host.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "mem/init.h"
#include "mem/meta/process.h"
#include "mem/meta/registry.h"
#include "mem/meta/slot.h"
#include "mem/reap/reap.h"
#include "mem/shared.h"

struct hosted {
	struct pool p[SHARDS_MAX];
	struct owner o[SHARDS_MAX];
	unsigned shards;
	bool draining, damaged;		/* damaged: it is looked at no more */
	const char *held_back;
	pid_t reaper;			/* a child that reaps; 0: none */
	unsigned waiting, turns;	/* slots that wait to be freed, as of the last reaper; looks since */
};

struct mem_host {
	struct hosted *pool[HOSTED_MAX];
	size_t count;
};

enum { REAP_REGISTRY_EVERY = 30 };

int mem_host_open(struct mem_host **ret_host)
{
	struct mem_host *h = calloc(1, sizeof *h);

	if (!h)
		return -ENOMEM;
	if (!*epoch_word)
		epoch_renew();
	*ret_host = h;
	return 0;
}

/* ---- what is read of it ---- */

/*
 * Who may write to META may write noise, or cut it off: a daemon reads it, and what it must touch it touches in a child
 * that may fall.
 */
static bool read_meta(const struct pool *p, uint64_t at, void *to, size_t bytes)
{
	return pread(p->meta_file.fd, to, bytes, (off_t)at) == (ssize_t)bytes;
}

static bool whole(const struct pool *p)
{
	struct stat st;

	return fstat(p->meta_file.fd, &st) == 0 && (uint64_t)st.st_size >= p->meta_bytes &&
	       fstat(p->data_file.fd, &st) == 0 && (uint64_t)st.st_size >= p->data_size;
}

/* The living but for ourselves; those whom the kernel calls dead, and nobody yet; slots that wait to be freed. */
struct crowd { unsigned living, dead, waiting; };

static struct crowd crowd_of(const struct pool *p, const struct owner *own)
{
	struct crowd c = { 0 };
	struct meta_live live;
	struct meta_slot s;

	if (!read_meta(p, META_LIVE, &live, sizeof live))
		return c;
	for (uint32_t i = 0; i < live.slots_used && i < SLOTS_MAX; i++) {
		uint64_t state;

		if (i == own->number ||
		    !read_meta(p, META_SLOTS + (uint64_t)i * SLOT_BYTES, &s, offsetof(struct meta_slot, log)))
			continue;
		state = s.state;
		if (SLOT_STATE(state) == SLOT_LIVE || SLOT_STATE(state) == SLOT_CLAIMING)
			++*(slot_certified(&s, state) ? &c.dead : &c.living);
		else if (SLOT_STATE(state) != SLOT_FREE)
			c.waiting++;
	}
	return c;
}

/* ---- one pool ---- */

static void bury_reaper(struct hosted *x, unsigned ms);

static struct hosted *add(struct mem_host *h)
{
	struct hosted *x = h->count < HOSTED_MAX ? calloc(1, sizeof *x) : NULL;

	if (x)
		h->pool[h->count++] = x;
	return x;
}

static void let_go(struct mem_host *h, size_t i, bool drop)
{
	struct hosted *x = h->pool[i];
	char name[64];
	uint32_t incarnation = x->p->id->incarnation;
	unsigned shards = x->shards;

	snprintf(name, sizeof name, "%s", x->p->id->name);
	if (x->reaper > 0)
		kill(x->reaper, SIGKILL);
	bury_reaper(x, 1000);
	for (unsigned k = 0; k < x->shards; k++)
		if (whole(&x->p[k]))
			slot_leave(&x->p[k], &x->o[k]);
	shared_detach(x->p, x->shards);
	if (drop)
		shared_unlink(name, incarnation, shards);
	free(x);
	h->pool[i] = h->pool[--h->count];
}

static unsigned users(const struct hosted *x) { return crowd_of(x->p, x->o).living; }

static void set_state(struct hosted *x, enum pool_state state)
{
	for (unsigned k = 0; k < x->shards; k++)
		if (whole(&x->p[k]))
			atomic_store_explicit(&x->p[k].live->state, state, memory_order_release);
	x->draining = state == POOL_DRAINING;
}

void mem_host_close(struct mem_host *h)
{
	if (!h)
		return;
	while (h->count) {
		struct hosted *x = h->pool[h->count - 1];

		let_go(h, h->count - 1, !x->p->id->keep && users(x) == 0);
	}
	free(h);
}

void mem_host_leave(struct mem_host *h)
{
	while (h->count)
		let_go(h, h->count - 1, false);
	free(h);
	mem_shm_at_exit();
	mem_pkg_at_exit();
}

/* ---- wishes ---- */

static int make(struct mem_host *h, const struct mem_host_wish *wish, const struct mem_manager *m)
{
	struct hosted *x = add(h);
	struct shared_spec spec = { .name = wish->name,
				    .size = wish->size,
				    .shards = mem_shards(wish->shards, MEM_SHM, m),
				    .manager = m,
				    .on_death = wish->on_death,
				    .hosted = true,
				    .keep = wish->keep,
				    .observer = true };
	int rc;

	if (!x)
		return -ENOSPC;
	spec.features = mem_features(m->shm, MEM_SHM);
	x->shards = spec.shards;
	rc = shared_create(&spec, x->p, x->o);
	if (rc) {
		free(x);
		h->count--;
	}
	return rc;
}

static int claim_all(struct hosted *x)
{
	unsigned k;
	int rc = 0;

	for (k = 0; rc == 0 && k < x->shards; k += rc == 0)
		rc = slot_claim(&x->p[k], true, &x->o[k]);
	while (rc && k--)
		slot_leave(&x->p[k], &x->o[k]);
	return rc;
}

/* An incarnation that another daemon, or we before a restart, has left. */
static int adopt(struct mem_host *h, const char *name, uint32_t incarnation)
{
	struct hosted *x = add(h);
	int rc;

	if (!x)
		return -ENOSPC;
	rc = shared_attach(name, incarnation, x->p, &x->shards);
	if (rc == 0) {
		rc = claim_all(x);
		if (rc)
			shared_detach(x->p, x->shards);
	}
	if (rc) {
		free(x);
		h->count--;
		return rc;
	}
	x->draining = atomic_load_explicit(&x->p->live->state, memory_order_acquire) == POOL_DRAINING;
	return 0;
}

static size_t find(const struct mem_host *h, const char *name, uint32_t incarnation)
{
	size_t i;

	for (i = 0; i < h->count; i++)
		if (strcmp(h->pool[i]->p->id->name, name) == 0 &&
		    (!incarnation || h->pool[i]->p->id->incarnation == incarnation))
			break;
	return i;
}

struct adopting { struct mem_host *h; const char *name; };

static bool adopt_each(int dir, const char *file, const struct registry_name *name, void *arg)
{
	struct adopting *a = arg;

	(void)dir, (void)file;
	if (name->shm && !name->data && strcmp(name->pool, a->name) == 0 &&
	    find(a->h, name->pool, name->incarnation) == a->h->count)
		(void)adopt(a->h, name->pool,
			    name->incarnation); /* what is not believed stays where it is: `skipped` tells */
	return true;
}

static void adopt_all(struct mem_host *h, const char *name)
{
	int dir;

	if (registry_open(&dir))
		return;
	registry_each(dir, adopt_each, &(struct adopting){ h, name });
	close(dir);
}

static struct hosted *newest(const struct mem_host *h, const char *name)
{
	struct hosted *best = NULL;

	for (size_t i = 0; i < h->count; i++) {
		struct hosted *x = h->pool[i];

		if (strcmp(x->p->id->name, name) == 0 && !x->draining &&
		    (!best || x->p->id->incarnation > best->p->id->incarnation))
			best = x;
	}
	return best;
}

static bool as_wished(const struct hosted *x, const struct mem_host_wish *wish, const struct mem_manager *m)
{
	return strcmp(x->p->id->manager, m->name) == 0 && x->shards == mem_shards(wish->shards, MEM_SHM, m) &&
	       x->p->id->size == shared_size(wish->size, x->shards);
}

int mem_host_want(struct mem_host *h, const struct mem_host_wish *wish, char *why, size_t bytes)
{
	const struct mem_manager *m;
	struct hosted *x;
	int rc = mem_choose_manager(wish->manager, MEM_SHM, &m);

	if (rc) {
		snprintf(why, bytes, "%s", memapi_error());
		return rc;
	}
	adopt_all(h, wish->name);
	x = newest(h, wish->name);
	if (x && as_wished(x, wish, m)) {
		x->held_back = NULL;
		return 0;
	}
	if (x && x->p->id->keep && wish->keep) {
		x->held_back = "keep = yes: the pool stays on its manager until pool.drop";
		return 0;
	}
	if (x && users(x))
		set_state(x, POOL_DRAINING);
	else if (x)
		let_go(h, find(h, wish->name, x->p->id->incarnation), true);
	rc = make(h, wish, m);
	if (rc)
		snprintf(why, bytes, "the shared pool %s of %llu bytes could not be made: %s", wish->name,
			 (unsigned long long)wish->size, error_name(-rc));
	return rc;
}

int mem_host_drop(struct mem_host *h, const char *name, bool force)
{
	bool found = false, busy = false;

	for (size_t i = h->count; i-- > 0;) {
		struct hosted *x = h->pool[i];

		if (strcmp(x->p->id->name, name) != 0)
			continue;
		found = true;
		if (!users(x))
			let_go(h, i, true);
		else if (force)
			set_state(x, POOL_DRAINING);
		else
			busy = true;
	}
	return !found ? -ENOENT : busy ? -EBUSY : 0;
}

/* ---- reaping ---- */

enum { REAPER_MS = 50, WAITING_EVERY = 10 };

/* With slots of its own: in a child, whose death others would mend. */
static void work(void *arg)
{
	struct hosted *x = arg;

	for (unsigned k = x->shards; k--; ) {	/* who is new has a slot in shard 0 first */
		struct owner o;

		if (slot_claim(&x->p[k], true, &o))
			return;
		reap_pool(&x->p[k], &o);
		slot_leave(&x->p[k], &o);
	}
}

static void damaged(struct hosted *x, const char *why)
{
	struct meta_live *live = x->p->live;

	x->damaged = true;
	if (!whole(x->p))
		return;			/* those who look see that for themselves */
	snprintf(live->reason, sizeof live->reason, "%s", why);
	atomic_store_explicit(&live->state, POOL_DAMAGED, memory_order_release);
}

/* Waits a little for the child. One that is not done by then is asked for the next time. */
static void bury_reaper(struct hosted *x, unsigned ms)
{
	int status;

	for (unsigned i = 0; x->reaper > 0; i++) {
		pid_t pid = waitpid(x->reaper, &status, WNOHANG);
		char why[80];

		if (pid == 0 && i < ms) {
			nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
			continue;
		}
		if (pid == 0)
			return;
		x->reaper = 0;
		if (pid > 0 && WIFSIGNALED(status) && WTERMSIG(status) != SIGALRM && WTERMSIG(status) != SIGKILL &&
		    WTERMSIG(status) != SIGTERM) {
			snprintf(why, sizeof why, "META or heap make no sense: who reaped it died of signal %d",
				 WTERMSIG(status));
			damaged(x, why);
		}
	}
}

/* Returns how many owners it found dead. */
static unsigned reap(struct hosted *x, mem_host_child_fn *in_child)
{
	unsigned dead = 0, waiting = 0;

	bury_reaper(x, 0);
	if (x->damaged || x->reaper > 0)
		return 0;
	if (!whole(x->p)) {
		damaged(x, "META or DATA is cut off");
		return 0;
	}
	for (unsigned k = 0; k < x->shards; k++) {
		struct crowd c = crowd_of(&x->p[k], &x->o[k]);

		waiting += c.waiting;
		dead = c.dead > dead ? c.dead : dead;
	}
	/* those that records still name are looked at now and then */
	if (!dead && (!waiting || (waiting == x->waiting && ++x->turns % WAITING_EVERY)))
		return 0;
	x->waiting = waiting;
	if (!in_child)
		work(x);
	else
		x->reaper = in_child(work, x);
	bury_reaper(x, REAPER_MS);
	return dead;
}

/* What a child is told, and what it answers in memory that both see. */
struct release { struct hosted *x; int64_t pid; _Atomic uint64_t freed, done; };

static void release(void *arg)
{
	struct release *r = arg;
	struct owner o;

	for (unsigned k = r->x->shards; k--; ) {
		if (slot_claim(&r->x->p[k], true, &o))
			return;
		r->freed += reap_release(&r->x->p[k], &o, r->pid);
		slot_leave(&r->x->p[k], &o);
	}
	r->done = 1;
}

static int release_one(struct hosted *x, int64_t pid, mem_host_child_fn *in_child, uint64_t *freed)
{
	struct release *r;

	bury_reaper(x, REAPER_MS);
	if (x->damaged || !whole(x->p))
		return -EUCLEAN;
	if (x->reaper > 0)
		return -EBUSY;
	r = mmap(NULL, sizeof *r, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (r == MAP_FAILED)
		return -ENOMEM;
	r->x = x;
	r->pid = pid;
	if (in_child)
		x->reaper = in_child(release, r);
	else
		release(r);
	if (x->reaper < 0) {		/* no child was to be had, and nothing is going on */
		x->reaper = 0;
		munmap(r, sizeof *r);
		return -EAGAIN;
	}
	bury_reaper(x, REAPER_MS);
	*freed = r->done && *freed != UINT64_MAX ? *freed + r->freed : UINT64_MAX;
	munmap(r, sizeof *r);
	return x->damaged ? -EUCLEAN : 0;
}

int mem_host_release(struct mem_host *h, const char *name, int64_t pid, mem_host_child_fn *in_child,
		     uint64_t *ret_freed)
{
	int rc = -ENOENT, one;

	*ret_freed = 0;
	for (size_t i = 0; i < h->count; i++) {
		if (strcmp(h->pool[i]->p->id->name, name) != 0)
			continue;
		one = release_one(h->pool[i], pid, in_child, ret_freed);
		rc = rc == -ENOENT || one ? one : rc;
	}
	return rc;
}

unsigned mem_host_reap(struct mem_host *h, mem_host_child_fn *in_child)
{
	static uint64_t last;
	uint64_t now = clock_mono_seconds();
	unsigned dead = 0;
	int dir;

	for (size_t i = h->count; i-- > 0;) {
		struct hosted *x = h->pool[i];

		dead += reap(x, in_child);
		if (x->draining && users(x) == 0)
			let_go(h, i, true);
	}
	if (now - last >= REAP_REGISTRY_EVERY && registry_open(&dir) == 0) {
		reap_registry(dir);
		close(dir);
		last = now;
	}
	return dead;
}

bool mem_host_at(const struct mem_host *h, size_t i, struct mem_host_pool *ret_pool)
{
	const struct hosted *x;

	if (i >= h->count)
		return false;
	x = h->pool[i];
	*ret_pool = (struct mem_host_pool){ .incarnation = x->p->id->incarnation,
					    .draining = x->draining,
					    .keep = x->p->id->keep,
					    .held_back = x->held_back };
	snprintf(ret_pool->name, sizeof ret_pool->name, "%.63s", x->p->id->name);
	snprintf(ret_pool->manager, sizeof ret_pool->manager, "%.31s", x->p->id->manager);
	return true;
}
