/* SPDX-License-Identifier: BSD-2-Clause */
/* pkg: what is in magazines goes back to the manager. */
#include "mem/front/inside.h"

static void flush_one(struct pool *p, void *ptr, struct meta_record *r)
{
	uint64_t usable = p->ops->usable(&p->heap, ptr);

	if (r) {
		r->owner &= ~((uint64_t)RECORD_CACHED << 48);
		record_drop(p, r, usable, (uint32_t)(r->time >> 32));
	}
	*magazine_tail(ptr, usable) = 0;
	p->counters.used -= usable;
	p->counters.fragments--;
	p->ops->free(&p->heap, ptr);
}

COLD bool pkg_front_flush(struct pool *p, bool ledger)
{
	struct magazines *m = &mem_pkg_magazines;
	bool any = m->cached;

	for (unsigned i = 0; any && i < MAGAZINE_SIZES; i++)
		for (uint64_t k = m->of[i].count; k--; )
			flush_one(p, m->of[i].at[k], ledger && m->open_recorded ? &p->records[m->record[i][k]] : NULL);
	magazine_forget();
	return any;
}

COLD void pkg_front_empty(struct pool *p)
{
	enter(p, NULL, 0);
	pkg_front_flush(p, true);
	leave(p, NULL, 0);
}
