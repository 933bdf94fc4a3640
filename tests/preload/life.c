/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A program's life: memory before main(), from many threads that hand it on, while others fork, exec, load libraries
 * and end, and after exit() began.
 */
#include "life.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>

#include "heap.h"

enum { THREADS = 4, HANDED = 30000, QUEUE = 64, FORKS = 40 };

/* ---- producers and consumers: what one allocates another frees ---- */

static struct queue {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	unsigned char *at[QUEUE];
	unsigned from, to;
} queue = { .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };
static int wrong;

static void put(unsigned char *p)
{
	pthread_mutex_lock(&queue.lock);
	while (queue.to - queue.from == QUEUE)
		pthread_cond_wait(&queue.changed, &queue.lock);
	queue.at[queue.to++ % QUEUE] = p;
	pthread_cond_broadcast(&queue.changed);
	pthread_mutex_unlock(&queue.lock);
}

static unsigned char *get(void)
{
	unsigned char *p;

	pthread_mutex_lock(&queue.lock);
	while (queue.to == queue.from)
		pthread_cond_wait(&queue.changed, &queue.lock);
	p = queue.at[queue.from++ % QUEUE];
	pthread_cond_broadcast(&queue.changed);
	pthread_mutex_unlock(&queue.lock);
	return p;
}

/* Bytes 0 to 3: its size; then the same byte again and again. */
static void *produce(void *arg)
{
	unsigned seed = (unsigned)(uintptr_t)arg;

	for (unsigned i = 0; i < HANDED; i++) {
		unsigned size = 5 + (unsigned)rand_r(&seed) % (i % 100 ? 300 : 30000);
		unsigned char *p = i % 3 ? malloc(size) : calloc(1, size);

		if (i % 3 == 0)
			for (unsigned b = 0; b < size; b++)
				wrong |= p[b] != 0;
		memset(p + 4, (int)size, size - 4);
		memcpy(p, &size, 4);
		if (i % 5 == 0)
			p = realloc(p, size + size / 2);
		put(p);
	}
	put(NULL);
	return NULL;
}

static void *consume(void *arg)
{
	unsigned char *p;
	unsigned size;

	(void)arg;
	while ((p = get())) {
		memcpy(&size, p, 4);
		for (unsigned i = 4; i < size; i++)
			wrong |= p[i] != (unsigned char)size;
		free(p);
	}
	return NULL;
}

/* ---- others ---- */

static volatile int stop;

/* Each new thread, and each of its TLS destructors, comes and goes with the heap in use. */
static void *short_life(void *arg)
{
	static __thread char *mine;

	mine = malloc(77);
	*local() += 1;
	free(mine);
	return arg;
}

static void *make_threads(void *arg)
{
	pthread_t t;

	while (!stop)
		if (pthread_create(&t, NULL, short_life, NULL) == 0)
			pthread_join(t, NULL);
	return arg;
}

static void *load_libraries(void *arg)
{
	while (!stop) {
		void *library = dlopen("libcrypt.so.1", RTLD_NOW), *other = dlopen("libm.so.6", RTLD_LAZY);

		if (!other || !dlsym(other, "cos") || dlopen("/nonexistent.so", RTLD_NOW) || !dlerror())
			wrong = 1;
		if (library)
			dlclose(library);
		if (other)
			dlclose(other);
	}
	return arg;
}

static int in_child(void)
{
	char *p[200];

	for (unsigned i = 0; i < 200; i++) {
		p[i] = malloc(i * 50);
		if (!p[i] || !on_heap(p[i]))
			return 1;
		memset(p[i], 1, i * 50);
	}
	for (unsigned i = 0; i < 200; i++)
		free(p[i]);
	free(moments[1]);		/* its parent's */
	moments[1] = NULL;
	return 0;
}

static void *fork_children(void *arg)
{
	char *program[] = { "true", NULL }, *environment[] = { NULL };

	for (unsigned i = 0; i < FORKS; i++) {
		int status = 1;
		pid_t pid = i % 4 == 3 ? -1 : fork();

		if (pid == 0) {
			alarm(20);
			_exit(i % 4 == 2 ? (execlp("true", "true", (char *)NULL), 1) : in_child());
		}
		if (pid == -1 && posix_spawnp(&pid, "true", NULL, NULL, program, environment))
			perror("posix_spawnp");
		if (waitpid(pid, &status, 0) != pid || status) {
			fprintf(stderr, "child %u: status %#x\n", i, (unsigned)status);
			wrong = 1;
		}
	}
	stop = 1;
	return arg;
}

/* ---- the end ---- */

static void at_exit(void)
{
	char *p = malloc(100000);

	if (!p || !on_heap(moments[3]))
		_exit(3);
	free(p);
	free(moments[3]);
	moments[3] = malloc(10);	/* the library's destructor frees it, after ours has run */
}

int main(void)
{
	pthread_t t[THREADS * 2 + 3];
	unsigned n = 0;

	CHECK(moments[0] && moments[0][0] == 'r' && moments[0][39] == 'r');
	moments[0] = realloc(moments[0], 4000);
	CHECK(moments[0] && moments[0][39] == 'r' && on_heap(moments[0]));
	CHECK(on_heap(moments[1]) && !strcmp(moments[1], "constructor") && !resolved());
	moments[3] = malloc(10);
	atexit(at_exit);
	for (; n < THREADS; n++)
		pthread_create(&t[n], NULL, produce, (void *)(uintptr_t)(n + 1));
	for (; n < 2 * THREADS; n++)
		pthread_create(&t[n], NULL, consume, NULL);
	pthread_create(&t[n++], NULL, make_threads, NULL);
	pthread_create(&t[n++], NULL, load_libraries, NULL);
	pthread_create(&t[n++], NULL, fork_children, NULL);
	while (n--)
		pthread_join(t[n], NULL);
	CHECK(!wrong);
	return faults;
}
