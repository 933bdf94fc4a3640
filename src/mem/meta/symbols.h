/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Names of functions that the loader does not know: of programs that were linked without -rdynamic, and of static ones.
 */
#ifndef META_SYMBOLS_H
#define META_SYMBOLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/**
 * The function of the ELF file at `path` that holds the byte `offset` behind its first loaded one, and how far from its
 * start; false: the file is stripped, or is not there. Reads the file's symbol table each time: for what is remembered.
 * No memory but the stack's, no lock; keeps errno.
 */
bool symbol_find(const char *path, uint64_t offset, char *ret_name, size_t bytes, uint64_t *ret_from_start);

#endif /* META_SYMBOLS_H */
