/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A shared pool of four heaps behaves as one: all of its memory can be had through any thread, a fragment can be freed
 * and grown from everywhere, the lock is one lock, and nothing of a killed user's is lost.
 *
 * The program starts itself again for the other side: shards MANAGER fill|die|others.
 */
#include <errno.h>
#include <memapi/memapi.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define EXPECT(x)										\
	do {											\
		if (!(x)) {									\
			fprintf(stderr, "%s:%d: not true: %s (errno %s; %s)\n", __FILE__, __LINE__, #x,	\
				strerror(errno), memapi_error());				\
			exit(1);								\
		}										\
	} while (0)

enum { SHARDS = 4, CHILDREN = 8, CALLS = 20000, MOST = 400000 };
#define SIZE (16ull << 20)
static const char pool_name[] = "shards-test";

extern char **environ;

static int run(const char *self, const char *manager, const char *role)
{
	char *argv[] = { (char *)(uintptr_t)self, (char *)(uintptr_t)manager, (char *)(uintptr_t)role, NULL };
	int status;
	pid_t pid;

	EXPECT(posix_spawn(&pid, self, NULL, NULL, argv, environ) == 0);
	EXPECT(waitpid(pid, &status, 0) == pid);
	return status;
}

static struct mem_info now(void)
{
	struct mem_info info;

	shm_info(&info);
	return info;
}

static uint64_t largest_free(void)
{
	struct mem_report r;

	shm_api()->xreport((void *)shm_api()->mem_block, &r);
	return r.max_free_frag.size;
}

/* ---- one process ---- */

static void all_of_it_can_be_had_by_one_thread(void)
{
	static void *held[MOST];
	uint64_t before = now().used_size;
	size_t n = 0;

	while (n < MOST && (held[n] = shm_malloc(1000)))
		n++;
	EXPECT(errno == ENOMEM);
	EXPECT(n * 1000 > SIZE - SIZE / 10);		/* more than one shard has */
	EXPECT(now().used_size - before >= n * 1000);
	for (size_t i = 0; i < n; i++)
		shm_free(held[i]);
	EXPECT(now().used_size == before);
	EXPECT((held[0] = shm_malloc(SIZE / SHARDS / 2)));	/* in one piece again */
	shm_free(held[0]);
}

/* A fragment whose shard is full moves to another when it grows; its bytes come with it. */
static void grows_beyond_its_shard(void)
{
	static char *filler[MOST];
	size_t n = 0, size = 1000;
	char *p = shm_malloc(size), *grown;

	memset(p, 7, size);
	while (n < SIZE / SHARDS / 40000 && (filler[n] = shm_malloc(40000)))
		n++;
	grown = shm_realloc(p, SIZE / SHARDS / 2);
	EXPECT(grown);
	EXPECT((uintptr_t)grown / (1ull << 30) != (uintptr_t)p / (1ull << 30));
	for (size_t i = 0; i < size; i++)
		EXPECT(grown[i] == 7);
	EXPECT(shm_usable(grown) >= SIZE / SHARDS / 2);
	EXPECT(!shm_realloc(grown, 2 * SIZE) && errno == ENOMEM && grown[size - 1] == 7);
	EXPECT(!shm_reallocxf(grown, 2 * SIZE));	/* and that freed it */
	while (n)
		shm_free(filler[--n]);
}

static void count_fragment(struct mem_counter **list, uint64_t *ret_count)
{
	for (const struct mem_counter *c = *list; c; c = c->next)
		*ret_count += c->count;
}

static bool see(const struct mem_fragment *f, void *arg)
{
	*(uint64_t *)arg += f->used;
	return true;
}

static void reports_tell_of_all(uint64_t fragments)
{
	const sr_shm_api_t *api = shm_api();
	uint64_t walked = 0, summed = 0;
	struct mem_counter *list;

	EXPECT(api->xwalk((void *)api->mem_block, see, &walked) == 0 && walked == fragments);
	api->xmodstats((void *)api->mem_block, &list);
	count_fragment(&list, &summed);
	api->xfmodstats(list);
	EXPECT(summed == fragments);
}

static void the_lock_is_one_lock(void)
{
	void *p;

	shm_lock();
	EXPECT(!shm_malloc(100) && errno == EDEADLK);
	EXPECT((p = shm_malloc_unsafe(100)));
	shm_free_unsafe(p);
	shm_unlock();
	EXPECT((p = shm_malloc(100)));
	EXPECT(!shm_resize(p, 3 * SIZE));
	EXPECT((p = shm_resize(NULL, 100)));
	shm_free(p);
}

/* ---- several ---- */

struct table { struct mem_lock lock; void *left[CHILDREN]; uint64_t turns; };

