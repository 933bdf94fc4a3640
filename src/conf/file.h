/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Files of `key = value` lines and [sections], read with inih.
 */
#ifndef CONF_FILE_H
#define CONF_FILE_H

#include "conf/conf.h"

enum { FILE_BYTES = 65536 };		/* longest file */

/** One line. name NULL: a section begins here. `place` is "FILE:LINE". */
struct file_line { const char *place, *section, *name, *value; unsigned line; };

/** 0, or -EINVAL with *error filled: the rest of the file is not read. */
typedef int file_line_fn(const struct file_line *line, void *arg, struct conf_error *error);

/**
 * file_read - tell each line of a file to `fn`
 *
 * Returns 0; what open() or read() said, -EFBIG, or -EINVAL, with *error filled. Allocates nothing.
 */
int file_read(const char *path, file_line_fn *fn, void *arg, struct conf_error *error);

#endif /* CONF_FILE_H */
