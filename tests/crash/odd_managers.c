/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the manager ABI allows and none of our managers does: a free that commits on its way, as examples/module/stack.c
 * has it. The operations of one of ours are changed in the process that shall meet such a manager.
 *
 * Usage: odd_managers MANAGER. Exit status 0, or 1 with the line.
 */
#define MEM_DOMAIN_SHM 1

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "expect.h"
#include "mem/front/slot_magazine.h"
#include "mem/shm.h"

static struct mem_manager_ops odd;
static void (*really_free)(struct mem_heap *h, void *ptr);

static struct pool *pool(void)
{
	struct owner *o;

	EXPECT(mem_shm_ready(&o));
	return &mem_shm_pools[0];
}

static void change(struct pool *p)
{
	odd = *p->ops;
	really_free = odd.free;
	p->ops = &odd;
}

static void child(void (*what)(struct pool *p))
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		EXPECT(shm_malloc(200));
		what(pool());
		_exit(0);
	}
	EXPECT(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static uint64_t *chain(const struct pool *p, size_t size)
{
	return chain_of(mem_shm_self.owner.magazines, over_for(p, size));
}

/* ---- a free that commits ---- */

/* A fragment has left its chain, and nobody has it yet. */
static void die_with_one_on_its_way(struct pool *p)
{
	uint64_t *of = chain(p, 200), word = *of;

	EXPECT(MAGAZINE_COUNT(word));
	mem_shm_self.owner.magazines->op = word;	/* OP_ALLOC */
	*of = RECORD_CHAIN(p->records[MAGAZINE_HEAD(word)].time);
	raise(SIGKILL);
}

static void free_commit_and_die(struct mem_heap *h, void *ptr)
{
	really_free(h, ptr);
	HEAP_COMMIT(h);
	raise(SIGKILL);
}

static void die_repairing(struct pool *p)
{
	change(p);
	odd.free = free_commit_and_die;
	shm_reap();
}

static void who_repairs_next_frees_nothing_of_the_living(void)
{
	unsigned char *live;

	child(die_with_one_on_its_way);
	child(die_repairing);
	live = shm_malloc(700);			/* has the record that was given back */
	EXPECT(live);
	memset(live, 7, 700);
	shm_reap();
	EXPECT(shm_usable(live) >= 700 && live[0] == 7 && live[699] == 7);
	shm_free(live);
}

int main(int argc, char **argv)
{
	setenv("MEMAPI_MAGAZINES", "yes", 1);
	setenv("MEMAPI_DEBUG", "no", 1);
	if (argc < 2 || shm_init_manager(argv[1])) {
		fprintf(stderr, "usage: odd_managers MANAGER; %s\n", memapi_error());
		return 2;
	}
	EXPECT(shm_malloc(64));
	if (!pool()->magazine_most) {
		puts("odd_managers: no magazines in front of this manager");
		return 0;
	}
	who_repairs_next_frees_nothing_of_the_living();
	puts("odd_managers: nothing of the living was freed");
	return 0;
}
