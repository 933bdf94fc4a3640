/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The sources in the order of their strength; each later one overwrites what it knows of.
 *
 *	default < file < choice < environment < command line
 *
 * Managers alone do not simply overwrite: memory.pkg.manager of a file must win over memory.manager behind it, and
 * lose against memory.manager of the environment. So each domain remembers the rank, source * 2 + specific, of what
 * it has, and takes what ranks as high or higher.
 *
 * Invariant: whatever fails, the caller has the defaults, every text of them ended by 0.
 */
#include "conf/conf.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conf/file.h"
#include "conf/keys.h"

enum { KEYS_MAX = 64, POOL_KEYS_MAX = 8 };	/* a test tells when a row is too many */
enum { UNSET = ~0u };			/* a pool's on_death, until it is known */

struct load {
	struct conf *conf;
	conf_manager_fn *ok;
	struct conf_error *error;
	enum conf_from from;
	unsigned rank[2];		/* of conf->manager */
	uint16_t seen[KEYS_MAX];	/* line where the file gave a key, 0: not yet */
	uint16_t pool_seen[CONF_POOLS][POOL_KEYS_MAX];
	const struct conf_options *opts;
	bool module_path_known;
	char module_path[sizeof((struct conf *)0)->module_path];
};

static const char *const domain_name[] = { "pkg", "shm" };

const char *conf_from_name(enum conf_from from)
{
	static const char *const name[] = { "default", "file", "choice", "environment", "command_line" };

	return name[from];
}

const char *error_name(int error)
{
	const char *text = strerrordesc_np(error);

	return text ? text : "an unknown error";
}

/** Where modules are looked for: a stronger source, or a later line, may say it after a module was named. */
static const char *module_path(struct load *l, const char *name)
{
	struct conf_error ignored;
	struct conf whole;

	if (!l->module_path_known && (strchr(name, ':') || strchr(name, '/'))) {
		conf_load(l->opts, NULL, &whole, &ignored);	/* what is wrong with it we find, too */
		memcpy(l->module_path, whole.module_path, sizeof l->module_path);
		l->module_path_known = true;
	}
	return l->module_path;
}

/** Whether the program has such a manager; if not, says what it has. */
static int check_manager(struct load *l, const char *place, const char *name, enum conf_domain domain)
{
	struct conf_ask ask = { .name = name, .domain = domain };
	char list[320], allowed[1000];
	bool known = true;

	if (l->ok) {
		ask.module_path = module_path(l, name);
		known = l->ok(&ask);
	}
	if (known && *name && strlen(name) < sizeof l->conf->manager[0].name)
		return 0;
	if (*ask.allowed)
		snprintf(allowed, sizeof allowed, "for %s %s%s%s", domain_name[domain],
			 words_text(ask.allowed, list, sizeof list), *ask.why ? "; " : "", ask.why);
	else
		snprintf(allowed, sizeof allowed, "the name of a manager for %s, at most %zu bytes",
			 domain_name[domain], sizeof l->conf->manager[0].name - 1);
	return key_refuse(l->error, place, name, allowed);
}

static int set_manager(struct load *l, const char *place, const char *name, uint64_t domains)
{
	bool specific = domains != (1u << CONF_PKG | 1u << CONF_SHM);
	unsigned rank = (unsigned)l->from * 2 + specific;

	for (unsigned d = CONF_PKG; d <= CONF_SHM; d++)
		if (domains >> d & 1 && check_manager(l, place, name, d))
			return -EINVAL;
	for (unsigned d = CONF_PKG; d <= CONF_SHM; d++)
		if (domains >> d & 1 && rank >= l->rank[d]) {
			snprintf(l->conf->manager[d].name, sizeof l->conf->manager[d].name, "%s", name);
			l->conf->manager[d].from = l->from;
			l->rank[d] = rank;
		}
	return 0;
}

