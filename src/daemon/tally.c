/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/tally.h"

#include <stdlib.h>
#include <string.h>

#include "ctl/memory.h"

/* The place of a key: its row, or the empty one where it belongs. There is always an empty one. */
static struct tally_row *place(const struct tally *t, uint64_t key)
{
	size_t at = (size_t)((key * 0x9e3779b97f4a7c15) >> 20) & (t->size - 1);

	while (t->row[at].used && t->row[at].key != key)
		at = (at + 1) & (t->size - 1);
	return &t->row[at];
}

static bool grow(struct tally *t)
{
	struct tally old = *t;

	t->size = old.size ? old.size * 2 : 64;
	t->row = ctl_zalloc(t->size * sizeof *t->row);
	if (!t->row) {
		*t = old;
		t->failed = true;
		return false;
	}
	for (size_t i = 0; i < old.size; i++)
		if (old.row[i].used)
			*place(t, old.row[i].key) = old.row[i];
	ctl_free(old.row);
	return true;
}

struct tally_row *tally_at(struct tally *t, uint64_t key)
{
	struct tally_row *row;

	if (t->count * 4 >= t->size * 3 && !grow(t))
		return NULL;
	row = place(t, key);
	if (row->used)
		return row;
	if (t->count >= TALLY_MAX && key)
		return tally_at(t, 0);
	*row = (struct tally_row){ .key = key, .oldest = OBS_UNKNOWN, .used = true };
	t->count++;
	return row;
}

/* What a file says may be anything. */
static uint64_t sum_of(uint64_t exact, double more)
{
	if (more < 0)
		return exact - (uint64_t)(0.5 - more);
	return exact + (more < 0x1p53 ? (uint64_t)(more + 0.5) : 1ull << 53);
}

uint64_t tally_count(const struct tally_row *row) { return sum_of(row->count, row->more_count); }
uint64_t tally_bytes(const struct tally_row *row) { return sum_of(row->bytes, row->more_bytes); }

void tally_add(struct tally *t, uint64_t key, const struct obs_fragment *f)
{
	struct tally_row *row = tally_at(t, key);

	if (row)
		tally_row_add(row, f);
}

void tally_row_add(struct tally_row *row, const struct obs_fragment *f)
{
	if (row->count < TALLY_EXAMPLES)
		row->example[row->count] = f->address;
	row->count++;
	row->bytes += f->size;
	if (f->sampled) {
		row->more_count += f->weight - 1;
		row->more_bytes += f->weight * (double)f->alike - (double)f->size;
		row->sampled++;
		row->estimated = true;
	}
	if (f->size > row->largest)
		row->largest = f->size;
	if (f->time < row->oldest)
		row->oldest = f->time;
}

void tally_merge(struct tally_row *to, const struct tally_row *from)
{
	for (uint64_t i = 0; i < from->count && i < TALLY_EXAMPLES && to->count + i < TALLY_EXAMPLES; i++)
		to->example[to->count + i] = from->example[i];
	to->count += from->count;
	to->bytes += from->bytes;
	to->more_count += from->more_count;
	to->more_bytes += from->more_bytes;
	to->sampled += from->sampled;
	to->estimated |= from->estimated;
	if (from->largest > to->largest)
		to->largest = from->largest;
	if (from->oldest < to->oldest)
		to->oldest = from->oldest;
}

static int bigger(const void *a, const void *b)
{
	const struct tally_row *x = a, *y = b;
	uint64_t bytes = tally_bytes(x), others = tally_bytes(y);

	if (bytes != others)
		return bytes < others ? 1 : -1;
	return x->key < y->key ? -1 : x->key > y->key;
}

void tally_sort(struct tally *t)
{
	size_t n = 0;

	for (size_t i = 0; i < t->size; i++)
		if (t->row[i].used)
			t->row[n++] = t->row[i];
	if (n)
		qsort(t->row, n, sizeof *t->row, bigger);
}

void tally_free(struct tally *t)
{
	ctl_free(t->row);
	*t = (struct tally){ 0 };
}
