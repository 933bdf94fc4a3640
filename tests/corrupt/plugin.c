/* SPDX-License-Identifier: BSD-2-Clause */
/* A part of a program that is loaded and unloaded: its call site lies in memory that is gone afterwards. */
#include "corrupt.h"

MEMAPI_EXPORT void *plugin_alloc(const struct memory *m, const struct mem_site **ret_site);

void *plugin_alloc(const struct memory *m, const struct mem_site **ret_site)
{
	return m->alloc(100, AT(*ret_site));
}
