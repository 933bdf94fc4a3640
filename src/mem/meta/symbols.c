/* SPDX-License-Identifier: BSD-2-Clause */
#include "mem/meta/symbols.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "mem/base/compiler.h"

enum { CHUNK = 128, HEADERS = 48, HEADERS_MAX = 4096 };	/* HEADERS: of one reading; most files have fewer */

static bool read_at(int fd, uint64_t at, void *to, size_t bytes)
{
	return at <= INT64_MAX && pread(fd, to, bytes, (off_t)at) == (ssize_t)bytes;
}

static bool good(int fd, Elf64_Ehdr *ret)
{
	return read_at(fd, 0, ret, sizeof *ret) && memcmp(ret->e_ident, ELFMAG, SELFMAG) == 0 &&
	       ret->e_ident[EI_CLASS] == ELFCLASS64 && ret->e_phentsize == sizeof(Elf64_Phdr) &&
	       ret->e_shentsize == sizeof(Elf64_Shdr);
}

/* Address, as the file has it, of the first byte that is loaded. */
static bool first_address(int fd, const Elf64_Ehdr *h, uint64_t *ret)
{
	Elf64_Phdr p[HEADERS];
	unsigned n = h->e_phnum < HEADERS ? h->e_phnum : HEADERS;	/* PT_LOAD comes early */

	if (!read_at(fd, h->e_phoff, p, n * sizeof *p))
		return false;
	for (unsigned i = 0; i < n; i++)
		if (p[i].p_type == PT_LOAD) {
			*ret = p[i].p_vaddr & ~4095ull;
			return true;
		}
	return false;
}

static bool find_table(int fd, const Elf64_Ehdr *h, Elf64_Shdr *ret_symbols, Elf64_Shdr *ret_strings)
{
	unsigned left = h->e_shnum < HEADERS_MAX ? h->e_shnum : HEADERS_MAX;
	uint64_t at = h->e_shoff;
	Elf64_Shdr chunk[HEADERS];

	for (unsigned n; left; left -= n, at += n * sizeof *chunk) {
		n = left < HEADERS ? left : HEADERS;
		if (!read_at(fd, at, chunk, n * sizeof *chunk))
			return false;
		for (unsigned i = 0; i < n; i++)
			if (chunk[i].sh_type == SHT_SYMTAB) {
				*ret_symbols = chunk[i];
				return read_at(fd, h->e_shoff + chunk[i].sh_link * sizeof *chunk, ret_strings,
					       sizeof *ret_strings);
			}
	}
	return false;
}

static bool find_symbol(int fd, const Elf64_Shdr *table, uint64_t address, Elf64_Sym *ret)
{
	Elf64_Sym chunk[CHUNK];
	uint64_t left = table->sh_size / sizeof *chunk, at = table->sh_offset;

	for (size_t n; left; left -= n, at += n * sizeof *chunk) {
		n = left < CHUNK ? left : CHUNK;
		if (!read_at(fd, at, chunk, n * sizeof *chunk))
			return false;
		for (size_t i = 0; i < n; i++)
			if (ELF64_ST_TYPE(chunk[i].st_info) == STT_FUNC && chunk[i].st_shndx != SHN_UNDEF &&
			    address - chunk[i].st_value < chunk[i].st_size) {
				*ret = chunk[i];
				return true;
			}
	}
	return false;
}

static bool look(int fd, uint64_t offset, char *ret_name, size_t bytes, uint64_t *ret_from_start)
{
	Elf64_Ehdr h;
	Elf64_Shdr symbols, strings;
	Elf64_Sym found;
	uint64_t first;
	ssize_t n;

	if (!good(fd, &h) || !first_address(fd, &h, &first) || !find_table(fd, &h, &symbols, &strings) ||
	    !find_symbol(fd, &symbols, first + offset, &found) || found.st_name >= strings.sh_size)
		return false;
	n = pread(fd, ret_name, bytes - 1, (off_t)(strings.sh_offset + found.st_name));
	if (n <= 0 || !ret_name[0])
		return false;
	ret_name[n] = 0;
	*ret_from_start = first + offset - found.st_value;
	return true;
}

COLD bool symbol_find(const char *path, uint64_t offset, char *ret_name, size_t bytes, uint64_t *ret_from_start)
{
	int saved = errno, fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	bool found = fd >= 0 && look(fd, offset, ret_name, bytes, ret_from_start);

	if (fd >= 0)
		close(fd);
	errno = saved;
	return found;
}
