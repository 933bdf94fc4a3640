/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a program has freed goes back to the system, and nothing else does.
 *
 * Usage: trim MANAGER [swings|locked]. Exit status 0, or 1 with the line.
 */
#include <memapi/memapi.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "expect.h"

enum { BLOCKS = 300000, KEPT_EVERY = 3000 };

static unsigned char *block[BLOCKS];

static size_t size_of(unsigned i) { return 100 + i % 7 * 50; }
static unsigned char byte_of(unsigned i) { return (unsigned char)(i / KEPT_EVERY + 1); }

/* Of the heap: META, with its ledger, is a file. */
static uint64_t resident(void)
{
	unsigned long kib = 0;
	char line[200];
	FILE *f = fopen("/proc/self/status", "re");

	EXPECT(f);
	while (!kib && fgets(line, sizeof line, f))
		(void)sscanf(line, "RssAnon: %lu", &kib);
	fclose(f);
	return (uint64_t)kib * 1024;
}

static void fill(void)
{
	for (unsigned i = 0; i < BLOCKS; i++)
		if (!block[i]) {
			EXPECT(block[i] = pkg_malloc(size_of(i)));
			memset(block[i], byte_of(i), size_of(i));
		}
}

static void all_but_a_few(void)
{
	for (unsigned i = 0; i < BLOCKS; i++)
		if (i % KEPT_EVERY) {
			pkg_free(block[i]);
			block[i] = NULL;
		}
}

static void kept_are_whole(void)
{
	for (unsigned i = 0; i < BLOCKS; i += KEPT_EVERY)
		for (size_t k = 0; k < size_of(i); k++)
			EXPECT(block[i][k] == byte_of(i));
}

/* ---- children that are made in the middle of a pass, while another thread is in a call ---- */

static _Atomic bool enough;

static void *in_calls(void *arg)
{
	while (!enough)
		pkg_free(pkg_malloc(5000));
	return arg;
}

static void child_allocates_and_frees(void)
{
	pid_t pid = _Fork();
	void *p[100];
	int status;

	EXPECT(pid >= 0);
	if (pid == 0) {
		for (unsigned round = 0; round < 20; round++) {
			for (unsigned i = 0; i < 100; i++)
				if (!(p[i] = pkg_malloc(3000 + i)))
					_exit(1);
			for (unsigned i = 0; i < 100; i++)
				pkg_free(p[i]);
		}
		_exit(0);
	}
	EXPECT(waitpid(pid, &status, 0) == pid && status == 0);
}

static void children_in_a_pass(void)
{
	pthread_t thread;

	EXPECT(pthread_create(&thread, NULL, in_calls, NULL) == 0);
	for (unsigned i = 0; i < BLOCKS; i++) {
		if (i % KEPT_EVERY == 0)
			continue;
		pkg_free(block[i]);
		block[i] = NULL;
		if (i % 2503 == 0)
			child_allocates_and_frees();
	}
	enough = true;
	EXPECT(pthread_join(thread, NULL) == 0);
	kept_are_whole();
}

/* ---- what swings ---- */

static long faults(void)
{
	struct rusage now;

	EXPECT(getrusage(RUSAGE_SELF, &now) == 0);
	return now.ru_minflt;
}

/* 64 blocks of 4 KiB to 1 MiB are replaced at random: free memory goes up and down by a third of what is used. */
static long faults_of_swings(unsigned calls)
{
	static unsigned char *large[64];
	static uint64_t random = 88172645463325252u;
	long before = faults();

	for (unsigned i = 0; i < calls; i++) {
		unsigned char **at;
		size_t size;

		random ^= random << 13, random ^= random >> 7, random ^= random << 17;
		at = &large[random >> 58];
		size = (size_t)4096 << (random & 7);
		pkg_free(*at);
		EXPECT(*at = pkg_malloc(size + (random >> 16) % size));
		**at = 1;
	}
	return faults() - before;
}

/* Pages that are wanted again and again are given back a few times, and not for ever. */
static void swings_are_learned(void)
{
	faults_of_swings(80000);
	EXPECT(faults_of_swings(20000) < 2000);
}

/* ---- what is locked in memory ---- */

static bool locked;
static unsigned refused;

/* In the C library's place. What is locked is refused as the kernel does it, with no need for the right to lock. */
__attribute__((visibility("default"))) int madvise(void *at, size_t len, int advice)
{
	if (!locked || advice != MADV_DONTNEED)
		return (int)syscall(SYS_madvise, at, len, advice);
	refused++;
	errno = EINVAL;
	return -1;
}

/* Each free would ask the system in vain. */
static void what_is_locked_is_seldom_tried(void)
{
	locked = true;
	for (unsigned round = 0; round < 3; round++) {
		fill();
		all_but_a_few();
		kept_are_whole();
	}
	EXPECT(refused > 0 && refused < 10);
	locked = false;
	for (unsigned round = 0; round < 3; round++) {
		fill();
		all_but_a_few();
	}
	kept_are_whole();
}

int main(int argc, char **argv)
{
	uint64_t before, full;

	EXPECT((argc == 2 || argc == 3) && setenv("MEMAPI_PKG_MANAGER", argv[1], 1) == 0);
	memset(block, 0, sizeof block);
	pkg_free(pkg_malloc(1));
	if (argc == 3) {
		strcmp(argv[2], "locked") == 0 ? what_is_locked_is_seldom_tried() : swings_are_learned();
		return 0;
	}
	before = resident();
	for (unsigned round = 0; round < 3; round++) {
		fill();
		full = resident() - before;
		EXPECT(full > BLOCKS * 200ul);
		all_but_a_few();
		EXPECT(resident() - before < full / 4);
		kept_are_whole();
	}
	fill();
	kept_are_whole();
	children_in_a_pass();
	return 0;
}
