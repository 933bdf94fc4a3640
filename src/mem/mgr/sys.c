/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * sys: the C library's allocator. Its heads have 8 bytes, its usable sizes are malloc_usable_size()'s.
 *
 * Cost: that of malloc, and the front end's around it.
 */
#include <malloc.h>
#include <stdlib.h>

#include "memapi/own.h"

static void *own_alloc(size_t align, size_t size) { return align > 16 ? memalign(align, size) : malloc(size); }
static void own_free(void *p) { free(p); }
static size_t own_usable(const void *p) { return malloc_usable_size((void *)(uintptr_t)p); }
static void *own_realloc(void *p, size_t size) { return realloc(p, size); }

MEM_OWN_OPS(sys, MEM_HEAD8, "the C library's malloc: for comparisons, and where its habits are wanted");
