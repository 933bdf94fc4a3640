/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the processes of the chaos share: a board in the pool itself, at the root "board".
 *
 * A hand is a set of cells that one process at a time plays; who dies is followed by another who plays on. A cell is
 * one word, a fragment's address and what is being done with it, so that there is no moment at which a killed process
 * leaves a cell that means two things. States but EMPTY and HELD are doubts when their process is dead: the call that
 * was under way happened or not, and the ledger says which.
 *
 *	fragment	| serial | size | pattern of serial ... |
 */
#ifndef CHAOS_BOARD_H
#define CHAOS_BOARD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { ATTACHED = 8, FORKED = 8, HANDS = ATTACHED + FORKED, CELLS = 48, MAILS = 32 };
enum cell_state { EMPTY, HELD, GIVING, TAKING, FREEING, ALLOCATING, RESIZING };
#define CELL(p, state) ((uint64_t)(uintptr_t)(p) | (state))
#define CELL_AT(word) ((void *)(uintptr_t)((word) & ~15ull))
#define CELL_STATE(word) ((enum cell_state)((word) & 15))

struct hand {
	_Atomic int64_t pid;		/* who plays it; 0: nobody. Cleared by the referee when the player is dead */
	_Atomic uint32_t parked;
	_Atomic uint64_t serial;
	_Atomic uint64_t cell[CELLS];
};

struct board {
	_Atomic uint32_t pause, no_room;
	_Atomic uint64_t allocs, frees, nulls, moves, mails, forks, closed;
	_Atomic uint32_t faulted;
	char fault[200];
	struct hand hand[HANDS];
	_Atomic uint64_t mail[MAILS];	/* EMPTY or HELD */
};

struct block { uint64_t serial, size, word[]; };
enum { BLOCK_LEAST = 32 };

static inline uint64_t pattern(uint64_t serial, uint64_t i) { return (serial + 1) * 0x9e3779b97f4a7c15ull + i; }

static inline void block_fill(struct block *b, uint64_t serial, uint64_t size)
{
	b->serial = serial;
	b->size = size;
	for (uint64_t i = 0; i < (size - sizeof *b) / 8; i++)
		b->word[i] = pattern(serial, i);
}

/** What is wrong with a held block, or NULL. */
static inline const char *block_wrong(const struct block *b, uint64_t size)
{
	if (b->size < BLOCK_LEAST || b->size > 1u << 24)
		return "the size of a block was overwritten";
	if (size > b->size)
		size = b->size;
	for (uint64_t i = 0; i < (size - sizeof *b) / 8; i++)
		if (b->word[i] != pattern(b->serial, i))
			return "the bytes of a block were overwritten";
	return NULL;
}

/** A player: attaches to the pool and plays hand `number` until it is killed. */
int play(unsigned number, uint64_t seed);

/** Set by a player, so that fallocate() has no room when the board says so. */
extern struct board *the_board;

#endif /* CHAOS_BOARD_H */
