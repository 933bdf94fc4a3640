/* SPDX-License-Identifier: BSD-2-Clause */
#include "mem/meta/store.h"

#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>

#include "base/fnv.h"
#include "mem/base/compiler.h"
#include "mem/meta/process.h"
#include "mem/meta/symbols.h"

enum { RECORDS_STEP = 2048, SITES_STEP = 64 };

/* ---- memory behind META ---- */

static int commit(struct pool *p, uint64_t from, uint64_t to)
{
	from &= ~(uint64_t)(META_PAGE - 1);
	to = ROUND_UP(to, META_PAGE);
	if (!p->seen && p->meta_file.fd < 0) /* anonymous: the kernel gives pages on touch */
		return to <= p->meta_bytes ? 0 : -ENOSPC;
	return region_file_commit(&p->meta_file, p->meta + from, from, to - from);
}

int records_grow(struct pool *p)
{
	uint64_t have = p->live->records_committed, step = have / 4 > RECORDS_STEP ? have / 4 : RECORDS_STEP, want;
	int rc;

	if (have >= p->id->records_max)
		return -ENOSPC;
	want = ROUND_UP(have + step, META_PAGE / sizeof(struct meta_record));
	if (want > p->id->records_max)
		want = p->id->records_max;
	rc = commit(p, META_RECORDS + have * sizeof(struct meta_record),
		    META_RECORDS + want * sizeof(struct meta_record));
	if (rc == 0)
		*(volatile uint64_t *)&p->live->records_committed = want;
	return rc;
}

/* By pages: a line may begin in one and end in the next. */
int threads_grow(struct pool *p)
{
	uint64_t have = ROUND_UP(p->live->threads * sizeof(struct meta_thread), META_PAGE);
	int rc = commit(p, META_THREADS + have, META_THREADS + have + META_PAGE);

	/* Pairs with the acquire in pkg_magazines_cached(): the memory is there. */
	if (rc == 0)
		atomic_store_explicit(&p->live->threads, (have + META_PAGE) / sizeof(struct meta_thread),
				      memory_order_release);
	return rc;
}

/* ---- sites ---- */

static void copy_end(char *to, size_t bytes, const char *from)
{
	size_t len = from ? strlen(from) : 0;

	/* a long path is cut at its front: its end tells more */
	snprintf(to, bytes, "%s", len >= bytes ? from + (len - bytes + 1) : from ? from : "");
}

static void describe_site(const struct mem_site *site, struct meta_site *to)
{
	copy_end(to->file, sizeof to->file, site->file);
	copy_end(to->function, sizeof to->function, site->function);
	copy_end(to->module, sizeof to->module, site->module);
	to->line = site->line;
}

struct named { const char *file; char function[41]; uint64_t from_start; };

/* The program itself, whatever its argv[0] says: that may have been written over by now. */
static bool is_program(const Dl_info *info)
{
	return (getauxval(AT_PHDR) & ~4095ull) == (uintptr_t)info->dli_fbase;
}

static const char *file_to_read(const Dl_info *info)
{
	return is_program(info) ? "/proc/self/exe" : info->dli_fname;
}

static const char *file_to_tell(const Dl_info *info)
{
	const char *name = is_program(info) ? (const char *)getauxval(AT_EXECFN) : NULL;

	return name ? name : info->dli_fname;
}

/* A return address: the program or library it lies in, and the function, or "" and the distance from the file's start. A
 * call may be the last instruction of its function: the byte before is what counts. */
static bool name_address(const void *address, struct named *ret)
{
	Dl_info info;

	if (!dladdr((const char *)address - 1, &info) || !info.dli_fname)
		return false;
	ret->file = file_to_tell(&info);
	ret->function[0] = 0;
	ret->from_start = (uintptr_t)address - (uintptr_t)info.dli_fbase;
	if (info.dli_sname) {
		snprintf(ret->function, sizeof ret->function, "%s", info.dli_sname);
		ret->from_start = (uintptr_t)address - (uintptr_t)info.dli_saddr;
	} else if (symbol_find(file_to_read(&info), ret->from_start - 1, ret->function, sizeof ret->function,
			       &ret->from_start)) {
		ret->from_start++;
	}
	return true;
}

static void describe_address(const void *address, struct meta_site *to)
{
	struct named named;
	const char *slash;

	to->address = (uintptr_t)address;
	if (!name_address(address, &named))
		return;
	copy_end(to->file, sizeof to->file, named.file);
	slash = strrchr(named.file, '/');
	copy_end(to->module, sizeof to->module, slash ? slash + 1 : named.file);
	snprintf(to->function, sizeof to->function, "%s%s0x%lx", named.function, named.function[0] ? "+" : "",
		 (unsigned long)named.from_start);
}

int sites_grow(struct pool *p)
{
	uint64_t have = p->live->sites_committed, want = have + SITES_STEP;
	uint64_t end = META_SITES + offsetof(struct meta_sites, site);
	int rc;

	if (have >= SITES_MAX)
		return -ENOSPC;
	rc = commit(p, have ? end + have * sizeof(struct meta_site) : META_SITES,
		    end + want * sizeof(struct meta_site));
	if (rc == 0)
		*(volatile uint64_t *)&p->live->sites_committed = want;
	return rc;
}

