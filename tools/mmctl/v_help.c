/* SPDX-License-Identifier: BSD-2-Clause */
/* Help, all of it from the tables: verbs.def and the methods of the socket. */
#include "help.h"

#include <stdlib.h>
#include <string.h>

#include "ctl/method.h"

enum { WIDTH = 78, INDENT = 22 };

/* Words of a text, broken before column WIDTH. */
static void wrap(FILE *out, const char *text, int indent)
{
	int column = indent;

	for (const char *end; *text; text = end + (*end == ' ')) {
		end = strchrnul(text, ' ');
		if (column > indent && column + 1 + (int)(end - text) > WIDTH) {
			fprintf(out, "\n%*s", indent, "");
			column = indent;
		}
		column += fprintf(out, "%s%.*s", column > indent ? " " : "", (int)(end - text), text);
	}
	fputc('\n', out);
}

static void put_operands(FILE *out, const struct verb *v)
{
	for (size_t i = 0; i < OPERANDS_MAX && v->operands[i]; i++)
		fprintf(out, operands[v->operands[i]].optional ? " [%s]" : " %s", operands[v->operands[i]].metavar);
}

static void put_option(FILE *out, const struct option_row *o)
{
	int len = o->letter ? fprintf(out, "  -%c, --%s", o->letter, o->name) : fprintf(out, "      --%s", o->name);

	if (o->metavar)
		len += fprintf(out, " %s", o->metavar);
	if (len > INDENT + 2)
		len = fprintf(out, "\n") - 1;
	fprintf(out, "%*s", INDENT + 4 - len, "");
	wrap(out, o->help, INDENT + 4);
}

static void put_globals(FILE *out)
{
	for (size_t id = O_NONE + 1; id < OPTIONS_END; id++)
		if (option_rows[id].how == GLOBAL)
			put_option(out, &option_rows[id]);
}

/* In a verb's help they are only called to mind. */
static void put_letters(FILE *out)
{
	fputs("  and those of `mmctl help`:", out);
	for (size_t id = O_NONE + 1; id < OPTIONS_END; id++)
		if (option_rows[id].how == GLOBAL)
			fprintf(out, " -%c", option_rows[id].letter);
	fputc('\n', out);
}

static void put_exits(FILE *out)
{
	fputs("Exit codes\n", out);
	for (size_t i = 0; i < exit_rows_count; i++)
		fprintf(out, "  %3d  %s\n", exit_rows[i].code, exit_rows[i].help);
}

void help_all(FILE *out)
{
	fputs("mmctl - see into every memory pool of this machine, and choose the managers\n\n"
	      "Usage: mmctl [OPTION...] VERB [OPERAND...] [OPTION...]\n\nVerbs\n", out);
	for (size_t i = 0; i < VERBS_END; i++) {
		fprintf(out, "  %-15s ", verbs[i].words);
		wrap(out, verbs[i].summary, 18);
	}
	fputs("\nOptions\n", out);
	put_globals(out);
	fputs("\nThe socket is the first that is given: -s, MMD_SOCKET, control.socket in mmd.conf;\n"
	      "else $XDG_RUNTIME_DIR/mmd.sock or /run/mmd/mmd.sock, whichever answers.\n\n", out);
	put_exits(out);
	fputs("\n`mmctl help VERB` tells a verb's options and an example, `mmctl help methods` what\n"
	      "`mmctl call` can call.\n", out);
}

void help_verb(FILE *out, const struct verb *v)
{
	fprintf(out, "mmctl %s - ", v->words);
	wrap(out, v->summary, 0);
	fprintf(out, "\nUsage: mmctl %s%s", v->words, verb_runs(v) ? " [OPTION...] [--]" : "");
	put_operands(out, v);
	fputs(verb_runs(v) ? "\n\n" : " [OPTION...]\n\n", out);
	if (*v->details) {
		wrap(out, v->details, 0);
		fputc('\n', out);
	}
	for (size_t i = 0; i < OPERANDS_MAX && v->operands[i]; i++) {
		const char *metavar = operands[v->operands[i]].metavar;

		fprintf(out, "  %-*s", INDENT + 2, metavar);
		if (strlen(metavar) >= INDENT + 2)
			fprintf(out, "\n%*s", INDENT + 4, "");
		wrap(out, operands[v->operands[i]].help, INDENT + 4);
	}
	for (size_t i = 0; i < OPTIONS_MAX && v->options[i]; i++)
		put_option(out, &option_rows[v->options[i]]);
	put_letters(out);
	fprintf(out, "\nExample\n  %s\n", v->example);
}

static void help_methods(FILE *out)
{
	for (size_t i = 0; i < RPC_METHODS; i++) {
		const struct rpc_method *method = &rpc_methods[i];

		fprintf(out, "%s%s (%s)\n  ", i ? "\n" : "", method->name, rpc_role_name(method->role));
		wrap(out, method->summary, 2);
		for (size_t p = 0; method->params[p]; p++)
			fprintf(out, "    %-11s %s%s\n", method->params[p]->name, method->params[p]->help,
				method->params[p]->required ? "" : " (optional)");
		fprintf(out, "  mmctl call %s '%s'\n", method->name, method->example);
	}
}

/* The topic may be the first word of several verbs. */
static bool help_family(FILE *out, const char *first)
{
	size_t len = strlen(first);
	bool found = false;

	for (size_t i = 0; i < VERBS_END; i++) {
		if (strncmp(verbs[i].words, first, len) || verbs[i].words[len] != ' ')
			continue;
		fputs(found ? "\n" : "", out);
		help_verb(out, &verbs[i]);
		found = true;
	}
	return found;
}

enum exit_code verb_help(struct mmctl *m)
{
	char *words[2];
	const char *topic = m->cmd.operand[0];
	enum verb_id id;
	int used;

	if (!topic) {
		help_all(m->style.out);
		return RC_OK;
	}
	if (!strcmp(topic, "methods")) {
		help_methods(m->style.out);
		return RC_OK;
	}
	if (!strcmp(topic, "exit")) {
		put_exits(m->style.out);
		return RC_OK;
	}
	words[0] = strdup(topic);
	words[1] = strdup(m->cmd.operand[1] ? m->cmd.operand[1] : "");
	id = command_verb(words, m->cmd.operand[1] ? 2 : 1, &used);
	free(words[0]);
	free(words[1]);
	if (id != VERBS_END) {
		help_verb(m->style.out, &verbs[id]);
		return RC_OK;
	}
	if (!m->cmd.operand[1] && help_family(m->style.out, topic))
		return RC_OK;
	say("help: no topic `%s`; `mmctl help` lists the verbs", topic);
	return RC_USAGE;
}
