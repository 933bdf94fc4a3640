/* SPDX-License-Identifier: BSD-2-Clause */
/* pkg: pointers into memory that the manager keeps for itself. */
#include "mem/front/inside.h"

/*
 * In memory of the manager's own, where only the manager can tell what `ptr` is: its tail and a record name each other.
 * One that has no record, while every fragment has one, is none; and so is one whose record is free.
 */
COLD enum verdict pkg_look_up_own(struct pool *p, const void *ptr, struct meta_record **ret_record,
				  uint64_t *ret_usable)
{
	const struct meta_counters *c = &p->counters;
	uint64_t usable, tail, index;

	if (UNLIKELY((uintptr_t)ptr % 16 || !c->fragments))
		return BAD;
	usable = p->ops->usable(&p->heap, ptr);
	*ret_usable = usable;
	if (UNLIKELY(usable < 16 || usable > c->used))
		return BAD;
	if (UNLIKELY(magazine_put_before(mem_pkg_self.own, ptr, usable)))
		return BAD;
	if (LIKELY(!c->records_used))
		return NOT_RECORDED;
	tail = *tail_of(ptr, usable);
	index = tail & UINT32_MAX;
	if ((tail & ~0xffffffffull) == p->generation && index < c->records_used) {
		*ret_record = &p->records[index];
		if (LIKELY((*ret_record)->address == (uintptr_t)ptr))
			return GOOD;
		if ((*ret_record)->address == ((uintptr_t)ptr | RECORD_FREE)) {
			*ret_record = NULL;
			return BAD;
		}
		*ret_record = NULL;
	}
	return c->recorded == c->fragments ? BAD : NOT_RECORDED;
}
