/* SPDX-License-Identifier: BSD-2-Clause */
/* The address of a local variable is freed. */
#include "corrupt.h"

bool damage(const struct memory *m)
{
	_Alignas(16) char local[64] = "";
	const struct mem_site *here;

	expect(MEM_WILD_FREE, local, "wild free of %p at %s; it is no address of this pool", (void *)local, place(AT(here)));
	m->free(local, here);
	return true;
}
