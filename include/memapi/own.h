/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Managers that keep their own memory: another allocator behind the pkg interface.
 *
 *	front end	sites, records, guards, counters, leak reports
 *	five calls	alloc, zeros, free, usable, realloc of the library, each a line
 *	the library	its own memory, threads, caches
 *
 * Such a manager is for private memory alone, since each process has a copy of the library's state. Which fragments
 * there are is known from their records, so that walks, dumps and leaks tell of what was tracked, and the counters of
 * the rest. What is free inside the library nobody knows: those counters are null.
 *
 * The source defines, before MEM_OWN_OPS(NAME, FLAGS, SUMMARY):
 *
 *	void *own_alloc(size_t align, size_t size)	at least 16 aligned; NULL: no memory
 *	void *own_zeros(size_t size)			as calloc(1, size)
 *	void own_free(void *p)
 *	size_t own_usable(const void *p)		bytes that the holder may use; a multiple of 8, as `size` is
 *	void *own_realloc(void *p, size_t size)		as realloc(); alignment above 16 need not be kept
 *
 * FLAGS: MEM_CACHEABLE, where what manager.h says of it is so, spares most calls of these. `size` is never 0. Use names
 * that nothing interposes (mi_malloc, mallocx), or the program's malloc is called back.
 */
#ifndef MEMAPI_OWN_H
#define MEMAPI_OWN_H

#include "memapi/manager.h"

/* 0 or -errno, once for each process that uses the manager, before all else. */
#ifndef MEM_OWN_INIT
#define MEM_OWN_INIT 0
#endif

#define MEM_OWN_OPS(mgr, more_flags, text)                                                                             \
	static int mgr##_init(struct mem_heap *h)                                                                      \
	{                                                                                                              \
		(void)h;                                                                                               \
		return MEM_OWN_INIT;                                                                                  \
	}                                                                                                              \
	static void *mgr##_alloc(struct mem_heap *h, size_t align, size_t size)                                        \
	{                                                                                                              \
		(void)h;                                                                                               \
		return own_alloc(align, size);                                                                         \
	}                                                                                                              \
	static void *mgr##_zeros(struct mem_heap *h, size_t size)                                                      \
	{                                                                                                              \
		(void)h;                                                                                               \
		return own_zeros(size);                                                                                \
	}                                                                                                              \
	static void mgr##_free(struct mem_heap *h, void *p)                                                            \
	{                                                                                                              \
		(void)h;                                                                                               \
		own_free(p);                                                                                           \
	}                                                                                                              \
	static size_t mgr##_usable(const struct mem_heap *h, const void *p)                                            \
	{                                                                                                              \
		(void)h;                                                                                               \
		return own_usable(p);                                                                                  \
	}                                                                                                              \
	static bool mgr##_resize(struct mem_heap *h, void *p, size_t size)                                             \
	{                                                                                                              \
		size_t usable = mgr##_usable(h, p); /* half empty: it may move */                                      \
                                                                                                                       \
		return size <= usable && size >= usable / 2;                                                           \
	}                                                                                                              \
	static void *mgr##_realloc(struct mem_heap *h, void *p, size_t size)                                           \
	{                                                                                                              \
		(void)h;                                                                                               \
		return own_realloc(p, size);                                                                           \
	}                                                                                                              \
	static uint64_t mgr##_walk(const struct mem_heap *h, uint64_t start, unsigned max, mem_walk_fn *fn, void *arg) \
	{                                                                                                              \
		(void)h, (void)start, (void)max, (void)fn, (void)arg;                                                  \
		return 0;                                                                                              \
	}                                                                                                              \
	static unsigned mgr##_check(const struct mem_heap *h, mem_fault_fn *fn, void *arg)                             \
	{                                                                                                              \
		(void)h, (void)fn, (void)arg;                                                                          \
		return 0;                                                                                              \
	}                                                                                                              \
	extern const struct mem_manager_ops mgr##_own_ops;                                                             \
	const struct mem_manager_ops mgr##_own_ops = {                                                                 \
		MEM_OPS_HEAD,                                                                                          \
		.name = #mgr,                                                                                          \
		.summary = (text),                                                                                     \
		.domains = MEM_PKG,                                                                                    \
		.flags = MEM_OWN_MEMORY | (more_flags),                                                                \
		.init = mgr##_init,                                                                                    \
		.alloc = mgr##_alloc,                                                                                  \
		.zeros = mgr##_zeros,                                                                                  \
		.free = mgr##_free,                                                                                    \
		.resize = mgr##_resize,                                                                                \
		.realloc = mgr##_realloc,                                                                              \
		.usable = mgr##_usable,                                                                                \
		.walk = mgr##_walk,                                                                                    \
		.check = mgr##_check,                                                                                  \
	}

#endif /* MEMAPI_OWN_H */
