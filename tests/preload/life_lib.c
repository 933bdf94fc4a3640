/* SPDX-License-Identifier: BSD-2-Clause */
/* Allocates while the loader relocates (in this library's turn nobody's constructor has run), and at the end. */
#include "life.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

char *moments[MOMENTS];
static char *from_resolver;
static pthread_key_t key;
static __thread int words[600];		/* more than the loader keeps room for: it asks us for it */

static int zero(void) { return 0; }

__attribute__((used)) static int (*resolve(void))(void)	/* clang does not see that ifunc uses it */
{
	from_resolver = malloc(40);
	if (from_resolver)
		memset(from_resolver, 'r', 40);
	return zero;
}
int resolved(void) __attribute__((ifunc("resolve")));
int (*resolved_at_once)(void) = resolved;	/* to relocate it the resolver runs then, not at the first call */

int *local(void) { return words; }

/* Before fork, where the heap's lock may be held by this very thread; what it got is freed after. */
static char *around_fork;
static void before_fork(void)
{
	around_fork = malloc(1000);
	moments[2] = realloc(moments[2], 200);
}
static void after_fork(void)
{
	free(around_fork);
	free(calloc(3, 3));
}

__attribute__((constructor)) static void begin(void)
{
	pthread_atfork(before_fork, after_fork, after_fork);	/* before the heap has its own handlers */
	pthread_key_create(&key, free);
	pthread_setspecific(key, malloc(33));
	moments[0] = from_resolver;
	moments[1] = strdup("constructor");
	moments[2] = strdup("freed and changed while a fork is on");
}

__attribute__((destructor)) static void end(void)
{
	char *late = malloc(5000);

	if (late)
		memset(late, 'l', 5000);
	free(late);
	for (unsigned i = 0; i < MOMENTS; i++)
		free(moments[i]);
}
