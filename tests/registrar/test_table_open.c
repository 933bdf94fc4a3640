/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Registrars that open one pool at the same time have one table, and none is left over. Each waits with the memory for
 * its own until all of them have seen that the pool has none (the linker wraps the allocation).
 */
#include <criterion/criterion.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "memapi/memapi.h"
#include "table.h"

enum { OPENERS = 4, BUCKETS = 16, WAIT_MS = 10000 };

/* Seen by all of them. */
static struct stage {
	_Atomic unsigned without;
	struct table *table[OPENERS];
} * stage;

void *__real_mem_shm_memalign(size_t align, size_t size, const struct mem_site *site);
void *__wrap_mem_shm_memalign(size_t align, size_t size, const struct mem_site *site);
void *__wrap_mem_shm_memalign(size_t align, size_t size, const struct mem_site *site)
{
	atomic_fetch_add(&stage->without, 1);
	for (unsigned ms = 0; atomic_load(&stage->without) < OPENERS && ms < WAIT_MS; ms++)
		usleep(1000);
	return __real_mem_shm_memalign(align, size, site);
}

static size_t used(void)
{
	struct mem_info info;

	shm_info(&info);
	return info.used_size;
}

Test(table, of_those_who_open_it_at_once_one_makes_it, .timeout = 30)
{
	size_t before;
	int status;

	stage = mmap(NULL, sizeof *stage, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	cr_assert_neq(stage, MAP_FAILED);
	shm_free(shm_malloc(16));
	before = used();
	for (unsigned i = 0; i < OPENERS; i++)
		if (!fork())
			_exit(table_open(BUCKETS, &stage->table[i]) != 0);
	for (unsigned i = 0; i < OPENERS; i++)
		cr_assert(wait(&status) > 0 && status == 0);
	cr_assert_eq(atomic_load(&stage->without), OPENERS);
	for (unsigned i = 0; i < OPENERS; i++)
		cr_assert_eq(stage->table[i], stage->table[0]);
	shm_free(stage->table[0]);
	cr_assert_eq(used(), before, "tables are left over");
}
