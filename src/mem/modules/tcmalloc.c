/* SPDX-License-Identifier: BSD-2-Clause */
/* tcmalloc as a manager of private memory: gperftools' libtcmalloc_minimal by its tc_ names. */
#include <gperftools/tcmalloc.h>

#include "memapi/module.h"
#include "memapi/own.h"

static void *own_alloc(size_t align, size_t size) { return align > 16 ? tc_memalign(align, size) : tc_malloc(size); }
static void *own_zeros(size_t size) { return tc_calloc(1, size); }
static void own_free(void *p) { tc_free(p); }
static size_t own_usable(const void *p) { return tc_malloc_size((void *)(uintptr_t)p); }
static void *own_realloc(void *p, size_t size) { return tc_realloc(p, size); }

MEM_OWN_MODULE(tcmalloc, MEM_CACHEABLE,
	       "caches a thread over central lists: for many threads that free what others allocated");
