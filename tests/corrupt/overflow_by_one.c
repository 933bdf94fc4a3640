/* SPDX-License-Identifier: BSD-2-Clause */
/* One byte behind the request is written: the guards there tell it when the fragment is freed, for every slack. */
#include "corrupt.h"

#include <string.h>

bool damage(const struct memory *m)
{
	const struct mem_site *allocated, *here;
	char *p;

	if (m->watch != GUARDED)
		return false;
	for (size_t size = 1; size < 200; size++) {	/* all of it may be written, and none is an overrun */
		p = m->alloc(size, MEM_SITE);
		memset(p, 0xa5, size);
		MUST(m->usable(p) == size);
		m->free(p, MEM_SITE);
	}
	p = m->alloc(100, AT(allocated));
	p[100] = 'x';
	expect(MEM_OVERRUN, p,
	       "overrun of %p, allocated at %s: bytes behind the requested size were changed, found by the free at %s", (void *)p,
	       place(allocated), place(AT(here)));
	m->free(p, here);
	return true;
}
