/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * kill -9 inside the whole front end, with real processes, the real lock and the real take-over.
 *
 * For each kind of call: a child makes it with the processor's trap flag set and kills itself after k instructions,
 * k = 1 + n * STRIDE, until a child gets through. After each the parent, who waits on the dead owner's lock, must find
 * the pool as it was before the call or as it is after it: counters, ledger, walk and check agree. In between, a second
 * child that has begun the repair is killed in the same way, before the parent finishes it.
 *
 * Calls that change a pointer in shared memory are made under a lock of the application's. Who inherits that finds the
 * pointer settled; and the pointer names a fragment, which is SHARED and has its bytes, or none is lost.
 *
 * Usage: kill_front MANAGER STRIDE [PART], PART: only calls whose names contain it. MEMAPI_SHARDS may be set. Prints
 * what it did; exit status 0, 1 (what was wrong is on stderr).
 */
#include <errno.h>
#include <memapi/manager.h>
#include <memapi/memapi.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include "mem/front/front.h"
#include "mem/meta/slot.h"

enum { TRAP_FLAG = 0x100, LIVE = 64, REPAIR_STEPS_MOST = 6000 };

static volatile long steps_left;

static void on_trap(int sig, siginfo_t *info, void *context)
{
	(void)sig, (void)info, (void)context;
	if (--steps_left <= 0)
		kill(getpid(), SIGKILL);
}

static void step_on(long steps)
{
	steps_left = steps;
	sigaction(SIGTRAP, &(struct sigaction){ .sa_sigaction = on_trap, .sa_flags = SA_SIGINFO }, NULL);
	__asm__ volatile("pushfq\n\torq $0x100, (%%rsp)\n\tpopfq" ::: "memory", "cc");
}

static void step_off(void) { __asm__ volatile("pushfq\n\tandq $~0x100, (%%rsp)\n\tpopfq" ::: "memory", "cc"); }

/* ---- calls ---- */

static void *held[LIVE];

/* In a fragment, and what dst names was made by the parent: with several shards it may lie in another one. */
static struct table {
	struct mem_lock lock;
	char *dst;
} * table;
enum { SMALL = 90, LARGE = 9000, PATTERN = 'p' };

static void do_malloc_to(void) { shm_malloc_to(&table->dst, 72); }
static void do_mallocxz_to(void) { shm_mallocxz_to(&table->dst, 200); }
static void do_free_from(void) { shm_free_from(&table->dst); }
static void do_realloc_to(void) { shm_realloc_to(&table->dst, SMALL + 8); }
static void do_move_to(void) { shm_realloc_to(&table->dst, LARGE); }
static void do_shrink_to(void) { shm_realloc_to(&table->dst, 20); }

static void do_alloc(void) { held[0] = shm_malloc(72); }
static void do_alloc_aligned(void) { held[0] = shm_memalign(4096, 100); }
static void do_alloc_growing(void) { held[0] = shm_malloc(700000); }
static void do_free(void) { shm_free(held[10]); }
static void do_free_joining(void) { shm_free(held[12]); }
static void do_grow_in_place(void) { held[13] = shm_realloc(held[13], 200); }
static void do_shrink(void) { held[20] = shm_realloc(held[20], 20); }
static void do_move(void) { held[21] = shm_realloc(held[21], 9000); }
static void do_resize(void) { held[22] = shm_resize(held[22], 500); }
static void do_root(void) { shm_root_set("root", held[30]); }
static void do_new_site(void)
{
	static uint64_t cache[2];
	static struct mem_site site = { sizeof site, 7, "a_new_file.c", "f", "m", cache };

	held[0] = mem_shm_malloc(48, &site);
}

/* dst: 1 NULL before the call, 2 names a fragment, 3 where another stands behind it; 0: the call has none. */
static const struct { const char *name; void (*call)(void); int dst; } calls[] = {
	{ "alloc", do_alloc, 0 },
	{ "aligned alloc", do_alloc_aligned, 0 },
	{ "alloc that grows the pool", do_alloc_growing, 0 },
	{ "free", do_free, 0 },
	{ "free that joins", do_free_joining, 0 },
	{ "realloc in place", do_grow_in_place, 0 },
	{ "realloc that shrinks", do_shrink, 0 },
	{ "realloc that moves", do_move, 0 },
	{ "resize", do_resize, 0 },
	{ "named root", do_root, 0 },
	{ "alloc from a new site", do_new_site, 0 },
	{ "malloc_to", do_malloc_to, 1 },
	{ "mallocxz_to", do_mallocxz_to, 1 },
	{ "free_from", do_free_from, 2 },
	{ "realloc_to", do_realloc_to, 2 },
	{ "realloc_to that moves", do_move_to, 3 },
	{ "realloc_to that shrinks", do_shrink_to, 2 },
};

