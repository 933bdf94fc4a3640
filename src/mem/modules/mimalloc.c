/* SPDX-License-Identifier: BSD-2-Clause */
/* mimalloc as a manager of private memory: libmimalloc by its mi_ names. */
#include <mimalloc.h>

#include "memapi/module.h"
#include "memapi/own.h"

static void *own_alloc(size_t align, size_t size)
{
	return align > 16 ? mi_malloc_aligned(size, align) : mi_malloc(size);
}
static void *own_zeros(size_t size) { return mi_zalloc(size); }
static void own_free(void *p) { mi_free(p); }
static size_t own_usable(const void *p) { return mi_usable_size(p); }
static void *own_realloc(void *p, size_t size) { return mi_realloc(p, size); }

MEM_OWN_MODULE(mimalloc, MEM_CACHEABLE,
	       "free lists in small pages, one set a thread: for speed with many threads and small sizes");
