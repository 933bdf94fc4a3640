/* SPDX-License-Identifier: BSD-2-Clause */
/* A fragment is freed twice, and its neighbours were freed between: where it began is the middle of a free one now. */
#include "corrupt.h"

#include <string.h>

bool damage(const struct memory *m)
{
	const struct mem_site *allocated, *freed, *here;
	void *before = m->alloc(200, MEM_SITE), *p = m->alloc(100, AT(allocated)), *after = m->alloc(300, MEM_SITE);

	AT(here);
	memset(p, 0xff, 100);
	m->free(p, AT(freed));
	m->free(before, MEM_SITE);
	m->free(after, MEM_SITE);
	if (m->watch == PLAIN)
		expect(MEM_WILD_FREE, p, "wild free of %p at %s; no fragment in use begins there", p, place(here));
	else
		expect(MEM_DOUBLE_FREE, p, "double free of %p at %s; freed at %s, allocated at %s", p, place(here), place(freed),
		       place(allocated));
	m->free(p, here);
	return true;
}