static int set_key(struct load *l, const struct conf_key *k, const char *place, const char *text)
{
	char allowed[256];

	if (k->type == KEY_MANAGER)
		return set_manager(l, place, text, k->min);
	if (!key_store(k, l->conf, text))
		return key_refuse(l->error, place, text, key_allowed(k, allowed, sizeof allowed));
	if (k->offset == offsetof(struct conf, track) && l->from != FROM_DEFAULT)
		l->conf->track_set = true;
	if (k->offset == offsetof(struct conf, group))
		snprintf(l->conf->group_place, sizeof l->conf->group_place, "%s", place);
	if (k->offset == offsetof(struct conf, operators))
		snprintf(l->conf->operators_place, sizeof l->conf->operators_place, "%s", place);
	return 0;
}

/* ---- the file ---- */

static int refuse_key(struct conf_error *e, const char *place, const struct conf_key *keys, const char *name)
{
	size_t group = strcspn(name, "."), n = 0;
	char list[640] = "";

	for (const struct conf_key *k = keys; k->name && n < sizeof list; k++)
		if (keys == conf_pool_keys || (!strncmp(k->name, name, group) && k->name[group] == '.'))
			n += (size_t)snprintf(list + n, sizeof list - n, "%s%s", n ? ", " : "", k->name);
	error_set(e, "%s: unknown key, allowed: %s", place, n ? list : "keys of memory, control and leaks");
	return -EINVAL;
}

/** The file may give a key once only. */
static int note_line(struct load *l, uint16_t *seen, unsigned line, const char *place)
{
	if (*seen) {
		error_set(l->error, "%s: given twice, first in line %u", place, *seen);
		return -EINVAL;
	}
	*seen = (uint16_t)line;
	return 0;
}

/** The pool that a section is about, made when it is new. `section` begins with "pool.". */
static int find_pool(struct load *l, const struct file_line *line, struct conf_pool **ret_pool)
{
	const char *name = line->section + sizeof "pool." - 1;
	struct conf_pool *p = l->conf->pool;

	while (p < l->conf->pool + l->conf->pools && strcmp(p->name, name) != 0)
		p++;
	if (p == l->conf->pool + l->conf->pools) {
		if (!pool_name_good(name))
			return key_refuse(l->error, line->place, line->section, "[pool.NAME], NAME " POOL_NAME_RULE);
		if (l->conf->pools == CONF_POOLS) {
			error_set(l->error, "%s: [%s]: too many pools, allowed: %d", line->place, line->section,
				  CONF_POOLS);
			return -EINVAL;
		}
		l->conf->pools++;
		*p = (struct conf_pool){ .on_death = UNSET };
		snprintf(p->name, sizeof p->name, "%s", name);
	}
	*ret_pool = p;
	return 0;
}

static int pool_line(struct load *l, const struct file_line *line)
{
	char place[512], allowed[256];
	const struct conf_key *k;
	struct conf_pool *p = NULL;
	int result = find_pool(l, line, &p);

	if (result || !line->name)
		return result;
	snprintf(place, sizeof place, "%s: [%s] %.64s", line->place, line->section, line->name);
	if (!(k = key_find(conf_pool_keys, line->name)))
		return refuse_key(l->error, place, conf_pool_keys, line->name);
	if (note_line(l, &l->pool_seen[p - l->conf->pool][k - conf_pool_keys], line->line, place))
		return -EINVAL;
	if (k->type == KEY_MANAGER) {
		if (check_manager(l, place, line->value, CONF_SHM))
			return -EINVAL;
		snprintf(p->manager, sizeof p->manager, "%s", line->value);
		return 0;
	}
	if (key_store(k, p, line->value))
		return 0;
	return key_refuse(l->error, place, line->value, key_allowed(k, allowed, sizeof allowed));
}

/** [memory] stands for the first part of the keys below it. */
static int group_section(struct load *l, const struct file_line *line)
{
	size_t len = strlen(line->section);

	for (const struct conf_key *k = conf_keys; k->name; k++)
		if (!strncmp(k->name, line->section, len) && k->name[len] == '.')
			return 0;
	error_set(l->error, "%s: [%.64s]: unknown section, allowed: [pool.NAME], [memory], [memory.pkg], [memory.shm], "
		  "[control], [leaks]", line->place, line->section);
	return -EINVAL;
}

