/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A heap for a manager's view object: a cache of pages, read from a file or a process when first needed.
 *
 *	page number % PAGES -> place;	a miss after its neighbour reads 16 pages ahead
 *
 * Each page has the open transaction undone when it is read, so that walk, check and largest see a heap between two
 * calls even when the owner is stopped or was killed inside one. Words that were loaded can be noted and loaded again:
 * when all are as they were, they were true together, although the heap as a whole did not stand still.
 *
 * Cost: one system call for 64 KiB of a walk; 2 MiB for the cache, one an observer.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mem/observe/peek.h"

enum { PAGES = 512, AHEAD = 16, NOTES = 32 * PEEK_BATCH };

struct peek_pages {
	struct mem_reader reader;	/* first: read() gets its address */
	struct obs_pool *pool;
	struct peek_moment moment;	/* whose open transaction is undone */
	uint64_t data_at, data_end, roots_at, roots_end;	/* pages that may be asked for */
	int error;			/* of the first read that failed */
	bool noting;
	unsigned notes;			/* NOTES: too many to remember */
	struct { uint64_t at, value; } note[NOTES];
	uint64_t tag[PAGES];		/* page number + 1, 0: empty */
	unsigned char bytes[PAGES][META_PAGE];
};

/** How many pages from `page` on may be read in one go: at least 1. */
static size_t ahead(const struct peek_pages *g, uint64_t page)
{
	uint64_t end = page >= g->data_at && page < g->data_end ? g->data_end : page + 1;
	uint64_t n = g->tag[(page - 1) % PAGES] == page ? AHEAD : 1;	/* the neighbour's tag is page - 1 + 1 */

	n = n < end - page ? n : end - page;
	return n < PAGES - page % PAGES ? n : PAGES - page % PAGES;
}

static bool page_known(const struct peek_pages *g, uint64_t page)
{
	return (page >= g->data_at && page < g->data_end) || (page >= g->roots_at && page < g->roots_end);
}

static const unsigned char *page_read(struct peek_pages *g, uint64_t page)
{
	size_t place = page % PAGES, n;
	ssize_t got;

	if (!page_known(g, page)) {
		g->error = g->error ? g->error : -EFAULT;
		return NULL;
	}
	n = ahead(g, page);
	memset(&g->tag[place], 0, n * sizeof g->tag[0]);
	got = peek_bytes(g->pool, page * META_PAGE, g->bytes[place], n * META_PAGE);
	if (got < META_PAGE) {
		g->error = g->error ? g->error : got < 0 ? (int)got : -EFAULT;
		return NULL;
	}
	n = (size_t)got / META_PAGE;
	peek_undo(&g->moment, page * META_PAGE, g->bytes[place], n * META_PAGE);
	for (size_t i = 0; i < n; i++)
		g->tag[place + i] = page + i + 1;
	return g->bytes[place];
}

static bool pages_load(struct peek_pages *g, uint64_t at, void *to, size_t bytes)
{
	while (bytes) {
		size_t in = at % META_PAGE, n = bytes < META_PAGE - in ? bytes : META_PAGE - in;
		uint64_t page = at / META_PAGE;
		const unsigned char *from =
			g->tag[page % PAGES] == page + 1 ? g->bytes[page % PAGES] : page_read(g, page);

		if (!from)
			return false;
		memcpy(to, from + in, n);
		at += n, bytes -= n, to = (char *)to + n;
	}
	return true;
}

static bool pages_read(struct mem_reader *r, uintptr_t at, void *to, size_t bytes)
{
	struct peek_pages *g = (struct peek_pages *)(void *)r;

	if (!pages_load(g, at, to, bytes))
		return false;
	if (g->noting && bytes == sizeof(uint64_t) && g->notes < NOTES) {
		g->note[g->notes].at = at;
		memcpy(&g->note[g->notes++].value, to, sizeof(uint64_t));
	}
	return true;
}

static struct peek_pages *pages_of(const struct peek_heap *h) { return (struct peek_pages *)(void *)h->heap.reader; }

static int counters_of(struct obs_pool *p, const struct peek_moment *m, struct meta_counters *ret_counters)
{
	uint64_t offset = META_LIVE + offsetof(struct meta_live, counters);
	int e = peek_meta(p, offset, ret_counters, sizeof *ret_counters);

	if (!e)
		peek_undo(m, p->id.meta_at + offset, ret_counters, sizeof *ret_counters);
	return e;
}

static void pages_start(struct peek_pages *g, struct obs_pool *p, const struct peek_heap *h)
{
	g->reader = (struct mem_reader){ .read = pages_read, .root_bytes = p->id.root_bytes };
	g->pool = p;
	g->moment = h->moment;
	g->data_at = p->id.base / META_PAGE;
	g->data_end = (p->id.base + h->counters.committed) / META_PAGE;
	g->roots_at = p->id.roots / META_PAGE;
	g->roots_end = (p->id.roots + p->id.root_bytes + META_PAGE - 1) / META_PAGE;
	g->error = 0;
	g->noting = false;
	memset(g->tag, 0, sizeof g->tag);
}

int peek_heap(struct obs_pool *p, struct peek_heap *ret_heap)
{
	const struct mem_manager *m = mem_manager_find(p->id.manager);
	struct peek_heap *h = ret_heap;
	int e;

	if (!m || !m->view || m->view->root_bytes > p->id.root_bytes || !p->id.size)
		return -ENOTSUP;
	if (!p->o->pages && !(p->o->pages = malloc(sizeof *p->o->pages)))
		return -ENOMEM;
	e = peek_moment(p, &h->moment);
	if (!e)
		e = counters_of(p, &h->moment, &h->counters);
	if (e)
		return e;
	h->ops = m->view;
	h->heap = (struct mem_heap){ .base = (unsigned char *)(uintptr_t)p->id.base, .len = h->counters.committed,
				     .roots = (uint64_t *)(uintptr_t)p->id.roots, .reader = &p->o->pages->reader };
	if (peek_impossible(p, &h->counters) || h->counters.committed < META_PAGE) {
		h->heap.len = h->counters.committed = 0;
		pages_start(p->o->pages, p, h);
		return -EUCLEAN;
	}
	pages_start(p->o->pages, p, h);
	return 0;
}

int peek_heap_error(const struct peek_heap *h) { return pages_of(h)->error; }

bool peek_heap_same(struct obs_pool *p, const struct peek_heap *h)
{
	struct peek_moment now;

	return peek_moment(p, &now) == 0 && peek_same(&h->moment, &now);
}

void peek_heap_note(struct peek_heap *h)
{
	struct peek_pages *g = pages_of(h);

	g->noting = true;
	g->notes = 0;
}

bool peek_heap_again(struct obs_pool *p, struct peek_heap *h)
{
	struct peek_pages *g = pages_of(h);
	uint64_t value;

	g->noting = false;
	if (g->notes == NOTES || peek_moment(p, &g->moment))
		return false;
	memset(g->tag, 0, sizeof g->tag);
	for (unsigned i = 0; i < g->notes; i++)
		if (!pages_load(g, g->note[i].at, &value, sizeof value) || value != g->note[i].value)
			return false;
	return true;
}

bool peek_heap_word(const struct peek_heap *h, uint64_t at, uint64_t *ret_word)
{
	uint64_t base = (uintptr_t)h->heap.base;

	return at - base < h->heap.len && h->heap.len - (at - base) >= sizeof *ret_word &&
	       pages_load(pages_of(h), at, ret_word, sizeof *ret_word);
}

void peek_pages_free(struct peek_pages *pages) { free(pages); }
