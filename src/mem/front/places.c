/* SPDX-License-Identifier: BSD-2-Clause */
/* Which place in code a call comes from: asked of the caches, else described and interned. */
#include "mem/front/inside.h"

COLD uint32_t DOMAIN(front_site_slow)(const struct front_call *call)
{
	struct pool *p = call->p->home;
	struct owner *o = at_home(call);
	struct meta_site site;
	int saved = errno;		/* free() must not change it */
	uint32_t number;
	bool full;

	RACY_READS_BEGIN();
	full = COUNTERS(p)->sites_used >= SITES_MAX;
	RACY_READS_END();
	/* of a full table nothing is learned by asking the loader at each call; a place with a name costs less */
	if (!call->site && full)
		return 0;
	site_describe(call->site, call->caller, !(call->flags & FRONT_HELD), &site);
	enter(p, o, call->flags);
	number = DOMAIN(site_intern)(p, &site);
	publish_all(p);
	leave(p, o, call->flags);
	site_remember(p, call->site, call->caller, number);
	errno = saved;
	return number;
}

COLD uint32_t DOMAIN(front_site_of_stack)(const struct front_call *call)
{
	struct pool *p = call->p->home;
	struct call_stack stack;
	struct meta_site site;
	int saved = errno;
	uint32_t number;

	if (!stack_take(&stack, call->caller))
		return 0;
	number = site_known(p, NULL, stack.key);
	/* of a full table nothing is learned by naming up to 16 functions at each call */
	if (number || COUNTERS(p)->sites_used >= SITES_MAX)
		return number;
	stack_describe(&stack, call->site, &site);
	enter(p, at_home(call), call->flags);
	number = DOMAIN(site_intern)(p, &site);
	publish_all(p);
	leave(p, at_home(call), call->flags);
	site_remember(p, NULL, stack.key, number);
	errno = saved;
	return number;
}

uint32_t DOMAIN(front_site)(const struct front_call *call)
{
	return would_deadlock(call) ? site_known(call->p->home, call->site, call->caller) : site_of(call);
}
