/* SPDX-License-Identifier: BSD-2-Clause */
/* What the compiler is told about hot and cold code. */
#ifndef BASE_COMPILER_H
#define BASE_COMPILER_H

#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)
#define COLD __attribute__((noinline, cold))

/* Of a struct, from the address of one of its members. */
#define CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr) - offsetof(type, member)))

/* Reads of words that others may be writing, whatever they find: ThreadSanitizer shall not tell of them. */
#if defined(__SANITIZE_THREAD__)
#define RACY_READS 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define RACY_READS 1
#endif
#endif
#ifdef RACY_READS
void AnnotateIgnoreReadsBegin(const char *file, int line);
void AnnotateIgnoreReadsEnd(const char *file, int line);
#define RACY_READS_BEGIN() AnnotateIgnoreReadsBegin(__FILE__, __LINE__)
#define RACY_READS_END() AnnotateIgnoreReadsEnd(__FILE__, __LINE__)
#else
#define RACY_READS_BEGIN() ((void)0)
#define RACY_READS_END() ((void)0)
#endif

#define ROUND_UP(x, to) (((x) + ((to) - 1)) & ~(uint64_t)((to) - 1))

#endif