COLD void site_describe(const struct mem_site *site, const void *caller, bool named, struct meta_site *ret_site)
{
	memset(ret_site, 0, sizeof *ret_site); /* it is hashed whole */
	if (site)
		describe_site(site, ret_site);
	else if (named)
		describe_address(caller, ret_site);
	else
		ret_site->address = (uintptr_t)caller;
}

/* ---- stacks ---- */

/* Initial-exec: where our malloc serves the program, asking for it must not allocate. */
static _Thread_local bool unwinding __attribute__((tls_model("initial-exec")));

COLD bool stack_take(struct call_stack *ret_stack, const void *caller)
{
	enum { OWN = 8 };		/* frames of ours below the application's, at most */
	void *frame[STACK_DEPTH + OWN];
	uint64_t key = FNV_START;
	unsigned depth, from = 0;

	if (unwinding)
		return false;
	unwinding = true;
	depth = (unsigned)backtrace(frame, STACK_DEPTH + OWN);	/* its first call loads libgcc */
	unwinding = false;
	while (from < depth && frame[from] != caller)
		from++;
	if (from == depth)
		from = 0;		/* compiled away: better all than none */
	ret_stack->depth = depth - from < STACK_DEPTH ? depth - from : STACK_DEPTH;
	memcpy(ret_stack->frame, frame + from, ret_stack->depth * sizeof *frame);
	for (unsigned i = 0; i < ret_stack->depth; i++)
		key = fnv_word(key, (uintptr_t)ret_stack->frame[i]);
	ret_stack->key = (const void *)(uintptr_t)(key & 0x7fffffffffffull);
	return true;
}

COLD void stack_describe(const struct call_stack *stack, const struct mem_site *site, struct meta_site *ret_site)
{
	size_t len = 0;
	struct named named;

	site_describe(site, stack->depth ? stack->frame[0] : NULL, true, ret_site);
	memset(ret_site->function, 0, sizeof ret_site->function);
	for (unsigned i = 0; i < stack->depth && len < sizeof ret_site->function; i++) {
		bool known = name_address(stack->frame[i], &named);

		if (known && named.function[0])
			len += (size_t)snprintf(ret_site->function + len, sizeof ret_site->function - len, "%s%s",
						i ? " < " : "", named.function);
		else
			len += (size_t)snprintf(ret_site->function + len, sizeof ret_site->function - len, "%s%#lx",
						i ? " < " : "",
						known ? (unsigned long)named.from_start :
							(unsigned long)(uintptr_t)stack->frame[i]);
	}
	ret_site->address = (uintptr_t)stack->key | SITE_STACK; /* stacks that begin alike stay apart */
}

/* ---- rings ---- */

/* Rare, and idempotent: several may commit the same pages at once. */
static bool rings_ready(struct pool *p)
{
	if (atomic_load_explicit(&p->live->rings_committed, memory_order_acquire))
		return true;
	if (commit(p, META_FAILURES, META_FAILURES + RING_MAX * sizeof(struct meta_failure)) ||
	    commit(p, META_FAULTS, META_FAULTS + RING_MAX * sizeof(struct meta_fault)) ||
	    (p->id->domain == MEM_SHM &&
	     commit(p, META_RECOVERIES, META_RECOVERIES + RING_MAX * sizeof(struct meta_recovery))))
		return false;
	/* release: whoever sees 1 may touch the pages */
	atomic_store_explicit(&p->live->rings_committed, 1, memory_order_release);
	return true;
}

/* An entry counts when its seq is its place + 1; while it is written its seq is 0. */
static void ring_put(void *ring, size_t bytes, uint64_t place, const void *entry)
{
	char *to = (char *)ring + place % RING_MAX * bytes;
	_Atomic uint64_t *seq = (_Atomic uint64_t *)(void *)to;

	atomic_store_explicit(seq, 0, memory_order_relaxed);
	atomic_thread_fence(memory_order_release); /* nobody sees new bytes under the old seq */
	memcpy(to + sizeof *seq, (const char *)entry + sizeof *seq, bytes - sizeof *seq);
	atomic_store_explicit(seq, place + 1, memory_order_release); /* pairs with the reader's first load */
}

COLD void note_failure(struct pool *p, const struct meta_failure *f)
{
	uint64_t place = atomic_fetch_add_explicit(&p->live->failures, 1, memory_order_relaxed);

	if (rings_ready(p))
		ring_put(p->meta + META_FAILURES, sizeof *f, place, f);
}

COLD void note_fault(struct pool *p, const struct meta_fault *f)
{
	uint64_t place = atomic_fetch_add_explicit(&p->live->faults, 1, memory_order_relaxed);

	if (rings_ready(p))
		ring_put(p->meta + META_FAULTS, sizeof *f, place, f);
}

COLD void note_recovery(struct pool *p, const struct meta_recovery *r)
{
	uint64_t place = atomic_fetch_add_explicit(&p->live->recoveries, 1, memory_order_relaxed);

	if (rings_ready(p))
		ring_put(p->meta + META_RECOVERIES, sizeof *r, place, r);
}
