/* SPDX-License-Identifier: BSD-2-Clause */
/* The address of a static variable is freed. */
#include "corrupt.h"

bool damage(const struct memory *m)
{
	static _Alignas(16) char fixed[64];
	const struct mem_site *here;

	expect(MEM_WILD_FREE, fixed, "wild free of %p at %s; it is no address of this pool", (void *)fixed, place(AT(here)));
	m->free(fixed, here);
	return true;
}
