/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The pools of one registry, or of all users' for root.
 *
 *	dir[] --- pool[], sorted by domain, pid or name, incarnation; of sharded ones shard 0, which has the others
 *	      \-- skip[], files that were not believed, told again by each scan
 *
 * A scan reads a directory only when its mtime has changed, or is so young that the next change may not show in it.
 * Pools that stay keep their address; each is asked whether its identity page is still the one that was believed. Cost
 * of a scan without changes: two system calls a directory, three a pool, four a shard beyond the first.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mem/observe/peek.h"

enum { POOLS_MAX = 16384, FILES_MAX = 65536, SKIPS_MAX = 256, DIRS_MAX = 4096, OPEN_MAX_HERE = 1024 };

#define SHARD_YOUNG_NS 3000000000ll	/* pools are made in milliseconds */

#define ALL_IN "/dev/shm"
#define ALL_PREFIX "mmd-"

/* ---- order ---- */

static int compare(uint64_t a, uint64_t b) { return (a > b) - (a < b); }

static int key_order(const struct peek_key *a, const struct peek_key *b)
{
	int c = compare(a->domain, b->domain);

	c = c ? c : compare((uint64_t)a->pid, (uint64_t)b->pid);
	c = c ? c : strcmp(a->name, b->name);
	return c ? c : compare(a->incarnation, b->incarnation);
}

/** Of several users' pools with the same name, one's own comes first. */
static int pool_order(const void *a, const void *b)
{
	const struct obs_pool *p = *(struct obs_pool *const *)a, *q = *(struct obs_pool *const *)b;
	int c = key_order(&p->key, &q->key);

	c = c ? c : (p->dir->owner != geteuid()) - (q->dir->owner != geteuid());
	return c ? c : strcmp(p->dir->path, q->dir->path);
}

/** Ids are unique: of several pools with one name, all but the first tell their user. */
static void name_apart(struct obs *o)
{
	for (size_t i = 0; o->all && i < o->pools; i++)
		peek_id(o->pool[i], i && !key_order(&o->pool[i - 1]->key, &o->pool[i]->key));
}

/* ---- directories ---- */

static int dir_add(struct obs *o, const char *path, const char *label)
{
	struct peek_dir **grown, *d;

	for (size_t i = 0; i < o->dirs; i++)
		if (!strcmp(o->dir[i]->path, path)) {
			o->dir[i]->listed = true;
			return 0;
		}
	if (strlen(path) >= sizeof d->path)
		return -ENAMETOOLONG;
	if (o->dirs == DIRS_MAX)
		return -ENOSPC;
	grown = realloc(o->dir, (o->dirs + 1) * sizeof *grown);
	if (!grown)
		return -ENOMEM;
	o->dir = grown;
	d = calloc(1, sizeof *d);
	if (!d)
		return -ENOMEM;
	snprintf(d->path, sizeof d->path, "%s", path);
	peek_text(d->label, sizeof d->label, label, strlen(label));
	d->fd = -1;
	d->listed = true;
	o->dir[o->dirs++] = d;
	return 0;
}

static void dir_close(struct peek_dir *d)
{
	if (d->fd != -1)
		close(d->fd);
	d->fd = -1;
	d->settled = false;
}

/** /dev/shm/mmd-UID belongs to that user, or root made it for it. */
static const char *dir_wrong(const struct obs *o, const struct peek_dir *d, const struct stat *st)
{
	uint64_t uid;
	const char *end;

	if (!S_ISDIR(st->st_mode))
		return "not a directory";
	if (st->st_mode & (S_IWGRP | S_IWOTH))
		return "a registry that its group or others may write to";
	if (st->st_uid != geteuid() && st->st_uid != 0 && geteuid() != 0)
		return "a registry of another user";
	if (!o->all || st->st_uid == 0)
		return NULL;
	end = peek_number(d->label + strlen(ALL_PREFIX), UINT32_MAX, &uid);
	return end && !*end && uid == st->st_uid ? NULL : "a registry that is not its user's";
}

