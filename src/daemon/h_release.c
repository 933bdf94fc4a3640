/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * pool.release: memory that is in use nowhere, as far as the kernel knows, and that an operator lets go.
 *
 * A child of mmd's does it, which may hang: over META that makes no sense, or for the lock of a holder that is stopped.
 * The call waits, the loop does not; after GIVE_UP_NS it is answered as it stands.
 */
#include "daemon/release.h"

#include <errno.h>
#include <string.h>
#include <sys/queue.h>

#include "ctl/memory.h"
#include "daemon/hosted.h"
#include "mem/host.h"

#define GIVE_UP_NS 7000000000ull	/* a child ends after 5 s, and ours may come after another */

struct releasing {
	struct mem_release *release;
	struct rpc_call *call;
	uint64_t until;
	TAILQ_ENTRY(releasing) next;
};

static TAILQ_HEAD(, releasing) waiting = TAILQ_HEAD_INITIALIZER(waiting);	/* who came first is first */

void release_no_such(struct rpc_call *call)
{
	rpc_fail(call, RPC_NO_POOL, "name", "no hosted pool of that name: see pool.list");
	rpc_allowed(call, "name of a pool in pool.list");
}

static void answer(struct rpc_call *call, int rc, uint64_t freed)
{
	if (rc == -EUCLEAN)
		rpc_fail(call, RPC_DAMAGED, "name", "it is damaged: nothing in it is freed");
	else if (rc == -EBUSY)
		rpc_fail(call, RPC_HELD_BACK, "name", "its dead are being reaped just now: try again");
	else if (rc)
		rpc_fail(call, RPC_INTERNAL, NULL, "no memory of it was released: %s", strerror(-rc));
	if (rc)
		return;
	jw_open(call->out, '{');
	jw_key(call->out, "name"), jw_string(call->out, rpc_text(call, "name"));
	row_count(call->out, "released", freed);
	jw_close(call->out, '}');
}

/* As far as it comes. */
static void step(struct rpc_call *call)
{
	struct releasing *w = call->state;
	uint64_t freed = 0;
	int rc = hosted_release_step(daemon_of(call), w->release, &freed);

	if ((rc == -EINPROGRESS || rc == -EBUSY) && rpc_now() < w->until) {
		rpc_wait(call);
		return;
	}
	if (rc == -EINPROGRESS)
		answer(call, 0, OBS_UNKNOWN);
	else
		answer(call, rc, freed);
	rpc_done(call);
}

static void drop(void *state)
{
	struct releasing *w = state;

	TAILQ_REMOVE(&waiting, w, next);
	mem_release_end(w->release);
	ctl_free(w);
}

void release_look_again(void)
{
	struct releasing *w;

	TAILQ_FOREACH(w, &waiting, next) {
		if (w->call->waiting)
			rpc_wake(w->call);	/* its turn comes later: nothing leaves the list meanwhile */
	}
}

void rpc_pool_release(struct rpc_call *call)
{
	struct releasing *w = ctl_zalloc(sizeof *w);
	int rc = !w ? -ENOMEM :
		      mem_release_begin(daemon_of(call)->host, rpc_text(call, "name"), (int64_t)rpc_uint(call, "pid", 0),
					&w->release);

	if (rc) {
		ctl_free(w);
		if (rc == -ENOENT)
			release_no_such(call);
		else
			answer(call, rc, 0);
		return;
	}
	w->call = call;
	w->until = rpc_now() + GIVE_UP_NS;
	TAILQ_INSERT_TAIL(&waiting, w, next);
	rpc_later(call, step, w, drop);
	step(call);
}
