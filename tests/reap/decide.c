/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Who is taken for dead: every kind of end, and every kind of life that looks like one.
 *
 * Each case is a function; children are real processes that are stopped, execute something else, go into the
 * background, close what is not theirs, or die. What this kernel or user may not do is done to the slot's words
 * instead, and said.
 *
 * Usage: decide MANAGER [closed|sleep|needy|full|refused]. Exit status 0, or 1 with the line.
 */
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/futex.h>
#include <memapi/observe.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "expect.h"
#include "mem/meta/lock.h"
#include "mem/meta/process.h"
#include "mem/meta/slot.h"
#include "mem/pool.h"

static const char *self_path, *manager;

/* What the library finds as open(): a /proc that is not there, or hides it. */
static bool no_proc;

__attribute__((visibility("default"))) int open(const char *path, int flags, ...)
{
	va_list args;
	int mode;

	va_start(args, flags);
	mode = va_arg(args, int);
	va_end(args);
	if (no_proc && strncmp(path, "/proc/", 6) == 0) {
		errno = ENOENT;
		return -1;
	}
	return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

/* ---- children that tell their slot, and wait for what comes ---- */

struct child { pid_t pid; int to, from; uint32_t slot; };

static void nap(long ms) { nanosleep(&(struct timespec){ ms / 1000, ms % 1000 * 1000000 }, NULL); }

static struct owner *own(void)
{
	struct owner *o;

	EXPECT(mem_shm_ready(&o));
	return o;
}

/* `life` begins in the child once its slot is told; it may read a byte from `gate` when the parent lets it go on. */
static struct child start(void (*life)(int gate))
{
	struct child c;
	int up[2], down[2];

	EXPECT(pipe(up) == 0 && pipe(down) == 0);
	c.pid = fork();
	EXPECT(c.pid >= 0);
	if (c.pid == 0) {
		alarm(30);
		EXPECT(shm_malloc(64));
		EXPECT(write(up[1], &own()->number, sizeof c.slot) == sizeof c.slot);
		life(down[0]);
		_exit(0);
	}
	EXPECT(read(up[0], &c.slot, sizeof c.slot) == sizeof c.slot);
	close(up[0]), close(up[1]), close(down[0]);
	c.to = down[1];
	return c;
}

static void let_go_on(const struct child *c) { EXPECT(write(c->to, "", 1) == 1); }

static int status_of(struct child *c)
{
	int status;

	EXPECT(waitpid(c->pid, &status, 0) == c->pid);
	close(c->to);
	return status;
}

static void wait_at(int gate)
{
	char c;

	EXPECT(read(gate, &c, 1) == 1);
}

static void kill_it(struct child *c)
{
	kill(c->pid, SIGKILL);
	EXPECT(status_of(c) == SIGKILL);
}

static void hold_the_lock(int gate)
{
	shm_lock();
	wait_at(gate);
	shm_unlock();
}

static unsigned state_of(uint32_t slot) { return SLOT_STATE(atomic_load(&pool_slot(&mem_shm_pool, slot)->state)); }

static void until_locked(void)
{
	for (unsigned i = 0; i < 5000 && !(uint32_t)atomic_load(&mem_shm_pool.live->lock); i++)
		nap(1);
}

/* Does another process get an allocation within so many ms? */
static bool serves(unsigned ms)
{
	pid_t pid = fork();
	int status;

	if (pid == 0)
		_exit(shm_malloc(16) ? 0 : 1);
	for (unsigned i = 0; i < ms; i += 5) {
		if (waitpid(pid, &status, WNOHANG) == pid)
			return status == 0;
		nap(5);
	}
	kill(pid, SIGKILL);
	EXPECT(waitpid(pid, &status, 0) == pid);
	return false;
}

/* ---- lives ---- */

static void a_stopped_one_lives(void)
{
	struct child c = start(hold_the_lock);
	unsigned state;

	until_locked();
	kill(c.pid, SIGSTOP);
	EXPECT(waitpid(c.pid, (int *)&state, WUNTRACED) == c.pid);
	EXPECT(!slot_gone(&mem_shm_pool, c.slot));
	slot_reap(&mem_shm_pool, own());
	EXPECT(state_of(c.slot) == SLOT_LIVE);
	EXPECT(!serves(60));		/* the lock is its owner's, however long that is stopped */
	kill(c.pid, SIGCONT);
	let_go_on(&c);
	EXPECT(status_of(&c) == 0 && serves(5000));
}

static void exec_at(int gate)
{
	shm_lock();
	wait_at(gate);
	execl(self_path, self_path, manager, "sleep", (char *)NULL);
}

static void one_that_executes_is_dead(void)
{
	struct child c = start(exec_at);
	uint64_t takeovers = atomic_load(&mem_shm_pool.live->takeovers);

	until_locked();
	EXPECT(!slot_gone(&mem_shm_pool, c.slot));
	let_go_on(&c);
	EXPECT(serves(5000));		/* as soon as the kernel has done the exec */
	EXPECT(kill(c.pid, 0) == 0);	/* it is there, with its pid and its start time */
	EXPECT(process_fate(c.pid, pool_slot(&mem_shm_pool, c.slot)->start_time, process_self()->pid_namespace) ==
	       PROCESS_LIVES);
	EXPECT(slot_gone(&mem_shm_pool, c.slot) && atomic_load(&mem_shm_pool.live->takeovers) > takeovers);
	slot_reap(&mem_shm_pool, own());
	EXPECT(state_of(c.slot) == SLOT_DEAD);	/* its fragment stays, and names it */
	kill_it(&c);
}

static struct mem_lock *turn;
static void *volatile seen;

/* Twice, with setsid between, as the books have it; the one in the middle used the pool and left without a word. */
static void daemonise(int gate)
{
	if (setsid() == -1)
		_exit(1);
	if (fork())
		_exit(0);		/* its slot: the kernel says OWNER_DIED */
	wait_at(gate);
	EXPECT(own()->slot->tid == getpid());
	seen = shm_malloc(500);
	EXPECT(seen && mem_lock_acquire(turn) == 0);
	EXPECT(mem_lock_release(turn) == 0);
	EXPECT(shm_root_set("daemonised", seen) == 0);
	_exit(0);
}

static void one_in_the_background_lives_on(void)
{
	struct child c = start(daemonise);
	int to = dup(c.to);

	EXPECT(status_of(&c) == 0);
	EXPECT(slot_gone(&mem_shm_pool, c.slot));
	slot_reap(&mem_shm_pool, own());
	EXPECT(write(to, "", 1) == 1);
	close(to);
	for (unsigned i = 0; i < 2000 && !shm_root_get("daemonised"); i++)
		nap(5);
	EXPECT(shm_usable(shm_root_get("daemonised")) >= 500);
	shm_free(shm_root_get("daemonised"));
	EXPECT(shm_root_set("daemonised", NULL) == 0);
}

/* ---- the lock ---- */

static uint64_t state_of_pools(void)
{
	uint64_t worst = POOL_LIVE;

	for (unsigned k = 0; k < mem_shm_shards; k++)
		if (atomic_load(&mem_shm_pools[k].live->state) != POOL_LIVE)
			worst = atomic_load(&mem_shm_pools[k].live->state);
	return worst;
}

static void *end_with_the_lock(void *arg)
{
	shm_lock();
	return arg;
}

static void *claim_and_use(void *arg)
{
	void *p = shm_malloc(40);

	shm_free(p);
	return p ? arg : NULL;
}

/* The pool's lock names the one that ended, whose slot nobody may have before it does not. */
static void a_thread_that_ends_with_the_lock_is_dead(void)
{
	static char done;
	uint64_t takeovers = atomic_load(&mem_shm_pool.live->takeovers);
	pthread_t thread;
	void *got;

	EXPECT(pthread_create(&thread, NULL, end_with_the_lock, NULL) == 0 && pthread_join(thread, NULL) == 0);
	slot_reap(&mem_shm_pool, own());
	for (unsigned i = 0; i < 3; i++) {
		EXPECT(pthread_create(&thread, NULL, claim_and_use, &done) == 0);
		EXPECT(pthread_join(thread, &got) == 0 && got == &done);
	}
	EXPECT(serves(5000) && state_of_pools() == POOL_LIVE);
	EXPECT(atomic_load(&mem_shm_pool.live->takeovers) == takeovers + 1);
}

static void exit_with_the_lock(int gate)
{
	shm_lock();
	wait_at(gate);
	exit(0);
}

static void a_process_that_exits_with_the_lock_is_dead(void)
{
	struct child c = start(exit_with_the_lock);

	let_go_on(&c);
	EXPECT(status_of(&c) == 0);
	slot_reap(&mem_shm_pool, own());
	EXPECT(serves(5000) && serves(5000) && state_of_pools() == POOL_LIVE);
}

/* What an earlier version, or a wild store, has left: it left in order, and the lock names it. */
static void who_left_keeps_no_lock(void)
{
	struct child c = start(hold_the_lock);
	struct meta_slot *s = pool_slot(&mem_shm_pool, c.slot);

	until_locked();
	kill_it(&c);
	atomic_store(&s->state, (atomic_load(&s->state) & ~0xffull) | SLOT_LEFT);
	slot_reap(&mem_shm_pool, &(struct owner){ 0 });	/* it has no slot, and cannot repair */
	EXPECT(state_of(c.slot) == SLOT_LEFT && LOCK_SLOT(atomic_load(&mem_shm_pool.live->lock)) == c.slot + 1);
	slot_reap(&mem_shm_pool, own());
	EXPECT(!(uint32_t)atomic_load(&mem_shm_pool.live->lock));
	EXPECT(serves(5000) && state_of_pools() == POOL_LIVE);
}

/* A wild store: the lock names a slot that the pool does not have yet, or never will. */
static void locked_by_nobody(int gate)
{
	uint64_t used = atomic_load(&mem_shm_pool.live->slots_used);
	static const uint32_t beyond[] = { 1, 5, 0xfff };

	(void)gate;
	for (unsigned i = 0; i < 3; i++) {
		uint64_t slot = i < 2 ? used + beyond[i] : beyond[i];

		atomic_store(&mem_shm_pool.live->state, POOL_LIVE);
		atomic_store(&mem_shm_pool.live->lock, slot << 1);
		if (i % 2)
			slot_reap(&mem_shm_pool, own());
		shm_lock();
		shm_unlock();
		EXPECT(!(uint32_t)atomic_load(&mem_shm_pool.live->lock));
		EXPECT(atomic_load(&mem_shm_pool.live->state) == POOL_DAMAGED);
		EXPECT(strstr(mem_shm_pool.live->reason, "does not have"));
	}
	atomic_store(&mem_shm_pool.live->state, POOL_LIVE);
}

static void a_lock_of_no_slot_is_damage(void)
{
	struct child c = start(locked_by_nobody);

	EXPECT(status_of(&c) == 0 && serves(5000));
}

/* ---- descriptors that are not the library's any more ---- */

static void *one_more(void *arg)
{
	(void)arg;
	return shm_malloc(100);
}

enum { FOREIGN = 400 };

/* Files with every number that the library had, and some more; true: nobody has written to any of them. */
static void open_foreign(int fds[FOREIGN])
{
	for (unsigned i = 0; i < FOREIGN; i++) {
		char name[] = "/tmp/decide-XXXXXX";

		fds[i] = mkstemp(name);
		EXPECT(fds[i] > 0 && unlink(name) == 0);
	}
}

static bool untouched(const int fds[FOREIGN])
{
	struct stat st;

	for (unsigned i = 0; i < FOREIGN; i++)
		if (fstat(fds[i], &st) || st.st_size || st.st_blocks)
			return false;
	return true;
}

static void close_all_and_grow(int gate)
{
	static int fds[FOREIGN];
	static void *held[100000];
	pthread_t thread;
	unsigned n = 0;
	void *p;

	wait_at(gate);
	EXPECT(pkg_malloc(10) && close_range(3, ~0U, 0) == 0);
	open_foreign(fds);
	for (unsigned i = 0; i < 8; i++) {		/* slots with memory of their own */
		EXPECT(pthread_create(&thread, NULL, one_more, NULL) == 0);
		EXPECT(pthread_join(thread, &p) == 0 && p);
		shm_free(p);
	}
	while (n < 100000 && (held[n] = shm_malloc(200)))	/* all of DATA, and records by the step */
		memset(held[n++], 7, 200);
	EXPECT(n > 10000);
	while (n)
		shm_free(held[--n]);
	for (n = 0; n < 20000; n++)		/* the private heap: its ledger is a file, too */
		EXPECT((held[n] = pkg_malloc(300)));
	while (n)
		pkg_free(held[--n]);
	EXPECT(untouched(fds));
}

static void closed_descriptors_stop_nobody(void)
{
	struct child c = start(close_all_and_grow);

	let_go_on(&c);
	EXPECT(status_of(&c) == 0 && serves(5000));
	EXPECT(shm_malloc(1 << 20));		/* it is one piece again, and what the child put behind it is there */
}

/* Started with 0, 1 and 2 closed: what it prints must not go into META. */
static int closed(void)
{
	void *p;

	if (!(p = shm_malloc(100)) || !pkg_malloc(100))
		return 2;
	for (int fd = 0; fd < 3; fd++)
		if (write(fd, "into the blue", 13) != -1 || errno != EBADF)
			return 3 + fd;
	shm_free(p);
	return 0;
}

static void nobody_prints_into_a_pool(void)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		close(0), close(1), close(2);
		execl(self_path, self_path, manager, "closed", (char *)NULL);
		_exit(127);
	}
	EXPECT(waitpid(pid, &status, 0) == pid && status == 0);
}

