/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What is wrong with a configuration is told with file, line, key, what was found and what is allowed.
 */
#include "sandbox.h"

TestSuite(errors, .init = sandbox_make, .fini = sandbox_drop);

/** The one error of a file with these bytes; "" when there is none. The file's name becomes FILE. */
static const char *error_of(const char *text, size_t len)
{
	static struct conf_error e;
	static char short_text[sizeof e.text];
	struct conf_options o = { .file = sandbox_file };
	struct conf c, defaults;
	const char *at;
	int result;

	write_file(sandbox_file, text, len);
	result = conf_load(&o, some_managers, &c, &e);
	cr_assert((result != 0) == (e.text[0] != 0), "%d %s", result, e.text);
	if (!result)
		return "";
	snprintf(short_text, sizeof short_text, "%s", e.text);
	if ((at = strstr(e.text, sandbox_file)))
		snprintf(short_text, sizeof short_text, "%.*sFILE%s", (int)(at - e.text), e.text,
			 at + strlen(sandbox_file));
	conf_load(NULL, some_managers, &defaults, &e);
	cr_assert(memcmp(&c, &defaults, sizeof c) == 0, "after an error there are the defaults: %s", short_text);
	return short_text;
}

#define SAYS(text, expected) do { \
	const char *said = error_of("" text, sizeof text - 1); \
	cr_expect_str_eq(said, expected, "\n said     %s\n expected %s", said, expected); \
} while (0)

#define POOL_KEYS "size, shards, manager, keep, on_death"
#define SIZES "64K to 64G, in bytes or with K, M, G or T"
#define LINES "lines of text, at most 197 bytes long"

Test(errors, a_bad_value_is_told_with_what_is_allowed)
{
	SAYS("\n\nmemory.track = yes\n", "FILE:3: memory.track: \"yes\" found, allowed: off, sites, stacks, sampled");
	SAYS("memory.sample = 1", "FILE:1: memory.sample: \"1\" found, allowed: 1K to 1G, in bytes or with K, M, G or T");
	SAYS("memory.sample = often", "FILE:1: memory.sample: \"often\" found, allowed: 1K to 1G, in bytes or with K, M, G or T");
	SAYS("memory.debug = maybe", "FILE:1: memory.debug: \"maybe\" found, allowed: no, yes");
	SAYS("memory.safety = no", "FILE:1: memory.safety: \"no\" found, allowed: report, abort");
	SAYS("memory.shm.on_death = burn",
	     "FILE:1: memory.shm.on_death: \"burn\" found, allowed: keep, reclaim, quarantine");
	SAYS("control.log = file", "FILE:1: control.log: \"file\" found, allowed: stderr, syslog");
	SAYS("leaks.samples = 1", "FILE:1: leaks.samples: \"1\" found, allowed: 2 to 64 samples");
	SAYS("leaks.interval = 10s", "FILE:1: leaks.interval: \"10s\" found, allowed: 1 to 86400 seconds");
	SAYS("control.max_connections = -1",
	     "FILE:1: control.max_connections: \"-1\" found, allowed: 1 to 65536 connections");
	SAYS("memory.shm.pool = 42",
	     "FILE:1: memory.shm.pool: \"42\" found, allowed: nothing, or 1 to 48 of A-Z a-z 0-9 _ . -, "
	     "not digits alone, no dot first");
	SAYS("control.group = a-name-that-is-longer-than-groups-have", "FILE:1: control.group: "
	     "\"a-name-that-is-longer-than-groups-have\" found, allowed: at most 31 bytes");
}

Test(errors, a_bad_size_is_told_with_its_limits)
{
	SAYS("memory.shm.size = big", "FILE:1: memory.shm.size: \"big\" found, allowed: " SIZES);
	SAYS("memory.shm.size = 0", "FILE:1: memory.shm.size: \"0\" found, allowed: " SIZES);
	SAYS("memory.shm.size = 1K", "FILE:1: memory.shm.size: \"1K\" found, allowed: " SIZES);
	SAYS("memory.shm.size = 2T", "FILE:1: memory.shm.size: \"2T\" found, allowed: " SIZES);
	SAYS("memory.shm.size = 64Q", "FILE:1: memory.shm.size: \"64Q\" found, allowed: " SIZES);
	SAYS("memory.shm.size = -64M", "FILE:1: memory.shm.size: \"-64M\" found, allowed: " SIZES);
	SAYS("memory.shm.size = 64MM", "FILE:1: memory.shm.size: \"64MM\" found, allowed: " SIZES);
	SAYS("memory.shm.size = 18446744073709551617",
	     "FILE:1: memory.shm.size: \"18446744073709551617\" found, allowed: " SIZES);
	SAYS("memory.shm.size = 99999999999G", "FILE:1: memory.shm.size: \"99999999999G\" found, allowed: " SIZES);
	SAYS("memory.shm.size =", "FILE:1: memory.shm.size: \"\" found, allowed: " SIZES);
	SAYS("memory.pkg.size = 1",
	     "FILE:1: memory.pkg.size: \"1\" found, allowed: 0, or 64K to 64G, in bytes or with K, M, G or T");
}

