/* SPDX-License-Identifier: BSD-2-Clause */
/* A freed fragment is reallocated: the answer is NULL and EINVAL. */
#include "corrupt.h"

#include <errno.h>

bool damage(const struct memory *m)
{
	const struct mem_site *allocated, *freed, *here;
	void *p = m->alloc(100, AT(allocated));

	AT(here);
	m->free(p, AT(freed));
	MUST(m->usable(p) == 0);
	if (m->watch == PLAIN)
		expect(MEM_WILD_FREE, p, "wild free of %p at %s; no fragment in use begins there", p, place(here));
	else
		expect(MEM_DOUBLE_FREE, p, "double free of %p at %s; freed at %s, allocated at %s", p, place(here), place(freed),
		       place(allocated));
	errno = 0;
	MUST(m->realloc(p, 300, here) == NULL);
	MUST(errno == EINVAL);
	return true;
}
