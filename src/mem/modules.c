/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Managers from shared objects.
 *
 *	module:NAME -> PATH/NAME.so		PATH: memory.module_path, else the directory memapi beside this library
 *	/some/where.so -> itself
 *
 * Nothing of a file runs before it and its directory were found to be root's or ours and not open to everybody. Then
 * its descriptor is compared with what this library was compiled with. A module that passed stays loaded: fragments of
 * it may be freed at any time.
 *
 * Invariant: names in `loaded` are unique, so that META, which holds the name alone, means one of them.
 */
#include <ctype.h>
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mem/init.h"
#include "memapi/memcore.h"
#include "memapi/module.h"

#define PREFIX "module:"
enum { PREFIX_LEN = sizeof PREFIX - 1 };

struct module {
	struct mem_manager manager;
	char name[PREFIX_LEN + MEM_MODULE_NAME_MAX + 1];
	char path[PATH_MAX], source[PATH_MAX + 16];
	struct module *next;
};

#ifdef __has_feature
#define HAS_FEATURE(x) __has_feature(x)
#else
#define HAS_FEATURE(x) 0
#endif
#if defined __SANITIZE_ADDRESS__ || HAS_FEATURE(address_sanitizer)
/* gperftools keeps one object for ever, and hides its address. Asked for by the sanitizer's runtime, by this name. */
const char *__lsan_default_options(void);      /* NOLINT(bugprone-reserved-identifier) */
const char *__lsan_default_suppressions(void); /* NOLINT(bugprone-reserved-identifier) */
__attribute__((visibility("default"))) const char *__lsan_default_options(void) { return "print_suppressions=0"; }
__attribute__((visibility("default"))) const char *__lsan_default_suppressions(void)
{
	return "leak:MallocExtension::Register\n";
}
#endif

static struct module *loaded, **last = &loaded;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static bool lacks_tls;

/* ---- why not ---- */

struct reason { char *text; size_t bytes; };

__attribute__((format(printf, 2, 3))) static bool refuse(const struct reason *why, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(why->text, why->bytes, format, args);
	va_end(args);
	return false;
}

/* ---- the file ---- */

static bool trusted(const char *path, const struct stat *st, const struct reason *why)
{
	if (st->st_uid != 0 && st->st_uid != geteuid())
		return refuse(why, "%s: belongs to uid %u: a module must be root's or ours", path, st->st_uid);
	if (st->st_mode & S_IWOTH && !(S_ISDIR(st->st_mode) && st->st_mode & S_ISVTX))
		return refuse(why, "%s: everybody may write to it", path);
	return true;
}

/* The file behind `path`, and that nobody but root and we could have put it there. */
static bool file_good(const char *path, char real[PATH_MAX], const struct reason *why)
{
	char dir[PATH_MAX];
	struct stat st;

	if (!realpath(path, real) || stat(real, &st) == -1)
		return refuse(why, "%s: %s", path, error_name(errno));
	if (!S_ISREG(st.st_mode))
		return refuse(why, "%s: not a regular file", real);
	if (!trusted(real, &st, why))
		return false;
	snprintf(dir, sizeof dir, "%.*s", (int)(strrchr(real, '/') - real) + (strrchr(real, '/') == real), real);
	if (stat(dir, &st) == -1)
		return refuse(why, "%s: %s", dir, error_name(errno));
	return trusted(dir, &st, why);
}

static void *open_object(const char *real, const struct reason *why)
{
	void *object = dlopen(real, RTLD_NOW | RTLD_LOCAL);
	const char *text = object ? "" : dlerror();
	size_t len = strlen(real);

	if (object)
		return object;
	if (strncmp(text, real, len) == 0 && text[len] == ':')
		text += len + 1 + strspn(text + len + 1, " ");
	if (strstr(text, "static TLS")) {
		/* what a library compiled for the start of a program asks of one that runs: the loader keeps a little
		 */
		lacks_tls = true;
		refuse(why, "%s: cannot be loaded: %s; start the program with " MEM_TLS_ENVIRONMENT " in its environment",
		       real, text);
	} else {
		refuse(why, "%s: cannot be loaded: %s", real, text);
	}
	return NULL;
}

