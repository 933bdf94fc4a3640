/* SPDX-License-Identifier: BSD-2-Clause */
#include "mem/shared.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mem/base/compiler.h"
#include "mem/front/front.h"
#include "mem/init.h"
#include "mem/meta/meta.h"
#include "mem/meta/process.h"
#include "mem/meta/registry.h"
#include "mem/meta/slot.h"
#include "mem/reap/reap.h"

#define SIZE_MOST (64ull << 30)
#define SIZE_STEP (2ull << 20)
#define FIRST_COMMIT (256ull << 10)
enum { LEAST_FRAGMENT = 32, INCARNATIONS_TRIED = 100 };

/* ---- addresses ---- */

static uint64_t records_for(uint64_t size) { return size / LEAST_FRAGMENT; }
static uint64_t meta_bytes_for(uint64_t size)
{
	return ROUND_UP(META_RECORDS + records_for(size) * sizeof(struct meta_record), SIZE_STEP);
}
static uint64_t span(uint64_t size) { return meta_bytes_for(size) + META_GUARD + size; }

static void wire(struct pool *p, unsigned char *meta_at, uint64_t size)
{
	p->meta = meta_at;
	p->meta_bytes = meta_bytes_for(size);
	p->data_size = size;
	p->heap.base = meta_at + p->meta_bytes + META_GUARD;
	p->heap.roots = (uint64_t *)(void *)(meta_at + META_ROOTS);
	meta_wire(p);
	p->heap.tally = &p->live->counters.tally;
	p->heap.cursors = &p->live->cursors;
}

static int map_files(struct pool *p, unsigned char *meta_at, uint64_t size)
{
	uint64_t meta_bytes = meta_bytes_for(size);
	int rc = region_map_file(meta_at, meta_bytes, p->meta_file.fd);

	if (rc == 0)
		rc = region_map_file(meta_at + meta_bytes + META_GUARD, size, p->data_file.fd);
	if (rc)
		region_release(meta_at, span(size));
	return rc;
}

static void close_files(struct pool *p)
{
	region_file_close(&p->meta_file);
	region_file_close(&p->data_file);
	region_file_close(&p->heirs);
}

/* ---- make ---- */

/* One shard in the making. */
struct making {
	const struct shared_spec *spec;
	uint64_t size, group;
	uint32_t incarnation, shard;
	bool named;
	char file[REGISTRY_NAME_MAX + 1];	/* of META, with a dot before it until it is whole */
};

static char *data_name(char *to, size_t bytes, const char *name, uint32_t incarnation, uint32_t shard)
{
	strcat(registry_shm_file(to, bytes - sizeof ".data", name, incarnation, shard), ".data");
	return to;
}

static void name_shard(struct making *m)
{
	m->file[0] = '.';
	registry_shm_file(m->file + 1, sizeof m->file - 1, m->spec->name, m->incarnation, m->shard);
}

/* DATA's name reserves the incarnation, shard 0's for all; META gets its own when the pool is whole. */
static int new_files(struct pool *p, int dir, struct making *m)
{
	uint32_t i = m->shard ? m->incarnation : registry_newest(dir, m->spec->name) + 1;
	uint32_t last = m->shard ? i : i + INCARNATIONS_TRIED;
	char data[REGISTRY_NAME_MAX + sizeof ".data"];
	int fd, rc;

	if (m->shard) { /* the incarnation is ours: what has these names was left by one who died */
		unlinkat(dir, registry_shm_file(data, sizeof data, m->spec->name, i, m->shard), 0);
		unlinkat(dir, data_name(data, sizeof data, m->spec->name, i, m->shard), 0);
	}
	do
		rc = meta_file_new(dir, data_name(data, sizeof data, m->spec->name, i, m->shard), m->size, &fd);
	while (rc == -EEXIST && ++i < last);
	if (rc)
		return rc;
	m->incarnation = i;
	name_shard(m);
	rc = region_file_open(&p->data_file, fd);
	unlinkat(dir, m->file, 0); /* of one who died in here, else DATA's name would be taken */
	if (rc == 0)
		rc = meta_file_new(dir, m->file, meta_bytes_for(m->size), &fd);
	if (rc == 0)
		rc = region_file_open(&p->meta_file, fd);
	return rc;
}

