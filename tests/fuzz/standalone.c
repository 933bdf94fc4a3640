/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A fuzz target without libFuzzer: runs every seed, then damaged copies of them, or noise where there is no seed. The
 * same ones in every run.
 *
 *	fuzz_X TURNS [SEED...]
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SEED_MAX = 64 * 1024, SEEDS_MAX = 64, NOISE_MAX = 2048 };

static struct seed { uint8_t *at; size_t len; } seeds[SEEDS_MAX];
static size_t seed_count;

static uint64_t rng_state = 88172645463325252ull;

static size_t below(size_t n)
{
	rng_state ^= rng_state << 13;
	rng_state ^= rng_state >> 7;
	rng_state ^= rng_state << 17;
	return n ? (size_t)(rng_state % n) : 0;
}

static void seed_read(const char *name)
{
	FILE *f = fopen(name, "rb");
	struct seed *s = &seeds[seed_count];

	s->at = malloc(SEED_MAX);
	if (!f || !s->at) {
		perror(name);
		exit(2);
	}
	s->len = fread(s->at, 1, SEED_MAX, f);
	fclose(f);
	seed_count++;
}

/* One damage to buf, of `len` bytes with room for twice as many. Returns the new length. */
static size_t damage(uint8_t *buf, size_t len)
{
	static const char marks[] = "\r\n \t\"<>;,:%@[]\\*=?\0" "0";
	size_t at = below(len), n = 1 + below(24), other = below(len);

	if (!len)
		return 0;
	switch (below(5)) {
	case 0:
		buf[at] = (uint8_t)below(256);
		return len;
	case 1:
		buf[at] = (uint8_t)marks[below(sizeof marks - 1)];
		return len;
	case 2:					/* take some out */
		n = n < len - at ? n : len - at;
		memmove(buf + at, buf + at + n, len - at - n);
		return len - n;
	case 3:					/* say some twice */
		n = n < len - at ? n : len - at;
		memmove(buf + at + n, buf + at, len - at);
		return len + n;
	default:				/* what is said elsewhere */
		n = n < len - at ? n : len - at;
		n = n < len - other ? n : len - other;
		memmove(buf + at, buf + other, n);
		return len;
	}
}

int main(int argc, char **argv)
{
	static uint8_t buf[2 * SEED_MAX];
	long turns = argc > 1 ? strtol(argv[1], NULL, 10) : 0;

	for (int i = 2; i < argc && seed_count < SEEDS_MAX; i++)
		seed_read(argv[i]);
	if (argc < 2) {
		fprintf(stderr, "usage: %s TURNS [SEED...]\n", argv[0]);
		return 2;
	}
	for (long turn = 0; !seed_count && turn < turns; turn++) {
		size_t len = below(NOISE_MAX);

		for (size_t i = 0; i < len; i++)
			buf[i] = (uint8_t)below(256);
		LLVMFuzzerTestOneInput(buf, len);
	}
	for (size_t i = 0; i < seed_count; i++)
		LLVMFuzzerTestOneInput(seeds[i].at, seeds[i].len);
	for (long turn = 0; seed_count && turn < turns; turn++) {
		const struct seed *s = &seeds[below(seed_count)];
		size_t len = s->len;

		memcpy(buf, s->at, len);
		for (size_t n = 1 + below(8); n; n--)
			len = damage(buf, len);
		LLVMFuzzerTestOneInput(buf, len);
	}
	for (size_t i = 0; i < seed_count; i++)
		free(seeds[i].at);
	return 0;
}
