/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * default < file < choice < environment < command line, and a specific key beats the general one of its own source
 * only.
 */
#include "sandbox.h"

TestSuite(strength, .init = sandbox_make, .fini = sandbox_drop);

static struct conf load(const struct conf_options *o)
{
	struct conf_error e;
	struct conf c;

	cr_assert(conf_load(o, some_managers, &c, &e) == 0, "%s", e.text);
	cr_assert_str_eq(e.text, "");
	return c;
}

static void user_file(const char *text)
{
	char path[128];

	snprintf(path, sizeof path, "%s/memapi", sandbox);
	mkdir(path, 0700);
	snprintf(path, sizeof path, "%s/memapi/mmd.conf", sandbox);
	write_file(path, text, strlen(text));
}

static void choose(const char *pkg, const char *shm)
{
	struct conf_choice choice;
	struct conf_error e;

	snprintf(choice.name[CONF_PKG], sizeof choice.name[0], "%s", pkg);
	snprintf(choice.name[CONF_SHM], sizeof choice.name[0], "%s", shm);
	cr_assert(conf_choice_write(&choice, &e) == 0, "%s", e.text);
}

#define IS(c, domain, name_, from_) do { \
	cr_expect_str_eq((c).manager[domain].name, name_); \
	cr_expect_str_eq(conf_from_name((c).manager[domain].from), from_); \
} while (0)

Test(strength, without_anything_there_are_the_defaults)
{
	struct conf c = load(NULL);

	IS(c, CONF_PKG, CONF_MANAGER, "default");
	IS(c, CONF_SHM, CONF_MANAGER, "default");
	cr_expect_eq(c.shm_size, 64u << 20);
	cr_expect_eq(c.pkg_size, 0);
	cr_expect(c.pools == 1 && !strcmp(c.pool[0].name, "default") && c.pool[0].size == 64u << 20);
	cr_expect_not(c.track_set);
	cr_expect_str_eq(c.file, "");
	cr_expect_str_eq(c.log, "stderr");
}

Test(strength, each_source_beats_the_weaker_ones)
{
	struct conf_options o = { .shm_manager = "qm", .pkg_manager = "fm" };
	struct conf c;

	user_file("memory.manager = qm");
	c = load(NULL);
	IS(c, CONF_PKG, "qm", "file");
	cr_expect(strstr(c.file, "/memapi/mmd.conf"));
	choose("fm", "");
	c = load(NULL);
	IS(c, CONF_PKG, "fm", "choice");
	IS(c, CONF_SHM, "qm", "file");
	setenv("MEMAPI_PKG_MANAGER", "sys", 1);
	c = load(NULL);
	IS(c, CONF_PKG, "sys", "environment");
	IS(c, CONF_SHM, "qm", "file");
	c = load(&o);
	IS(c, CONF_PKG, "fm", "command_line");
	IS(c, CONF_SHM, "qm", "command_line");
}

Test(strength, the_specific_key_wins_whatever_the_order_in_the_file)
{
	struct conf c;

	user_file("memory.pkg.manager = sys\nmemory.manager = qm\n");
	c = load(NULL);
	IS(c, CONF_PKG, "sys", "file");
	IS(c, CONF_SHM, "qm", "file");
	user_file("memory.manager = qm\nmemory.shm.manager = fm\n");
	c = load(NULL);
	IS(c, CONF_PKG, "qm", "file");
	IS(c, CONF_SHM, "fm", "file");
}

Test(strength, a_general_key_of_a_stronger_source_beats_a_specific_one_of_a_weaker)
{
	static const char *const keys[] = { "memory.manager=fm", NULL };
	struct conf c;

	user_file("memory.pkg.manager = sys\nmemory.shm.manager = qm");
	choose("sys", "qm");
	setenv("MEMAPI_MANAGER", "fm", 1);
	c = load(NULL);
	IS(c, CONF_PKG, "fm", "environment");
	IS(c, CONF_SHM, "fm", "environment");
	setenv("MEMAPI_SHM_MANAGER", "qm", 1);
	c = load(NULL);
	IS(c, CONF_SHM, "qm", "environment");
	c = load(&(struct conf_options){ .keys = keys });
	IS(c, CONF_SHM, "fm", "command_line");
}

