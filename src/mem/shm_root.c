/* SPDX-License-Identifier: BSD-2-Clause */
/* Named roots of the shared pool, in META of shard 0: how a newcomer finds its data. One transaction each. */
#define MEM_DOMAIN_SHM 1		/* they are stored as a heap is: logged */

#include <errno.h>
#include <string.h>

#include "mem/pool.h"
#include "memapi/heap.h"
#include "memapi/memapi.h"

static struct meta_named_root *find_root(struct pool *p, const char *name)
{
	for (unsigned i = 0; i < NAMED_ROOTS; i++)
		if (strncmp(p->live->named[i].name, name, sizeof p->live->named[i].name) == 0)
			return &p->live->named[i];
	return NULL;
}

static void store_root(struct mem_heap *h, struct meta_named_root *root, const uint64_t words[7], uint64_t address)
{
	uint64_t *name = (uint64_t *)(void *)root->name;

	for (unsigned i = 0; i < sizeof root->name / sizeof *name; i++)
		HEAP_SET(h, name[i], words[i]);
	HEAP_SET(h, root->address, address);
	HEAP_COMMIT(h);
}

int shm_root_set(const char *name, void *ptr)
{
	struct pool *p = &mem_shm_pool;
	struct meta_named_root *root, fresh = { 0 };
	struct owner *o;
	uint64_t words[7];
	int rc = 0;

	if (!*name || strlen(name) >= sizeof root->name || !mem_shm_ready(&o))
		return -EINVAL;
	memcpy(fresh.name, name, strlen(name));
	memcpy(words, fresh.name, sizeof words);
	shm_lock();
	p->heap.log = &o->slot->log;
	root = find_root(p, name);
	if (!root)
		root = find_root(p, "");
	if (root)
		store_root(&p->heap, root, words, (uintptr_t)ptr);
	else
		rc = -ENOSPC;
	shm_unlock();
	return rc;
}

void *shm_root_get(const char *name)
{
	struct meta_named_root *root;
	struct owner *o;
	void *ptr = NULL;

	if (!*name || strlen(name) >= sizeof root->name || !mem_shm_ready(&o))
		return NULL;
	shm_lock();
	root = find_root(&mem_shm_pool, name);
	if (root)
		ptr = (void *)root->address;
	shm_unlock();
	return ptr;
}
