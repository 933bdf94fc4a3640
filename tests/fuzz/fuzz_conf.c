/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The input is a configuration file: either it is taken, or one printable line says why not and there are the defaults.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "conf/conf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(bool good, const char *what)
{
	if (!good) {
		fprintf(stderr, "conf: %s\n", what);
		abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int file = -1;
	char path[32];
	struct conf_options o = { .file = path };
	struct conf_error e;
	struct conf c;
	int result;

	if (file == -1) {
		setenv("XDG_STATE_HOME", "/nonexistent", 1);
		file = memfd_create("conf", 0);
	}
	if (file == -1 || ftruncate(file, 0) == -1 || pwrite(file, data, size, 0) != (ssize_t)size)
		return 0;
	snprintf(path, sizeof path, "/proc/self/fd/%d", file);
	result = conf_load(&o, NULL, &c, &e);
	expect((result != 0) == (e.text[0] != 0), "an error has a text");
	for (const char *at = e.text; *at; at++)
		expect(!iscntrl((unsigned char)*at), "a text is printable");
	expect(c.pools >= 1 && c.pools <= CONF_POOLS && !strcmp(c.pool[0].name, "default"),
	       "there is always the default pool");
	for (unsigned i = 0; i < c.pools; i++)
		expect(c.pool[i].size >= 65536 && c.pool[i].on_death <= 2, "a pool is complete");
	return 0;
}
