/* SPDX-License-Identifier: BSD-2-Clause */
/* Every C function that allocates, as glibc's manual has it: results, alignment, contents, errno. */
#include <errno.h>
#include <malloc.h>
#include <string.h>
#include <sys/resource.h>
#include <wchar.h>

#include "heap.h"

#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

void free_sized(void *p, size_t size) __attribute__((weak));
void free_aligned_sized(void *p, size_t align, size_t size) __attribute__((weak));

/* The compiler knows these functions, and would leave out what is not used. */
static void *(*volatile malloc_)(size_t) = malloc;
static void *(*volatile calloc_)(size_t, size_t) = calloc;
static void *(*volatile realloc_)(void *, size_t) = realloc;
static void *(*volatile reallocarray_)(void *, size_t, size_t) = reallocarray;
static void *(*volatile aligned_alloc_)(size_t, size_t) = aligned_alloc;
static void *(*volatile memalign_)(size_t, size_t) = memalign;
static int (*volatile posix_memalign_)(void **, size_t, size_t) = posix_memalign;
static void (*volatile free_)(void *) = free;

static int all(const void *p, unsigned char byte, size_t bytes)
{
	for (const unsigned char *c = p; bytes--; c++)
		if (*c != byte)
			return 0;
	return 1;
}

static void sizes(void)
{
	void *p, *q;

	for (size_t size = 0; size < 70000; size = size < 300 ? size + 1 : size * 3) {
		p = malloc_(size);
		CHECK(p && (uintptr_t)p % 16 == 0 && on_heap(p));
		CHECK(malloc_usable_size(p) >= size);
		memset(p, 0xee, malloc_usable_size(p));
		free_(p);
		p = calloc_(1, size);
		CHECK(p && all(p, 0, size));
		free_(p);
	}
	p = malloc_(0);
	q = malloc_(0);
	CHECK(p && q && p != q);
	free_(p);
	free_(q);
	free_(NULL);
	CHECK(malloc_usable_size(NULL) == 0);
}

static size_t resident(void)
{
	unsigned long pages = 0;
	FILE *f = fopen("/proc/self/statm", "r");

	CHECK(f && fscanf(f, "%*s %lu", &pages) == 1);
	if (f)
		fclose(f);
	return pages * 4096;
}

/* Zeros are not touched to make them, and what is large goes back to the system: at once, but not again and again. */
static void large(void)
{
	size_t before = resident(), faults_before;
	struct rusage u;
	char *p;

	for (size_t size = 100ul << 20; size <= 800ul << 20; size *= 2) {
		p = calloc_(1, size);
		CHECK(p && on_heap(p) && !p[0] && !p[size / 2] && !p[size - 1]);
		CHECK(resident() < before + (20ul << 20));
		p[size / 2] = p[size - 1] = 1;
		free_(p);
	}
	p = malloc_(200ul << 20);
	memset(p, 1, 200ul << 20);
	CHECK(resident() > before + (190ul << 20));
	free_(p);
	CHECK(resident() < before + (20ul << 20));
	p = calloc_(1, 200ul << 20);
	CHECK(p && all(p, 0, 200ul << 20));
	free_(p);
	getrusage(RUSAGE_SELF, &u);
	faults_before = (size_t)u.ru_minflt;
	for (unsigned i = 0; i < 1000; i++) {
		p = malloc_(2u << 20);
		memset(p, 1, 2u << 20);
		free_(p);
	}
	getrusage(RUSAGE_SELF, &u);
	CHECK((size_t)u.ru_minflt - faults_before < 20000);	/* 512 a round would be 512000 */
}

/* Not to be had: NULL and ENOMEM, nothing changed. */
static void too_much(void)
{
	static const size_t sizes[] = { SIZE_MAX, SIZE_MAX - 15, (size_t)PTRDIFF_MAX + 1, PTRDIFF_MAX, 1ul << 46 };
	char *kept = malloc_(100);
	void *p = &p;

	memset(kept, 7, 100);
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
#define NONE(call) (errno = 0, (call) == NULL && errno == ENOMEM)
		CHECK(NONE(malloc_(sizes[i])));
		CHECK(NONE(calloc_(sizes[i], 1)));
		CHECK(NONE(realloc_(NULL, sizes[i])));
		CHECK(NONE(realloc_(kept, sizes[i])) && all(kept, 7, 100));
		CHECK(NONE(aligned_alloc_(64, sizes[i])));
		CHECK(NONE(memalign_(4096, sizes[i])));
		CHECK(NONE(valloc(sizes[i])));
		CHECK(NONE(pvalloc(sizes[i])));
		CHECK((errno = 3, posix_memalign_(&p, 64, sizes[i])) == ENOMEM && p == &p && errno == 3);
	}
	CHECK(NONE(calloc_(SIZE_MAX / 2, 3)));
	CHECK(NONE(calloc_((size_t)1 << 32, (size_t)1 << 32)));
	CHECK(NONE(reallocarray_(NULL, (size_t)1 << 32, (size_t)1 << 32)));
	CHECK(NONE(reallocarray_(kept, SIZE_MAX / 2, 3)) && all(kept, 7, 100));
	errno = 5;
	free_(kept);
	CHECK(errno == 5);
}

