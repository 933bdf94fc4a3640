/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/evidence.h"

#include <string.h>

static const char *const words[] = { "owner_dead", "at_exit", "growing" };
enum { WORDS = sizeof words / sizeof *words };

unsigned evidence_read(const char *text)
{
	for (unsigned i = 0; text && i < WORDS; i++)
		if (!strcmp(text, words[i]))
			return 1u << i;
	return ANY_EVIDENCE;
}

unsigned evidence_of_pool(struct obs_pool *p)
{
	struct obs_stats stats;
	bool live;

	if (obs_counts(p, &stats))
		return 0;
	live = stats.state == OBS_LIVE || stats.state == OBS_DRAINING;
	if (obs_info(p)->domain == OBS_SHM)
		return OWNER_DEAD | (live ? GROWING : 0);
	return live ? GROWING : stats.state == OBS_DAMAGED ? 0 : AT_EXIT;
}

bool evidence_owner_dead(struct places *places, const struct obs_fragment *f)
{
	const struct obs_owner *owner = places_owner(places, f->slot);

	return owner->pid > 0 && !owner->alive;
}

void evidence_write(struct json_writer *w, unsigned evidence)
{
	jw_open(w, '[');
	for (unsigned i = 0; i < WORDS; i++)
		if (evidence & 1u << i)
			jw_string(w, words[i]);
	jw_close(w, ']');
}
