/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The observer on files that lie: truncated, overwritten, exchanged, written to while they are read.
 *
 * Everything is asked of every pool that is believed; it must come back, in bounded time, with texts that end and sums
 * that hold. ASan and UBSan do the rest.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "ask_everything.h"
#include "meta_fixture.h"

TestSuite(hostile, .fini = fixture_registry_drop, .timeout = 100);

static void ask_all(struct obs *o)
{
	const char *wrong = ask_everything(o);

	cr_assert(!wrong, "%s", wrong);
}

static bool see(const struct obs_fragment *f, void *arg) { (void)f; ++*(unsigned *)arg; return true; }
static void see_error(uint64_t at, const char *what, void *arg) { (void)at, (void)what; ++*(unsigned *)arg; }

/* ---- damage ---- */

static size_t pick(size_t n) { return (size_t)random() % n; }

static uint64_t some_damage(uint64_t was, const struct fixture *f)
{
	const uint64_t base = (uintptr_t)f->heap.base;
	const uint64_t words[] = {
		0, 1, 2, 15, 16, 17, 4096, FIXTURE_SIZE, FIXTURE_SIZE - 16, FIXTURE_SIZE + 16, UINT32_MAX,
		UINT64_MAX, UINT64_MAX - 15, 1ull << 63, 1ull << 47, was + 1, was - 1, was ^ 1ull << pick(64),
		~was, base, base + pick(FIXTURE_SIZE), pick(FIXTURE_SIZE),
		(uint64_t)random() << 40 ^ (uint64_t)random()
	};

	return words[pick(sizeof words / sizeof words[0])];
}

static void fill(struct fixture *f)
{
	void *held[60];

	for (unsigned i = 0; i < 4; i++)
		fixture_site(f, "reg.c", i + 1);
	for (unsigned i = 0; i < 60; i++)
		held[i] = fixture_alloc(f, 10 + 9 * i, 1 + (10 + 9 * i) % 4);
	for (unsigned i = 0; i < 60; i += 3)
		fixture_free(f, held[i]);
	for (unsigned i = 0; i < 70; i++) {
		fixture_failure(f, i, i % 5);
		fixture_fault(f, i % 4, i);
	}
}

static void make_two(struct fixture *f[2])
{
	f[0] = fixture_pkg(getpid(), 1, NULL);
	f[1] = fixture_shm("h", 1, NULL, 0, 0);
	fill(f[0]);
	fill(f[1]);
}

/* Where a word may be damaged: parts of META that are read, DATA of shm. */
static uint64_t *some_word(struct fixture *f)
{
	const struct { uint64_t at, bytes; } part[] = {
		{ 0, sizeof(struct meta_identity) }, { META_LIVE, 256 }, { META_LIVE, 64 }, { META_LIVE + 64, 128 },
		{ META_FAILURES, 8192 }, { META_FAULTS, 8192 }, { META_SITES + 4096, 192 * 8 },
		{ META_SLOTS, sizeof(struct meta_slot) }, { META_SLOTS + offsetof(struct meta_slot, log), 512 },
		{ META_RECORDS, 32 * 64 },
	};
	size_t i = pick(sizeof part / sizeof part[0] + 2);

	if (i < sizeof part / sizeof part[0])
		return (uint64_t *)(void *)(f->meta + part[i].at + 8 * pick(part[i].bytes / 8));
	if (i == sizeof part / sizeof part[0])
		return f->heap.roots + pick(f->id->root_bytes % 8 ? 8 : 64);
	return (uint64_t *)(void *)(f->heap.base + 8 * pick(40000 / 8));
}

Test(hostile, any_word_may_be_anything)
{
	struct fixture *f[2];
	struct obs *o;

	make_two(f);
	srandom(1);
	cr_assert_eq(obs_open(fixture_registry(), &o), 0);
	for (unsigned round = 0; round < 3000; round++) {
		unsigned damages = 1 + (unsigned)pick(3);
		struct { uint64_t *word, was; } d[4];

		for (unsigned i = 0; i < damages; i++) {
			struct fixture *g = f[pick(2)];

			d[i].word = some_word(g);
			d[i].was = *d[i].word;
			*d[i].word = some_damage(d[i].was, g);
		}
		cr_assert_eq(obs_scan(o, NULL, NULL), 0);
		ask_all(o);
		while (damages--)
			*d[damages].word = d[damages].was;
	}
	cr_assert_eq(obs_scan(o, NULL, NULL), 0);
	cr_assert(obs_at(o, 1), "both are believed again");
	obs_close(o);
	fixture_free_pool(f[0]);
	fixture_free_pool(f[1]);
}

