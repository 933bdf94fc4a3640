/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An address inside of a fragment is freed whose bytes imitate fragments: small and huge sizes in every word, with and
 * without low bits set. A record that was never there cannot be imitated.
 */
#include "corrupt.h"

#include <stdint.h>

static const uint64_t words[] = {
	0x20, 0x21, 0x40, 0x41, 0x43, 0xffffffffffffffff, 0x7ffffffffffffff0, 0x7ffffffffffffff1
};

bool damage(const struct memory *m)
{
	const struct mem_site *allocated, *here;
	uint64_t *p;

	if (m->watch == PLAIN || m->flags & MEM_OWN_MEMORY)
		return false;		/* "only user bytes that imitate one may deceive it", and other libraries */
	for (size_t k = 0; k < sizeof words / sizeof *words; k++) {
		p = m->alloc(512, AT(allocated));
		for (size_t i = 0; i < 64; i++)
			p[i] = words[k];
		if (k + 1 < sizeof words / sizeof *words) {
			MUST(m->usable(p + 16) == 0);	/* asks the same question, and makes no report */
			m->free(p, MEM_SITE);
		}
	}
	expect(MEM_WILD_FREE, p + 16, "wild free of %p at %s; it lies inside the fragment %p allocated at %s", (void *)(p + 16),
	       place(AT(here)), (void *)p, place(allocated));
	m->free(p + 16, here);
	m->free(p, MEM_SITE);
	return true;
}