/* ---- pids ---- */

static void forget_the_life_mutex(struct meta_slot *s) { memset(&s->life, 0, sizeof s->life); }

static uint64_t with_pid(uint64_t state, pid_t pid) { return (state & ~(0x3fffffull << 32)) | (uint64_t)pid << 32; }

static void a_given_on_pid_is_no_life(void)
{
	struct child c = start(wait_at);
	struct meta_slot *s = pool_slot(&mem_shm_pool, c.slot);
	uint64_t state;

	kill_it(&c);
	forget_the_life_mutex(s);		/* the second proof alone */
	state = atomic_load(&s->state);
	atomic_store(&s->state, with_pid(state, getpid()));
	EXPECT(slot_gone(&mem_shm_pool, c.slot));
	s->start_time = process_self()->start_time;
	EXPECT(!slot_gone(&mem_shm_pool, c.slot));	/* it would be us */
	s->start_time--;
	atomic_store(&s->state, state);
	EXPECT(slot_gone(&mem_shm_pool, c.slot));
	slot_reap(&mem_shm_pool, own());
}

static bool next_pid(pid_t pid)
{
	char text[16];
	int fd = open("/proc/sys/kernel/ns_last_pid", O_WRONLY), len = snprintf(text, sizeof text, "%d", pid - 1);
	bool set = fd != -1 && write(fd, text, (size_t)len) == len;

	if (fd != -1)
		close(fd);
	return set;
}

