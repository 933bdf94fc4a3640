/* SPDX-License-Identifier: BSD-2-Clause */
/* A module that is wrong in one way: -DBAD_… says which. */
#include <malloc.h>
#include <memapi/module.h>
#include <stdlib.h>

#include "memapi/own.h"

static void *own_alloc(size_t align, size_t size) { return aligned_alloc(align, (size + align - 1) & ~(align - 1)); }
static void *own_zeros(size_t size) { return calloc(1, size); }
static void own_free(void *p) { free(p); }
static size_t own_usable(const void *p) { return malloc_usable_size((void *)(uintptr_t)p); }
static void *own_realloc(void *p, size_t size) { return realloc(p, size); }

MEM_OWN_OPS(bad, 0, "bad");

#ifdef BAD_NEEDS
extern int memapi_test_nobody_has_this(void);
int bad_call(void);
int bad_call(void) { return memapi_test_nobody_has_this(); }
#endif

#ifdef BAD_OPS_ABI
static const struct mem_manager_ops ops = { .size = sizeof ops, .abi = MEM_MANAGER_ABI + 1 };
#elif defined BAD_MEMBERS
static const struct mem_manager_ops ops = { MEM_OPS_HEAD, .domains = MEM_PKG };
#else
#define ops bad_own_ops
#endif

#ifndef BAD_SYMBOL
__attribute__((visibility("default"))) extern const struct mem_module memapi_module;
const struct mem_module memapi_module = {
#ifdef BAD_ABI
	.abi = MEM_MODULE_ABI + 1,
#else
	.abi = MEM_MODULE_ABI,
#endif
#ifdef BAD_SIZE
	.size = 8,
#else
	.size = sizeof(struct mem_module),
#endif
#ifdef BAD_NAME
	.name = "Bad Name",
#else
	.name = "bad",
#endif
#ifdef BAD_SUMMARY
	.summary = "two\nlines",
#else
	.summary = "a bad one",
#endif
#ifndef BAD_DOMAINS
	.flags = MEM_OWN_MEMORY,
#endif
#ifdef BAD_SHM
	.domains = MEM_PKG | MEM_SHM, .pkg = &ops, .shm = &ops, .view = &ops,
#elif defined BAD_DOMAINS
	.domains = MEM_PKG | MEM_SHM, .pkg = &ops, .view = &ops,
#else
	.domains = MEM_PKG, .pkg = &ops, .view = &ops,
#endif
};
#endif
