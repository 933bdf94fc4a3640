/* SPDX-License-Identifier: BSD-2-Clause */
/* Interning of sites: a hash table of chains in META, append only. */
#include <string.h>

#include "base/fnv.h"
#include "mem/base/compiler.h"
#include "mem/meta/store.h"

_Alignas(64) _Atomic uint64_t DOMAIN(known_sites)[KNOWN_SITES];

void DOMAIN(known_sites_forget)(void)
{
	for (unsigned i = 0; i < KNOWN_SITES; i++) {
		_Atomic uint64_t *known = &DOMAIN(known_sites)[i];

		/* a fresh child has one thread; it shares with its parent what it does not store to */
		if (atomic_load_explicit(known, memory_order_relaxed))
			atomic_store_explicit(known, 0, memory_order_relaxed);
	}
}

static bool same_site(const struct meta_site *a, const struct meta_site *b)
{
	return a->hash == b->hash && a->line == b->line && a->address == b->address && strcmp(a->file, b->file) == 0 &&
	       strcmp(a->function, b->function) == 0 && strcmp(a->module, b->module) == 0;
}

COLD uint32_t DOMAIN(site_intern)(struct pool *p, struct meta_site *fresh)
{
	struct mem_heap *h = &p->heap;
#ifdef MEM_DOMAIN_SHM
	struct meta_counters *c = &p->live->counters;
#else
	struct meta_counters *c = &p->counters;
#endif
	uint64_t number;
	uint64_t *chain;

	fresh->hash = fnv_bytes(FNV_START, fresh->file,
				 sizeof fresh->file + sizeof fresh->function + sizeof fresh->module);
	fresh->hash = fnv_bytes(fresh->hash, &fresh->address, 2 * sizeof fresh->address); /* and line */
	if (!p->live->sites_committed && sites_grow(p))
		return 0;
	chain = &p->sites->chain[fresh->hash % SITE_CHAINS];
	number = *chain;
	for (uint64_t steps = 0; number && number < SITES_MAX && steps < SITES_MAX; steps++) {
		if (same_site(&p->sites->site[number], fresh))
			return (uint32_t)number;
		number = p->sites->site[number].next;
	}
	number = c->sites_used ? c->sites_used : 1; /* 0 is "not known" */
	if (number >= p->live->sites_committed && sites_grow(p))
		return 0;
	fresh->next = *chain;
	p->sites->site[number] = *fresh;	/* dead bytes until the chain leads here: not logged */
	HEAP_SET(h, c->sites_used, number + 1);
	HEAP_SET(h, *chain, number);
	HEAP_COMMIT(h);
	return (uint32_t)number;
}
