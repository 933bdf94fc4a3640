/* SPDX-License-Identifier: BSD-2-Clause */
/* Memory of the C library is freed. */
#include "corrupt.h"

#include <stdlib.h>
#include <string.h>

bool damage(const struct memory *m)
{
	const struct mem_site *here;
	char *p = calloc(1, 64);

	MUST(m->usable(p) == 0);	/* asks the same question, and makes no report */
	memset(p, 0xff, 64);
	expect(MEM_WILD_FREE, p, "wild free of %p at %s; it is no address of this pool", (void *)p, place(AT(here)));
	m->free(p, here);
	free(p);			/* it is still there */
	return true;
}
