/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Why memory looks lost: of one fragment, or of the sum over its call site. leaks sums, dump shows what it summed.
 *
 *	owner_dead	shm: the owner of the fragments is dead, by site and owner. What it is, not what it may mean
 *	at_exit		pkg: what a program that ended or crashed still held; what it inherited by fork is not counted
 *	growing		a call site whose bytes rose in each of the last N samples; the figures stand beside it
 */
#ifndef DAEMON_EVIDENCE_H
#define DAEMON_EVIDENCE_H

#include "ctl/json_write.h"
#include "daemon/rows.h"
#include "daemon/sample.h"
#include "memapi/observe.h"

enum evidence { OWNER_DEAD = 1, AT_EXIT = 2, GROWING = 4, ANY_EVIDENCE = 7 };

/** Of a parameter; NULL: any. */
unsigned evidence_read(const char *text);
/** What a pool can give of it. */
unsigned evidence_of_pool(struct obs_pool *p);
/** Is the fragment's owner dead? `places`: of its pool. */
bool evidence_owner_dead(struct places *places, const struct obs_fragment *f);
/** An array of words. */
void evidence_write(struct json_writer *w, unsigned evidence);

#endif /* DAEMON_EVIDENCE_H */
