/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The calls of memapi.h that the registrar makes, over malloc(): for fuzzing alone, where AddressSanitizer is to see
 * every byte. One process, no shared memory, no lock; it counts what is not given back.
 */
#include "malloc_shim.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "memapi/memapi.h"

size_t shim_pkg_live, shim_shm_live, shim_fail_in;

static bool fails(void) { return shim_fail_in && !--shim_fail_in; }

static void *take(size_t *live, size_t align, size_t size)
{
	void *p = fails() ? NULL : aligned_alloc(align, (size + align) & ~(align - 1));

	*live += p != NULL;
	return p;
}

static void give(size_t *live, void *p)
{
	*live -= p != NULL;
	free(p);
}

void *mem_pkg_malloc(size_t size, const struct mem_site *site)
{
	void *p = fails() ? NULL : malloc(size);	/* to the byte, for AddressSanitizer */

	(void)site;
	shim_pkg_live += p != NULL;
	return p;
}

void *mem_pkg_realloc(void *p, size_t size, const struct mem_site *site)
{
	void *q = fails() ? NULL : realloc(p, size);

	(void)site;
	shim_pkg_live += q && !p;
	return q;
}

void mem_pkg_free(void *p, const struct mem_site *site)
{
	(void)site;
	give(&shim_pkg_live, p);
}

void *mem_shm_malloc(size_t size, const struct mem_site *site)
{
	(void)site;
	return take(&shim_shm_live, 16, size);
}

void *mem_shm_memalign(size_t align, size_t size, const struct mem_site *site)
{
	(void)site;
	return take(&shim_shm_live, align, size);
}

void mem_shm_free(void *p, const struct mem_site *site)
{
	(void)site;
	give(&shim_shm_live, p);
}

void *mem_shm_malloc_to(void *dst, size_t size, const struct mem_site *site)
{
	void *p = mem_shm_malloc(size, site);

	if (p)
		memcpy(dst, &p, sizeof p);
	return p;
}

bool mem_shm_free_from(void *dst, const struct mem_site *site)
{
	void *p, *none = NULL;

	memcpy(&p, dst, sizeof p);
	memcpy(dst, &none, sizeof none);
	mem_shm_free(p, site);
	return true;
}

void shm_lock(void) {}
void shm_unlock(void) {}

static void *root;
int shm_root_set(const char *name, void *p)
{
	(void)name;
	root = p;
	return 0;
}
void *shm_root_get(const char *name)
{
	(void)name;
	return root;
}

size_t shm_usable(const void *p) { return malloc_usable_size((void *)(uintptr_t)p); } /* each is in use: nobody dies */

int mem_lock_acquire(struct mem_lock *lock)
{
	if (lock->word)
		abort();
	lock->word = 1;
	return 0;
}

int mem_lock_release(struct mem_lock *lock)
{
	if (!lock->word)
		abort();
	lock->word = 0;
	return 0;
}
