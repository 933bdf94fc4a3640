/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a wrong free was, with both places. Cold, and without any lock: it looks through the ledger while others go on,
 * so that it may, rarely, know less than it could; it never believes an address.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mem/base/compiler.h"
#include "mem/front/front.h"
#include "mem/meta/process.h"

#include "mem/meta/store.h"

void (*front_fault_handler)(const struct mem_fault_report *report);

struct place { char text[200]; };

static struct place place_of(const struct pool *shard, uint64_t number)
{
	const struct pool *p = shard->home;
	struct place place = { "a place not known" };
	const struct meta_site *s;

	if (number == 0 || number >= p->live->counters.sites_used || number >= p->live->sites_committed)
		return place;
	s = &p->sites->site[number];
	if (s->line)
		snprintf(place.text, sizeof place.text, "%.79s:%lu (%.55s)", s->file, (unsigned long)s->line, s->function);
	else
		snprintf(place.text, sizeof place.text, "%.23s (%.55s)", s->module, s->function);
	return place;
}

static struct place place_of_call(const struct front_call *call)
{
	struct place place;
	struct meta_site s;

	site_describe(call->site, call->caller, true, &s);
	if (s.line)
		snprintf(place.text, sizeof place.text, "%.79s:%lu (%.55s)", s.file, (unsigned long)s.line, s.function);
	else
		snprintf(place.text, sizeof place.text, "%.23s (%.55s)", s.module, s.function);
	return place;
}

/* In a magazine of shm a record has its chain, too. */
static uint32_t free_site(const struct pool *p, const struct meta_record *r)
{
	return p->id->domain == MEM_SHM && r->owner >> 48 & RECORD_CACHED ? RECORD_FREED_AT(r->time)
									  : (uint32_t)(r->time >> 32);
}

struct finding { uint64_t freed, live, around; };	/* index + 1 of a record; 0: none */

static struct finding search(const struct pool *p, const void *ptr)
{
	uint64_t end = p->live->counters.records_used, at = (uintptr_t)ptr;
	struct finding f = { 0 };

	for (uint64_t i = 0; i < end && i < p->live->records_committed; i++) {
		struct meta_record r = p->records[i];

		if (r.address == at && !(r.owner >> 48 & RECORD_CACHED))
			f.live = i + 1;
		else if ((r.address & ~(uint64_t)RECORD_FREE) == at)
			f.freed = i + 1;
		else if (!(r.address & RECORD_FREE) && r.address < at && at - r.address < RECORD_USABLE(r.sizes))
			f.around = i + 1;
	}
	return f;
}

/* Memory of the manager's own lies anywhere. */
static bool may_hold(const struct pool *p, const void *ptr)
{
	return p->ops->flags & MEM_OWN_MEMORY || pool_holds(p, ptr);
}

static const char *other_home(const struct pool *p, const void *ptr)
{
	for (unsigned k = 0; p->home != &mem_pkg_pool && mem_pkg_pool.id && k < mem_pkg_shards; k++)
		if (pool_holds(&mem_pkg_pools[k], ptr))
			return "it belongs to the private heap (pkg)";
	for (unsigned k = 0; p->home != &mem_shm_pool && mem_shm_pool.id && k < mem_shm_shards; k++)
		if (pool_holds(&mem_shm_pools[k], ptr))
			return "it belongs to the shared pool (shm)";
	if (!pool_holds(p, ptr))
		return "it is no address of this pool";
	return "no fragment in use begins there";
}

static void describe_free(const struct front_call *call, const void *ptr, struct meta_fault *f, char *text,
			  size_t bytes)
{
	const struct pool *p = call->p;
	struct finding found = may_hold(p, ptr) ? search(p, ptr) : (struct finding){ 0 };
	struct place here = place_of_call(call);
	const struct meta_record *r;

	if (found.live) {
		f->kind = MEM_OVERRUN;
		r = &p->records[found.live - 1];
		f->alloc_site = r->owner & UINT32_MAX;
		snprintf(text, bytes, "overrun of %p, allocated at %s: the bytes behind it are damaged, found by the free at %s; "
			 "it is kept", ptr, place_of(p, f->alloc_site).text, here.text);
	} else if (found.freed) {
		f->kind = MEM_DOUBLE_FREE;
		r = &p->records[found.freed - 1];
		f->alloc_site = r->owner & UINT32_MAX;
		f->free_site = free_site(p, r);
		snprintf(text, bytes, "double free of %p at %s; freed at %s, allocated at %s", ptr, here.text,
			 place_of(p, f->free_site).text, place_of(p, f->alloc_site).text);
	} else if (found.around) {
		r = &p->records[found.around - 1];
		f->alloc_site = r->owner & UINT32_MAX;
		snprintf(text, bytes, "wild free of %p at %s; it lies inside the fragment %#lx allocated at %s", ptr, here.text,
			 (unsigned long)r->address, place_of(p, f->alloc_site).text);
	} else {
		snprintf(text, bytes, "wild free of %p at %s; %s", ptr, here.text, other_home(p, ptr));
	}
}

static void describe_overrun(const struct front_call *call, const void *ptr, uint64_t record, struct meta_fault *f,
			     char *text, size_t bytes)
{
	const struct meta_record *r = &call->p->records[record];

	f->alloc_site = r->owner & UINT32_MAX;
	snprintf(text, bytes, "overrun of %p, allocated at %s: bytes behind the requested size were changed, found by the "
		 "free at %s", ptr, place_of(call->p, f->alloc_site).text, place_of_call(call).text);
}

/* memory.safety = abort: the one place where the library writes and ends the process. */
static void abort_with(const char *text)
{
	char line[800];
	int n = snprintf(line, sizeof line, "memapi: %s\n", text);

	if (n > 0 && write(STDERR_FILENO, line, (size_t)n) == -1) {
		/* there is nobody left to tell */
	}
	abort();
}

COLD void front_fault(const struct front_call *call, enum mem_fault_kind kind, const void *ptr, uint64_t record)
{
	struct pool *p = call->p;
	struct meta_fault f = {
		.time = clock_seconds(), .pid = process_self()->pid, .kind = kind, .address = (uintptr_t)ptr
	};
	int saved = errno;
	char text[760];

	f.site = (p->id->domain == MEM_SHM ? shm_front_site : pkg_front_site)(call);
	if (kind == MEM_WILD_FREE)
		describe_free(call, ptr, &f, text, sizeof text);
	else if (kind == MEM_OVERRUN)
		describe_overrun(call, ptr, record, &f, text, sizeof text);
	else
		snprintf(text, sizeof text,
			 call->o && !at_home(call)->inside ?
				 "a call by the holder of the pool's lock at %s; use the _unsafe form" :
				 "a call at %s inside of a signal handler that interrupted another call of this heap; "
				 "it is refused",
			 place_of_call(call).text);
	note_fault(p, &f);
	if (front_fault_handler)
		front_fault_handler(&(struct mem_fault_report){ (enum mem_fault_kind)f.kind, ptr, text });
	if (p->features & FEATURE_ABORT)
		abort_with(text);
	errno = saved;
}
