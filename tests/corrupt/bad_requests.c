/* SPDX-License-Identifier: BSD-2-Clause */
/* What cannot be served is refused and is no fault: more than the pool, more than there is, alignments that are none.
 */
#include "corrupt.h"

#include <errno.h>
#include <stdint.h>

static void must_refuse(void *p, int why)
{
	MUST(p == NULL);
	MUST(errno == why);
	errno = 0;
}

bool damage(const struct memory *m)
{
	const size_t sizes[] = { (size_t)64 << 40, PTRDIFF_MAX, SIZE_MAX - 64, SIZE_MAX - 15, SIZE_MAX - 14, SIZE_MAX };
	const size_t aligns[] = { 0, 3, 24, 4097, SIZE_MAX };
	char *p = m->alloc(16, MEM_SITE), *kept = m->alloc(100, MEM_SITE);

	m->free(p, MEM_SITE);		/* a fragment of the smallest size is at hand */
	errno = 0;
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		must_refuse(m->alloc(sizes[i], MEM_SITE), ENOMEM);
		must_refuse(m->realloc(NULL, sizes[i], MEM_SITE), ENOMEM);
		must_refuse(m->realloc(kept, sizes[i], MEM_SITE), ENOMEM);
	}
	for (size_t i = 0; i < sizeof aligns / sizeof *aligns; i++)
		must_refuse((m->shared ? mem_shm_memalign : mem_pkg_memalign)(aligns[i], 100, MEM_SITE), EINVAL);
	MUST(m->usable(kept) >= 100);
	m->free(kept, MEM_SITE);
	return true;
}
