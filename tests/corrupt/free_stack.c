/* SPDX-License-Identifier: BSD-2-Clause */
/* The address of a local variable is freed. */
#include "corrupt.h"

bool damage(const struct memory *m)
{
	/* zeros before it: some libraries look there */
	struct { _Alignas(16) char before[16], bytes[64]; } around = { .bytes = "" };
	char *local = around.bytes;
	const struct mem_site *here;

	expect(MEM_WILD_FREE, local, "wild free of %p at %s; it is no address of this pool", (void *)local, place(AT(here)));
	m->free(local, here);
	return true;
}