/** Open it, or open it anew when another one is there now. NULL, or why it is not believed. A missing one is empty. */
static const char *dir_refresh(const struct obs *o, struct peek_dir *d, struct stat *st)
{
	const char *what;

	if (lstat(d->path, st) == -1) {
		int e = errno;

		dir_close(d);
		return e == ENOENT ? NULL : "a registry that may not be looked into";
	}
	if (d->fd != -1 && st->st_dev == d->dev && st->st_ino == d->ino && !dir_wrong(o, d, st))
		return NULL;
	dir_close(d);
	d->fd = open(d->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	if (d->fd == -1)
		return errno == ENOENT ? NULL : S_ISDIR(st->st_mode) ? "a registry that may not be read" : "not a directory";
	what = fstat(d->fd, st) == -1 ? "a registry that may not be read" : dir_wrong(o, d, st);
	if (what) {
		dir_close(d);
		return what;
	}
	d->dev = st->st_dev;
	d->ino = st->st_ino;
	d->owner = st->st_uid;
	return NULL;
}

/** All users' registries, as they are now. */
static int dirs_list(struct obs *o)
{
	char path[320];
	DIR *shm = opendir(ALL_IN);
	int e = 0;

	for (size_t i = 0; i < o->dirs; i++)
		o->dir[i]->listed = false;
	if (!shm)
		return errno == ENOENT ? 0 : -errno;
	for (struct dirent *entry; !e && (entry = readdir(shm)); )
		if (!strncmp(entry->d_name, ALL_PREFIX, strlen(ALL_PREFIX))) {
			snprintf(path, sizeof path, ALL_IN "/%s", entry->d_name);
			e = dir_add(o, path, entry->d_name);
			if (e == -ENAMETOOLONG || e == -ENOSPC)	/* no registry of ours; enough */
				e = 0;
		}
	closedir(shm);
	return e;
}

static void dirs_forget(struct obs *o)
{
	size_t kept = 0;

	for (size_t i = 0; i < o->dirs; i++) {
		if (o->dir[i]->listed) {
			o->dir[kept++] = o->dir[i];
			continue;
		}
		dir_close(o->dir[i]);
		free(o->dir[i]);
	}
	o->dirs = kept;
}

/* ---- what is not believed ---- */

void peek_skip(struct obs *o, struct peek_dir *d, const char *file, const char *reason)
{
	struct peek_skip *s;

	if (!o->skip)
		o->skip = calloc(SKIPS_MAX, sizeof *o->skip);
	if (!o->skip || o->skips == SKIPS_MAX) {
		o->skips_more++;
		return;
	}
	s = &o->skip[o->skips++];
	s->dir = d;
	peek_text(s->file, sizeof s->file, file, strlen(file));
	peek_text(s->reason, sizeof s->reason, reason, 96);
}

static void skips_tell(const struct obs *o, obs_skip_fn *skip, void *arg)
{
	char text[256];

	for (size_t i = 0; skip && i < o->skips; i++) {
		snprintf(text, sizeof text, "%s%s%s", o->all ? o->skip[i].dir->label : "", o->all ? "/" : "", o->skip[i].file);
		skip(text, o->skip[i].reason, arg);
	}
	if (skip && o->skips_more) {
		snprintf(text, sizeof text, "%zu more", o->skips_more);
		skip(text, "too many files that are no pools", arg);
	}
}

/* ---- pools ---- */

/** Among the first `count`, which are sorted: those that the last scan left. */
static struct obs_pool *pool_known(const struct obs *o, size_t count, struct peek_dir *d, const struct peek_key *key)
{
	struct obs_pool probe = { .dir = d, .key = *key }, *at = &probe, **found;

	found = count ? bsearch(&at, o->pool, count, sizeof *o->pool, pool_order) : NULL;
	return found ? *found : NULL;
}

static int pool_add(struct obs *o, struct obs_pool *p)
{
	if ((o->pools & (o->pools - 1)) == 0) {		/* room for the next power of two */
		struct obs_pool **grown = realloc(o->pool, (o->pools ? 2 * o->pools : 1) * sizeof *grown);

		if (!grown)
			return -ENOMEM;
		o->pool = grown;
	}
	o->pool[o->pools++] = p;
	p->seen = true;
	return 0;
}

bool peek_named(const struct peek_dir *d, const char *file, const struct obs_pool *p)
{
	struct stat st;

	return fstatat(d->fd, file, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_dev == p->dev && st.st_ino == p->ino;
}

static int file_look(struct obs *o, size_t known, struct peek_dir *d, const struct dirent *entry)
{
	struct peek_key key;
	struct obs_pool *p;
	char reason[96];
	int e;

	switch (peek_name(entry->d_name, &key)) {
	case PEEK_HIDDEN:
	case PEEK_DATA:
		return 0;
	case PEEK_STRANGE:
		peek_skip(o, d, entry->d_name, "not the name of a pool");
		return 0;
	case PEEK_SHARD:			/* found by its pool; those that have none are looked for later */
		d->has_shards = true;
		return 0;
	case PEEK_POOL:
		break;
	}
	p = pool_known(o, known, d, &key);
	if (p && (p->seen || (peek_named(d, entry->d_name, p) && peek_still(p)))) {
		p->seen = true;
		return 0;
	}
	if (o->pools == POOLS_MAX) {
		peek_skip(o, d, entry->d_name, "too many pools");
		return 0;
	}
	e = peek_believe(o, d, entry->d_name, &key, reason, &p);
	if (e == -ENOENT)				/* gone since the directory was read */
		return 0;
	if (e) {
		peek_skip(o, d, entry->d_name, reason);
		return 0;
	}
	e = pool_add(o, p);
	if (e)
		peek_pool_free(p);
	return e;
}

static bool older(const struct timespec *t, const struct timespec *now, int64_t ns)
{
	return (now->tv_sec - t->tv_sec) * 1000000000ll + (now->tv_nsec - t->tv_nsec) > ns;
}

static int dir_read(struct obs *o, size_t known, struct peek_dir *d)
{
	int fd = openat(d->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), e = 0;
	DIR *files = fd == -1 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (!files) {
		e = errno == ENOENT ? 0 : -errno;
		if (fd != -1)
			close(fd);
		return e;
	}
	for (unsigned n = 0; !e && (entry = readdir(files)); n++) {
		if (n == FILES_MAX) {		/* who fills his registry hides no more than his own pools */
			peek_skip(o, d, d->path, "too many files");
			break;
		}
		e = file_look(o, known, d, entry);
	}
	closedir(files);
	return e;
}

/** Nothing came or went: are those that are known still what they were? */
static bool dir_stands(struct obs *o, const struct peek_dir *d)
{
	bool all = true;

	for (size_t i = 0; i < o->pools; i++)
		if (o->pool[i]->dir == d)
			all &= o->pool[i]->seen = peek_still(o->pool[i]);
	return all;
}

static int dir_scan(struct obs *o, size_t known, struct peek_dir *d, bool had_skips)
{
	struct timespec now;
	struct stat st;
	const char *what = dir_refresh(o, d, &st);

	if (what)
		peek_skip(o, d, d->path, what);
	if (d->fd == -1)
		return 0;
	clock_gettime(CLOCK_REALTIME, &now);
	if (!had_skips && d->settled && !older(&d->changed, &st.st_mtim, 0) && !older(&st.st_mtim, &d->changed, 0) &&
	    dir_stands(o, d))
		return 0;
	d->changed = st.st_mtim;
	d->settled = older(&st.st_mtim, &now, 50000000);	/* several ticks of the clock that stamps files */
	return dir_read(o, known, d);
}

static void pools_forget(struct obs *o)
{
	size_t kept = 0, before = o->pools;

	for (size_t i = 0; i < before; i++) {
		if (o->pool[i]->seen)
			o->pool[kept++] = o->pool[i];
		else
			peek_pool_free(o->pool[i]);
	}
	o->pools = kept;
}

/* ---- shards ---- */

/** A shard that no pool has. While it is young, its pool may be in the making: shard 0 gets its name last. */
static void stray_look(struct obs *o, struct peek_dir *d, const char *file, const struct timespec *now)
{
	struct peek_key key;
	struct obs_pool *p;
	struct stat st;

	if (peek_name(file, &key) != PEEK_SHARD)
		return;
	p = pool_known(o, o->pools, d, &key);
	if ((p && key.shard < p->id.shards) || fstatat(d->fd, file, &st, AT_SYMLINK_NOFOLLOW) == -1)
		return;
	if (p)
		peek_skip(o, d, file, "a shard that its pool does not have");
	else if (older(&st.st_ctim, now, SHARD_YOUNG_NS))
		peek_skip(o, d, file, "a shard without its pool");
	else
		d->settled = false;		/* to be asked again, also when nothing else comes or goes */
}

static void strays_look(struct obs *o, struct peek_dir *d)
{
	int fd = openat(d->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *files = fd == -1 ? NULL : fdopendir(fd);
	struct dirent *entry;
	struct timespec now;

	if (!files) {
		if (fd != -1)
			close(fd);
		return;
	}
	clock_gettime(CLOCK_REALTIME, &now);
	for (unsigned n = 0; n < FILES_MAX && (entry = readdir(files)); n++)
		stray_look(o, d, entry->d_name, &now);
	closedir(files);
}

/** Once all pools are known and in order. */
static void shards_look(struct obs *o)
{
	for (size_t i = 0; i < o->pools; i++)
		if (o->pool[i]->id.shards > 1)
			peek_shards(o->pool[i]);
	for (size_t i = 0; i < o->dirs; i++) {
		if (o->dir[i]->has_shards && o->dir[i]->fd != -1)
			strays_look(o, o->dir[i]);
		o->dir[i]->has_shards = false;
	}
}

int obs_scan(struct obs *o, obs_skip_fn *skip, void *arg)
{
	size_t known = o->pools;
	bool had_skips = o->skips || o->skips_more;
	int e = o->all ? dirs_list(o) : 0;

	for (size_t i = 0; i < o->pools; i++)
		o->pool[i]->seen = false;
	o->skips = o->skips_more = 0;
	for (size_t i = 0; !e && i < o->dirs; i++)
		if (o->dir[i]->listed)
			e = dir_scan(o, known, o->dir[i], had_skips);
	if (e)				/* what was not reached may be there as before */
		for (size_t i = 0; i < known; i++)
			o->pool[i]->seen |= o->pool[i]->dir->listed;
	pools_forget(o);
	if (o->pools)
		qsort(o->pool, o->pools, sizeof *o->pool, pool_order);
	shards_look(o);
	skips_tell(o, skip, arg);
	dirs_forget(o);
	name_apart(o);
	return e;
}

/* ---- the observer ---- */

static uint64_t own_pid_namespace(void)
{
	struct stat st;

	return stat("/proc/self/ns/pid", &st) == 0 ? (uint64_t)st.st_ino : 0;
}

/** Descriptors that may stay open: an eighth of what the process may have. mmd has several observers at a time. */
static unsigned open_limit(void)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) == -1 || r.rlim_cur < 64)
		return 8;
	return r.rlim_cur / 8 < OPEN_MAX_HERE ? (unsigned)(r.rlim_cur / 8) : OPEN_MAX_HERE;
}

