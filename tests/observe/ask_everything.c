/* SPDX-License-Identifier: BSD-2-Clause */
#include "ask_everything.h"

#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 40, AT_ONCE = 1000 };

struct asked { struct obs_pool *p; uint64_t told; unsigned count; const char *wrong; };

static bool text_ok(const char *s, size_t room)
{
	size_t len = strnlen(s, room);

	for (size_t i = 0; i < len; i++)
		if ((unsigned char)s[i] < ' ' || s[i] == 0x7f)
			return false;
	return len < room;
}

#define TEXT_OK(a) text_ok(a, sizeof(a))

static bool see(const struct obs_fragment *f, void *arg)
{
	struct asked *a = arg;
	struct obs_owner owner;
	struct obs_site site;

	if (a->told++ % 64)
		return true;
	obs_site(a->p, f->site, &site);
	obs_owner(a->p, f->slot, &owner);
	if (!TEXT_OK(site.file) || !TEXT_OK(site.function) || !TEXT_OK(site.module))
		a->wrong = "a site's text";
	if (!TEXT_OK(owner.command) || owner.pid < 0)
		a->wrong = "an owner";
	if (f->requested != OBS_UNKNOWN && f->requested > f->size)
		a->wrong = "more was requested than there is";
	return true;
}

static bool see_failure(const struct obs_failure *f, void *arg)
{
	struct asked *a = arg;

	a->count++;
	if (!f->verdict || f->pid < 0)
		a->wrong = "a failure";
	return true;
}

static bool see_fault(const struct obs_fault *f, void *arg)
{
	struct asked *a = arg;

	a->count++;
	if (!f->kind || f->pid < 0)
		a->wrong = "a fault";
	return true;
}

static void see_error(uint64_t at, const char *what, void *arg)
{
	struct asked *a = arg;

	(void)at;
	a->count++;
	if (!*what)
		a->wrong = "an error without words";
}

typedef int list_fn(struct obs_pool *p, uint64_t *cursor, uint64_t max, obs_fragment_fn *fn, void *arg);

static void ask_list(struct asked *a, list_fn *list)
{
	uint64_t cursor = 0;

	a->told = 0;
	for (unsigned i = 0; i < ROUNDS; i++)
		if (list(a->p, &cursor, AT_ONCE, see, a) || !cursor)
			break;
	if (a->told > ROUNDS * AT_ONCE)
		a->wrong = "more fragments than were asked for";
	cursor = (uint64_t)random();
	list(a->p, &cursor, AT_ONCE, see, a);
}

static void ask_check(struct asked *a)
{
	struct obs_check c;

	a->count = 0;
	if (obs_check(a->p, &c, see_error, a))
		a->wrong = "check failed";
	else if (a->count != c.errors || c.ok != (c.known && !c.errors))
		a->wrong = "check counts errors that it does not tell";
}

static const char *ask(struct obs_pool *p)
{
	const struct obs_info *i = obs_info(p);
	struct asked a = { .p = p };
	struct obs_stats s;

	if (!TEXT_OK(i->id) || !TEXT_OK(i->name) || !TEXT_OK(i->command) || !TEXT_OK(i->manager))
		return "a text of the pool";
	if (obs_stats(p, &s) || !TEXT_OK(s.reason))
		return "stats";
	if (s.committed != OBS_UNKNOWN && s.real_used + s.cached + s.free != s.committed)
		return "real_used + cached + free is not what is committed";
	if (s.largest_free != OBS_UNKNOWN && s.largest_free > s.free)
		return "the largest free fragment is larger than all";
	ask_list(&a, obs_records);
	ask_list(&a, obs_walk);
	obs_failures(p, see_failure, &a);
	obs_faults(p, see_fault, &a);
	if (a.count > 2 * 64)
		return "more failures and faults than are kept";
	ask_check(&a);
	return a.wrong;
}

const char *ask_everything(struct obs *o)
{
	const char *wrong = NULL;
	struct obs_pool *p;

	for (size_t i = 0; !wrong && (p = obs_at(o, i)); i++)
		wrong = ask(p);
	return wrong;
}