Test(hostile, a_holder_with_a_wild_log_is_not_followed)
{
	struct fixture *f = fixture_shm("log", 1, NULL, 0, 0);
	struct obs *o = fixture_observer(NULL, NULL);

	fill(f);
	srandom(2);
	fixture_begin(f);
	for (unsigned round = 0; round < 1000; round++) {
		struct undo_log *log = f->heap.log;

		log->n = pick(4) ? pick(UNDO_MAX + 2) : (uint64_t)random() << 20 ^ (uint64_t)random();
		for (unsigned i = 0; i < UNDO_MAX; i++) {
			log->e[i].word = (uint64_t *)some_damage((uintptr_t)some_word(f), f);
			log->e[i].old = some_damage(0, f);
		}
		ask_all(o);
	}
	obs_close(o);
	fixture_free_pool(f);
}

Test(hostile, a_file_may_end_anywhere)
{
	static const off_t ends[] = {
		0, 1, 8, 303, 304, 305, 4096, 4096 + 64, 4096 + 100, 4096 + 300, 8191, 8192, 8200, 12288,
		META_FAILURES, META_FAILURES + 100, META_FAULTS + 100, META_SITES + 5000, META_SLOTS,
		META_SLOTS + 100, META_SLOTS + 200, META_SLOTS + 3000, META_RECORDS, META_RECORDS + 33,
		META_RECORDS + 3000, META_RECORDS + 4096
	};
	struct fixture *f[2];
	char path[256], data[280];
	struct obs *o;

	/* the files are cut down, never what is mapped here and touched */
	for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++)
		for (int before = 0; before < 2; before++) {
			make_two(f);
			cr_assert_eq(obs_open(fixture_registry(), &o), 0);
			if (!before)
				cr_assert_eq(obs_scan(o, NULL, NULL), 0);
			for (size_t k = 0; k < 2; k++)
				cr_assert_eq(truncate(fixture_path(path, f[k]->file), ends[i]), 0);
			if (before)
				cr_assert_eq(obs_scan(o, NULL, NULL), 0);
			cr_assert(before == 0 || (obs_at(o, 0) != NULL) == (ends[i] >= META_PKG_START), "%ld", ends[i]);
			ask_all(o);
			cr_assert_eq(obs_scan(o, NULL, NULL), 0);
			ask_all(o);
			obs_close(o);
			for (size_t k = 0; k < 2; k++) {
				cr_assert_eq(unlink(fixture_path(path, f[k]->file)), 0);
				/* identity is read once more when a fixture is freed */
				cr_assert_eq(ftruncate(f[k]->fd, 8192), 0);
				f[k]->id->domain = k ? MEM_SHM : MEM_PKG;
			}
			snprintf(data, sizeof data, "%s.data", fixture_path(path, f[1]->file));
			cr_assert_eq(unlink(data), 0);
			fixture_free_pool(f[0]);
			fixture_free_pool(f[1]);
		}
}

Test(hostile, data_may_end_anywhere_or_be_something_else)
{
	struct fixture *f = fixture_shm("data", 1, NULL, 0, 0);
	char path[256];
	struct obs *o;
	struct obs_check c;
	unsigned n = 0;

	fill(f);
	fixture_path(path, "shm-data-1.data");
	for (off_t end = 40000; end > 0; end -= 3333) {
		cr_assert_eq(truncate(path, end), 0);
		o = fixture_observer(NULL, NULL);
		ask_all(o);
		obs_close(o);
	}
	cr_assert_eq(unlink(path), 0);
	cr_assert_eq(symlink("/etc/passwd", path), 0);
	o = fixture_observer(NULL, NULL);
	ask_all(o);
	cr_assert_eq(obs_check(obs_at(o, 0), &c, see_error, &n), 0);
	cr_assert(!c.known);
	obs_close(o);
	cr_assert_eq(unlink(path), 0);
	cr_assert_eq(mkfifo(path, 0600), 0);
	o = fixture_observer(NULL, NULL);
	ask_all(o);
	obs_close(o);
	fixture_free_pool(f);
}

