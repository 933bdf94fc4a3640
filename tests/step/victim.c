/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The program that is killed: an application of libmemapi.so, and of nothing else of this project.
 *
 *	victim BOARD_FD POOL SEED CALLS		makes random calls on the shared pool, each announced to the tracer
 *	victim BOARD_FD POOL SEED works		the same without a tracer, until it is killed: whoever else dies, it
 * goes on
 */
#include <memapi/memapi.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "board.h"

enum { SITES = 8 };

static struct board *board;
static uint64_t seed;
static bool traced;

static struct held { unsigned char *at; uint64_t size; unsigned char fill; } held[HELD + 1];
static struct mem_lock *mutex;

static uint64_t pick(uint64_t n) { return step_pick(&seed, n); }

static void wrong(const char *what)
{
	if (!board->wrong[0])
		snprintf(board->wrong, sizeof board->wrong, "%s", what);
}

/* ---- what is held ---- */

static void fill(const struct held *h)
{
	size_t n = h->size < CONTENTS_MOST ? h->size : CONTENTS_MOST;

	memset(h->at, h->fill, n);
	memset(h->at + h->size - n, h->fill, n);
}

static bool intact(const unsigned char *at, size_t n, unsigned char byte)
{
	while (n--)
		if (at[n] != byte)
			return false;
	return true;
}

static void hold(const struct call *c, void *got)
{
	struct held *h = &held[c->k];

	*h = (struct held){ got, c->size, (unsigned char)c->fill };
	if (!got)
		return;
	if ((uintptr_t)got % (c->align ? c->align : 16))
		wrong("not aligned");
	fill(h);
}

/* ---- sites ---- */

static uint64_t caches[SITES][2];
static const struct mem_site sites[SITES] = {
#define SITE(i) { sizeof(struct mem_site), 100 + i, "victim.c", "call_" #i, "step", caches[i] }
	SITE(0), SITE(1), SITE(2), SITE(3), SITE(4), SITE(5), SITE(6), SITE(7),
};

static const struct mem_site *site(const struct call *c) { return c->anonymous ? NULL : &sites[board->number % SITES]; }

/* ---- calls ---- */

/* The short way, in a section by itself: its instructions are points as the library's are. */
#define INLINED __attribute__((noinline, section("inlined"))) static
extern const char __start_inlined[], __stop_inlined[];

INLINED void *inlined_malloc(size_t size) { return shm_malloc(size); }
INLINED void inlined_free(void *p) { shm_free(p); }

/* Where a call is over. The tracer knows the address. */
__attribute__((noinline)) static void step_end(void) { __asm__ volatile("" ::: "memory"); }

static bool walked(const struct mem_fragment *f, void *arg) { (void)f, (void)arg; return true; }

static void *call(const struct call *c)
{
	const sr_shm_api_t *api;

	switch ((enum kind)c->kind) {
	case CALL_ALLOC:
		return c->anonymous == 2 ? inlined_malloc(c->size) : mem_shm_malloc(c->size, site(c));
	case CALL_ZERO:
		return mem_shm_mallocxz(c->size, site(c));
	case CALL_ALIGNED:
		return mem_shm_memalign(c->align, c->size, site(c));
	case CALL_FREE:
		if (c->anonymous == 2)
			inlined_free(c->ptr);
		else
			mem_shm_free(c->ptr, site(c));
		return NULL;
	case CALL_REALLOC:
		return mem_shm_realloc(c->ptr, c->size, site(c));
	case CALL_REALLOC_XF:
		return mem_shm_reallocxf(c->ptr, c->size, site(c));
	case CALL_RESIZE:
		return mem_shm_resize(c->ptr, c->size, site(c));
	case CALL_LOCK:
		shm_lock();
		return NULL;
	case CALL_UNLOCK:
		shm_unlock();
		return NULL;
	case CALL_ALLOC_UNSAFE:
		return mem_shm_malloc_unsafe(c->size, site(c));
	case CALL_FREE_UNSAFE:
		mem_shm_free_unsafe(c->ptr, site(c));
		return NULL;
	case CALL_SET_SITE:
		api = shm_api();
		api->xsetfunc(api->mem_block, c->ptr, site(c));
		return NULL;
	case CALL_ROOT:
		return shm_root_set(traced ? "held" : "works", c->ptr) ? NULL : shm_root_get(traced ? "held" : "works");
	case CALL_USABLE:
		return (void *)shm_usable(c->ptr);
	case CALL_WALK:
		api = shm_api();
		api->xwalk(api->mem_block, walked, NULL);
		return NULL;
	case CALL_MUTEX:
		mem_lock_acquire(mutex);
		mem_lock_release(mutex);
		return NULL;
	case CALL_TWICE_FREE:
		mem_shm_free(c->ptr, site(c));
		return NULL;
	case CALL_DEADLOCK:
		return mem_shm_malloc(c->size, site(c));
	case CALL_END:
		exit(0);
	case CALL_ATTACH:
	case CALL_KINDS:
		break;
	}
	return NULL;
}

