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

static void data_name(char *to, size_t bytes, const char *name, uint32_t incarnation)
{
	snprintf(to, bytes, "shm-%s-%u.data", name, incarnation);
}

/* DATA's name reserves the incarnation; META gets its own when the pool is whole. */
static int new_files(struct pool *p, int dir, const struct shared_spec *spec, uint32_t *ret_incarnation)
{
	uint32_t i = registry_newest(dir, spec->name) + 1, last = i + INCARNATIONS_TRIED;
	char file[REGISTRY_NAME_MAX];
	int fd, rc;

	do {
		data_name(file, sizeof file, spec->name, i);
		rc = meta_file_new(dir, file, spec->size, &fd);
	} while (rc == -EEXIST && ++i < last);
	if (rc)
		return rc;
	region_file_open(&p->data_file, fd);
	*ret_incarnation = i;
	snprintf(file, sizeof file, ".shm-%s-%u", spec->name, i);
	unlinkat(dir, file, 0); /* of one who died in here, else DATA's name would be taken */
	rc = meta_file_new(dir, file, meta_bytes_for(spec->size), &fd);
	if (rc == 0)
		region_file_open(&p->meta_file, fd);
	return rc;
}

static int first_memory(struct pool *p)
{
	uint64_t roots = ROUND_UP(META_ROOTS + p->ops->root_bytes, META_PAGE);

	return region_file_commit(&p->meta_file, NULL, 0, roots);
}

static void fill_identity(struct pool *p, const struct shared_spec *spec, uint32_t incarnation)
{
	struct meta_identity *id = p->id;

	meta_identity(id, MEM_SHM, incarnation, spec->manager->name);
	id->base = (uintptr_t)p->heap.base;
	id->size = spec->size;
	id->meta_at = (uintptr_t)p->meta;
	id->roots = (uintptr_t)p->heap.roots;
	id->root_bytes = p->ops->root_bytes;
	id->records_max = records_for(spec->size);
	id->on_death = spec->on_death;
	id->hosted = spec->hosted;
	id->keep = spec->keep;
	snprintf(id->name, sizeof id->name, "%s", spec->name);
	p->generation = id->generation << 32;
	p->features = spec->features;
	p->live->wanted = p->live->features = spec->features;
}

static int build(struct pool *p, const struct shared_spec *spec, uint32_t incarnation, struct owner *ret_owner)
{
	uint64_t first = p->ops->extend && spec->size > FIRST_COMMIT ? FIRST_COMMIT : spec->size;
	void *meta_at;
	int rc = region_reserve_shared(NULL, span(spec->size), &meta_at);

	if (rc == 0)
		rc = map_files(p, meta_at, spec->size);
	if (rc)
		return rc;
	rc = first_memory(p);
	if (rc == 0) {
		wire(p, meta_at, spec->size);
		fill_identity(p, spec, incarnation);
		rc = slot_claim(p, spec->observer, ret_owner);
	}
	if (rc == 0) {
		rc = shm_front_init(p, ret_owner, first);
		if (rc)
			slot_leave(p, ret_owner); /* this thread's robust list must not lead into what goes */
	}
	if (rc == 0)
		atomic_store_explicit(&p->live->state, POOL_LIVE, memory_order_release);
	else
		region_release(meta_at, span(spec->size));
	return rc;
}

uint64_t shared_size(uint64_t size) { return ROUND_UP(size ? size : mem_conf()->shm_size, SIZE_STEP); }

static int check_spec(struct shared_spec *spec)
{
	spec->size = shared_size(spec->size);
	return spec->size > SIZE_MOST || strlen(spec->name) > POOL_NAME_MAX ||
			       META_ROOTS + spec->manager->shm->root_bytes > META_FAILURES ||
			       spec->manager->shm->max_stores + FRONT_STORES > UNDO_MAX ?
		       -EINVAL :
		       0;
}

