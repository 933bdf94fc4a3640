/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Killed at each system call of a pool's life: made, entered, grown, trimmed, reaped, left, removed; and of the stored
 * choice. What lies between two system calls is for the steps and kill points of the others.
 *
 * A child does a deed under ptrace() and gets SIGKILL at its n-th stop, before a system call or behind it, n = 0, 1, …
 * until the deed comes to its end. After each kill somebody else comes, and judges: nothing is in his way, nothing is
 * half there, and what was left in the registry goes as the rules for it say.
 *
 * Usage: kill_life MANAGER [STRIDE [DEED]]: every STRIDE-th stop, each of them unless told otherwise. Exit status 0, or
 * 1 with the line, the deed and the stop.
 */
#include <dirent.h>
#include <fcntl.h>
#include <memapi/observe.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "conf/conf.h"
#include "expect.h"
#include "mem/meta/registry.h"
#include "mem/reap/reap.h"

enum { STOPS_MAX = 5000, BYTES = 4 << 20, BLOCKS = 400, BLOCK = 5000 };

static const char *manager;

/* What the processes of a deed tell each other. */
struct board {
	bool held;			/* the keeper has the pool, and its roots are set */
	uint64_t used;			/* bytes in use, by the keeper's hands alone */
};
static struct board *board;

struct deed {
	const char *name;
	void (*before)(void);		/* a process that lives beside the deed; NULL: none */
	void (*act)(void);
	void (*judge)(void);		/* in a process of its own, while the other one lives */
};

/* ---- processes ---- */

static void wait_for(pid_t pid, const char *who, const struct deed *d, unsigned stop)
{
	int status;

	EXPECT(waitpid(pid, &status, 0) == pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return;
	fprintf(stderr, "%s, stop %u: %s ended with status %#x\n", d->name, stop, who, status);
	exit(1);
}

static pid_t start(void (*life)(void))
{
	pid_t pid = fork();

	EXPECT(pid >= 0);
	if (pid)
		return pid;
	alarm(60);
	life();
	exit(0);
}

static void to_the_end(void (*life)(void), const char *who, const struct deed *d, unsigned stop)
{
	wait_for(start(life), who, d, stop);
}

/* false: it came to its end before its n-th stop. */
static bool killed_at(const struct deed *d, unsigned n)
{
	pid_t pid = fork();
	int status, sig = 0;

	EXPECT(pid >= 0);
	if (pid == 0) {
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) == -1)
			_exit(3);
		raise(SIGSTOP);
		d->act();
		exit(0);
	}
	EXPECT(waitpid(pid, &status, 0) == pid && WIFSTOPPED(status));
	EXPECT(ptrace(PTRACE_SETOPTIONS, pid, NULL, (void *)(PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL)) == 0);
	for (unsigned stop = 0; stop <= n; stop += !sig) {
		EXPECT(ptrace(PTRACE_SYSCALL, pid, NULL, (void *)(intptr_t)sig) == 0 &&
		       waitpid(pid, &status, 0) == pid);
		if (WIFEXITED(status)) {
			EXPECT(WEXITSTATUS(status) == 0);
			return false;
		}
		EXPECT(WIFSTOPPED(status));
		sig = WSTOPSIG(status) == (SIGTRAP | 0x80) ? 0 : WSTOPSIG(status);
	}
	EXPECT(kill(pid, SIGKILL) == 0 && waitpid(pid, &status, 0) == pid && WIFSIGNALED(status));
	return true;
}

/* ---- deeds ---- */

/* Grows the pool, fills it half, and empties it; of one who is killed in it nothing stays. */
static void use_it(void)
{
	void *block[BLOCKS];

	for (unsigned i = 0; i < BLOCKS; i++)
		EXPECT(block[i] = shm_malloc_owned(i % 3 ? BLOCK : 64));
	for (unsigned i = 0; i < BLOCKS; i++)
		shm_free(block[i]);
	shm_trim();
}

static void make_and_leave(void)
{
	EXPECT(shm_create("life", BYTES) == 0);
	EXPECT(shm_root_set("mine", shm_malloc(100)) == 0);
	use_it();
}

static uint64_t used_now(void)
{
	struct mem_info info;

	shm_info(&info);
	return info.used_size;
}

