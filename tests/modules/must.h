/* SPDX-License-Identifier: BSD-2-Clause */
/* What a program of this suite is held to: the first thing that is not so ends it, with its line. */
#ifndef MODULES_MUST_H
#define MODULES_MUST_H

#include <memapi/memcore.h>
#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

#define MUST(what) must((what), #what, __FILE__, __LINE__)

static inline void must(bool holds, const char *what, const char *file, int line)
{
	if (holds)
		return;
	printf("%s:%d: not so: %s; %s\n", file, line, what, memapi_error());
	fflush(stdout);
	_exit(1);
}

#endif /* MODULES_MUST_H */
