/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * kill -9 inside the whole front end, with real processes, the real lock and the real take-over.
 *
 * For each kind of call: a child makes it with the processor's trap flag set and kills itself after k instructions,
 * k = 1 + n * STRIDE, until a child gets through. After each the parent, who waits on the dead owner's lock, must find
 * the pool as it was before the call or as it is after it: counters, ledger, walk and check agree. In between, a second
 * child that has begun the repair is killed in the same way, before the parent finishes it.
 *
 * With "magazines" the calls are those that take from a slot's magazines, put into them, and exchange what is in them,
 * and whoever repairs has to finish what was on its way, and to empty them. Without it there are none.
 *
 * Calls that change a pointer in shared memory are made under a lock of the application's. Who inherits that finds the
 * pointer settled; and the pointer names a fragment, which is SHARED and has its bytes, or none is lost.
 *
 * Usage: kill_front MANAGER STRIDE [magazines [PART] | PART], PART: only calls whose names contain it. MEMAPI_SHARDS
 * may be set. Prints what it did; exit status 0, 1 (what was wrong is on stderr).
 */
#include <errno.h>
#include <memapi/manager.h>
#include <memapi/memapi.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include "mem/front/front.h"
#include "mem/init.h"
#include "mem/meta/slot.h"
#include "mem/reap/reap.h"

enum { TRAP_FLAG = 0x100, LIVE = 64, REPAIR_STEPS_MOST = 6000, POOL = 2 << 20 };

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

/* With magazines. What is done before is not stepped. */
enum { KEPT = 4 * MAGAZINE_MOST, SIZE = 72 };
static void *kept[KEPT];
static unsigned kept_count;
static struct {
	unsigned kept, calls;
} * left; /* shared: of the child that is stepped, when it begins; what it calls */

static void take(unsigned n)
{
	while (n-- && kept_count < KEPT)
		kept[kept_count++] = shm_malloc(SIZE);
}

static void put(unsigned n)
{
	while (n-- && kept_count)
		shm_free(kept[--kept_count]);
}

/* Fragments in a chain of our size: the one in use, the one beside it. */
static uint64_t in_chain(bool beside)
{
	struct owner *o;
	struct pool *p = mem_shm_ready(&o);
	bool head8 = p->ops->flags & MEM_HEAD8;
	uint64_t class = (mem_round(p->ops, SIZE + TAIL_BYTES) - (head8 ? 8 : 0)) / 16 - 1;

	return MAGAZINE_COUNT(o->magazines->of[class][head8 ^ beside]);
}

static uint64_t ready(void) { return in_chain(false) + in_chain(true); }

static void drain(void) { take((unsigned)ready()); }

/* Both chains are full, and `more` have gone on from there. */
static void fill(unsigned more)
{
	take(2 * MAGAZINE_DEPTH_FIRST + more + 8);
	drain();
	put(2 * MAGAZINE_DEPTH_FIRST + more);
}

