/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The ledger: records as they lie in META, in chunks, without a lock.
 *
 * A record is four words of one transaction. A chunk that was read while nothing happened, or from which the one open
 * transaction could be undone, is true as it is. Otherwise it is read again: a record that is the same in both copies
 * was not being written, and the few others are read one by one. Cost: 32 bytes copied a record, once in a quiet pool,
 * twice in a busy one.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mem/observe/peek.h"

static uint64_t record_at(uint64_t index) { return META_RECORDS + index * sizeof(struct meta_record); }

uint64_t peek_records_end(struct obs_pool *p, const struct meta_live *live)
{
	uint64_t end = live->counters.records_used, size = peek_size(p);
	uint64_t file = size > META_RECORDS ? (size - META_RECORDS) / sizeof(struct meta_record) : 0;

	end = end < p->id.records_max ? end : p->id.records_max;
	end = end < live->records_committed ? end : live->records_committed;
	return end < file ? end : file;
}

int peek_record(struct obs_pool *p, uint64_t index, struct meta_record *ret_record)
{
	if (index >= p->id.records_max)
		return -ENODATA;
	return peek_whole(p, record_at(index), ret_record, sizeof *ret_record);
}

int peek_record_near(struct obs_pool *p, const struct peek_moment *m, struct peek_near *near, uint64_t index,
		     struct meta_record *ret_record)
{
	const uint64_t count = sizeof near->record / sizeof near->record[0];
	uint64_t page = index / count, at = record_at(page * count);
	int e;

	if (near->page != page + 1) {
		near->page = 0;
		e = peek_meta(p, at, near->record, sizeof near->record);
		if (e)
			return e;
		peek_undo(m, p->id.meta_at + at, near->record, sizeof near->record);
		near->page = page + 1;
	}
	*ret_record = near->record[index % count];
	return 0;
}

/** A stamp from its low half: the nearest that is not far in the future. */
static uint64_t whole_stamp(uint32_t low, uint64_t now)
{
	uint32_t behind = (uint32_t)now - low;

	if (behind > UINT32_MAX - 0x100000)
		return now + (uint32_t)-behind;		/* younger than our copy of the counter */
	return now >= behind ? now - behind : low;
}

struct peek_present peek_present(uint64_t stamp)
{
	return (struct peek_present){ .stamp = stamp, .time = (uint64_t)time(NULL) };
}

/** Two clocks were read when the pool was made, so that a sum of theirs may be a second ahead. */
static uint64_t past(uint64_t time, uint64_t now) { return time < now ? time : now; }

/**
 * What others of this size have, without a record's tail: what was asked for, in steps of 16, and 8 more where heads
 * have 8 bytes. A manager that has larger steps may give them more, but not what it gave this one, whose tail may have
 * made it the next step.
 */
static uint64_t size_of_others(uint64_t sizes)
{
	uint64_t size = RECORD_USABLE(sizes), head = size % 16, asked = sizes_requested(sizes);
	uint64_t others = asked > 16 + head ? ((asked - head + 15) & ~15ull) + head : 16 + head;

	return sizes_known(sizes) && others < size ? others : size;
}