static int conf_line(const struct file_line *line, void *arg, struct conf_error *error)
{
	struct load *l = arg;
	const struct conf_key *k;
	char name[256], place[512];

	(void)error;				/* l->error is the same */
	if (!strncmp(line->section, "pool.", sizeof "pool." - 1))
		return pool_line(l, line);
	if (!line->name)
		return group_section(l, line);
	snprintf(name, sizeof name, "%.127s%s%.100s", line->section, *line->section ? "." : "", line->name);
	snprintf(place, sizeof place, "%s: %s", line->place, name);
	if (!(k = key_find(conf_keys, name)))
		return refuse_key(l->error, place, conf_keys, name);
	if (note_line(l, &l->seen[k - conf_keys], line->line, place))
		return -EINVAL;
	return set_key(l, k, place, line->value);
}

/** A file that need not be there, and was not: 0 and conf->file stays "". */
static int optional_file(struct load *l, const char *path, bool of_user)
{
	int result = file_read(path, conf_line, l, l->error);

	if (result == -ENOENT || result == -ENOTDIR || (result == -EACCES && of_user)) {
		l->error->text[0] = 0;		/* EACCES: a HOME that is another user's */
		return 0;
	}
	if (!result)
		snprintf(l->conf->file, sizeof l->conf->file, "%s", path);
	return result;
}

static int from_file(struct load *l, const struct conf_options *opts)
{
	const char *path = opts && opts->file ? opts->file : secure_getenv("MEMAPI_CONFIG"), *home;
	char user[sizeof l->conf->file];
	int n = 0, result;

	l->from = FROM_FILE;
	if (path) {
		result = file_read(path, conf_line, l, l->error);
		if (!result)
			snprintf(l->conf->file, sizeof l->conf->file, "%s", path);
		return result;
	}
	if ((home = secure_getenv("XDG_CONFIG_HOME")) && *home)
		n = snprintf(user, sizeof user, "%s/memapi/mmd.conf", home);
	else if ((home = secure_getenv("HOME")) && *home)
		n = snprintf(user, sizeof user, "%s/.config/memapi/mmd.conf", home);
	if (n > 0 && (size_t)n < sizeof user) {
		result = optional_file(l, user, true);
		if (result || l->conf->file[0])
			return result;
	}
	return optional_file(l, "/etc/memapi/mmd.conf", false);
}

/* ---- the others ---- */

static int from_defaults(struct load *l)
{
	struct conf_ask ask;

	l->from = FROM_DEFAULT;
	for (const struct conf_key *k = conf_keys; k->name; k++)
		if (k->initial && k->type != KEY_MANAGER)
			key_store(k, l->conf, k->initial);
	for (unsigned d = CONF_PKG; d <= CONF_SHM; d++) {
		char *name = l->conf->manager[d].name;

		snprintf(name, sizeof l->conf->manager[d].name, "%s", CONF_MANAGER);
		ask = (struct conf_ask){ .name = CONF_MANAGER, .domain = d, .module_path = "" };
		if (l->ok && !l->ok(&ask) && *ask.allowed)	/* not in this build: its first */
			snprintf(name, sizeof l->conf->manager[d].name, "%.*s", (int)strcspn(ask.allowed, " "), ask.allowed);
	}
	l->conf->pools = 1;
	l->conf->pool[0] = (struct conf_pool){ .name = "default", .on_death = UNSET };
	return 0;
}

/** A choice that does not serve is left out: who stored it gets told, and everybody's programs start. */
static int from_choice(struct load *l)
{
	struct conf_choice choice;
	char place[32];

	l->from = FROM_CHOICE;
	if (conf_choice_read(&choice, l->error))
		return 0;
	for (unsigned d = CONF_PKG; d <= CONF_SHM; d++) {
		if (!choice.name[d][0])
			continue;
		snprintf(place, sizeof place, "stored choice: %s", domain_name[d]);
		set_manager(l, place, choice.name[d], 1u << d);
	}
	return 0;
}