static void before_take(void) { take(1), put(1); }
static void before_put(void) { take(1); }
static void before_refill(void) { take(8), drain(); }
/* The manager's next fragments are a little too large for the chain: one for the call, the other one goes back. */
static void before_odd_refill(void)
{
	void *hole[2];

	shm_trim();				/* nothing in the depot */
	shm_lock();
	for (unsigned i = 0; i < LIVE; i++)	/* what fits better is in use */
		kept[kept_count++] = shm_malloc_unsafe(SIZE);
	shm_unlock();
	before_refill();
	shm_lock();
	for (unsigned i = 0; i < 2; i++)
		hole[i] = shm_malloc_unsafe(SIZE + 16), kept[kept_count++] = shm_malloc_unsafe(SIZE + 16);
	shm_free_unsafe(hole[0]), shm_free_unsafe(hole[1]);
	shm_unlock();
}
static void before_unload(void) { fill(0); }
static void before_depot(void) { fill(3 * MAGAZINE_DEPTH_FIRST), drain(); }
static void before_flood(void) { fill((DEPOT_DEEP + 1) * MAGAZINE_DEPTH_FIRST); }
/* A manager with guards (qm) has closed magazines, which stay as they are: there the call is one like the others. */
static void before_turn(void)
{
	fill(0);
	for (unsigned n = 0; n < 2 * MAGAZINE_DEPTH_FIRST && (in_chain(false) || !in_chain(true)); n++)
		take(1);
}
static void before_turn_full(void)
{
	fill(0), drain();
	for (unsigned n = 0; n < 2 * MAGAZINE_DEPTH_FIRST && (in_chain(false) < MAGAZINE_DEPTH_FIRST || in_chain(true));
	     n++)
		put(1);
}
static void do_put(void) { put(1); }
static void do_call_alloc(void) { held[0] = mem_shm_malloc(SIZE, NULL); }
static void do_call_put(void)
{
	if (kept_count)
		mem_shm_free(kept[--kept_count], NULL);
}
static void do_exhaust(void) { held[0] = shm_malloc(POOL - (700 << 10)); }
static void do_leave(void) { mem_shm_at_exit(); }

/*
 * dst: 1 NULL before the call, 2 names a fragment, 3 where another stands behind it; 0: the call has none.
 * inlined: what memapi.h compiles into this program serves it, and is killed at each of its few instructions.
 */
struct call { const char *name; void (*call)(void); int dst; void (*before)(void); bool inlined; };

static const struct call without[] = {
	{ "alloc", do_alloc, 0, NULL, false },
	{ "aligned alloc", do_alloc_aligned, 0, NULL, false },
	{ "alloc that grows the pool", do_alloc_growing, 0, NULL, false },
	{ "free", do_free, 0, NULL, false },
	{ "free that joins", do_free_joining, 0, NULL, false },
	{ "realloc in place", do_grow_in_place, 0, NULL, false },
	{ "realloc that shrinks", do_shrink, 0, NULL, false },
	{ "realloc that moves", do_move, 0, NULL, false },
	{ "resize", do_resize, 0, NULL, false },
	{ "named root", do_root, 0, NULL, false },
	{ "alloc from a new site", do_new_site, 0, NULL, false },
	{ "malloc_to", do_malloc_to, 1, NULL, false },
	{ "mallocxz_to", do_mallocxz_to, 1, NULL, false },
	{ "free_from", do_free_from, 2, NULL, false },
	{ "realloc_to", do_realloc_to, 2, NULL, false },
	{ "realloc_to that moves", do_move_to, 3, NULL, false },
	{ "realloc_to that shrinks", do_shrink_to, 2, NULL, false },
};