int obs_open(const char *dir, struct obs **ret_obs)
{
	struct obs *o = calloc(1, sizeof *o);
	const char *named = dir ? dir : secure_getenv("MEMAPI_REGISTRY");
	char own[64];
	int e = 0;

	if (!o)
		return -ENOMEM;
	o->pid_namespace = own_pid_namespace();
	o->open_max = open_limit();
	snprintf(own, sizeof own, ALL_IN "/" ALL_PREFIX "%u", (unsigned)geteuid());
	if (named && *named)
		e = dir_add(o, named, "");
	else if (geteuid() == 0)
		o->all = true;
	else
		e = dir_add(o, own, "");
	if (e) {
		free(o);
		return e;
	}
	*ret_obs = o;
	return 0;
}

void obs_meanwhile(struct obs *o, void (*fn)(void)) { o->meanwhile = fn; }

void obs_close(struct obs *o)
{
	if (!o)
		return;
	for (size_t i = 0; i < o->pools; i++)
		peek_pool_free(o->pool[i]);
	for (size_t i = 0; i < o->dirs; i++) {
		dir_close(o->dir[i]);
		free(o->dir[i]);
	}
	for (unsigned i = 0; i < 2; i++)
		free(o->chunk[i]);
	free(o->magazines);
	peek_pages_free(o->pages);
	free(o->pool);
	free(o->dir);
	free(o->skip);
	free(o);
}

