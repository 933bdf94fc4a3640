/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A program may end anywhere: exit() from a signal handler that interrupted a call on the shared pool must come to an
 * end, whatever that call had in its hands, and leave a pool that others go on with.
 *
 * Usage: core_exits MANAGER
 */
#include "expect.h"

#include <signal.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { CHILDREN = 150, HELD = 300, WAIT_MS = 20000 };

static void on_timer(int sig)
{
	(void)sig;
	exit(0);
}

/* Small sizes by magazines, large ones with the lock, until the timer ends it. */
static _Noreturn void work(unsigned seed)
{
	struct itimerval once = { .it_value = { 0, 200 + seed * 13 } };
	void *held[HELD] = { NULL };

	shm_free(shm_malloc(10));
	signal(SIGALRM, on_timer);
	setitimer(ITIMER_REAL, &once, NULL);
	for (;;) {
		unsigned i;

		seed = seed * 1103515245 + 12345;
		i = (seed >> 8) % HELD;
		shm_free(held[i]);
		held[i] = shm_malloc(i % 4 ? 1100 + (seed >> 8) % 3000 : i);
	}
}

static bool ends(pid_t pid)
{
	const struct timespec nap = { .tv_nsec = 1000000 };
	int status;

	for (unsigned ms = 0; ms < WAIT_MS; ms++, nanosleep(&nap, NULL))
		if (waitpid(pid, &status, WNOHANG) == pid)
			return WIFEXITED(status) && WEXITSTATUS(status) == 0;
	kill(pid, SIGKILL);
	return false;
}

int main(int argc, char **argv)
{
	EXPECT(argc == 2 && shm_init_manager(argv[1]) == 0);
	for (unsigned i = 0; i < CHILDREN; i++) {
		pid_t pid = fork();
		void *ours;

		EXPECT(pid != -1);
		if (pid == 0)
			work(i);
		EXPECT(ends(pid));
		EXPECT((ours = shm_malloc(64)));
		shm_free(ours);
		shm_reap();
		shm_release_dead(0);
	}
	puts("exits: every one came to an end");
	return 0;
}