static const struct call with_magazines[] = {
	{ "take", do_call_alloc, 0, before_take, false },
	{ "put", do_call_put, 0, before_put, false },
	{ "inlined take", do_alloc, 0, before_take, true },
	{ "inlined put", do_put, 0, before_put, true },
	{ "take that turns the pair", do_call_alloc, 0, before_turn, false },
	{ "put that turns the pair", do_call_put, 0, before_turn_full, false },
	{ "inlined take that turns the pair", do_alloc, 0, before_turn, false },
	{ "inlined put that turns the pair", do_put, 0, before_turn_full, false },
	{ "take and refill", do_alloc, 0, before_refill, false },
	{ "take and odd refill", do_alloc, 0, before_odd_refill, false },
	{ "put with full chains", do_put, 0, before_unload, false },
	{ "take from the depot", do_alloc, 0, before_depot, false },
	{ "put with a full depot", do_put, 0, before_flood, false },
	{ "no memory", do_exhaust, 0, before_take, false },
	{ "trim with a depot", shm_trim, 0, before_depot, false },
	{ "leave in order", do_leave, 0, before_put, false },
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

/* Handed out: what lies in the depot is nobody's, and a repair leaves it there. */
static uint64_t fragments(void)
{
	uint64_t n = 0;

	for (unsigned k = 0; k < mem_shm_shards; k++)
		n += mem_shm_pools[k].live->counters.fragments - CACHED_COUNT(slot_cached(&mem_shm_pools[k]));
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

void *__real_mem_shm_malloc_here(size_t size, uint32_t *place);
void *__wrap_mem_shm_malloc_here(size_t size, uint32_t *place);
void *__wrap_mem_shm_malloc_here(size_t size, uint32_t *place)
{
	left->calls++;
	return __real_mem_shm_malloc_here(size, place);
}

void __real_mem_shm_free_here(void *p, uint32_t *place);
void __wrap_mem_shm_free_here(void *p, uint32_t *place);
void __wrap_mem_shm_free_here(void *p, uint32_t *place)
{
	left->calls++;
	__real_mem_shm_free_here(p, place);
}

/* Guards close magazines, and there are fragments that the header does not know. */
static bool inlined_here(void)
{
#ifdef MEMAPI_INLINE
	struct owner *o;
	struct pool *p = mem_shm_ready(&o);

	return o->known && p->magazine_quick;
#else
	return false;
#endif
}

/* The one place that calls are made from: a call at the end of its function leaves this as its site, known to all. */
__attribute__((noinline)) static void make(void (*call)(void))
{
	call();
	__asm__ volatile("" ::: "memory");
}

/* Returns true when the child came through: the call has fewer instructions than that. */
static bool child_dies(const struct call *c, long steps)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		struct owner *o;

		if (!mem_shm_ready(&o))	/* its slot: the claim is another test's */
			_exit(3);
		shm_lock();		/* in all shards */
		shm_unlock();
		if (c->dst)
			mem_lock_acquire(&table->lock);
		if (c->before)
			c->before();
		left->kept = kept_count;
		left->calls = 0;
		step_on(steps);
		make(c->call);
		step_off();
		_exit(0);
	}
	waitpid(pid, &status, 0);
	return WIFEXITED(status);
}

static void repair(void)
{
	shm_reap();
	shm_lock();
	shm_unlock();
}

static uint64_t said_to_be_cached(const struct pool *p)
{
	uint64_t count = 0;

	for (uint64_t i = 0; i < p->live->counters.records_used; i++)
		count += !(p->records[i].address & RECORD_FREE) && p->records[i].owner >> 48 & RECORD_CACHED;
	return count;
}

/* Our own magazines take no part: what the parent does goes to the manager at once. */
static void settle(void)
{
	struct owner *o;
	struct pool *p;

	for (unsigned k = 0; k < mem_shm_shards; k++)
		if (mem_shm_use(&p, &o, k))
			shm_front_settle(p, o, o->number);
}

/* All owners but us are gone, and we are settled: the depot alone has anything. */
static const char *check_magazines(void)
{
	for (unsigned k = 0; k < mem_shm_shards; k++) {
		const struct pool *p = &mem_shm_pools[k];

		if (slot_cached(p) != p->live->cached)
			return "the magazines of the dead are not empty";
		if (said_to_be_cached(p) != CACHED_COUNT(p->live->cached))
			return "a record says that it is in a magazine, and is in none";
	}
	return NULL;
}

static unsigned long kills, repairs_killed;

/* The parent takes over what the dead held, and what is there is before or after. */
static const char *verdict(const struct call *c, const char *old, uint64_t before)
{
	const char *what = NULL;
	uint64_t held_by = 0;

	static const struct call repairs = { "repair", repair, 0, NULL, false };
	uint64_t moved = left->kept;

	for (unsigned k = 0; k < mem_shm_shards; k++)
		held_by |= mem_shm_pools[k].live->lock & UINT32_MAX;
	if ((held_by || c->before) && random() % 4 == 0) {
		child_dies(&repairs, 1 + random() % REPAIR_STEPS_MOST);
		repairs_killed++;
	}
	if (c->dst)
		what = inherit();
	if (c->before)
		shm_reap();
	shm_lock();
	shm_unlock();
	what = what ? what : check_pool();
	if (what)
		return what;
	if (fragments() + 1 < before + moved || fragments() > before + moved + 1)
		return "more than one fragment came or went";
	if (!c->dst && !c->before)
		return NULL;
	shm_reap();
	settle();
	what = check_pool();
	what = what ? what : check_magazines();
	return what || !c->dst ? what : check_pointer(c->dst, c->call, old, before);
}

