/* SPDX-License-Identifier: BSD-2-Clause */
/* An address of a shared pool is freed that this process has not attached: one of another program's, on this manager.
 */
#include "corrupt.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* The program runs itself again for the other side, which never comes to main(). */
__attribute__((constructor)) static void other_side(void)
{
	const char *manager = getenv("OTHER_SIDE");
	void *p;

	if (!manager)
		return;
	p = shm_init_manager(manager) == 0 ? mem_shm_malloc(64, MEM_SITE) : NULL;
	printf("%p\n", p);
	exit(p == NULL);
}

static void *of_another_program(const struct memory *m)
{
	char command[64];
	void *p = NULL;
	FILE *said;

	setenv("OTHER_SIDE", m->flags & MEM_OWN_MEMORY ? "fm" : m->manager, 1);	/* of those none has shared pools */
	snprintf(command, sizeof command, "exec /proc/%d/exe", getpid());
	said = popen(command, "r");
	MUST(said && fscanf(said, "%p", &p) == 1 && pclose(said) == 0);
	return p;
}

bool damage(const struct memory *m)
{
	const struct mem_site *here;
	void *p = of_another_program(m);

	MUST(p != NULL);
	expect(MEM_WILD_FREE, p, "wild free of %p at %s; it is no address of this pool", p, place(AT(here)));
	m->free(p, here);
	return true;
}
