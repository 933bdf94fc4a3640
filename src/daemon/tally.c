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

void tally_add(struct tally *t, uint64_t key, const struct obs_fragment *f)
{
	struct tally_row *row = tally_at(t, key);

	if (!row)
		return;
	if (row->count < TALLY_EXAMPLES)
		row->example[row->count] = f->address;
	row->count++;
	row->bytes += f->size;
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
	if (from->largest > to->largest)
		to->largest = from->largest;
	if (from->oldest < to->oldest)
		to->oldest = from->oldest;
}

static int bigger(const void *a, const void *b)
{
	const struct tally_row *x = a, *y = b;

	if (x->bytes != y->bytes)
		return x->bytes < y->bytes ? 1 : -1;
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
