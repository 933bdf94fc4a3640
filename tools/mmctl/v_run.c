/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * run: a program that knows nothing of memapi, on a chosen manager. mmctl sets the environment, asks the preload
 * library whether it will do, and becomes the program: pid, descriptors, signals and the exit status are the program's
 * own.
 */
#include "mmctl.h"

#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char library_name[] = "libmemapi-preload.so";

typedef const char *refusal_fn(const char *manager);
typedef bool room_fn(void);

/* Beside mmctl, where the build or the installation has put it. */
static bool find_library(char *ret_path, size_t bytes)
{
	static const char installed[] = "../" MEMAPI_LIBDIR;
	const char *const folders[] = { "../lib", installed, "../lib64" };
	char self[PATH_MAX], path[PATH_MAX + 64];
	ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);

	if (n <= 0)
		return false;
	self[n] = 0;
	*strrchr(self, '/') = 0;
	for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
		char whole[PATH_MAX];

		snprintf(path, sizeof path, "%s/%s/%s", self, folders[i], library_name);
		if (realpath(path, whole) && strlen(whole) < bytes) {
			memcpy(ret_path, whole, strlen(whole) + 1);
			return true;
		}
	}
	say("run: %s is not in ../lib or ../%s beside mmctl", library_name, MEMAPI_LIBDIR);
	return false;
}

/* The key of pkg alone: a manager need not serve shared memory, and the program may have some of its own. */
static const char manager_key[] = "MEMAPI_PKG_MANAGER";

static void set_environment(const struct command *cmd)
{
	static const struct { enum option_id id; const char *name, *value; } keys[] = {
		{ O_TRACK, "MEMAPI_TRACK", NULL },   { O_SIZE, "MEMAPI_PKG_SIZE", NULL },
		{ O_GUARDS, "MEMAPI_DEBUG", "yes" }, { O_ABORT, "MEMAPI_SAFETY", "abort" },
		{ O_KEEP, "MEMAPI_KEEP_EXITED", "yes" },
	};

	for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
		const char *given = cmd->given[keys[i].id];

		if (given)
			setenv(keys[i].name, keys[i].value ? keys[i].value : given, 1);
	}
	if (cmd->given[O_TRACK] && !strcmp(cmd->given[O_TRACK], "on"))
		setenv("MEMAPI_TRACK", "sites", 1);
	if (cmd->given[O_GUARDS])	/* they belong to records */
		setenv("MEMAPI_TRACK", "sites", 0);
	if (cmd->given[O_MANAGER])	/* set when it is known to be one */
		unsetenv(manager_key);
}

/*
 * The library itself knows its managers, and what the configuration makes of all this. A module may need more room for
 * thread-local storage than the loader keeps, which is asked for by the environment of a program's start: the
 * program's, and our own, since we load the module to ask. So we start once more.
 */
static bool accepted(const char *library, const char *manager, char **argv)
{
	void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
	void *asks = handle ? dlsym(handle, "memapi_preload_refusal") : NULL;
	void *makes = asks ? dlsym(handle, "memapi_preload_room") : NULL;
	refusal_fn *refusal;
	room_fn *room;
	const char *why;

	if (!makes) {
		say("run: %s", dlerror());
		return false;
	}
	memcpy(&refusal, &asks, sizeof refusal);
	memcpy(&room, &makes, sizeof room);
	why = refusal(manager);
	if (why && room())
		execv("/proc/self/exe", argv);
	if (why) {
		struct text t = { 0 };

		text_safe(&t, why, strlen(why));
		say("run: %s", t.at ? t.at : "");
		text_free(&t);
	}
	return !why;
}

/* First of all, so that no other library serves malloc(); what was asked for before stays. */
static bool preload(const char *library)
{
	const char *before = getenv("LD_PRELOAD");
	struct text t = { 0 };
	bool set;

	if (strpbrk(library, " :")) {
		say("run: the loader takes no library with a blank or a colon in its path: %s", library);
		return false;
	}
	text_format(&t, "%s%s%s", library, before && *before ? ":" : "", before ? before : "");
	set = !t.failed && setenv("LD_PRELOAD", t.at, 1) == 0;
	text_free(&t);
	return set;
}

/* ---- programs that the loader will not give it to ---- */

/* As execvp() will find it; -1: not there. */
static int open_program(const char *name)
{
	const char *path = getenv("PATH"), *end;
	char at[PATH_MAX];
	struct stat st;

	if (strchr(name, '/'))
		return open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	for (path = path ? path : "/bin:/usr/bin"; *path; path = end + (*end == ':')) {
		end = strchrnul(path, ':');
		snprintf(at, sizeof at, "%.*s/%s", (int)(end - path), path, name);
		if (access(at, X_OK) == 0 && stat(at, &st) == 0 && S_ISREG(st.st_mode))
			return open(at, O_RDONLY | O_CLOEXEC);
	}
	return -1;
}

static bool linked_statically(int fd)
{
	Elf64_Ehdr h;
	Elf64_Phdr p;

	if (pread(fd, &h, sizeof h, 0) != (ssize_t)sizeof h || memcmp(h.e_ident, ELFMAG, SELFMAG) ||
	    h.e_ident[EI_CLASS] != ELFCLASS64 || h.e_phentsize != sizeof p)
		return false;
	for (unsigned i = 0; i < h.e_phnum; i++)
		if (pread(fd, &p, sizeof p, (off_t)(h.e_phoff + i * sizeof p)) != (ssize_t)sizeof p ||
		    p.p_type == PT_INTERP)
			return false;
	return true;
}

/* It runs, but without us: better said than wondered about. */
static void warn(const char *name)
{
	int fd = open_program(name);
	struct stat st;

	if (fd == -1)
		return;
	if (fstat(fd, &st) == 0 && st.st_mode & (S_ISUID | S_ISGID) && geteuid() != 0)
		say("run: %s runs as another user: the loader gives it no library of ours", name);
	else if (linked_statically(fd))
		say("run: %s is linked statically: it keeps the malloc() that it has", name);
	close(fd);
}

enum exit_code verb_run(struct mmctl *m)
{
	char library[PATH_MAX];
	int error;

	if (!find_library(library, sizeof library))
		return RC_REFUSED;
	set_environment(&m->cmd);
	if (!accepted(library, m->cmd.given[O_MANAGER], m->argv))
		return RC_USAGE;
	if (m->cmd.given[O_MANAGER])
		setenv(manager_key, m->cmd.given[O_MANAGER], 1);
	if (!preload(library))
		return RC_REFUSED;
	warn(m->cmd.program[0]);
	execvp(m->cmd.program[0], m->cmd.program);
	error = errno;
	say("run: %s: %s", m->cmd.program[0], strerror(error));
	return error == ENOENT ? RC_NOT_FOUND : RC_NOT_EXECUTABLE;
}
