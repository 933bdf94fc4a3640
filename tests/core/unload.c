/* SPDX-License-Identifier: BSD-2-Clause */
/* A library that was linked to memapi is closed; a thread that allocated goes on, and ends, without a fall. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>

static void *lib;
static pthread_barrier_t step;

static void *allocate(void *arg)
{
	void *(*get)(size_t, void *) = (void *(*)(size_t, void *))dlsym(lib, "mem_pkg_malloc");
	void *p = get ? get(100, NULL) : NULL;

	(void)arg;
	pthread_barrier_wait(&step);	/* it is closed in between */
	pthread_barrier_wait(&step);
	return p;
}

int main(int argc, char **argv)
{
	pthread_t thread;
	void *p;

	lib = argc > 1 ? dlopen(argv[1], RTLD_NOW) : NULL;
	if (!lib) {
		fprintf(stderr, "usage: unload LIBRARY; %s\n", argc > 1 ? dlerror() : "");
		return 2;
	}
	pthread_barrier_init(&step, NULL, 2);
	if (pthread_create(&thread, NULL, allocate, NULL))
		return 1;
	pthread_barrier_wait(&step);
	dlclose(lib);
	pthread_barrier_wait(&step);
	pthread_join(thread, &p);
	if (!p)
		return 1;
	puts("unload: the thread ended after its library was closed");
	return 0;
}
