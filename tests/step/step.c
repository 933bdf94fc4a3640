/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * kill -9 after every instruction of the release build.
 *
 * A program that knows only libmemapi.so makes random calls on a shared pool and is stepped through them, one
 * instruction at a time. After each instruction its memory is what it would be if SIGKILL had come there. The tracer,
 * who is attached to the same pool, sees it through private mappings of the pool's files, at the pool's addresses: what
 * it changes there is its own copy, and dropped before the next instruction. In that copy
 *
 *	the program dies		its life mutex says what the kernel would make it say; asked for its pid, the
 *					kernel's answer is that there is none
 *	a repair is begun and killed	in some, at any instruction of the repair; in some of these, twice
 *	another process repairs		by reaping slots as mmd does, or by wanting the lock
 *	all is compared			structure and meaning, see look.h
 *	somebody allocates and frees, and all is compared again
 *	what the dead had is reclaimed	in some; then nothing may be left
 *
 * Every instruction between announcement and end of a call that lies in libmemapi.so is such a point, and every one of
 * what memapi.h compiles into the program. Of those outside (libc, the kernel's vdso) the first after leaving are, and
 * some of the rest: they cannot reach the pool, but for the bytes that they were handed.
 *
 * Usage: step MANAGER POINTS [SEED [EVERY [ADDRESSES]]]. A pass is one program and one pool; passes follow until POINTS
 * are done. EVERY: one call of so many is stepped, and of the others what memapi.h compiles in. ADDRESSES: a file to be
 * written with the distinct instructions, as places in libmemapi.so. Exit status 0, 1: a fault was found, 2: it could
 * not be run.
 */
#include <errno.h>
#include <linux/futex.h>
#include <memapi/memapi.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "look.h"
#include "mem/front/front.h"
#include "mem/meta/lock.h"
#include "mem/meta/process.h"
#include "mem/meta/slot.h"
#include "mem/reap/reap.h"
#include "trace.h"

enum { TEXT_MOST = 4 << 20, REPAIRERS = 3, CALLS_A_PASS = 200, STUCK_SECONDS = 60 };
enum { OUTSIDE_ALL = 24, OUTSIDE_EVERY = 97 };
enum { PLACES_MOST = 4096, LEARN_EVERY = 400 };
enum { NESTED_EVERY = 4, RECLAIM_EVERY = 8, WAIT_EVERY = 8, KINDS_OF_PASSES = 4 };
#define POOL_BYTES (2ull << 20)

/* Of the whole run; the passes are processes. */
static struct totals {
	uint64_t points, inside, inlined, calls, passes;
	uint64_t rollbacks, takeovers, repairs_killed, reclaims, waits;
	uint64_t by_kind[CALL_KINDS];
	unsigned before_end;	/* distinct instructions when nine tenths of the points were done */
	char wrong[512];
	uint8_t seen[TEXT_MOST / 8], inlined_seen[TEXT_MOST / 8],
		repair_seen[TEXT_MOST / 8]; /* bitmaps of places in texts */
} * totals;

static struct victim victim;
static struct model model;
static struct owner repairer[REPAIRERS][SHARDS_MAX];
static uint64_t dice = 1;
static uint64_t wanted, every = 1;
static char program[512];

static unsigned count(const uint8_t *bits)
{
	unsigned n = 0;

	for (size_t i = 0; i < TEXT_MOST / 8; i++)
		n += (unsigned)__builtin_popcount(bits[i]);
	return n;
}

/* ---- what the kernel says, after a death that did not happen ---- */

enum process_fate __real_process_fate(int32_t pid, uint64_t start_time, uint64_t pid_namespace);
enum process_fate __wrap_process_fate(int32_t pid, uint64_t start_time, uint64_t pid_namespace);

enum process_fate __wrap_process_fate(int32_t pid, uint64_t start_time, uint64_t pid_namespace)
{
	if (pid == victim.pid)
		return PROCESS_DEAD;
	return pid == getpid() ? PROCESS_LIVES : __real_process_fate(pid, start_time, pid_namespace);
}

long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);

