/* SPDX-License-Identifier: BSD-2-Clause */
/* jemalloc as a manager of private memory: libjemalloc by its non-standard names. */
#include <jemalloc/jemalloc.h>

#include "memapi/module.h"
#include "memapi/own.h"

static void *own_alloc(size_t align, size_t size) { return mallocx(size, align > 16 ? MALLOCX_ALIGN(align) : 0); }
static void *own_zeros(size_t size) { return mallocx(size, MALLOCX_ZERO); }
static void own_free(void *p) { dallocx(p, 0); }
static size_t own_usable(const void *p) { return sallocx(p, 0); }
static void *own_realloc(void *p, size_t size) { return rallocx(p, size, 0); }

MEM_OWN_MODULE(jemalloc, MEM_CACHEABLE,
	       "size classes in arenas with decay: for servers that run for months and must not fragment");
