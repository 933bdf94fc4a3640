/* SPDX-License-Identifier: BSD-2-Clause */
#include "ctl/memory.h"

#include <stdlib.h>
#include <string.h>

static void *libc_realloc(void *p, size_t size)
{
	if (size)
		return realloc(p, size);
	free(p);
	return NULL;
}

static ctl_realloc_fn *resize = libc_realloc;

void ctl_set_realloc(ctl_realloc_fn *fn) { resize = fn; }
void *ctl_resize(void *p, size_t size) { return resize(p, size); }

void *ctl_zalloc(size_t size)
{
	void *p = resize(NULL, size);

	return p ? memset(p, 0, size) : NULL;
}

void ctl_free(void *p)
{
	if (p)
		resize(p, 0);
}
