/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Every bit that is not an application's is flipped, and check must tell, or the bit must not matter.
 *
 *	damage MANAGER [SCENES]		a name of managers.def, or ff; exit status 0, or 1 with a line a bit
 *
 * With SCENES every bit of so many heaps, else of one heap those of heads and links, and of the rest one in each byte.
 *
 * A scene is a heap after random calls: used, marked and free fragments, lists of one and of several. In it each bit of
 * DATA outside of what used fragments hold, of the roots, and of the tally is flipped, one at a
 * time. Then
 *
 *	- check and walk of the manager's own build and of the view come to an end, without a fault of the processor,
 *	  inside the heap, and the two checks agree;
 *	- the damage is told by check, or by comparison of walk and tally, as `mmctl check` compares them; or
 *	- it does not matter: whatever calls come next, each is right against the model, the heap stays sound, and
 *	  when all is freed it is one again. That is tried with CONTINUATIONS different futures.
 *
 * What does not matter is, by design of the managers: the inside of free fragments behind their links, the link of a
 * list's first fragment to nothing, hints (a bit for a list that has become empty, how often a size was asked for),
 * what is only compared with zero, and the mark of a used fragment, which `mmctl check` compares with the ledger. The
 * last line says how many bits of each kind there were.
 */
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pool.h"

enum {
	LIVE = 40,
	SETUP_CALLS = 220,
	CONTINUATIONS = 3,
	CALLS = 40,
	LOOK_EVERY = 10,
	LINKS = 32,
	SCENES = 1,
	SECONDS = 100,
	REPORTS = 40
};

enum where { INSIDE_FREE, BESIDE, ROOTS, TALLY, PLACES };
enum outcome { TOLD_BY_CHECK, TOLD_BY_COUNTERS, NO_MATTER, OUTCOMES };

static const char *const place_name[] = { "inside of free fragments", "beside fragments", "roots", "tally" };

struct held { unsigned char *p; size_t size; bool mark; };
struct model { struct held held[LIVE]; uint64_t seed; };

/* Survives the child, which may be ended by what it does. */
static struct progress {
	uint64_t at;			/* the next bit of the scene to be flipped */
	uint64_t count[PLACES][OUTCOMES];
	unsigned bad;
	const char *doing;
} * progress;

static const struct mgr_case *manager;
static bool every;			/* bit, not only some of those that are alike */
static struct pool *pool;		/* with pages on both sides that nobody may touch */
static struct undo_log undo;
static struct mem_heap heap;

/* ---- the heap ---- */

static struct pool *fenced_pool(void)
{
	size_t bytes = (sizeof(struct pool) + PAGE - 1) / PAGE * PAGE;
	unsigned char *at = mmap(NULL, bytes + 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED || mprotect(at + PAGE, bytes, PROT_READ | PROT_WRITE)) {
		perror("damage");
		exit(2);
	}
	return (struct pool *)(void *)(at + PAGE);
}

static void fill(const struct held *x, size_t k) { memset(x->p, (int)k + 1, x->size); }

static const char *intact(const struct held *x, size_t k, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (x->p[i] != k + 1)
			return "bytes of a fragment changed";
	return NULL;
}

static const char *new_one(struct model *m, size_t k)
{
	const struct mem_manager_ops *ops = manager->shm;
	struct held *x = &m->held[k];
	size_t size = mem_round(ops, 16 * (1 + pick_from(&m->seed, pick_from(&m->seed, 6) ? 12 : 80)));
	size_t align = ops->flags & MEM_ALIGN16 || pick_from(&m->seed, 6) ? 16 : 128;

	x->p = ops->alloc(&heap, align, size);
	if (!x->p)
		return NULL;
	x->size = ops->usable(&heap, x->p);
	if ((uintptr_t)x->p % align || x->size < size)
		return "not what was asked for";
	if (x->p < heap.base || x->size > heap.len || (uint64_t)(x->p - heap.base) > heap.len - x->size)
		return "outside of the heap";
	for (size_t i = 0; i < LIVE; i++)
		if (i != k && m->held[i].p && x->p < m->held[i].p + m->held[i].size && m->held[i].p < x->p + x->size)
			return "two fragments lie over each other";
	x->mark = false;
	return NULL;
}

