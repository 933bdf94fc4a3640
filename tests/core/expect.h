/* SPDX-License-Identifier: BSD-2-Clause */
/* For programs that are tests: what is not true ends the process with its line. */
#ifndef CORE_EXPECT_H
#define CORE_EXPECT_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <memapi/memapi.h>

#define EXPECT(x)										\
	do {											\
		if (!(x)) {									\
			fprintf(stderr, "%s:%d: not true: %s (errno %s; %s)\n", __FILE__, __LINE__, #x,	\
				strerror(errno), memapi_error());				\
			exit(1);								\
		}										\
	} while (0)

#endif /* CORE_EXPECT_H */
