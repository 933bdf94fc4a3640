/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/tally.h"

#include <string.h>

#include "ctl/memory.h"

enum { PIECE = 128 };

/* The place of a key in the index: that of its row, or the free one where it belongs. There is always a free one. */
static uint32_t *place(const struct tally *t, uint64_t key)
{
	size_t at = (size_t)((key * 0x9e3779b97f4a7c15) >> 20) & (t->size - 1);

	while (t->index[at] && t->row[t->index[at] - 1].key != key)
		at = (at + 1) & (t->size - 1);
	return &t->index[at];
}

static size_t room(size_t size) { return size / 4 * 3; }

static bool grow(struct tally *t)
{
	size_t size = t->size ? t->size * 2 : 64;
	uint32_t *index = ctl_zalloc(size * sizeof *index);
	struct tally_row *row = index ? ctl_resize(t->row, room(size) * sizeof *row) : NULL;

	if (!row) {
		ctl_free(index);
		t->failed = true;
		return false;
	}
	ctl_free(t->index);
	t->row = row;
	t->index = index;
	t->size = size;
	for (uint32_t i = 0; i < t->count; i++)
		*place(t, row[i].key) = i + 1;
	return true;
}

struct tally_row *tally_at(struct tally *t, uint64_t key)
{
	uint32_t *at;

	if (t->count >= room(t->size) && !grow(t))
		return NULL;
	at = place(t, key);
	if (*at)
		return &t->row[*at - 1];
	if (t->count >= TALLY_MAX && key)
		return tally_at(t, 0);
	t->row[t->count] = (struct tally_row){ .key = key, .oldest = OBS_UNKNOWN };
	*at = (uint32_t)++t->count;
	return &t->row[t->count - 1];
}

static uint64_t rounded(double x)
{
	uint64_t below = (uint64_t)x;

	return below + (x - (double)below >= 0.5);
}

/* What a file says may be anything. */
static uint64_t sum_of(uint64_t exact, double more)
{
	if (more < 0)
		return exact - rounded(-more);
	return exact + (more < 0x1p53 ? rounded(more) : 1ull << 53);
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

static bool bigger(const struct tally_row *x, const struct tally_row *y)
{
	uint64_t bytes = tally_bytes(x), others = tally_bytes(y);

	return bytes != others ? bytes > others : x->key < y->key;
}

static void swap(struct tally_row *x, struct tally_row *y)
{
	struct tally_row was = *x;

	*x = *y;
	*y = was;
}

/* Row `at` goes down to where no child of it is bigger. */
static void sink(struct tally *t, size_t at)
{
	for (size_t child; (child = 2 * at + 1) < t->left; at = child) {
		if (child + 1 < t->left && bigger(&t->row[child + 1], &t->row[child]))
			child++;
		if (!bigger(&t->row[child], &t->row[at]))
			return;
		swap(&t->row[at], &t->row[child]);
	}
}

bool tally_order(struct tally *t)
{
	if (!t->ordered) {
		t->ordered = true;
		t->left = t->count;
		t->unordered = t->count / 2;
	}
	for (unsigned i = 0; i < PIECE && t->unordered; i++)
		sink(t, --t->unordered);
	return !t->unordered;
}

const struct tally_row *tally_pop(struct tally *t)
{
	if (!t->left)
		return NULL;
	swap(&t->row[0], &t->row[--t->left]);
	sink(t, 0);
	return &t->row[t->left];
}

void tally_free(struct tally *t)
{
	ctl_free(t->row);
	ctl_free(t->index);
	*t = (struct tally){ 0 };
}