/* ---- files that are no pools ---- */

struct skipped { unsigned count; char text[2048]; };

static void skip(const char *file, const char *reason, void *arg)
{
	struct skipped *s = arg;
	size_t len = strlen(s->text);

	s->count++;
	snprintf(s->text + len, sizeof s->text - len, "%s: %s\n", file, reason);
}

static void copy_as(const struct fixture *f, const char *name)
{
	char path[256];
	int fd = open(fixture_path(path, name), O_WRONLY | O_CREAT | O_TRUNC, 0600);

	cr_assert_eq(write(fd, f->meta, 3 * META_PAGE), 3 * META_PAGE);
	close(fd);
}

Test(hostile, what_is_no_pool_is_skipped_with_a_reason_each_time)
{
	struct fixture *f = fixture_pkg(getpid(), 1, NULL);
	char path[256], to[256];
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int s = socket(AF_UNIX, SOCK_STREAM, 0);
	struct skipped skipped = { 0 };
	struct obs *o;
	static const char *const want[] = {
		"notes.txt: not the name of a pool", "pkg-x-1: not the name", "shm-a-0: not the name", "shm--1: not the name",
		"pkg-5-1: a symbolic link", "pkg-6-1: not a regular file", "pkg-7-1: not a regular file", "pkg-8-1: not a regular file",
		"pkg-9-1: truncated", "pkg-10-1: not a pool", "pkg-11-1: its identity does not agree",
		"shm-a?b-1: not the name", "shm-b-1: its identity does not agree",
	};

	copy_as(f, "notes.txt");
	copy_as(f, ".pkg-4-1");			/* in the making */
	copy_as(f, "pkg-x-1");
	copy_as(f, "shm-a-0");
	copy_as(f, "shm--1");
	copy_as(f, "shm-lonely-1.data");	/* whose META is gone: the reaper's */
	copy_as(f, "shm-a\nb-1");
	copy_as(f, "shm-b-1");
	copy_as(f, "pkg-11-1");			/* another pid's */
	cr_assert_eq(symlink(fixture_path(to, f->file), fixture_path(path, "pkg-5-1")), 0);
	cr_assert_eq(mkfifo(fixture_path(path, "pkg-6-1"), 0600), 0);
	cr_assert_eq(mkdir(fixture_path(path, "pkg-7-1"), 0700), 0);
	snprintf(sun.sun_path, sizeof sun.sun_path, "%.90s", fixture_path(path, "pkg-8-1"));
	cr_assert_eq(bind(s, (struct sockaddr *)&sun, sizeof sun), 0);
	copy_as(f, "pkg-9-1");
	cr_assert_eq(truncate(fixture_path(path, "pkg-9-1"), 100), 0);
	copy_as(f, "pkg-10-1");
	cr_assert_eq(truncate(fixture_path(path, "pkg-10-1"), 0), 0);
	cr_assert_eq(truncate(fixture_path(path, "pkg-10-1"), 8192), 0);

	cr_assert_eq(obs_open(fixture_registry(), &o), 0);
	for (int i = 0; i < 2; i++) {
		skipped = (struct skipped){ 0 };
		cr_assert_eq(obs_scan(o, skip, &skipped), 0);
		cr_assert_eq(skipped.count, sizeof want / sizeof want[0], "%s", skipped.text);
		for (size_t k = 0; k < sizeof want / sizeof want[0]; k++)
			cr_assert(strstr(skipped.text, want[k]), "%s in\n%s", want[k], skipped.text);
		cr_assert(obs_at(o, 0));
		cr_assert_null(obs_at(o, 1));
	}
	obs_close(o);
	close(s);
	fixture_free_pool(f);
}

