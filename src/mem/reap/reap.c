/* SPDX-License-Identifier: BSD-2-Clause */
#include "mem/reap/reap.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mem/meta/layout.h"
#include "mem/meta/process.h"
#include "mem/meta/registry.h"
#include "mem/meta/slot.h"
#include "memapi/manager.h"

enum { KEEP_FILES = 32, LEFT_MAX = 256, ORPHAN_SECONDS = 60 };
#define KEEP_BYTES (16ull << 20)

/* A file that its owner left behind. */
struct left { char file[REGISTRY_NAME_MAX]; uint64_t time, bytes; };
struct reaping { struct left left[LEFT_MAX]; unsigned count, gone; };

static bool read_at(int fd, void *to, size_t bytes, off_t at) { return pread(fd, to, bytes, at) == (ssize_t)bytes; }

static bool process_gone(const struct meta_identity *id)
{
	return process_fate((int32_t)id->pid, id->start_time, id->pid_namespace) == PROCESS_DEAD;
}

/* Read, not mapped: the slots' states, and what the kernel says of their owners. */
bool reap_slots_gone(int fd)
{
	struct meta_live live;
	struct meta_slot s;

	if (!read_at(fd, &live, sizeof live, META_LIVE))
		return false;
	for (uint64_t i = 0; i < live.slots_used && i < SLOTS_MAX; i++) {
		uint64_t state;

		if (!read_at(fd, &s, sizeof s, (off_t)(META_SLOTS + i * SLOT_BYTES)))
			return false;
		state = s.state;
		if ((SLOT_STATE(state) == SLOT_LIVE || SLOT_STATE(state) == SLOT_CLAIMING) &&
		    !slot_certified(&s, state))
			return false;
	}
	return true;
}

/* Nobody uses it any more, and nothing says that it should wait for new users. */
static bool left_behind(int fd, const struct meta_identity *id)
{
	if (id->magic != META_MAGIC || id->layout != META_LAYOUT || id->pid_namespace != process_self()->pid_namespace)
		return false;
	if (id->domain == MEM_PKG)
		return process_gone(id);
	return !id->hosted && process_gone(id) && reap_slots_gone(fd) &&
	       flock(fd, LOCK_EX | LOCK_NB) == 0; /* else a child that was forked has it: shared_heirs() */
}

static void unlink_one(int dir, const char *file, struct reaping *r)
{
	char data[REGISTRY_NAME_MAX + 12];

	r->gone += unlinkat(dir, file, 0) == 0;
	if (strncmp(file, "shm-", 4) == 0) {
		snprintf(data, sizeof data, "%s.data", file);
		unlinkat(dir, data, 0);
	}
}

/* Shard 0 first: without it nobody finds the others. */
static void unlink_pool(int dir, const char *file, struct reaping *r)
{
	char shard[REGISTRY_NAME_MAX + 4];

	unlink_one(dir, file, r);
	for (unsigned i = 1; i < SHARDS_MAX; i++) {
		snprintf(shard, sizeof shard, "%s+%u", file, i);
		if (faccessat(dir, shard, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
			unlink_one(dir, shard, r);
	}
}

/* A shard goes with shard 0. One that has none, some time after it was made: its maker died in between. */
static bool orphaned(int dir, const char *file, int fd, const struct meta_identity *id, const struct stat *st)
{
	char head[REGISTRY_NAME_MAX];

	snprintf(head, sizeof head, "%.*s", (int)strcspn(file, "+"), file);
	return faccessat(dir, head, F_OK, 0) == -1 && (uint64_t)st->st_mtime + ORPHAN_SECONDS <= clock_seconds() &&
	       id->magic == META_MAGIC && id->layout == META_LAYOUT && process_gone(id) &&
	       (id->domain == MEM_PKG || reap_slots_gone(fd));
}

/* DATA without META: its maker died in between, some time ago. */
static void look_at_orphan(int dir, const char *file, const struct stat *st, struct reaping *r)
{
	char meta[REGISTRY_NAME_MAX + 1];

	snprintf(meta, sizeof meta, ".%s", file);
	meta[strlen(meta) - strlen(".data")] = 0;
	if (faccessat(dir, meta + 1, F_OK, 0) == 0 || (uint64_t)st->st_mtime + ORPHAN_SECONDS > clock_seconds())
		return;
	unlinkat(dir, meta, 0);
	r->gone += unlinkat(dir, file, 0) == 0;
}

/* "shm-…" of ".shm-…" has DATA: it is made before, and goes with what is in the making, look_at_orphan(). */
static bool has_data(int dir, const char *meta)
{
	char data[REGISTRY_NAME_MAX + 12];

	snprintf(data, sizeof data, "%s.data", meta);
	return faccessat(dir, data, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* A META in the making, some time ago, of a private heap, or of a shared pool whose DATA somebody has cleared away. */
static bool look_at_half(int dir, const char *file, const struct registry_name *name, void *arg)
{
	struct reaping *r = arg;
	struct stat st;

	if (fstatat(dir, file, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    (uint64_t)st.st_mtime + ORPHAN_SECONDS <= clock_seconds() && !name->data &&
	    !(name->shm && has_data(dir, file + 1)))
		r->gone += unlinkat(dir, file, 0) == 0;
	return true;
}

static bool look(int dir, const char *file, const struct registry_name *name, void *arg)
{
	struct reaping *r = arg;
	struct meta_identity id;
	struct stat st;
	int fd = openat(dir, file, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);

	if (fd == -1)
		return true;
	if (fstat(fd, &st) == -1 || !S_ISREG(st.st_mode)) {
		close(fd);
		return true;
	}
	if (name->data) {
		look_at_orphan(dir, file, &st, r);
	} else if (name->shard) {
		if (read_at(fd, &id, sizeof id, 0) && orphaned(dir, file, fd, &id, &st))
			unlink_one(dir, file, r);
	} else if (read_at(fd, &id, sizeof id, 0) && left_behind(fd, &id)) {
		struct left *l = &r->left[r->count++];

		snprintf(l->file, sizeof l->file, "%s", file);
		l->time = (uint64_t)st.st_mtime;
		l->bytes = (uint64_t)st.st_blocks * 512;
	}
	close(fd);
	return r->count < LEFT_MAX;
}

static struct left *newest(struct reaping *r)
{
	struct left *best = NULL;

	for (unsigned i = 0; i < r->count; i++)
		if (r->left[i].file[0] && (!best || r->left[i].time > best->time))
			best = &r->left[i];
	return best;
}

int reap_registry(int dir)
{
	struct reaping r = { .count = 0 };
	uint64_t bytes = 0;
	struct left *l;

	registry_each(dir, look, &r);
	registry_each_half(dir, look_at_half, &r);
	for (unsigned kept = 0; (l = newest(&r)); l->file[0] = 0) {
		bytes += l->bytes;
		if (kept < KEEP_FILES && bytes <= KEEP_BYTES)
			kept++;
		else
			unlink_pool(dir, l->file, &r);
	}
	return (int)r.gone;
}
