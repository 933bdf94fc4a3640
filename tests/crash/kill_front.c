/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * kill -9 inside the whole front end, with real processes, the real lock and the real take-over.
 *
 * For each kind of call: a child makes it with the processor's trap flag set and kills itself after k instructions,
 * k = 1 + n * STRIDE, until a child gets through. After each the parent, who waits on the dead owner's lock, must find
 * the pool as it was before the call or as it is after it: counters, ledger, walk and check agree. In between, a second
 * child that has begun the repair is killed in the same way, before the parent finishes it.
 *
 * Usage: kill_front MANAGER STRIDE. Prints what it did; exit status 0, 1 (what was wrong is on stderr).
 */
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

static const struct { const char *name; void (*call)(void); } calls[] = {
	{ "alloc", do_alloc },
	{ "aligned alloc", do_alloc_aligned },
	{ "alloc that grows the pool", do_alloc_growing },
	{ "free", do_free },
	{ "free that joins", do_free_joining },
	{ "realloc in place", do_grow_in_place },
	{ "realloc that shrinks", do_shrink },
	{ "realloc that moves", do_move },
	{ "resize", do_resize },
	{ "named root", do_root },
	{ "alloc from a new site", do_new_site },
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

static const char *check_pool(struct pool *p)
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

/* ---- a scene of holes, and its copy ---- */

static void scene(void)
{
	for (unsigned i = 0; i < LIVE; i++)
		held[i] = shm_malloc(32 + 16 * (i % 9));
	shm_free(held[11]), shm_free(held[14]), shm_free(held[40]);
	held[11] = held[14] = held[40] = held[0] = NULL;
}

static void end_scene(void)
{
	for (unsigned i = 0; i < LIVE; i++)
		shm_free(held[i]), held[i] = NULL;
}

/* ---- children that die ---- */

/* Returns true when the child came through: the call has fewer instructions than that. */
static bool child_dies(void (*call)(void), long steps)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		struct owner *o;

		if (!mem_shm_ready(&o))	/* its slot: the claim is another test's */
			_exit(3);
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
static const char *verdict(struct pool *p, struct sums before)
{
	const char *what;

	if (p->live->lock & UINT32_MAX && random() % 4 == 0) {
		child_dies(repair, 1 + random() % REPAIR_STEPS_MOST);
		repairs_killed++;
	}
	shm_lock();
	shm_unlock();
	what = check_pool(p);
	if (what)
		return what;
	if (p->live->counters.fragments + 1 < before.fragments || p->live->counters.fragments > before.fragments + 1)
		return "more than one fragment came or went";
	return NULL;
}

/* Back to the scene: what the dead left behind is freed by its record, what it freed is made again. */
static void again(struct pool *p)
{
	for (uint64_t i = 0; i < p->live->counters.records_used; i++) {
		uint64_t address = p->records[i].address;

		if (address && !(address & RECORD_FREE))
			shm_free((void *)address);
	}
	memset(held, 0, sizeof held);
	slot_reap(p, &(struct owner){ 0 });
	scene();
}

static bool play(struct pool *p, size_t i, long stride)
{
	if (calls[i].call != do_new_site) { /* call sites are known before: interning has its own row */
		again(p);
		calls[i].call();
	}
	for (long k = 1;; k += stride) {
		struct sums before;
		const char *what;
		bool through;

		again(p);
		before = counted(p);
		through = child_dies(calls[i].call, k + random() % stride);
		kills += !through;
		what = verdict(p, before);
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
	bool ok = true;

	if (argc < 2 || stride < 1 || shm_init_manager(argv[1])) {
		fprintf(stderr, "usage: kill_front MANAGER STRIDE; %s\n", memapi_error());
		return 2;
	}
	p = mem_shm_ready(&o);
	for (size_t i = 0; ok && i < sizeof calls / sizeof calls[0]; i++)
		ok = play(p, i, stride);
	end_scene();
	printf("%s: %lu kills, %lu of repairs, %lu rollbacks\n", argv[1], kills, repairs_killed,
	       (unsigned long)p->live->rollbacks);
	return ok && p->live->rollbacks ? 0 : 1;
}
