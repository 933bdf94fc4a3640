/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Who this process is, whether it is still the one that it was, and whether another is dead.
 *
 * The epoch word lies in a page that the kernel wipes in the child of any kind of fork (MADV_WIPEONFORK): 0 there
 * until epoch_renew(). What belongs to one process alone remembers the epoch that it was made in, so that a child
 * finds out before its first store, with one load and one compare, whatever made it: fork, _Fork or raw clone.
 */
#ifndef META_PROCESS_H
#define META_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct process_self {
	uint64_t start_time;		/* field 22 of /proc/self/stat; 0: could not be read */
	uint64_t pid_namespace;		/* inode; 0: could not be read */
	int32_t pid;
	uint32_t uid;
	char command[64];
};

extern const volatile uint64_t *epoch_word __attribute__((visibility("hidden")));	/* 0: this process was just made, or nothing is initialised yet */

/** Make the epoch page if need be and give this process an epoch of its own. Not 0; 0 when there is no memory. */
uint64_t epoch_renew(void);

/** Identity of this process, read once an epoch. */
const struct process_self *process_self(void);
void process_read_self(struct process_self *ret_self);

enum process_fate { PROCESS_LIVES, PROCESS_DEAD, PROCESS_NOT_KNOWN };
/**
 * The second proof of a death: pid, start time, pid namespace. Only ESRCH, another start time, or a process that has
 * ended and whose parent has not asked yet (a supervisor may never) is a proof;
 * another namespace, or no permission to look, is PROCESS_NOT_KNOWN.
 */
enum process_fate process_fate(int32_t pid, uint64_t start_time, uint64_t pid_namespace);

/** Field 22 of /proc/PID/stat, 0: not there. pid 0: this process. */
uint64_t process_start_time(int32_t pid);

uint64_t clock_seconds(void);		/* CLOCK_REALTIME */
uint64_t clock_mono_seconds(void);	/* CLOCK_MONOTONIC, cheap */

#endif
