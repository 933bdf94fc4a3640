/* SPDX-License-Identifier: BSD-2-Clause */
/* Who takes a fragment over, with xsetfunc, is the one that `leaks` names: the registrar's retire() rests on it. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "memapi/memapi.h"
#include "memapi/observe.h"

struct finding { uint64_t address; struct obs_pool *pool; int64_t pid; uint64_t line; };

static bool look(const struct obs_fragment *f, void *arg)
{
	struct finding *found = arg;
	struct obs_owner owner;
	struct obs_site site;

	if (f->address != found->address)
		return true;
	obs_owner(found->pool, f->slot, &owner);
	obs_site(found->pool, f->site, &site);
	found->pid = owner.pid;
	found->line = site.line;
	return false;
}

static struct finding find(const void *p)
{
	struct finding found = { .address = (uintptr_t)p };
	struct obs *o;
	uint64_t cursor = 0;

	cr_assert_eq(obs_open(NULL, &o), 0);
	cr_assert_eq(obs_scan(o, NULL, NULL), 0);
	for (size_t i = 0; (found.pool = obs_at(o, i)) && !found.pid; i++)
		if (obs_info(found.pool)->domain == OBS_SHM)
			cr_assert_eq(obs_records(found.pool, &cursor, UINT64_MAX, look, &found), 0);
	obs_close(o);
	return found;
}

Test(owner, who_takes_a_fragment_over_owns_it, .timeout = 20)
{
	char directory[] = "/tmp/owner-test-XXXXXX";
	const sr_shm_api_t *api;
	uint64_t line;
	void **box;
	pid_t child;
	int status;

	cr_assert_not_null(mkdtemp(directory));
	setenv("MEMAPI_REGISTRY", directory, 1);
	box = mem_shm_mallocxz(sizeof *box, MEM_SITE);
	cr_assert_not_null(box);
	child = fork();
	if (!child) {
		*box = mem_shm_malloc(100, MEM_SITE);
		_exit(*box == NULL);
	}
	cr_assert_eq(waitpid(child, &status, 0), child);
	cr_assert_eq(status, 0);
	cr_assert_eq(find(*box).pid, child);
	api = shm_api();
	api->xsetfunc(api->mem_block, *box, MEM_SITE);
	line = __LINE__ - 1;
	cr_assert_eq(find(*box).pid, getpid());
	cr_assert_eq(find(*box).line, line);
	shm_free(*box);
	shm_free(box);
	rmdir(directory);
}
