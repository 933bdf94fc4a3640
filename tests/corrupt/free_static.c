/* SPDX-License-Identifier: BSD-2-Clause */
/* The address of a static variable is freed. */
#include "corrupt.h"

bool damage(const struct memory *m)
{
	static struct { _Alignas(16) char before[16], bytes[64]; } around;	/* some libraries look before it */
	char *fixed = around.bytes;
	const struct mem_site *here;

	expect(MEM_WILD_FREE, fixed, "wild free of %p at %s; it is no address of this pool", (void *)fixed, place(AT(here)));
	m->free(fixed, here);
	return true;
}