Test(hostile, each_word_of_the_identity_is_looked_at)
{
	struct fixture *f = fixture_shm("id", 1, NULL, 0, 0);
	const struct { const char *what; uint64_t at, value; unsigned bytes; const char *reason; } no[] = {
#define WORD(field, value, reason) { #field, offsetof(struct meta_identity, field), value, sizeof f->id->field, reason }
		WORD(magic, 0, "not a pool"), WORD(layout, META_LAYOUT + 1, "another version"), WORD(pointer_bytes, 4, "another machine"),
		WORD(page_bytes, 65536, "another machine"), WORD(identity_bytes, 304, "another machine"),
		WORD(domain, MEM_PKG, "agree"), WORD(domain, 7, "agree"), WORD(incarnation, 2, "agree"),
		WORD(base, 4096, "impossible"), WORD(base, 1, "impossible"), WORD(base, 1ull << 60, "impossible"),
		WORD(size, 0, "impossible"), WORD(size, 4097, "impossible"), WORD(size, UINT64_MAX - 4095, "impossible"),
		WORD(meta_at, 0, "impossible"), WORD(meta_at, 8, "impossible"), WORD(meta_at, UINT64_MAX, "impossible"),
		WORD(roots, 0, "impossible"), WORD(root_bytes, UINT64_MAX, "impossible"), WORD(root_bytes, META_ROOTS_MAX + 8, "impossible"),
		WORD(records_max, UINT64_MAX, "impossible"), WORD(records_max, 1ull << 33, "impossible"),
		WORD(records_max, 1ull << 31, "impossible"), WORD(pid, 0, "agree"), WORD(pid, UINT64_MAX, "agree"),
	};
	struct skipped skipped;
	struct obs *o;

	for (size_t i = 0; i < sizeof no / sizeof no[0]; i++) {
		uint64_t was = 0;

		memcpy(&was, f->meta + no[i].at, no[i].bytes);
		memcpy(f->meta + no[i].at, &no[i].value, no[i].bytes);
		skipped = (struct skipped){ 0 };
		o = fixture_observer(skip, &skipped);
		cr_assert_null(obs_at(o, 0), "%s was believed", no[i].what);
		cr_assert(strstr(skipped.text, no[i].reason), "%s: %s", no[i].what, skipped.text);
		obs_close(o);
		memcpy(f->meta + no[i].at, &was, no[i].bytes);
	}
	for (size_t i = 0; i < 3; i++) {
		char *text = i == 0 ? f->id->name : i == 1 ? f->id->manager : f->id->command;
		size_t room = i == 0 ? sizeof f->id->name : i == 1 ? sizeof f->id->manager : sizeof f->id->command;
		char was[64];

		memcpy(was, text, room);
		memset(text, 'x', room);
		o = fixture_observer(NULL, NULL);
		cr_assert_null(obs_at(o, 0));
		obs_close(o);
		memcpy(text, was, room);
	}
	snprintf(f->id->command, sizeof f->id->command, "\x1b[2J\xff\xc3\xa4\xc0\x80\xed\xa0\x80 ok");
	o = fixture_observer(NULL, NULL);
	cr_assert_str_eq(obs_info(obs_at(o, 0))->command, "?[2J?\xc3\xa4????? ok");
	obs_close(o);
	fixture_free_pool(f);
}

Test(hostile, a_pool_that_turns_into_noise_is_skipped_and_believed_again_when_it_was_mended)
{
	struct fixture *f = fixture_shm("noise", 1, NULL, 0, 0);
	struct obs *o = fixture_observer(NULL, NULL);
	struct skipped skipped = { 0 };

	usleep(60000);
	cr_assert_eq(obs_scan(o, NULL, NULL), 0);
	cr_assert(obs_at(o, 0));
	f->id->magic ^= 1;
	cr_assert_eq(obs_scan(o, skip, &skipped), 0);
	cr_assert_null(obs_at(o, 0));
	cr_assert_eq(skipped.count, 1u);
	f->id->magic ^= 1;
	cr_assert_eq(obs_scan(o, NULL, NULL), 0);
	cr_assert(obs_at(o, 0));
	obs_close(o);
	fixture_free_pool(f);
}

