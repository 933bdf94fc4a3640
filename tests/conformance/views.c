/* SPDX-License-Identifier: BSD-2-Clause */
/* What the parts of conform.h share: patterns, and every view of a heap compared with every other one. */
#include "conform.h"

#include <unistd.h>

size_t pick(uint64_t *seed, size_t n)
{
	*seed = *seed * 6364136223846793005u + 1442695040888963407u;
	return (size_t)(*seed >> 33) % n;
}

size_t some_size(uint64_t *seed)
{
	static const size_t most[] = { 64, 64, 64, 200, 200, 1024, 1024, 5000 };
	size_t kind = pick(seed, 64);

	return kind ? pick(seed, most[kind % 8] + 1) : pick(seed, 64 << 10);
}

static uint64_t word_of(uint64_t key, size_t i) { return (key + i) * 0x9e3779b97f4a7c15u; }

void fill(void *p, size_t size, uint64_t key)
{
	unsigned char *to = p;
	uint64_t word;
	size_t i;

	for (i = 0; i + 8 <= size; i += 8) {
		word = word_of(key, i);
		memcpy(to + i, &word, 8);
	}
	word = word_of(key, i);
	memcpy(to + i, &word, size - i);
}

bool intact(const void *p, size_t size, uint64_t key)
{
	const unsigned char *at = p;
	uint64_t word, found;
	size_t i;

	for (i = 0; i + 8 <= size; i += 8) {
		memcpy(&found, at + i, 8);
		if (found != word_of(key, i))
			return false;
	}
	word = word_of(key, i);
	return memcmp(at + i, &word, size - i) == 0;
}

/* ---- the observer ---- */

struct obs_pool *observed(const struct memory *m)
{
	static struct obs *o;
	static pid_t pid, maker;
	struct obs_pool *p;
	struct mem_info info;

	if (pid != getpid()) { /* at first, and in a forked child, whose private heap is another pool */
		pid = getpid();
		maker = maker ? maker : pid;
		obs_close(o);
		m->info(&info);
		EXPECT(obs_open(NULL, &o) == 0 && obs_scan(o, NULL, NULL) == 0);
	}
	for (size_t i = 0; (p = obs_at(o, i)); i++)
		if (obs_info(p)->pid == (m->shared ? maker : pid) &&
		    obs_info(p)->domain == (m->shared ? OBS_SHM : OBS_PKG))
			return p;
	fail(__FILE__, __LINE__, "the observer does not find our pool");
}

static struct obs_stats stats_of(const struct memory *m)
{
	struct obs_stats s;

	EXPECT(obs_stats(observed(m), &s) == 0);
	return s;
}

bool counts_free(const struct memory *m) { return stats_of(m).free != OBS_UNKNOWN; }

static bool first_failure(const struct obs_failure *f, void *arg)
{
	*(struct obs_failure *)arg = *f;
	return false;
}

uint64_t failures(const struct memory *m, struct obs_failure *ret_last)
{
	if (ret_last)
		EXPECT(obs_failures(observed(m), first_failure, ret_last) == 0);
	return stats_of(m).failures;
}

void watch_otherwise(const struct memory *m, unsigned turn)
{
	static const enum obs_tracking modes[] = { OBS_SITES, OBS_STACKS, OBS_OFF };
	enum obs_tracking mode = modes[turn % 3];
	void *p;

	if (m->watch != SWITCHED)
		return;
	EXPECT(obs_track(observed(m), mode) == (m->shared && mode == OBS_OFF ? -ENOTSUP : 0));
	p = m->alloc(1);		/* it is followed by the next call, which empties what was kept ready */
	m->free(p);
}

/* ---- views ---- */

struct totals { uint64_t used, free, used_bytes, free_bytes, largest_free, cached, cached_bytes; };

