/* SPDX-License-Identifier: BSD-2-Clause */
/* An address is freed that no allocation ever returns: not a multiple of 16. */
#include "corrupt.h"

bool damage(const struct memory *m)
{
	const struct mem_site *allocated, *here;
	char *p = m->alloc(256, AT(allocated));

	AT(here);
	if (m->watch == PLAIN)
		expect(MEM_WILD_FREE, p + 5, "wild free of %p at %s; no fragment in use begins there", (void *)(p + 5), place(here));
	else
		expect(MEM_WILD_FREE, p + 5, "wild free of %p at %s; it lies inside the fragment %p allocated at %s",
		       (void *)(p + 5), place(here), (void *)p, place(allocated));
	m->free(p + 5, here);
	m->free(p, MEM_SITE);
	return true;
}
