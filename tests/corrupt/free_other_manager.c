/* SPDX-License-Identifier: BSD-2-Clause */
/* A fragment of the other domain is freed, and that is on another manager: its head looks otherwise. */
#include "corrupt.h"

#include <memapi/memcore.h>
#include <string.h>

/* One that serves both domains, and is not this one. NULL: there is none. */
static const struct mem_manager *another(const struct memory *m)
{
	const struct mem_manager *other;

	for (size_t i = 0; (other = mem_manager_at(i)); i++)
		if (other->pkg && other->shm && strcmp(other->name, m->manager) != 0)
			return other;
	return NULL;
}

bool damage(const struct memory *m)
{
	const struct mem_manager *other = another(m);
	const struct mem_site *here;
	void *p;

	if (!other)
		return false;
	MUST((m->shared ? pkg_init_manager : shm_init_manager)(other->name) == 0);
	p = m->foreign(64, MEM_SITE);
	expect(MEM_WILD_FREE, p, "wild free of %p at %s; it belongs to the %s", p, place(AT(here)),
	       m->shared ? "private heap (pkg)" : "shared pool (shm)");
	m->free(p, here);
	m->foreign_free(p, MEM_SITE);	/* it is still there */
	return true;
}