/* ---- the descriptor ---- */

static bool name_good(const char *name)
{
	size_t len = strnlen(name, MEM_MODULE_NAME_MAX + 1);

	return len && len <= MEM_MODULE_NAME_MAX && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-") == len;
}

static bool line_good(const char *line)
{
	size_t len = strnlen(line, 200);

	for (size_t i = 0; i < len; i++)
		if (iscntrl((unsigned char)line[i]))
			return false;
	return len && len < 200;
}

static const char *members_missing(const struct mem_manager_ops *o, bool view)
{
	if (!o->walk || !o->check)
		return "walk or check is missing";
	if (view)
		return NULL;
	if (!o->init || !o->alloc || !o->free || !o->resize || !o->usable)
		return "one of init, alloc, free, resize, usable is missing";
	return !o->mark != !o->marked ? "mark and marked go together" : NULL;
}

static bool ops_good(const char *path, const struct mem_module *m, const char *which, const struct mem_manager_ops *o,
		     const struct reason *why)
{
	const char *what;

	if (o->abi != MEM_MANAGER_ABI || o->size != sizeof *o)
		return refuse(why, "%s: its %s operations are of manager ABI %u with %u bytes, here are %d and %zu", path,
			      which, o->abi, o->size, MEM_MANAGER_ABI, sizeof *o);
	what = members_missing(o, strcmp(which, "view") == 0);
	if (!what && (o->domains != m->domains || o->flags != m->flags))
		what = "its domains or flags are not those of its descriptor";
	if (what)
		return refuse(why, "%s: its %s operations: %s", path, which, what);
	return true;
}

static bool domains_good(const char *path, const struct mem_module *m, const struct reason *why)
{
	if (!m->domains || m->domains & ~(uint32_t)(MEM_PKG | MEM_SHM))
		return refuse(why, "%s: its descriptor has the domains %#x, known are %#x", path, m->domains, MEM_PKG | MEM_SHM);
	if (m->domains & MEM_SHM && m->flags & MEM_OWN_MEMORY)
		return refuse(why, "%s: it keeps its own memory, of which each process has its own: shm cannot be served", path);
	if (!m->domains != !m->view || !(m->domains & MEM_PKG) != !m->pkg || !(m->domains & MEM_SHM) != !m->shm)
		return refuse(why, "%s: its descriptor's domains and operations do not agree", path);
	return (!m->pkg || ops_good(path, m, "pkg", m->pkg, why)) && (!m->shm || ops_good(path, m, "shm", m->shm, why)) &&
	       ops_good(path, m, "view", m->view, why);
}

static bool descriptor_good(const char *path, const struct mem_module *m, const char *name, const struct reason *why)
{
	if (!m)
		return refuse(why, "%s: not a module: it exports no " MEM_MODULE_SYMBOL, path);
	if (m->abi != MEM_MODULE_ABI)
		return refuse(why, "%s: its descriptor is of module ABI %u, here is %d", path, m->abi, MEM_MODULE_ABI);
	if (m->size != sizeof *m)
		return refuse(why, "%s: its descriptor has %u bytes, here are %zu", path, m->size, sizeof *m);
	if (!m->name || !name_good(m->name) || !m->summary || !line_good(m->summary))
		return refuse(why, "%s: its descriptor lacks a name (at most %d of a-z 0-9 _ -) or a summary of one line", path,
			      MEM_MODULE_NAME_MAX);
	if (name && strcmp(name, m->name) != 0)
		return refuse(why, "%s: its manager is called %s", path, m->name);
	return domains_good(path, m, why);
}

/* ---- the list ---- */

