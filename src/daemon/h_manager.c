/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * manager.list|get|set|reset: which managers there are, which run now, which come next, and what chose them.
 *
 * `next` is never remembered: all sources are weighed anew for each answer, so it is what a start would get at this
 * moment. A choice is stored whole or not at all. One that a stronger source overrides is stored too, and held_back
 * names the source; so is one that a hosted pool with `keep = yes` does not follow before it is dropped.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/choice.h"
#include "daemon/hosted.h"
#include "memapi/manager.h"
#include "memapi/memcore.h"

static const char *const domain_name[] = { "pkg", "shm" };

static const struct mem_manager_ops *ops_of(const struct mem_manager *m, unsigned domain)
{
	return domain == CONF_PKG ? m->pkg : m->shm;
}

bool choice_is_manager(struct conf_ask *ask)
{
	unsigned domain = ask->domain == CONF_PKG ? MEM_PKG : MEM_SHM;

	mem_manager_names(domain, ask->allowed, sizeof ask->allowed);
	return mem_manager_choose(ask->name, domain, ask->module_path, ask->why, sizeof ask->why);
}

/* ---- the list ---- */

static void capabilities(struct json_writer *w, const struct mem_manager *m)
{
	const struct mem_manager_ops *ops = m->pkg ? m->pkg : m->shm;

	jw_key(w, "capabilities"), jw_open(w, '[');
	if (!(ops->flags & MEM_ALIGN16))
		jw_string(w, "any alignment");
	if (ops->flags & MEM_OWN_MEMORY)
		jw_string(w, "own memory");
	else
		jw_string(w, "resize in place");
	if (ops->realloc)
		jw_string(w, "realloc");
	if (ops->extend)
		jw_string(w, "grow");
	if (ops->idle)
		jw_string(w, "trim");
	if (ops->flags & MEM_DEBUGS)
		jw_string(w, "debug");
	if (!(ops->flags & MEM_OWN_MEMORY)) {
		jw_string(w, "walk");
		jw_string(w, "check");
	}
	jw_close(w, ']');
}

static void manager_row(struct json_writer *w, const struct mem_manager *m)
{
	jw_open(w, '{');
	jw_key(w, "name"), jw_string(w, m->name);
	jw_key(w, "source"), jw_string(w, m->source);
	jw_key(w, "domains"), jw_open(w, '[');
	for (unsigned domain = CONF_PKG; domain <= CONF_SHM; domain++)
		if (ops_of(m, domain))
			jw_string(w, domain_name[domain]);
	jw_close(w, ']');
	capabilities(w, m);
	jw_key(w, "advice"), jw_string(w, m->summary);
	row_bool(w, "default", !strcmp(m->name, CONF_MANAGER));
	jw_close(w, '}');
}

void rpc_manager_list(struct rpc_call *call)
{
	struct json_writer *w = call->out, skipped = { 0 };
	const struct mem_manager *m;

	mem_modules_load(daemon_of(call)->conf.module_path, row_skip, &skipped);
	jw_open(w, '{');
	jw_key(w, "managers"), jw_open(w, '[');
	for (size_t i = 0; (m = mem_manager_at(i)); i++)
		manager_row(w, m);
	for (size_t i = 0; (m = mem_module_at(i)); i++)
		manager_row(w, m);
	jw_close(w, ']');
	row_text(w, "left_out", mem_managers_left_out());
	row_skipped(w, &skipped);
	jw_close(w, '}');
}

/* ---- the choice ---- */

static void add_word(char *text, size_t bytes, const char *word)
{
	size_t len = strlen(text);

	if (!strstr(text, word))
		snprintf(text + len, bytes - len, "%s%s", len ? ", " : "", word);
}

/* What keeps the stored name of a domain from being next: the stronger source, and pools that do not follow. */
static void find_holders(const struct daemon *d, const struct conf *next, const struct conf_choice *stored,
			 unsigned domain, char *text, size_t bytes)
{
	const struct conf_manager *m = &next->manager[domain];

	if (*stored->name[domain] && m->from > FROM_CHOICE)
		add_word(text, bytes, conf_from_name(m->from));
	if (domain == CONF_SHM)
		hosted_holders(d, next, text, bytes);
}

