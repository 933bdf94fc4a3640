/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * gen TEMPLATE - the template on stdout, with lists put in from the tables that the programs themselves read
 *
 * A line `@NAME@` of the template becomes the list of that name (the table at the end of this file); `@version@` inside
 * a line becomes the version. How a list is written follows from the template's name: *.md.in is Markdown, *.conf.in an
 * example file, all else man(7). So a manual page cannot tell of a key, method, verb, option or manager that is not
 * there.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf/keys.h"
#include "ctl/method.h"
#include "memapi/manager.h"
#include "verbs.h"

static enum form { MAN, MARKDOWN, EXAMPLE } form;

/* ---- text ---- */

/** For man(7): `words` bold, no character of it a request, lines without blanks before them. */
static void roff(const char *text)
{
	bool bold = false, start = true;

	for (; *text; text++) {
		if (start && (*text == '.' || *text == '\''))
			fputs("\\&", stdout);
		start = *text == '\n';
		if (*text == '`')
			fputs((bold = !bold) ? "\\fB" : "\\fP", stdout);
		else if (*text == '-')
			fputs("\\-", stdout);
		else if (*text == '\\')
			fputs("\\e", stdout);
		else
			putchar(*text);
	}
}

/** For Markdown, also inside a table. */
static void markdown(const char *text)
{
	for (; *text; text++) {
		if (*text == '|')
			putchar('\\');
		putchar(*text);
	}
}

static void say(const char *text)
{
	if (form == MARKDOWN)
		markdown(text);
	else
		roff(text);
}

static void bold(const char *text)
{
	fputs(form == MARKDOWN ? "`" : "\\fB", stdout);
	say(text);
	fputs(form == MARKDOWN ? "`" : "\\fP", stdout);
}

/** man(7): a tagged paragraph begins; its tag is on the next line, its text follows. */
static void tag(void) { puts(".TP"); }

/* ---- keys of mmd.conf ---- */

static const char *initial(const struct conf_key *k)
{
	return !k->initial ? "that of the other key" : *k->initial ? k->initial : "nothing";
}

static void key_man(const struct conf_key *k)
{
	char allowed[256], name[64];

	tag();
	bold(k->name);
	putchar('\n');
	say(k->help);
	printf("\n.br\nAllowed: ");
	say(key_allowed(k, allowed, sizeof allowed));
	printf(". Default: ");
	say(initial(k));
	printf(".\n");
	if (key_environment(k, name, sizeof name)) {
		printf(".br\nEnvironment: ");
		bold(name);
		printf(".\n");
	}
}

static void key_example(const struct conf_key *k)
{
	char allowed[256];

	printf("\n# %s\n# Allowed: %s.\n#%s = %s\n", k->help, key_allowed(k, allowed, sizeof allowed), k->name,
	       k->initial ? k->initial : "");
}

static void key_row(const struct conf_key *k)
{
	char allowed[256];

	printf("| `%s` | ", k->name);
	say(key_allowed(k, allowed, sizeof allowed));
	printf(" | %s | ", initial(k));
	say(k->help);
	puts(" |");
}

static void keys(const struct conf_key *k)
{
	if (form == MARKDOWN)
		puts("| key | allowed | default | |\n|---|---|---|---|");
	for (; k->name; k++) {
		if (form == MARKDOWN)
			key_row(k);
		else if (form == EXAMPLE)
			key_example(k);
		else
			key_man(k);
	}
}

static void list_keys(void) { keys(conf_keys); }
static void list_pool_keys(void) { keys(conf_pool_keys); }

/* ---- the socket ---- */

static void param_rows(const struct rpc_method *m)
{
	char allowed[256];

	if (!m->params[0])
		return;
	puts("\n| parameter | | allowed | |\n|---|---|---|---|");
	for (const struct rpc_param *const *p = m->params; *p; p++) {
		printf("| `%s` | %s | ", (*p)->name, (*p)->required ? "required" : "optional");
		say(rpc_param_allowed(*p, allowed, sizeof allowed));
		printf(" | ");
		say((*p)->help);
		puts(" |");
	}
}

static void list_methods(void)
{
	for (const struct rpc_method *m = rpc_methods; m < rpc_methods + RPC_METHODS; m++) {
		printf("### %s\n\n", m->name);
		say(m->summary);
		printf(" Role: %s.\n", rpc_role_name(m->role));
		param_rows(m);
		printf("\n```\n--> {\"jsonrpc\":\"2.0\",\"method\":\"%s\",\"params\":%s,\"id\":1}\n<-- %s\n```\n\n",
		       m->name, m->example, m->result);
	}
}

static const struct { int code; const char *message; } errors[] = {
#define RPC_ERROR(id, code, message) { code, message },
#include "ctl/errors.def"
#undef RPC_ERROR
};

