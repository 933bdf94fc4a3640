/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A manager in a shared object of its own: `memory.manager = module:NAME`, or the path of the file.
 *
 * The file NAME.so exports one object, `memapi_module`. The library believes nothing of the file: it, its directory
 * and what is in the descriptor are checked first (docs/modules.md says what and how). A module is loaded once, at the
 * first use of its name, and stays until the process ends: fragments of it may be freed at any time.
 */
#ifndef MEMAPI_MODULE_H
#define MEMAPI_MODULE_H

#include "memapi/manager.h"

enum { MEM_MODULE_ABI = 1 };		/* of this struct; the operations have theirs, MEM_MANAGER_ABI */
enum { MEM_MODULE_NAME_MAX = 23 };	/* a-z 0-9 _ -; the file is called so, too */

/** Constant data; the strings and operations live as long as the module, that is until the process ends. */
struct mem_module {
	uint32_t abi, size;		/* MEM_MODULE_ABI, sizeof(struct mem_module): as it was compiled */
	const char *name;
	const char *summary;		/* one line: when to choose it */
	uint32_t domains, flags;	/* as those of its operations */
	/* NULL where a domain is not served; view: as pkg where the manager keeps its own memory */
	const struct mem_manager_ops *pkg, *shm, *view;
};

#define MEM_MODULE_SYMBOL "memapi_module"

/** In one file of the module: MEM_MODULE(.name = "mine", .summary = "...", .domains = MEM_PKG, .pkg = &..., ...); */
#define MEM_MODULE(...)									\
	extern const struct mem_module memapi_module;					\
	__attribute__((visibility("default"))) const struct mem_module memapi_module = {	\
		.abi = MEM_MODULE_ABI, .size = sizeof(struct mem_module), __VA_ARGS__	\
	}

/** The whole of a module whose manager keeps its own memory: after own_alloc() and its like. */
#define MEM_OWN_MODULE(mgr, more_flags, text)						\
	MEM_OWN_OPS(mgr, more_flags, text);						\
	MEM_MODULE(.name = #mgr, .summary = (text), .domains = MEM_PKG, .flags = MEM_OWN_MEMORY | (more_flags),	\
		   .pkg = &mgr##_own_ops, .view = &mgr##_own_ops)

#endif /* MEMAPI_MODULE_H */
