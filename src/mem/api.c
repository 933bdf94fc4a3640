/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The two API structs: Kamailio's members over the front end, and reports made from walks and the ledger.
 *
 * A report collects a slice of fragments under the lock and writes when the lock is gone.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mem/front/front.h"
#include "mem/front/magazine.h"
#include "mem/front/shards.h"
#include "mem/meta/lock.h"
#include "mem/meta/process.h"
#include "mem/meta/slot.h"

/* ---- slices ---- */

struct seen { const void *address; uint64_t size, requested; uint32_t site; bool used; };
struct slice { const struct pool *p; struct seen seen[FRONT_SLICE]; unsigned count; };
typedef bool each_fn(const struct pool *p, const struct seen *s, void *arg);

/* What its record knows, if it has one. Under the lock. */
static void ask_record(const struct pool *p, struct seen *s)
{
	uint64_t tail, index;
	const struct meta_record *r;

	if (s->size < TAIL_BYTES)
		return;
	tail = *(const uint64_t *)(const void *)((const char *)s->address + s->size - TAIL_BYTES);
	index = tail & UINT32_MAX;
	if ((tail & ~0xffffffffull) != p->generation || index >= p->live->records_committed)
		return;
	r = &p->records[index];
	if (r->address != (uintptr_t)s->address)
		return;
	s->used = !(r->owner >> 48 & RECORD_CACHED);
	s->requested = sizes_requested(r->sizes);
	s->site = (uint32_t)r->owner;
}

static bool collect(const struct mem_frag *f, void *arg)
{
	struct slice *slice = arg;
	struct seen *s = &slice->seen[slice->count++];

	*s = (struct seen){ f->addr, f->size, f->size, 0, f->used };
	if (f->used && !f->marked && slice->p->home == &mem_pkg_pool)
		s->used = !magazine_holds(slice->p, f->addr, f->size);
	if (f->used && (slice->p->id->domain == MEM_SHM || f->marked))
		ask_record(slice->p, s);
	return slice->count < FRONT_SLICE;
}

static struct pool *ready(void *mbp, struct owner **ret_owner)
{
	return mbp == &mem_shm_pool ? mem_shm_ready(ret_owner) : mem_pkg_ready();
}

/*
 * Where the manager has memory of its own, its fragments are those that have records: a slice of the ledger.
 * false: there is no more, or *ret_error says why not.
 */
static bool collect_records(struct pool *p, uint64_t *at, struct slice *slice, int *ret_error)
{
	uint64_t end, until;

	*ret_error = pkg_front_read(p);
	if (*ret_error)
		return false;
	end = p->counters.records_used;
	until = end - *at < 16 * FRONT_SLICE ? end : *at + 16 * FRONT_SLICE;	/* most of them may be free */
	for (; *at < until && slice->count < FRONT_SLICE; ++*at) {
		const struct meta_record *r = &p->records[*at];
		uint64_t size = RECORD_USABLE(r->sizes);

		if (!(r->address & RECORD_FREE))
			slice->seen[slice->count++] =
				(struct seen){ (const void *)r->address, size, sizes_requested(r->sizes),
					       (uint32_t)r->owner, true };
	}
	pkg_front_read_end(p);
	return *at < end;
}

static unsigned shards_of(const void *mbp) { return mbp == &mem_shm_pool ? mem_shm_shards : mem_pkg_shards; }

/* Shard k of a pool whose shard 0 is *p. */
static bool use(const void *mbp, unsigned k, struct pool **p, struct owner **o)
{
	if (mbp == &mem_shm_pool)
		return mem_shm_use(p, o, k);
	*p = &mem_pkg_pools[k];
	return true;
}

/* Of one shard; *go_on becomes false when `fn` has had enough. */
static int each_in(struct pool *p, struct owner *o, each_fn *fn, void *arg, bool *go_on)
{
	struct front_walk w = { 0 };
	struct slice slice = { .p = p };
	bool more = true;
	uint64_t at = 0;

	while (more) {
		slice.count = 0;
		if (pool_keeps_own(p))
			more = collect_records(p, &at, &slice, &w.error);
		else
			more = (p->home == &mem_shm_pool ? shm_front_walk : pkg_front_walk)(p, o, &w, collect, &slice);
		for (unsigned i = 0; *go_on && i < slice.count; i++)
			*go_on = fn(p, &slice.seen[i], arg);
		if (!*go_on) {
			if (more && w.cursor)
				(p->home == &mem_shm_pool ? shm_front_walk_end : pkg_front_walk_end)(p, o, &w);
			break;
		}
	}
	return w.error;
}