static void *announced(struct call *c)
{
	void *got;

	c->fill = (uint32_t)pick(255) + 1;
	c->ptr = c->ptr ? c->ptr : held[c->k].at;
	board->call = *c;
	board->number++;
	if (traced)
		__asm__ volatile("int3");
	got = call(c);
	step_end();
	board->got = got;
	return got;
}

static uint64_t some_size(void)
{
	switch (pick(20)) {
	case 0:
		return 0;
	case 1:
		return 4096 + pick(60000);
	case 2:
		return 300000 + pick(1600000);	/* grows the pool, or finds that it is full */
	case 3:
	case 4:
		return 1000 + pick(3000);
	default:
		return 1 + pick(400);
	}
}

/* ---- a script ---- */

static void give(struct call *c)	/* something is held there */
{
	struct held *h = &held[c->k];
	uint64_t was = h->size;
	unsigned char byte = h->fill;
	void *got;

	switch (pick(16)) {
	case 0:
	case 1:
	case 2:
		c->kind = CALL_REALLOC;
		c->size = pick(4) ? 1 + pick(was + 200) : 1 + some_size();
		got = announced(c);
		if (!got)
			return;
		was = was < c->size ? was : c->size;
		if (!intact(got, was < CONTENTS_MOST ? was : CONTENTS_MOST, byte))
			wrong("realloc lost the contents");
		hold(c, got);
		return;
	case 3:
		c->kind = CALL_REALLOC_XF;
		c->size = 1 + some_size();
		hold(c, announced(c));
		return;
	case 4:
		c->kind = CALL_RESIZE;
		c->size = some_size();
		hold(c, announced(c));
		return;
	case 5:
		c->kind = CALL_SET_SITE;
		announced(c);
		return;
	case 6:
		c->kind = CALL_ROOT;
		if (announced(c) != c->ptr)
			wrong("a root is not what it was set to");
		return;
	case 7:
		c->kind = CALL_USABLE;
		if ((uint64_t)announced(c) < h->size)
			wrong("usable is less than what was asked for");
		return;
	default:
		c->kind = CALL_FREE;
		announced(c);
		*h = (struct held){ 0 };
	}
}

static void take(struct call *c)
{
	static const enum kind kinds[] = { CALL_ALLOC, CALL_ALLOC, CALL_ALLOC, CALL_ALLOC, CALL_ALLOC, CALL_ALIGNED,
					   CALL_ZERO, CALL_REALLOC };
	void *got;

	c->kind = kinds[pick(sizeof kinds / sizeof kinds[0])];
	c->size = some_size();
	if (c->kind == CALL_ALIGNED)
		c->align = 32ull << pick(8);
	if (c->kind == CALL_ZERO)
		c->size %= 2000;
	got = announced(c);
	if (c->kind == CALL_ZERO && got && !intact(got, c->size, 0))
		wrong("not zeros");
	hold(c, got);
}

