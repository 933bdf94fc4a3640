/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A heap of noise, as an observer meets it: every walk and check ends, reads nothing outside, hands out nothing
 * outside. The first quarter of the input is the start of the roots, the rest DATA: roots may be larger than all input.
 * The addresses of the observed process have no memory behind them here.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "memapi/manager.h"

enum { LEN = 8192, ROOTS = 16384, STEPS = 100000 };
static const uintptr_t data_at = 0x350000000000, roots_at = 0x340000000000;

extern const struct mem_manager_ops FUZZ_OPS;
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct source {
	struct mem_reader reader;	/* first: read() gets its address */
	unsigned char data[LEN], roots[ROOTS];
};

static void expect(bool good, const char *what)
{
	if (!good) {
		fprintf(stderr, "%s: %s\n", FUZZ_OPS.name, what);
		abort();
	}
}

static bool source_read(struct mem_reader *r, uintptr_t address, void *to, size_t bytes)
{
	struct source *s = (struct source *)r;

	if (address - data_at < LEN) {
		expect(bytes <= LEN - (address - data_at), "reads behind DATA");
		memcpy(to, s->data + (address - data_at), bytes);
	} else {
		expect(address - roots_at < FUZZ_OPS.root_bytes && bytes <= FUZZ_OPS.root_bytes - (address - roots_at),
		       "reads outside");
		memcpy(to, s->roots + (address - roots_at), bytes);
	}
	return true;
}

static bool visit(const struct mem_frag *f, void *arg)
{
	uintptr_t at = (uintptr_t)f->addr - data_at;

	++*(unsigned *)arg;
	expect(at < LEN && f->size <= LEN - at, "a fragment outside of DATA");
	return true;
}

static void fault(const struct mem_fault *f, void *arg)
{
	(void)arg;
	expect(f->what && *f->what, "a fault without a text");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct source s;
	struct mem_heap h = {
		.base = (unsigned char *)data_at, .len = LEN, .roots = (uint64_t *)roots_at, .reader = &s.reader
	};
	size_t roots = size / 4 < FUZZ_OPS.root_bytes ? size / 4 : FUZZ_OPS.root_bytes, steps = 0;
	unsigned visits = 0;
	uint64_t at = 0;

	memset(&s, 0, sizeof s);
	s.reader = (struct mem_reader){ .read = source_read, .root_bytes = FUZZ_OPS.root_bytes };
	memcpy(s.roots, data, roots);
	memcpy(s.data, data + roots, size - roots < LEN ? size - roots : LEN);
	do
		at = FUZZ_OPS.walk(&h, at, 7, visit, &visits);
	while (at && at != MEM_WALK_FAULT && ++steps < STEPS);
	expect(steps < STEPS && visits < STEPS, "a walk without an end");
	s.reader.failed = false;
	if (size >= sizeof at) {
		memcpy(&at, data, sizeof at);	/* an observer's cursor is anything */
		FUZZ_OPS.walk(&h, at, 7, visit, &visits);
		s.reader.failed = false;
	}
	FUZZ_OPS.check(&h, fault, NULL);
	s.reader.failed = false;
	if (FUZZ_OPS.largest)
		FUZZ_OPS.largest(&h);
	return 0;
}
