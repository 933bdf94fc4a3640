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
	pid_t killed[HOSTED_MAX];	/* reapers of pools that are gone: they end, and are buried then; 0: none */
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

/* The living but for ourselves and our own reaper; those whom the kernel calls dead, and nobody yet; slots that wait to
 * be freed. */
struct crowd { unsigned living, dead, waiting; };

static bool is_child(uint64_t state, const struct owner *own, pid_t child)
{
	uint64_t ours = atomic_load_explicit(&own->slot->state, memory_order_relaxed);

	return child > 0 && SLOT_PID(state) == child && SLOT_SPACE(state) == SLOT_SPACE(ours);
}

static struct crowd crowd_of(const struct pool *p, const struct owner *own, pid_t reaper)
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
		if (is_child(state, own, reaper))
			continue;
		if (SLOT_STATE(state) == SLOT_LIVE || SLOT_STATE(state) == SLOT_CLAIMING)
			++*(slot_certified(&s, state) ? &c.dead : &c.living);
		else if (SLOT_STATE(state) != SLOT_FREE)
			c.waiting++;
	}
	return c;
}

/* ---- one pool ---- */

static struct hosted *add(struct mem_host *h)
{
	struct hosted *x = h->count < HOSTED_MAX ? calloc(1, sizeof *x) : NULL;

	if (x)
		h->pool[h->count++] = x;
	return x;
}

/* Its reaper has nothing to do any more. Who is not waited for becomes no zombie: see mem_host_bury(). */
static void dismiss(struct mem_host *h, pid_t reaper)
{
	size_t i = 0;

	if (reaper <= 0)
		return;
	kill(reaper, SIGKILL);
	while (i < HOSTED_MAX && h->killed[i])
		i++;
	if (i < HOSTED_MAX)
		h->killed[i] = reaper;
	else
		waitpid(reaper, NULL, 0);
}

static void bury_killed(struct mem_host *h, int how)
{
	for (size_t i = 0; i < HOSTED_MAX; i++)
		if (h->killed[i] && waitpid(h->killed[i], NULL, how))
			h->killed[i] = 0;
}

static void let_go(struct mem_host *h, size_t i, bool drop)
{
	struct hosted *x = h->pool[i];
	char name[64];
	uint32_t incarnation = x->p->id->incarnation;
	unsigned shards = x->shards;

	snprintf(name, sizeof name, "%s", x->p->id->name);
	dismiss(h, x->reaper);
	for (unsigned k = 0; k < x->shards; k++)
		if (whole(&x->p[k]))
			slot_leave(&x->p[k], &x->o[k]);
	shared_detach(x->p, x->shards);
	if (drop)
		shared_unlink(name, incarnation, shards);
	free(x);
	h->pool[i] = h->pool[--h->count];
}

static unsigned users(const struct hosted *x) { return crowd_of(x->p, x->o, x->reaper).living; }

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
	bury_killed(h, 0);
	free(h);
}

