/* SPDX-License-Identifier: BSD-2-Clause */
/* What shm.c has for the files beside it: calls in whichever shard it takes. */
#ifndef MEM_SHM_H
#define MEM_SHM_H

#include "mem/front/front.h"

/** From the shard that the thread prefers on; when all are full, what the dead hold is reaped and it is tried again. */
void *mem_shm_allocate(const struct front_call *call, size_t align, size_t size);
/** Sets p, o and FRONT_HELD to the shard that `ptr` lies in, to shard 0 where it lies in none. false: no slot there. */
bool mem_shm_find(struct front_call *call, const void *ptr);

#endif
