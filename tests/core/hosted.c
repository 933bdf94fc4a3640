/* SPDX-License-Identifier: BSD-2-Clause */
/* Hosting without a daemon around it: adoption, draining, dropping, keep, and what becomes of what the dead left. */
#include <errno.h>
#include <memapi/memapi.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "expect.h"
#include "mem/host.h"

enum { FRAGMENTS = 100 };

static const char *manager;

static const char *self;

/* Users are other programs: a child of the host would find the pool's addresses taken, by the mapping that it
 * inherited. */
static pid_t start(const char *role, const char *pool, int out)
{
	pid_t pid = fork();

	if (pid == 0) {
		dup2(out, STDOUT_FILENO);
		execl(self, self, manager, role, pool, (char *)NULL);
		_exit(127);
	}
	return pid;
}

/* Attaches, allocates, tells, and waits for its end. */
static int use(const char *pool)
{
	if (shm_attach(pool))
		return 1;
	for (unsigned i = 0; i < FRAGMENTS; i++)
		if (!shm_malloc(100 + i))
			return 1;
	if (write(STDOUT_FILENO, "", 1) != 1)
		return 1;
	for (;;)
		pause();
}

static int tell(const char *pool)
{
	struct mem_info info;

	if (shm_attach(pool))
		return 1;
	shm_info(&info);
	return write(STDOUT_FILENO, &info.used_size, sizeof info.used_size) != sizeof info.used_size;
}

static pid_t user(const char *pool)
{
	int ready[2];
	pid_t pid;
	char byte;

	EXPECT(pipe(ready) == 0);
	pid = start("use", pool, ready[1]);
	close(ready[1]);
	EXPECT(read(ready[0], &byte, 1) == 1);
	close(ready[0]);
	return pid;
}

static void end(pid_t pid)
{
	kill(pid, SIGKILL);
	EXPECT(waitpid(pid, NULL, 0) == pid);
}

static int want(struct mem_host *h, const char *name, uint64_t size, bool keep, unsigned on_death)
{
	struct mem_host_wish wish = {
		.name = name, .manager = manager, .size = size, .keep = keep, .on_death = on_death
	};
	char why[256];

	return mem_host_want(h, &wish, why, sizeof why);
}

static unsigned count(const struct mem_host *h, const char *name, bool draining)
{
	struct mem_host_pool pool;
	unsigned n = 0;

	for (size_t i = 0; mem_host_at(h, i, &pool); i++)
		n += strcmp(pool.name, name) == 0 && pool.draining == draining;
	return n;
}

static uint64_t used_of(const char *pool)
{
	int out[2], status;
	uint64_t n;
	pid_t pid;

	EXPECT(pipe(out) == 0);
	pid = start("tell", pool, out[1]);
	EXPECT(waitpid(pid, &status, 0) == pid && status == 0);
	EXPECT(read(out[0], &n, sizeof n) == sizeof n);
	close(out[0]);
	close(out[1]);
	return n;
}

static void what_the_dead_left(struct mem_host *h)
{
	pid_t keeper, reclaimed;

	EXPECT(want(h, "kept", 4 << 20, false, 0) == 0);
	EXPECT(want(h, "reclaimed", 4 << 20, false, 1) == 0);
	keeper = user("kept");
	reclaimed = user("reclaimed");
	mem_host_reap(h, NULL);
	EXPECT(used_of("reclaimed") > 0);	/* of the living nothing goes */
	end(keeper);
	end(reclaimed);
	EXPECT(mem_host_reap(h, NULL) >= 2);
	EXPECT(used_of("kept") > 0);
	EXPECT(used_of("reclaimed") == 0);
}

static pid_t no_child(void (*work)(void *), void *arg)
{
	(void)work, (void)arg;
	return -1;
}

static void what_an_operator_lets_go(struct mem_host *h)
{
	struct mem_release *r;
	uint64_t freed;
	pid_t pid;

	EXPECT(want(h, "released", 4 << 20, false, 0) == 0);
	pid = user("released");
	end(pid);
	mem_host_reap(h, NULL);
	EXPECT(used_of("released") > 0);
	EXPECT(mem_release_begin(h, "nobody", 0, &r) == -ENOENT);
	EXPECT(mem_release_begin(h, "released", 0, &r) == 0 && mem_release_step(h, r, no_child, &freed) == -EAGAIN);
	mem_release_end(r);
	EXPECT(mem_release_begin(h, "released", 0, &r) == 0 && mem_release_step(h, r, NULL, &freed) == 0);
	EXPECT(freed >= FRAGMENTS);
	mem_release_end(r);
	EXPECT(used_of("released") == 0);
}

