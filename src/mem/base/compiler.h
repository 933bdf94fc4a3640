/* SPDX-License-Identifier: BSD-2-Clause */
/* What the compiler is told about hot and cold code. */
#ifndef BASE_COMPILER_H
#define BASE_COMPILER_H

#include <stdint.h>

#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)
#define COLD __attribute__((noinline, cold))

/* One half of a word, loaded or stored alone. */
#define UPPER(word) (((volatile uint32_t *)&(word))[__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__])
#define LOWER(word) (((volatile uint32_t *)&(word))[__BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__])

/* Of a struct, from the address of one of its members. */
#define CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr) - offsetof(type, member)))

#define ROUND_UP(x, to) (((x) + ((to) - 1)) & ~(uint64_t)((to) - 1))

#endif
