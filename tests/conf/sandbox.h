/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A home of the test's own: no configuration, choice or environment of the machine is seen.
 */
#ifndef TESTS_CONF_SANDBOX_H
#define TESTS_CONF_SANDBOX_H

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf/conf.h"

extern char **environ;
static char sandbox[64], sandbox_file[128];

/** TestSuite(.init = sandbox_make, .fini = sandbox_drop) */
static inline void sandbox_make(void)
{
	for (char **e = environ; *e;) {
		char name[128];

		snprintf(name, sizeof name, "%.*s", (int)strcspn(*e, "="), *e);
		if (!strncmp(name, "MEMAPI_", 7))
			unsetenv(name);
		else
			e++;
	}
	snprintf(sandbox, sizeof sandbox, "/tmp/conf-test-XXXXXX");
	cr_assert(mkdtemp(sandbox));
	snprintf(sandbox_file, sizeof sandbox_file, "%s/mmd.conf", sandbox);
	setenv("HOME", sandbox, 1);
	setenv("XDG_CONFIG_HOME", sandbox, 1);
	setenv("XDG_STATE_HOME", sandbox, 1);
}

static inline void sandbox_drop(void)
{
	char command[128];

	snprintf(command, sizeof command, "rm -rf '%s'", sandbox);
	cr_assert(system(command) == 0);
}

static inline void write_file(const char *path, const char *text, size_t len)
{
	FILE *f = fopen(path, "w");

	cr_assert(f, "%s: %s", path, strerror(errno));
	cr_assert(fwrite(text, 1, len, f) == len);
	cr_assert(fclose(f) == 0);
}

/** Managers of a build that has fm and qm in both domains, sys in pkg. */
static inline bool some_managers(struct conf_ask *ask)
{
	bool pkg = ask->domain == CONF_PKG;

	snprintf(ask->allowed, sizeof ask->allowed, "%s", pkg ? "qm fm sys" : "qm fm");
	if (!strncmp(ask->name, "module:", 7))
		snprintf(ask->why, sizeof ask->why, "%s has none", ask->module_path);
	return !strcmp(ask->name, "qm") || !strcmp(ask->name, "fm") || (pkg && !strcmp(ask->name, "sys"));
}

#endif /* TESTS_CONF_SANDBOX_H */
