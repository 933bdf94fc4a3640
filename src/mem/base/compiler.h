/* SPDX-License-Identifier: BSD-2-Clause */
/* What the compiler is told about hot and cold code. */
#ifndef BASE_COMPILER_H
#define BASE_COMPILER_H

#include <stdint.h>

#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)
#define COLD __attribute__((noinline, cold))
#define ASSUME(x) ((x) ? (void)0 : __builtin_unreachable())

/* One half of a word, loaded or stored alone. */
#define UPPER(word) (((volatile uint32_t *)&(word))[__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__])
#define LOWER(word) (((volatile uint32_t *)&(word))[__BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__])

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

/* One instruction, so that a signal handler of the thread finds the word before it or after it. Others only read. */
#if defined(__x86_64__) && !defined(RACY_READS)
static inline void signal_add64(uint64_t *word, uint64_t n)
{
	__asm__ volatile("addq %1, %0" : "+m"(*word) : "er"(n) : "cc", "memory");
}
#else
static inline void signal_add64(uint64_t *word, uint64_t n) { __atomic_fetch_add(word, n, __ATOMIC_RELAXED); }
#endif

/* Between two looks at a word that another CPU is about to change. */
static inline void cpu_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#endif
}

#define ROUND_UP(x, to) (((x) + ((to) - 1)) & ~(uint64_t)((to) - 1))

#endif
