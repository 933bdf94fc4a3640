/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One byte behind a request that fills its fragment: the fragment's tail is hit, its record is not believed any more.
 * The fragment is kept: what else lies behind it may be damaged too.
 */
#include "corrupt.h"

bool damage(const struct memory *m)
{
	const struct mem_site *allocated, *here;
	size_t size = m->flags & MEM_HEAD8 ? 96 : 104;
	static char *p;			/* which is kept, and no leak */

	if (m->watch == PLAIN)
		return false;
	p = m->alloc(size, AT(allocated));
	p[size] = (char)(p[size] + 1);
	expect(MEM_OVERRUN, p,
	       "overrun of %p, allocated at %s: the bytes behind it are damaged, found by the free at %s; it is kept", (void *)p,
	       place(allocated), place(AT(here)));
	m->free(p, here);
	return true;
}
