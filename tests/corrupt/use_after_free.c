/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A freed fragment is written to, then freed again. What was written is lost or found by `check`; the second free is
 * found although all that the fragment said of itself is overwritten.
 */
#include "corrupt.h"

#include <string.h>

bool damage(const struct memory *m)
{
	const struct mem_site *allocated, *freed, *here;
	char *p = m->alloc(100, AT(allocated));
	void *wall = m->alloc(16, MEM_SITE);	/* so that p does not join the rest of the heap */

	AT(here);
	if (m->watch == PLAIN)
		return false;
	m->free(p, AT(freed));
	memset(p + 64, 0xee, 36);		/* behind the links that a manager may keep in a free fragment */
	expect(MEM_DOUBLE_FREE, p, "double free of %p at %s; freed at %s, allocated at %s", (void *)p, place(here), place(freed),
	       place(allocated));
	m->free(p, here);
	m->free(wall, MEM_SITE);
	return true;
}
