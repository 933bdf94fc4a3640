/* SPDX-License-Identifier: BSD-2-Clause */
/* Lock, then look, then unlink and bind: in this order nobody can take a live daemon's socket away. */
#include "daemon/listen.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static const char handover[] = "MMD_HANDOVER";	/* PID LISTENING LOCK */

enum { BACKLOG = 1024, TRIES = 10 };

__attribute__((format(printf, 4, 5)))
static int fail(char *why, size_t bytes, int error, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(why, bytes, format, args);
	va_end(args);
	return error;
}

/* mkdir -p of the path's directory, 0750. The last one goes to the group, when it is made here. */
static int make_directory(const char *path, gid_t group, char *why, size_t bytes)
{
	char dir[108];

	for (const char *slash = path; (slash = strchr(slash + 1, '/'));) {
		bool made;

		snprintf(dir, sizeof dir, "%.*s", (int)(slash - path), path);
		made = !mkdir(dir, 0750);
		if (!made && errno != EEXIST)
			return fail(why, bytes, -errno, "%s: cannot make the directory: %s", dir, strerror(errno));
		if (made && group != (gid_t)-1 && !strchr(slash + 1, '/') && chown(dir, (uid_t)-1, group))
			return fail(why, bytes, -errno, "%s: cannot give it to its group: %s", dir, strerror(errno));
	}
	return 0;
}

static bool same_file(int fd, const char *path)
{
	struct stat a, b;

	return !fstat(fd, &a) && !lstat(path, &b) && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

static pid_t pid_in(int fd)
{
	char text[32] = "";

	(void)!pread(fd, text, sizeof text - 1, 0);
	return (pid_t)strtol(text, NULL, 10);
}

/* The lock file's descriptor, locked, or -errno. */
static int take_lock(const char *path, char *why, size_t bytes)
{
	char lock[120], text[32];
	int fd, error;

	snprintf(lock, sizeof lock, "%s.lock", path);
	for (int i = 0; i < TRIES; i++) {
		fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (fd == -1)
			return fail(why, bytes, -errno, "%s: %s", lock, strerror(errno));
		if (flock(fd, LOCK_EX | LOCK_NB)) {
			error = errno == EWOULDBLOCK ? -EADDRINUSE : -errno;
			fail(why, bytes, error, error == -EADDRINUSE ? "%s: in use by a running mmd, pid %d" : "%s: cannot be locked (pid %d)",
			     path, (int)pid_in(fd));
			close(fd);
			return error;
		}
		if (same_file(fd, lock)) {	/* not one that its last owner has just unlinked */
			if (!ftruncate(fd, 0))
				(void)!pwrite(fd, text, (size_t)snprintf(text, sizeof text, "%d\n", (int)getpid()), 0);
			return fd;
		}
		close(fd);
	}
	return fail(why, bytes, -EAGAIN, "%s: comes and goes", lock);
}

static bool answers(const struct sockaddr_un *at)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	bool yes = fd != -1 && (!connect(fd, (const struct sockaddr *)at, sizeof *at) || errno == EAGAIN);

	if (fd != -1)
		close(fd);
	return yes;
}

/* What a dead daemon left goes; what is no socket, or answers although we have the lock, stays. */
static int clear_path(const struct sockaddr_un *at, char *why, size_t bytes)
{
	struct stat st;

	if (lstat(at->sun_path, &st))
		return errno == ENOENT ? 0 : fail(why, bytes, -errno, "%s: %s", at->sun_path, strerror(errno));
	if (!S_ISSOCK(st.st_mode))
		return fail(why, bytes, -EEXIST, "%s: there is a file that is not a socket", at->sun_path);
	if (answers(at))
		return fail(why, bytes, -EADDRINUSE, "%s: in use by a running program", at->sun_path);
	if (unlink(at->sun_path))
		return fail(why, bytes, -errno, "%s: cannot take over: %s", at->sun_path, strerror(errno));
	return 0;
}

static int bind_socket(int fd, const struct sockaddr_un *at, gid_t group)
{
	mode_t mask = umask(0177);	/* nobody connects before it has its group */
	int error = bind(fd, (const struct sockaddr *)at, sizeof *at) ? -errno : 0;

	umask(mask);
	if (!error && group != (gid_t)-1 && chown(at->sun_path, (uid_t)-1, group))
		error = -errno;
	if (!error && chmod(at->sun_path, 0660))
		error = -errno;
	return !error && listen(fd, BACKLOG) ? -errno : error;
}

