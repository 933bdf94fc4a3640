/* SPDX-License-Identifier: BSD-2-Clause */
/* A player: traffic of every kind on the pool, each block verified, until it is killed. */
#include "board.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <memapi/memapi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "mem/pool.h"

struct board *the_board;
static struct hand *hand;
static uint64_t dice;

/* What the library finds as fallocate(). */
__attribute__((visibility("default"))) int fallocate(int fd, int mode, off_t offset, off_t len)
{
	if (the_board && atomic_load(&the_board->no_room)) {
		errno = ENOSPC;
		return -1;
	}
	return (int)syscall(SYS_fallocate, fd, mode, offset, len);
}

static uint32_t roll(uint32_t n)
{
	dice ^= dice << 13;
	dice ^= dice >> 7;
	dice ^= dice << 17;
	return (uint32_t)(dice >> 33) % n;
}

static void fault(const char *what, const void *p)
{
	const struct block *b = p;

	if (atomic_exchange(&the_board->faulted, 1) == 0)
		snprintf(the_board->fault, sizeof the_board->fault, "%s: hand %d, %p, serial %#lx, size %lu, pid %d",
			 what, (int)(hand - the_board->hand), p, p ? (unsigned long)b->serial : 0,
			 p ? (unsigned long)b->size : 0, getpid());
	_exit(1);
}

static void verify(const struct block *b)
{
	const char *wrong = block_wrong(b, UINT64_MAX);

	if (wrong)
		fault(wrong, b);
}

static uint64_t next_serial(void)
{
	return (uint64_t)(hand - the_board->hand) << 48 | (atomic_fetch_add(&hand->serial, 1) + 1);
}

static size_t some_size(void)
{
	uint32_t kind = roll(100);

	return kind < 70 ? BLOCK_LEAST + roll(600) : kind < 90 ? BLOCK_LEAST + roll(8000) : BLOCK_LEAST + roll(400000);
}

/* ---- moves ---- */

static bool take_new(_Atomic uint64_t *cell, bool held)
{
	size_t size = some_size() & ~7ul, align = roll(20) ? 0 : 16u << roll(8);
	struct block *b;

	atomic_store(cell, CELL(0, ALLOCATING));
	b = held ? shm_malloc_unsafe(size) : align ? shm_memalign(align, size) : shm_malloc(size);
	if (!b) {
		if (errno != ENOMEM)
			fault("an allocation failed for another reason than memory", NULL);
		atomic_fetch_add_explicit(&the_board->nulls, 1, memory_order_relaxed);
		atomic_store(cell, EMPTY);
		return false;
	}
	block_fill(b, next_serial(), size);
	atomic_store(cell, CELL(b, HELD));
	atomic_fetch_add_explicit(&the_board->allocs, 1, memory_order_relaxed);
	return true;
}

static void give_back(_Atomic uint64_t *cell, bool held)
{
	struct block *b = CELL_AT(atomic_load(cell));

	verify(b);
	atomic_store(cell, CELL(b, FREEING));
	b->serial = ~b->serial;		/* who is handed the same block meanwhile writes its own */
	held ? shm_free_unsafe(b) : shm_free(b);
	atomic_store(cell, EMPTY);
	atomic_fetch_add_explicit(&the_board->frees, 1, memory_order_relaxed);
}

static void resize(_Atomic uint64_t *cell)
{
	struct block *b = CELL_AT(atomic_load(cell)), *now;
	size_t size = some_size() & ~7ul;
	const char *wrong;

	verify(b);
	atomic_store(cell, CELL(b, RESIZING));
	now = shm_realloc(b, size);
	if (now) {
		wrong = block_wrong(now, size);
		if (wrong)
			fault("lost by realloc", now);
		block_fill(now, now->serial, size);
	}
	atomic_store(cell, CELL(now ? now : b, HELD));
	atomic_fetch_add_explicit(&the_board->moves, 1, memory_order_relaxed);
}

static void post(_Atomic uint64_t *cell)
{
	_Atomic uint64_t *mail = &the_board->mail[roll(MAILS)];
	uint64_t word = atomic_load(cell), empty = EMPTY;

	atomic_store(cell, CELL(CELL_AT(word), GIVING));
	atomic_store(cell, atomic_compare_exchange_strong(mail, &empty, word) ? EMPTY : word);
}

static void fetch(_Atomic uint64_t *cell)
{
	_Atomic uint64_t *mail = &the_board->mail[roll(MAILS)];
	uint64_t word = atomic_load(mail);

	if (CELL_STATE(word) != HELD)
		return;
	atomic_store(cell, CELL(CELL_AT(word), TAKING));
	if (!atomic_compare_exchange_strong(mail, &word, EMPTY)) {
		atomic_store(cell, EMPTY);
		return;
	}
	atomic_store(cell, word);
	verify(CELL_AT(word));
	atomic_fetch_add_explicit(&the_board->mails, 1, memory_order_relaxed);
}