bool peek_record_tells(const struct obs_pool *p, uint64_t index, const struct meta_record *r,
		       const struct peek_present *present, struct obs_fragment *ret_fragment)
{
	uint64_t size = RECORD_USABLE(r->sizes);
	uint64_t flags = r->owner >> 48, off = r->address - p->id.base;
	uint32_t weight = p->key.domain == OBS_PKG ? RECORD_WEIGHT(r->owner) : 0;

	if (!r->address || (r->address & RECORD_FREE))
		return false;
	if (p->id.size && (off >= p->id.size || size > p->id.size - off))
		return false;
	*ret_fragment = (struct obs_fragment){
		.index = SHARD_IN(index, p->id.shard), .address = r->address, .size = size,
		.requested = sizes_known(r->sizes) ? sizes_requested(r->sizes) : OBS_UNKNOWN,
		.state = flags & RECORD_CACHED ? OBS_CACHED : OBS_USED,
		.site = (uint32_t)r->owner < SITES_MAX ? (uint32_t)r->owner : 0,
		.slot = (p->key.domain == OBS_SHM ? RECORD_WEIGHT(r->owner) : 0) | p->id.shard << SHARD_SLOT_AT,
		.time = flags & RECORD_CACHED && p->key.domain == OBS_SHM ?	/* there it has the chain */
				OBS_UNKNOWN :
				past(p->id.created + (uint32_t)r->time, present->time),
		.quarantined = flags & RECORD_QUARANTINED,
		.sampled = weight,
		.weight = weight_of(weight),
		.alike = weight ? size_of_others(r->sizes) : size,
		.stamp = flags & RECORD_CACHED ? OBS_UNKNOWN : whole_stamp((uint32_t)(r->time >> 32), present->stamp),
	};
	return true;
}

static int chunks_make(struct obs *o)
{
	for (unsigned i = 0; i < 2; i++)
		if (!o->chunk[i] && !(o->chunk[i] = malloc(PEEK_CHUNK * sizeof(struct meta_record))))
			return -ENOMEM;
	return 0;
}

/** Read again what was read from a pool in motion. */
static int settle(struct obs_pool *p, uint64_t from, size_t count)
{
	struct meta_record *a = p->o->chunk[0], *b = p->o->chunk[1];
	struct peek_moment m;
	int m_error = peek_moment(p, &m), e = peek_meta(p, record_at(from), b, count * sizeof *b);

	if (e)
		return e;
	if (!m_error)
		peek_undo(&m, p->id.meta_at + record_at(from), b, count * sizeof *b);
	for (size_t i = 0; i < count; i++)
		if (memcmp(&a[i], &b[i], sizeof a[i]) && peek_record(p, from + i, &a[i]) < 0)
			a[i].address = 0;
	return 0;
}

int peek_records(struct obs_pool *p, uint64_t from, size_t count, const struct meta_record **ret_records)
{
	struct peek_moment before, after;
	struct meta_record *a;
	int e = chunks_make(p->o), moving;

	if (e)
		return e;
	a = p->o->chunk[0];
	moving = peek_moment(p, &before);
	e = peek_meta(p, record_at(from), a, count * sizeof *a);
	if (!e && (moving || peek_moment(p, &after) || !peek_same_call(&before, &after)))
		e = settle(p, from, count);
	else if (!e)
		peek_undo(&after, p->id.meta_at + record_at(from), a, count * sizeof *a);
	if (!e)
		*ret_records = a;
	return e;
}

static int records(struct obs_pool *p, uint64_t *ret_at, uint64_t *max, obs_fragment_fn *fn, void *arg)
{
	uint64_t at = *ret_at, end;
	const struct meta_record *r;
	struct peek_present present;
	struct obs_fragment f;
	struct meta_live live;
	int e = peek_live(p, &live);

	if (e)
		return e == -ENODATA ? -EUCLEAN : e;
	if (at > p->id.records_max)
		return -EINVAL;
	end = peek_records_end(p, &live);
	present = peek_present(live.counters.stamp);
	while (at < end && *max) {
		uint64_t n = end - at < PEEK_CHUNK ? end - at : PEEK_CHUNK;

		n = n < *max ? n : *max;
		e = peek_records(p, at, n, &r);
		if (e)
			return e;
		*max -= n;
		for (uint64_t i = 0; i < n; i++)
			if (peek_record_tells(p, at + i, &r[i], &present, &f) && !fn(&f, arg)) {
				n = i + 1;
				*max = 0;
			}
		at += n;
	}
	*ret_at = at < end ? at : 0;
	return 0;
}

int obs_records(struct obs_pool *p, uint64_t *cursor, uint64_t max, obs_fragment_fn *fn, void *arg)
{
	return peek_list(p, records, cursor, max, fn, arg);
}