/* ---- what must hold ---- */

struct sums { uint64_t used, fragments, free, free_fragments; };

static bool add(const struct mem_frag *f, void *arg)
{
	struct sums *s = arg;

	*(f->used ? &s->used : &s->free) += f->size;
	++*(f->used ? &s->fragments : &s->free_fragments);
	return true;
}

static const char *wrong;
static void on_fault(const struct mem_fault *f, void *arg) { (void)arg; wrong = f->what; }

static struct sums counted(const struct pool *p)
{
	const struct meta_counters *c = &p->live->counters;

	return (struct sums){ c->used, c->fragments, c->tally.free_bytes, c->tally.free_fragments };
}

static uint64_t fragments(void)
{
	uint64_t n = 0;

	for (unsigned k = 0; k < mem_shm_shards; k++)
		n += mem_shm_pools[k].live->counters.fragments;
	return n;
}

static bool same(struct sums a, struct sums b) { return memcmp(&a, &b, sizeof a) == 0; }

/* The ledger: as many live records as fragments, each named by its fragment's tail. */
static const char *check_ledger(const struct pool *p)
{
	const struct meta_counters *c = &p->live->counters;
	uint64_t live = 0, bytes = 0, free_ones = 0;

	for (uint64_t i = 0; i < c->records_used; i++) {
		const struct meta_record *r = &p->records[i];
		uint64_t usable = RECORD_USABLE(r->sizes);

		if (r->address & RECORD_FREE || !r->address)
			continue;
		live++;
		bytes += usable;
		if (*(uint64_t *)(r->address + usable - TAIL_BYTES) != (i | p->generation))
			return "a record is not named by its fragment";
	}
	for (uint64_t i = c->records_free; i; i = p->records[i - 1].sizes)
		if (++free_ones > c->records_used || !(p->records[i - 1].address & RECORD_FREE))
			return "the list of free records is broken";
	return live != c->fragments || bytes != c->used ? "ledger and counters differ" :
	       live + free_ones != c->records_used ? "a record is lost" : NULL;
}

static const char *check_heap(struct pool *p)
{
	struct sums walked = { 0 };

	p->heap.len = p->live->counters.committed;
	wrong = NULL;
	if (p->ops->walk(&p->heap, 0, UINT32_MAX, add, &walked))
		return "the walk met damage";
	p->ops->check(&p->heap, on_fault, NULL);
	if (wrong)
		return wrong;
	if (!same(walked, counted(p)))
		return "walk and counters differ";
	if (p->live->lock & UINT32_MAX)
		return "the lock is still held";
	return check_ledger(p);
}

static const char *check_pool(void)
{
	const char *what = NULL;

	for (unsigned k = 0; !what && k < mem_shm_shards; k++)
		what = check_heap(&mem_shm_pools[k]);
	return what;
}

/* ---- the pointer ---- */

static const struct meta_record *record_of(const void *ptr)
{
	for (unsigned k = 0; k < mem_shm_shards; k++)
		for (uint64_t i = 0; i < mem_shm_pools[k].live->counters.records_used; i++)
			if (mem_shm_pools[k].records[i].address == (uintptr_t)ptr)
				return &mem_shm_pools[k].records[i];
	return NULL;
}

static bool all(const char *text, char wanted, size_t bytes)
{
	while (bytes && *text == wanted)
		text++, bytes--;
	return !bytes;
}

/* After everybody's transactions have ended and the dead is reaped: its name and its fragment came and went together.
 */
static const char *check_pointer(int kind, void (*call)(void), const char *old, uint64_t before)
{
	const char *now = table->dst;
	const struct meta_record *r = now ? record_of(now) : NULL;

	if (now && !r)
		return "the pointer names no fragment";
	if (r && r->owner >> 48 & RECORD_OWNED)
		return "what the pointer names goes back with its owner";
	if (fragments() != before + (now != NULL) - (old != NULL))
		return "pointer and fragments do not go together";
	if (kind > 1 && now && !all(now, PATTERN, shm_usable(now) < SMALL ? 20 : SMALL))
		return "bytes did not come along";
	if (call == do_mallocxz_to && now && !all(now, 0, 200))
		return "the pointer names what is not zeros";
	return NULL;
}

/* The application's lock comes first, and from then on the pointer stays. */
static const char *inherit(void)
{
	int rc = mem_lock_acquire(&table->lock);
	const char *now = table->dst;

	if (rc && rc != EOWNERDEAD)
		return "the application's lock cannot be had";
	shm_lock();
	shm_unlock();
	mem_lock_release(&table->lock);
	return table->dst == now ? NULL : "the pointer changed under the next owner of its lock";
}

/* ---- a scene of holes, and its copy ---- */