Test(strength, x_alone_is_for_both_domains)
{
	static const char *const keys[] = { "memory.pkg.manager=sys", NULL };
	struct conf c = load(&(struct conf_options){ .shm_manager = "qm" });

	IS(c, CONF_PKG, "qm", "command_line");
	IS(c, CONF_SHM, "qm", "command_line");
	c = load(&(struct conf_options){ .pkg_manager = "sys" });
	IS(c, CONF_PKG, "sys", "command_line");
	IS(c, CONF_SHM, "fm", "default");
	c = load(&(struct conf_options){ .shm_manager = "qm", .keys = keys });
	IS(c, CONF_PKG, "sys", "command_line");
	IS(c, CONF_SHM, "qm", "command_line");
}

Test(strength, sizes_and_words_follow_the_same_order)
{
	static const char *const keys[] = { "memory.shm.size=3M", "control.log=syslog", NULL };
	struct conf_options o = { .shm_mb = "5", .pkg_mb = "7", .socket = "/tmp/a.sock" };
	struct conf c;

	user_file("memory.shm.size = 1M\nmemory.track = stacks\n[control]\nsocket = /tmp/b.sock\n");
	c = load(NULL);
	cr_expect(c.shm_size == 1 << 20 && c.track == 2 && c.track_set);
	cr_expect_str_eq(c.socket, "/tmp/b.sock");
	setenv("MEMAPI_SHM_SIZE", "2M", 1);
	setenv("MEMAPI_TRACK", "off", 1);
	c = load(NULL);
	cr_expect(c.shm_size == 2 << 20 && c.track == 0 && c.track_set);
	c = load(&o);
	cr_expect(c.shm_size == 5 << 20 && c.pkg_size == 7 << 20);
	cr_expect_str_eq(c.socket, "/tmp/a.sock");
	o.keys = keys;
	c = load(&o);
	cr_expect_eq(c.shm_size, 3 << 20);
	cr_expect_str_eq(c.log, "syslog");
}

Test(strength, pools_take_what_they_leave_open_from_memory_shm)
{
	struct conf c;

	user_file(
		"[pool.big]\nsize = 1G\nkeep = yes\nmanager = qm\n[pool.small]\non_death = reclaim\n[pool.default]\nkeep = yes\n"
		"[memory.shm]\nsize = 8M\non_death = quarantine\n");
	c = load(NULL);
	cr_assert_eq(c.pools, 3);
	cr_expect(!strcmp(c.pool[0].name, "default") && c.pool[0].size == 8 << 20 && c.pool[0].keep &&
		  c.pool[0].on_death == 2);
	cr_expect(!strcmp(c.pool[1].name, "big") && c.pool[1].size == 1 << 30 && c.pool[1].keep &&
		  c.pool[1].on_death == 2);
	cr_expect(!strcmp(c.pool[2].name, "small") && c.pool[2].size == 8 << 20 && !c.pool[2].keep &&
		  c.pool[2].on_death == 1);
	cr_expect_str_eq(c.pool[1].manager, "qm");
	cr_expect_str_eq(c.pool[2].manager, "");
}

static bool only_qm(struct conf_ask *ask)
{
	snprintf(ask->allowed, sizeof ask->allowed, "qm");
	return !strcmp(ask->name, "qm");
}

Test(strength, a_build_without_the_usual_manager_has_its_first_one_as_default)
{
	struct conf_error e;
	struct conf c;

	cr_assert_eq(conf_load(NULL, only_qm, &c, &e), 0);
	IS(c, CONF_PKG, "qm", "default");
}

Test(strength, a_choice_that_does_not_serve_is_left_out_and_said)
{
	struct conf_error e;
	struct conf c;

	user_file("memory.manager = qm");
	choose("gone", "fm");
	cr_assert_eq(conf_load(NULL, some_managers, &c, &e), 0);
	cr_expect_str_eq(e.text, "stored choice: pkg: \"gone\" found, allowed: for pkg qm, fm, sys");
	IS(c, CONF_PKG, "qm", "file");
	IS(c, CONF_SHM, "fm", "choice");
}