static struct module *find_name(const char *name)
{
	for (struct module *x = loaded; x; x = x->next)
		if (strcmp(x->name + PREFIX_LEN, name) == 0)
			return x;
	return NULL;
}

static struct module *find_path(const char *path)
{
	for (struct module *x = loaded; x; x = x->next)
		if (strcmp(x->path, path) == 0)
			return x;
	return NULL;
}

static struct module *add(const char *path, const struct mem_module *m)
{
	struct module *x = calloc(1, sizeof *x);

	if (!x)
		return NULL;
	snprintf(x->name, sizeof x->name, PREFIX "%s", m->name);
	snprintf(x->path, sizeof x->path, "%s", path);
	snprintf(x->source, sizeof x->source, "module %s", path);
	x->manager = (struct mem_manager){ .name = x->name, .summary = m->summary, .source = x->source,
					   .pkg = m->pkg, .shm = m->shm, .view = m->view };
	*last = x;
	last = &x->next;
	return x;
}

/* `name`: what it must be called, or NULL. */
static struct module *load(const char *path, const char *name, const struct reason *why)
{
	char real[PATH_MAX];
	const struct mem_module *m;
	struct module *x;
	void *object;

	if (!file_good(path, real, why))
		return NULL;
	x = find_path(real);
	if (x && name && strcmp(x->name + PREFIX_LEN, name) != 0) {
		refuse(why, "%s: its manager is called %s", path, x->name + PREFIX_LEN);
		return NULL;
	}
	if (x)
		return x;
	object = open_object(real, why);
	if (!object)
		return NULL;
	m = dlsym(object, MEM_MODULE_SYMBOL);
	if (descriptor_good(real, m, name, why)) {
		x = find_name(m->name);
		if (x) {
			refuse(why, "%s: a module of its name %s is already loaded from %s", real, m->name, x->path);
			x = NULL;
		} else if (dlopen(real, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE | RTLD_NOLOAD) && !(x = add(real, m))) {
			refuse(why, "%s: out of memory", real);
		}
	}
	dlclose(object);
	return x;
}

/* ---- names and paths ---- */

bool mem_module_named(const char *name) { return strncmp(name, PREFIX, PREFIX_LEN) == 0 || strchr(name, '/'); }

/* `dir` is DIR/PART/memapi, if there is that. */
static bool try_directory(char dir[PATH_MAX], const char *at, const char *part)
{
	char path[2 * PATH_MAX];
	int n = snprintf(path, sizeof path, "%s%s/memapi", at, part);

	if (n < 0 || n >= PATH_MAX || access(path, X_OK) == -1)
		return false;
	memcpy(dir, path, (size_t)n + 1);
	return true;
}

/* Beside this library, wherever it was put; of a program that has it inside, where its libraries are. */
static const char *own_directory(void)
{
	static char dir[PATH_MAX];
	char real[PATH_MAX], *slash;
	Dl_info info;

	if (dir[0])
		return dir;
	/* the name by which a program was called may lead anywhere by now */
	if (!dladdr(dir, &info) || !info.dli_fname || *info.dli_fname != '/' || !realpath(info.dli_fname, real)) {
		ssize_t n = readlink("/proc/self/exe", real, sizeof real - 1);

		real[n > 0 ? n : 0] = 0;
	}
	slash = strrchr(real, '/');
	if (slash)
		*slash = 0;
	if (!try_directory(dir, real, "") && !try_directory(dir, real, "/../" MEM_MODULE_LIB) &&
	    !try_directory(dir, real, "/../lib"))
		snprintf(dir, sizeof dir, "%s", MEM_MODULE_DIR);
	return dir;
}

const char *mem_module_directory(const char *path) { return path && *path ? path : own_directory(); }

