/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A module of the program allocates and is unloaded. Its fragments live on and can be freed; a second free names the
 * place in the module, which is no memory any more. Then it is loaded again, and its sites are known again.
 */
#include "corrupt.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

typedef void *alloc_fn(const struct memory *m, const struct mem_site **ret_site);

/* A fragment whose site is gone; `where`: how reports name it. */
static void *from_a_module(const struct memory *m, char *where, size_t bytes)
{
	const struct mem_site *site = NULL;
	void *object = dlopen(PLUGIN, RTLD_NOW | RTLD_LOCAL), *p = NULL;
	alloc_fn *alloc;

	MUST(object != NULL);
	*(void **)&alloc = dlsym(object, "plugin_alloc");
	if (alloc)
		p = alloc(m, &site);
	if (site)
		snprintf(where, bytes, "%s", place(site));
	MUST(dlclose(object) == 0);
	MUST(dlopen(PLUGIN, RTLD_NOW | RTLD_NOLOAD) == NULL);	/* it is gone */
	return p;
}

bool damage(const struct memory *m)
{
	const struct mem_site *freed, *here;
	char where[240] = "";
	void *p = from_a_module(m, where, sizeof where), *q;

	MUST(p && where[0]);
	memset(p, 0xff, 100);
	m->free(p, AT(freed));
	q = from_a_module(m, where, sizeof where);
	MUST(q != NULL);
	MUST(m->usable(q) >= 100);
	q = m->realloc(q, 5000, MEM_SITE);
	MUST(q != NULL);
	m->free(q, MEM_SITE);
	p = from_a_module(m, where, sizeof where);
	m->free(p, AT(freed));
	AT(here);
	if (m->watch == PLAIN)
		expect(MEM_WILD_FREE, p, "wild free of %p at %s; no fragment in use begins there", p, place(here));
	else
		expect(MEM_DOUBLE_FREE, p, "double free of %p at %s; freed at %s, allocated at %s", p, place(here), place(freed),
		       where);
	m->free(p, here);
	return true;
}