static bool walked(const struct mem_fragment *f, void *arg)
{
	struct totals *t = arg;

	EXPECT(f->requested <= f->size);
	t->used += f->used;
	t->free += !f->used;
	*(f->used ? &t->used_bytes : &t->free_bytes) += f->size;
	if (!f->used && f->size > t->largest_free)
		t->largest_free = f->size;
	return true;
}

static bool seen(const struct obs_fragment *f, void *arg)
{
	struct totals *t = arg;

	t->used += f->state == OBS_USED;
	t->free += f->state == OBS_FREE;
	t->cached += f->state == OBS_CACHED;
	*(f->state == OBS_USED ? &t->used_bytes : f->state == OBS_FREE ? &t->free_bytes : &t->cached_bytes) += f->size;
	if (f->state == OBS_FREE && f->size > t->largest_free)
		t->largest_free = f->size;
	return true;
}

static void from_inside(const struct memory *m, struct totals *t, struct mem_info *info)
{
	struct mem_report r;

	*t = (struct totals){ 0 };
	m->info(info);
	if (m->shared) {
		EXPECT(shm_api()->xwalk(shm_api()->mem_block, walked, t) == 0);
		shm_api()->xreport(shm_api()->mem_block, &r);
	} else {
		EXPECT(pkg_api()->xwalk(pkg_api()->mem_block, walked, t) == 0);
		pkg_api()->xreport(pkg_api()->mem_block, &r);
	}
	EXPECT(r.used_size_s == info->used_size && r.used_size_m == t->used_bytes && r.used_frags == t->used);
	EXPECT(r.free_frags == t->free && r.max_free_frag.size == t->largest_free);
}

/* Their contracts leave it to the manager whether what is free can be told. */
static void from_outside(const struct memory *m, struct totals *t, struct obs_stats *s)
{
	uint64_t cursor = 0;

	*t = (struct totals){ 0 };
	*s = stats_of(m);
	do
		EXPECT(obs_walk(observed(m), &cursor, 1 << 20, seen, t) == 0);
	while (cursor);
	EXPECT(s->used == t->used_bytes && s->fragments == t->used);
	EXPECT(s->cached == OBS_UNKNOWN || s->cached == t->cached_bytes);
	if (s->free == OBS_UNKNOWN)
		return;
	EXPECT(s->free == t->free_bytes && s->free_fragments == t->free);
	EXPECT(s->real_used + s->cached + s->free == s->committed);
	EXPECT(s->largest_free <= t->largest_free);
	EXPECT(s->largest_free == t->largest_free || t->free > 256);	/* MEM_LOOKS */
}

static void tell(uint64_t address, const char *what, void *arg)
{
	(void)arg;
	printf("check: %#llx: %s\n", (unsigned long long)address, what);
}

void expect_views_agree(const struct memory *m, uint64_t used)
{
	struct totals inside, outside;
	struct mem_info info;
	struct obs_stats s;
	struct obs_check check;

	from_inside(m, &inside, &info);
	from_outside(m, &outside, &s);
	EXPECT(inside.used == used && outside.used == used);
	EXPECT(info.used_size == inside.used_bytes && info.used_size == outside.used_bytes);
	EXPECT(info.max_used == s.max_used && info.max_used >= info.used_size);
	if (s.free != OBS_UNKNOWN) {
		EXPECT(inside.free == outside.free + outside.cached);
		EXPECT(inside.free_bytes == outside.free_bytes + outside.cached_bytes);
		EXPECT(info.total_frags == outside.used + outside.free + outside.cached);
		EXPECT(info.free_size == s.free + s.cached + s.size - s.committed);
		EXPECT(info.real_used == s.real_used);
	}
	EXPECT(obs_check(observed(m), &check, tell, NULL) == 0);
	EXPECT(check.known && check.ok);
}

size_t largest_served(const struct memory *m)
{
	size_t good = 0, bad = m->size + 1, size;
	void *p;

	while (bad - good > 16) {
		size = good + (bad - good) / 2;
		p = m->alloc(size);
		m->free(p);
		*(p ? &good : &bad) = size;
	}
	return good;
}
