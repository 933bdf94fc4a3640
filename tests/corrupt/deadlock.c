/* SPDX-License-Identifier: BSD-2-Clause */
/* The holder of the pool's lock calls shm_malloc(): refused with EDEADLK, not waited for. */
#include "corrupt.h"

#include <errno.h>

bool damage(const struct memory *m)
{
	const struct mem_site *here;
	void *p;

	if (!m->shared)
		return false;
	p = m->alloc(64, MEM_SITE);
	shm_lock();
	expect(MEM_DEADLOCK, NULL, "a call by the holder of the pool's lock at %s; use the _unsafe form", place(AT(here)));
	errno = 0;
	MUST(m->alloc(64, here) == NULL);
	MUST(errno == EDEADLK);
	mem_shm_free_unsafe(p, MEM_SITE);
	shm_unlock();
	return true;
}
