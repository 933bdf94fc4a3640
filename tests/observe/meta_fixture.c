/* SPDX-License-Identifier: BSD-2-Clause */
#include "meta_fixture.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "../pool.h"
#include "memapi/memcore.h"

static char registry[96];

#define NEED(x) do { if (!(x)) { perror("fixture: " #x); abort(); } } while (0)

const struct mem_manager *mem_manager_find(const char *name)
{
	static struct mem_manager found;

	for (size_t i = 0; i < sizeof managers / sizeof managers[0]; i++)
		if (!strcmp(managers[i].name, name)) {
			found = (struct mem_manager){ .name = managers[i].name,
						      .pkg = managers[i].pkg,
						      .shm = managers[i].shm,
						      .view = managers[i].view };
			return &found;
		}
	return NULL;
}

const char *fixture_registry(void)
{
	if (!*registry) {
		snprintf(registry, sizeof registry, "%s/observe-XXXXXX", access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
		NEED(mkdtemp(registry));
		setenv("MEMAPI_REGISTRY", registry, 1);
	}
	return registry;
}

void fixture_registry_is(const char *dir)
{
	NEED(dir && strlen(dir) < sizeof registry);
	snprintf(registry, sizeof registry, "%s", dir);
}

void fixture_registry_drop(void)
{
	char command[128];

	if (!*registry)
		return;
	snprintf(command, sizeof command, "rm -rf '%s'", registry);
	NEED(system(command) == 0);
	*registry = '\0';
}

char *fixture_path(char buf[256], const char *file)
{
	snprintf(buf, 256, "%s/%s", fixture_registry(), file);
	return buf;
}

static int file_new(const char *file, uint64_t bytes)
{
	char path[256];
	int fd = open(fixture_path(path, file), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	NEED(fd != -1);
	NEED(ftruncate(fd, (off_t)bytes) == 0);
	return fd;
}

static void map(void *at, uint64_t bytes, int fd)
{
	NEED(mmap(at, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == at);
}

static uint64_t start_time(void)
{
	char buf[512] = "", *s;
	FILE *f = fopen("/proc/self/stat", "r");

	NEED(f && fread(buf, 1, sizeof buf - 1, f));
	fclose(f);
	s = strrchr(buf, ')');
	for (int field = 2; field < 22; field++)
		s = strchr(s + 1, ' ');
	return strtoull(s, NULL, 10);
}

static uint64_t pid_namespace(void)
{
	struct stat st;

	NEED(stat("/proc/self/ns/pid", &st) == 0);
	return (uint64_t)st.st_ino;
}

static void identity(struct fixture *f, uint32_t domain, uint32_t incarnation, const char *manager)
{
	*f->id = (struct meta_identity){
		.magic = META_MAGIC,
		.layout = META_LAYOUT,
		.pointer_bytes = 8,
		.page_bytes = META_PAGE,
		.identity_bytes = sizeof(struct meta_identity),
		.domain = domain,
		.incarnation = incarnation,
		.shards = 1,
		.generation = 0x1234567800000000u + (uint64_t)random(),
		.created = (uint64_t)time(NULL) - 100,
		.pid = getpid(),
		.start_time = start_time(),
		.pid_namespace = pid_namespace(),
		.uid = geteuid(),
		.base = (uintptr_t)f->heap.base,
		.roots = (uintptr_t)f->heap.roots,
		.root_bytes = f->ops->root_bytes,
	};
	snprintf(f->id->manager, sizeof f->id->manager, "%s", manager);
	snprintf(f->id->command, sizeof f->id->command, "test_observe");
}

static const char *or_first(const char *manager) { return manager ? manager : managers[0].name; }

static void wire(struct fixture *f)
{
	f->id = (void *)f->meta;
	f->live = (void *)(f->meta + META_LIVE);
	f->records = (void *)(f->meta + META_RECORDS);
	f->heap.tally = &f->live->counters.tally;
	f->heap.cursors = &f->live->cursors;
}

static void first(struct fixture *f, uint64_t size, uint64_t records)
{
	f->id->size = size;
	f->id->records_max = records;
	f->live->counters.committed = f->heap.len = size;
	f->live->records_committed = records;
	f->live->sites_committed = SITES_MAX;
	f->live->counters.sites_used = 1;
	f->live->state = POOL_LIVE;
	f->live->features = f->live->wanted = FEATURE_SITES;
	NEED(f->ops->init(&f->heap) == 0);
	if (f->heap.log)
		undo_commit(f->heap.log);
}

/** `of` shards, 1: a pool that has none. */
struct share { uint32_t shard, of; uint64_t group; };

static void share(struct fixture *f, struct share s)
{
	f->id->shard = s.shard;
	f->id->shards = s.of;
	f->id->group = s.group;
}

static void shard_name(char *file, size_t room, uint32_t shard)
{
	size_t len = strlen(file);

	if (shard)
		snprintf(file + len, room - len, "+%u", shard);
}

static struct fixture *make_shm(const char *name, uint32_t incarnation, const char *manager, uint64_t size,
				uint64_t records, struct share s)
{
	struct fixture *f = calloc(1, sizeof *f);
	char data[128];
	int fd;

	size = size ? size : FIXTURE_SIZE;
	records = records ? records : FIXTURE_RECORDS;
	f->ops = mem_manager_find(or_first(manager))->shm;
	f->meta_bytes = META_RECORDS + records * sizeof(struct meta_record);
	f->meta = mmap(NULL, f->meta_bytes + META_GUARD + size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		       -1, 0);
	NEED(f->meta != MAP_FAILED);
	snprintf(f->file, sizeof f->file, "shm-%s-%u", name, incarnation);
	shard_name(f->file, sizeof f->file, s.shard);
	snprintf(data, sizeof data, "%s.data", f->file);
	f->fd = file_new(f->file, f->meta_bytes);
	map(f->meta, f->meta_bytes, f->fd);
	fd = file_new(data, size);
	f->heap.base = f->meta + f->meta_bytes + META_GUARD;
	map(f->heap.base, size, fd);
	close(fd);
	f->heap.roots = (uint64_t *)(void *)(f->meta + META_ROOTS);
	wire(f);
	identity(f, MEM_SHM, incarnation, or_first(manager));
	share(f, s);
	f->id->meta_at = (uintptr_t)f->meta;
	f->id->pid = getpid();
	snprintf(f->id->name, sizeof f->id->name, "%s", name);
	fixture_slot(f, 0, SLOT_LIVE, getpid(), "test_observe");
	first(f, size, records);
	return f;
}

static struct fixture *make_pkg(int64_t pid, uint32_t incarnation, const char *manager, struct share s)
{
	struct fixture *f = calloc(1, sizeof *f);

	f->ops = mem_manager_find(or_first(manager))->pkg;
	f->meta_bytes = META_RECORDS + FIXTURE_RECORDS * sizeof(struct meta_record);
	snprintf(f->file, sizeof f->file, "pkg-%lld-%u", (long long)pid, incarnation);
	shard_name(f->file, sizeof f->file, s.shard);
	f->fd = file_new(f->file, f->meta_bytes);
	f->meta = mmap(NULL, f->meta_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, f->fd, 0);
	NEED(f->meta != MAP_FAILED);
	f->heap.base = mmap(NULL, FIXTURE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	f->heap.roots = mmap(NULL, 1 << 18, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	NEED(f->heap.base != MAP_FAILED && f->heap.roots != MAP_FAILED);
	wire(f);
	identity(f, MEM_PKG, incarnation, or_first(manager));
	share(f, s);
	f->id->pid = pid;
	if (pid != getpid())
		f->id->start_time = 1;
	first(f, FIXTURE_SIZE, FIXTURE_RECORDS);
	return f;
}

struct fixture *fixture_shm(const char *name, uint32_t incarnation, const char *manager, uint64_t size,
			    uint64_t records)
{
	return make_shm(name, incarnation, manager, size, records, (struct share){ 0, 1, 0 });
}

struct fixture *fixture_pkg(int64_t pid, uint32_t incarnation, const char *manager)
{
	return make_pkg(pid, incarnation, manager, (struct share){ 0, 1, 0 });
}

struct fixture *fixture_shm_shard(const char *name, uint32_t incarnation, uint32_t shard, uint32_t shards,
				  uint64_t group)
{
	return make_shm(name, incarnation, NULL, 0, 0, (struct share){ shard, shards, group });
}

struct fixture *fixture_pkg_shard(int64_t pid, uint32_t incarnation, uint32_t shard, uint32_t shards,
				  uint64_t group)
{
	return make_pkg(pid, incarnation, NULL, (struct share){ shard, shards, group });
}

void fixture_free_pool(struct fixture *f)
{
	bool shm = f->id->domain == MEM_SHM;

	if (shm) {
		munmap(f->meta, f->meta_bytes + META_GUARD + f->heap.len);
	} else {
		munmap(f->heap.base, FIXTURE_SIZE);
		munmap(f->heap.roots, 1 << 18);
		munmap(f->meta, f->meta_bytes);
	}
	close(f->fd);
	free(f);
}

static struct meta_slot *slot_at(struct fixture *f, uint32_t i)
{
	return (void *)(f->meta + META_SLOTS + (uint64_t)i * SLOT_BYTES);
}

void fixture_slot(struct fixture *f, uint32_t i, enum slot_state state, int32_t pid, const char *command)
{
	struct meta_slot *s = slot_at(f, i);
	uint32_t life = 12345;

	memset(s, 0, offsetof(struct meta_slot, log));
	s->start_time = pid == getpid() ? start_time() : 1;
	s->pid_namespace = pid_namespace();
	snprintf(s->command, sizeof s->command, "%s", command);
	memcpy(&s->life, &life, sizeof life);
	s->state = (uint64_t)state | (uint64_t)(uint32_t)pid << 32 | (pid_namespace() & 0x3ff) << 54;
	if (f->live->slots_used <= i)
		f->live->slots_used = i + 1;
	if (f->slot == i)
		f->heap.log = &s->log;
}

uint32_t fixture_site(struct fixture *f, const char *file, unsigned line)
{
	struct meta_sites *sites = (void *)(f->meta + META_SITES);
	uint64_t n = f->live->counters.sites_used++;

	sites->site[n].line = line;
	snprintf(sites->site[n].file, sizeof sites->site[n].file, "%s", file);
	snprintf(sites->site[n].function, sizeof sites->site[n].function, "function_of_%u", line);
	snprintf(sites->site[n].module, sizeof sites->site[n].module, "core");
	return (uint32_t)n;
}

/* ---- calls, as the front end makes them ---- */

static bool shm(const struct fixture *f) { return f->id->domain == MEM_SHM; }

static void set(struct fixture *f, uint64_t *word, uint64_t value)
{
	if (shm(f))
		undo_note(f->heap.log, word);
	*(volatile uint64_t *)word = value;
}

void fixture_begin(struct fixture *f)
{
	struct meta_live *l = f->live;

	if (shm(f))
		l->lock = ((l->lock >> 32) + 1) << 32 | (uint64_t)(f->slot + 1) << 1;
	else
		l->turn++;
}

void fixture_end(struct fixture *f)
{
	struct meta_live *l = f->live;

	if (shm(f)) {
		undo_commit(f->heap.log);
		l->lock = l->lock & ~0xffffffffull;
	} else {
		l->turn++;
	}
}

static uint64_t *tail(const void *p, uint64_t usable) { return (uint64_t *)((uintptr_t)p + usable - TAIL_BYTES); }

static void record(struct fixture *f, void *p, uint64_t usable, size_t size, uint32_t site)
{
	struct meta_counters *c = &f->live->counters;
	uint64_t index = c->records_free;
	struct meta_record *r;

	if (index--) {
		r = &f->records[index];
		set(f, &c->records_free, r->sizes);
	} else {
		index = c->records_used;
		r = &f->records[index];
		set(f, &c->records_used, index + 1);
	}
	r->owner = site | (uint64_t)f->slot << 32;
	r->time = 10 | c->stamp << 32;
	set(f, &r->sizes, record_sizes(usable, size));
	set(f, &r->address, (uintptr_t)p);
	set(f, tail(p, usable), index | f->id->generation << 32);
	if (shm(f))
		return;
	c->recorded++;
	c->recorded_bytes += usable;
	f->ops->mark(&f->heap, p, true);
}

void *fixture_alloc_open(struct fixture *f, size_t size, uint32_t site)
{
	struct meta_counters *c = &f->live->counters;
	void *p = f->ops->alloc(&f->heap, 16, mem_round(f->ops, size + TAIL_BYTES));
	uint64_t usable;

	if (!p)
		return NULL;
	usable = f->ops->usable(&f->heap, p);
	set(f, &c->used, c->used + usable);
	set(f, &c->fragments, c->fragments + 1);
	if (c->used > c->max_used)
		set(f, &c->max_used, c->used);
	c->stamp++;
	if (shm(f) || (f->live->features & FEATURE_SITES))
		record(f, p, usable, size, site);
	return p;
}

void *fixture_alloc(struct fixture *f, size_t size, uint32_t site)
{
	void *p;

	fixture_begin(f);
	p = fixture_alloc_open(f, size, site);
	fixture_end(f);
	return p;
}

void fixture_free(struct fixture *f, void *p)
{
	struct meta_counters *c = &f->live->counters;
	uint64_t usable = f->ops->usable(&f->heap, p);
	struct meta_record *r = &f->records[(uint32_t)*tail(p, usable)];

	fixture_begin(f);
	set(f, &c->used, c->used - usable);
	set(f, &c->fragments, c->fragments - 1);
	if (shm(f) || f->ops->marked(&f->heap, p)) {
		set(f, &r->address, r->address | RECORD_FREE);
		set(f, &r->sizes, c->records_free);
		set(f, &c->records_free, (uint64_t)(r - f->records) + 1);
		if (!shm(f)) {
			c->recorded--;
			c->recorded_bytes -= usable;
		}
	}
	f->ops->free(&f->heap, p);
	fixture_end(f);
}

void fixture_failure(struct fixture *f, uint64_t requested, uint64_t verdict)
{
	struct meta_failure *ring = (void *)(f->meta + META_FAILURES);
	uint64_t k = f->live->failures++;

	f->live->rings_committed = 1;
	ring[k % RING_MAX] = (struct meta_failure){ .seq = k + 1,
						    .time = 1000 + k,
						    .pid = getpid(),
						    .site = 1,
						    .requested = requested,
						    .free = 5,
						    .largest_free = 3,
						    .verdict = verdict };
}

void fixture_fault(struct fixture *f, uint64_t kind, uint64_t address)
{
	struct meta_fault *ring = (void *)(f->meta + META_FAULTS);
	uint64_t k = f->live->faults++;

	f->live->rings_committed = 1;
	ring[k % RING_MAX] = (struct meta_fault){ .seq = k + 1, .time = 2000 + k, .pid = getpid(), .kind = kind,
						  .address = address, .site = 1, .alloc_site = 2, .free_site = 3 };
}

struct obs *fixture_observer(obs_skip_fn *skip, void *arg)
{
	struct obs *o;

	NEED(obs_open(fixture_registry(), &o) == 0);
	NEED(obs_scan(o, skip, arg) == 0);
	return o;
}