/* Back to the scene: what the dead left behind is freed by its record, what it freed is made again. */
static void again(int kind)
{
	for (unsigned k = 0; k < mem_shm_shards; k++) {
		const struct pool *p = &mem_shm_pools[k];

		for (uint64_t i = 0; i < p->live->counters.records_used; i++) {
			const struct meta_record *r = &p->records[i];

			if (r->address && !(r->address & RECORD_FREE) && !(r->owner >> 48 & RECORD_CACHED))
				shm_free((void *)r->address);
		}
	}
	memset(held, 0, sizeof held);
	shm_reap();
	scene();
	scene_of_pointer(kind);
	settle();
}

/* What is known is known before, call sites and places: interning has its own row. */
static void rehearse(const struct call *c)
{
	if (c->call == do_new_site)
		return;
	for (unsigned i = 0; i < 2; i++) {	/* the second one learns the number of a place */
		again(c->dst);
		if (c->before)
			c->before();
		if (c->call != do_leave)
			make(c->call);
		kept_count = 0;
	}
}

static bool play(const struct pool *p, const struct call *c, long stride)
{
	bool inlined = c->inlined && inlined_here();

	if (inlined)
		stride = 1;
	rehearse(c);
	for (long k = 1;; k += stride) {
		uint64_t before;
		const char *what, *old;
		bool through;

		again(c->dst);
		before = fragments();
		old = table->dst;
		through = child_dies(c, k + random() % stride);
		kills += !through;
		what = verdict(c, old, before);
		if (!what && through && inlined && left->calls)
			what = "it was not served without a call";
		if (what) {
			fprintf(stderr, "%s: %s: killed near instruction %ld: %s\n", p->manager->name, c->name, k, what);
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
	bool magazines = argc > 3 && strcmp(argv[3], "magazines") == 0;
	const struct call *calls = magazines ? with_magazines : without;
	const char *part = magazines ? (argc > 4 ? argv[4] : NULL) : argc > 3 ? argv[3] : NULL;
	size_t count = magazines ? sizeof with_magazines / sizeof *calls : sizeof without / sizeof *calls;
	struct pool *p;
	struct owner *o;
	unsigned long rollbacks = 0;
	bool ok = true;

	setenv("MEMAPI_MAGAZINES", magazines ? "yes" : "no", 1);
	setenv("MEMAPI_SHM_SIZE", magazines ? "2M" : "64M", 1);
	if (argc < 2 || stride < 1 || shm_init_manager(argv[1])) {
		fprintf(stderr, "usage: kill_front MANAGER STRIDE [magazines [PART] | PART]; %s\n", memapi_error());
		return 2;
	}
	p = mem_shm_ready(&o);
	left = mmap(NULL, sizeof *left, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (left == MAP_FAILED)
		return 2;
	for (size_t i = 0; ok && i < count; i++)
		ok = !part || strstr(calls[i].name, part) ? play(p, &calls[i], stride) : true;
	end_scene();
	for (unsigned k = 0; k < mem_shm_shards; k++)
		rollbacks += mem_shm_pools[k].live->rollbacks;
	printf("%s%s: %lu kills, %lu of repairs, %lu rollbacks\n", argv[1], magazines ? ", magazines" : "", kills,
	       repairs_killed, rollbacks);
	return ok && rollbacks ? 0 : 1;
}