static int each_fragment(void *mbp, each_fn *fn, void *arg)
{
	struct owner *o = NULL;
	struct pool *p = ready(mbp, &o);
	bool go_on = true;
	int rc = 0;

	if (!p)
		return -ENOMEM;
	for (unsigned k = 0; rc == 0 && go_on && k < shards_of(mbp); k++)
		rc = k && !use(mbp, k, &p, &o) ? -ENOMEM : each_in(p, o, fn, arg, &go_on);
	return rc;
}

static const struct meta_site *site_at(const struct pool *p, uint32_t number)
{
	static const struct meta_site none;

	p = p->home;
	return number && number < p->live->counters.sites_used && number < p->live->sites_committed ?
		       &p->sites->site[number] : &none;
}

/* ---- totals ---- */

static uint64_t cached_bytes(const struct pool *p)
{
	return CACHED_BYTES(p->id->domain == MEM_SHM ? slot_cached(p) : pkg_magazines_cached(p));
}

/* Word by word: each is right, and together they may be of two moments. */
static struct meta_counters counters_of(const struct pool *p)
{
	struct meta_counters c;

	RACY_READS_BEGIN();
	c = p->live->counters;
	RACY_READS_END();
	return c;
}

static void info(void *mbp, struct mem_info *ret)
{
	struct owner *o = NULL;
	const struct pool *p = ready(mbp, &o);

	*ret = (struct mem_info){ 0 };
	for (unsigned k = p ? shards_of(mbp) : 0; k--; ) {
		struct meta_counters c = counters_of(&p[k]);
		uint64_t cached = cached_bytes(&p[k]);

		ret->total_size += p[k].id->size;
		ret->free_size += c.tally.free_bytes + cached + p[k].id->size - c.committed;
		ret->used_size += c.used - cached;
		ret->real_used += c.committed - c.tally.free_bytes - cached;
		ret->max_used += c.max_used;
		ret->min_frag = 16;
		ret->total_frags += c.fragments + c.tally.free_fragments;
	}
	if (p && pool_keeps_own(p))	/* what it has besides, nobody knows */
		ret->total_size = ret->real_used = p->live->counters.used;
}

static uint64_t available(void *mbp)
{
	struct mem_info i;

	info(mbp, &i);
	return i.free_size;
}

void pkg_info(struct mem_info *ret) { info(&mem_pkg_pool, ret); }
void shm_info(struct mem_info *ret) { info(&mem_shm_pool, ret); }

/* ---- reports ---- */

static void name_frag(const struct pool *p, const struct seen *s, struct mem_report_frag *to)
{
	const struct meta_site *site = site_at(p, s->site);

	to->size = s->size;
	to->line = site->line;
	memcpy(to->file, site->file, sizeof to->file);
	memcpy(to->func, site->function, sizeof to->func);
	memcpy(to->mname, site->module, sizeof site->module);
}

static bool to_report(const struct pool *p, const struct seen *s, void *arg)
{
	struct mem_report *r = arg;
	struct mem_report_frag *most = s->used ? &r->max_used_frag : &r->max_free_frag;
	struct mem_report_frag *least = s->used ? &r->min_used_frag : &r->min_free_frag;

	*(s->used ? &r->used_size_m : &r->free_size_m) += s->size;
	++*(s->used ? &r->used_frags : &r->free_frags);
	r->total_frags++;
	if (s->size > most->size)
		name_frag(p, s, most);
	if (!least->size || s->size < least->size)
		name_frag(p, s, least);
	return true;
}

static void report(void *mbp, struct mem_report *ret)
{
	struct mem_info i;

	info(mbp, &i);
	*ret = (struct mem_report){ .total_size = i.total_size,
				    .free_size_s = i.free_size,
				    .used_size_s = i.used_size,
				    .real_used_s = i.real_used,
				    .max_used_s = i.max_used };
	each_fragment(mbp, to_report, ret);
	ret->free_size_m += i.free_size - (i.free_size < ret->free_size_m ? i.free_size : ret->free_size_m);
	ret->real_used_m = i.total_size - ret->free_size_m;
}

struct printing { FILE *out; const char *match; };

