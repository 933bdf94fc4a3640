/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A call that looks at one pool after the other, in slices (aside.h): summary, leaks, failures.
 *
 *	visit_begin ─> look at pool i, a piece at a time ─> visit_next ─> … ─> finish, in pieces, too: the answer
 *	                       └─ the call has failed ──────────────────────> its error
 *
 * Sites and owners are looked up anew in each slice: between two a scan may have dropped a pool.
 */
#ifndef DAEMON_VISIT_H
#define DAEMON_VISIT_H

#include "daemon/daemon.h"
#include "daemon/pick.h"

enum {
	VISIT_LOOK = 4096,		/* records to ask for at a time */
	VISIT_PIECE = 64,		/* rows to name, or to write: some 0.2 ms */
};

struct visit;
typedef void visit_fn(struct visit *v);
typedef bool visit_end_fn(struct visit *v);

/** First member of a handler's state. */
struct visit {
	struct view *view;		/* of this slice, */
	struct rpc_call *call;		/* and this */
	visit_fn *look;			/* a piece of the pool `i`; visit_next() when that is done */
	visit_end_fn *finish;		/* writes a piece of the answer, true: it is whole; not after an error */
	struct pick pick;
	size_t i;			/* in pick */
	uint64_t at;			/* of pool `i`: where its ledger goes on, 0: it begins, or is done */
	unsigned seen;
};

/**
 * Chooses the pools and looks at the first; frees the state by `drop`, also when nothing could be begun. is_long: of
 * the method (aside.h).
 */
void visit_begin(struct rpc_call *call, struct visit *v, rpc_drop_fn *drop, bool *is_long);
/** The pool `i`, ready for places_site() and places_owner(); NULL: it is gone, the call's error if it was named. */
struct obs_pool *visit_pool(struct visit *v);
const char *visit_id(const struct visit *v);
void visit_next(struct visit *v);
/** After each record: false when the slice is over. */
bool visit_goes_on(struct visit *v);
/** What went wrong with pool `i` is the call's error if it was asked for by name; 0 is fine. */
void visit_error(struct visit *v, int error);

#endif /* DAEMON_VISIT_H */
