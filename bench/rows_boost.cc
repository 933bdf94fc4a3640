// SPDX-License-Identifier: BSD-2-Clause
/*
 * Boost.Interprocess: managed_shared_memory as it comes, rbtree_best_fit with one process-shared mutex.
 * The name goes at once, the processes get the mapping by fork.
 */
#include "rows.h"

#include <boost/interprocess/managed_shared_memory.hpp>
#include <cstdio>
#include <cstring>
#include <unistd.h>

namespace bi = boost::interprocess;

static bi::managed_shared_memory *segment;

static const char *boost_setup(const row *, size_t bytes)
{
	static char why[128];
	char name[64];

	std::snprintf(name, sizeof name, "memapi-bench-boost-%ld", static_cast<long>(getpid()));
	try {
		bi::shared_memory_object::remove(name);
		segment = new bi::managed_shared_memory(bi::create_only, name, bytes);
		bi::shared_memory_object::remove(name);
	} catch (const std::exception &e) {
		std::snprintf(why, sizeof why, "%s", e.what());
		return why;
	}
	return nullptr;
}

static void *boost_alloc(size_t size) { return segment->allocate(size, std::nothrow); }
static void boost_free(void *p) { segment->deallocate(p); }

/* Grows in place when the neighbour is free, else moves. */
static void *boost_realloc(void *p, size_t size)
{
	if (!p)
		return boost_alloc(size);
	bi::managed_shared_memory::size_type got = size;
	char *reuse = static_cast<char *>(p);
	char *at = segment->allocation_command<char>(bi::expand_fwd | bi::allocate_new | bi::nothrow_allocation, size, got, reuse);

	if (!at || reuse)
		return at;
	std::memcpy(at, p, segment->get_segment_manager()->size(p));	/* it would not have moved to shrink */
	segment->deallocate(p);
	return at;
}

extern "C" void row_boost(row *r)
{
	*r = row();
	std::strcpy(r->name, "Boost rbtree_best_fit");
	r->setup = boost_setup;
	r->alloc = boost_alloc;
	r->free = boost_free;
	r->realloc = boost_realloc;
	r->shared = true;
	r->threads = true;
}