void choice_write(const struct daemon *d, struct json_writer *w, char *held_back, size_t bytes)
{
	struct conf_choice stored = { 0 };
	struct conf_error error;
	struct conf next;
	bool known = !daemon_next_conf(d, &next, &error);

	*held_back = 0;
	if (conf_choice_read(&stored, &(struct conf_error){ 0 }))
		stored = (struct conf_choice){ 0 };
	for (unsigned domain = CONF_PKG; domain <= CONF_SHM; domain++) {
		char holders[256] = "";

		jw_key(w, domain_name[domain]), jw_open(w, '{');
		jw_key(w, "now"), jw_string(w, d->now[domain].name);
		row_text(w, "next", known ? next.manager[domain].name : "");
		row_text(w, "from", known ? conf_from_name(next.manager[domain].from) : "");
		if (known)
			find_holders(d, &next, &stored, domain, holders, sizeof holders);
		row_text(w, "held_back", holders);
		jw_close(w, '}');
		for (char *rest = holders, *word; (word = strsep(&rest, ",")); )
			if (*(word += strspn(word, " ")))
				add_word(held_back, bytes, word);
	}
	if (!known)
		snprintf(held_back, bytes, "the configuration is wrong: %s", error.text);
}

static void answer(struct rpc_call *call)
{
	char held_back[1200];

	jw_open(call->out, '{');
	choice_write(daemon_of(call), call->out, held_back, sizeof held_back);
	row_text(call->out, "held_back", held_back);
	jw_close(call->out, '}');
}

void rpc_manager_get(struct rpc_call *call) { answer(call); }

/* Is it wanted in this domain? Without the parameter in both. */
static bool is_meant(const struct rpc_call *call, unsigned domain)
{
	const char *text = rpc_text(call, "domain");

	return !text || !strcmp(text, domain_name[domain]);
}

static bool store(struct rpc_call *call, const char *name)
{
	struct conf_choice choice;
	struct conf_error error;

	int failed = conf_choice_read(&choice, &error);

	if (failed && failed != -EINVAL) {
		rpc_fail(call, RPC_INTERNAL, NULL, "the stored choice cannot be read: %s", error.text);
		return false;
	}
	if (failed)
		choice = (struct conf_choice){ 0 };	/* damaged: this one replaces it */
	for (unsigned domain = CONF_PKG; domain <= CONF_SHM; domain++)
		if (is_meant(call, domain))
			snprintf(choice.name[domain], sizeof choice.name[domain], "%s", name);
	if (conf_choice_write(&choice, &error)) {
		rpc_fail(call, RPC_INTERNAL, NULL, "the choice could not be stored: %s", error.text);
		return false;
	}
	return true;
}

void rpc_manager_set(struct rpc_call *call)
{
	struct conf_ask ask = { .name = rpc_text(call, "name"), .module_path = daemon_of(call)->conf.module_path };

	for (ask.domain = CONF_PKG; ask.domain <= CONF_SHM; ask.domain++)
		if (is_meant(call, ask.domain) && (!choice_is_manager(&ask) || strlen(ask.name) >= CONF_NAME)) {
			rpc_fail(call, RPC_NO_MANAGER, "name", "no manager of this build for %s%s%s%s%s",
				 domain_name[ask.domain], *ask.why ? ": " : "", ask.why,
				 *mem_managers_left_out() ? "; left out: " : "", mem_managers_left_out());
			rpc_allowed_words(call, ask.allowed);
			return;
		}
	if (store(call, mem_module_named(ask.name) ? ask.name : mem_manager_find(ask.name)->name))
		answer(call);
}

void rpc_manager_reset(struct rpc_call *call)
{
	if (store(call, ""))
		answer(call);
}
