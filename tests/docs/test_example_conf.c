/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * test_example_conf FILE - the installed example is a good configuration, and what it says to be the defaults are them
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conf/conf.h"

/** The example with its settings switched on: "#key = value" loses its "#". Empty ones and the pool's stay off. */
static int switch_on(const char *from, const char *to)
{
	FILE *in = fopen(from, "r"), *out = fopen(to, "w");
	char line[1024];
	unsigned settings = 0;

	if (!in || !out)
		return -1;
	while (fgets(line, sizeof line, in) && strncmp(line, "#[pool", 6) != 0) {
		const char *value = strstr(line, " = ");
		bool setting = line[0] == '#' && line[1] != ' ' && value && value[3] != '\n';

		fputs(line + setting, out);
		settings += setting;
	}
	fclose(in);
	return fclose(out) == 0 && settings > 15 ? 0 : -1;
}

static int load(const char *file, struct conf *ret_conf)
{
	struct conf_options o = { .file = file };
	struct conf_error e;
	int result = conf_load(&o, NULL, ret_conf, &e);

	if (result)
		fprintf(stderr, "%s\n", e.text);
	return result;
}

int main(int argc, char **argv)
{
	char path[] = "/tmp/example-conf-XXXXXX";
	struct conf defaults, example, on;
	int fd, result = 1;

	setenv("XDG_STATE_HOME", "/nonexistent", 1);
	fd = mkstemp(path);
	if (argc != 2 || fd == -1)
		return 2;
	close(fd);
	if (switch_on(argv[1], path) || load("/dev/null", &defaults) || load(argv[1], &example) || load(path, &on))
		goto done;
	on.track_set = false;
	on.manager[0].from = on.manager[1].from = FROM_DEFAULT;
	memset(defaults.file, 0, sizeof defaults.file);
	memset(example.file, 0, sizeof example.file);
	memset(on.file, 0, sizeof on.file);
	result = memcmp(&defaults, &example, sizeof on) || memcmp(&defaults, &on, sizeof on);
	if (result)
		fprintf(stderr, "%s: what it says is not the default\n", argv[1]);
done:
	unlink(path);
	return result;
}
