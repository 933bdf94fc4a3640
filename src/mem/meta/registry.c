/* SPDX-License-Identifier: BSD-2-Clause */
#include "mem/meta/registry.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mem/meta/layout.h"

char *registry_path(char *buf, size_t bytes)
{
	const char *path = secure_getenv("MEMAPI_REGISTRY");

	if (path && *path)
		snprintf(buf, bytes, "%s", path);
	else
		snprintf(buf, bytes, "/dev/shm/mmd-%u", (unsigned)geteuid());
	return buf;
}

int registry_open(int *ret_dir)
{
	char path[REGISTRY_PATH_MAX];
	struct stat st;
	int dir;

	if (strlen(registry_path(path, sizeof path)) == sizeof path - 1)
		return -ENAMETOOLONG;	/* cut, it would be another one */
	dir = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir == -1 && errno == ENOENT && (mkdir(path, 0700) == 0 || errno == EEXIST))
		dir = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir == -1)
		return -errno;
	if (fstat(dir, &st) == -1 || st.st_uid != geteuid() || st.st_mode & (S_IWGRP | S_IWOTH)) {
		close(dir);
		return -EPERM;
	}
	*ret_dir = dir;
	return 0;
}

void registry_lock(int dir)
{
	while (flock(dir, LOCK_EX) == -1 && errno == EINTR)
		;			/* no locks there: as before there were any */
}

void registry_unlock(int dir) { flock(dir, LOCK_UN); }

const char *registry_reason(int error)
{
	const char *text = strerrordesc_np(-error);	/* unlike strerror(), it allocates nothing */

	if (error == -EPERM)
		return "it is not this user's, or its group or others may write to it";
	return text ? text : "an unknown error";
}

bool registry_pool_name_ok(const char *name)
{
	size_t len = strlen(name), digits = strspn(name, "0123456789");

	for (size_t i = 0; i < len; i++)
		if (!isalnum((unsigned char)name[i]) && !strchr("_.-", name[i]))
			return false;
	return len && len <= 48 && digits < len && name[0] != '.';
}

static bool parse_number(const char *text, uint64_t max, uint64_t *ret_n)
{
	char *end;

	if (!isdigit((unsigned char)*text))
		return false;
	errno = 0;
	*ret_n = strtoull(text, &end, 10);
	return !errno && !*end && *ret_n <= max && *ret_n;
}

bool registry_parse(const char *file, struct registry_name *ret_name)
{
	struct registry_name n = { 0 };
	char copy[REGISTRY_NAME_MAX], *dash, *plus;
	size_t len = strlen(file);
	uint64_t number;

	if (len < 7 || len >= sizeof copy)
		return false;
	memcpy(copy, file, len + 1);
	if (len > 5 && strcmp(copy + len - 5, ".data") == 0) {
		copy[len - 5] = 0;
		n.data = true;
	}
	plus = strrchr(copy, '+');
	if (plus) {
		if (!parse_number(plus + 1, SHARDS_MAX - 1, &number))
			return false;
		*plus = 0;
		n.shard = (uint32_t)number;
	}
	dash = strrchr(copy, '-');
	if (!dash || dash < copy + 4 || !parse_number(dash + 1, UINT32_MAX, &number))
		return false;
	*dash = 0;
	n.incarnation = (uint32_t)number;
	n.shm = strncmp(copy, "shm-", 4) == 0;
	if (n.shm)
		snprintf(n.pool, sizeof n.pool, "%.63s", copy + 4);
	else if (strncmp(copy, "pkg-", 4) == 0 && !n.data && parse_number(copy + 4, INT32_MAX, &number))
		n.pid = (int64_t)number;
	else
		return false;
	*ret_name = n;
	return true;
}

/* skip: bytes of a file's name that come before what is parsed */
static int each(int dir, size_t skip, registry_fn *fn, void *arg)
{
	int copy = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = copy == -1 ? NULL : fdopendir(copy);
	struct registry_name name;
	struct dirent *entry;

	if (!d) {
		int rc = -errno;

		if (copy != -1)
			close(copy);
		return rc;
	}
	while ((entry = readdir(d)))
		if ((!skip || entry->d_name[0] == '.') && registry_parse(entry->d_name + skip, &name) &&
		    !fn(dir, entry->d_name, &name, arg))
			break;
	closedir(d);
	return 0;
}

int registry_each(int dir, registry_fn *fn, void *arg) { return each(dir, 0, fn, arg); }
int registry_each_half(int dir, registry_fn *fn, void *arg) { return each(dir, 1, fn, arg); }

char *registry_shm_file(char *buf, size_t bytes, const char *pool, uint32_t incarnation, uint32_t shard)
{
	int len = snprintf(buf, bytes, "shm-%s-%u", pool, incarnation);

	if (shard)
		snprintf(buf + len, bytes - (size_t)len, "+%u", shard);
	return buf;
}

struct newest { const char *pool; uint32_t incarnation; };

static bool see_newest(int dir, const char *file, const struct registry_name *name, void *arg)
{
	struct newest *n = arg;

	(void)dir, (void)file;
	if (name->shm && !name->data && !name->shard && strcmp(name->pool, n->pool) == 0 &&
	    name->incarnation > n->incarnation)
		n->incarnation = name->incarnation;
	return true;
}

uint32_t registry_newest(int dir, const char *pool)
{
	struct newest n = { .pool = pool };

	registry_each(dir, see_newest, &n);
	return n.incarnation;
}