/* A child that takes what time it wants: until its parent lets it go on. */
static int hold[2];

static pid_t slow_child(void (*work)(void *), void *arg)
{
	char byte;
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	close(hold[1]);
	if (read(hold[0], &byte, 1) == 0)
		work(arg);
	_exit(0);
}

static long slept(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return u.ru_nvcsw;
}

/* Its children hang, and the host neither waits for them nor looks at the clock for them. */
static void who_is_slow_is_not_waited_for(struct mem_host *h)
{
	struct mem_release *r;
	uint64_t freed;
	long before;
	pid_t pid;

	EXPECT(want(h, "slow", 4 << 20, false, 0) == 0);
	pid = user("slow");
	end(pid);
	EXPECT(pipe(hold) == 0);
	before = slept();
	EXPECT(mem_host_reap(h, slow_child) >= 1);
	EXPECT(mem_release_begin(h, "slow", 0, &r) == 0 && mem_release_step(h, r, slow_child, &freed) == -EBUSY);
	EXPECT(slept() - before < 20);
	close(hold[1]);
	while (mem_release_step(h, r, slow_child, &freed) == -EBUSY)
		usleep(1000);
	while (mem_release_step(h, r, slow_child, &freed) == -EINPROGRESS)
		usleep(1000);
	EXPECT(mem_release_step(h, r, slow_child, &freed) == 0 && freed >= FRAGMENTS && used_of("slow") == 0);
	mem_release_end(r);
	close(hold[0]);
}

/* Another daemon, after a kill -9 of the first: it finds both incarnations, and leaves them where they are. */
static int adopt(const char *pool)
{
	struct mem_host *h;

	EXPECT(mem_host_open(&h) == 0);
	EXPECT(want(h, pool, 32 << 20, false, 0) == 0);
	EXPECT(count(h, pool, false) == 1 && count(h, pool, true) == 1);
	_exit(0);
}

static bool ended_well(pid_t pid)
{
	int status;

	return waitpid(pid, &status, 0) == pid && status == 0;
}

static void life(void)
{
	struct mem_host *h;
	pid_t pid;

	EXPECT(mem_host_open(&h) == 0);
	EXPECT(want(h, "a", 16 << 20, false, 0) == 0 && count(h, "a", false) == 1);
	EXPECT(want(h, "a", 16 << 20, false, 0) == 0 && count(h, "a", false) == 1);
	EXPECT(want(h, "a", 24 << 20, false, 0) == 0 && count(h, "a", false) == 1);	/* unused: made anew */
	EXPECT(count(h, "a", true) == 0);
	pid = user("a");
	EXPECT(want(h, "a", 32 << 20, false, 0) == 0);
	EXPECT(count(h, "a", false) == 1 && count(h, "a", true) == 1);
	EXPECT(ended_well(start("adopt", "a", STDOUT_FILENO)));
	EXPECT(mem_host_drop(h, "nobody", false) == -ENOENT);
	end(pid);
	mem_host_reap(h, NULL);
	EXPECT(count(h, "a", true) == 0 && count(h, "a", false) == 1);
	EXPECT(want(h, "b", 16 << 20, true, 0) == 0);
	EXPECT(want(h, "b", 32 << 20, true, 0) == 0 && count(h, "b", false) == 1);	/* keep holds the change back */
	pid = user("b");
	EXPECT(mem_host_drop(h, "b", false) == -EBUSY);
	EXPECT(mem_host_drop(h, "b", true) == 0 && count(h, "b", true) == 1);
	end(pid);
	mem_host_reap(h, NULL);
	EXPECT(count(h, "b", true) == 0);
	what_the_dead_left(h);
	what_an_operator_lets_go(h);
	who_is_slow_is_not_waited_for(h);
	mem_host_close(h);
}

int main(int argc, char **argv)
{
	if (argc < 2) {
		fprintf(stderr, "usage: hosted MANAGER [use|tell|adopt POOL]\n");
		return 2;
	}
	self = argv[0];
	manager = argv[1];
	if (argc > 3)
		return strcmp(argv[2], "use") == 0 ? use(argv[3]) : strcmp(argv[2], "tell") == 0 ? tell(argv[3]) : adopt(argv[3]);
	life();
	puts("hosted: pools came, drained and went as they were told");
	return 0;
}