/* Descriptors that the program before us in this process left, when they fit the path. */
static bool take_over(struct listen_place *p)
{
	const char *text = getenv(handover);
	struct sockaddr_un at = { 0 };
	socklen_t len = sizeof at;
	char lock[120];
	int pid, fd, lock_fd;
	bool good;

	if (!text || sscanf(text, "%d %d %d", &pid, &fd, &lock_fd) != 3 || pid != getpid() || fd < 3 || lock_fd < 3)
		return false;
	snprintf(lock, sizeof lock, "%s.lock", p->path);
	good = !getsockname(fd, (struct sockaddr *)&at, &len) && at.sun_family == AF_UNIX &&
	       !strcmp(at.sun_path, p->path) && same_file(lock_fd, lock) && !access(p->path, F_OK);
	if (!good) {			/* another path is configured now */
		if (at.sun_family == AF_UNIX && at.sun_path[0]) {
			snprintf(lock, sizeof lock, "%s.lock", at.sun_path);
			unlink(at.sun_path);
			unlink(lock);
		}
		close(fd);
		close(lock_fd);
		return false;
	}
	fcntl(fd, F_SETFD, FD_CLOEXEC);
	fcntl(lock_fd, F_SETFD, FD_CLOEXEC);
	p->fd = fd;
	p->lock = lock_fd;
	return true;
}

int listen_open(const char *path, gid_t group, struct listen_place *ret_place, char *why, size_t bytes)
{
	struct listen_place p = { .fd = -1, .lock = -1 };
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int error;

	if (strlen(path) >= sizeof p.path || *path != '/')
		return fail(why, bytes, -EINVAL, "%.200s: the path of the socket begins with / and has at most %zu bytes", path,
			    sizeof p.path - 1);
	memcpy(p.path, path, strlen(path) + 1);
	memcpy(at.sun_path, path, strlen(path) + 1);
	if (take_over(&p)) {
		unsetenv(handover);
		*ret_place = p;
		return 0;
	}
	unsetenv(handover);
	error = make_directory(path, group, why, bytes);
	if (error)
		return error;
	p.lock = take_lock(path, why, bytes);
	if (p.lock < 0)
		return p.lock;
	error = clear_path(&at, why, bytes);
	if (error) {
		close(p.lock);
		return error;
	}
	*ret_place = p;
	return 0;
}

int listen_start(struct listen_place *p, gid_t group, char *why, size_t bytes)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int fd, error;

	if (p->fd != -1)		/* taken over: it listens */
		return 0;
	memcpy(at.sun_path, p->path, strlen(p->path) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	error = fd == -1 ? -errno : bind_socket(fd, &at, group);
	if (error) {
		fail(why, bytes, error, "%s: cannot listen: %s", p->path, strerror(-error));
		if (fd != -1)
			close(fd);
		return error;
	}
	p->fd = fd;
	return 0;
}

/* The directory of `path`: whoever may open the socket must come to it. */
static bool is_for_it_alone(const char *dir, const char *name)
{
	size_t len = strlen(name);
	const struct dirent *e;
	DIR *d = opendir(dir);
	bool alone = d;

	while (alone && (e = readdir(d)))
		alone = strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 ||
			(strncmp(e->d_name, name, len) == 0 &&
			 (!e->d_name[len] || strcmp(e->d_name + len, ".lock") == 0));
	if (d)
		closedir(d);
	return alone;
}

/* It is as mmd, or systemd for it, makes one, of another group, and nothing but the socket is there: nobody's home. */
static bool is_to_give(const char *dir, const char *name, gid_t group)
{
	struct stat st;

	return !lstat(dir, &st) && S_ISDIR(st.st_mode) && st.st_uid == geteuid() && (st.st_mode & 07777) == 0750 &&
	       st.st_gid != group && is_for_it_alone(dir, name);
}

int listen_give(const struct listen_place *p, gid_t group, char *why, size_t bytes)
{
	const char *name = strrchr(p->path, '/') + 1;
	char dir[sizeof p->path];
	struct stat st;

	if (group == (gid_t)-1)
		group = getegid();
	if (lstat(p->path, &st) || !S_ISSOCK(st.st_mode))
		return fail(why, bytes, -ENOTSOCK, "%s: the socket is gone", p->path);
	if (st.st_gid != group && lchown(p->path, (uid_t)-1, group))
		return fail(why, bytes, -errno, "%s: cannot give it to its group: %s", p->path, strerror(errno));
	snprintf(dir, sizeof dir, "%.*s", (int)(name - 1 - p->path), p->path);
	if (is_to_give(dir, name, group) && lchown(dir, (uid_t)-1, group))
		return fail(why, bytes, -errno, "%s: cannot give it to its group: %s", dir, strerror(errno));
	return 0;
}

void listen_hand_over(const struct listen_place *p)
{
	char text[64];

	fcntl(p->fd, F_SETFD, 0);
	fcntl(p->lock, F_SETFD, 0);
	snprintf(text, sizeof text, "%d %d %d", (int)getpid(), p->fd, p->lock);
	setenv(handover, text, 1);
}

void listen_take_back(const struct listen_place *p)
{
	fcntl(p->fd, F_SETFD, FD_CLOEXEC);
	fcntl(p->lock, F_SETFD, FD_CLOEXEC);
	unsetenv(handover);
}

void listen_close(struct listen_place *p)
{
	char lock[120];

	snprintf(lock, sizeof lock, "%s.lock", p->path);
	if (same_file(p->lock, lock)) {		/* else another daemon may be there, for whatever reason */
		unlink(p->path);
		unlink(lock);
	}
	if (p->fd != -1)
		close(p->fd);
	close(p->lock);
	p->fd = p->lock = -1;
}