/* The same with the kernel's help. Start times are counted in ticks: a life of one tick would look the same. */
static void a_given_on_pid_for_real(void)
{
	struct child c = start(wait_at), other = { 0 };

	nap(30);
	kill_it(&c);
	forget_the_life_mutex(pool_slot(&mem_shm_pool, c.slot));
	for (unsigned i = 0; i < 200; i++) {
		if (!next_pid(c.pid)) {
			puts("decide: the next pid cannot be chosen here; simulated only");
			return;
		}
		other.pid = fork();
		if (other.pid == 0)
			pause();
		if (other.pid == c.pid)
			break;
		kill(other.pid, SIGKILL), waitpid(other.pid, NULL, 0);
	}
	if (other.pid != c.pid) {
		puts("decide: pid taken by others 200 times; simulated only");
		return;
	}
	EXPECT(kill(c.pid, 0) == 0 && slot_gone(&mem_shm_pool, c.slot));
	kill(other.pid, SIGKILL), waitpid(other.pid, NULL, 0);
}

/* A user in another pid namespace, whose pid is nobody's or another's here: only the life mutex judges. */
static void a_foreign_namespace_is_not_judged(void)
{
	struct meta_slot *s;
	struct child c = start(wait_at);
	uint64_t space;

	s = pool_slot(&mem_shm_pool, c.slot);
	space = s->pid_namespace;
	s->pid_namespace = space + 1;
	atomic_store(&s->state, with_pid(atomic_load(&s->state), 0x3ffff0));	/* ESRCH */
	EXPECT(!slot_gone(&mem_shm_pool, c.slot));
	slot_reap(&mem_shm_pool, own());
	EXPECT(state_of(c.slot) == SLOT_LIVE);
	kill_it(&c);
	EXPECT(slot_gone(&mem_shm_pool, c.slot));	/* and that is the kernel's word */
	slot_reap(&mem_shm_pool, own());
}