static const char *other_size(struct model *m, struct held *x, size_t k)
{
	const struct mem_manager_ops *ops = manager->shm;
	size_t size = mem_round(ops, 16 * (1 + pick_from(&m->seed, 20))), was = x->size;
	bool done = ops->resize(&heap, x->p, size);

	x->size = ops->usable(&heap, x->p);
	if (done ? x->size < size : size <= was)
		return "not resized as asked";
	return intact(x, k, was < x->size ? was : x->size);
}

/** What is wrong with it, or NULL. */
static const char *one_call(struct model *m)
{
	const struct mem_manager_ops *ops = manager->shm;
	size_t k = pick_from(&m->seed, LIVE);
	struct held *x = &m->held[k];
	const char *wrong = x->p ? intact(x, k, x->size) : NULL;

	if (wrong)
		return wrong;
	if (!x->p) {
		wrong = new_one(m, k);
	} else if (pick_from(&m->seed, 4) == 0) {
		wrong = other_size(m, x, k);
	} else if (ops->mark && pick_from(&m->seed, 4) == 0) {
		ops->mark(&heap, x->p, x->mark = !x->mark);
	} else {
		ops->free(&heap, x->p);
		*x = (struct held){ 0 };
	}
	undo_commit(&undo);
	if (!wrong && x->p)
		fill(x, k);
	return wrong;
}

/** Random calls on an empty heap. */
static void make_scene(struct model *m, uint64_t seed)
{
	memset(pool, 0, sizeof *pool);
	heap = pool_heap(pool, sizeof pool->data, &undo);
	*m = (struct model){ .seed = seed };
	if (manager->shm->init(&heap)) {
		fprintf(stderr, "damage: init failed\n");
		exit(2);
	}
	undo_commit(&undo);
	for (unsigned i = 0; i < SETUP_CALLS; i++)
		if (one_call(m)) {
			fprintf(stderr, "damage: %s does not serve\n", manager->name);
			exit(2);
		}
}

/* ---- what is told ---- */

struct source { struct mem_reader reader; bool outside; };

/* The observed process is this one, but whatever is read must lie in DATA or roots. */
static bool read_here(struct mem_reader *r, uintptr_t at, void *to, size_t bytes)
{
	struct source *s = (struct source *)(void *)r;
	uint64_t in_data = at - (uintptr_t)heap.base, in_roots = at - (uintptr_t)heap.roots;

	if (!(in_data < heap.len && bytes <= heap.len - in_data) &&
	    !(in_roots < r->root_bytes && bytes <= r->root_bytes - in_roots)) {
		s->outside = true;
		return false;
	}
	memcpy(to, (const void *)at, bytes);
	return true;
}

struct seen { unsigned count; bool outside; };

static bool see(const struct mem_frag *f, void *arg)
{
	struct seen *s = arg;
	uint64_t at = (uintptr_t)f->addr - (uintptr_t)heap.base;

	s->outside |= at > heap.len || f->size > heap.len - at;
	return ++s->count <= sizeof pool->data / 16;
}

static void count_fault(const struct mem_fault *f, void *arg) { (void)f; ++*(unsigned *)arg; }

/** Walks to the end; what is wrong with the way there, or NULL. */
static const char *walk_ends(const struct mem_manager_ops *ops, const struct mem_heap *h)
{
	struct seen s = { 0 };
	uint64_t at = 0;

	do
		at = ops->walk(h, at, 7, see, &s);
	while (at && at != MEM_WALK_FAULT && s.count <= sizeof pool->data / 16);
	return s.count > sizeof pool->data / 16 ? "a walk without end" : s.outside ? "walk tells of bytes outside" : NULL;
}

/** What is wrong with own and view build on this heap, or NULL; *ret_told: the damage was told. */
static const char *look(bool *ret_told)
{
	struct source s = { .reader = { .read = read_here, .root_bytes = manager->view->root_bytes } };
	struct mem_heap view = heap;
	unsigned told = 0, view_told = 0, own, seen;
	const char *wrong;

	view.reader = &s.reader;
	own = manager->shm->check(&heap, count_fault, &told);
	seen = manager->view->check(&view, count_fault, &view_told);
	*ret_told = own;
	if (own != told || seen != view_told)
		return "check does not count what it tells";
	if (s.outside)
		return "the view reads outside of the heap";
	if (!own != !seen)
		return own ? "told by the manager's check, not by the view's" : "told by the view's check, not by the manager's";
	wrong = walk_ends(manager->shm, &heap);
	if (!wrong) {
		s.reader.failed = false;
		wrong = walk_ends(manager->view, &view);
	}
	return wrong ? wrong : s.outside ? "the view reads outside of the heap" : NULL;
}

