/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Three bytes of input are one call of a manager: what, which fragment, how much. Around each stands what the front end
 * does: commit, or now and then a rollback, after which pool and model are as they were before the call. After each
 * call the heap is sound: walk, check, tally and largest agree, and no byte of another fragment has changed.
 */
#include <stdio.h>

#include "pool.h"

enum { LIVE = 32 };

extern const struct mem_manager_ops FUZZ_OPS;
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct held { unsigned char *p; size_t size; bool mark; };

static struct undo_log undo;

static void expect(bool good, const char *what)
{
	if (!good) {
		fprintf(stderr, "%s: %s\n", FUZZ_OPS.name, what);
		abort();
	}
}

/** Every fragment has its bytes; the one of this call those that it had before, and gets its new ones. */
static void intact(struct held *held, struct held *called, const struct held *before)
{
	for (unsigned k = 0; k < LIVE; k++) {
		struct held *x = &held[k];
		size_t size = x->size;

		if (x == called)
			size = x->p != before->p ? 0 : size < before->size ? size : before->size;
		for (size_t i = 0; i < size; i++)
			expect(x->p[i] == k, "bytes of a fragment changed");
		if (x == called && x->p)
			memset(x->p, (int)k, x->size);
	}
}

static void call_alloc(struct mem_heap *h, struct held *x, size_t size, unsigned char byte)
{
	size_t align = FUZZ_OPS.flags & MEM_ALIGN16 ? 16 : (size_t)16 << byte % 9;

	x->p = FUZZ_OPS.alloc(h, align, size);
	if (!x->p)
		return;
	expect((uintptr_t)x->p % align == 0, "not aligned");
	x->size = FUZZ_OPS.usable(h, x->p);
	expect(x->size >= size, "smaller than asked for");
	expect(x->p >= h->base && x->size <= h->len && (uint64_t)(x->p - h->base) <= h->len - x->size,
	       "outside of the heap");
}

static void one_call(struct mem_heap *h, struct held *x, const uint8_t byte[3])
{
	size_t size = mem_round(&FUZZ_OPS, 16 * (1 + (size_t)(byte[2] < 224 ? byte[2] % 24u : byte[2] * 4u)));

	if (!x->p) {
		call_alloc(h, x, size, byte[0] >> 3);
	} else if (byte[0] & 1) {
		FUZZ_OPS.free(h, x->p);
		*x = (struct held){ .p = NULL };
	} else if (byte[0] & 2) {
		bool done = FUZZ_OPS.resize(h, x->p, size);

		expect(done || size > x->size, "refused to shrink");
		x->size = FUZZ_OPS.usable(h, x->p);
		expect(!done || x->size >= size, "smaller than asked for");
	} else if (FUZZ_OPS.mark) {
		FUZZ_OPS.mark(h, x->p, x->mark = !x->mark);
		expect(FUZZ_OPS.marked(h, x->p) == x->mark, "mark");
	}
}

/** owns says yes to what is held, whatever has happened. */
static void expect_owned(const struct mem_heap *h, const struct held *held)
{
	for (unsigned k = 0; FUZZ_OPS.owns && k < LIVE; k++)
		expect(!held[k].p || FUZZ_OPS.owns(h, held[k].p), "does not own what is held");
}

/** A killed call: what free() had committed in between stays, and the fragment is free then. */
static void roll_back(struct mem_heap *h, struct held *x, const struct held *before, uint64_t transactions)
{
	bool whole = undo.n >> 16 == transactions;

	undo_rollback(&undo, 0);
	undo_commit(&undo);
	if (whole)
		*x = *before;
	else
		expect(!x->p, "only free() may commit in between");
	expect(!x->p || FUZZ_OPS.usable(h, x->p) == x->size, "usable after a rollback");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct pool *pool;
	static uint64_t first;
	struct held held[LIVE] = { 0 };
	struct mem_heap h;
	struct measure seen;
	const char *wrong;

	if (!pool) {
		pool = pool_new();
		first = pool_first(&FUZZ_OPS);
	}
	memset(pool, 0, sizeof *pool);
	h = pool_heap(pool, FUZZ_OPS.extend ? first : sizeof pool->data, &undo);
	expect(FUZZ_OPS.init(&h) == 0, "init");
	undo_commit(&undo);
	for (; size >= 3; data += 3, size -= 3) {
		struct held *x = &held[data[1] % LIVE], before = *x;
		uint64_t transactions = undo.n >> 16;

		if (data[1] >= 250 && FUZZ_OPS.extend && h.len < sizeof pool->data) {
			h.len += PAGE;
			FUZZ_OPS.extend(&h, h.len - PAGE);
			undo_commit(&undo);
			continue;
		}
		one_call(&h, x, data);
		expect(undo_count(&undo) <= FUZZ_OPS.max_stores, "more than max_stores in a transaction");
		if (data[1] >= 200)
			roll_back(&h, x, &before, transactions);
		undo_commit(&undo);
		wrong = measure(&FUZZ_OPS, &h, 7, &seen);
		expect(!wrong, wrong);
		expect_owned(&h, held);
		intact(held, x, &before);
	}
	return 0;
}