static void scene(void)
{
	table = shm_mallocxz(sizeof *table);
	for (unsigned i = 0; i < LIVE; i++)
		held[i] = shm_malloc(32 + 16 * (i % 9));
	shm_free(held[11]), shm_free(held[14]), shm_free(held[40]);
	held[11] = held[14] = held[40] = held[0] = NULL;
}

static void scene_of_pointer(int kind)
{
	if (kind < 2)
		return;
	table->dst = shm_malloc(SMALL);
	memset(table->dst, PATTERN, SMALL);
	if (kind == 3)
		held[0] = shm_malloc(SMALL);
}

static void end_scene(void)
{
	for (unsigned i = 0; i < LIVE; i++)
		shm_free(held[i]), held[i] = NULL;
	shm_free(table);
}

/* ---- children that die ---- */

/* Returns true when the child came through: the call has fewer instructions than that. */
static bool child_dies(void (*call)(void), bool locked, long steps)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		struct owner *o;

		if (!mem_shm_ready(&o))	/* its slot: the claim is another test's */
			_exit(3);
		shm_lock();		/* in all shards */
		shm_unlock();
		if (locked)
			mem_lock_acquire(&table->lock);
		step_on(steps);
		call();
		step_off();
		_exit(0);
	}
	waitpid(pid, &status, 0);
	return WIFEXITED(status);
}

static void repair(void)
{
	shm_lock();
	shm_unlock();
}

static unsigned long kills, repairs_killed;

/* The parent takes over what the dead held, and what is there is before or after. */
static const char *verdict(size_t i, const char *old, uint64_t before)
{
	const char *what = NULL;
	uint64_t held_by = 0;

	for (unsigned k = 0; k < mem_shm_shards; k++)
		held_by |= mem_shm_pools[k].live->lock & UINT32_MAX;
	if (held_by && random() % 4 == 0) {
		child_dies(repair, false, 1 + random() % REPAIR_STEPS_MOST);
		repairs_killed++;
	}
	if (calls[i].dst)
		what = inherit();
	shm_lock();
	shm_unlock();
	what = what ? what : check_pool();
	if (what)
		return what;
	if (fragments() + 1 < before || fragments() > before + 1)
		return "more than one fragment came or went";
	if (!calls[i].dst)
		return NULL;
	shm_reap();
	what = check_pool();
	return what ? what : check_pointer(calls[i].dst, calls[i].call, old, before);
}

/* Back to the scene: what the dead left behind is freed by its record, what it freed is made again. */
static void again(int kind)
{
	for (unsigned k = 0; k < mem_shm_shards; k++) {
		const struct pool *p = &mem_shm_pools[k];

		for (uint64_t i = 0; i < p->live->counters.records_used; i++) {
			uint64_t address = p->records[i].address;

			if (address && !(address & RECORD_FREE))
				shm_free((void *)address);
		}
	}
	memset(held, 0, sizeof held);
	shm_reap();
	scene();
	scene_of_pointer(kind);
}

static bool play(const struct pool *p, size_t i, long stride)
{
	if (calls[i].call != do_new_site) { /* call sites are known before: interning has its own row */
		again(calls[i].dst);
		calls[i].call();
	}
	for (long k = 1;; k += stride) {
		uint64_t before;
		const char *what, *old;
		bool through;

		again(calls[i].dst);
		before = fragments();
		old = table->dst;
		through = child_dies(calls[i].call, calls[i].dst, k + random() % stride);
		kills += !through;
		what = verdict(i, old, before);
		if (what) {
			fprintf(stderr, "%s: %s: killed near instruction %ld: %s\n", p->manager->name, calls[i].name, k, what);
			return false;
		}
		if (through)
			break;
	}
	return true;
}

int main(int argc, char **argv)
{
	long stride = argc > 2 ? atol(argv[2]) : 1;
	struct pool *p;
	struct owner *o;
	unsigned long rollbacks = 0;
	bool ok = true;

	if (argc < 2 || stride < 1 || shm_init_manager(argv[1])) {
		fprintf(stderr, "usage: kill_front MANAGER STRIDE [PART]; %s\n", memapi_error());
		return 2;
	}
	p = mem_shm_ready(&o);
	for (size_t i = 0; ok && i < sizeof calls / sizeof calls[0]; i++)
		ok = argc > 3 && !strstr(calls[i].name, argv[3]) ? true : play(p, i, stride);
	end_scene();
	for (unsigned k = 0; k < mem_shm_shards; k++)
		rollbacks += mem_shm_pools[k].live->rollbacks;
	printf("%s: %lu kills, %lu of repairs, %lu rollbacks\n", argv[1], kills, repairs_killed, rollbacks);
	return ok && rollbacks ? 0 : 1;
}
