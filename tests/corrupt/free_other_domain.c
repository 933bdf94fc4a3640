/* SPDX-License-Identifier: BSD-2-Clause */
/* pkg memory is given to shm_free(), shm memory to pkg_free(): neither heap changes. */
#include "corrupt.h"

bool damage(const struct memory *m)
{
	const struct mem_site *here;
	void *p = m->foreign(64, MEM_SITE);

	expect(MEM_WILD_FREE, p, "wild free of %p at %s; it belongs to the %s", p, place(AT(here)),
	       m->shared ? "private heap (pkg)" : "shared pool (shm)");
	m->free(p, here);
	m->foreign_free(p, MEM_SITE);	/* it is still there */
	return true;
}
