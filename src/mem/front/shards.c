/* SPDX-License-Identifier: BSD-2-Clause */
#include "mem/front/shards.h"

#include <errno.h>
#include <string.h>

#include "mem/meta/store.h"

/* The call, in the shard of `ptr`. */
static bool where_it_lies(const struct shards *s, struct front_call *call, const void *ptr)
{
	return s->use(call, shards_find(s->pool, s->count, ptr));
}

/* From the preferred shard on, round to the one before it. Only when all are full the failure is told, once. */
void *DOMAIN(shards_alloc)(const struct shards *s, const struct front_call *call, size_t align, size_t size)
{
	struct front_call here = *call;
	void *ptr;

	here.flags = call->flags | FRONT_QUIET;
	for (unsigned k = 0; k < s->count; k++) {
		if (!s->use(&here, (s->prefers + k) % s->count))
			continue;
		ptr = DOMAIN(front_alloc)(&here, align, size);
		if (ptr || errno == EDEADLK)
			return ptr;
	}
	here.flags = call->flags;
	if (s->use(&here, s->prefers) || s->use(&here, 0))
		return DOMAIN(front_alloc)(&here, align, size);
	errno = ENOMEM;
	return NULL;
}

bool DOMAIN(shards_free)(const struct shards *s, const struct front_call *call, void *ptr)
{
	struct front_call here = *call;

	if (!ptr)
		return true;
	if (!where_it_lies(s, &here, ptr))
		return false;
	DOMAIN(front_free)(&here, ptr);
	return true;
}

/* `here` has no room for it: another shard may. What it holds of `ptr` moves there. */
static void *move_away(const struct shards *s, const struct front_call *here, void *ptr, size_t size)
{
	size_t old = DOMAIN(front_usable)(here, ptr);
	void *fresh = DOMAIN(shards_alloc)(s, here, 16, size);

	if (fresh) {
		memcpy(fresh, ptr, size < old ? size : old);
		DOMAIN(front_free)(here, ptr);
	}
	return fresh;
}

void *DOMAIN(shards_realloc)(const struct shards *s, const struct front_call *call, void *ptr, size_t size)
{
	struct front_call here = *call;
	void *fresh;

	if (!ptr)
		return DOMAIN(shards_alloc)(s, call, 16, size);
	if (!where_it_lies(s, &here, ptr)) {
		errno = ENOMEM;
		return NULL;
	}
	here.flags = (call->flags | FRONT_QUIET) & ~(unsigned)FRONT_XF;
	fresh = DOMAIN(front_realloc)(&here, ptr, size);
	if (fresh || !size || errno != ENOMEM)
		return fresh;
	here.flags = call->flags & ~(unsigned)FRONT_XF;
	fresh = move_away(s, &here, ptr, size);
	if (!fresh && call->flags & FRONT_XF)
		DOMAIN(front_free)(&here, ptr);
	return fresh;
}

size_t DOMAIN(shards_usable)(const struct shards *s, const struct front_call *call, const void *ptr)
{
	struct front_call here = *call;

	return ptr && where_it_lies(s, &here, ptr) ? DOMAIN(front_usable)(&here, ptr) : 0;
}