/* The names of what lies there, whether it can be used or not. */
static void tell_names(const char *dir, const struct reason *why)
{
	size_t len = strlen(why->text);
	const char *before = "; there are ";
	DIR *d = opendir(dir);
	struct dirent *e;

	while (d && (e = readdir(d)) && len < why->bytes) {
		size_t n = strlen(e->d_name);

		if (n < 4 || strcmp(e->d_name + n - 3, ".so") != 0)
			continue;
		len += (size_t)snprintf(why->text + len, why->bytes - len, "%s" PREFIX "%.*s", before, (int)n - 3, e->d_name);
		before = ", ";
	}
	if (d)
		closedir(d);
}

static struct module *by_name(const char *name, const char *dir, const struct reason *why)
{
	char path[PATH_MAX];
	struct module *x;

	if (!name_good(name)) {
		refuse(why, "a module's name is at most %d of a-z 0-9 _ -", MEM_MODULE_NAME_MAX);
		return NULL;
	}
	x = find_name(name);
	if (x)
		return x;
	snprintf(path, sizeof path, "%s/%s.so", dir, name);
	if (access(path, F_OK) == -1) {
		refuse(why, "%s: %s", path, error_name(errno));
		tell_names(dir, why);
		return NULL;
	}
	return load(path, name, why);
}

const struct mem_manager *mem_module_find(const char *name, const char *path, char *why, size_t bytes)
{
	char ignored[8];
	struct reason reason = { why ? why : ignored, why ? bytes : sizeof ignored };
	struct module *x;

	reason.text[0] = 0;
	pthread_mutex_lock(&mutex);
	if (strncmp(name, PREFIX, PREFIX_LEN) == 0)
		x = by_name(name + PREFIX_LEN, mem_module_directory(path), &reason);
	else if (*name == '/')
		x = load(name, NULL, &reason);
	else
		x = refuse(&reason, "%s: the path of a module begins with /", name) ? loaded : NULL;
	pthread_mutex_unlock(&mutex);
	return x ? &x->manager : NULL;
}

const struct mem_manager *mem_module_at(size_t i)
{
	struct module *x;

	pthread_mutex_lock(&mutex);
	for (x = loaded; x && i; x = x->next)
		i--;
	pthread_mutex_unlock(&mutex);
	return x ? &x->manager : NULL;
}

static int is_object(const struct dirent *e)
{
	size_t n = strlen(e->d_name);

	return n > 3 && e->d_name[0] != '.' && strcmp(e->d_name + n - 3, ".so") == 0;
}

void mem_modules_load(const char *path, mem_module_skip_fn *skip, void *arg)
{
	const char *dir = mem_module_directory(path);
	struct dirent **entry;
	int count = scandir(dir, &entry, is_object, alphasort);
	char file[PATH_MAX], name[NAME_MAX + 1], why[600];

	for (int i = 0; i < count; i++) {
		struct module *x;

		snprintf(file, sizeof file, "%s/%s", dir, entry[i]->d_name);
		snprintf(name, sizeof name, "%.*s", (int)strlen(entry[i]->d_name) - 3, entry[i]->d_name);
		free(entry[i]);
		pthread_mutex_lock(&mutex);
		x = load(file, name, &(struct reason){ why, sizeof why });
		pthread_mutex_unlock(&mutex);
		if (!x && skip)
			skip(file, why, arg);
	}
	if (count >= 0)
		free(entry);
	else if (errno != ENOENT && skip)
		skip(dir, error_name(errno), arg);
}

bool mem_modules_make_room(void)
{
	static const char name[] = "GLIBC_TUNABLES", tunable[] = "glibc.rtld.optional_static_tls";
	const char *now = getenv(name), *room = strchr(MEM_TLS_ENVIRONMENT, '=') + 1;
	char text[4096];

	if (!lacks_tls || (now && strstr(now, tunable)))
		return false;
	return snprintf(text, sizeof text, "%s%s%s", room, now && *now ? ":" : "", now ? now : "") < (int)sizeof text &&
	       !setenv(name, text, 1);
}
