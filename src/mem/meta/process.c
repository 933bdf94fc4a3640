/* SPDX-License-Identifier: BSD-2-Clause */
#include "mem/meta/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const uint64_t no_epoch;
const volatile uint64_t *epoch_word = &no_epoch;

static uint64_t epochs; /* copied by fork: a child's epoch is never one of its parents' */
static struct process_self self;
static uint64_t self_epoch;

uint64_t epoch_renew(void)
{
	if (epoch_word == &no_epoch) {
		void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (page == MAP_FAILED)
			return 0;
		/* without it (before 4.14) only fork() is noticed, by the atfork handler */
		(void)madvise(page, 4096, MADV_WIPEONFORK);
		epoch_word = page;
	}
	*(volatile uint64_t *)(uintptr_t)epoch_word = ++epochs;
	return epochs;
}

/* /proc/PID/FILE without stdio: this runs in children of any kind of fork. */
static ssize_t read_proc(int32_t pid, const char *file, char *buf, size_t bytes)
{
	char path[48];
	ssize_t n;
	int fd;

	if (pid)
		snprintf(path, sizeof path, "/proc/%d/%s", pid, file);
	else
		snprintf(path, sizeof path, "/proc/self/%s", file);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd == -1)
		return -1;
	n = read(fd, buf, bytes - 1);
	close(fd);
	if (n >= 0)
		buf[n] = 0;
	return n;
}

/* Field 22 of stat, and whether it is a dead one whose parent has not asked yet. */
static uint64_t read_start_time(int32_t pid, bool *ret_zombie)
{
	char buf[512], *at, *end;
	uint64_t threads = 0;

	if (read_proc(pid, "stat", buf, sizeof buf) <= 0 || !(at = end = strrchr(buf, ')')))
		return 0;
	for (unsigned field = 2; field < 22; field++) { /* the command may hold blanks and brackets: from its end */
		if (!(at = strchr(at + 1, ' ')))
			return 0;
		if (field == 19)
			threads = strtoull(at + 1, NULL, 10);
	}
	/* a leader that ended before its threads is a zombie too, and lives on in them */
	*ret_zombie = end[1] == ' ' && (end[2] == 'Z' || end[2] == 'X') && threads <= 1;
	return strtoull(at + 1, NULL, 10);
}

uint64_t process_start_time(int32_t pid)
{
	bool zombie;

	return read_start_time(pid, &zombie);
}

static uint64_t namespace_of_self(void)
{
	struct stat st;

	return stat("/proc/self/ns/pid", &st) == 0 ? st.st_ino : 0;
}

/* The program's name and its first arguments, as a person would type it. */
static void read_command(char *to, size_t bytes)
{
	char buf[256];
	ssize_t n = read_proc(0, "cmdline", buf, sizeof buf);
	const char *from = buf, *slash;
	size_t len = 0;

	if (n <= 0) {
		n = read_proc(0, "comm", to, bytes);
		to[n > 0 ? strcspn(to, "\n") : 0] = 0;
		return;
	}
	slash = strrchr(buf, '/'); /* of argv[0] alone: its end is a 0 */
	if (slash)
		from = slash + 1;
	for (; len + 1 < bytes && from < buf + n; from++)
		to[len++] = *from ? *from : ' ';
	while (len && to[len - 1] == ' ')
		len--;
	to[len] = 0;
}

void process_read_self(struct process_self *ret_self)
{
	*ret_self = (struct process_self){ .start_time = process_start_time(0),
					   .pid_namespace = namespace_of_self(),
					   .pid = getpid(),
					   .uid = geteuid() };
	read_command(ret_self->command, sizeof ret_self->command);
}

const struct process_self *process_self(void)
{
	if (self_epoch != *epoch_word || !self_epoch) {
		process_read_self(&self);
		self_epoch = *epoch_word;
	}
	return &self;
}

enum process_fate process_fate(int32_t pid, uint64_t start_time, uint64_t pid_namespace)
{
	bool zombie = false;
	uint64_t now;

	if (pid <= 0 || !pid_namespace || pid_namespace != process_self()->pid_namespace)
		return PROCESS_NOT_KNOWN;
	if (kill(pid, 0) == -1 && errno == ESRCH)
		return PROCESS_DEAD;
	now = read_start_time(pid, &zombie);
	if (zombie)	/* or its pid was given on, and that one is dead too */
		return PROCESS_DEAD;
	if (!now || !start_time)
		return PROCESS_NOT_KNOWN;
	return now == start_time ? PROCESS_LIVES : PROCESS_DEAD;
}

uint64_t clock_seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec;
}

uint64_t clock_mono_seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
	return (uint64_t)ts.tv_sec;
}