static int from_environment(struct load *l)
{
	char name[64];
	const char *value;

	l->from = FROM_ENVIRONMENT;
	for (const struct conf_key *k = conf_keys; k->name; k++)
		if (key_environment(k, name, sizeof name) && (value = secure_getenv(name)) &&
		    set_key(l, k, name, value))
			return -EINVAL;
	return 0;
}

/** "memory.track=sites" */
static int option_key(struct load *l, const char *text)
{
	size_t len = strcspn(text, "=");
	char name[128], place[140];
	const struct conf_key *k;

	snprintf(name, sizeof name, "%.*s", len < 120 ? (int)len : 120, text);
	snprintf(place, sizeof place, "--%s", name);
	if (!(k = key_find(conf_keys, name)))
		return refuse_key(l->error, place, conf_keys, name);
	if (text[len] != '=') {
		error_set(l->error, "%s: no value found, allowed: %s=VALUE", place, place);
		return -EINVAL;
	}
	return set_key(l, k, place, text + len + 1);
}

/** -m, -M: megabytes, within the limits of the key. */
static int option_mb(struct load *l, const char *place, const char *text, const char *key, uint64_t *to)
{
	const struct conf_key *k = key_find(conf_keys, key);
	uint64_t mb, least = k->min >> 20 ? k->min >> 20 : 1;
	char allowed[96];

	if (!text)
		return 0;
	if (key_number(text, false, &mb) && ((mb >= least && mb <= k->max >> 20) || (k->zero && !mb))) {
		*to = mb << 20;
		return 0;
	}
	snprintf(allowed, sizeof allowed, "%s%llu to %llu megabytes", k->zero ? "0, or " : "",
		 (unsigned long long)least, (unsigned long long)(k->max >> 20));
	return key_refuse(l->error, place, text, allowed);
}

/** -x is for shared memory, and alone for both domains; it is the general name then, that a specific one beats. */
static int from_options(struct load *l, const struct conf_options *o)
{
	l->from = FROM_COMMAND_LINE;
	if (!o)
		return 0;
	if (o->shm_manager && !o->pkg_manager && set_manager(l, "-x", o->shm_manager, 1u << CONF_PKG | 1u << CONF_SHM))
		return -EINVAL;
	if (o->shm_manager && set_manager(l, "-x", o->shm_manager, 1u << CONF_SHM))
		return -EINVAL;
	if (o->pkg_manager && set_manager(l, "-X", o->pkg_manager, 1u << CONF_PKG))
		return -EINVAL;
	if (option_mb(l, "-m", o->shm_mb, "memory.shm.size", &l->conf->shm_size) ||
	    option_mb(l, "-M", o->pkg_mb, "memory.pkg.size", &l->conf->pkg_size))
		return -EINVAL;
	for (const char *const *key = o->keys; key && *key; key++)
		if (option_key(l, *key))
			return -EINVAL;
	return o->socket ? set_key(l, key_find(conf_keys, "control.socket"), "--socket", o->socket) : 0;
}

/** What a pool leaves open is as memory.shm has it. */
static void complete_pools(struct conf *c)
{
	for (unsigned i = 0; i < c->pools; i++) {
		if (!c->pool[i].size)
			c->pool[i].size = c->shm_size;
		if (c->pool[i].on_death == UNSET)
			c->pool[i].on_death = c->on_death;
	}
}

int conf_load(const struct conf_options *opts, conf_manager_fn *ok, struct conf *ret_conf, struct conf_error *ret_error)
{
	struct load l = { .conf = ret_conf, .ok = ok, .error = ret_error, .opts = opts };
	int result;

	*ret_conf = (struct conf){ .pools = 0 };
	ret_error->text[0] = 0;
	from_defaults(&l);
	result = from_file(&l, opts);
	if (!result)
		result = from_choice(&l);
	if (!result)
		result = from_environment(&l);
	if (!result)
		result = from_options(&l, opts);
	if (result) {
		*ret_conf = (struct conf){ .pools = 0 };
		from_defaults(&l);
	}
	complete_pools(ret_conf);
	return result;
}