static void remember_path(struct pool *p)
{
	char dir[REGISTRY_PATH_MAX];
	int fd;

	snprintf(p->path, sizeof p->path, "%s/shm-%s-%u", registry_path(dir, sizeof dir), p->id->name, p->id->incarnation);
	p->seen = true;
	fd = open(p->path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	if (fd != -1 && (region_file_open(&p->heirs, fd) || flock(fd, LOCK_SH | LOCK_NB) == -1))
		close(fd);
}

static int create_in(int dir, const struct shared_spec *spec, struct pool *p, struct owner *ret_owner)
{
	char file[REGISTRY_NAME_MAX + 1];
	uint32_t incarnation = 0;
	int rc = new_files(p, dir, spec, &incarnation);

	if (rc == 0)
		rc = build(p, spec, incarnation, ret_owner);
	snprintf(file, sizeof file, ".shm-%s-%u", spec->name, incarnation);
	if (rc == 0) {
		rc = meta_file_name(dir, file, file + 1);
		if (rc) {
			slot_leave(p, ret_owner);
			region_release(p->meta, span(spec->size));
		}
	}
	if (rc == 0)
		return 0;
	if (incarnation) {
		unlinkat(dir, file, 0);
		data_name(file, sizeof file, spec->name, incarnation);
		unlinkat(dir, file, 0);
	}
	close_files(p);
	return rc;
}

int shared_create(const struct shared_spec *wish, struct pool *p, struct owner *ret_owner)
{
	struct shared_spec spec = *wish;
	int dir, rc = check_spec(&spec);

	if (rc == 0)
		rc = registry_open(&dir);
	if (rc)
		return rc;
	*p = (struct pool){ .manager = spec.manager, .ops = spec.manager->shm, .meta_file.fd = -1, .data_file.fd = -1 };
	rc = create_in(dir, &spec, p, ret_owner);
	if (rc == -ENOSPC && reap_registry(dir) > 0)
		rc = create_in(dir, &spec, p, ret_owner);
	close(dir);
	if (rc == 0)
		remember_path(p);
	else
		*p = (struct pool){ .meta_file.fd = -1, .data_file.fd = -1 }; /* its addresses are gone */
	return rc;
}

/* ---- attach ---- */

static bool ends(const char *text, size_t bytes) { return memchr(text, 0, bytes) != NULL; }

/* What an attacher stakes its addresses on. The rest of META it shares with everybody who may write to it. */
static bool believable(const struct meta_identity *id, const char *name, uint32_t incarnation)
{
	return id->magic == META_MAGIC && id->layout == META_LAYOUT && id->pointer_bytes == sizeof(void *) &&
	       id->page_bytes == META_PAGE && id->identity_bytes == sizeof *id && id->domain == MEM_SHM &&
	       id->incarnation == incarnation && id->size && id->size % SIZE_STEP == 0 && id->size <= SIZE_MOST &&
	       id->meta_at % SIZE_STEP == 0 && id->meta_at >> 47 == 0 &&
	       id->base == id->meta_at + meta_bytes_for(id->size) + META_GUARD &&
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

static int attach_files(int dir, const char *name, uint32_t incarnation, struct pool *p, struct meta_identity *id)
{
	char file[REGISTRY_NAME_MAX];
	int rc;

	snprintf(file, sizeof file, "shm-%s-%u", name, incarnation);
	rc = open_file(dir, file, META_ROOTS, &p->meta_file);
	if (rc)
		return rc;
	if (pread(p->meta_file.fd, id, sizeof *id, 0) != sizeof *id || !believable(id, name, incarnation) ||
	    lseek(p->meta_file.fd, 0, SEEK_END) < (off_t)meta_bytes_for(id->size))
		return -EUCLEAN;
	p->manager = mem_manager_find(id->manager);
	if (!p->manager || !p->manager->shm || p->manager->shm->root_bytes != id->root_bytes)
		return -ENOTSUP;
	p->ops = p->manager->shm;
	data_name(file, sizeof file, name, incarnation);
	return open_file(dir, file, id->size, &p->data_file);
}

int shared_attach(const char *name, uint32_t incarnation, struct pool *p)
{
	bool newcomer = !incarnation;
	struct meta_identity id;
	uint64_t state;
	void *at;
	int dir, rc = registry_open(&dir);

	if (rc)
		return rc;
	*p = (struct pool){ .meta_file.fd = -1, .data_file.fd = -1 };
	if (!incarnation)
		incarnation = registry_newest(dir, name);
	rc = incarnation ? attach_files(dir, name, incarnation, p, &id) : -ENOENT;
	close(dir);
	if (rc == 0)
		rc = region_reserve_shared((void *)id.meta_at, span(id.size), &at);
	if (rc == 0)
		rc = map_files(p, at, id.size);
	if (rc) {
		close_files(p);
		return rc;
	}
	wire(p, at, id.size);
	p->features = atomic_load_explicit(&p->live->wanted, memory_order_relaxed);
	state = atomic_load_explicit(&p->live->state, memory_order_acquire);
	if (state == POOL_DAMAGED || (newcomer && state != POOL_LIVE)) {
		shared_detach(p);
		return state == POOL_DAMAGED ? -EUCLEAN : -ENOENT;
	}
	remember_path(p);
	return 0;
}

void shared_detach(struct pool *p)
{
	close_files(p);
	region_release(p->meta, span(p->data_size));
	*p = (struct pool){ .meta_file.fd = -1, .data_file.fd = -1 };
}

int shared_unlink(const char *name, uint32_t incarnation)
{
	char file[REGISTRY_NAME_MAX];
	int dir, rc = registry_open(&dir);

	if (rc)
		return rc;
	snprintf(file, sizeof file, "shm-%s-%u", name, incarnation);
	rc = unlinkat(dir, file, 0) == -1 ? -errno : 0; /* META first: without it nobody attaches */
	data_name(file, sizeof file, name, incarnation);
	unlinkat(dir, file, 0);
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