/* ---- whether it matters ---- */

static const char *sound(const struct model *m)
{
	struct measure seen;
	uint64_t used = 0;
	const char *wrong = measure(manager->shm, &heap, 7, &seen);

	for (size_t k = 0; k < LIVE; k++)
		used += m->held[k].p != NULL;
	return wrong ? wrong : seen.used != used ? "walk does not see what is held" : NULL;
}

/** One future of the heap: calls, then all is freed. `whole`: its largest fragment when it was new. */
static const char *live_on(struct model m, uint64_t seed, uint64_t whole)
{
	const char *wrong = NULL;
	struct measure seen;

	m.seed = seed;
	for (unsigned i = 0; !wrong && i < CALLS; i++) {
		wrong = one_call(&m);
		if (!wrong && i % LOOK_EVERY == 0)
			wrong = sound(&m);
	}
	for (size_t k = 0; !wrong && k < LIVE; k++) {
		if (!m.held[k].p)
			continue;
		wrong = intact(&m.held[k], k, m.held[k].size);
		manager->shm->free(&heap, m.held[k].p);
		m.held[k].p = NULL;
		undo_commit(&undo);
	}
	wrong = wrong ? wrong : sound(&m);
	if (!wrong && measure(manager->shm, &heap, 7, &seen) == NULL && seen.largest != whole)
		wrong = "what was freed is not one fragment again";
	return wrong;
}

static const char *matters(const struct model *m, uint64_t whole)
{
	static struct pool *damaged;
	size_t bytes = pool_bytes(manager->shm);
	const char *wrong = NULL;

	if (!damaged)
		damaged = pool_new();

	memcpy(damaged, pool, bytes);
	for (unsigned i = 0; !wrong && i < CONTINUATIONS; i++) {
		memcpy(pool, damaged, bytes);
		wrong = live_on(*m, 100 + i, whole);
	}
	return wrong;
}

/* ---- one bit ---- */

/** Words of the scene, in one row: DATA, roots, tally. */
static uint64_t words(void)
{
	return sizeof pool->data / 8 + manager->shm->root_bytes / 8 + sizeof pool->tally / 8;
}

static unsigned char *byte_at(uint64_t byte, enum where *ret_where)
{
	if (byte < sizeof pool->data) {
		*ret_where = BESIDE;		/* or inside of a free fragment, which the map knows */
		return pool->data + byte;
	}
	byte -= sizeof pool->data;
	*ret_where = byte < manager->shm->root_bytes ? ROOTS : TALLY;
	return *ret_where == ROOTS ? (unsigned char *)pool->roots + byte :
				     (unsigned char *)&pool->tally + byte - manager->shm->root_bytes;
}

/* Whose each byte of DATA is: 'u' an application's, 'f' the inside of a free fragment, 0 the manager's. */
static char map[sizeof pool->data];

static bool draw(const struct mem_frag *f, void *arg)
{
	(void)arg;
	memset(map + ((const unsigned char *)f->addr - heap.base), f->used ? 'u' : 'f', f->size);
	return true;
}

static void complain(uint64_t seed, const char *what)
{
	enum where where;
	uint64_t bit = progress->at - 1;

	byte_at(bit / 8, &where);
	if (where == BESIDE && map[bit / 8] == 'f')
		where = INSIDE_FREE;
	if (progress->bad++ < REPORTS)
		printf("%s: scene %llu: bit %llu of byte %llu (%s): %s\n", manager->name, (unsigned long long)seed,
		       (unsigned long long)(bit % 8), (unsigned long long)(bit / 8), place_name[where], what);
	fflush(stdout);
}

/* In the short form one bit of a byte, where most do not matter or are as good as each other. */
static bool left_out(uint64_t bit, enum where where)
{
	uint64_t byte = bit / 8;

	if (where == INSIDE_FREE && (byte < LINKS || memchr(map + byte - LINKS, 0, LINKS)))
		return false;			/* links are at the start */
	return (bit + byte / 8) % 8 && (where == ROOTS || where == INSIDE_FREE);
}