static int first_memory(struct pool *p)
{
	uint64_t roots = ROUND_UP(META_ROOTS + p->ops->root_bytes, META_PAGE);

	int rc = region_file_commit(&p->meta_file, NULL, 0, roots);

	return rc ? rc : region_file_commit(&p->meta_file, NULL, META_DEPOT, META_PAGE);
}

static void fill_identity(struct pool *p, const struct making *m)
{
	const struct shared_spec *spec = m->spec;
	struct meta_identity *id = p->id;

	meta_identity(id, MEM_SHM, m->incarnation, spec->manager->name);
	id->base = (uintptr_t)p->heap.base;
	id->size = m->size;
	id->meta_at = (uintptr_t)p->meta;
	id->roots = (uintptr_t)p->heap.roots;
	id->root_bytes = p->ops->root_bytes;
	id->records_max = records_for(m->size);
	id->group = spec->shards > 1 ? m->group : 0;
	id->shard = m->shard;
	id->shards = spec->shards;
	id->on_death = spec->on_death;
	id->hosted = spec->hosted;
	id->keep = spec->keep;
	snprintf(id->name, sizeof id->name, "%s", spec->name);
	p->generation = id->generation << 32;
	pool_follow(p, spec->features);
	p->live->wanted = p->live->features = spec->features;
}

static int build(struct pool *p, const struct making *m, struct owner *ret_owner)
{
	uint64_t first = p->ops->extend && m->size > FIRST_COMMIT ? FIRST_COMMIT : m->size;
	void *meta_at;
	int rc = region_reserve_shared(NULL, span(m->size), &meta_at);

	if (rc == 0)
		rc = map_files(p, meta_at, m->size);
	if (rc)
		return rc;
	rc = first_memory(p);
	if (rc == 0) {
		wire(p, meta_at, m->size);
		fill_identity(p, m);
		rc = slot_claim(p, m->spec->observer, ret_owner);
	}
	if (rc == 0) {
		rc = shm_front_init(p, ret_owner, first);
		if (rc)
			slot_leave(p, ret_owner); /* this thread's robust list must not lead into what goes */
	}
	if (rc == 0)
		atomic_store_explicit(&p->live->state, POOL_LIVE, memory_order_release);
	else
		region_release(meta_at, span(m->size));
	return rc;
}

uint64_t shared_size(uint64_t size, unsigned shards)
{
	return ROUND_UP((size ? size : mem_conf()->shm_size) / shards, SIZE_STEP);
}

static int check_spec(const struct shared_spec *spec)
{
	return !spec->shards || spec->shards > SHARDS_MAX ||
			       shared_size(spec->size, spec->shards) * spec->shards > SIZE_MOST ||
			       strlen(spec->name) > POOL_NAME_MAX ||
			       META_ROOTS + spec->manager->shm->root_bytes > META_FAILURES ||
			       spec->manager->shm->max_stores + FRONT_STORES > UNDO_MAX ?
		       -EINVAL :
		       0;
}

