/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a DBG_SR_MEMORY build is: the same library with other defaults, all of which the configuration may change. This
 * program has the part of the library that knows of them compiled so, and is itself compiled without.
 *
 *	dbg MANAGER on		nothing is configured: both domains are tracked, an overrun by one is found
 *	dbg MANAGER off		tracking and guards are configured away: private memory is plain
 */
#include <memapi/memapi.h>
#include <memapi/memcore.h>
#include <memapi/observe.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "expect.h"

static void look(enum obs_domain domain, enum obs_tracking tracking, uint64_t faults)
{
	struct obs *o;
	struct obs_pool *p;
	struct obs_stats stats;
	bool found = false;

	EXPECT(obs_open(NULL, &o) == 0 && obs_scan(o, NULL, NULL) == 0);
	for (size_t i = 0; (p = obs_at(o, i)); i++) {
		if (obs_info(p)->pid != getpid() || obs_info(p)->domain != domain)
			continue;
		found = true;
		EXPECT(obs_stats(p, &stats) == 0);
		EXPECT(stats.tracking == tracking && stats.faults == faults && stats.untracked == (tracking ? 0 : 1));
	}
	EXPECT(found);
	obs_close(o);
}

int main(int argc, char **argv)
{
	bool on = argc == 3 && strcmp(argv[2], "on") == 0;
	char *mine, *ours;

	EXPECT(argc == 3 && pkg_init_manager(argv[1]) == 0 && shm_init_manager(argv[1]) == 0);
	mine = pkg_malloc(100);
	ours = shm_malloc(100);
	EXPECT(mine && ours);
	look(OBS_PKG, on ? OBS_SITES : OBS_OFF, 0);
	look(OBS_SHM, OBS_SITES, 0);		/* shared memory has its ledger always */
	if (!on && strcmp(argv[1], "qm") == 0)	/* watches by itself */
		return 0;
	*(volatile char *)(mine + 100) = *(volatile char *)(ours + 100) =
		'x'; /* plain: inside of the 104 that it has */
	pkg_free(mine);
	shm_free(ours);
	EXPECT(pkg_malloc(1) && shm_malloc(1));
	look(OBS_PKG, on ? OBS_SITES : OBS_OFF, on);
	look(OBS_SHM, OBS_SITES, on);
	return 0;
}
