/* SPDX-License-Identifier: BSD-2-Clause */
/* The command line: words become a verb, options and operands become the method's parameters. */
#ifndef MMCTL_COMMAND_H
#define MMCTL_COMMAND_H

#include <json-c/json.h>
#include <stdint.h>

#include "render.h"
#include "verbs.h"

struct command {
	enum verb_id verb;
	const char *given[OPTIONS_END];		/* an option's text, "" for one without; NULL: not given */
	const char *operand[OPERANDS_MAX];	/* those that are no parameter of the method, too */
	char **program;				/* run: its argv, ended by NULL */
	struct json_object *params;		/* an object */
	enum format format;
	double timeout;				/* s; 0: not given */
	uint64_t limit;				/* 0: none */
	char error[256];
};

/**
 * command_parse - read the command line
 *
 * Returns RC_OK, or RC_USAGE with cmd->error filled. `--help` and `--version`, wherever they stand, are told by
 * cmd->given and end the check; cmd->verb is then VERBS_END where no verb was named. command_free() in every case.
 */
enum exit_code command_parse(int argc, char **argv, struct command *ret_cmd);
void command_free(struct command *cmd);

/** Which verb is it? Words of argv; the number of them that were its name goes to *ret_words. VERBS_END: none. */
enum verb_id command_verb(char *const *words, int count, int *ret_words);

/** "4096", "4K", "2M", "1GiB": bytes. False: it is no size. */
bool command_bytes(const char *text, uint64_t *ret);
/** "90", "1.5s", "15m", "2h", "7d": seconds. False: it is no age. */
bool command_age(const char *text, double *ret);

#endif /* MMCTL_COMMAND_H */
