/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A daemon of the benchmark's own, on run/mmd.sock in the sandbox, and connections that ask it.
 *
 *	ask_daemon ─> ask_open ─> ask ─> line ─> ask_result, ask_pause, ask_next ─> ask_close
 *
 * A long answer is scanned, not parsed: who asks shares the CPUs with what is measured.
 */
#ifndef BENCH_ASK_H
#define BENCH_ASK_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>

#include "ctl/client.h"

/** One connection, of one thread. `line` is the last answer. */
struct link {
	struct client *client;
	const char *line;		/* not ended by a 0 */
	size_t len;
};

/** Starts the mmd that lies beside `self` (argv[0]), never with real-time priority, and waits until it answers. Returns
 * its pid, or -1; then what it said is on stderr. */
pid_t ask_daemon(const char *self);
/** SIGNAL to a child, and its end. No child (pid <= 0): nothing. */
void ask_end(pid_t pid, int signal);

bool ask_open(struct link *l);
void ask_close(struct link *l);

/** One call with `params` (JSON). Returns its time in ms, NAN when there is no answer. */
double ask(struct link *l, const char *method, const char *params);

/** Whether the last answer is a result. */
bool ask_good(const struct link *l);
/** The answer's result, to be put; NULL and a word on stderr when it is an error. */
json_object *ask_result(struct link *l, const char *method);
/** A member that is a number; 0 when there is none. */
double ask_number(json_object *o, const char *name);
/** The longest `pause_us` that the answer owns up to; 0 when it says none. */
double ask_pause(const struct link *l);

/**
 * ask_page - one page of the shared pools' dump
 * @cursor: "" begins; set to where the next page begins, "" again behind the last
 *
 * Returns the fragments on it, -1 and a word on stderr when it was refused.
 */
enum { ASK_CURSOR = 512 };
double ask_page(struct link *l, char cursor[ASK_CURSOR], double *ret_ms);

#endif /* BENCH_ASK_H */
