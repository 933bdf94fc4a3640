/* SPDX-License-Identifier: BSD-2-Clause */
#include "look.h"

#include <string.h>

/* ---- structure ---- */

struct sums { uint64_t used, fragments, free, free_fragments; };

static bool add(const struct mem_frag *f, void *arg)
{
	struct sums *s = arg;

	*(f->used ? &s->used : &s->free) += f->size;
	++*(f->used ? &s->fragments : &s->free_fragments);
	return true;
}

static void on_fault(const struct mem_fault *f, void *arg) { *(const char **)arg = f->what; }

static bool is_live(const struct meta_record *r) { return r->address && !(r->address & RECORD_FREE); }

static bool is_cached(const struct meta_record *r) { return r->owner >> 48 & RECORD_CACHED; }

/* As many live records as fragments, each named by its fragment's tail; the free ones are all in their list. */
static const char *look_ledger(const struct pool *p)
{
	const struct meta_counters *c = &p->live->counters;
	uint64_t live = 0, bytes = 0, free_ones = 0;

	if (c->records_used > RECORDS_MOST || c->records_used > p->live->records_committed)
		return "more records than there can be";
	for (uint64_t i = 0; i < c->records_used; i++) {
		const struct meta_record *r = &p->records[i];
		uint64_t usable = RECORD_USABLE(r->sizes);

		if (!is_live(r))
			continue;
		live++;
		bytes += usable;
		if (r->address - (uintptr_t)p->heap.base + usable > c->committed)
			return "a record leads out of the pool";
		if (*(uint64_t *)(r->address + usable - TAIL_BYTES) != (i | p->generation))
			return "a record is not named by its fragment";
	}
	for (uint64_t i = c->records_free; i; i = p->records[i - 1].sizes)
		if (i > c->records_used || ++free_ones > c->records_used || is_live(&p->records[i - 1]))
			return "the list of free records is broken";
	return live != c->fragments || bytes != c->used ? "ledger and counters differ" :
	       live + free_ones != c->records_used ? "a record is lost" : NULL;
}

const char *look_pool(struct pool *p, bool lock_free)
{
	const struct meta_counters *c = &p->live->counters;
	struct sums walked = { 0 };
	const char *fault = NULL;

	p->heap.len = c->committed;
	if (p->live->state != POOL_LIVE)
		return "the pool is marked as damaged";
	if (lock_free && (uint32_t)p->live->lock)
		return "the lock is still held";
	if (lock_free && p->live->repair)
		return "a repair is still said to be under way";
	if (p->ops->walk(&p->heap, 0, UINT32_MAX, add, &walked))
		return "the walk met damage";
	if (p->ops->check(&p->heap, on_fault, &fault))
		return fault;
	if (walked.used != c->used || walked.fragments != c->fragments || walked.free != c->tally.free_bytes ||
	    walked.free_fragments != c->tally.free_fragments)
		return "walk and counters differ";
	return look_ledger(p);
}

/* ---- meaning ---- */

static bool intact(const struct model *m, const struct entry *e)
{
	const unsigned char *at = e->ptr;
	size_t n = e->size < CONTENTS_MOST ? e->size : CONTENTS_MOST;

	if (e == &m->held[HELD])
		return true;
	for (size_t i = 0; i < n; i++)
		if (at[i] != e->fill || at[e->size - 1 - i] != e->fill)
			return false;
	return true;
}

/* What is left of the fragment that the call under way is about, and what it has made. */
struct outcome { bool old, resized, fresh; };

static bool allowed(const struct call *c, struct outcome o)
{
	bool gone = !o.old && !o.resized;

	switch (c ? (enum kind)c->kind : CALL_KINDS) {
	case CALL_ALLOC:
	case CALL_ZERO:
	case CALL_ALIGNED:
	case CALL_ALLOC_UNSAFE:
		return true;
	case CALL_FREE:
	case CALL_FREE_UNSAFE:
		return !o.resized && !o.fresh;
	case CALL_REALLOC:
		if (!c->ptr)
			return true;
		return o.resized ? !o.fresh : o.old || o.fresh; /* moved: there are two for a moment, never none */
	case CALL_REALLOC_XF:
		return o.resized ? !o.fresh : true;
	case CALL_RESIZE:
		return gone || !o.fresh;
	default:
		return !o.resized && !o.fresh && (o.old || !c || !c->ptr);
	}
}

static bool frees(const struct call *c)
{
	return c && c->ptr && (c->kind == CALL_FREE || c->kind == CALL_FREE_UNSAFE || c->kind == CALL_REALLOC ||
			       c->kind == CALL_REALLOC_XF || c->kind == CALL_RESIZE);
}

static uint64_t requested(const struct meta_record *r) { return sizes_requested(r->sizes); }

