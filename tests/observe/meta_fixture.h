/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A registry of the test's own, with pools made by hand: META and DATA as the library would leave them, so that the
 * observer can be shown any state, also those that no sound library makes.
 *
 * A pool's files are mapped here at the addresses that its identity tells; a private heap is this process's own memory.
 * Calls are transactions as the front end makes them; fixture_begin() leaves one open.
 */
#ifndef TESTS_OBSERVE_META_FIXTURE_H
#define TESTS_OBSERVE_META_FIXTURE_H

#include <stdbool.h>
#include <stdint.h>

#include "mem/meta/layout.h"
#include "memapi/manager.h"
#include "memapi/observe.h"

enum { FIXTURE_SIZE = 1 << 20, FIXTURE_RECORDS = 1 << 15 };

struct fixture {
	char file[96];			/* name in the registry */
	int fd;				/* META */
	unsigned char *meta;
	uint64_t meta_bytes;
	struct meta_identity *id;
	struct meta_live *live;
	struct meta_record *records;
	struct mem_heap heap;
	const struct mem_manager_ops *ops;
	uint32_t slot;			/* who calls */
};

/** The directory; made by the first call, with MEMAPI_REGISTRY pointing to it. */
const char *fixture_registry(void);
/** One that is there, which nobody drops. */
void fixture_registry_is(const char *dir);
void fixture_registry_drop(void);
char *fixture_path(char buf[256], const char *file);

/** manager NULL: the first of the build. 0 for size and records: the defaults. */
struct fixture *fixture_shm(const char *name, uint32_t incarnation, const char *manager, uint64_t size,
			    uint64_t records);
struct fixture *fixture_pkg(int64_t pid, uint32_t incarnation, const char *manager);
/** One shard of `shards`, of the first manager. Shard 0 is to be made last, as the library does. */
struct fixture *fixture_shm_shard(const char *name, uint32_t incarnation, uint32_t shard, uint32_t shards,
				  uint64_t group);
struct fixture *fixture_pkg_shard(int64_t pid, uint32_t incarnation, uint32_t shard, uint32_t shards,
				  uint64_t group);
void fixture_free_pool(struct fixture *f);

/** Slot `i` is of a process; LIVE ones of this process hold their life mutex. */
void fixture_slot(struct fixture *f, uint32_t i, enum slot_state state, int32_t pid, const char *command);

uint32_t fixture_site(struct fixture *f, const char *file, unsigned line);
void *fixture_alloc(struct fixture *f, size_t size, uint32_t site);
void fixture_free(struct fixture *f, void *p);
/** Take the lock, or make the turn odd. */
void fixture_begin(struct fixture *f);
void fixture_end(struct fixture *f);
/** The parts of alloc that lie between. */
void *fixture_alloc_open(struct fixture *f, size_t size, uint32_t site);
void fixture_failure(struct fixture *f, uint64_t requested, uint64_t verdict);
void fixture_fault(struct fixture *f, uint64_t kind, uint64_t address);

/** The registry's one observer, scanned; asserts nothing. */
struct obs *fixture_observer(obs_skip_fn *skip, void *arg);

#endif
