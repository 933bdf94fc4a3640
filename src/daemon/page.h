/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Cursors on the socket: where a page ended, sealed with a sum over the question, so that a garbled one, or one of
 * another question, is told from a good one. They outlive a restart of mmd.
 */
#ifndef DAEMON_PAGE_H
#define DAEMON_PAGE_H

#include "ctl/rpc.h"

struct page {
	uint64_t at;			/* within `pool` */
	unsigned phase;
	char pool[96];			/* "": none */
};

/** Reads the parameter `cursor`. Returns false after rpc_fail(). Without one *ret_page is all zeros. */
bool page_read(struct rpc_call *call, struct page *ret_page);
/** The call's cursor is from another time: the pool is gone, or it points nowhere. */
void page_stale(struct rpc_call *call);
/** "next": the cursor */
void page_write(struct rpc_call *call, const struct page *page);

#endif /* DAEMON_PAGE_H */
