/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * libmemapi.so: what it takes of the compiler's files for the begin and the end of a library, and nothing else of them.
 *
 * Their code runs at each start and exit of a program that loads us, and stores to a page of its own. All of it is for
 * libraries that are unloaded, which this one never is (nodelete), and for transactional memory (decision 0032).
 */
extern void *__dso_handle __attribute__((visibility("hidden")));	/* no header has it */

/* Whose atexit() and pthread_atfork() handlers it is: the C library's own part of us asks for it by this name. */
void *__dso_handle = &__dso_handle;
