/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the stepped program and its tracer tell each other: one page that both have mapped.
 *
 * The program announces a call in `call`, says that it begins (int3), makes it, and comes to step_end(). The tracer
 * steps from the one to the other. `got` is the call's result, there at the next announcement.
 */
#ifndef STEP_BOARD_H
#define STEP_BOARD_H

#include <stddef.h>
#include <stdint.h>

enum { HELD = 48 };			/* fragments at a time */

enum kind {
	CALL_ATTACH, CALL_ALLOC, CALL_ZERO, CALL_ALIGNED, CALL_FREE, CALL_REALLOC, CALL_REALLOC_XF, CALL_RESIZE,
	CALL_LOCK, CALL_UNLOCK, CALL_ALLOC_UNSAFE, CALL_FREE_UNSAFE, CALL_SET_SITE, CALL_ROOT, CALL_USABLE, CALL_WALK,
	CALL_MUTEX, CALL_TWICE_FREE, CALL_DEADLOCK, CALL_END, CALL_KINDS
};

struct call {
	uint32_t kind, k;		/* k: which of those that are held */
	uint64_t align, size;
	void *ptr;			/* what is held there, before the call */
	uint32_t fill;			/* byte that its contents are made of, afterwards */
	uint32_t anonymous;		/* no static call site: 1: by a call, 2: what memapi.h compiles in */
};

struct board {
	uintptr_t end;			/* address of step_end() */
	uintptr_t inlined, inlined_end;	/* of what memapi.h compiles into the program */
	uint64_t number;		/* calls announced */
	struct call call;
	void *got;
	char wrong[96];			/* what the program itself found */
	/* of one that works meanwhile */
	_Atomic uint64_t worked;	/* calls made */
	_Atomic uint32_t pause, paused;
	_Atomic uint64_t holds;		/* fragments, while paused */
};

/* Contents: the first and the last bytes of what was asked for, all of it where that is little. */
enum { CONTENTS_MOST = 256 };

/** Another number of the sequence, below n. */
static inline uint64_t step_pick(uint64_t *seed, uint64_t n)
{
	*seed = *seed * 6364136223846793005u + 1442695040888963407u;
	return (*seed >> 33) % n;
}

#endif /* STEP_BOARD_H */
