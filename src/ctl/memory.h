/* SPDX-License-Identifier: BSD-2-Clause */
/* Where this layer's memory comes from: the C library, or what a program says. A daemon puts it on its own pkg heap. */
#ifndef CTL_MEMORY_H
#define CTL_MEMORY_H

#include <stddef.h>

/** As realloc(); size 0 frees and returns NULL. */
typedef void *ctl_realloc_fn(void *p, size_t size);

/** Before anything was allocated. */
void ctl_set_realloc(ctl_realloc_fn *fn);

void *ctl_resize(void *p, size_t size);
void *ctl_zalloc(size_t size);		/* zeros */
void ctl_free(void *p);			/* NULL is fine */

#endif /* CTL_MEMORY_H */
