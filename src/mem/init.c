/* SPDX-License-Identifier: BSD-2-Clause */
#include "mem/init.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mem/base/compiler.h"
#include "mem/front/front.h"
#include "mem/meta/process.h"
#include "mem/pkg.h"

enum { KEYS_MAX = 64 };

static pthread_mutex_t setup = PTHREAD_MUTEX_INITIALIZER;
static _Atomic uint64_t setup_epoch;	/* of the process that `setup` belongs to, 0: of the first one */
static struct conf conf;
static _Atomic bool conf_ready;
static _Thread_local char error_text[1200] __attribute__((tls_model("initial-exec")));
static char first_error[1200];

/* By this thread. Initial-exec: where our malloc serves the program, asking for it must not allocate. */
static _Thread_local bool inside __attribute__((tls_model("initial-exec")));

/* In a child of _Fork or raw clone the holder may be a thread that is not here: it has one thread, and begins anew. */
void mem_setup_lock(void)
{
	uint64_t epoch = atomic_load_explicit(&setup_epoch, memory_order_acquire);

	if (epoch && epoch != *epoch_word)
		setup = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
	inside = true; /* before: a signal handler that interrupts us here does not come back to the lock */
	atomic_signal_fence(memory_order_seq_cst);
	pthread_mutex_lock(&setup);
	if (!*epoch_word)
		epoch_renew();
	/* release: who sees it sees the epoch's word, too. Pairs with the load above. */
	atomic_store_explicit(&setup_epoch, *epoch_word, memory_order_release);
}

void mem_setup_unlock(void)
{
	pthread_mutex_unlock(&setup);
	inside = false;			/* last: a signal handler that sees it may take the lock */
}

bool mem_setup_inside(void) { return inside; }

/* ---- what went wrong ---- */

void mem_set_error(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(error_text, sizeof error_text, format, args);
	va_end(args);
	if (!first_error[0])
		memcpy(first_error, error_text, sizeof first_error);
}

const char *memapi_error(void) { return error_text[0] ? error_text : first_error; }

void mem_notice(const char *format, ...)
{
	static bool told;
	char line[1300];
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(line, sizeof line - 1, format, args);
	va_end(args);
	if (n <= 0 || told)
		return;
	told = true;
	n = n < (int)sizeof line - 1 ? n : (int)sizeof line - 2;
	line[n] = '\n';
	if (write(STDERR_FILENO, line, (size_t)n + 1) == -1)
		return; /* then nobody wants to know */
}

/* ---- managers by name ---- */

static bool manager_ok(struct conf_ask *ask)
{
	unsigned domain = ask->domain == CONF_SHM ? MEM_SHM : MEM_PKG;

	if (mem_manager_choose(ask->name, domain, ask->module_path, ask->why, sizeof ask->why))
		return true;
	if (domain == MEM_SHM && &mem_pkg_alone &&
	    mem_manager_choose(ask->name, MEM_PKG, ask->module_path, ask->why, sizeof ask->why))
		return true;
	mem_manager_names(domain, ask->allowed, sizeof ask->allowed);
	return false;
}

int mem_choose_manager(const char *name, unsigned domain, const struct mem_manager **ret_manager)
{
	const char *path = mem_module_named(name) ? mem_conf()->module_path : "";
	char names[256], why[640];
	const struct mem_manager *m = mem_manager_choose(name, domain, path, why, sizeof why);

	if (m) {
		*ret_manager = m;
		return 0;
	}
	mem_manager_names(domain, names, sizeof names);
	mem_set_error("%s: no such manager for %s%s%s%s%s; available: %s", name, domain == MEM_SHM ? "shm" : "pkg",
		      *why ? ": " : "", why, *mem_managers_left_out() ? ", left out of this build: " : "",
		      mem_managers_left_out(), names);
	return -ENOENT;
}

/* ---- configuration ---- */

static int load(const struct conf_options *opts)
{
	struct conf_error error = { "" };
	int rc = conf_load(opts, manager_ok, &conf, &error);

	/* release: who sees it reads what was loaded. Pairs with the load in mem_conf(). */
	atomic_store_explicit(&conf_ready, true, memory_order_release);
	if (rc)
		mem_set_error("%s", error.text);
	return rc;
}

const struct conf *mem_conf(void)
{
	bool outside = !inside;

	if (LIKELY(atomic_load_explicit(&conf_ready, memory_order_acquire)))
		return &conf;
	if (outside)
		mem_setup_lock();
	if (!atomic_load_explicit(&conf_ready, memory_order_relaxed) && load(NULL))
		mem_notice("memapi: %s; going on with defaults", memapi_error());
	if (outside)
		mem_setup_unlock();
	return &conf;
}