Test(errors, a_manager_that_there_is_not_is_told_with_those_that_are)
{
	SAYS("memory.manager = tlfs", "FILE:1: memory.manager: \"tlfs\" found, allowed: for pkg qm, fm, sys");
	SAYS("memory.manager = sys", "FILE:1: memory.manager: \"sys\" found, allowed: for shm qm, fm");
	SAYS("memory.pkg.manager = x", "FILE:1: memory.pkg.manager: \"x\" found, allowed: for pkg qm, fm, sys");
	SAYS("memory.shm.manager = sys", "FILE:1: memory.shm.manager: \"sys\" found, allowed: for shm qm, fm");
	SAYS("memory.manager =", "FILE:1: memory.manager: \"\" found, allowed: for pkg qm, fm, sys");
	SAYS("[pool.a]\nmanager = sys", "FILE:2: [pool.a] manager: \"sys\" found, allowed: for shm qm, fm");
	SAYS("memory.pkg.manager = sys", "");
}

Test(errors, a_module_is_looked_for_where_all_sources_together_say)
{
	struct conf_error e;
	struct conf c;

#define FOUND "memory.pkg.manager: \"module:x\" found, allowed: for pkg qm, fm, sys; "
	SAYS("memory.pkg.manager = module:x", "FILE:1: " FOUND " has none");
	SAYS("memory.module_path = /a\nmemory.pkg.manager = module:x", "FILE:2: " FOUND "/a has none");
	SAYS("memory.pkg.manager = module:x\nmemory.module_path = /b", "FILE:1: " FOUND "/b has none");
	setenv("MEMAPI_MODULE_PATH", "/c", 1);
	cr_expect_eq(conf_load(&(struct conf_options){ .pkg_manager = "module:x" }, some_managers, &c, &e), -EINVAL);
	cr_expect_str_eq(e.text, "-X: \"module:x\" found, allowed: for pkg qm, fm, sys; /c has none");
}

Test(errors, an_unknown_key_is_told_with_its_neighbours)
{
	SAYS("leaks.sample = 3", "FILE:1: leaks.sample: unknown key, allowed: leaks.samples, leaks.interval");
	SAYS("[leaks]\nsample = 3", "FILE:2: leaks.sample: unknown key, allowed: leaks.samples, leaks.interval");
	SAYS("[leaks]\nleaks.samples = 3",
	     "FILE:2: leaks.leaks.samples: unknown key, allowed: leaks.samples, leaks.interval");
	SAYS("manager = fm", "FILE:1: manager: unknown key, allowed: keys of memory, control and leaks");
	SAYS("= fm", "FILE:1: : unknown key, allowed: keys of memory, control and leaks");
	SAYS("memory = fm",
	     "FILE:1: memory: unknown key, allowed: memory.manager, memory.pkg.manager, memory.shm.manager, "
	     "memory.pkg.size, memory.shm.size, memory.shards, memory.pkg.shards, memory.shm.shards, memory.shm.pool, "
	     "memory.shm.on_death, memory.debug, memory.track, memory.sample, "
	     "memory.magazines, memory.safety, memory.keep_exited, memory.module_path");
	SAYS("[pool.big]\nmemory.manager = fm", "FILE:2: [pool.big] memory.manager: unknown key, allowed: " POOL_KEYS);
}

Test(errors, an_unknown_section_is_told_also_when_it_is_empty)
{
#define SECTIONS "[pool.NAME], [memory], [memory.pkg], [memory.shm], [control], [leaks]"
	SAYS("[foo]", "FILE:1: [foo]: unknown section, allowed: " SECTIONS);
	SAYS("[mem]\nmanager = fm", "FILE:1: [mem]: unknown section, allowed: " SECTIONS);
	SAYS("[]\n", "FILE:1: []: unknown section, allowed: " SECTIONS);
	SAYS("[memory] manager = fm", "FILE:1: \"[memory] manager = fm\" found, allowed: [SECTION]");
	SAYS("[memory\nmanager = fm", "FILE:1: \"[memory\" found, allowed: [SECTION]");
}