static bool print(const struct pool *p, const struct seen *s, void *arg)
{
	const struct printing *to = arg;
	const struct meta_site *site = site_at(p, s->site);

	if (to->match && (!s->used || (strcmp(to->match, site->file) != 0 && strcmp(to->match, site->function) != 0)))
		return true;
	fprintf(to->out, "%c %p size=%llu", s->used ? 'A' : 'N', s->address, (unsigned long long)s->size);
	if (s->used && s->site)
		fprintf(to->out, " requested=%llu from %s: %s: %s(%llu)", (unsigned long long)s->requested, site->module,
			site->file, site->function, (unsigned long long)site->line);
	fputc('\n', to->out);
	return true;
}

static void status_filter(void *mbp, const char *match, FILE *out)
{
	struct pool *p = mbp;
	struct mem_info i;

	info(mbp, &i);
	if (!p->id)
		return;
	fprintf(out, "%s (%s): size=%llu used=%llu used+overhead=%llu free=%llu max used=%llu fragments=%llu\n",
		p->id->domain == MEM_SHM ? "shm" : "pkg", p->manager->name, (unsigned long long)i.total_size,
		(unsigned long long)i.used_size, (unsigned long long)i.real_used, (unsigned long long)i.free_size,
		(unsigned long long)i.max_used, (unsigned long long)i.total_frags);
	if (pool_keeps_own(p))
		fprintf(out, "of these %llu are tracked and follow; what is free is the manager's own business\n",
			(unsigned long long)p->live->counters.recorded);
	if (each_fragment(mbp, print, &(struct printing){ out, match }) == -EUCLEAN)
		fprintf(out, "the heap is damaged: the walk ended early\n");
}

static void status(void *mbp, FILE *out) { status_filter(mbp, NULL, out); }

/* ---- per call site ---- */

static struct mem_counter *counter_new(const struct meta_site *site)
{
	struct mem_counter *c = calloc(1, sizeof *c);

	if (c) {
		memcpy(c->file, site->file, sizeof c->file);
		memcpy(c->func, site->function, sizeof c->func);
		memcpy(c->mname, site->module, sizeof site->module);
		c->line = site->line;
	}
	return c;
}

struct counting { struct mem_counter *by_site[SITES_MAX], *first; };

static bool count(const struct pool *p, const struct seen *s, void *arg)
{
	struct counting *to = arg;
	struct mem_counter **c = &to->by_site[s->site % SITES_MAX];

	if (!s->used)
		return true;
	if (!*c) {
		*c = counter_new(site_at(p, s->site));
		if (!*c)
			return false;
		(*c)->next = to->first;
		to->first = *c;
	}
	(*c)->size += s->size;
	(*c)->count++;
	return true;
}

static void fmodstats(struct mem_counter *list)
{
	while (list) {
		struct mem_counter *next = list->next;

		free(list);
		list = next;
	}
}

static void modstats(void *mbp, struct mem_counter **ret_list)
{
	struct counting *to = calloc(1, sizeof *to);

	*ret_list = NULL;
	if (!to)
		return;
	each_fragment(mbp, count, to);
	*ret_list = to->first;
	free(to);
}

static void sums(void *mbp, FILE *out)
{
	struct mem_counter *list;

	modstats(mbp, &list);
	for (const struct mem_counter *c = list; c; c = c->next)
		fprintf(out, "count=%6llu size=%10llu bytes from %s: %s: %s(%llu)\n", (unsigned long long)c->count,
			(unsigned long long)c->size, c->mname, c->file, c->func, (unsigned long long)c->line);
	fmodstats(list);
}

struct handing { mem_fragment_fn *fn; void *arg; };

static bool hand_out(const struct pool *p, const struct seen *s, void *arg)
{
	const struct handing *to = arg;

	(void)p;
	return to->fn(&(struct mem_fragment){ s->address, s->size, s->requested, s->used }, to->arg);
}

static int walk(void *mbp, mem_fragment_fn *fn, void *arg)
{
	return each_fragment(mbp, hand_out, &(struct handing){ fn, arg });
}

/* ---- the structs ---- */

static void *p_malloc(void *b, size_t n, const struct mem_site *s) { (void)b; return mem_pkg_malloc(n, s); }
static void *p_mallocxz(void *b, size_t n, const struct mem_site *s) { (void)b; return mem_pkg_mallocxz(n, s); }
static void *p_memalign(void *b, size_t a, size_t n, const struct mem_site *s)
{
	(void)b;
	return mem_pkg_memalign(a, n, s);
}
static void *p_realloc(void *b, void *p, size_t n, const struct mem_site *s)
{
	(void)b;
	return mem_pkg_realloc(p, n, s);
}
static void *p_reallocxf(void *b, void *p, size_t n, const struct mem_site *s)
{
	(void)b;
	return mem_pkg_reallocxf(p, n, s);
}
static void p_free(void *b, void *p, const struct mem_site *s) { (void)b; mem_pkg_free(p, s); }
static size_t p_usable(void *b, const void *p) { (void)b; return pkg_usable(p); }

