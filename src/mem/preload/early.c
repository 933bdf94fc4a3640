/* SPDX-License-Identifier: BSD-2-Clause */
#include "mem/preload/early.h"

#include <stdatomic.h>

#include "mem/base/compiler.h"

struct head { uint64_t start, size; };	/* offset where the block begins, with what aligns it; usable bytes */

unsigned char early_arena[EARLY_BYTES] __attribute__((aligned(4096)));
static _Atomic uint64_t top;

static struct head *head_of(const void *p) { return (struct head *)(uintptr_t)p - 1; }

void *early_alloc(size_t align, size_t size)
{
	uint64_t start = atomic_load_explicit(&top, memory_order_relaxed), at, end;

	if (size > EARLY_BYTES || align > EARLY_BYTES)
		return NULL;
	do {
		uintptr_t p = (uintptr_t)early_arena + start + sizeof(struct head);

		at = ROUND_UP(p, align < 16 ? 16 : align) - (uintptr_t)early_arena;
		end = at + ROUND_UP(size ? size : 1, 16);
		if (end > EARLY_BYTES)
			return NULL;
		/* Pairs with the release in early_free(): what was freed is zeros again. */
	} while (!atomic_compare_exchange_weak_explicit(&top, &start, end, memory_order_acquire, memory_order_relaxed));
	*head_of(early_arena + at) = (struct head){ start, end - at };
	return early_arena + at;
}

void early_free(void *p)
{
	uint64_t at = (uint64_t)((unsigned char *)p - early_arena);
	uint64_t end = at + head_of(p)->size, start = head_of(p)->start;

	if (atomic_load_explicit(&top, memory_order_relaxed) != end)
		return;
	for (volatile unsigned char *c = early_arena + start; c < early_arena + end; c++)
		*c = 0;				/* not memset(): it may not be there yet */
	/* When it was the last one no more, its bytes stay as they are, zeros that nobody uses. */
	atomic_compare_exchange_strong_explicit(&top, &end, start, memory_order_release, memory_order_relaxed);
}

size_t early_usable(const void *p) { return head_of(p)->size; }
