/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The table of keys agrees with itself.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "conf/keys.h"

Test(keys, every_default_is_allowed_by_its_own_row)
{
	struct conf c;
	struct conf_pool p;

	for (const struct conf_key *k = conf_keys; k->name; k++)
		cr_expect(!k->initial || k->type == KEY_MANAGER || key_store(k, &c, k->initial), "%s = %s", k->name,
			  k->initial);
	for (const struct conf_key *k = conf_pool_keys; k->name; k++)
		cr_expect(!k->initial || key_store(k, &p, k->initial), "%s = %s", k->name, k->initial);
}

Test(keys, every_row_says_what_it_is)
{
	char text[256];
	unsigned n = 0;

	for (const struct conf_key *k = conf_keys; k->name; k++, n++) {
		cr_expect(key_find(conf_keys, k->name) == k, "%s is there twice", k->name);
		cr_expect(strlen(k->help) > 10 && k->help[strlen(k->help) - 1] == '.', "%s", k->name);
		cr_expect(*key_allowed(k, text, sizeof text), "%s", k->name);
		cr_expect(k->type != KEY_NUMBER || k->bytes == sizeof(unsigned), "%s", k->name);
		cr_expect(k->type != KEY_SIZE || k->bytes == sizeof(uint64_t), "%s", k->name);
	}
	cr_expect(n <= 64, "KEYS_MAX of conf.c");
	for (n = 0; conf_pool_keys[n].name; n++)
		;
	cr_expect(n <= 8, "POOL_KEYS_MAX of conf.c");
}

Test(keys, names_in_the_environment_follow_from_the_key)
{
	char name[64];

	cr_expect(key_environment(key_find(conf_keys, "memory.manager"), name, sizeof name) &&
		  !strcmp(name, "MEMAPI_MANAGER"));
	cr_expect(key_environment(key_find(conf_keys, "memory.shm.on_death"), name, sizeof name));
	cr_expect_str_eq(name, "MEMAPI_SHM_ON_DEATH");
	cr_expect_not(key_environment(key_find(conf_keys, "control.socket"), name, sizeof name));
}

Test(keys, sizes_are_read_in_all_their_forms)
{
	static const struct { const char *text; uint64_t value; } good[] = {
		{ "0", 0 }, { "1", 1 }, { "64K", 65536 }, { "64k", 65536 }, { "64 KiB", 65536 }, { "64KB", 65536 },
		{ "1M", 1 << 20 }, { "1G", 1 << 30 }, { "2T", 1ull << 41 }, { "18446744073709551615", UINT64_MAX },
		{ "16777215T", 16777215ull << 40 },
	};
	static const char *const bad[] = { "", " ", "K", "-1", "+1", "1.5M", "1X", "1KK", "1 K B", "1  K", "0x10", "1e3",
					   "16777216T", "18446744073709551616", "184467440737095516150" };
	uint64_t value;

	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		value = 77;
		cr_expect(key_number(good[i].text, true, &value) && value == good[i].value, "%s", good[i].text);
	}
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		value = 77;
		cr_expect(!key_number(bad[i], true, &value) && value == 77, "%s", bad[i]);
	}
	cr_expect_not(key_number("1K", false, &value));
}

Test(keys, sizes_are_written_as_short_as_they_are_exact)
{
	char text[32];

	cr_expect_str_eq(key_size_text(0, text, sizeof text), "0");
	cr_expect_str_eq(key_size_text(1023, text, sizeof text), "1023");
	cr_expect_str_eq(key_size_text(65536, text, sizeof text), "64K");
	cr_expect_str_eq(key_size_text(3ull << 40, text, sizeof text), "3T");
	cr_expect_str_eq(key_size_text(1ull << 50, text, sizeof text), "1024T");
	cr_expect_str_eq(key_size_text((1 << 20) + 1024, text, sizeof text), "1025K");
}
