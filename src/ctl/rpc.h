/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * JSON-RPC 2.0 over bytes: one line in, one line out, or none. No sockets, no clock but for slices.
 *
 *	rpc_take(s, line) ─> rpc_run(s, deadline) until it says true ─> s->out, one line or empty
 *
 * A program gives the methods, in general the rows of methods.def, and a handler for each. A handler runs with
 * parameters that fit its row and a peer that has its role. It writes one JSON value to call->out, or calls rpc_fail().
 * One that may take longer than a slice calls rpc_later(), and is stepped until it calls rpc_done(). Calls of a batch
 * run one after another.
 */
#ifndef CTL_RPC_H
#define CTL_RPC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <json-c/json.h>

#include "ctl/json_scan.h"
#include "ctl/json_write.h"
#include "ctl/limits.h"
#include "ctl/method.h"

/** Who asks. */
struct rpc_peer { int64_t pid; uint32_t uid; enum rpc_role role; };

struct rpc_call;
typedef void rpc_handler(struct rpc_call *call);
typedef void rpc_drop_fn(void *state);

/** What went wrong with a call; becomes its error object. */
struct rpc_error {
	int code;			/* RPC_OK: nothing */
	char param[64];			/* "": none */
	char reason[256], allowed[512];
	bool list;			/* `allowed` is words with spaces between */
	char got[RPC_ECHO_MAX + 1];	/* text that was found instead; "": the value of `param`, where there is one */
	bool got_is_json;		/* whole, and a scalar: else it is shown as a string */
};

struct rpc_call {
	const struct rpc_method *method;
	const struct rpc_peer *peer;
	struct json_object *params;	/* an object: checked, by name */
	struct json_writer *out;
	void *context;			/* of struct rpc_program */
	struct rpc_error error;
	/* of a call that takes several slices */
	rpc_handler *step;
	rpc_drop_fn *drop;
	void *state;
	uint64_t deadline;
	bool waiting;			/* for rpc_wake(): no turns until then */
};

/** Methods and their handlers. */
struct rpc_program {
	const struct rpc_method *methods;	/* rpc_methods, but for tests */
	size_t methods_count;
	rpc_handler *const *handlers;	/* one for each method */
	void *context;
	unsigned depth;			/* levels of nested arrays and objects; 0: RPC_DEPTH_MAX */
	/* Told each call of a role above READ when it is answered or refused, for the log; or NULL. */
	void (*audit)(const struct rpc_call *call);
};

/** One conversation: at most one message at a time. With zeros behind the first two members it is a new one. */
struct rpc_session {
	const struct rpc_program *program;
	const struct rpc_peer *peer;
	void (*woken)(void *arg);	/* a call that waited wants its turn; or NULL */
	void *arg;
	struct json_writer out;		/* the reply, with its newline */
	/* the rest is private */
	struct json_writer text;
	struct json_span batch, id;
	size_t at, reply_at;
	bool is_batch, first, busy, in_call;
	struct rpc_call call;
};

/** Takes a message; its bytes are copied. Not while one is busy. */
void rpc_take(struct rpc_session *s, const char *line, size_t len);

/**
 * rpc_run - goes on with the message
 * @deadline: rpc_now() at which a slice should end
 *
 * Returns true when it is answered: s->out has the line, or is empty when nothing is to be said.
 */
bool rpc_run(struct rpc_session *s, uint64_t deadline);

/** Does its call wait for rpc_wake()? Then rpc_run() has nothing to do. */
bool rpc_waiting(const struct rpc_session *s);

/** Empties s->out, for the next message. */
void rpc_sent(struct rpc_session *s);

/** Ends the conversation wherever it is, frees what it held. */
void rpc_end(struct rpc_session *s);

/** A line that answers nobody in particular: id null. For what is wrong before there is a message. */
void rpc_complain(struct json_writer *out, const struct rpc_error *error);

/* ---- for handlers ---- */

/** CLOCK_MONOTONIC in ns. */
uint64_t rpc_now(void);

/** What was written is dropped, the call fails. `param` NULL: none. */
__attribute__((format(printf, 4, 5)))
void rpc_fail(struct rpc_call *call, int code, const char *param, const char *reason, ...);
/** After rpc_fail(): what would have been good, as a text, or as words of which one is good. */
void rpc_allowed(struct rpc_call *call, const char *text);
void rpc_allowed_words(struct rpc_call *call, const char *words);

/** The handler is not done: `step` is called in slices until rpc_done(). `drop` frees `state` in any case. */
void rpc_later(struct rpc_call *call, rpc_handler *step, void *state, rpc_drop_fn *drop);
void rpc_done(struct rpc_call *call);
/** After rpc_later(): no steps until rpc_wake(), by somebody else in the same thread. */
void rpc_wait(struct rpc_call *call);
void rpc_wake(struct rpc_call *call);
/** Is this slice over? */
bool rpc_late(const struct rpc_call *call);

/** Parameters; what was not given is NULL, `otherwise`. Texts live as long as the call. */
const char *rpc_text(const struct rpc_call *call, const char *name);
uint64_t rpc_uint(const struct rpc_call *call, const char *name, uint64_t otherwise);
double rpc_seconds(const struct rpc_call *call, const char *name, double otherwise);

/** The result of rpc.discover, which needs no daemon. */
void rpc_describe(struct json_writer *out);

/* ---- between rpc.c and params.c ---- */

/** Makes call->params from the text of `params` (empty: none were given), or fails the call. */
void rpc_params(struct rpc_call *call, struct json_span text);

#endif /* CTL_RPC_H */
