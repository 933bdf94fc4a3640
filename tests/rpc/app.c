/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A program with heaps to look at. Does what its words say, in their order, says "ready PID", and waits for the end of its input.
 *
 *	pkg=N,SIZE shm=N,SIZE	that many fragments of that size
 *	sites=N			a shared fragment from each of N call sites
 *	fork			a child with 10 fragments of shared memory, which kills itself
 *	fail			a request that no pool can serve
 *	drain			a child takes the pool's memory and is killed; then a request that fails for it
 *	double			a double free
 *	grow			one shared fragment every 50 ms, for ever, instead of waiting
 *	crash			SIGSEGV instead of waiting
 *	exit			the end, in order, instead of waiting
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "memapi/memapi.h"

static void *kept;			/* so that no compiler drops an allocation */

/* Not inlined: stacks have its name. */
__attribute__((noinline)) static int many(const char *word, bool shared)
{
	char *end;
	unsigned long count = strtoul(word + 4, &end, 10), size = strtoul(end + 1, NULL, 10);

	while (count--) {
		kept = shared ? shm_malloc(size) : pkg_malloc(size);
		if (!kept)
			return 1;
	}
	return 0;
}

static int many_sites(unsigned count)
{
	struct mem_site *site = calloc(count, sizeof *site);

	for (unsigned i = 0; site && i < count; i++) {
		site[i] = (struct mem_site){ sizeof *site, i + 1, "many.c", "many", "app", NULL };
		kept = mem_shm_malloc(8, &site[i]);
		if (!kept)
			return 1;
	}
	return !site;
}

static int lose_child(void)
{
	pid_t child = fork();
	int status;

	if (!child) {
		for (int i = 0; i < 10; i++)
			kept = shm_malloc(100);
		kill(getpid(), SIGKILL);
	}
	return waitpid(child, &status, 0) != child;
}

/* A child with the pool's lock, that is killed, or stopped until it is killed. */
static int hold(int by)
{
	pid_t child;
	int status;

	kept = shm_malloc(16);
	child = fork();
	if (!child) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);	/* a stopped one would stay */
		kept = shm_malloc(100);
		shm_lock();
		raise(by);
		pause();
	}
	if (waitpid(child, &status, WUNTRACED) != child || by == SIGSTOP)
		return 0;
	return !(kept = shm_malloc(16));
}

static int drain(void)
{
	pid_t child;
	int status;

	kept = shm_malloc(16);			/* the child shares the pool that is there now */
	child = fork();
	if (!child) {
		while ((kept = shm_malloc(1000)))
			;
		kill(getpid(), SIGKILL);
	}
	return waitpid(child, &status, 0) != child || shm_malloc(100000) != NULL;
}

static void grow(void)
{
	for (;;) {
		kept = shm_malloc(100);		/* the leak */
		usleep(50000);
	}
}

static int does(const char *word)
{
	void *p;

	if (!strncmp(word, "pkg=", 4) || !strncmp(word, "shm=", 4))
		return many(word, *word == 's');
	if (!strncmp(word, "sites=", 6))
		return many_sites((unsigned)strtoul(word + 6, NULL, 10));
	if (!strcmp(word, "fork"))
		return lose_child();
	if (!strcmp(word, "hold-killed") || !strcmp(word, "hold-stopped"))
		return hold(word[5] == 'k' ? SIGKILL : SIGSTOP);
	if (!strcmp(word, "drain"))
		return drain();
	if (!strcmp(word, "fail"))
		return shm_malloc((size_t)1 << 45) != NULL;
	if (!strcmp(word, "double")) {
		p = pkg_malloc(64);
		kept = p;
		pkg_free(p);
		pkg_free(kept);
		return 0;
	}
	return 0;
}

int main(int argc, char **argv)
{
	const char *last = argv[argc - 1];

	for (int i = 1; i < argc; i++)
		if (does(argv[i])) {
			printf("cannot do %s: %s\n", argv[i], memapi_error());
			return 1;
		}
	printf("ready %d\n", (int)getpid());
	fflush(stdout);
	if (!strcmp(last, "exit"))
		return 0;
	if (!strcmp(last, "crash"))
		raise(SIGSEGV);
	if (!strcmp(last, "grow"))
		grow();
	while (getchar() != EOF)
		;
	return 0;
}