Test(hostile, a_registry_that_others_may_write_to_is_refused)
{
	struct fixture *f = fixture_shm("w", 1, NULL, 0, 0);
	struct skipped skipped = { 0 };
	struct obs *o;
	char path[256];

	cr_assert_eq(chmod(fixture_registry(), 0777), 0);
	o = fixture_observer(skip, &skipped);
	cr_assert_null(obs_at(o, 0));
	cr_assert(strstr(skipped.text, "others may write"), "%s", skipped.text);
	cr_assert_eq(chmod(fixture_registry(), 0770), 0);
	skipped = (struct skipped){ 0 };
	cr_assert_eq(obs_scan(o, skip, &skipped), 0);
	cr_assert_null(obs_at(o, 0));
	cr_assert(strstr(skipped.text, "others may write"), "%s", skipped.text);
	cr_assert_eq(chmod(fixture_registry(), 0700), 0);
	cr_assert_eq(obs_scan(o, NULL, NULL), 0);
	cr_assert(obs_at(o, 0));
	obs_close(o);
	cr_assert_eq(symlink(fixture_registry(), fixture_path(path, "link")), 0);
	skipped = (struct skipped){ 0 };
	cr_assert_eq(obs_open(path, &o), 0);
	cr_assert_eq(obs_scan(o, skip, &skipped), 0);
	cr_assert_null(obs_at(o, 0));
	cr_assert(strstr(skipped.text, "not a directory"), "%s", skipped.text);
	obs_close(o);
	fixture_free_pool(f);
}

Test(hostile, another_users_file_gives_no_look_into_a_process_that_is_not_his, .disabled = false)
{
	struct fixture *f = fixture_pkg(getpid(), 1, NULL);
	struct skipped skipped = { 0 };
	unsigned told = 0;
	uint64_t cursor = 0;
	struct obs *o;
	char path[256];

	if (geteuid() == 0) {		/* only root may make such files, and only root is in danger */
		fixture_alloc(f, 100, 1);
		cr_assert_eq(chown(fixture_path(path, f->file), 12345, 12345), 0);
		o = fixture_observer(skip, &skipped);
		cr_assert_null(obs_at(o, 0));
		cr_assert(strstr(skipped.text, "another user"), "%s", skipped.text);
		obs_close(o);
		cr_assert_eq(chown(fixture_registry(), 12345, 12345), 0);
		o = fixture_observer(NULL, NULL);
		cr_assert(obs_at(o, 0));
		cr_assert_eq(obs_walk(obs_at(o, 0), &cursor, 100, see, &told), -EACCES);
		cr_assert_eq(told, 0u);
		obs_close(o);
	}
	fixture_free_pool(f);
}

/* ---- a writer that does not stop ---- */

struct scribbler { struct fixture *f[2]; atomic_bool stop; };

static void *scribble(void *arg)
{
	struct scribbler *s = arg;
	uint64_t seed = 7;

	while (!atomic_load(&s->stop)) {
		struct fixture *f = s->f[seed >> 40 & 1];
		uint64_t part[] = { META_LIVE, META_SLOTS, META_RECORDS, META_FAILURES, META_SITES + 4096 };
		uint64_t at;

		seed = seed * 6364136223846793005u + 1442695040888963407u;
		at = part[seed >> 33 & 3] + (seed >> 45 & 0x1ff) / 8 * 8;
		if (at >= META_LIVE)
			*(volatile uint64_t *)(void *)(f->meta + at) = seed & 64 ? seed : seed >> 50;
	}
	return NULL;
}

