/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Configuration: the one layer that reads files and the environment, for mmd and for libmemapi.
 *
 * Strength, weakest first: built-in default < file < choice stored by `mmctl manager set` < environment < command
 * line. A key is one row of keys.def; from it come parsing, error texts, environment names and the manual.
 * Not thread-safe; a struct conf belongs to its caller.
 */
#ifndef CONF_CONF_H
#define CONF_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum conf_from { FROM_DEFAULT, FROM_FILE, FROM_CHOICE, FROM_ENVIRONMENT, FROM_COMMAND_LINE };
/**
 * What an errno means, in English, for a text. Any thread, any moment: strerror() translates, and waits for a lock that
 * a program may hold while it asks us for memory (setlocale).
 */
const char *error_name(int error);

/** "default file choice environment command_line" */
const char *conf_from_name(enum conf_from from);

/** What is wrong: "FILE:LINE: KEY: found, allowed" or the like, one line of printable text, ready for a person. */
struct conf_error { char text[1024]; };

enum { CONF_NAME = 200 };		/* of a manager: a path may be given */
enum { CONF_POOLS = 16 };		/* `default` included */
enum conf_domain { CONF_PKG, CONF_SHM };

/** [pool.NAME], and `default`, which is always the first. */
struct conf_pool {
	char name[49];
	uint64_t size;
	char manager[CONF_NAME];	/* "": as memory.shm.manager */
	unsigned shards;		/* 0: as memory.shm.shards */
	bool keep;
	unsigned on_death;		/* 0 keep, 1 reclaim, 2 quarantine; size and this: memory.shm's unless given */
};

struct conf {
	char file[256];			/* what was read; "": there is none */
	/* one manager a domain, after memory.manager and memory.pkg|shm.manager are weighed by strength */
	struct conf_manager { char name[CONF_NAME]; enum conf_from from; } manager[2];
	uint64_t pkg_size, shm_size;	/* bytes; pkg 0: no limit */
	unsigned shards, pkg_shards, shm_shards;	/* heaps that a pool is made of; 0: as the manager has it */
	char shm_pool[49];		/* "": a pool of the process's own */
	unsigned on_death;
	bool debug;			/* memory.debug: guards */
	unsigned track;			/* 0 off, 1 sites, 2 stacks, 3 sampled */
	uint64_t sample;		/* bytes from one sample to the next, on average */
	bool track_set;			/* by anybody: a debugging manager tracks unless it is */
	bool keep_exited;
	bool magazines;			/* memory.magazines */
	bool safety_abort;		/* memory.safety = report | abort */
	char module_path[256];
	char socket[108], group[32], operators[32], log[16];	/* "": default; log: stderr | syslog */
	char group_place[320], operators_place[320];	/* "FILE:LINE: KEY", of who looks them up */
	unsigned max_connections, max_request, max_depth;	/* control.max_…; max_request in bytes */
	uint64_t max_backlog;		/* bytes of answers that wait, over all clients */
	unsigned idle_timeout;		/* control.idle_timeout, s; 0: never */
	unsigned samples, sample_interval;	/* leaks.samples, leaks.interval (s): evidence "growing" */
	struct conf_pool pool[CONF_POOLS];
	unsigned pools;
};

/** What the command line said; NULL and 0: nothing. Texts are the user's, not yet checked. */
struct conf_options {
	const char *file, *socket;
	const char *shm_manager, *pkg_manager;	/* -x: alone for both; -X */
	const char *shm_mb, *pkg_mb;
	const char *const *keys;		/* "memory.track=sites", …, NULL-terminated, or NULL */
};

/** A question to the program: will this manager do in this domain? */
struct conf_ask {
	const char *name;
	enum conf_domain domain;
	const char *module_path; /* memory.module_path, as it will be when all sources are weighed; name: a module */
	char allowed[256];		/* out: names that would do, "fm qm" */
	char why[640];			/* out: what is wrong, where there is more to say than that; else "" */
};
/** Answers it; given by the caller. */
typedef bool conf_manager_fn(struct conf_ask *ask);

/**
 * conf_load - weigh all sources
 * @opts: or NULL
 * @ok: or NULL: any name will do
 *
 * File: opts->file, else MEMAPI_CONFIG, else $XDG_CONFIG_HOME/memapi/mmd.conf (~/.config), else /etc/memapi/mmd.conf;
 * one that was named must exist. A key memory.a.b has the environment name MEMAPI_A_B (secure_getenv).
 * memory.pkg.manager beats memory.manager of the same source only; a stronger source beats both.
 * Returns 0, or -EINVAL, -ENOENT, … with *ret_error filled and *ret_conf holding the defaults, which a program may go
 * on with. A stored choice that cannot be used is left out, and no failure: the return is 0, and ret_error->text says
 * why; otherwise it is "". Costs three failing open() when nothing is configured, allocates nothing.
 */
int conf_load(const struct conf_options *opts, conf_manager_fn *ok, struct conf *ret_conf,
	      struct conf_error *ret_error);

/** The manager that a build without any configuration uses, where the program has it. */
#define CONF_MANAGER "fm"

/** The stored choice. "": none in that domain. */
struct conf_choice { char name[2][CONF_NAME]; };

/**
 * conf_choice_path - where conf_choice_write() puts it
 *
 * $XDG_STATE_HOME/memapi/choice; when that is not set, for root /var/lib/memapi/choice, for others
 * ~/.local/state/memapi/choice. Returns 0, or -ENOENT: there is no home, -ENAMETOOLONG.
 */
int conf_choice_path(char *ret_path, size_t bytes);

/**
 * conf_choice_read - what conf_choice_write() left
 *
 * Where a user without XDG_STATE_HOME has no file, root's choice counts. No file: 0 and "".
 * -EINVAL: the file is damaged, or another error of open(); *ret_error says so.
 */
int conf_choice_read(struct conf_choice *ret_choice, struct conf_error *ret_error);

/** Written beside, fsync, rename, fsync of the directory: whole or not at all, whenever it is killed. */
int conf_choice_write(const struct conf_choice *choice, struct conf_error *ret_error);

#endif /* CONF_CONF_H */
