/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * sys: the C library's allocator. Its heads have 8 bytes, its usable sizes are malloc_usable_size()'s.
 *
 * Cost: that of malloc, and the front end's around it.
 */
#include <malloc.h>
#include <stdlib.h>

#ifdef MEM_PRELOAD

/*
 * In the preload library malloc() is its own: the C library's goes by names that nothing interposes. The size's
 * question has none, and is looked up while the heap is set up: later a look-up could ask us for memory in the middle
 * of a call.
 */
#include <dlfcn.h>
#include <errno.h>

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_memalign(size_t align, size_t size);
void *__libc_realloc(void *p, size_t size);
void __libc_free(void *p);

static size_t (*usable_size)(void *p);

static int find_usable_size(void)
{
	void *libc = dlopen("libc.so.6", RTLD_LAZY | RTLD_NOLOAD);	/* not RTLD_NEXT: that may be another's malloc */

	if (libc)
		*(void **)(void *)&usable_size = dlsym(libc, "malloc_usable_size");
	return usable_size ? 0 : -ENOSYS;
}

#define MEM_OWN_INIT find_usable_size()
#define malloc __libc_malloc
#define calloc __libc_calloc
#define memalign __libc_memalign
#define realloc __libc_realloc
#define free __libc_free
#define malloc_usable_size usable_size

#endif

#include "memapi/own.h"

static void *own_alloc(size_t align, size_t size) { return align > 16 ? memalign(align, size) : malloc(size); }
static void *own_zeros(size_t size) { return calloc(1, size); }
static void own_free(void *p) { free(p); }
static size_t own_usable(const void *p) { return malloc_usable_size((void *)(uintptr_t)p); }
static void *own_realloc(void *p, size_t size) { return realloc(p, size); }

MEM_OWN_OPS(sys, MEM_HEAD8, "the C library's malloc: for comparisons, and where its habits are wanted");