/* A few calls in one hold of the lock. */
static void batch(void)
{
	struct call c = { .kind = CALL_LOCK };

	announced(&c);
	for (uint64_t n = pick(4); n--; ) {
		c = (struct call){ .k = (uint32_t)pick(HELD), .size = 1 + pick(400) };
		if (held[c.k].at) {
			c.kind = CALL_FREE_UNSAFE;
			announced(&c);
			held[c.k] = (struct held){ 0 };
		} else {
			c.kind = CALL_ALLOC_UNSAFE;
			hold(&c, announced(&c));
		}
	}
	if (pick(4) == 0) {
		c = (struct call){ .kind = CALL_DEADLOCK, .size = 10 };
		if (announced(&c))
			wrong("an allocation by the holder of the lock was not refused");
	}
	c = (struct call){ .kind = CALL_UNLOCK };
	announced(&c);
}

static void next(void)
{
	struct call c = { .k = (uint32_t)pick(HELD), .anonymous = pick(2) ? 2 : pick(128) == 0 };

	switch (pick(32)) {
	case 0:
		batch();
		return;
	case 1:
		c.kind = pick(4) ? CALL_MUTEX : CALL_WALK;
		announced(&c);
		return;
	case 2:
		if (pick(4) || held[c.k].at)
			return;
		c.kind = CALL_TWICE_FREE;	/* of what never was a fragment: the lock's second word */
		c.ptr = mutex + 1;
		announced(&c);
		return;
	default:
		if (held[c.k].at)
			give(&c);
		else
			take(&c);
	}
}

/* Their places in code get their numbers, and a magazine something: from then on there is no call in there. */
static void pairs(void)
{
	for (unsigned n = 0; n < 4; n++) {
		struct call c = { .kind = CALL_ALLOC, .size = 100, .anonymous = 2 };

		hold(&c, announced(&c));
		c = (struct call){ .kind = CALL_FREE, .anonymous = 2 };
		announced(&c);
		held[0] = (struct held){ 0 };
	}
}

static void check_contents(void)
{
	for (const struct held *h = held; h < held + HELD; h++) {
		size_t n = h->size < CONTENTS_MOST ? h->size : CONTENTS_MOST;

		if (h->at && (!intact(h->at, n, h->fill) || !intact(h->at + h->size - n, n, h->fill)))
			wrong("somebody wrote to a fragment that is held");
	}
}

static void works(void)
{
	for (;;) {
		uint64_t holds = 0;

		for (unsigned i = 0; i < 16; i++) {
			next();
			board->worked++;
		}
		check_contents();
		if (!board->pause)
			continue;
		for (unsigned i = 0; i < HELD; i++)
			holds += held[i].at != NULL;
		board->holds = holds + 1;	/* the mutex */
		board->paused = 1;
		while (board->pause)
			usleep(100);
		board->paused = 0;
	}
}

int main(int argc, char **argv)
{
	struct call c = { .kind = CALL_ATTACH };
	unsigned long calls;
	int rc;

	if (argc != 5)
		return 2;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	board = mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED, atoi(argv[1]), 0);
	if (board == MAP_FAILED)
		return 2;
	seed = strtoull(argv[3], NULL, 10);
	traced = strcmp(argv[4], "works") != 0;
	calls = strtoul(argv[4], NULL, 10);
	board->end = (uintptr_t)step_end;
	board->inlined = (uintptr_t)__start_inlined;
	board->inlined_end = (uintptr_t)__stop_inlined;
	board->call = c;
	if (traced)
		__asm__ volatile("int3");
	rc = shm_attach(argv[2]);
	step_end();
	if (rc) {
		wrong(memapi_error());
		return 1;
	}
	c = (struct call){ .kind = CALL_ZERO, .k = HELD, .size = 2 * sizeof *mutex };
	mutex = announced(&c);
	if (!mutex) {
		wrong(memapi_error());
		return 1;
	}
	if (!traced)
		works();
	pairs();
	while (calls--)
		next();
	check_contents();
	announced(&(struct call){ .kind = CALL_END });
	return 1;
}