static void *s_malloc(void *b, size_t n, const struct mem_site *s) { (void)b; return mem_shm_malloc(n, s); }
static void *s_mallocxz(void *b, size_t n, const struct mem_site *s) { (void)b; return mem_shm_mallocxz(n, s); }
static void *s_unsafe(void *b, size_t n, const struct mem_site *s) { (void)b; return mem_shm_malloc_unsafe(n, s); }
static void *s_memalign(void *b, size_t a, size_t n, const struct mem_site *s)
{
	(void)b;
	return mem_shm_memalign(a, n, s);
}
static void *s_realloc(void *b, void *p, size_t n, const struct mem_site *s)
{
	(void)b;
	return mem_shm_realloc(p, n, s);
}
static void *s_reallocxf(void *b, void *p, size_t n, const struct mem_site *s)
{
	(void)b;
	return mem_shm_reallocxf(p, n, s);
}
static void *s_resize(void *b, void *p, size_t n, const struct mem_site *s) { (void)b; return mem_shm_resize(p, n, s); }
static void s_free(void *b, void *p, const struct mem_site *s) { (void)b; mem_shm_free(p, s); }
static void s_free_unsafe(void *b, void *p, const struct mem_site *s) { (void)b; mem_shm_free_unsafe(p, s); }
static size_t s_usable(void *b, const void *p) { (void)b; return shm_usable(p); }
static void s_lock(void *b) { (void)b; shm_lock(); }
static void s_unlock(void *b) { (void)b; shm_unlock(); }

static void set_site(void *mbp, void *ptr, const struct mem_site *site)
{
	struct front_call call = { .site = site, .caller = __builtin_return_address(0) };

	call.p = ready(mbp, &call.o);
	if (call.p && shards_of(mbp) > 1 &&
	    !use(mbp, shards_find(call.p, shards_of(mbp), ptr), &call.p, &call.o))
		return;
	call.flags = call.o && call.o->holds ? FRONT_HELD : 0;
	if (call.p && call.p->id->domain == MEM_SHM)
		shm_front_set_site(&call, ptr);
	else if (call.p)
		pkg_front_set_site(&call, ptr);
}

/* The pool goes with its process: what is private by the kernel, what is shared when its last user leaves. */
static void destroy(void *mbp) { (void)mbp; }

const sr_pkg_api_t *pkg_api(void)
{
	static sr_pkg_api_t api;
	struct pool *p = mem_pkg_ready();

	if (!p)
		return NULL;
	api = (sr_pkg_api_t){ .size = sizeof api, .mname = p->manager->name, .mem_pool = p->heap.base, .mem_block = p,
			      .xmalloc = p_malloc, .xmallocxz = p_mallocxz, .xmemalign = p_memalign,
			      .xrealloc = p_realloc, .xreallocxf = p_reallocxf, .xfree = p_free, .xusable = p_usable,
			      .xsetfunc = set_site, .xstatus = status, .xstatus_filter = status_filter, .xinfo = info,
			      .xreport = report, .xavailable = available, .xsums = sums, .xmodstats = modstats,
			      .xfmodstats = fmodstats, .xwalk = walk, .xdestroy = destroy };
	return &api;
}

const sr_shm_api_t *shm_api(void)
{
	static sr_shm_api_t api;
	struct owner *o;
	struct pool *p = mem_shm_ready(&o);

	if (!p)
		return NULL;
	api = (sr_shm_api_t){ .size = sizeof api, .mname = p->manager->name, .mem_pool = p->heap.base, .mem_block = p,
			      .xmalloc = s_malloc, .xmallocxz = s_mallocxz, .xmalloc_unsafe = s_unsafe,
			      .xmemalign = s_memalign, .xrealloc = s_realloc, .xreallocxf = s_reallocxf,
			      .xresize = s_resize, .xfree = s_free, .xfree_unsafe = s_free_unsafe, .xusable = s_usable,
			      .xsetfunc = set_site, .xstatus = status, .xstatus_filter = status_filter, .xinfo = info,
			      .xreport = report, .xavailable = available, .xsums = sums, .xmodstats = modstats,
			      .xfmodstats = fmodstats, .xwalk = walk, .xglock = s_lock, .xgunlock = s_unlock,
			      .xdestroy = destroy };
	return &api;
}