static void reallocs(void)
{
	unsigned char *p = realloc_(NULL, 10);

	CHECK(p && on_heap(p));
	memset(p, 1, 10);
	for (size_t size = 10; size < 3000000; size = size * 5 / 3) {
		p = realloc_(p, size * 5 / 3);
		CHECK(p && all(p, 1, size));
		memset(p, 1, size * 5 / 3);
	}
	p = realloc_(p, 100);
	CHECK(p && all(p, 1, 100));
	CHECK(realloc_(p, 0) == NULL);		/* it is freed */
	p = realloc_(NULL, 0);
	CHECK(p != NULL);
	p = reallocarray_(p, 30, 30);
	CHECK(p && malloc_usable_size(p) >= 900);
	free_(p);
}

static void alignments(void)
{
	void *p;

	for (size_t align = 1; align <= 2u << 20; align *= 2) {
		for (size_t size = 0; size < 20000; size = size * 7 + 1) {
			p = memalign_(align, size);
			CHECK(p && (uintptr_t)p % align == 0 && on_heap(p));
			memset(p, 0xdd, size);
			free_(p);
			p = aligned_alloc_(align, size);
			CHECK(p && (uintptr_t)p % align == 0);
			p = realloc_(p, size + 100);
			CHECK(p != NULL);
			free_(p);
			p = NULL;
			CHECK(posix_memalign_(&p, align, size) == (align < sizeof(void *) ? EINVAL : 0));
			CHECK(align < sizeof(void *) || (p && (uintptr_t)p % align == 0));
			free_(p);
		}
	}
	p = memalign_(48, 100);			/* glibc takes the next power of two */
	CHECK(p && (uintptr_t)p % 64 == 0);
	free_(p);
	CHECK(posix_memalign_(&p, 24, 1) == EINVAL && posix_memalign_(&p, 0, 1) == EINVAL);
	errno = 0;
	CHECK(memalign_(SIZE_MAX, 1) == NULL && errno == EINVAL);
	p = valloc(10);
	CHECK(p && (uintptr_t)p % 4096 == 0);
	free_(p);
	p = pvalloc(10);
	CHECK(p && (uintptr_t)p % 4096 == 0 && malloc_usable_size(p) >= 4096);
	free_(p);
}

/* Functions of the C library that allocate for their caller, or free what he allocated. */
static void callers(void)
{
	char *s = strdup("text"), *line = NULL, *n = strndup("longer", 3), *printed = NULL, *cwd = getcwd(NULL, 0);
	wchar_t *w = wcsdup(L"wide");
	size_t room = 0;
	FILE *f = fopen("/proc/self/status", "r");

	CHECK(s && !strcmp(s, "text") && on_heap(s));
	CHECK(n && !strcmp(n, "lon") && on_heap(n) && cwd && on_heap(cwd) && w && on_heap(w));
	CHECK(asprintf(&printed, "%01000d", 7) == 1000 && on_heap(printed));
	CHECK(f && getline(&line, &room, f) > 0 && on_heap(line));
	if (f)
		fclose(f);
	free(s), free(n), free(w), free(cwd), free(line), free(printed);
	f = open_memstream(&s, &room);
	CHECK(f && fputs("in memory", f) >= 0 && fclose(f) == 0 && on_heap(s) && !strcmp(s, "in memory"));
	free(s);
}

static void questions(void)
{
	struct mallinfo2 before = mallinfo2(), after;
	void *p = malloc_(1 << 20);

	after = mallinfo2();
	CHECK(after.uordblks >= before.uordblks + (1 << 20) && after.arena >= after.uordblks);
	CHECK(mallinfo().uordblks >= 1 << 20);
	free_(p);
	CHECK(mallinfo2().uordblks < after.uordblks);
	CHECK(malloc_trim(0) == 0 || malloc_trim(0) == 1);
	mallopt(M_MMAP_THRESHOLD, 1 << 20);
	if (free_sized && free_aligned_sized) {
		free_sized(malloc_(10), 10);
		free_aligned_sized(aligned_alloc_(64, 128), 64, 128);
	} else {
		CHECK(free_sized && free_aligned_sized);
	}
}

int main(void)
{
	sizes();
	large();
	too_much();
	reallocs();
	alignments();
	callers();
	questions();
	return faults;
}