static void some_with_the_lock(void)
{
	shm_lock();
	for (unsigned i = 0; i < 6; i++) {
		_Atomic uint64_t *cell = &hand->cell[roll(CELLS)];
		enum cell_state state = CELL_STATE(atomic_load(cell));

		if (state == EMPTY)
			take_new(cell, true);
		else if (state == HELD)
			give_back(cell, true);
	}
	shm_unlock();
}

/* As much as there is, then half of it back. */
static void hoard(void)
{
	for (unsigned i = 0; i < CELLS; i++)
		if (atomic_load(&hand->cell[i]) == EMPTY && !take_new(&hand->cell[i], false))
			break;
	for (unsigned i = 0; i < CELLS; i += 2)
		if (CELL_STATE(atomic_load(&hand->cell[i])) == HELD)
			give_back(&hand->cell[i], false);
}

static void park(void)
{
	if (!atomic_load(&the_board->pause))
		return;
	atomic_store(&hand->parked, 1);
	while (atomic_load(&the_board->pause))
		nanosleep(&(struct timespec){ .tv_nsec = 300000 }, NULL);
	atomic_store(&hand->parked, 0);
}

static void move(void)
{
	_Atomic uint64_t *cell = &hand->cell[roll(CELLS)];
	uint32_t kind = roll(1000);

	park();
	if (kind == 0 && roll(4) == 0)
		hoard();
	else if (kind == 1)
		some_with_the_lock();
	else if (CELL_STATE(atomic_load(cell)) == EMPTY)
		kind < 900 ? (void)take_new(cell, false) : fetch(cell);
	else if (CELL_STATE(atomic_load(cell)) == HELD)
		kind < 600 ? give_back(cell, false) : kind < 900 ? resize(cell) : post(cell);
}

/* ---- lives ---- */

/* A slot in every shard; without one a free cannot be made. */
static bool has_slots(void)
{
	struct owner *o;
	struct pool *p;

	for (unsigned k = 0; k < mem_shm_shards; k++)
		if (!mem_shm_use(&p, &o, k))
			return false;
	return true;
}

static void verify_all(void)
{
	for (unsigned i = 0; i < CELLS; i++)
		if (CELL_STATE(atomic_load(&hand->cell[i])) == HELD)
			verify(CELL_AT(atomic_load(&hand->cell[i])));
}

/* The child of a child, so that the referee, as the reaper of orphans, is the one who knows of its end. */
static void fork_a_player(void)
{
	pid_t middle;
	int64_t nobody;

	middle = fork();
	if (middle == 0) {
		if (fork() || !has_slots())
			_exit(0);
		for (unsigned i = ATTACHED; i < HANDS; i++) {
			nobody = 0;
			if (!atomic_compare_exchange_strong(&the_board->hand[i].pid, &nobody, getpid()))
				continue;
			hand = &the_board->hand[i];
			atomic_store(&hand->parked, 0);
			dice += (uint64_t)getpid() << 20 | 1;
			verify_all();
			atomic_fetch_add_explicit(&the_board->forks, 1, memory_order_relaxed);
			for (unsigned n = 100 + roll(3000); n; n--)
				move();
			_exit(0);	/* without leaving in order: the referee says that nobody plays the hand */
		}
		_exit(0);
	}
	if (middle > 0)
		waitpid(middle, NULL, 0);
}

int play(unsigned number, uint64_t seed)
{
	int rc;

	dice = seed * 2 + 1;
	for (unsigned i = 0; i < 50; i++)
		roll(2);
	rc = shm_attach("chaos");
	if (rc) {
		if (rc != -ENOSPC)
			fprintf(stderr, "chaos: %s\n", memapi_error());
		return rc == -ENOENT || rc == -ENOMEM || rc == -ENOSPC ? 3 : 1;
	}
	if (!has_slots() || !(the_board = shm_root_get("board")))
		return 3;
	hand = &the_board->hand[number];
	atomic_store(&hand->parked, 0);
	atomic_store(&hand->pid, getpid());
	verify_all();
	for (;;) {
		for (unsigned n = 0; n < 4000; n++)
			move();
		if (roll(3) == 0)
			fork_a_player();
		if (roll(20) == 0) {
			close_range(3, ~0U, 0);
			atomic_fetch_add_explicit(&the_board->closed, 1, memory_order_relaxed);
		}
	}
}
