/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The observer on META and DATA in which any words were replaced. After each input the pools are what they were.
 * The input is rows of 12 bytes: part 1, place 2, how 1, value 8. There are a pool of each domain, and a sharded one.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "observe/ask_everything.h"
#include "observe/meta_fixture.h"

enum { ROW = 12, ROWS_MAX = 64, FRAGMENTS = 40, SHARDS = 2 };
enum { PKG, SHM, SHARDED_PKG, SHARDED_SHM = SHARDED_PKG + SHARDS, FILES = SHARDED_SHM + SHARDS };

static struct fixture *pools[FILES];
static struct obs *observer;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void drop(void)
{
	obs_close(observer);
	for (unsigned k = 0; k < FILES; k++)
		fixture_free_pool(pools[k]);
	fixture_registry_drop();
}

static void make(void)
{
	void *held[FRAGMENTS];

	pools[PKG] = fixture_pkg(getpid(), 1, NULL);
	pools[SHM] = fixture_shm("fuzz", 1, NULL, 0, 0);
	for (unsigned k = SHARDS; k--; ) {
		pools[SHARDED_PKG + k] = fixture_pkg_shard(getpid(), 2, k, SHARDS, 7);
		pools[SHARDED_SHM + k] = fixture_shm_shard("shards", 1, k, SHARDS, 7);
	}
	for (unsigned k = 0; k < FILES; k++) {
		fixture_site(pools[k], "fuzz.c", 1);
		for (unsigned i = 0; i < FRAGMENTS; i++)
			held[i] = fixture_alloc(pools[k], 10 + 9 * i, 1);
		for (unsigned i = 0; i < FRAGMENTS; i += 3)
			fixture_free(pools[k], held[i]);
		fixture_failure(pools[k], 1, 0);
		fixture_fault(pools[k], 0, 1);
	}
	fixture_begin(pools[SHM]);	/* killed inside a call */
	fixture_alloc_open(pools[SHM], 100, 1);
	fixture_begin(pools[SHARDED_SHM + 1]);
	fixture_alloc_open(pools[SHARDED_SHM + 1], 100, 1);
	observer = fixture_observer(NULL, NULL);
	atexit(drop);
}

static const struct fixture *file_of(const uint8_t row[ROW])
{
	return pools[((row[0] & 1) + 2u * (row[3] >> 2)) % FILES];
}

/** The word that a row names. */
static uint64_t *word_of(const uint8_t row[ROW])
{
	static const struct { uint64_t at, words; } part[] = {
		{ 0, sizeof(struct meta_identity) / 8 },
		{ META_LIVE, 80 },
		{ META_LIVE, 80 },
		{ META_ROOTS, 64 },
		{ META_FAILURES, 32 },
		{ META_FAULTS, 32 },
		{ META_SITES, 700 },
		{ META_SLOTS, sizeof(struct meta_slot) / 8 },
		{ META_SLOTS + offsetof(struct meta_slot, log), 64 },
		{ META_RECORDS, 4 * FRAGMENTS },
	};
	const struct fixture *f = file_of(row);
	size_t i = (row[0] >> 1) % (sizeof part / sizeof part[0] + 2), place = row[1] | (size_t)row[2] << 8;

	if (i < sizeof part / sizeof part[0])
		return (uint64_t *)(void *)(f->meta + part[i].at) + place % part[i].words;
	if (i == sizeof part / sizeof part[0])
		return f->heap.roots + place % 8;
	return (uint64_t *)(void *)f->heap.base + place % 2048;
}

static uint64_t value_of(uint64_t was, const uint8_t row[ROW])
{
	uint64_t value;

	memcpy(&value, row + 4, sizeof value);
	switch (row[3] % 4) {
	case 0:
		return value;
	case 1:
		return was + (uint64_t)(int64_t)(int8_t)value * 8;
	case 2:
		return was ^ 1ull << value % 64;
	default:
		return (uintptr_t)file_of(row)->heap.base + value % (2 * FIXTURE_SIZE);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct { uint64_t *word, was; } changed[ROWS_MAX];
	const char *wrong;
	unsigned rows = 0;

	if (!observer)
		make();
	for (; size >= ROW && rows < ROWS_MAX; data += ROW, size -= ROW, rows++) {
		changed[rows].word = word_of(data);
		changed[rows].was = *changed[rows].word;
		*changed[rows].word = value_of(changed[rows].was, data);
	}
	obs_scan(observer, NULL, NULL);
	wrong = ask_everything(observer);
	if (wrong) {
		fprintf(stderr, "fuzz_meta: %s\n", wrong);
		abort();
	}
	while (rows--)
		*changed[rows].word = changed[rows].was;
	return 0;
}
