/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Making META: a file of the registry that gets its name when it is whole, or anonymous memory where that fails.
 */
#ifndef META_META_H
#define META_META_H

#include "mem/pool.h"

/** Fill what every identity has: magic, sizes, this process, times, a new generation. The rest is the caller's. */
void meta_identity(struct meta_identity *id, unsigned domain, uint32_t incarnation, const char *manager);
/** Set p's pointers into META at p->meta, and p->generation. */
void meta_wire(struct pool *p);
/** A new file in the registry for META or DATA: sparse, `bytes` long, mode 0600. -EEXIST: the name is taken. */
int meta_file_new(int dir, const char *file, uint64_t bytes, int *ret_fd);
/** Give the finished file its name. -EEXIST: it is taken. */
int meta_file_name(int dir, const char *from, const char *to);

#endif