/* There is nobody who could wake us: each sleep ends as it would, by its time, but at once. */
long __wrap_syscall(long number, ...)
{
	long a[6];
	va_list args;

	va_start(args, number);
	for (unsigned i = 0; i < 6; i++)
		a[i] = va_arg(args, long);
	va_end(args);
	if (number == SYS_futex && (a[1] & FUTEX_CMD_MASK) == FUTEX_WAIT) {
		errno = ETIMEDOUT;
		return -1;
	}
	return __real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

/* As the kernel does for every robust mutex that a dying thread holds, or is about to hold. */
static void die_holding(struct meta_slot *s, pid_t tid)
{
	uint32_t *word = (uint32_t *)(void *)&s->life;

	if ((pid_t)(*word & FUTEX_TID_MASK) == tid)
		*word = (*word & FUTEX_WAITERS) | FUTEX_OWNER_DIED;
}

static void victim_dies(void)
{
	for (struct pool *p = model.p; p < model.p + model.shards; p++)
		for (uint32_t i = 0; i < p->live->slots_used; i++)
			if (SLOT_PID(pool_slot(p, i)->state) == victim.pid)
				die_holding(pool_slot(p, i), victim.pid);
}

/* ---- repair ---- */

static void repair(struct owner *o, bool by_waiting)
{
	for (unsigned k = 0; k < model.shards; k++) {
		struct pool *p = &model.p[k];

		if (by_waiting) {
			lock_take(p, &o[k]);
			lock_leave(p);
		}
		reap_pool(p, &o[k]);
	}
}

/*
 * Where a repair dies: at the nth time that it comes to an instruction, on which a breakpoint stands. A repair that is
 * stepped, now and then, tells which instructions there are. (To step each to its end would cost more than all the
 * rest.)
 */
static sigjmp_buf grave;
static struct { uintptr_t at; uint32_t times; } places[PLACES_MOST];
static unsigned places_count;
static struct { uint8_t *at, was; uint64_t left; } volatile trap;
static volatile bool learning;

extern const char __executable_start[], etext[];

static bool ours(uintptr_t at) { return at - (uintptr_t)__executable_start < (uintptr_t)(etext - __executable_start); }

static void learn(uintptr_t at)
{
	unsigned i = 0;

	while (i < places_count && places[i].at != at)
		i++;
	if (i == PLACES_MOST || !ours(at))
		return;
	places[i].at = at;
	places[i].times++;
	places_count += i == places_count;
}

static void on_trap(int sig, siginfo_t *info, void *context)
{
	greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;

	(void)sig, (void)info;
	if (learning) {
		learn((uintptr_t)r[REG_RIP]);
	} else if (r[REG_RIP] - 1 == (greg_t)trap.at && *trap.at == 0xcc) {
		*trap.at = trap.was;
		if (--trap.left == 0)
			siglongjmp(grave, 1);
		r[REG_RIP]--;
		r[REG_EFL] |= 0x100;	/* over it, and it is put back */
	} else {
		*trap.at = 0xcc;
		r[REG_EFL] &= ~(greg_t)0x100;
	}
}

static inline void step_on(void) { __asm__ volatile("pushfq\n\torq $0x100, (%%rsp)\n\tpopfq" ::: "memory", "cc"); }
static inline void step_off(void) { __asm__ volatile("pushfq\n\tandq $~0x100, (%%rsp)\n\tpopfq" ::: "memory", "cc"); }

static void repair_and_learn(struct owner *o, bool by_waiting)
{
	for (unsigned i = 0; i < places_count; i++)
		places[i].times = 0;
	learning = true;
	step_on();
	repair(o, by_waiting);
	step_off();
	learning = false;
}

/* One of us begins the repair and dies in it, before an instruction that chance picks. */
static void repair_and_die(struct owner *o)
{
	bool by_waiting = step_pick(&dice, 4) == 0;

	if (!places_count || step_pick(&dice, LEARN_EVERY) == 0) {
		repair_and_learn(o, by_waiting);
	} else {
		unsigned i = (unsigned)step_pick(&dice, places_count);

		trap.at = (uint8_t *)places[i].at;
		trap.was = *trap.at;
		trap.left = 1 + step_pick(&dice, places[i].times > 1 ? places[i].times : 1);
		*trap.at = 0xcc;
		if (sigsetjmp(grave, 0) == 0) {
			repair(o, by_waiting);
			*trap.at = trap.was;
		} else {
			size_t at = places[i].at - (uintptr_t)__executable_start;

			totals->repairs_killed++;
			if (at < TEXT_MOST)
				totals->repair_seen[at / 8] |= (uint8_t)(1u << at % 8);
		}
	}
	for (unsigned k = 0; k < model.shards; k++)
		die_holding(o[k].slot, (pid_t)syscall(SYS_gettid));
}

/* ---- one point ---- */

static const char *look_all(const struct call *call)
{
	const char *what = NULL;

	for (unsigned k = 0; !what && k < model.shards; k++)
		what = look_pool(&model.p[k], true);
	return what ? what : look_model(&model, call);
}

/* The pool goes on: in each shard a fragment comes and goes. */
static const char *use(struct owner *o)
{
	for (unsigned k = 0; k < model.shards; k++) {
		static uint64_t cache[2];
		static const struct mem_site site = { sizeof site, 1, "step.c", "use", "step", cache };
		const struct front_call call = { .p = &model.p[k], .o = &o[k], .site = &site, .flags = FRONT_QUIET };
		uint64_t free_bytes = model.p[k].live->counters.tally.free_bytes;
		size_t size = 1 + step_pick(&dice, 300);
		void *ptr = shm_front_alloc(&call, 16, size);

		if (!ptr && free_bytes > 4096 + size && model.p[k].live->counters.tally.free_fragments == 1)
			return "nothing can be allocated any more";
		if (ptr)
			memset(ptr, 0xee, size);
		shm_front_free(&call, ptr);
	}
	return NULL;
}

static const char *reclaim(struct owner *o)
{
	for (unsigned k = 0; k < model.shards; k++) {
		struct pool *p = &model.p[k];
		const struct meta_counters *c = &p->live->counters;
		bool left = false;
		const char *what;

		for (uint32_t i = 0; i < p->live->slots_used; i++)
			left |= SLOT_PID(pool_slot(p, i)->state) == victim.pid &&
				SLOT_STATE(pool_slot(p, i)->state) == SLOT_LEFT;
		p->id->on_death = ON_DEATH_RECLAIM;
		reap_pool(p, &o[k]);
		p->id->on_death = ON_DEATH_KEEP;
		if (!left && (c->fragments != CACHED_COUNT(slot_cached(p)) || c->used != CACHED_BYTES(slot_cached(p))))
			return "what the dead had is not all reclaimed";
		what = look_pool(p, true);
		if (what)
			return what;
		for (uint32_t i = 0; !left && i < p->live->slots_used; i++)
			if (SLOT_PID(pool_slot(p, i)->state) == victim.pid &&
			    SLOT_STATE(pool_slot(p, i)->state) != SLOT_FREE)
				return "a dead owner's slot is not free";
	}
	totals->reclaims++;
	return NULL;
}

static void drop_copies(void)
{
	for (struct pool *p = model.p; p < model.p + model.shards; p++) {
		madvise(p->meta, p->meta_bytes, MADV_DONTNEED);
		madvise(p->heap.base, p->id->size, MADV_DONTNEED);
	}
}

static const char *point(const struct call *call)
{
	uint64_t rollbacks, takeovers;
	struct owner *o = repairer[REPAIRERS - 1];
	bool by_waiting = step_pick(&dice, WAIT_EVERY) == 0;
	const char *what;

	drop_copies();
	if (++totals->points == wanted - wanted / 10)
		totals->before_end = count(totals->seen);
	totals->by_kind[call->kind]++;
	rollbacks = model.p->live->rollbacks;
	takeovers = model.p->live->takeovers;
	victim_dies();
	if (step_pick(&dice, NESTED_EVERY) == 0)
		for (uint64_t deaths = 1 + step_pick(&dice, REPAIRERS - 1), i = 0; i < deaths; i++)
			repair_and_die(repairer[i]);
	totals->waits += by_waiting;
	repair(o, by_waiting);
	what = look_all(call);
	if (!what)
		what = use(o);
	if (!what)
		what = look_all(call);
	if (!what && step_pick(&dice, RECLAIM_EVERY) == 0)
		what = reclaim(o);
	totals->rollbacks += model.p->live->rollbacks - rollbacks;
	totals->takeovers += model.p->live->takeovers - takeovers;
	return what;
}

/* ---- one pass ---- */

static const char *const kind_names[CALL_KINDS] = {
	[CALL_ATTACH] = "attach", [CALL_ALLOC] = "malloc", [CALL_ZERO] = "mallocxz", [CALL_ALIGNED] = "memalign",
	[CALL_FREE] = "free", [CALL_REALLOC] = "realloc", [CALL_REALLOC_XF] = "reallocxf", [CALL_RESIZE] = "resize",
	[CALL_LOCK] = "lock", [CALL_UNLOCK] = "unlock", [CALL_ALLOC_UNSAFE] = "malloc_unsafe",
	[CALL_FREE_UNSAFE] = "free_unsafe", [CALL_SET_SITE] = "setfunc", [CALL_ROOT] = "root",
	[CALL_USABLE] = "usable", [CALL_WALK] = "walk", [CALL_MUTEX] = "mem_lock", [CALL_TWICE_FREE] = "wild free",
	[CALL_DEADLOCK] = "malloc by a holder", [CALL_END] = "exit",
};

static void tell(const char *what)
{
	const struct call *c = &victim.board->call;
	bool inside = victim.at - victim.text < victim.text_end - victim.text;

	snprintf(totals->wrong, sizeof totals->wrong, "call %llu, %s of %llu bytes, killed at %s+%#lx: %s",
		 (unsigned long long)victim.board->number, kind_names[c->kind], (unsigned long long)c->size,
		 inside			    ? "libmemapi.so"
		 : victim_inlined(&victim) ? "what memapi.h compiles in, "
					   : "an address outside",
		 (unsigned long)(inside ? victim.at - victim.text + victim.text_from : victim.at), what);
}

static void on_death_of_ours(int sig)
{
	tell(sig == SIGPROF ? "the recovery does not come to an end" : "the recovery crashes");
	_exit(1);
}

static bool through_header(const struct call *c)
{
	return c->anonymous == 2 && (c->kind == CALL_ALLOC || c->kind == CALL_FREE);
}

/* Steps through one call; inlined_only: until it comes to the library. false: it is wrong, or the program has ended. */
static bool step_call(bool inlined_only)
{
	const struct call call = victim.board->call;
	uint64_t outside = 0;
	const char *what = NULL;
	enum step s;

	totals->calls++;
	while (!what && (s = victim_step(&victim)) < STEP_OVER) {
		if (s == STEP_INSIDE) {
			bool inlined = victim_inlined(&victim);
			uintptr_t at = inlined ? victim.at - victim.board->inlined
					       : victim.at - victim.text + victim.text_from;

			if (inlined_only && !inlined)
				return true;
			outside = 0;
			totals->inside++;
			totals->inlined += inlined;
			if (at < TEXT_MOST)
				(inlined ? totals->inlined_seen : totals->seen)[at / 8] |= (uint8_t)(1u << at % 8);
		} else if (++outside > OUTSIDE_ALL && outside % OUTSIDE_EVERY) {
			continue;
		}
		/* of our CPU time: a machine that is busy with others is none of the recovery's faults; it never sleeps
		 */
		if (totals->points % 4096 == 0)
			setitimer(ITIMER_PROF, &(struct itimerval){ { 0, 0 }, { STUCK_SECONDS, 0 } }, NULL);
		what = point(&call);
	}
	if (what)
		tell(what);
	return !what && s == STEP_OVER;
}

/* What we change from here on is our own copy. */
static int private_view(struct pool *p)
{
	int flags = MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, prot = PROT_READ | PROT_WRITE;

	if (mmap(p->meta, p->meta_bytes, prot, flags, p->meta_file.fd, 0) == MAP_FAILED ||
	    mmap(p->heap.base, p->id->size, prot, flags, p->data_file.fd, 0) == MAP_FAILED)
		return -errno;
	p->meta_file.fd = p->data_file.fd = -1; /* growth in a copy is no business of the files' */
	return 0;
}

static int make_pool(const char *manager, bool guards)
{
	struct owner *own;
	int rc;

	setenv("MEMAPI_SHM_MANAGER", manager, 1);
	setenv("MEMAPI_DEBUG", guards ? "yes" : "no", 1);
	rc = shm_create("step", POOL_BYTES);
	if (rc || !mem_shm_ready(&own))
		return rc ? rc : -EINVAL;
	model = (struct model){ .p = mem_shm_pools, .shards = mem_shm_shards };
	for (unsigned i = 0; rc == 0 && i < REPAIRERS; i++)
		for (unsigned k = 0; rc == 0 && k < model.shards; k++) {
			rc = slot_claim(&model.p[k], false, &repairer[i][k]);
			repairer[i][k].home = k ? &repairer[i][0] : NULL;
		}
	for (unsigned k = 0; rc == 0 && k < model.shards; k++)
		rc = private_view(&model.p[k]);
	return rc;
}

/* In a process of its own. kind: 1: with guards; 3: its attaching is stepped, too. Exit status 0, 1: wrong, 2: cannot
 * be run. */
static int pass(const char *manager, uint64_t seed, unsigned kind)
{
	struct call call;
	char calls[12];
	bool go_on = true;
	int rc;

	dice = seed;
	rc = make_pool(manager, kind == 1);
	if (rc == 0 && mprotect((void *)((uintptr_t)__executable_start & ~4095ull),
				(size_t)(etext - __executable_start) + 4096, PROT_READ | PROT_WRITE | PROT_EXEC) == -1)
		rc = -errno;
	if (rc) {
		fprintf(stderr, "step: %s: %s\n", manager, memapi_error());
		return 2;
	}
	sigaction(SIGTRAP, &(struct sigaction){ .sa_sigaction = on_trap, .sa_flags = SA_SIGINFO | SA_NODEFER }, NULL);
	sigaction(SIGSEGV, &(struct sigaction){ .sa_handler = on_death_of_ours }, NULL);
	sigaction(SIGBUS, &(struct sigaction){ .sa_handler = on_death_of_ours }, NULL);
	sigaction(SIGPROF, &(struct sigaction){ .sa_handler = on_death_of_ours }, NULL);
	snprintf(calls, sizeof calls, "%d", CALLS_A_PASS);
	if (!board_make(&victim) || !victim_start(&victim, program, "step", seed, calls, true)) {
		fprintf(stderr, "step: the program cannot be stepped: is ptrace() allowed here?\n");
		return 2;
	}
	model.victim = victim.pid;
	while (go_on && totals->points < wanted) {
		call = victim.board->call;
		if (call.kind == CALL_ATTACH ? kind == 3 : step_pick(&dice, every) == 0)
			go_on = step_call(false);
		else if (through_header(&call)) /* few instructions: each of these calls */
			go_on = step_call(true);
		go_on = go_on && victim_next(&victim);
		if (!go_on)
			break;
		drop_copies();
		look_made(&model, &call, victim.board->got);
		if (victim.board->wrong[0]) {
			tell(victim.board->wrong);
			break;
		}
	}
	if (!totals->wrong[0] && !go_on && call.kind != CALL_END)
		tell(victim.board->wrong[0] ? victim.board->wrong : "the program ended before its end");
	victim_kill(&victim);
	totals->passes++;
	return totals->wrong[0] != 0;
}

/* ---- the run ---- */

static void write_addresses(const char *file)
{
	FILE *f = fopen(file, "we");

	for (size_t i = 0; f && i < TEXT_MOST; i++)
		if (totals->seen[i / 8] >> i % 8 & 1)
			fprintf(f, "%zx\n", i);
	if (!f || fclose(f))
		fprintf(stderr, "step: %s: %s\n", file, strerror(errno));
}

static int run_passes(const char *manager, uint64_t seed)
{
	for (unsigned i = 0; totals->points < wanted; i++) {
		const char *registry = registry_make();
		int status;
		pid_t pid;

		if (!registry)
			return 2;
		setenv("MEMAPI_REGISTRY", registry, 1);
		pid = fork();
		if (pid == 0)
			_exit(pass(manager, seed + i, i % KINDS_OF_PASSES));
		if (pid == -1 || waitpid(pid, &status, 0) != pid)
			return 2;
		registry_remove(registry);
		if (totals->wrong[0] || !WIFEXITED(status) || WEXITSTATUS(status)) {
			fprintf(stderr, "%s, seed %llu: %s\n", manager, (unsigned long long)(seed + i),
				totals->wrong[0] ? totals->wrong : "the recovery dies");
			return WIFEXITED(status) && WEXITSTATUS(status) == 2 ? 2 : 1;
		}
	}
	return 0;
}

int main(int argc, char **argv)
{
	uint64_t seed = argc > 3 ? strtoull(argv[3], NULL, 10) : 1;
	struct timespec from, to;
	double seconds;
	ssize_t n;
	int rc;

	n = readlink("/proc/self/exe", program, sizeof program - 32);
	snprintf(program + (n > 0 ? n : 0), 32, "_victim");
	wanted = argc > 2 ? strtoull(argv[2], NULL, 10) : 0;
	totals = mmap(NULL, sizeof *totals, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	every = argc > 4 ? strtoull(argv[4], NULL, 10) : 1;
	if (!wanted || !every || totals == MAP_FAILED) {
		fprintf(stderr, "usage: step MANAGER POINTS [SEED [EVERY [ADDRESSES]]]\n");
		return 2;
	}
	setenv("MEMAPI_CONFIG", "/dev/null", 1);
	clock_gettime(CLOCK_MONOTONIC, &from);
	rc = run_passes(argv[1], seed);
	clock_gettime(CLOCK_MONOTONIC, &to);
	seconds = (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9;
	printf("%s: %llu points (%llu in libmemapi.so or compiled into the program, %u distinct instructions of it, %u of them in the last tenth only, and %llu points at %u of what is compiled in) in %llu calls, %llu passes from seed %llu; "
	       "%llu take-overs, %llu rollbacks, %llu by waiting; %llu repairs killed at %u distinct instructions; "
	       "%llu reclaims; %.0f s, %.0f points/s\n",
	       argv[1], (unsigned long long)totals->points, (unsigned long long)totals->inside,
	       count(totals->seen), count(totals->seen) - totals->before_end, (unsigned long long)totals->inlined,
	       count(totals->inlined_seen), (unsigned long long)totals->calls,
	       (unsigned long long)totals->passes, (unsigned long long)seed, (unsigned long long)totals->takeovers,
	       (unsigned long long)totals->rollbacks, (unsigned long long)totals->waits,
	       (unsigned long long)totals->repairs_killed, count(totals->repair_seen),
	       (unsigned long long)totals->reclaims, seconds, (double)totals->points / seconds);
	for (unsigned i = 0; getenv("STEP_KINDS") && i < CALL_KINDS; i++)
		printf("  %-20s %llu\n", kind_names[i], (unsigned long long)totals->by_kind[i]);
	if (argc > 5)
		write_addresses(argv[5]);
	return rc ? rc : totals->rollbacks == 0;
}
