/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Writes bash completion for mmctl, from verbs.def and the method table. Run by the build.
 *
 * The tables become `case` functions; the code around them, which never changes, stands in completion.bash.in.
 */
#include <stdio.h>
#include <string.h>

#include "ctl/method.h"
#include "verbs.h"

/* What a value or operand is completed with: words, or "@NAME" for what only mmctl or bash can tell. */
static const char *operand_words(enum operand_id id)
{
	switch (id) {
	case A_MANAGER:
		return "@managers";
	case A_POOL:
		return "@names";
	case A_PROGRAM:
		return "@commands";
	case A_METHOD:
		return "@methods";
	case A_TOPIC:
		return "@topics";
	default:
		return operands[id].allowed ? operands[id].allowed : "";
	}
}

static const char *value_words(enum option_id id)
{
	if (id == O_SOCKET)
		return "@files";
	if (id == O_MANAGER)
		return "@managers";
	if (id == O_POOL)
		return "@pools";
	if (id == O_PID || id == O_OWNER)
		return "@pids";
	return option_rows[id].value ? option_rows[id].value : "";
}

static void put_verbs(void)
{
	char first[32], last[32] = "";

	printf("_mmctl_first='");
	for (size_t i = 0; i < VERBS_END; i++) {
		snprintf(first, sizeof first, "%.*s", (int)strcspn(verbs[i].words, " "), verbs[i].words);
		if (strcmp(first, last) != 0)
			printf("%s%s", i ? " " : "", first);
		memcpy(last, first, sizeof last);
	}
	printf("'\n\n_mmctl_second() {\n\tcase $1 in\n");
	for (size_t i = 0; i < VERBS_END; i++) {
		const char *space = strchr(verbs[i].words, ' ');
		int len = (int)strcspn(verbs[i].words, " ");

		if (!space)
			continue;
		if (!i || strncmp(verbs[i - 1].words, verbs[i].words, (size_t)len + 1))
			printf("\t%.*s) echo '", len, verbs[i].words);
		printf("%s ", space + 1);
		if (i + 1 == VERBS_END || strncmp(verbs[i + 1].words, verbs[i].words, (size_t)len + 1))
			printf("' ;;\n");
	}
	printf("\tesac\n}\n\n");
}

static void put_option(enum option_id id)
{
	if (option_rows[id].letter)
		printf(" -%c", option_rows[id].letter);
	printf(" --%s", option_rows[id].name);
}

static void put_options(void)
{
	printf("_mmctl_global='");
	for (int id = O_NONE + 1; id < OPTIONS_END; id++)
		if (option_rows[id].how == GLOBAL)
			put_option((enum option_id)id);
	printf("'\n\n_mmctl_options() {\n\tcase $1 in\n");
	for (size_t i = 0; i < VERBS_END; i++) {
		if (!verbs[i].options[0])
			continue;
		printf("\t'%s') echo '", verbs[i].words);
		for (size_t o = 0; o < OPTIONS_MAX && verbs[i].options[o]; o++)
			put_option(verbs[i].options[o]);
		printf("' ;;\n");
	}
	printf("\tesac\n}\n\n");
}

static void put_values(void)
{
	printf("# The words of an option's value; fails for one that takes none.\n_mmctl_value() {\n\tcase $1 in\n");
	for (int id = O_NONE + 1; id < OPTIONS_END; id++) {
		const struct option_row *o = &option_rows[id];

		if (!o->metavar)
			continue;
		printf("\t");
		if (o->letter)
			printf("-%c | ", o->letter);
		printf("--%s) echo '%s' ;;\n", o->name, value_words((enum option_id)id));
	}
	printf("\t*) return 1 ;;\n\tesac\n}\n\n");
}

static void put_operands(void)
{
	printf("_mmctl_operand() {\n\tcase $1/$2 in\n");
	for (size_t i = 0; i < VERBS_END; i++)
		for (size_t o = 0; o < OPERANDS_MAX && verbs[i].operands[o]; o++) {
			const char *offers = operand_words(verbs[i].operands[o]);

			if (*offers)
				printf("\t'%s/%zu') echo '%s' ;;\n", verbs[i].words, o, offers);
		}
	printf("\tesac\n}\n\n_mmctl_methods='");
	for (size_t i = 0; i < RPC_METHODS; i++)
		printf("%s%s", i ? " " : "", rpc_methods[i].name);
	printf("'\n\n");
}

int main(int argc, char **argv)
{
	FILE *rest = argc == 2 ? fopen(argv[1], "r") : NULL;
	char line[512];

	if (!rest) {
		fprintf(stderr, "usage: gen_completion completion.bash.in\n");
		return 2;
	}
	printf("# SPDX-License-Identifier: BSD-2-Clause\n"
	       "# bash completion for mmctl; generated from verbs.def and methods.def, never edited by hand.\n\n");
	put_verbs();
	put_options();
	put_values();
	put_operands();
	while (fgets(line, sizeof line, rest))
		fputs(line, stdout);
	fclose(rest);
	return fflush(stdout) ? 1 : 0;
}
