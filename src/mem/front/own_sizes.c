/* SPDX-License-Identifier: BSD-2-Clause */
#include "mem/front/own_sizes.h"

#include <errno.h>

#include "mem/front/magazine.h"
#include "mem/region/region.h"

/* Behind the directory there are the bytes of a leaf that says nothing, for where there was no memory for one. */
enum { DIRECTORY_BYTES = OWN_LEAVES * sizeof(struct own_leaf *), OPEN_BYTES = DIRECTORY_BYTES + OWN_LEAF_PAGES };

static struct own_leaf *unknown(const struct pool *p)
{
	return (struct own_leaf *)(void *)((char *)p->own_sizes + DIRECTORY_BYTES);
}

static void *zeros(uint64_t bytes)
{
	void *at;

	if (region_reserve(&bytes, bytes, &at))
		return NULL;
	if (!region_commit(at, bytes))
		return at;
	region_release(at, bytes);
	return NULL;
}

void pkg_own_sizes_open(struct pool *p)
{
	int saved = errno;

	if (magazines_possible(p->ops) && pool_keeps_own(p) && !(p->ops->flags & MEM_HEAD8) && mem_pkg_shards == 1 &&
	    p->data_size == PTRDIFF_MAX)
		p->own_sizes = zeros(OPEN_BYTES);
	errno = saved;
}

void pkg_own_sizes_close(struct pool *p)
{
	if (!p->own_sizes)
		return;
	for (unsigned i = 0; i < OWN_LEAVES; i++)
		if (p->own_sizes[i] && p->own_sizes[i] != unknown(p))
			region_release(p->own_sizes[i], sizeof(struct own_leaf));
	region_release(p->own_sizes, OPEN_BYTES);
	p->own_sizes = NULL;
}

COLD static struct own_leaf *leaf_new(struct pool *p, uint64_t leaf)
{
	int saved = errno;
	struct own_leaf *at = zeros(sizeof *at);

	errno = saved;
	if (!at)
		at = unknown(p);
	__atomic_store_n(&p->own_sizes[leaf], at, __ATOMIC_RELAXED);
	return at;
}

/* NULL: nothing is kept of such addresses. */
static struct own_leaf *leaf_of(struct pool *p, const void *ptr, bool make)
{
	uint64_t leaf = (uintptr_t)ptr >> 30;
	struct own_leaf *at;

	if (UNLIKELY(leaf >= OWN_LEAVES))
		return NULL;
	at = p->own_sizes[leaf];
	if (UNLIKELY(!at) && make)
		at = leaf_new(p, leaf);
	return LIKELY(at != unknown(p)) ? at : NULL;
}

static void set_size(struct own_leaf *leaf, uint64_t page, uint64_t size)
{
	__atomic_store_n(&leaf->size[page], (uint8_t)size, __ATOMIC_RELAXED);
}

/* A child that is made in here by a signal handler has at most a page whose byte is of nobody. */
void pkg_own_began(struct pool *p, const void *ptr, uint64_t usable)
{
	struct own_leaf *leaf = leaf_of(p, ptr, true);
	uint64_t page = (uintptr_t)ptr >> 12 & (OWN_LEAF_PAGES - 1);
	uint64_t size = usable % 16 || usable >= 16 * MAGAZINE_SIZES ? OWN_MIXED : usable / 16;

	if (UNLIKELY(!leaf))
		return;
	if (!leaf->count[page])
		set_size(leaf, page, size);
	else if (UNLIKELY(leaf->size[page] != size))
		set_size(leaf, page, OWN_MIXED);
	leaf->count[page]++;
}

void pkg_own_ended(struct pool *p, const void *ptr)
{
	struct own_leaf *leaf = leaf_of(p, ptr, false);
	uint64_t page = (uintptr_t)ptr >> 12 & (OWN_LEAF_PAGES - 1);

	if (UNLIKELY(!leaf) || UNLIKELY(!leaf->count[page]))
		return;
	if (!--leaf->count[page])
		set_size(leaf, page, 0);
}