static void keep_it(void)
{
	uint64_t *mine;

	EXPECT(shm_create("life", BYTES) == 0);
	EXPECT(mine = shm_malloc(4000));
	memset(mine, 0x5a, 4000);
	EXPECT(shm_root_set("mine", mine) == 0);
	shm_trim();
	board->used = used_now();
	__atomic_store_n(&board->held, true, __ATOMIC_RELEASE);
	pause();
}

static void enter_and_leave(void)
{
	EXPECT(shm_attach("life") == 0);
	EXPECT(((unsigned char *)shm_root_get("mine"))[3999] == 0x5a);
	use_it();
}

/* Owned by one who is killed in front of the deed. */
static void leave_something(void)
{
	EXPECT(shm_attach("life") == 0);
	for (unsigned i = 0; i < 20; i++)
		EXPECT(shm_malloc_owned(i * 100 + 8));
	raise(SIGKILL);
}

static void reap_the_dead(void)
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		leave_something();
	EXPECT(waitpid(pid, &status, 0) == pid);
	EXPECT(shm_attach("life") == 0);
	shm_reap();
}

static void look_at_private(void)
{
	void *p = pkg_malloc(100);

	EXPECT(p);
	pkg_free(p);
}

static struct conf_choice choice_of(const char *name)
{
	struct conf_choice c = { .name = { "", "" } };

	snprintf(c.name[CONF_SHM], sizeof c.name[CONF_SHM], "%s", name);
	return c;
}

static void choose(const char *name)
{
	struct conf_choice c = choice_of(name);
	struct conf_error error;

	EXPECT(conf_choice_write(&c, &error) == 0);
}

static void choose_new(void) { choose("new"); }

/* ---- judges ---- */

static bool check_told(struct obs_pool *p)
{
	struct obs_check check;

	return obs_check(p, &check, NULL, NULL) == 0 && check.known && check.ok;
}

static void check_all(void)
{
	struct obs *o;
	struct obs_stats stats;

	EXPECT(obs_open(NULL, &o) == 0 && obs_scan(o, NULL, NULL) == 0);
	for (size_t i = 0; obs_at(o, i); i++) {
		EXPECT(obs_stats(obs_at(o, i), &stats) == 0 && stats.state != OBS_DAMAGED);
		if (stats.state == OBS_LIVE && obs_info(obs_at(o, i))->domain == OBS_SHM)
			EXPECT(check_told(obs_at(o, i)));
	}
	obs_close(o);
}

/* The name is free, or the pool of the dead can be used. */
static void newcomer(void)
{
	int rc = shm_attach("life");

	if (rc)
		EXPECT(rc == -ENOENT && shm_create("life", BYTES) == 0);
	shm_reap();
	use_it();
	check_all();
}

/* Beside the keeper: he alone has something, and it is what it was. */
static void neighbour(void)
{
	EXPECT(shm_attach("life") == 0);
	for (unsigned i = 0; i < 3 && used_now() != board->used; i++) {
		shm_reap();
		shm_trim();
	}
	EXPECT(used_now() == board->used);
	EXPECT(((unsigned char *)shm_root_get("mine"))[3999] == 0x5a);
	use_it();
	check_all();
}

/* Old or new, and nothing beside it once somebody has written again. */
static void read_choice(void)
{
	struct conf_choice c;
	struct conf_error error;
	char path[256];
	struct dirent *e;
	DIR *d;

	EXPECT(conf_choice_read(&c, &error) == 0);
	EXPECT(strcmp(c.name[CONF_SHM], "old") == 0 || strcmp(c.name[CONF_SHM], "new") == 0);
	choose("old");
	EXPECT(conf_choice_path(path, sizeof path) == 0);
	*strrchr(path, '/') = 0;
	EXPECT(d = opendir(path));
	while ((e = readdir(d)))
		EXPECT(e->d_name[0] == '.' || strcmp(e->d_name, "choice") == 0);
	closedir(d);
}

static const struct deed deeds[] = {
	{ "make", NULL, make_and_leave, newcomer },
	{ "enter", keep_it, enter_and_leave, neighbour },
	{ "reap", keep_it, reap_the_dead, neighbour },
	{ "private", NULL, look_at_private, look_at_private },
	{ "choice", NULL, choose_new, read_choice },
};

/* ---- what is left in the registry ---- */

static bool is_half(int dir, const char *file)
{
	char meta[REGISTRY_NAME_MAX + 8];
	size_t n = strlen(file);

	if (file[0] == '.')
		return strcmp(file, ".") != 0 && strcmp(file, "..") != 0;
	if (n < 6 || strcmp(file + n - 5, ".data") != 0)
		return false;
	snprintf(meta, sizeof meta, "%.*s", (int)(n - 5), file);
	return faccessat(dir, meta, F_OK, 0) == -1;
}