struct obs_pool *obs_at(struct obs *o, size_t i) { return i < o->pools ? o->pool[i] : NULL; }

static bool id_key(const char *id, struct peek_key *ret_key)
{
	const char *colon = strrchr(id, ':');
	uint64_t number;

	*ret_key = (struct peek_key){ .domain = !strncmp(id, "pkg:", 4) ? OBS_PKG : OBS_SHM };
	if ((ret_key->domain == OBS_SHM && strncmp(id, "shm:", 4) != 0) || colon < id + 4 ||
	    (size_t)(colon - id) - 4 >= sizeof ret_key->name || !peek_number(colon + 1, UINT32_MAX, &number))
		return false;
	ret_key->incarnation = (uint32_t)number;
	if (ret_key->domain == OBS_SHM)
		memcpy(ret_key->name, id + 4, (size_t)(colon - id) - 4);
	else if (peek_number(id + 4, INT32_MAX, &number))
		ret_key->pid = (int64_t)number;
	return true;
}

struct obs_pool *obs_find(struct obs *o, const char *id)
{
	size_t low = 0, high = o->pools;
	struct peek_key key;

	if (!id_key(id, &key))
		return NULL;
	while (low < high) {		/* the first with this key: others differ in their user */
		size_t mid = low + (high - low) / 2;

		if (key_order(&o->pool[mid]->key, &key) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	for (; low < o->pools && !key_order(&o->pool[low]->key, &key); low++)
		if (!strcmp(o->pool[low]->info.id, id))
			return o->pool[low];
	return NULL;
}

const struct obs_info *obs_info(const struct obs_pool *p) { return &p->info; }
