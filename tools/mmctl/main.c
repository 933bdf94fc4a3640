/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * mmctl: look at mmd's pools and choose managers. One command line, one verb, an exit code.
 *
 * Data goes to stdout, everything else to stderr. Colors and human units only where a person sees them: a table on a
 * terminal; NO_COLOR and TERM=dumb switch the colors off.
 */
#include <errno.h>
#include <locale.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "help.h"
#include "mmctl.h"

enum { TIMEOUT = 10, TIMEOUT_CHECK = 120, TIMEOUT_RESTART = 30 };	/* s; told in verbs.def */

static verb_fn *const functions[VERBS_END] = {
#define VERB(id, ...) [V_##id] = verb_##id,
#include "verbs.def"
};

void say(const char *format, ...)
{
	va_list ap;

	fflush(stdout);			/* what was printed before comes before */
	fputs("mmctl: ", stderr);
	va_start(ap, format);
	vfprintf(stderr, format, ap);
	va_end(ap);
	fputc('\n', stderr);
}

static double timeout_of(const struct command *cmd)
{
	if (cmd->timeout > 0)
		return cmd->timeout;
	return cmd->verb == V_restart ? TIMEOUT_RESTART : cmd->verb == V_check ? TIMEOUT_CHECK : TIMEOUT;
}

static unsigned terminal_width(void)
{
	const char *columns = getenv("COLUMNS");
	struct winsize size;
	long n;

	if (columns && (n = strtol(columns, NULL, 10)) > 0 && n < 10000)
		return (unsigned)n;
	return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) ? 0 : size.ws_col;
}

static struct style style_of(const struct command *cmd)
{
	const char *no = getenv("NO_COLOR"), *term = getenv("TERM");
	bool terminal = isatty(STDOUT_FILENO) == 1;

	return (struct style){
		.out = stdout, .format = cmd->format, .terminal = terminal, .width = terminal ? terminal_width() : 0,
		.color = terminal && cmd->format == TABLE && !(no && *no) && term && strcmp(term, "dumb") != 0,
	};
}

/* A full disk must not look like success. */
static enum exit_code flush_out(enum exit_code code)
{
	if (!fflush(stdout) && !ferror(stdout))
		return code;
	say("cannot write: %s", strerror(errno));
	return RC_REFUSED;
}

static enum exit_code help_or_version(const struct command *cmd)
{
	if (cmd->given[O_VERSION])
		printf("mmctl %s\n", MEMAPI_VERSION);
	else if (cmd->verb == VERBS_END)
		help_all(stdout);
	else
		help_verb(stdout, &verbs[cmd->verb]);
	return flush_out(RC_OK);
}

static enum exit_code run(struct mmctl *m)
{
	enum exit_code code;

	m->style = style_of(&m->cmd);
	link_init(&m->link, m->cmd.given[O_SOCKET], timeout_of(&m->cmd));
	code = functions[m->cmd.verb](m);
	link_close(&m->link);
	return flush_out(code);
}

int main(int argc, char **argv)
{
	struct mmctl m = { .argv = argv };
	enum exit_code code;

	setlocale(LC_CTYPE, "");
	code = command_parse(argc, argv, &m.cmd);
	if (code) {
		struct text t = { 0 };

		text_safe(&t, m.cmd.error, strlen(m.cmd.error));
		say("%s", t.at ? t.at : "");
		text_free(&t);
		fprintf(stderr, "Try: mmctl help%s%s\n", m.cmd.verb == VERBS_END ? "" : " ",
			m.cmd.verb == VERBS_END ? "" : verbs[m.cmd.verb].words);
	} else if (m.cmd.given[O_HELP] || m.cmd.given[O_VERSION]) {
		code = help_or_version(&m.cmd);
	} else {
		code = run(&m);
	}
	command_free(&m.cmd);
	return (int)code;
}
