/* SPDX-License-Identifier: BSD-2-Clause */
/* For Criterion suites: a registry, and a place for what is stored, of the test's own; nothing of them is left. */
#ifndef TESTS_OWN_REGISTRY_H
#define TESTS_OWN_REGISTRY_H

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

static char registry[64];

static inline void drop_registry(void)
{
	char command[128];

	snprintf(command, sizeof command, "rm -rf '%s'", registry);
	cr_assert_eq(system(command), 0);
}

/** Before the first allocation of any kind. `track` as in memory.track. */
static inline void make_registry(const char *track)
{
	snprintf(registry, sizeof registry, "/tmp/memapi-test-XXXXXX");
	cr_assert(mkdtemp(registry));
	setenv("MEMAPI_REGISTRY", registry, 1);
	setenv("MEMAPI_CONFIG", "/dev/null", 1);
	setenv("XDG_STATE_HOME", registry, 1);
	setenv("MEMAPI_TRACK", track, 1);
}

#endif /* TESTS_OWN_REGISTRY_H */
