/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Address space and the memory behind it: reserve, commit, grow.
 *
 * What is reserved has an address and no memory. What is committed can be touched without SIGBUS or an
 * overcommit kill by surprise: the kernel has said yes. All return 0 or -errno, and know nothing of pools.
 */
#ifndef REGION_REGION_H
#define REGION_REGION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Reserve private address space; halved from *bytes until it fits RLIMIT_AS, at least `least`. */
int region_reserve(uint64_t *bytes, uint64_t least, void **ret_base);
/** Make [at, at + bytes) of a private reservation readable and writable. */
int region_commit(void *at, uint64_t bytes);
/** The whole pages inside [at, at + bytes) of private memory are zeros, and no memory. false: they are as they were. */
bool region_discard(void *at, uint64_t bytes);
/** Pages of 2 MiB, where they lie whole in there, are wanted for what will be touched; or not any more. A wish. */
void region_huge(void *at, uint64_t bytes, bool wanted);

/**
 * Reserve `bytes` at exactly `at`, or, with at = NULL, at a random 2 MiB-aligned place of the window where shared
 * pools live (design 4). -EADDRINUSE: something is there.
 */
int region_reserve_shared(void *at, uint64_t bytes, void **ret_base);
/** Lay a file over a part of such a reservation, shared. */
int region_map_file(void *at, uint64_t bytes, int fd);
void region_release(void *at, uint64_t bytes);

/** A file that the application might have closed behind our back, and opened another with its number. */
struct region_file { int fd; uint64_t device, inode; };

/**
 * Takes `fd`, moves it out of the way of the program's low numbers (f->fd is another one), and remembers which file it
 * is. When it fails the descriptor is closed.
 */
int region_file_open(struct region_file *f, int fd);
/**
 * Put memory behind [offset, offset + bytes) of the file, whose mapping of it is at `at`. Falls back to
 * MADV_POPULATE_WRITE when the descriptor is no longer ours. -ENOSPC, -ENOMEM: there is no more.
 */
int region_file_commit(const struct region_file *f, void *at, uint64_t offset, uint64_t bytes);
void region_file_close(struct region_file *f);

#endif