Test(errors, a_pool_has_rules_of_its_own)
{
#define NAME_RULE "\" found, allowed: [pool.NAME], NAME 1 to 48 of A-Z a-z 0-9 _ . -, not digits alone, no dot first"
	SAYS("[pool.]", "FILE:1: \"pool." NAME_RULE);
	SAYS("[pool..hidden]", "FILE:1: \"pool..hidden" NAME_RULE);
	SAYS("[pool.1]", "FILE:1: \"pool.1" NAME_RULE);
	SAYS("[pool.a/b]", "FILE:1: \"pool.a/b" NAME_RULE);
	SAYS("[pool.a23456789012345678901234567890123456789012345678]", "");
	SAYS("[pool.a234567890123456789012345678901234567890123456789]",
	     "FILE:1: \"pool.a234567890123456789012345678901234567890123456789" NAME_RULE);
	SAYS("[pool.a]\nkeep = often", "FILE:2: [pool.a] keep: \"often\" found, allowed: no, yes");
	SAYS("[pool.a]\nsize = 1", "FILE:2: [pool.a] size: \"1\" found, allowed: " SIZES);
	SAYS("[pool.a]\n[pool.b]\n[pool.c]\n[pool.d]\n[pool.e]\n[pool.f]\n[pool.g]\n[pool.h]\n[pool.i]\n[pool.j]\n[pool.k]\n"
	     "[pool.l]\n[pool.m]\n[pool.n]\n[pool.o]\n",
	     "");
	SAYS("[pool.a]\n[pool.b]\n[pool.c]\n[pool.d]\n[pool.e]\n[pool.f]\n[pool.g]\n[pool.h]\n[pool.i]\n[pool.j]\n[pool.k]\n"
	     "[pool.l]\n[pool.m]\n[pool.n]\n[pool.o]\n[pool.p]\n",
	     "FILE:16: [pool.p]: too many pools, allowed: 16");
}

Test(errors, a_key_that_is_given_twice_is_told_with_both_lines)
{
	SAYS("memory.debug = no\n\n[memory]\ndebug = yes", "FILE:4: memory.debug: given twice, first in line 1");
	SAYS("[pool.a]\nkeep = no\n[pool.b]\nkeep = no\n[pool.a]\nkeep = yes",
	     "FILE:6: [pool.a] keep: given twice, first in line 2");
}

Test(errors, a_line_that_is_none_is_told_and_the_first_error_wins)
{
	SAYS("memory.debug = no\nwhat is this\nmemory.track = x", "FILE:2: \"what is this\" found, "
								  "allowed: KEY = VALUE, [SECTION], or a comment");
	SAYS("memory.track = x\nwhat is this", "FILE:1: memory.track: \"x\" found, allowed: off, sites, stacks, sampled");
	SAYS("memory.debug = no # fast",
	     "FILE:1: \"no # fast\" found, allowed: a comment on a line of its own, or after \" ;\"");
	SAYS("memory.debug = no\n\tmemory.track = x\n",
	     "FILE:2: memory.track: \"x\" found, allowed: off, sites, stacks, sampled");
	SAYS("memory.track = \033[2J\a\n", "FILE:1: memory.track: \"?[2J?\" found, allowed: off, sites, stacks, sampled");
	SAYS("memory.track = 0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890",
	     "FILE:1: memory.track: \"01234567890123456789012345678901234567890123456789012345678901234567890123456789…\" "
	     "found, allowed: off, sites, stacks, sampled");
}

Test(errors, a_file_that_is_no_text_is_refused)
{
	static char big[70000];

	SAYS("memory.debug = no\n\0\n", "FILE:2: \"\" found, allowed: " LINES);
	memset(big, 'x', sizeof big);
	cr_expect_str_eq(
		error_of(big, 300),
		"FILE:1: \"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…\" "
		"found, allowed: " LINES);
	memset(big, '\n', sizeof big);
	cr_expect_str_eq(error_of(big, sizeof big), "FILE: longer than 64K");
	cr_expect_str_eq(error_of(big, 65535), "");
}

Test(errors, noise_never_does_harm)
{
	static const char bytes[] = "memory.trackpool[]=;#\n\n \t:\xef\xbb\xbf\r0";
	char noise[4096];
	unsigned seed = 1;

	for (int round = 0; round < 300; round++) {
		for (size_t i = 0; i < sizeof noise; i++)
			noise[i] = bytes[(size_t)rand_r(&seed) % sizeof bytes];
		error_of(noise, (size_t)rand_r(&seed) % sizeof noise);
	}
}

