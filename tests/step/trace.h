/* SPDX-License-Identifier: BSD-2-Clause */
/* The stepped program, seen from its tracer. */
#ifndef STEP_TRACE_H
#define STEP_TRACE_H

#include <stdbool.h>
#include <sys/types.h>

#include "board.h"

struct victim {
	pid_t pid;
	int board_fd;
	struct board *board;
	uintptr_t text, text_end;	/* libmemapi.so's executable mapping */
	uintptr_t text_from;		/* its place in the file */
	uintptr_t at;			/* next instruction */
};

/** A board that a victim inherits. false: errno says why. */
bool board_make(struct victim *v);
/** Start PROGRAM (see victim.c). It stops at its first announcement when `steps`. false: errno says why. */
bool victim_start(struct victim *v, const char *program, const char *pool, uint64_t seed, const char *calls,
		  bool steps);
/** Let it run to its next announcement. false: it has ended. */
bool victim_next(struct victim *v);

enum step { STEP_INSIDE, STEP_OUTSIDE, STEP_OVER, STEP_ENDED };
/** One instruction. INSIDE: v->at is in libmemapi.so, or what of it is compiled into the program; OVER: the call is. */
enum step victim_step(struct victim *v);
/** v->at is in what memapi.h compiles into the program. */
bool victim_inlined(const struct victim *v);
/** SIGKILL, and wait until it is gone. */
void victim_kill(struct victim *v);
void victim_reap(struct victim *v);

/** A registry of our own, in memory where there is memory for it; removed by registry_remove(). */
const char *registry_make(void);
void registry_remove(const char *dir);

#endif /* STEP_TRACE_H */
