/* SPDX-License-Identifier: BSD-2-Clause */
/* What test_run.sh runs: holds memory from two functions of its own until its input ends; a bad free on request. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *volatile kept;

__attribute__((noinline)) void *hold_much(void) { return kept = malloc(50000); }
__attribute__((noinline)) void *hold_little(void) { return kept = strdup("little"); }

int main(int argc, char **argv)
{
	char *much = hold_much(), *little = hold_little();

	if (argc > 1 && !strcmp(argv[1], "twice")) {
		char *volatile p = much;

		free(much);
		free(p);
		return 0;
	}
	for (int i = 1; i < argc; i++)
		printf("%s\n", argv[i]);
	puts("ready");
	fflush(stdout);
	while (getchar() != EOF)
		;
	free(much);
	free(little);
	return 42;
}
