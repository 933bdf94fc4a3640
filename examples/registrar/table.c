/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The shared table. See table.h for the picture and what holds at every instruction.
 */
#include "table.h"

#include <errno.h>
#include <sys/random.h>

#define TABLE_MAGIC 0x3174736967657221ull	/* "!regist1" */
#define TABLE_ROOT "registrar"

/* kill: release stores stay in this order among themselves, whatever the compiler does; no other process looks
 * without the lock, so that nothing is asked of the CPU. */
#define PUBLISH(word, value) atomic_store_explicit(&(word), (value), memory_order_release)
#define PEEK(word) atomic_load_explicit(&(word), memory_order_relaxed)	/* under the lock, or a hint */

/* A fragment in use of that many bytes, in whichever of the pool's heaps. */
static bool in_pool(const void *p, size_t bytes) { return (uintptr_t)p % 8 == 0 && shm_usable(p) >= bytes; }

static int table_check(const struct table *t)
{
	uint64_t buckets;

	if (!in_pool(t, sizeof *t) || t->magic != TABLE_MAGIC)
		return -EPROTO;
	buckets = t->buckets;
	if (!buckets || buckets & (buckets - 1) || buckets > 1u << 24 ||
	    !in_pool(t, sizeof *t + buckets * sizeof(struct bucket)))
		return -EPROTO;
	return 0;
}

/* A table that nobody knows yet. */
static struct table *table_make(size_t buckets)
{
	struct table *t;
	size_t bytes;

	for (bytes = 1; bytes < buckets; bytes *= 2)
		;
	buckets = bytes;
	bytes = sizeof *t + buckets * sizeof(struct bucket);
	t = shm_memalign(64, bytes);
	if (!t)
		return NULL;
	memset(t, 0, bytes);
	t->magic = TABLE_MAGIC;
	t->buckets = buckets;
	if (getrandom(&t->secret, sizeof t->secret, 0) == -1)
		t->secret = (uintptr_t)t;
	return t;
}

/* The first one who comes makes his table the pool's; *t is the pool's then. */
static int table_publish(struct table **t)
{
	struct table *first;
	int err = 0;

	shm_lock();
	first = shm_root_get(TABLE_ROOT);
	if (!first)
		err = shm_root_set(TABLE_ROOT, *t);
	shm_unlock();
	if (!first && !err)
		return 0;
	shm_free(*t);
	*t = first;
	return err;
}

int table_open(size_t buckets, struct table **ret_table)
{
	struct table *t = shm_root_get(TABLE_ROOT);
	int err = 0;

	if (!t) {
		t = table_make(buckets);
		if (!t)
			return -ENOMEM;
		err = table_publish(&t);
	}
	if (!err)
		err = table_check(t);
	if (!err)
		*ret_table = t;
	return err;
}

static bool reachable(const struct bucket *b, const struct record *wanted)
{
	for (const struct record *r = PEEK(b->head); r; r = PEEK(r->next))
		if (r == wanted)
			return true;
	return false;
}

/* A list that leads out of the pool or to what is no record ends there: better short than followed. */
static void list_check(struct bucket *b)
{
	_Atomic(struct record *) *link = &b->head;

	for (struct record *r; (r = PEEK(*link)); link = &r->next) {
		if (!in_pool(r, sizeof *r) || !record_sound(r) || !in_pool(r, r->bytes)) {
			PUBLISH(*link, NULL);
			return;
		}
	}
}

/*
 * What the dead owner was about, read off its two words:
 *	fresh not linked	its update never was: the fresh one goes, the old one stays
 *	fresh linked		its update is made: the old one goes
 *	dying not linked	its removal is made, or its update: the old one goes
 *	dying linked		its removal never was
 * A word becomes NULL in the same step as its fragment is freed, so that nothing is freed twice, or lost, when the
 * repair is killed too.
 */
static void bucket_repair(struct bucket *b)
{
	struct record *fresh = PEEK(b->fresh), *dying = PEEK(b->dying);
	bool fresh_linked, dying_linked;

	list_check(b);
	fresh_linked = fresh && reachable(b, fresh);
	dying_linked = dying && reachable(b, dying);
	if (fresh && !fresh_linked)
		shm_free_from(&b->fresh);
	if (dying && !dying_linked)
		shm_free_from(&b->dying);
	PUBLISH(b->fresh, NULL);
	PUBLISH(b->dying, NULL);
	b->repairs++;
}

struct bucket *table_lock_at(struct table *t, size_t i)
{
	struct bucket *b = &t->bucket[i];
	int err = mem_lock_acquire(&b->lock);

	if (err == EOWNERDEAD)
		bucket_repair(b);
	else if (err)
		return NULL;
	return b;
}

struct bucket *table_lock(struct table *t, uint64_t hash) { return table_lock_at(t, hash & (t->buckets - 1)); }

void table_unlock(struct bucket *b) { (void)mem_lock_release(&b->lock); }

_Atomic(struct record *) *bucket_find(struct bucket *b, uint64_t hash, struct text key)
{
	_Atomic(struct record *) *link = &b->head;

	for (struct record *r; (r = PEEK(*link)); link = &r->next)
		if (r->hash == hash && text_same((struct text){ r->data, r->key_len }, key))
			break;
	return link;
}

struct record *bucket_make(struct bucket *b, size_t bytes)
{
	return shm_malloc_to(&b->fresh, bytes);
}

void bucket_link(struct bucket *b, _Atomic(struct record *) *link, struct record *made)
{
	struct record *old = PEEK(*link);

	PUBLISH(made->next, old ? PEEK(old->next) : NULL);
	PUBLISH(b->dying, old);
	PUBLISH(*link, made);		/* here the update is made */
	PUBLISH(b->fresh, NULL);
	if (old)
		shm_free_from(&b->dying);
}

void bucket_remove(struct bucket *b, _Atomic(struct record *) *link)
{
	struct record *old = PEEK(*link);

	PUBLISH(b->dying, old);
	PUBLISH(*link, PEEK(old->next));
	shm_free_from(&b->dying);
}

static void bucket_sweep(struct bucket *b, int64_t now, struct sweep *s)
{
	_Atomic(struct record *) *link = &b->head;

	for (struct record *r; (r = PEEK(*link));) {
		if (r->until <= now) {
			bucket_remove(b, link);
			s->removed++;
			continue;
		}
		s->records++;
		s->contacts += record_contacts(r, now);
		link = &r->next;
	}
}

void table_sweep(struct table *t, int64_t now, struct sweep *ret_sweep)
{
	struct sweep s = { 0 };

	for (size_t i = 0; i < t->buckets; i++) {
		struct bucket *b = &t->bucket[i];

		s.repairs += b->repairs;
		if (!PEEK(b->head) && !PEEK(b->fresh) && !PEEK(b->dying))	/* a hint: the next sweep sees it */
			continue;
		b = table_lock_at(t, i);
		if (!b)
			continue;
		bucket_sweep(b, now, &s);
		table_unlock(b);
	}
	*ret_sweep = s;
}