static void one_bit(const struct model *m, const struct pool *scene, uint64_t seed, uint64_t whole)
{
	uint64_t bit = progress->at++;
	enum outcome outcome = TOLD_BY_CHECK;
	enum where where;
	unsigned char *byte = byte_at(bit / 8, &where);
	const char *wrong;
	bool told;

	if (where == BESIDE && map[bit / 8] == 'u')
		return;
	if (where == BESIDE && map[bit / 8] == 'f')
		where = INSIDE_FREE;
	if (!every && left_out(bit, where))
		return;
	*byte ^= (unsigned char)(1u << bit % 8);
	progress->doing = "check or walk";
	wrong = look(&told);
	if (!wrong && !told) {
		outcome = sound(m) ? TOLD_BY_COUNTERS : NO_MATTER;
		progress->doing = "a call after damage that was not told";
		wrong = outcome == NO_MATTER ? matters(m, whole) : NULL;
	}
	if (wrong)
		complain(seed, wrong);
	progress->count[where][outcome]++;
	if (told)
		*byte ^= (unsigned char)(1u << bit % 8);
	else
		memcpy(pool, scene, pool_bytes(manager->shm));
	undo_commit(&undo);
}

/* ---- one scene, in a child that may be ended by it ---- */

static void flip_on(uint64_t seed)
{
	struct pool *scene = pool_new();
	struct measure fresh;
	struct model m = { .seed = 0 };

	memset(pool, 0, sizeof *pool);
	heap = pool_heap(pool, sizeof pool->data, &undo);
	manager->shm->init(&heap);
	undo_commit(&undo);
	measure(manager->shm, &heap, 7, &fresh);
	make_scene(&m, seed);
	memset(map, 0, sizeof map);
	manager->shm->walk(&heap, 0, UINT32_MAX, draw, NULL);
	memcpy(scene, pool, sizeof *pool);
	progress->doing = "a heap that is not damaged";
	if (sound(&m) || matters(&m, fresh.largest)) {
		complain(seed, "not sound before it was damaged");
		exit(1);
	}
	memcpy(pool, scene, sizeof *pool);
	for (uint64_t n = 0; progress->at < words() * 64; n++) {
		if (n % 512 == 0)
			alarm(SECONDS * 8);
		one_bit(&m, scene, seed, fresh.largest);
	}
	free(scene);
	fflush(stdout);
	exit(0);
}

static void flip_all(uint64_t seed)
{
	static char text[160];
	int status = 1;
	pid_t pid;

	progress->at = 0;
	while (status) {
		fflush(stdout);
		pid = fork();
		if (pid == 0)
			flip_on(seed);
		if (pid == -1 || waitpid(pid, &status, 0) != pid) {
			perror("damage");
			exit(2);
		}
		if (WIFSIGNALED(status)) {
			snprintf(text, sizeof text, "%s ended by signal %d", progress->doing, WTERMSIG(status));
			complain(seed, text);
		} else if (status || progress->bad > REPORTS) {
			progress->bad += !progress->bad;
			return;
		}
	}
}

int main(int argc, char **argv)
{
	unsigned long scenes = argc > 2 ? strtoul(argv[2], NULL, 10) : SCENES;

	for (size_t i = 0; argc > 1 && i < sizeof managers / sizeof *managers; i++)
		if (strcmp(managers[i].name, argv[1]) == 0)
			manager = &managers[i];
	progress = mmap(NULL, sizeof *progress, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (!manager || progress == MAP_FAILED) {
		fprintf(stderr, "usage: damage MANAGER [SCENES]\n");
		return 2;
	}
	every = argc > 2;
	pool = fenced_pool();
	for (uint64_t seed = 1; seed <= scenes && progress->bad <= REPORTS; seed++)
		flip_all(seed);
	for (unsigned i = 0; i < PLACES; i++)
		printf("%s: %s: %llu bits told by check, %llu by the counters, %llu do not matter\n", manager->name,
		       place_name[i], (unsigned long long)progress->count[i][TOLD_BY_CHECK],
		       (unsigned long long)progress->count[i][TOLD_BY_COUNTERS],
		       (unsigned long long)progress->count[i][NO_MATTER]);
	if (progress->bad)
		printf("%s: %u bits are wrong\n", manager->name, progress->bad);
	return progress->bad ? 1 : 0;
}
