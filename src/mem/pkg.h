/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Whether the private heap is ready, as inline code: for the calls of pkg.c, and for those of the preload library,
 * which pass on who called them.
 */
#ifndef MEM_PKG_H
#define MEM_PKG_H

#include "mem/base/compiler.h"
#include "mem/meta/process.h"
#include "mem/pool.h"

/** Makes the heap, or its META in a child. false: it cannot be made, or this thread is just doing that. Keeps errno. */
bool mem_pkg_get_ready(void);
/** An operator has asked for other features: they are taken on, as far as the manager allows. */
void mem_pkg_follow(struct pool *p);

/* The epoch first: before the loader has relocated the library it is 0, and epoch_word points nowhere. */
static inline bool pkg_ready(struct pool *p)
{
	if (UNLIKELY(!p->epoch || p->epoch != *epoch_word) && !mem_pkg_get_ready())
		return false;
	if (UNLIKELY(atomic_load_explicit(&p->live->wanted, memory_order_relaxed) != p->features))
		mem_pkg_follow(p);
	return true;
}

#endif /* MEM_PKG_H */
