/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Is this file a pool? Its name, its owner, its identity page.
 *
 *	pkg-PID-INCARNATION		META of a private heap
 *	shm-NAME-INCARNATION		META of a shared pool
 *	shm-NAME-INCARNATION.data	its DATA
 *	...+K, ...+K.data		shard K of a sharded pool, from 1 on; shard 0 has the name alone
 *	.anything			in the making, not looked at
 *
 * What is believed here is believed from the copy: whoever writes into the file later changes nothing but what
 * peek_still() finds out at the next scan.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mem/observe/peek.h"

#define USER_END (1ull << 56)		/* no process of any Linux has memory above */
#define RECORDS_END (1ull << 32)	/* a tail names its record in 32 bits */

static bool name_ok(const char *s, size_t len)
{
	if (len < 1 || len > POOL_NAME_MAX)
		return false;
	for (size_t i = 0; i < len; i++)
		if (!((s[i] >= 'a' && s[i] <= 'z') || (s[i] >= 'A' && s[i] <= 'Z') || (s[i] >= '0' && s[i] <= '9') ||
		      s[i] == '_' || s[i] == '.' || s[i] == '-'))
			return false;
	return true;
}

/** "INCARNATION" or "INCARNATION+SHARD", up to what follows; NULL: there is none. */
static const char *numbers(const char *s, struct peek_key *key)
{
	uint64_t incarnation, shard = 0;

	s = peek_number(s, UINT32_MAX, &incarnation);
	if (s && *s == '+')
		s = peek_number(s + 1, SHARDS_MAX - 1, &shard);
	key->incarnation = (uint32_t)incarnation;
	key->shard = (uint32_t)shard;
	return s;
}

static enum peek_file pool_or_shard(const struct peek_key *key) { return key->shard ? PEEK_SHARD : PEEK_POOL; }

static enum peek_file pkg_name(const char *s, struct peek_key *key)
{
	uint64_t pid;

	s = peek_number(s, INT32_MAX, &pid);
	*key = (struct peek_key){ .domain = OBS_PKG };
	if (!s || *s != '-' || !(s = numbers(s + 1, key)) || *s)
		return PEEK_STRANGE;
	key->pid = (int64_t)pid;
	return pool_or_shard(key);
}

static enum peek_file shm_name(const char *s, struct peek_key *key)
{
	const char *dash = strrchr(s, '-'), *end;
	size_t len = dash ? (size_t)(dash - s) : 0;

	*key = (struct peek_key){ .domain = OBS_SHM };
	if (!dash || !name_ok(s, len) || !(end = numbers(dash + 1, key)))
		return PEEK_STRANGE;
	if (*end)
		return strcmp(end, ".data") ? PEEK_STRANGE : PEEK_DATA;
	memcpy(key->name, s, len);
	return pool_or_shard(key);
}

enum peek_file peek_name(const char *file, struct peek_key *ret_key)
{
	if (file[0] == '.')
		return PEEK_HIDDEN;
	if (!strncmp(file, "pkg-", 4))
		return pkg_name(file + 4, ret_key);
	if (!strncmp(file, "shm-", 4))
		return shm_name(file + 4, ret_key);
	return PEEK_STRANGE;
}

static bool range_ok(uint64_t at, uint64_t bytes) { return at < USER_END && bytes < USER_END && at + bytes < USER_END; }
static bool ends(const char *s, size_t room) { return memchr(s, '\0', room); }

/** META below DATA with a guard between, roots in META. */
static bool shm_place_ok(const struct meta_identity *d)
{
	return d->size && d->meta_at && d->meta_at % META_PAGE == 0 && d->meta_at < d->base &&
	       d->base - d->meta_at >= META_RECORDS + d->records_max * sizeof(struct meta_record) &&
	       d->roots == d->meta_at + META_ROOTS;
}

static bool places_ok(const struct meta_identity *d)
{
	if (d->base % META_PAGE || d->size % META_PAGE || !range_ok(d->base, d->size))
		return false;
	if (d->records_max > RECORDS_END || d->root_bytes > META_ROOTS_MAX || d->roots % 8 || d->root_bytes % 8)
		return false;
	if (!range_ok(d->roots, d->root_bytes) || !range_ok(d->meta_at, 0) || (d->size && (!d->base || !d->roots)))
		return false;
	return d->domain == MEM_PKG || shm_place_ok(d);
}

/** A pool has but this one, or a group. */
static bool shards_ok(const struct meta_identity *d)
{
	return d->shards >= 1 && d->shards <= SHARDS_MAX && d->shard < d->shards && (d->shards > 1) == (d->group != 0);
}

