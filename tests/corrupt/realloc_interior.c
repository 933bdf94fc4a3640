/* SPDX-License-Identifier: BSD-2-Clause */
/* An address inside of a fragment is reallocated: the answer is NULL and EINVAL, and the fragment is as it was. */
#include "corrupt.h"

#include <errno.h>
#include <string.h>

bool damage(const struct memory *m)
{
	const struct mem_site *allocated, *here;
	char *p = m->alloc(256, AT(allocated));

	memset(p, 0, 256);
	AT(here);
	if (m->watch == PLAIN)
		expect(MEM_WILD_FREE, p + 64, "wild free of %p at %s; no fragment in use begins there", (void *)(p + 64), place(here));
	else
		expect(MEM_WILD_FREE, p + 64, "wild free of %p at %s; it lies inside the fragment %p allocated at %s",
		       (void *)(p + 64), place(here), (void *)p, place(allocated));
	errno = 0;
	MUST(m->realloc(p + 64, 300, here) == NULL);
	MUST(errno == EINVAL);
	m->free(p, MEM_SITE);		/* it was not touched */
	return true;
}
