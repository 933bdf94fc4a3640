/* SPDX-License-Identifier: BSD-2-Clause */
/* What the exported functions of the preload library share: calls that say where the program calls from. */
#ifndef PRELOAD_PRELOAD_H
#define PRELOAD_PRELOAD_H

#include <stdbool.h>
#include <stddef.h>

void *preload_malloc(size_t size, const void *caller);
/** `align`: a power of two. */
void *preload_memalign(size_t align, size_t size, const void *caller);
void preload_free(void *p, const void *caller);

/**
 * Why a program would not get `manager` (NULL: the configured one), or NULL: it would. By the configuration and the
 * environment of the calling process, which has loaded the library to ask. The text is the library's.
 */
const char *memapi_preload_refusal(const char *manager);
/** After a refusal: mem_modules_make_room(). */
bool memapi_preload_room(void);

#endif /* PRELOAD_PRELOAD_H */
