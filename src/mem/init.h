/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What pkg.c and shm.c share: the configuration, read once a process image, and the moments of a process's life.
 */
#ifndef MEM_INIT_H
#define MEM_INIT_H

#include "conf/conf.h"
#include "mem/pool.h"

/** The configuration; loaded at the first call. A bad file is told once on stderr and the defaults are used. */
const struct conf *mem_conf(void);
/** Features that a new pool of `manager` starts with: memory.track, memory.debug, memory.safety. */
uint64_t mem_features(const struct mem_manager_ops *ops, unsigned domain);

/** Shards of a new pool of `manager`: `wish`, or what is configured, or the manager's own number. */
unsigned mem_shards(unsigned wish, unsigned domain, const struct mem_manager *manager);

/** One lock around everything that is done once, and around what a forked child mends. Recursive in no way. */
void mem_setup_lock(void);
void mem_setup_unlock(void);
/** This thread holds it: it sets up, or forks, and what it calls may want memory from us. */
bool mem_setup_inside(void);

void mem_set_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
/** A line on stderr, once a process image: the person who started the program should know. */
void mem_notice(const char *format, ...) __attribute__((format(printf, 1, 2)));

/**
 * Defined where private memory alone is served: there a manager that is named for both domains need not serve the
 * other. Its address is what is asked for.
 */
extern const char mem_pkg_alone __attribute__((weak));

/** -ENOENT with a text that lists what is available and says what is wrong with a module. */
int mem_choose_manager(const char *name, unsigned domain, const struct mem_manager **ret_manager);

/** A call of this thread is on its way, which who asks has interrupted. */
bool mem_pkg_inside(void);
/** Called by the atfork handlers and at exit. */
void mem_pkg_before_fork(void);
void mem_pkg_after_fork(bool child);
void mem_pkg_at_exit(void);
void mem_shm_at_exit(void);
/** In a child: its one thread has the gate of the parent's (slot_known.h). */
void mem_shm_after_fork(void);
void mem_register_handlers(void);

#endif