Test(errors, what_is_right_is_no_error)
{
	SAYS("", "");
	SAYS("\xef\xbb\xbf# a comment\r\n; another\r\n  memory.manager = qm ; why\r\n[control]\r\nsocket=/run/x.sock\r\n",
	     "");
	SAYS("memory.shm.pool =\nmemory.debug: yes\nmemory.keep_exited = on\n[memory.shm]\nsize = 1 GiB\n[pool.default]\n",
	     "");
}

Test(errors, a_named_file_must_be_there)
{
	struct conf_options o = { .file = "/nonexistent/x" };
	struct conf_error e;
	struct conf c;

	cr_expect_eq(conf_load(&o, NULL, &c, &e), -ENOENT);
	cr_expect_str_eq(e.text, "/nonexistent/x: No such file or directory");
	setenv("MEMAPI_CONFIG", "/nonexistent/y", 1);
	cr_expect_eq(conf_load(NULL, NULL, &c, &e), -ENOENT);
	cr_expect_str_eq(e.text, "/nonexistent/y: No such file or directory");
	setenv("MEMAPI_CONFIG", sandbox, 1);
	cr_expect_eq(conf_load(NULL, NULL, &c, &e), -EISDIR);
	cr_expect(strstr(e.text, "Is a directory"));
}

Test(errors, a_fifo_does_not_stop_a_program)
{
	struct conf_options o = { .file = sandbox_file };
	struct conf_error e;
	struct conf c;

	cr_assert(mkfifo(sandbox_file, 0600) == 0);
	conf_load(&o, NULL, &c, &e);
}

Test(errors, environment_and_command_line_say_which_of_them_it_was)
{
	static const char *const keys[][2] = {
		{ "memory.track=yes" }, { "memory.size=1" }, { "memory.track" }, { "x=1" }
	};
	static const char *const said[] = {
		"--memory.track: \"yes\" found, allowed: off, sites, stacks, sampled",
		"--memory.size: unknown key, allowed: memory.manager, memory.pkg.manager, memory.shm.manager, memory.pkg.size, "
		"memory.shm.size, memory.shards, memory.pkg.shards, memory.shm.shards, memory.shm.pool, memory.shm.on_death, memory.debug, memory.track, memory.sample, "
		"memory.magazines, memory.safety, "
		"memory.keep_exited, memory.module_path",
		"--memory.track: no value found, allowed: --memory.track=VALUE",
		"--x: unknown key, allowed: keys of memory, control and leaks",
	};
	struct conf_options o = { .shm_manager = "sys" };
	struct conf_error e;
	struct conf c;

	for (unsigned i = 0; i < 4; i++) {
		cr_expect_eq(conf_load(&(struct conf_options){ .keys = keys[i] }, some_managers, &c, &e), -EINVAL);
		cr_expect_str_eq(e.text, said[i]);
	}
	cr_expect_eq(conf_load(&o, some_managers, &c, &e), -EINVAL);
	cr_expect_str_eq(e.text, "-x: \"sys\" found, allowed: for shm qm, fm");
	o = (struct conf_options){ .pkg_manager = "no" };
	cr_expect_eq(conf_load(&o, some_managers, &c, &e), -EINVAL);
	cr_expect_str_eq(e.text, "-X: \"no\" found, allowed: for pkg qm, fm, sys");
	o = (struct conf_options){ .shm_mb = "0" };
	cr_expect_eq(conf_load(&o, some_managers, &c, &e), -EINVAL);
	cr_expect_str_eq(e.text, "-m: \"0\" found, allowed: 1 to 65536 megabytes");
	o = (struct conf_options){ .pkg_mb = "64M" };
	cr_expect_eq(conf_load(&o, some_managers, &c, &e), -EINVAL);
	cr_expect_str_eq(e.text, "-M: \"64M\" found, allowed: 0, or 1 to 65536 megabytes");
	o = (struct conf_options){
		.socket = "/a/path/that/is/longer/than/the/hundred/and/seven/bytes/which/an/address/of/a/unix/"
			  "socket/has/room/for/by/its/definition"
	};
	cr_expect_eq(conf_load(&o, some_managers, &c, &e), -EINVAL);
	cr_expect(strstr(e.text, "--socket: \"/a/path") && strstr(e.text, "allowed: at most 107 bytes"), "%s", e.text);
	setenv("MEMAPI_SHM_SIZE", "all", 1);
	cr_expect_eq(conf_load(NULL, some_managers, &c, &e), -EINVAL);
	cr_expect_str_eq(e.text, "MEMAPI_SHM_SIZE: \"all\" found, allowed: " SIZES);
}