static void work(struct table *t, unsigned k)
{
	uint64_t seed = k + 1;
	void *held[64] = { 0 };

	for (unsigned i = 0; i < CALLS; i++) {
		void **p = &held[(seed = seed * 6364136223846793005u + 1442695040888963407u) >> 58];

		shm_free(*p);
		*p = shm_malloc(16 + (seed >> 40) % 500);
	}
	for (unsigned i = 0; i < 64; i++)
		shm_free(held[i]);
	EXPECT(mem_lock_acquire(&t->lock) == 0);
	t->left[k] = shm_malloc(100);
	t->turns++;
	EXPECT(mem_lock_release(&t->lock) == 0);
}

/* Each child prefers another shard; what they leave is freed by us, in whichever it lies. */
static void children_share_it(struct table *t)
{
	uint64_t used = now().used_size;
	unsigned places = 0;

	for (unsigned k = 0; k < CHILDREN; k++)
		if (fork() == 0) {
			work(t, k);
			_exit(0);
		}
	for (int status; wait(&status) > 0; )
		EXPECT(status == 0);
	EXPECT(t->turns == CHILDREN);
	for (unsigned k = 0; k < CHILDREN; k++) {
		bool seen = false;

		for (unsigned i = 0; i < k; i++)
			seen |= (uintptr_t)t->left[i] / SIZE == (uintptr_t)t->left[k] / SIZE;
		places += !seen;
	}
	EXPECT(places > 1);
	for (unsigned k = 0; k < CHILDREN; k++)
		shm_free(t->left[k]);
	EXPECT(now().used_size == used);
}

static void die_at_work(void)
{
	struct table *t;

	EXPECT(shm_attach(pool_name) == 0 && (t = shm_root_get("table")));
	if (fork() == 0) {
		work(t, 0);
		raise(SIGKILL);
	}
	wait(NULL);
	shm_lock();
	raise(SIGKILL);
}

static void others(void)
{
	struct table *t;
	struct mem_info info;

	EXPECT(shm_attach(pool_name) == 0 && (t = shm_root_get("table")));
	info = now();
	EXPECT(info.total_size == SIZE);
	for (unsigned i = 0; i < 1000; i++)
		shm_free(shm_malloc(i));
	EXPECT(now().used_size == info.used_size);
}

static void path_of(char *path, size_t bytes, unsigned incarnation, unsigned k)
{
	int len = snprintf(path, bytes, "%s/shm-%s-%u", getenv("MEMAPI_REGISTRY"), pool_name, incarnation);

	if (k)
		snprintf(path + len, bytes - (size_t)len, "+%u", k);
}

static void files(const char *self, const char *manager)
{
	unsigned incarnation = 1;
	char path[600];

	do		/* an earlier test that failed may have left its own */
		path_of(path, sizeof path, incarnation++, 0);
	while (access(path, F_OK) == -1 && incarnation < 1000);
	for (unsigned k = 0; k < SHARDS; k++) {
		path_of(path, sizeof path, incarnation - 1, k);
		EXPECT(access(path, F_OK) == 0);
	}
	EXPECT(run(self, manager, "others") == 0);
	path_of(path, sizeof path, incarnation - 1, 2);
	EXPECT(unlink(path) == 0);			/* not whole any more: nobody attaches, those inside go on */
	EXPECT(run(self, manager, "others") == 1 << 8);
	shm_free(shm_malloc(10));
}

int main(int argc, char **argv)
{
	struct table *t;
	uint64_t free_before;

	if (argc < 2)
		return 2;
	if (argc > 2) {
		strcmp(argv[2], "die") == 0 ? die_at_work() : others();
		return 0;
	}
	setenv("MEMAPI_MANAGER", argv[1], 1);
	setenv("MEMAPI_SHARDS", "4", 1);
	EXPECT(shm_create(pool_name, SIZE) == 0);
	EXPECT((t = shm_mallocxz(sizeof *t)) && shm_root_set("table", t) == 0);
	free_before = largest_free();
	all_of_it_can_be_had_by_one_thread();
	grows_beyond_its_shard();
	the_lock_is_one_lock();
	children_share_it(t);
	reports_tell_of_all(1);
	EXPECT(WTERMSIG(run(argv[0], argv[1], "die")) == SIGKILL);
	for (unsigned i = 0; i < 1000; i++)		/* takes each lock from the dead */
		shm_free(shm_malloc(i));
	shm_free(t->left[0]);
	all_of_it_can_be_had_by_one_thread();
	reports_tell_of_all(1);
	EXPECT(largest_free() >= free_before);
	files(argv[0], argv[1]);
	puts("shards: four heaps behave as one");
	return 0;
}
