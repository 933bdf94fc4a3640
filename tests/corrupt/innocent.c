/* SPDX-License-Identifier: BSD-2-Clause */
/* What is allowed is not reported: every byte of a request and of usable() written, NULL freed, grown, shrunk, errno
 * kept. */
#include "corrupt.h"

#include <errno.h>
#include <string.h>

bool damage(const struct memory *m)
{
	char *p;

	m->free(NULL, MEM_SITE);
	for (size_t size = 0; size < 600; size += 7) {
		p = m->alloc(size, MEM_SITE);
		MUST(p && m->usable(p) >= size);
		memset(p, 0xff, m->usable(p));
		p = m->realloc(p, size * 3 + 1, MEM_SITE);
		MUST(p && (size == 0 || p[size - 1] == (char)0xff));
		memset(p, 0xff, size * 3 + 1);
		p = m->realloc(p, size / 2 + 1, MEM_SITE);
		MUST(p && p[size / 2] == (char)0xff);
		memset(p, 0xff, m->usable(p));
		errno = EXDEV;
		m->free(p, MEM_SITE);
		MUST(errno == EXDEV);
	}
	return true;
}