uint64_t mem_features(const struct mem_manager_ops *ops, unsigned domain)
{
	const struct conf *c = mem_conf();
	bool debugs = ops->flags & MEM_DEBUGS;
	uint64_t features = 0;

	if (c->track == 2)
		features |= FEATURE_STACKS | FEATURE_SITES;
	else if (c->track == 1 || domain == MEM_SHM || (debugs && !c->track_set))
		features |= FEATURE_SITES;
	else if (c->track == 3 && !(ops->flags & MEM_OWN_MEMORY))
		features |= FEATURE_SAMPLED;
	if (features & FEATURE_SITES && (c->debug || debugs))
		features |= FEATURE_GUARDS;
	if (c->safety_abort)
		features |= FEATURE_ABORT;
	if (!c->magazines)
		features |= FEATURE_NO_MAGAZINES;
	return domain == MEM_PKG && !mem_can_track(ops) ? features & FEATURES_ALWAYS : features;
}

unsigned mem_shards(unsigned wish, unsigned domain, const struct mem_manager *manager)
{
	const struct conf *c = mem_conf();
	unsigned for_domain = domain == MEM_SHM ? c->shm_shards : c->pkg_shards;
	unsigned shards = wish ? wish : for_domain ? for_domain : c->shards ? c->shards : manager->shards;

	return shards && !(manager->pkg && manager->pkg->flags & MEM_OWN_MEMORY) ? shards : 1;
}

/* One option's value: "-xqm" or "-x qm". Takes it out of argv. */
static const char *take(int *argc, char **argv, int *i)
{
	int words = argv[*i][2] ? 1 : 2;
	const char *value = words == 1 ? argv[*i] + 2 : *i + 1 < *argc ? argv[*i + 1] : NULL;

	if (!value)
		return NULL;
	memmove(argv + *i, argv + *i + words, (size_t)(*argc - *i - words + 1) * sizeof *argv);
	*argc -= words;
	--*i;
	return value;
}

static int take_options(int *argc, char **argv, struct conf_options *opts, const char **keys)
{
	unsigned count = 0;

	for (int i = 1; i < *argc; i++) {
		const char **to = NULL;

		if (strcmp(argv[i], "--") == 0)
			break;
		if (strncmp(argv[i], "--memory.", 9) == 0) {
			if (count == KEYS_MAX) {
				mem_set_error("%s: more than %d keys on the command line", argv[i], KEYS_MAX);
				return -EINVAL;
			}
			keys[count++] = argv[i] + 2;
			memmove(argv + i, argv + i + 1, (size_t)(*argc - i) * sizeof *argv);
			--*argc, --i;
			continue;
		}
		if (argv[i][0] != '-' || !argv[i][1])
			continue;
		to = argv[i][1] == 'x'	 ? &opts->shm_manager
		     : argv[i][1] == 'X' ? &opts->pkg_manager
		     : argv[i][1] == 'm' ? &opts->shm_mb
		     : argv[i][1] == 'M' ? &opts->pkg_mb
					 : NULL;
		if (to && !(*to = take(argc, argv, &i))) {
			mem_set_error("%s: a value is missing", argv[i]);
			return -EINVAL;
		}
	}
	return 0;
}

int memapi_init(int *argc, char **argv)
{
	static const char *keys[KEYS_MAX + 1];
	struct conf_options opts = { .keys = keys };
	int rc = argc ? take_options(argc, argv, &opts, keys) : 0;

	if (rc)
		return rc;
	mem_setup_lock();
	rc = load(&opts);
	mem_setup_unlock();
	return rc;
}

/* ---- fork and exit ---- */

/*
 * By this thread, for fork(). Not when a signal handler forks that has interrupted it in the set-up or in a call: it
 * may have the locks, or be what another's fork waits for. Then it is as by _Fork().
 */
static _Thread_local bool held_for_fork __attribute__((tls_model("initial-exec")));

static void before_fork(void)
{
	if (inside || mem_pkg_inside())
		return;
	mem_setup_lock();
	held_for_fork = true;
	mem_pkg_before_fork();
}

static void in_parent(void)
{
	if (!held_for_fork)
		return;
	mem_pkg_after_fork(false);
	held_for_fork = false;
	mem_setup_unlock();
}

static void in_child(void)
{
	bool held = held_for_fork;

	epoch_renew();			/* where the kernel does not wipe its page; else this is once more */
	mem_pkg_after_fork(true);
	mem_shm_after_fork();
	setup = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
	held_for_fork = false;
	if (held)			/* else it comes back to the set-up that it was in */
		inside = false;
	atomic_store_explicit(&setup_epoch, *epoch_word, memory_order_relaxed); /* the child has one thread */
	if (!held && pkg_front_waits())	/* and comes back to wait for one that is not here */
		mem_pkg_get_ready();
}

/* Not false: beside other data that the loader stores to, so that a program that only loads us asks for no page more.
 */
static bool unused = true;

void mem_register_handlers(void)
{
	if (unused)
		pthread_atfork(before_fork, in_parent, in_child);
	unused = false;
}

__attribute__((destructor)) static void at_exit(void)
{
	if (unused)
		return;
	mem_shm_at_exit();
	mem_pkg_at_exit();
}

void memapi_on_fault(void (*fn)(const struct mem_fault_report *report)) { front_fault_handler = fn; }