static void a_foreign_namespace_for_real(void)
{
	int up[2], from_inner[2], status;
	uint32_t slot;
	pid_t middle, inner;

	EXPECT(pipe(up) == 0 && pipe(from_inner) == 0);
	middle = fork();
	if (middle == 0) {
		if (unshare(CLONE_NEWPID))
			_exit(9);
		inner = fork();			/* pid 1 there */
		if (inner == 0) {
			EXPECT(getpid() == 1 && shm_malloc(64));
			shm_lock();
			EXPECT(write(from_inner[1], &own()->number, sizeof slot) == sizeof slot);
			pause();
		}
		EXPECT(write(up[1], &inner, sizeof inner) == sizeof inner);
		waitpid(inner, &status, 0);
		_exit(0);
	}
	close(up[1]);
	if (read(up[0], &inner, sizeof inner) != sizeof inner) {
		puts("decide: no pid namespaces here; simulated only");
		EXPECT(waitpid(middle, &status, 0) == middle);
		return;
	}
	close(from_inner[1]);
	EXPECT(read(from_inner[0], &slot, sizeof slot) == sizeof slot);
	EXPECT(SLOT_PID(atomic_load(&pool_slot(&mem_shm_pool, slot)->state)) == 1);
	EXPECT(!slot_gone(&mem_shm_pool, slot) && !serves(40));
	kill(inner, SIGKILL);
	EXPECT(waitpid(middle, &status, 0) == middle && status == 0);
	EXPECT(serves(5000) && slot_gone(&mem_shm_pool, slot));
	close(up[0]), close(from_inner[0]);
}

