/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The registry: a directory in which every pool is a file.
 *
 *	pkg-PID-INCARNATION		META of a private heap
 *	shm-NAME-INCARNATION		META of a shared pool, and .data beside it
 *	…+SHARD				shard 1, 2, … of a sharded pool; shard 0 has the name alone, and gets it last
 *	.…				being made: nobody believes it
 *
 * Made on demand, 0700; refused when it is not ours, or its group or others may write to it.
 */
#ifndef META_REGISTRY_H
#define META_REGISTRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { REGISTRY_NAME_MAX = 96, REGISTRY_PATH_MAX = 160 };

/** MEMAPI_REGISTRY, else /dev/shm/mmd-UID; at most bytes - 1 of it. Returns `buf`. */
char *registry_path(char *buf, size_t bytes);
/** A descriptor of the directory. -EPERM: not ours, or its group or others may write to it; else -errno. */
int registry_open(int *ret_dir);
/**
 * Whoever looks for something in it and makes it when it is not there takes turns with others who do. Who dies lets go;
 * so do children that were made by _Fork meanwhile, since letting go is said, not left to close().
 */
void registry_lock(int dir);
void registry_unlock(int dir);
/** The error of something in it, for people. */
const char *registry_reason(int error);
/** 1 to 48 of [A-Za-z0-9_.-], not digits alone, no dot first. */
bool registry_pool_name_ok(const char *name);

/** What a file name says. */
struct registry_name {
	bool shm, data;
	int64_t pid;		/* pkg */
	char pool[64];		/* shm */
	uint32_t incarnation, shard;
};
bool registry_parse(const char *file, struct registry_name *ret_name);

typedef bool registry_fn(int dir, const char *file, const struct registry_name *name, void *arg); /* false: stop */
int registry_each(int dir, registry_fn *fn, void *arg);
/** What is being made, or was by one who died in it: `file` begins with a dot, `name` is what it was to become. */
int registry_each_half(int dir, registry_fn *fn, void *arg);

/** "shm-NAME-INCARNATION", with "+SHARD" behind it unless that is 0. Returns `buf`. */
char *registry_shm_file(char *buf, size_t bytes, const char *pool, uint32_t incarnation, uint32_t shard);

/** Newest incarnation of a shared pool's name, 0: none. */
uint32_t registry_newest(int dir, const char *pool);

#endif
