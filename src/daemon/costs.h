/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What each way of watching costs on this machine: a pair of allocation and free, 64 bytes, one thread.
 *
 *	mmd --costs	costs_measure(): a child a mode, turn and turn about, ─> a line a mode on stdout
 *	mmd		costs_start(): runs that once, where nobody else wants the CPU ─> costs_write() has the figures
 */
#ifndef DAEMON_COSTS_H
#define DAEMON_COSTS_H

#include <event2/event.h>

#include "conf/conf.h"
#include "ctl/json_write.h"

struct costs;

/** Measures with the managers that the configuration names; takes some tenth of a second. Exit status: 0, or 1. */
int costs_measure(const struct conf *conf);

/** Some seconds after now `self` --costs is executed. NULL: no memory; all else that fails leaves figures unknown. */
struct costs *costs_start(struct event_base *base, const char *self, const struct conf *conf);
void costs_free(struct costs *c);
/** "costs": [{mode, ns, ratio}], empty while they are not known. `c` may be NULL. */
void costs_write(const struct costs *c, struct json_writer *w);

#endif /* DAEMON_COSTS_H */
