/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The registry of managers: one row each, in the order of src/mem/mgr/CMakeLists.txt.
 */
#ifndef MEMAPI_MEMCORE_H
#define MEMAPI_MEMCORE_H

#include <stddef.h>
#include <stdint.h>

#include "memapi/memapi.h"

#ifdef __cplusplus
extern "C" {
#endif

struct mem_manager_ops;			/* memapi/manager.h */

/** One manager: three builds of one algorithm. Those of a domain that it does not serve are NULL. */
struct mem_manager {
	const char *name, *summary;	/* summary: one line of advice on when to choose it */
	const char *source;		/* "built in" */
	unsigned shards;		/* heaps that its pools are made of, unless configured otherwise */
	const struct mem_manager_ops *pkg, *shm, *view;
};

/** i from 0; NULL: no more. */
MEMAPI_EXPORT const struct mem_manager *mem_manager_at(size_t i);
/** By name or alias (f_malloc, fmalloc, q_malloc, qmalloc …), or NULL. */
MEMAPI_EXPORT const struct mem_manager *mem_manager_find(const char *name);
/** "qm fm …": what is available in a domain (MEM_PKG, MEM_SHM), for error texts. Returns `buf`. */
MEMAPI_EXPORT char *mem_manager_names(unsigned domain, char *buf, size_t bytes);
/** Names of managers that this build left out, "" when there are none. */
MEMAPI_EXPORT const char *mem_managers_left_out(void);

#ifdef __cplusplus
}
#endif
#endif /* MEMAPI_MEMCORE_H */
