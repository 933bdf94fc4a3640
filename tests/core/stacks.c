/* SPDX-License-Identifier: BSD-2-Clause */
/* memory.track = stacks tells apart by which way a call site was reached; sites does not. */
#include <memapi/memapi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 7 };

#define APART __attribute__((noinline))
static void *volatile kept;

static APART void *leaf(size_t size)
{
	kept = shm_malloc(size);
	return kept;
}

static APART void by_one_way(void)
{
	leaf(10);
	kept = NULL;
}

static APART void by_another(void)
{
	leaf(20);
	kept = NULL;
}

static unsigned count_sites(unsigned *ret_fragments)
{
	struct mem_counter *list;
	unsigned sites = 0;

	*ret_fragments = 0;
	shm_api()->xmodstats(shm_api()->mem_block, &list);
	for (const struct mem_counter *c = list; c; c = c->next) {
		sites++;
		*ret_fragments += (unsigned)c->count;
	}
	shm_api()->xfmodstats(list);
	return sites;
}

/* A program may write over its argv[0], as daemons do for ps: a call site without a name is still this program's. */
static int renamed(char *name)
{
	struct mem_counter *list;
	int known;

	memset(name, 'x', strlen(name));
	kept = mem_shm_malloc(10, NULL);
	shm_api()->xmodstats(shm_api()->mem_block, &list);
	known = list && strcmp(list->mname, "core_stacks") == 0;
	printf("module: %s\n", list ? list->mname : "none");
	shm_api()->xfmodstats(list);
	return !known;
}

int main(int argc, char **argv)
{
	unsigned expected, sites, fragments;

	if (argc < 3 || setenv("MEMAPI_TRACK", argv[2], 1) || shm_init_manager(argv[1])) {
		fprintf(stderr, "usage: stacks MANAGER stacks|sites [renamed]; %s\n", memapi_error());
		return 2;
	}
	if (argc > 3)
		return renamed(argv[0]);
	for (unsigned i = 0; i < ROUNDS; i++) {
		by_one_way();
		by_another();
	}
	expected = argv[2][1] == 't' ? 2 : 1;
	sites = count_sites(&fragments);
	printf("%s: %u fragments by %u sites\n", argv[2], fragments, sites);
	return sites != expected || fragments != 2 * ROUNDS;
}
