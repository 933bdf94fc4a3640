/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The stored choice is one whole version, whenever its writer is killed, and whoever else writes.
 */
#include "sandbox.h"

#include <dirent.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

TestSuite(choice, .init = sandbox_make, .fini = sandbox_drop);

static struct conf_choice choice_of(const char *pkg, const char *shm)
{
	struct conf_choice choice;

	snprintf(choice.name[CONF_PKG], sizeof choice.name[0], "%s", pkg);
	snprintf(choice.name[CONF_SHM], sizeof choice.name[0], "%s", shm);
	return choice;
}

/** Writes versions that agree with themselves, until it is killed. */
static void write_for_ever(unsigned version)
{
	for (;; version++) {
		struct conf_choice choice;
		struct conf_error e;

		for (unsigned d = 0; d < 2; d++)
			snprintf(choice.name[d], sizeof choice.name[0], "v%0*u", 1 + (int)(version % 20), version);
		if (conf_choice_write(&choice, &e))
			_exit(1);
	}
}

Test(choice, what_was_written_is_read)
{
	struct conf_choice choice = choice_of("qm", ""), back;
	struct conf_error e;
	char path[256], expected[256];

	cr_assert_eq(conf_choice_read(&back, &e), 0);
	cr_expect(!back.name[0][0] && !back.name[1][0], "no file, no choice");
	cr_assert_eq(conf_choice_write(&choice, &e), 0, "%s", e.text);
	cr_assert_eq(conf_choice_read(&back, &e), 0, "%s", e.text);
	cr_expect(!strcmp(back.name[CONF_PKG], "qm") && !back.name[CONF_SHM][0]);
	choice = choice_of("", "");
	cr_assert_eq(conf_choice_write(&choice, &e), 0);
	cr_assert_eq(conf_choice_read(&back, &e), 0);
	cr_expect(!back.name[0][0] && !back.name[1][0], "taken back");
	cr_assert_eq(conf_choice_path(path, sizeof path), 0);
	snprintf(expected, sizeof expected, "%s/memapi/choice", sandbox);
	cr_expect_str_eq(path, expected);
	cr_expect_eq(conf_choice_path(path, 10), -ENAMETOOLONG);
}

Test(choice, a_killed_writer_leaves_one_whole_version)
{
	struct conf_choice first = choice_of("v0", "v0");
	struct conf_error e;
	unsigned seed = 7;
	char last[CONF_NAME] = "v0", path[256];
	unsigned changes = 0;
	DIR *dir;

	cr_assert_eq(conf_choice_write(&first, &e), 0);
	for (unsigned round = 0; round < 150; round++) {
		struct timespec moment = { .tv_nsec = rand_r(&seed) % 3000000 };
		pid_t writers[2];
		struct conf_choice seen;

		for (unsigned i = 0; i < 2; i++)
			if ((writers[i] = fork()) == 0)
				write_for_ever(round * 100000 + i * 50000);
		nanosleep(&moment, NULL);
		for (unsigned i = 0; i < 2; i++) {
			int status;

			kill(writers[i], SIGKILL);
			waitpid(writers[i], &status, 0);
			cr_assert(WIFSIGNALED(status), "a writer failed by itself");
		}
		cr_assert_eq(conf_choice_read(&seen, &e), 0, "round %u: %s", round, e.text);
		cr_assert_str_eq(seen.name[0], seen.name[1], "round %u", round);
		changes += strcmp(last, seen.name[0]) != 0;
		snprintf(last, sizeof last, "%s", seen.name[0]);
	}
	cr_expect(changes > 10, "the writers came to write: %u", changes);
	cr_assert_eq(conf_choice_write(&first, &e), 0, "the killed ones do not block the living: %s", e.text);
	snprintf(path, sizeof path, "%s/memapi", sandbox);
	cr_assert((dir = opendir(path)) != NULL);
	for (struct dirent *d; (d = readdir(dir));)
		cr_expect(*d->d_name == '.' || !strcmp(d->d_name, "choice"), "left behind: %s", d->d_name);
	closedir(dir);
}

Test(choice, garbage_is_told_and_programs_go_on_without)
{
	static const char good[] = "version = 1\npkg = fm\nshm = qm\n";
	static const struct { const char *text, *said; } row[] = {
		{ "", ": nothing found, allowed: version = 1, and then pkg, shm" },
		{ "\x7f" "ELF", ":1: \"?ELF\" found, allowed: KEY = VALUE, [SECTION], or a comment" },
		{ "pkg = fm\n", ":1: \"pkg\" found, allowed: version = 1 as the first line" },
		{ "version = 2\n", ":1: version: \"2\" found, allowed: 1" },
		{ "version = 1\nmmap = fm\n", ":2: \"mmap\" found, allowed: pkg, shm" },
		{ "version = 1\npkg =\n", ":2: pkg: \"\" found, allowed: the name of a manager" },
		{ "[choice]\nversion = 1\n", ":1: \"choice\" found, allowed: no sections" },
	};
	struct conf_choice choice = choice_of("fm", "qm");
	struct conf_error e;
	char path[256], said[1024];
	struct conf c;

	cr_assert_eq(conf_choice_write(&choice, &e), 0);
	cr_assert_eq(conf_choice_path(path, sizeof path), 0);
	for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
		write_file(path, row[i].text, strlen(row[i].text));
		choice = choice_of("un", "touched");
		cr_expect_eq(conf_choice_read(&choice, &e), -EINVAL, "%zu", i);
		cr_expect_str_eq(choice.name[0], "un");
		snprintf(said, sizeof said,
			 "%s%s; the stored choice does not count, `mmctl manager set` or `reset` replaces it", path,
			 row[i].said);
		cr_expect_str_eq(e.text, said, "%zu:\n said     %s\n expected %s", i, e.text, said);
		cr_expect_eq(conf_load(NULL, some_managers, &c, &e), 0);
		cr_expect_str_eq(c.manager[CONF_SHM].name, CONF_MANAGER);
		cr_expect_str_eq(e.text, said, "conf_load says it too");
	}
	write_file(path, good, sizeof good - 1);
	cr_expect_eq(conf_load(NULL, some_managers, &c, &e), 0);
	cr_expect_str_eq(c.manager[CONF_SHM].name, "qm");
	cr_expect_str_eq(e.text, "");
}

Test(choice, a_name_that_would_break_the_file_is_refused)
{
	struct conf_choice choice = choice_of("a\nshm = b", "");
	struct conf_error e;

	cr_expect_eq(conf_choice_write(&choice, &e), -EINVAL);
	cr_expect_str_eq(e.text, "pkg: \"a?shm = b\" found, allowed: the name of a manager");
}

Test(choice, where_nothing_can_be_written_it_says_so)
{
	struct conf_choice choice = choice_of("fm", "fm");
	struct conf_error e;

	setenv("XDG_STATE_HOME", "/dev/null/x", 1);
	cr_expect_eq(conf_choice_write(&choice, &e), -ENOTDIR);
	cr_expect_str_eq(e.text, "/dev/null/x/memapi/choice: Not a directory");
}