/** NULL, or what is wrong with an identity page. */
static const char *wrong(const struct meta_identity *d, const struct peek_key *key)
{
	if (d->magic != META_MAGIC)
		return "not a pool: its first bytes are not memapi's";
	if (d->layout != META_LAYOUT)
		return "of another version of memapi: its layout is not known here";
	if (d->pointer_bytes != sizeof(void *) || d->page_bytes != META_PAGE || d->identity_bytes != sizeof *d)
		return "made for another machine: pointer, page or identity size";
	if (d->domain != (key->domain == OBS_PKG ? (uint32_t)MEM_PKG : (uint32_t)MEM_SHM) ||
	    d->incarnation != key->incarnation || d->shard != key->shard)
		return "its identity does not agree with its file name";
	if (!ends(d->name, sizeof d->name) || !ends(d->manager, sizeof d->manager) ||
	    !ends(d->command, sizeof d->command))
		return "damaged: a text in its identity does not end";
	if (strcmp(d->name, key->name) || d->pid < 1 || d->pid > INT32_MAX ||
	    (key->domain == OBS_PKG && d->pid != key->pid))
		return "its identity does not agree with its file name";
	if (!shards_ok(d))
		return "damaged: impossible shards in its identity";
	return places_ok(d) ? NULL : "damaged: impossible addresses or sizes in its identity";
}

void peek_id(struct obs_pool *p, bool with_user)
{
	char user[16] = "";

	if (with_user)
		snprintf(user, sizeof user, "@%" PRIu32, p->info.uid);
	if (p->key.domain == OBS_PKG)
		snprintf(p->info.id, sizeof p->info.id, "pkg:%" PRId64 ":%" PRIu32 "%s", p->key.pid, p->key.incarnation, user);
	else
		snprintf(p->info.id, sizeof p->info.id, "shm:%s:%" PRIu32 "%s", p->key.name, p->key.incarnation, user);
}

static void tell(struct obs_pool *p)
{
	const struct meta_identity *d = &p->id;
	struct obs_info *i = &p->info;

	i->domain = p->key.domain;
	peek_id(p, false);
	peek_text(i->name, sizeof i->name, d->name, sizeof d->name);
	peek_text(i->command, sizeof i->command, d->command, sizeof d->command);
	peek_text(i->manager, sizeof i->manager, d->manager, sizeof d->manager);
	i->pid = d->pid;
	i->incarnation = d->incarnation;
	i->shards = d->shards;
	i->uid = p->owner;
	i->created = d->created;
	i->hosted = i->domain == OBS_SHM && d->hosted;
	i->keep = i->hosted && d->keep;
	i->foreign = d->pid_namespace != p->o->pid_namespace;
	i->on_death = d->on_death <= ON_DEATH_QUARANTINE ? d->on_death : ON_DEATH_KEEP;
}

static const char *why_not_open(int e)
{
	return e == -ELOOP ? "a symbolic link" : e == -EACCES ? "may not be read" :
	       e == -EINVAL ? "not a regular file" : e == -EPERM ? "belongs to another user" :
	       e == -ENOENT ? "gone" : "cannot be opened";
}

int peek_believe(struct obs *o, struct peek_dir *dir, const char *file, const struct peek_key *key, char reason[96],
		 struct obs_pool **ret_pool)
{
	struct obs_pool *p;
	struct stat st;
	const char *what;
	int fd;

	peek_make_room(o);
	fd = peek_open(dir, file, O_RDONLY, &st);
	if (fd < 0) {
		snprintf(reason, 96, "%s", why_not_open(fd));
		return fd;
	}
	p = calloc(1, sizeof *p);
	if (!p) {
		close(fd);
		snprintf(reason, 96, "out of memory");
		return -ENOMEM;
	}
	*p = (struct obs_pool){ .o = o, .dir = dir, .key = *key, .dev = st.st_dev, .ino = st.st_ino, .owner = st.st_uid,
				.fd = fd, .data_fd = -1 };
	p->shard[0] = p;
	o->open++;
	snprintf(p->file, sizeof p->file, "%s", file);
	if (st.st_size < META_PKG_START || pread(fd, &p->id, sizeof p->id, 0) != (ssize_t)sizeof p->id)
		what = "truncated: too short for a pool";
	else
		what = wrong(&p->id, key);
	if (what) {
		snprintf(reason, 96, "%s", what);
		peek_close(p);
		free(p);
		return -EUCLEAN;
	}
	tell(p);
	*ret_pool = p;
	return 0;
}

bool peek_still(struct obs_pool *p)
{
	struct meta_identity now;
	struct stat st;
	int fd = peek_fd(p);

	return fd >= 0 && fstat(fd, &st) == 0 && st.st_nlink && st.st_size >= META_PKG_START &&
	       peek_meta(p, 0, &now, sizeof now) == 0 && !memcmp(&now, &p->id, sizeof now);
}
