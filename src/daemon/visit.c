/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/visit.h"

#include <errno.h>

#include "daemon/aside.h"

enum { LOOK_LATE = 256 };		/* records between two looks at the clock */

static void step(struct rpc_call *call)
{
	struct visit *v = call->state;

	v->call = call;
	v->view = view_of(call);
	places_of(&v->view->places, NULL);
	while (v->i < v->pick.count && !call->error.code) {
		v->look(v);
		if (rpc_late(call))
			return;
	}
	while (!call->error.code && !v->finish(v))
		if (rpc_late(call))
			return;
	rpc_done(call);
}

void visit_begin(struct rpc_call *call, struct visit *v, rpc_drop_fn *drop, bool *is_long)
{
	if (!pick_pools(call, OBS_PKG | OBS_SHM, &v->pick)) {
		drop(v);
		return;
	}
	aside_later(call, step, v, drop, false, is_long);
}

struct obs_pool *visit_pool(struct visit *v)
{
	struct obs_pool *p = pick_at(v->view, &v->pick, v->i);

	if (!p)
		visit_error(v, -ENOENT);
	else if (v->view->places.pool != p)
		places_of(&v->view->places, p);
	return p;
}

const char *visit_id(const struct visit *v) { return v->pick.id[v->i]; }

void visit_next(struct visit *v)
{
	v->at = 0;
	v->i++;
}

bool visit_goes_on(struct visit *v) { return ++v->seen % LOOK_LATE || !rpc_late(v->call); }

void visit_error(struct visit *v, int error)
{
	if (error && v->pick.one && v->pick.count == 1)
		pick_fail(v->call, visit_id(v), error);
}