static void remember_path(struct pool *p)
{
	char dir[REGISTRY_PATH_MAX], file[REGISTRY_NAME_MAX];
	int fd;

	snprintf(p->path, sizeof p->path, "%s/%s", registry_path(dir, sizeof dir),
		 registry_shm_file(file, sizeof file, p->id->name, p->id->incarnation, p->id->shard));
	p->seen = true;
	if (p != p->home)
		return;
	fd = open(p->path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	if (fd != -1 && region_file_open(&p->heirs, fd) == 0 && flock(p->heirs.fd, LOCK_SH | LOCK_NB) == -1)
		region_file_close(&p->heirs);
}

static void believe(struct pool *p, const struct meta_identity *id)
{
	p->believed = *id;
	p->id = &p->believed;
}

static void unlink_shard(int dir, const struct making *m)
{
	char data[REGISTRY_NAME_MAX + sizeof ".data"];

	if (!m->incarnation)
		return;
	unlinkat(dir, m->file, 0);
	if (m->named)
		unlinkat(dir, m->file + 1, 0);
	unlinkat(dir, data_name(data, sizeof data, m->spec->name, m->incarnation, m->shard), 0);
}

/* A whole shard, which has no name yet. */
static int make_shard(int dir, struct making *m, struct pool *p, struct owner *ret_owner)
{
	int rc;

	*p = (struct pool){ .manager = m->spec->manager,
			    .ops = m->spec->manager->shm,
			    .home = p - m->shard,
			    .meta_file.fd = -1,
			    .data_file.fd = -1 };
	rc = new_files(p, dir, m);
	if (rc == 0)
		rc = build(p, m, ret_owner);
	if (rc) {
		close_files(p);
		unlink_shard(dir, m);
	}
	return rc;
}

/* `made` shards, of which those from `named` on have their names. */
static void unmake(int dir, struct making *m, struct pool *p, struct owner *o, uint32_t made, uint32_t named)
{
	while (made--) {
		m->shard = made;
		m->named = made >= named;
		name_shard(m);
		slot_leave(&p[made], &o[made]);
		unlink_shard(dir, m);
		close_files(&p[made]);
		region_release(p[made].meta, span(m->size));
	}
}

/* Shard 0 is made first, which reserves the incarnation, and named last: whoever finds it finds all. */
static int create_in(int dir, const struct shared_spec *spec, struct pool *p, struct owner *ret_owner)
{
	struct making m = { .spec = spec,
			    .size = shared_size(spec->size, spec->shards),
			    .group = clock_seconds() << 32 | (uint32_t)process_self()->pid };
	uint32_t made = 0, named;
	int rc = 0;

	for (; rc == 0 && made < spec->shards; made += rc == 0) {
		m.shard = made;
		rc = make_shard(dir, &m, &p[made], &ret_owner[made]);
	}
	for (named = made; rc == 0 && named; named -= rc == 0) {
		m.shard = named - 1;
		name_shard(&m);
		rc = meta_file_name(dir, m.file, m.file + 1);
	}
	if (rc)
		unmake(dir, &m, p, ret_owner, made, named);
	return rc;
}

int shared_create(const struct shared_spec *spec, struct pool *p, struct owner *ret_owner)
{
	int dir, rc = check_spec(spec);

	if (rc == 0)
		rc = registry_open(&dir);
	if (rc)
		return rc;
	rc = create_in(dir, spec, p, ret_owner);
	if (rc == -ENOSPC && reap_registry(dir) > 0)
		rc = create_in(dir, spec, p, ret_owner);
	close(dir);
	for (unsigned i = 0; i < spec->shards; i++) {
		if (rc == 0) {
			believe(&p[i], p[i].id);
			remember_path(&p[i]);
		}
		else
			p[i] = (struct pool){ .meta_file.fd = -1, .data_file.fd = -1 }; /* its addresses are gone */
	}
	return rc;
}

/* ---- attach ---- */

static bool ends(const char *text, size_t bytes) { return memchr(text, 0, bytes) != NULL; }

/* What an attacher stakes its addresses on. The rest of META it shares with everybody who may write to it. */
static bool believable(const struct meta_identity *id, const char *name, uint32_t incarnation, uint32_t shard)
{
	return id->magic == META_MAGIC && id->layout == META_LAYOUT && id->pointer_bytes == sizeof(void *) &&
	       id->page_bytes == META_PAGE && id->identity_bytes == sizeof *id && id->domain == MEM_SHM &&
	       id->incarnation == incarnation && id->shard == shard && id->shard < id->shards &&
	       id->shards <= SHARDS_MAX && (id->shards > 1) == (id->group != 0) && id->size &&
	       id->size % SIZE_STEP == 0 && id->size <= SIZE_MOST && id->meta_at % SIZE_STEP == 0 &&
	       id->meta_at >> 47 == 0 && id->base == id->meta_at + meta_bytes_for(id->size) + META_GUARD &&
	       id->roots == id->meta_at + META_ROOTS && id->records_max == records_for(id->size) &&
	       ends(id->name, sizeof id->name) && ends(id->manager, sizeof id->manager) &&
	       ends(id->command, sizeof id->command) && strcmp(id->name, name) == 0;
}

static int open_file(int dir, const char *file, uint64_t bytes, struct region_file *ret_file)
{
	int fd = openat(dir, file, O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	struct stat st;

	if (fd == -1)
		return -errno;
	if (fstat(fd, &st) == -1 || !S_ISREG(st.st_mode) || (st.st_uid != geteuid() && geteuid()) ||
	    (uint64_t)st.st_size < bytes) {
		close(fd);
		return -EUCLEAN;
	}
	return region_file_open(ret_file, fd);
}

static int attach_files(int dir, const char *name, uint32_t incarnation, uint32_t shard, struct pool *p,
			struct meta_identity *id)
{
	char file[REGISTRY_NAME_MAX + sizeof ".data"];
	int rc = open_file(dir, registry_shm_file(file, sizeof file, name, incarnation, shard), META_ROOTS,
			   &p->meta_file);

	if (rc)
		return rc;
	if (pread(p->meta_file.fd, id, sizeof *id, 0) != sizeof *id || !believable(id, name, incarnation, shard) ||
	    lseek(p->meta_file.fd, 0, SEEK_END) < (off_t)meta_bytes_for(id->size))
		return -EUCLEAN;
	p->manager = mem_manager_find(id->manager);
	if (!p->manager || !p->manager->shm || p->manager->shm->root_bytes != id->root_bytes)
		return -ENOTSUP;
	p->ops = p->manager->shm;
	return open_file(dir, data_name(file, sizeof file, name, incarnation, shard), id->size, &p->data_file);
}

static int attach_shard(int dir, const char *name, uint32_t incarnation, uint32_t shard, struct pool *p)
{
	struct meta_identity id;
	void *at;
	int rc;

	*p = (struct pool){ .home = p - shard, .meta_file.fd = -1, .data_file.fd = -1 };
	rc = attach_files(dir, name, incarnation, shard, p, &id);
	if (rc == 0)
		rc = region_reserve_shared((void *)id.meta_at, span(id.size), &at);
	if (rc == 0)
		rc = map_files(p, at, id.size);
	if (rc) {
		close_files(p);
		return rc;
	}
	wire(p, at, id.size);
	believe(p, &id);
	pool_follow(p, atomic_load_explicit(&p->live->wanted, memory_order_relaxed));
	if (atomic_load_explicit(&p->live->state, memory_order_acquire) == POOL_DAMAGED ||
	    (shard && (p->id->group != p->home->id->group || p->id->shards != p->home->id->shards))) {
		shared_detach(p, 1);
		return -EUCLEAN;
	}
	remember_path(p);
	return 0;
}

/* A shard that is not there, though shard 0 is: the pool is not whole. */
static int attach_others(int dir, const char *name, uint32_t incarnation, struct pool *p)
{
	uint32_t shards = p->id->shards, i;
	int rc = 0;

	for (i = 1; rc == 0 && i < shards; i += rc == 0)
		rc = attach_shard(dir, name, incarnation, i, &p[i]);
	if (rc)
		shared_detach(p, i);
	return rc == -ENOENT ? -EUCLEAN : rc;
}

int shared_attach(const char *name, uint32_t incarnation, struct pool *p, unsigned *ret_shards)
{
	bool newcomer = !incarnation;
	int dir, rc = registry_open(&dir);

	if (rc)
		return rc;
	if (newcomer)
		incarnation = registry_newest(dir, name);
	rc = incarnation ? attach_shard(dir, name, incarnation, 0, p) : -ENOENT;
	if (rc == 0 && newcomer && atomic_load_explicit(&p->live->state, memory_order_acquire) != POOL_LIVE) {
		shared_detach(p, 1);
		rc = -ENOENT;
	}
	if (rc == 0)
		rc = attach_others(dir, name, incarnation, p);
	close(dir);
	if (rc == 0)
		*ret_shards = p->id->shards;
	return rc;
}

static bool reads(const struct region_file *file, uint64_t at, void *to, size_t bytes)
{
	return pread(file->fd, to, bytes, (off_t)at) == (ssize_t)bytes;
}

/* Of a slot with its owner alive, or perhaps alive. */
static bool slot_lives(const struct region_file *meta, uint32_t number)
{
	struct meta_slot s;
	uint64_t state;

	if (!reads(meta, META_SLOTS + (uint64_t)number * SLOT_BYTES, &s, offsetof(struct meta_slot, log)))
		return false;
	state = atomic_load_explicit(&s.state, memory_order_relaxed);	/* a copy */
	return (SLOT_STATE(state) == SLOT_LIVE || SLOT_STATE(state) == SLOT_CLAIMING) && !slot_certified(&s, state);
}

static bool has_users(const struct region_file *meta)
{
	uint64_t used = 0;

	if (!reads(meta, META_LIVE + offsetof(struct meta_live, slots_used), &used, sizeof used))
		return false;
	for (uint32_t i = 0; i < used && i < SLOTS_MAX; i++)
		if (slot_lives(meta, i))
			return true;
	return false;
}

bool shared_live(int dir, const char *name)
{
	uint32_t incarnation = registry_newest(dir, name);
	char file[REGISTRY_NAME_MAX];
	struct region_file meta;
	struct meta_identity id;
	uint64_t state = 0;
	bool live;

	if (!incarnation ||
	    open_file(dir, registry_shm_file(file, sizeof file, name, incarnation, 0), META_ROOTS, &meta))
		return false;
	live = reads(&meta, 0, &id, sizeof id) && believable(&id, name, incarnation, 0) &&
	       reads(&meta, META_LIVE + offsetof(struct meta_live, state), &state, sizeof state) &&
	       state == POOL_LIVE && (id.hosted || has_users(&meta));
	region_file_close(&meta);
	return live;
}

void shared_detach(struct pool *p, unsigned shards)
{
	for (unsigned i = shards; i--; ) {
		close_files(&p[i]);
		region_release(p[i].meta, span(p[i].data_size));
		p[i] = (struct pool){ .meta_file.fd = -1, .data_file.fd = -1 };
	}
}

int shared_unlink(const char *name, uint32_t incarnation, unsigned shards)
{
	char file[REGISTRY_NAME_MAX + sizeof ".data"];
	int dir, rc = registry_open(&dir);

	if (rc)
		return rc;
	for (uint32_t i = 0; i < shards; i++) { /* META first, and shard 0's: without it nobody attaches */
		if (unlinkat(dir, registry_shm_file(file, sizeof file, name, incarnation, i), 0) == -1 && i == 0)
			rc = -errno;
		unlinkat(dir, data_name(file, sizeof file, name, incarnation, i), 0);
	}
	close(dir);
	return rc;
}

unsigned shared_users(const struct pool *p, const struct owner *except)
{
	uint64_t used = atomic_load_explicit(&p->live->slots_used, memory_order_acquire);
	unsigned users = 0;

	for (uint32_t i = 0; i < used && i < SLOTS_MAX; i++)
		users += !(except && except->slot == pool_slot(p, i)) && !slot_gone(p, i);
	return users;
}

struct shared_crowd shared_crowd(const struct pool *p)
{
	uint64_t used = atomic_load_explicit(&p->live->slots_used, memory_order_acquire);
	struct shared_crowd crowd = { 0 };

	for (uint32_t i = 0; i < used && i < SLOTS_MAX; i++) {
		unsigned state = SLOT_STATE(atomic_load_explicit(&pool_slot(p, i)->state, memory_order_acquire));

		if (!slot_gone(p, i))
			++*(slot_is_ours(p, i) ? &crowd.own : &crowd.others);
		else if (state == SLOT_LIVE || state == SLOT_DEAD)
			crowd.dead++;
	}
	return crowd;
}

bool shared_heirs(struct pool *p)
{
	char file[REGISTRY_NAME_MAX];
	int dir, fd;
	bool any;

	if (registry_open(&dir))
		return false;
	snprintf(file, sizeof file, "shm-%s-%u", p->id->name, p->id->incarnation);
	fd = openat(dir, file, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	close(dir);
	region_file_close(&p->heirs);
	any = fd != -1 && flock(fd, LOCK_EX | LOCK_NB) == -1;
	if (fd != -1)
		close(fd);
	return any;
}