void mem_host_leave(struct mem_host *h)
{
	while (h->count)
		let_go(h, h->count - 1, false);
	bury_killed(h, 0);
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

enum { WAITING_EVERY = 10 };

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

/* If the child has ended. Nobody waits for it: it may hang over what others wrote. */
static void bury_reaper(struct hosted *x)
{
	char why[80];
	int status;
	pid_t pid = x->reaper > 0 ? waitpid(x->reaper, &status, WNOHANG) : 0;

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

/* Returns how many owners it found dead. */
static unsigned reap(struct hosted *x, mem_host_child_fn *in_child)
{
	unsigned dead = 0, waiting = 0;

	bury_reaper(x);
	if (x->damaged || x->reaper > 0)
		return 0;
	if (!whole(x->p)) {
		damaged(x, "META or DATA is cut off");
		return 0;
	}
	for (unsigned k = 0; k < x->shards; k++) {
		struct crowd c = crowd_of(&x->p[k], &x->o[k], x->reaper);

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
	return dead;
}

/* ---- what an operator lets go ---- */

/* What a child is told, and what it answers in memory that both see. */
struct order { struct hosted *x; int64_t pid; _Atomic uint64_t freed, done; };

struct mem_release {
	struct order *order;		/* shared with the child */
	char name[64];
	uint32_t last;			/* incarnation that is at work, or was the last one; 0: none yet */
	pid_t child;
	uint64_t freed;
	bool begun, lacking;		/* lacking: a child did not come to its end */
	int error;
};

static void release(void *arg)
{
	struct order *r = arg;
	struct owner o;

	for (unsigned k = r->x->shards; k--; ) {
		if (slot_claim(&r->x->p[k], true, &o))
			return;
		r->freed += reap_release(&r->x->p[k], &o, r->pid);
		slot_leave(&r->x->p[k], &o);
	}
	r->done = 1;
}

/* The pool's next incarnation, in the order of their making; NULL: there is none. */
static struct hosted *next_of(const struct mem_host *h, const char *name, uint32_t after)
{
	struct hosted *next = NULL;

	for (size_t i = 0; i < h->count; i++) {
		struct hosted *x = h->pool[i];
		uint32_t incarnation = x->p->id->incarnation;

		if (strcmp(x->p->id->name, name) == 0 && incarnation > after &&
		    (!next || incarnation < next->p->id->incarnation))
			next = x;
	}
	return next;
}

int mem_release_begin(const struct mem_host *h, const char *name, int64_t pid, struct mem_release **ret_release)
{
	struct mem_release *r;

	if (!next_of(h, name, 0))
		return -ENOENT;
	r = calloc(1, sizeof *r);
	if (!r)
		return -ENOMEM;
	r->order = mmap(NULL, sizeof *r->order, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (r->order == MAP_FAILED) {
		free(r);
		return -ENOMEM;
	}
	r->order->pid = pid;
	snprintf(r->name, sizeof r->name, "%s", name);
	*ret_release = r;
	return 0;
}

/* It is done, or its child is at work no more: what has become of it. */
static void release_note(struct mem_release *r, const struct hosted *x)
{
	r->freed += r->order->freed;
	r->lacking |= !r->order->done;
	if (x && x->damaged)
		r->error = -EUCLEAN;
	r->child = 0;
}

/* One incarnation, which has no child at work. */
static void release_one(struct mem_release *r, struct hosted *x, mem_host_child_fn *in_child)
{
	r->last = x->p->id->incarnation;
	r->begun = true;
	if (x->damaged || !whole(x->p)) {
		r->error = -EUCLEAN;
		return;
	}
	r->order->x = x;
	r->order->freed = r->order->done = 0;
	if (!in_child)
		release(r->order);
	else
		x->reaper = r->child = in_child(release, r->order);
	if (x->reaper < 0) {		/* no child was to be had, and nothing is going on */
		x->reaper = r->child = 0;
		r->error = -EAGAIN;
	} else if (!r->child) {
		release_note(r, x);
	}
}

int mem_release_step(struct mem_host *h, struct mem_release *r, mem_host_child_fn *in_child, uint64_t *ret_freed)
{
	for (struct hosted *x;;) {
		if (r->child) {
			x = next_of(h, r->name, r->last - 1);
			x = x && x->p->id->incarnation == r->last ? x : NULL;	/* it may be gone */
			if (x)
				bury_reaper(x);
			if (x && x->reaper == r->child)
				return -EINPROGRESS;
			release_note(r, x);
		}
		x = next_of(h, r->name, r->last);
		if (!x)
			break;
		bury_reaper(x);
		if (x->reaper > 0)
			return r->begun ? -EINPROGRESS : -EBUSY;
		release_one(r, x, in_child);
	}
	*ret_freed = r->lacking ? UINT64_MAX : r->freed;
	return r->error;
}

void mem_release_end(struct mem_release *r)
{
	if (!r)
		return;
	munmap(r->order, sizeof *r->order);
	free(r);
}

/* ---- once a second ---- */

/* One that drains goes with its last user, and not before its reaper is done. */
static void end_if_drained(struct mem_host *h, size_t i)
{
	struct hosted *x = h->pool[i];

	if (x->draining && x->reaper <= 0 && users(x) == 0)
		let_go(h, i, true);
}

void mem_host_bury(struct mem_host *h)
{
	bury_killed(h, WNOHANG);
	for (size_t i = h->count; i-- > 0;) {
		bool worked = h->pool[i]->reaper > 0;

		bury_reaper(h->pool[i]);
		if (worked)
			end_if_drained(h, i);
	}
}

unsigned mem_host_reap(struct mem_host *h, mem_host_child_fn *in_child)
{
	static uint64_t last;
	uint64_t now = clock_mono_seconds();
	unsigned dead = 0;
	int dir;

	for (size_t i = h->count; i-- > 0;) {
		dead += reap(h->pool[i], in_child);
		end_if_drained(h, i);
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
