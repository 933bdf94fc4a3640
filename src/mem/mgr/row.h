/* SPDX-License-Identifier: BSD-2-Clause */
/* What managers have in common whose heap is a row of fragments without gaps. */
#ifndef MGR_ROW_H
#define MGR_ROW_H

#include "mem/base/bits.h"
#include "memapi/manager.h"

enum { ROW_TALLY = 2, ROW_IDLE_LOOKS = 64, ROW_PAGE = 4096 };	/* stores of a tally; fragments a call of idle */

#ifndef MEM_DOMAIN_VIEW

/** So many bytes and fragments more are free; negative: fewer. */
static inline void row_tally(struct mem_heap *h, uint64_t bytes, int fragments)
{
	HEAP_SET(h, h->tally->free_bytes, h->tally->free_bytes + bytes);
	if (fragments)
		HEAP_SET(h, h->tally->free_fragments, h->tally->free_fragments + (uint64_t)(int64_t)fragments);
}

/** Bytes to skip from `payload` to an aligned one: none, or as many as make a fragment, `least`. */
static inline uint64_t row_pad(const void *payload, uint64_t align, uint64_t least)
{
	uint64_t pad = -(uintptr_t)payload & (align - 1);

	return pad && pad < least ? pad + align : pad;
}

/** Names the whole pages between two offsets. */
static inline void row_idle(struct mem_heap *h, uint64_t from, uint64_t to, mem_idle_fn *fn)
{
	uint64_t page = bits_up(from, ROW_PAGE), end = bits_down(to, ROW_PAGE);

	if (page < end)
		fn(h, page, end - page);
}

#endif
#endif /* MGR_ROW_H */
