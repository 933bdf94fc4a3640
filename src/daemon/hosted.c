/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/hosted.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "daemon/log.h"
#include "daemon/release.h"
#include "mem/host.h"
#include "memapi/memcore.h"

enum { REAP_S = 1, RETRY_S = 10, REAPER_S = 5 };

/* A pool's own manager, or the shared one: as it was at mmd's start, since changes wait for the next. */
static void want(struct daemon *d, unsigned i)
{
	const struct conf_pool *pool = &d->conf.pool[i];
	struct mem_host_wish wish = {
		.name = pool->name,
		.manager = *pool->manager ? pool->manager : d->now[CONF_SHM].name,
		.size = pool->size,
		.shards = pool->shards,
		.keep = pool->keep,
		.on_death = pool->on_death,
		.track_stacks = d->conf.track == OBS_STACKS,
		.debug = d->conf.debug,
		.safety_abort = d->conf.safety_abort,
	};
	char why[512];
	bool failed = mem_host_want(d->host, &wish, why, sizeof why);

	if (failed && !d->pool_failed[i])		/* told once, not with every try */
		log_line(LOG_ERR, "pool %s: %s; tried again every %d s", pool->name, why, RETRY_S);
	d->pool_failed[i] = failed;
}

/* It has mmd's socket and the lock of it: it ends with mmd, or the next one would wait for it. */
static pid_t in_child(void (*work)(void *), void *arg)
{
	static const int signals[] = { SIGTERM, SIGINT, SIGHUP, SIGALRM, SIGCHLD };
	pid_t mmd = getpid(), pid = fork();

	if (pid != 0)
		return pid;
	for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
		signal(signals[i], SIG_DFL);	/* libevent's handlers would tell mmd */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != mmd)
		_exit(0);
	alarm(REAPER_S);
	work(arg);
	_exit(0);
}

int hosted_release_step(struct daemon *d, struct mem_release *r, uint64_t *ret_freed)
{
	return mem_release_step(d->host, r, in_child, ret_freed);
}

static void on_child(evutil_socket_t sig, short what, void *arg)
{
	struct daemon *d = arg;

	(void)sig, (void)what;
	mem_host_bury(d->host);
	release_look_again();
}

static void on_reap(evutil_socket_t fd, short what, void *arg)
{
	struct daemon *d = arg;
	static unsigned turn;

	(void)fd, (void)what;
	(void)mem_host_reap(d->host, in_child);	/* watch.c tells who died, and what came of it */
	release_look_again();
	if (++turn % RETRY_S == 0)
		hosted_configure(d);
}

int hosted_open(struct daemon *d)
{
	static const struct timeval interval = { .tv_sec = REAP_S };
	int error = mem_host_open(&d->host);

	if (error)
		return error;
	/* One that cannot be made is told and tried again: an observer is needed most where memory has run out. */
	for (unsigned i = 0; i < d->conf.pools; i++)
		want(d, i);
	d->reap = event_new(d->base, -1, EV_PERSIST, on_reap, d);
	d->child = evsignal_new(d->base, SIGCHLD, on_child, d);
	return d->reap && d->child && !event_add(d->reap, &interval) && !event_add(d->child, NULL) ? 0 : -ENOMEM;
}

void hosted_close(struct daemon *d)
{
	if (d->reap)
		event_free(d->reap);
	if (d->child)
		event_free(d->child);
	if (d->host)
		d->restart ? mem_host_leave(d->host) : mem_host_close(d->host);
	d->reap = d->child = NULL;
	d->host = NULL;
}

/* Is there a pool of this name that takes newcomers? */
static bool is_hosted(const struct daemon *d, const char *name)
{
	struct mem_host_pool pool;

	for (size_t i = 0; mem_host_at(d->host, i, &pool); i++)
		if (!pool.draining && !strcmp(pool.name, name))
			return true;
	return false;
}

void hosted_configure(struct daemon *d)
{
	for (unsigned i = 0; i < d->conf.pools; i++)
		if (!is_hosted(d, d->conf.pool[i].name))
			want(d, i);
}

/* ---- what holds a change back ---- */

/* As META has it: an alias and the path of a module are other names for it. */
static const char *proper_name(const struct conf *conf, const char *name)
{
	const struct mem_manager *m = mem_module_named(name) ? mem_module_find(name, conf->module_path, NULL, 0) :
							       mem_manager_find(name);

	return m ? m->name : name;
}

/* The manager that a pool would get from this configuration; NULL: it is not in it. */
static const char *wished(const struct conf *conf, const char *name)
{
	for (unsigned i = 0; i < conf->pools; i++)
		if (!strcmp(conf->pool[i].name, name))
			return *conf->pool[i].manager ? conf->pool[i].manager : conf->manager[CONF_SHM].name;
	return NULL;
}

static bool holds(const struct conf *next, const struct mem_host_pool *pool)
{
	const char *manager = wished(next, pool->name);

	return !pool->draining && pool->keep && manager && strcmp(proper_name(next, manager), pool->manager) != 0;
}

void hosted_holders(const struct daemon *d, const struct conf *next, char *text, size_t bytes)
{
	struct mem_host_pool pool;

	for (size_t i = 0; mem_host_at(d->host, i, &pool); i++)
		if (holds(next, &pool)) {
			size_t len = strlen(text);

			snprintf(text + len, bytes - len, "%spool %s (keep)", len ? ", " : "", pool.name);
		}
}

void hosted_held_back(const struct daemon *d, const struct obs_info *info, char *text, size_t bytes)
{
	struct mem_host_pool pool;

	*text = 0;
	for (size_t i = 0; info->hosted && mem_host_at(d->host, i, &pool); i++)
		if (!strcmp(pool.name, info->name) && pool.incarnation == info->incarnation && pool.held_back)
			snprintf(text, bytes, "%s", pool.held_back);
}