/* /proc tells nothing, of us or of others: no start time is no proof of anything. */
static void unread(int gate)
{
	no_proc = true;
	*(volatile uint64_t *)(uintptr_t)epoch_word = 0;	/* as a child of a fork: it reads itself anew */
	EXPECT(shm_malloc(64));
	EXPECT(own()->slot->start_time == 0);
	EXPECT(shm_root_set("unread", pool_slot(&mem_shm_pool, own()->number)) == 0);
	wait_at(gate);
	shm_lock();
	pause();
}

static void no_start_time_is_no_proof(void)
{
	struct child c = start(unread);
	struct meta_slot *s;
	uint64_t start_time = process_start_time(c.pid), space = process_self()->pid_namespace;
	uint32_t slot;

	no_proc = true;
	EXPECT(process_fate(c.pid, start_time, space) == PROCESS_NOT_KNOWN);
	EXPECT(process_fate(0x3ffff0, start_time, space) == PROCESS_DEAD);	/* ESRCH is one, with or without it */
	EXPECT(process_fate(c.pid, start_time, space + 1) == PROCESS_NOT_KNOWN);
	no_proc = false;
	EXPECT(process_fate(c.pid, start_time, space) == PROCESS_LIVES);
	EXPECT(process_fate(c.pid, start_time + 1, space) == PROCESS_DEAD);
	EXPECT(process_fate(c.pid, 0, space) == PROCESS_NOT_KNOWN);
	EXPECT(process_fate(0, start_time, space) == PROCESS_NOT_KNOWN);
	for (unsigned i = 0; i < 2000 && !shm_root_get("unread"); i++)
		nap(5);
	EXPECT((s = shm_root_get("unread")));
	slot = (uint32_t)(((unsigned char *)s - mem_shm_pool.meta - META_SLOTS) / SLOT_BYTES);
	EXPECT(!slot_gone(&mem_shm_pool, slot));
	slot_reap(&mem_shm_pool, own());
	EXPECT(state_of(slot) == SLOT_LIVE);
	let_go_on(&c);
	until_locked();
	EXPECT(!serves(40));
	kill_it(&c);
	EXPECT(serves(5000) && slot_gone(&mem_shm_pool, slot));
	EXPECT(shm_root_set("unread", NULL) == 0);
}

/* ---- daemons ---- */

/*
 * A daemon's slot has no life mutex. One that was killed while it held the lock, and whose supervisor does not ask for
 * it, has its pid and its start time still: it must not hold the lock for ever.
 */
static void a_killed_daemon_that_nobody_buried_is_dead(void)
{
	static struct owner o;
	int up[2], status;
	char byte;
	pid_t pid;

	EXPECT(pipe(up) == 0);
	pid = fork();
	if (pid == 0) {
		EXPECT(slot_claim(&mem_shm_pool, true, &o) == 0);
		lock_take(&mem_shm_pool, &o);
		EXPECT(write(up[1], "", 1) == 1);
		pause();
	}
	EXPECT(read(up[0], &byte, 1) == 1);
	EXPECT(!serves(40));
	kill(pid, SIGKILL);
	EXPECT(serves(5000));
	EXPECT(kill(pid, 0) == 0);		/* still there, to the kernel */
	EXPECT(waitpid(pid, &status, 0) == pid);
	close(up[0]), close(up[1]);
}