static unsigned halves(int dir, bool age)
{
	const struct timespec old[2] = { { 1000000000, 0 }, { 1000000000, 0 } };
	DIR *d = fdopendir(dup(dir));
	struct dirent *e;
	unsigned count = 0;

	EXPECT(d);
	rewinddir(d);
	while ((e = readdir(d)))
		if (is_half(dir, e->d_name)) {
			count++;
			if (age)
				EXPECT(utimensat(dir, e->d_name, old, 0) == 0);
		}
	closedir(d);
	return count;
}

/* What was half made goes after a while. */
static void tidy(const struct deed *d, unsigned stop)
{
	int dir;

	EXPECT(registry_open(&dir) == 0);
	if (halves(dir, true))
		reap_registry(dir);
	if (halves(dir, false)) {
		fprintf(stderr, "%s, stop %u: half a pool stays in the registry\n", d->name, stop);
		exit(1);
	}
	close(dir);
}

static void make_old(int dir, const char *file)
{
	const struct timespec old[2] = { { 1000000000, 0 }, { 1000000000, 0 } };
	int fd = openat(dir, file, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

	EXPECT(fd != -1 && futimens(fd, old) == 0);
	close(fd);
}

/* METAs in the making, with DATA and without: of a pool, of a shard, of a private heap. One that has just begun stays.
 */
static void halves_of_every_kind_go(void)
{
	static const char *const files[] = { ".shm-x-1", ".shm-x-1+1", ".shm-x-2+1", "shm-x-2+1.data", ".pkg-1-1+1" };
	const char *young = ".shm-x-3+1";
	int dir, fd;

	EXPECT(registry_open(&dir) == 0);
	for (size_t i = 0; i < sizeof files / sizeof *files; i++)
		make_old(dir, files[i]);
	fd = openat(dir, young, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	EXPECT(fd != -1);
	close(fd);
	reap_registry(dir);
	for (size_t i = 0; i < sizeof files / sizeof *files; i++)
		EXPECT(faccessat(dir, files[i], F_OK, AT_SYMLINK_NOFOLLOW) == -1);
	EXPECT(unlinkat(dir, young, 0) == 0);
	close(dir);
}

static void empty_registry(void)
{
	struct dirent *e;
	DIR *d;
	int dir;

	EXPECT(registry_open(&dir) == 0);
	EXPECT(d = fdopendir(dir));
	while ((e = readdir(d)))
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			EXPECT(unlinkat(dir, e->d_name, 0) == 0);
	closedir(d);
}

/* ---- all of it ---- */

static bool try_stop(const struct deed *d, unsigned stop)
{
	pid_t keeper = 0;
	bool killed;

	memset(board, 0, sizeof *board);
	if (d->before) {
		keeper = start(d->before);
		while (!__atomic_load_n(&board->held, __ATOMIC_ACQUIRE)) {
			EXPECT(waitpid(keeper, NULL, WNOHANG) == 0);	/* it lives */
			usleep(200);
		}
	}
	killed = killed_at(d, stop);
	to_the_end(d->judge, "who came after", d, stop);
	if (keeper) {
		kill(keeper, SIGKILL);
		waitpid(keeper, NULL, 0);
		empty_registry();
	}
	tidy(d, stop);
	return killed;
}

int main(int argc, char **argv)
{
	unsigned stride = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 1;

	EXPECT(argc > 1 && stride);
	manager = argv[1];
	setenv("MEMAPI_SHM_MANAGER", manager, 1);
	setenv("MEMAPI_PKG_MANAGER", manager, 1);
	board = mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	EXPECT(board != MAP_FAILED);
	choose("old");
	halves_of_every_kind_go();
	for (unsigned i = 0; i < sizeof deeds / sizeof *deeds; i++) {
		unsigned stop = 0, kills = 0;

		if (argc > 3 && strcmp(argv[3], deeds[i].name) != 0)
			continue;
		empty_registry();
		for (; stop < STOPS_MAX && try_stop(&deeds[i], stop); kills++)
			stop += stride;
		EXPECT(kills > 2 && stop < STOPS_MAX);
		printf("%s: killed at %u stops, of about %u\n", deeds[i].name, kills, stop);
		fflush(stdout);
	}
	return 0;
}