Test(hostile, a_writer_may_scribble_while_it_is_read)
{
	struct scribbler s = { 0 };
	struct timespec start, now;
	pthread_t thread;
	struct obs *o;

	make_two(s.f);
	o = fixture_observer(NULL, NULL);
	cr_assert_eq(pthread_create(&thread, NULL, scribble, &s), 0);
	clock_gettime(CLOCK_MONOTONIC, &start);
	do {
		cr_assert_eq(obs_scan(o, NULL, NULL), 0);
		ask_all(o);
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while (now.tv_sec < start.tv_sec + 3);
	atomic_store(&s.stop, true);
	pthread_join(thread, NULL);
	obs_close(o);
	fixture_free_pool(s.f[0]);
	fixture_free_pool(s.f[1]);
}

/* ---- a sound writer that does not stop ---- */

static void *work(void *arg)
{
	struct scribbler *s = arg;
	void *held[2][40] = { { 0 } };
	uint64_t seed = 9;

	while (!atomic_load(&s->stop)) {
		void **p;

		seed = seed * 6364136223846793005u + 1442695040888963407u;
		p = &held[seed >> 40 & 1][(seed >> 50) % 40];
		if (*p) {
			fixture_free(s->f[seed >> 40 & 1], *p);
			*p = NULL;
		} else {
			size_t size = 16 + (seed >> 45) % 600;

			*p = fixture_alloc(s->f[seed >> 40 & 1], size, 1 + (uint32_t)size % 4);
		}
	}
	return NULL;
}

static bool sane(const struct obs_fragment *f, void *arg)
{
	++*(uint64_t *)arg;
	return f->size % 8 == 0 && f->size < 4096 && f->requested <= 616 && f->site == 1 + f->requested % 4;
}

Test(hostile, a_heap_in_motion_is_never_called_damaged)
{
	struct scribbler s = { 0 };
	struct timespec start, now;
	pthread_t thread;
	struct obs *o;
	unsigned rounds = 0;

	make_two(s.f);
	o = fixture_observer(NULL, NULL);
	cr_assert_eq(pthread_create(&thread, NULL, work, &s), 0);
	clock_gettime(CLOCK_MONOTONIC, &start);
	do {
		for (size_t i = 0; i < 2; i++) {
			struct obs_pool *p = obs_at(o, i);
			uint64_t cursor = 0, told = 0;
			struct obs_check c;
			struct obs_stats st;
			unsigned n = 0;
			int e;

			cr_assert_eq(obs_stats(p, &st), 0);
			cr_assert_eq(st.state, OBS_LIVE, "%s", st.reason);
			cr_assert_eq(st.real_used + st.cached + st.free, st.committed);
			cr_assert_eq(obs_check(p, &c, NULL, NULL), 0);
			cr_assert(!c.known || c.ok, "a heap in motion was called damaged");
			for (unsigned k = 0; k < 50; k++) {
				cr_assert_eq(obs_records(p, &cursor, 1000, sane, &told), 0);
				cr_assert_eq(cursor, 0u, "a record that never was");
			}
			do
				e = obs_walk(p, &cursor, 7, see, &(unsigned){ 0 });
			while (!e && cursor && ++n < 1000);
			cr_assert(e == 0 || e == -EAGAIN, "%s", strerror(-e));
			cr_assert_lt(n, 1000u, "a walk without end");
		}
		rounds++;
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while (now.tv_sec < start.tv_sec + 3);
	atomic_store(&s.stop, true);
	pthread_join(thread, NULL);
	cr_assert_gt(rounds, 10u);
	obs_close(o);
	fixture_free_pool(s.f[0]);
	fixture_free_pool(s.f[1]);
}

static void *take_turns(void *arg)
{
	struct scribbler *s = arg;

	while (!atomic_load(&s->stop)) {
		fixture_begin(s->f[0]);
		fixture_end(s->f[0]);
	}
	return NULL;
}

Test(hostile, a_wrong_count_is_found_in_a_heap_that_never_stands_still)
{
	struct scribbler s = { 0 };
	pthread_t thread;
	struct obs *o;

	s.f[0] = fixture_shm("turns", 1, NULL, 0, 0);
	fill(s.f[0]);
	o = fixture_observer(NULL, NULL);
	cr_assert_eq(pthread_create(&thread, NULL, take_turns, &s), 0);
	for (unsigned i = 0; i < 20; i++) {
		unsigned errors = 0;
		struct obs_check c;

		s.f[0]->live->counters.fragments += i % 2 ? 50 : 0;
		cr_assert_eq(obs_check(obs_at(o, 0), &c, see_error, &errors), 0);
		cr_assert(c.known, "an answer in time");
		cr_assert(c.ok == !(i % 2) && !errors == c.ok);
		s.f[0]->live->counters.fragments -= i % 2 ? 50 : 0;
	}
	atomic_store(&s.stop, true);
	pthread_join(thread, NULL);
	obs_close(o);
	fixture_free_pool(s.f[0]);
}
