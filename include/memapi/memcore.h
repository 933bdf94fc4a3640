/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The registry of managers: one row each, in the order of src/mem/mgr/CMakeLists.txt, and modules that were loaded.
 */
#ifndef MEMAPI_MEMCORE_H
#define MEMAPI_MEMCORE_H

#include <stdbool.h>
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
	const char *source;		/* "built in", "module /path/of/it.so" */
	unsigned shards;		/* heaps that its pools are made of, unless configured otherwise */
	const struct mem_manager_ops *pkg, *shm, *view;
};

/** i from 0; NULL: no more. */
MEMAPI_EXPORT const struct mem_manager *mem_manager_at(size_t i);
/**
 * By name or alias (f_malloc, fmalloc, q_malloc, qmalloc …), or NULL. module:NAME is looked for where this process's
 * configuration says, and checked as mem_module_find() does; a path is not.
 */
MEMAPI_EXPORT const struct mem_manager *mem_manager_find(const char *name);
/** "qm fm …": what is available in a domain (MEM_PKG, MEM_SHM), for error texts. Returns `buf`. */
MEMAPI_EXPORT char *mem_manager_names(unsigned domain, char *buf, size_t bytes);
/** Names of managers that this build left out, "" when there are none. */
MEMAPI_EXPORT const char *mem_managers_left_out(void);

/**
 * mem_manager_choose - the manager that a configuration names, for a domain
 * @name: as mem_manager_find(), module:NAME or a module's path
 * @module_path: memory.module_path
 * @why: when the result is NULL: what is wrong, where there is more to say than that there is none; else ""
 */
MEMAPI_EXPORT const struct mem_manager *mem_manager_choose(const char *name, unsigned domain, const char *module_path,
							   char *why, size_t bytes);

/* ---- modules: memapi/module.h, docs/modules.md ---- */

/** Whether a manager's name is that of a module: module:NAME, or a path. */
MEMAPI_EXPORT bool mem_module_named(const char *name);
/**
 * mem_module_find - the manager of a module, loaded if need be
 * @name: module:NAME, or a path with a slash in it
 * @path: where NAME.so lies; NULL, "": the directory memapi beside this library
 * @why: names the file and what is wrong with it when the result is NULL; or NULL
 *
 * The file and its directory must be root's or ours, and not open to everybody. Its constructors run. What is loaded is
 * found by its name alone from then on, stays loaded, and the result with it. Thread-safe.
 */
MEMAPI_EXPORT const struct mem_manager *mem_module_find(const char *name, const char *path, char *why, size_t bytes);
/** Modules that are loaded, in the order in which they were; i from 0, NULL: no more. */
MEMAPI_EXPORT const struct mem_manager *mem_module_at(size_t i);
typedef void mem_module_skip_fn(const char *file, const char *reason, void *arg);
/** Load every module of a directory (as mem_module_find); `skip`, or NULL, is told those that cannot be used. */
MEMAPI_EXPORT void mem_modules_load(const char *path, mem_module_skip_fn *skip, void *arg);
/** The directory that is meant by a `path` as above. */
MEMAPI_EXPORT const char *mem_module_directory(const char *path);
/**
 * mem_modules_make_room - put MEM_TLS_ENVIRONMENT into the environment, when the loader refused a module for want of it
 *
 * What GLIBC_TUNABLES had stays. Returns true when it was added: executed anew, the program has the room. false:
 * nothing was refused, or the environment says how much room there is, and it is not enough. Call while there is one
 * thread.
 */
MEMAPI_EXPORT bool mem_modules_make_room(void);
#define MEM_TLS_ENVIRONMENT "GLIBC_TUNABLES=glibc.rtld.optional_static_tls=8192"

#ifdef __cplusplus
}
#endif
#endif /* MEMAPI_MEMCORE_H */