static bool of_victim(const struct model *m, const struct pool *p, const struct meta_record *r)
{
	uint32_t slot = (uint32_t)(r->owner >> 32) & 0xffff;

	return slot < p->live->slots_used && SLOT_PID(pool_slot(p, slot)->state) == m->victim;
}

static const char *look_record(const struct model *m, const struct pool *p, uint64_t i, const struct call *call,
			       struct outcome *outcome, unsigned *seen)
{
	const struct meta_record *r = &p->records[i];
	const struct entry *e = m->by_record[p - m->p][i] ? &m->held[m->by_record[p - m->p][i] - 1] : NULL;

	if (!of_victim(m, p, r))
		return "a fragment that is nobody's";
	if (e && (uintptr_t)e->ptr != r->address)
		e = NULL;		/* the record is used again: by the call under way, or it is wrong below */
	if (e && frees(call) && e->ptr == call->ptr) {
		if (requested(r) == e->size && intact(m, e))
			outcome->old = true;
		else if (requested(r) == call->size)
			outcome->resized = true;
		else
			return "the fragment under way is neither as it was nor as it shall be";
		return NULL;
	}
	if (e) {
		++*seen;
		return requested(r) != e->size ? "the size of a fragment that is held has changed" :
		       !intact(m, e)	       ? "the contents of a fragment that is held have changed" :
						 NULL;
	}
	if (!call || outcome->fresh || requested(r) != call->size)
		return "a fragment that nobody asked for";
	if (call->align && r->address % call->align)
		return "not aligned";
	outcome->fresh = true;
	return NULL;
}

static const char *look_root(const struct model *m, const struct call *call)
{
	for (unsigned i = 0; i < NAMED_ROOTS; i++) {
		const struct meta_named_root *root = &m->p->live->named[i];

		if (!root->name[0])
			continue;
		if (strcmp(root->name, "held") != 0)
			return "a named root has another name";
		if (root->address == (uintptr_t)m->root ||
		    (call && call->kind == CALL_ROOT && root->address == (uintptr_t)call->ptr))
			return NULL;
		return "a named root leads elsewhere";
	}
	return m->root ? "a named root is gone" : NULL;
}

const char *look_model(const struct model *m, const struct call *call)
{
	struct outcome outcome = { 0 };
	const char *what = NULL;
	unsigned seen = 0, others;

	for (const struct pool *p = m->p; !what && p < m->p + m->shards; p++)
		for (uint64_t i = 0; !what && i < p->live->counters.records_used; i++)
			if (is_live(&p->records[i]) && !is_cached(&p->records[i]))
				what = look_record(m, p, i, call, &outcome, &seen);
	if (what)
		return what;
	others = m->count - frees(call);
	if (!frees(call))
		outcome.old = true;
	if (seen != others)
		return "a fragment that is held is gone";
	if (!allowed(call, outcome))
		return "the call under way has happened in part";
	return look_root(m, call);
}

/* ---- calls that are over ---- */

static void forget(struct model *m, unsigned k)
{
	m->count -= m->held[k].ptr != NULL;
	m->held[k] = (struct entry){ 0 };
	for (unsigned s = 0; s < m->shards; s++)
		for (uint64_t i = 0; i < m->p[s].live->counters.records_used && i < RECORDS_MOST; i++)
			if (m->by_record[s][i] == k + 1)
				m->by_record[s][i] = 0;
}

static void keep(struct model *m, const struct call *c, void *got)
{
	forget(m, c->k);
	if (!got)
		return;
	m->held[c->k] = (struct entry){ got, c->size, (unsigned char)c->fill };
	m->count++;
	for (unsigned s = 0; s < m->shards; s++)
		for (uint64_t i = 0; i < m->p[s].live->counters.records_used && i < RECORDS_MOST; i++)
			if (m->p[s].records[i].address == (uintptr_t)got)
				m->by_record[s][i] = (uint8_t)(c->k + 1);
}

void look_made(struct model *m, const struct call *c, void *got)
{
	switch ((enum kind)c->kind) {
	case CALL_ALLOC:
	case CALL_ZERO:
	case CALL_ALIGNED:
	case CALL_ALLOC_UNSAFE:
	case CALL_REALLOC_XF:
	case CALL_RESIZE:
		keep(m, c, got);
		break;
	case CALL_REALLOC:
		if (got)
			keep(m, c, got);
		break;
	case CALL_FREE:
	case CALL_FREE_UNSAFE:
		forget(m, c->k);
		break;
	case CALL_ROOT:
		m->root = c->ptr;
		break;
	default:
		break;
	}
}

uint64_t look_records_of(const struct pool *p, pid_t pid)
{
	const struct model m = { .victim = pid };
	uint64_t n = 0;

	for (uint64_t i = 0; i < p->live->counters.records_used; i++)
		n += is_live(&p->records[i]) && !is_cached(&p->records[i]) && of_victim(&m, p, &p->records[i]);
	return n;
}