static void list_errors(void)
{
	puts("| code | message |\n|---|---|");
	for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
		printf("| %d | %s |\n", errors[i].code, errors[i].message);
}

/* ---- mmctl ---- */

static void option_man(const struct option_row *o)
{
	tag();
	if (o->letter)
		printf("\\fB\\-%c\\fP, ", o->letter);
	printf("\\fB\\-\\-");
	roff(o->name);
	printf("\\fP");
	if (o->metavar) {
		printf("=\\fI");
		roff(o->metavar);
		printf("\\fP");
	}
	putchar('\n');
	roff(o->help);
	puts(".");
}

static void list_options(void)
{
	for (size_t i = 1; i < OPTIONS_END; i++)
		if (option_rows[i].how == GLOBAL)
			option_man(&option_rows[i]);
}

static void verb_man(const struct verb *v)
{
	printf(".SS \"");
	roff(v->words);
	if (verb_runs(v))
		roff(" [OPTION]... [--]");
	for (size_t i = 0; i < OPERANDS_MAX && v->operands[i]; i++) {
		const struct operand *a = &operands[v->operands[i]];

		printf(a->optional ? " [" : " ");
		roff(a->metavar);
		printf(a->optional ? "]" : "");
	}
	puts("\"");
	roff(v->summary);
	if (*v->details) {
		putchar('\n');
		roff(v->details);
	}
	putchar('\n');
	for (size_t i = 0; i < OPTIONS_MAX && v->options[i]; i++)
		option_man(&option_rows[v->options[i]]);
	printf(".PP\nExample: ");
	bold(v->example);
	putchar('\n');
}

static void list_verbs(void)
{
	if (form == MARKDOWN)
		puts("| verb | |\n|---|---|");
	for (const struct verb *v = verbs; v < verbs + VERBS_END; v++) {
		if (form == MAN) {
			verb_man(v);
			continue;
		}
		printf("| `%s` | ", v->example);
		say(v->summary);
		puts(" |");
	}
}

static void list_exits(void)
{
	for (size_t i = 0; i < exit_rows_count; i++) {
		tag();
		printf("\\fB%d\\fP\n", exit_rows[i].code);
		roff(exit_rows[i].help);
		puts(".");
	}
}

/* ---- managers ---- */

#define MANAGER(m) extern const struct mem_manager_ops m##_view_ops;
#define MANAGER_OWN(m) extern const struct mem_manager_ops m##_own_ops;
#include "managers.def"
static const struct mem_manager_ops *const managers[] = {
#define MANAGER(m) &m##_view_ops,
#define MANAGER_OWN(m) &m##_own_ops,
#include "managers.def"
	NULL
};

static void list_managers(void)
{
	if (form == MARKDOWN)
		puts("| manager | domains | |\n|---|---|---|");
	for (size_t i = 0; managers[i]; i++) {
		static const char *const domain_names[] = { "", "pkg", "shm", "pkg shm" };
		const char *domains = domain_names[managers[i]->domains & (MEM_PKG | MEM_SHM)];

		if (form == MARKDOWN) {
			printf("| `%s` | %s | ", managers[i]->name, domains);
			say(managers[i]->summary);
			puts(" |");
			continue;
		}
		tag();
		bold(managers[i]->name);
		printf(" (%s)\n", domains);
		say(managers[i]->summary);
		puts(".");
	}
}

/* ---- the template ---- */

static const struct { const char *name; void (*list)(void); } lists[] = {
	{ "@keys@", list_keys }, { "@pool_keys@", list_pool_keys }, { "@methods@", list_methods },
	{ "@errors@", list_errors }, { "@options@", list_options }, { "@verbs@", list_verbs },
	{ "@exits@", list_exits }, { "@managers@", list_managers },
};

static void line_out(const char *line)
{
	const char *at;

	for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
		if (!strncmp(line, lists[i].name, strlen(lists[i].name))) {
			lists[i].list();
			return;
		}
	while ((at = strstr(line, "@version@"))) {
		printf("%.*s" MEMAPI_VERSION, (int)(at - line), line);
		line = at + strlen("@version@");
	}
	fputs(line, stdout);
}

static bool ends(const char *text, const char *end)
{
	return strlen(text) >= strlen(end) && !strcmp(text + strlen(text) - strlen(end), end);
}

int main(int argc, char **argv)
{
	char line[4096];
	FILE *in;

	if (argc != 2 || !(in = fopen(argv[1], "r"))) {
		fprintf(stderr, "usage: %s TEMPLATE\n", argv[0]);
		return 2;
	}
	form = ends(argv[1], ".md.in") ? MARKDOWN : ends(argv[1], "mmd.conf.in") ? EXAMPLE : MAN;
	while (fgets(line, sizeof line, in))
		line_out(line);
	fclose(in);
	return fflush(stdout) == 0 ? 0 : 1;
}