/* ---- who needs memory reaps ---- */

static void *fill_with(size_t size)
{
	void *last = NULL, *p;

	while ((p = shm_malloc(size))) {
		*(void **)p = last;
		last = p;
	}
	return last;
}

static void hoard(int gate)
{
	(void)fill_with(4000);
	wait_at(gate);
	shm_lock();
	pause();
}

static uint64_t failures(void)
{
	uint64_t sum = 0;

	for (unsigned k = 0; k < mem_shm_shards; k++)
		sum += atomic_load(&mem_shm_pools[k].live->failures);
	return sum;
}

/* on_death = reclaim and no daemon: the request that finds no memory takes what the dead one had, and does not fail. */
static int needy(void)
{
	struct child c;
	uint64_t before;

	EXPECT(shm_create("needy", 16 << 20) == 0);
	for (unsigned k = 0; k < mem_shm_shards; k++)
		mem_shm_pools[k].id->on_death = ON_DEATH_RECLAIM;
	c = start(hoard);
	for (unsigned i = 0; i < 10000 && !failures(); i++)
		nap(1);				/* it has all there is */
	let_go_on(&c);
	until_locked();
	kill_it(&c);
	before = failures();
	EXPECT(shm_malloc(1 << 20) && failures() == before);
	EXPECT(state_of(c.slot) == SLOT_FREE && atomic_load(&mem_shm_pool.live->reaped) == 1);
	EXPECT(atomic_load(&mem_shm_pool.live->recoveries) == 1);
	(void)fill_with(4000);			/* and a pool that is full of what the living have is full */
	EXPECT(!shm_malloc(1 << 20) && failures() > before);
	return 0;
}

/* Another program, this one by its other roles, which comes to a good end. */
static void run_as(const char *role)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		execl(self_path, self_path, manager, role, (char *)NULL);
		_exit(127);
	}
	EXPECT(waitpid(pid, &status, 0) == pid && status == 0);
}

static void a_request_in_need_reaps(void)
{ run_as("needy"); }

/* ---- a pool that has no slot left ---- */

static int refused(void)
{
	for (unsigned i = 0; i < 2; i++) {
		EXPECT(shm_attach("full") == -EAGAIN && strstr(memapi_error(), "no slot"));
		EXPECT(!mem_shm_pool.id);
	}
	return 0;
}

static int full(void)
{
	static struct owner o[SLOTS_MAX];
	unsigned n = 0;

	EXPECT(shm_create("full", 16 << 20) == 0);
	while (slot_claim(&mem_shm_pool, true, &o[n]) == 0)
		n++;
	EXPECT(n > SLOTS_MAX / 2);
	run_as("refused");
	while (n)
		slot_leave(&mem_shm_pool, &o[--n]);
	return 0;
}

static void who_gets_no_slot_has_no_pool(void)
{ run_as("full"); }

int main(int argc, char **argv)
{
	if (argc < 2)
		return 2;
	self_path = argv[0];
	manager = argv[1];
	setenv("MEMAPI_MANAGER", manager, 1);
	setenv("MEMAPI_TRACK", "sites", 1);
	setenv("MEMAPI_SHM_SIZE", "16M", 1);
	if (argc > 2 && strcmp(argv[2], "sleep") == 0) {
		sleep(20);
		return 0;
	}
	alarm(60);
	if (argc > 2)
		return strcmp(argv[2], "needy") == 0	 ? needy()
		       : strcmp(argv[2], "full") == 0	 ? full()
		       : strcmp(argv[2], "refused") == 0 ? refused()
							 : closed();
	EXPECT((turn = shm_mallocxz(sizeof *turn)));
	a_stopped_one_lives();
	one_that_executes_is_dead();
	one_in_the_background_lives_on();
	a_thread_that_ends_with_the_lock_is_dead();
	a_process_that_exits_with_the_lock_is_dead();
	who_left_keeps_no_lock();
	a_lock_of_no_slot_is_damage();
	closed_descriptors_stop_nobody();
	nobody_prints_into_a_pool();
	a_given_on_pid_is_no_life();
	a_given_on_pid_for_real();
	a_foreign_namespace_is_not_judged();
	a_foreign_namespace_for_real();
	no_start_time_is_no_proof();
	a_killed_daemon_that_nobody_buried_is_dead();
	a_request_in_need_reaps();
	who_gets_no_slot_has_no_pool();
	puts("decide: the dead are dead, and nobody else");
	return 0;
}
