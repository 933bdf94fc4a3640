/* SPDX-License-Identifier: BSD-2-Clause */
/* A fragment is freed twice, with nothing between. */
#include "corrupt.h"

bool damage(const struct memory *m)
{
	const struct mem_site *allocated, *freed, *here;
	void *p = m->alloc(100, AT(allocated));

	AT(here);
	m->free(p, AT(freed));
	if (m->watch == PLAIN)
		expect(MEM_WILD_FREE, p, "wild free of %p at %s; no fragment in use begins there", p, place(here));
	else
		expect(MEM_DOUBLE_FREE, p, "double free of %p at %s; freed at %s, allocated at %s", p, place(here), place(freed),
		       place(allocated));
	m->free(p, here);
	return true;
}
