/* SPDX-License-Identifier: BSD-2-Clause */
/* The table of managers, from the rows that the build made. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "mem/init.h"
#include "memapi/manager.h"
#include "memapi/memcore.h"

#define MANAGER(m) extern const struct mem_manager_ops m##_pkg_ops, m##_shm_ops, m##_view_ops;
#define MANAGER_OWN(m) extern const struct mem_manager_ops m##_own_ops;
#include "managers.def"

/* A manager, or one of another name that is this one in several shards. */
struct row { const char *name; const struct mem_manager_ops *pkg, *shm, *view; unsigned shards; const char *summary; };

static const struct row rows[] = {
#define MANAGER(m) { #m, &m##_pkg_ops, &m##_shm_ops, &m##_view_ops, 1, NULL },
#define MANAGER_OWN(m) { #m, &m##_own_ops, NULL, &m##_own_ops, 1, NULL },
#define MANAGER_SHARDED(m, of, shards, summary) \
	{ #m, &of##_pkg_ops, &of##_shm_ops, &of##_view_ops, shards, summary },
#include "managers.def"
	{ NULL, NULL, NULL, NULL, 0, NULL }
};

enum { ROWS = sizeof rows / sizeof rows[0] - 1 };

/* Names that Kamailio's and OpenSIPS's users have in their start scripts. */
static const struct { const char *alias, *name; } aliases[] = {
	{ "f_malloc", "fm" }, { "fmalloc", "fm" }, { "q_malloc", "qm" }, { "qmalloc", "qm" },
	{ "tlsf_malloc", "tlsf" }, { "dl_malloc", "dl" }, { "vq_malloc", "vq" }, { "sf_malloc", "sf" },
};

/* Filled at the first look: what a row offers is in its operations. */
static struct mem_manager table[ROWS + 1];
static pthread_once_t filled = PTHREAD_ONCE_INIT;

static void fill(void)
{
	for (const struct row *r = rows; r->name; r++)
		table[r - rows] = (struct mem_manager){ .name = r->name,
							.summary = r->summary ? r->summary : r->view->summary,
							.shards = r->shards,
							.source = "built in",
							.pkg = r->view->domains & MEM_PKG ? r->pkg : NULL,
							.shm = r->view->domains & MEM_SHM ? r->shm : NULL,
							.view = r->view };
}

const struct mem_manager *mem_manager_at(size_t i)
{
	pthread_once(&filled, fill);
	return i < ROWS ? &table[i] : NULL;
}

static const char *canonical(const char *name)
{
	for (size_t i = 0; i < sizeof aliases / sizeof aliases[0]; i++)
		if (strcmp(aliases[i].alias, name) == 0)
			return aliases[i].name;
	return name;
}

const struct mem_manager *mem_manager_find(const char *name)
{
	name = canonical(name);
	for (size_t i = 0; i < ROWS; i++)
		if (strcmp(rows[i].name, name) == 0)
			return mem_manager_at(i);
	return strncmp(name, "module:", 7) == 0 ? mem_module_find(name, mem_conf()->module_path, NULL, 0) : NULL;
}

const struct mem_manager *mem_manager_choose(const char *name, unsigned domain, const char *module_path, char *why,
					     size_t bytes)
{
	const struct mem_manager *m;

	*why = 0;
	m = mem_module_named(name) ? mem_module_find(name, module_path, why, bytes) : mem_manager_find(name);
	if (!m || (domain == MEM_SHM ? m->shm : m->pkg))
		return m;
	if (domain == MEM_SHM && m->view->flags & MEM_OWN_MEMORY)
		snprintf(why, bytes, "%s keeps its own memory, and each process has its own: nothing of it can be shared",
			 name);
	else
		snprintf(why, bytes, "%s (%s) does not serve %s", name, m->source, domain == MEM_SHM ? "shm" : "pkg");
	return NULL;
}

char *mem_manager_names(unsigned domain, char *buf, size_t bytes)
{
	const struct mem_manager *m;
	size_t len = 0;

	buf[0] = 0;
	for (size_t i = 0; (m = mem_manager_at(i)) && len < bytes; i++)
		if (domain == MEM_SHM ? m->shm != NULL : m->pkg != NULL)
			len += (size_t)snprintf(buf + len, bytes - len, "%s%s", len ? " " : "", m->name);
	return buf;
}

const char *mem_managers_left_out(void)
{
	static const char names[] = ""
#define MANAGER_LEFT_OUT(m) #m " "
#include "managers.def"
		;
	return names;
}
