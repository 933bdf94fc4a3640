/* SPDX-License-Identifier: BSD-2-Clause */
/* For programs that know nothing of memapi but where their memory should come from. C and C++. */
#ifndef PRELOAD_HEAP_H
#define PRELOAD_HEAP_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#ifdef __cplusplus
extern "C" {
#endif
/* Does `p` lie in the private heap of this process, as its file in the registry has it? */
int on_heap(const void *p);
#ifdef __cplusplus
}
#endif

static int faults;

#define CHECK(x) do { \
	if (!(x)) { \
		fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #x); \
		faults = 1; \
	} \
} while (0)

#endif /* PRELOAD_HEAP_H */
