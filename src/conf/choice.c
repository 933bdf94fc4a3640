/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The stored choice: which managers the next start gets, when nothing stronger says otherwise.
 *
 *	choice		version = 1, pkg = NAME, shm = NAME; each name may be missing
 *	choice.new	the next one, while it is written
 *
 * Invariant: `choice` is one whole version, whenever a writer is killed and whenever the power fails: its bytes are on
 * the disk before it gets its name. Writers take turns by a lock on the directory, which ends with its holder.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf/conf.h"
#include "conf/file.h"
#include "conf/keys.h"

static const char system_dir[] = "/var/lib/memapi";
static const char *const key_name[] = { "pkg", "shm" };

/** Where this user's choice lies. *ret_private: nobody else's counts. */
static int choice_dir(char *ret_dir, size_t bytes, bool *ret_private)
{
	const char *state = secure_getenv("XDG_STATE_HOME"), *home = secure_getenv("HOME");
	int n;

	if (state && *state)
		n = snprintf(ret_dir, bytes, "%s/memapi", state);
	else if (geteuid() == 0)
		n = snprintf(ret_dir, bytes, "%s", system_dir);
	else if (home && *home)
		n = snprintf(ret_dir, bytes, "%s/.local/state/memapi", home);
	else
		return -ENOENT;
	*ret_private = (state && *state) || geteuid() == 0;
	return (size_t)n < bytes ? 0 : -ENAMETOOLONG;
}

int conf_choice_path(char *ret_path, size_t bytes)
{
	char dir[256];
	bool private;
	int result = choice_dir(dir, sizeof dir, &private);

	if (result)
		return result;
	if (strlen(dir) + sizeof "/choice" > bytes)
		return -ENAMETOOLONG;
	snprintf(ret_path, bytes, "%s/choice", dir);
	return 0;
}

struct choice_lines {
	struct conf_choice *choice;
	bool version;
};

static int choice_line(const struct file_line *line, void *arg, struct conf_error *error)
{
	struct choice_lines *c = arg;
	char place[400];
	unsigned d = CONF_PKG;

	if (!line->name || *line->section)
		return key_refuse(error, line->place, line->section, "no sections");
	snprintf(place, sizeof place, "%s: %.64s", line->place, line->name);
	if (!strcmp(line->name, "version")) {
		c->version = !strcmp(line->value, "1");
		return c->version ? 0 : key_refuse(error, place, line->value, "1");
	}
	while (d <= CONF_SHM && strcmp(line->name, key_name[d]) != 0)
		d++;
	if (!c->version || d > CONF_SHM)
		return key_refuse(error, line->place, line->name,
				  c->version ? "pkg, shm" : "version = 1 as the first line");
	if (!*line->value || strlen(line->value) >= sizeof c->choice->name[d])
		return key_refuse(error, place, line->value, "the name of a manager");
	snprintf(c->choice->name[d], sizeof c->choice->name[d], "%s", line->value);
	return 0;
}

static int read_choice(const char *path, struct conf_choice *ret_choice, struct conf_error *error)
{
	struct conf_choice choice = { .name = { "", "" } };
	struct choice_lines lines = { .choice = &choice };
	int result = file_read(path, choice_line, &lines, error);

	if (!result && !lines.version) {
		error_set(error, "%s: nothing found, allowed: version = 1, and then pkg, shm", path);
		result = -EINVAL;
	}
	if (!result)
		*ret_choice = choice;
	else if (result == -EINVAL) {
		size_t n = strlen(error->text);

		snprintf(error->text + n, sizeof error->text - n, "; the stored choice does not count, "
			 "`mmctl manager set` or `reset` replaces it");
	}
	return result;
}

static bool not_there(int result) { return result == -ENOENT || result == -ENOTDIR; }

int conf_choice_read(struct conf_choice *ret_choice, struct conf_error *ret_error)
{
	char dir[256], path[sizeof dir + 16];
	bool private;
	int result = choice_dir(dir, sizeof dir, &private);

	if (!result) {
		snprintf(path, sizeof path, "%s/choice", dir);
		result = read_choice(path, ret_choice, ret_error);
	} else {
		private = false;
	}
	if (!private && (not_there(result) || result == -EACCES)) {
		snprintf(path, sizeof path, "%s/choice", system_dir);
		result = read_choice(path, ret_choice, ret_error);
	}
	if (!not_there(result))
		return result;
	ret_error->text[0] = 0;
	*ret_choice = (struct conf_choice){ .name = { "", "" } };
	return 0;
}

/** mkdir -p. The last part is for others to read where it is the system's. */
static int make_dirs(char *dir, mode_t mode)
{
	for (char *c = dir + 1; *c; c++) {
		if (*c != '/')
			continue;
		*c = 0;
		if (mkdir(dir, mode) == -1 && errno != EEXIST && access(dir, X_OK) == -1) {
			*c = '/';
			return -errno;
		}
		*c = '/';
	}
	return mkdir(dir, mode) == -1 && errno != EEXIST ? -errno : 0;
}

static int write_all(int fd, const char *text, size_t len)
{
	while (len) {
		ssize_t n = write(fd, text, len);

		if (n == -1 && errno != EINTR)
			return -errno;
		if (n > 0) {
			text += n;
			len -= (size_t)n;
		}
	}
	return fsync(fd) == -1 ? -errno : 0;
}

/** Under the directory's lock: what a killed writer left is in nobody's use. */
static int replace_choice(int dir, const char *text, size_t len)
{
	int fd, result;

	if (unlinkat(dir, "choice.new", 0) == -1 && errno != ENOENT)
		return -errno;
	fd = openat(dir, "choice.new", O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
	if (fd == -1)
		return -errno;
	result = write_all(fd, text, len);
	close(fd);
	if (!result && renameat(dir, "choice.new", dir, "choice") == -1)
		result = -errno;
	if (result)
		unlinkat(dir, "choice.new", 0);
	else if (fsync(dir) == -1)
		result = -errno;
	return result;
}

int conf_choice_write(const struct conf_choice *choice, struct conf_error *ret_error)
{
	char dir[256] = "", text[160 + 2 * CONF_NAME];
	int fd = -1, result, n;
	bool private;

	n = snprintf(text, sizeof text, "# Managers for the next start, stored by `mmctl manager set`.\nversion = 1\n");
	for (unsigned d = CONF_PKG; d <= CONF_SHM; d++) {
		size_t len = strnlen(choice->name[d], sizeof choice->name[d]);

		if (len == sizeof choice->name[d] || strcspn(choice->name[d], " \t\r\n;#=[]") != len)
			return key_refuse(ret_error, key_name[d], len < sizeof choice->name[d] ? choice->name[d] : "",
					  "the name of a manager");
		if (len)
			n += snprintf(text + n, sizeof text - (size_t)n, "%s = %s\n", key_name[d], choice->name[d]);
	}
	result = choice_dir(dir, sizeof dir, &private);
	if (!result)
		result = make_dirs(dir, strcmp(dir, system_dir) ? 0700 : 0755);
	if (!result && (fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) == -1)
		result = -errno;
	while (!result && flock(fd, LOCK_EX) == -1)
		if (errno != EINTR)
			result = -errno;
	if (!result)
		result = replace_choice(fd, text, (size_t)n);
	if (fd != -1)
		close(fd);
	ret_error->text[0] = 0;
	if (result)
		error_set(ret_error, "%s/choice: %s", *dir ? dir : "$XDG_STATE_HOME/memapi", error_name(-result));
	return result;
}
