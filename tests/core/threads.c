/* SPDX-License-Identifier: BSD-2-Clause */
/* Threads on one private heap and one shared pool: contents kept, counters exact at the end. Also under TSan. */
#include <memapi/memapi.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { THREADS = 4, LIVE = 100, TURNS = 20000 };

static _Atomic unsigned wrong;
static unsigned domains = 2;		/* pkg, and shm unless the program is told otherwise */

struct held { unsigned char *p; size_t size; };

static bool intact(const struct held *h, int byte)
{
	for (size_t i = 0; i < h->size; i++)
		if (h->p[i] != byte)
			return false;
	return true;
}

/* Of the other threads', too: what one has made another frees. */
static void *_Atomic handed[LIVE];

static void hand_on(unsigned *seed)
{
	void *p = pkg_malloc((size_t)rand_r(seed) % 500);

	pkg_free(atomic_exchange(&handed[(unsigned)rand_r(seed) % LIVE], p));
}

static void turn(struct held *h, int byte, unsigned *seed, bool shared)
{
	size_t size = 1 + (size_t)rand_r(seed) % 700;
	void *p;

	if (h->p && !intact(h, byte))
		atomic_fetch_add(&wrong, 1);
	if (h->p && rand_r(seed) % 2) {
		if (shared)
			shm_free(h->p);
		else
			pkg_free(h->p);
		*h = (struct held){ 0 };
		return;
	}
	p = shared ? shm_realloc(h->p, size) : pkg_realloc(h->p, size);
	if (!p)
		return;
	*h = (struct held){ p, size };
	memset(p, byte, size);
}

static void *work(void *arg)
{
	static _Thread_local struct held held[2][LIVE];
	unsigned number = (unsigned)(uintptr_t)arg, seed = number;

	for (unsigned i = 0; i < TURNS; i++) {
		hand_on(&seed);
		for (unsigned shared = 0; shared < domains; shared++)
			turn(&held[shared][(unsigned)rand_r(&seed) % LIVE], (int)number + 1, &seed, shared);
		if (i % 1000 == 0)
			pkg_info(&(struct mem_info){ 0 });
	}
	for (unsigned i = 0; i < LIVE; i++) {
		pkg_free(held[0][i].p);
		if (domains > 1)
			shm_free(held[1][i].p);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t thread[THREADS];
	struct mem_info pkg, shm = { 0 };

	if (argc > 2 && strcmp(argv[2], "pkg") == 0)
		domains = 1;
	if (argc < 2 || pkg_init_manager(argv[1]) || (domains > 1 && shm_init_manager(argv[1]))) {
		fprintf(stderr, "usage: threads MANAGER [pkg]; %s\n", memapi_error());
		return 2;
	}
	for (unsigned round = 0; round < 3; round++) {	/* threads end in order, and their slots are left */
		for (unsigned i = 0; i < THREADS; i++)
			pthread_create(&thread[i], NULL, work, (void *)(uintptr_t)i);
		for (unsigned i = 0; i < THREADS; i++)
			pthread_join(thread[i], NULL);
	}
	for (unsigned i = 0; i < LIVE; i++)
		pkg_free(handed[i]);
	pkg_info(&pkg);
	if (domains > 1)
		shm_info(&shm);
	printf("threads: wrong %u, used %llu and %llu\n", atomic_load(&wrong), (unsigned long long)pkg.used_size,
	       (unsigned long long)shm.used_size);
	return atomic_load(&wrong) || pkg.used_size || shm.used_size;
}
