/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * inih does the parsing, fed line by line from one buffer. Around it stands what it leaves open: it cuts long lines and
 * long section names, takes an indented line for more of the value before, never tells of a section without keys, and
 * goes on after an error. So the reader refuses long lines, strips indentation, tells the sections itself, and ends
 * the file at the first error.
 */
#include "conf/file.h"

#include <errno.h>
#include <fcntl.h>
#include <ini.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "conf/keys.h"

struct reader {
	const char *path, *at, *end;
	unsigned line;
	int result;			/* of the first error; nothing is read after it */
	char section[128], place[300];
	file_line_fn *fn;
	void *arg;
	struct conf_error *error;
};

static const char *place(struct reader *r)
{
	snprintf(r->place, sizeof r->place, "%.255s:%u", r->path, r->line);
	return r->place;
}

static void tell(struct reader *r, const char *name, const char *value)
{
	struct file_line line = { place(r), r->section, name, value, r->line };

	r->result = r->fn(&line, r->arg, r->error);
}

static void refuse(struct reader *r, const char *found, const char *allowed)
{
	r->result = key_refuse(r->error, place(r), found, allowed);
}

/** "[name]", and nothing but a comment behind it. */
static void section_line(struct reader *r, const char *line)
{
	size_t len = strcspn(line, "]");
	const char *rest = line + len + (line[len] == ']');

	rest += strspn(rest, " \t\r\n");
	if (line[len] != ']' || len > sizeof r->section || (*rest && *rest != ';' && *rest != '#')) {
		refuse(r, line, "[SECTION]");
		return;
	}
	memcpy(r->section, line + 1, len - 1);
	r->section[len - 1] = 0;
	tell(r, NULL, NULL);
}

/** inih's fgets. The line's own end goes too, inih does not need it. */
static char *next_line(char *to, int room, void *stream)
{
	struct reader *r = stream;
	const char *from = r->at, *end;
	size_t len, most = (size_t)room - 3;
	char limit[64];

	if (r->result || from >= r->end)
		return NULL;
	end = memchr(from, '\n', (size_t)(r->end - from));
	r->at = end ? end + 1 : r->end;
	if (!end)
		end = r->end;
	r->line++;
	if (r->line == 1 && end - from >= 3 && !memcmp(from, "\xef\xbb\xbf", 3))
		from += 3;
	while (from < end && (*from == ' ' || *from == '\t'))
		from++;
	while (end > from && (end[-1] == '\r' || end[-1] == ' ' || end[-1] == '\t'))
		end--;
	len = (size_t)(end - from);
	memcpy(to, from, len < most ? len : most);
	to[len < most ? len : most] = 0;
	snprintf(limit, sizeof limit, "lines of text, at most %zu bytes long", most);
	if (len > most || memchr(from, 0, len))
		refuse(r, to, limit);
	else if (*to == '[')
		section_line(r, to);
	return r->result ? NULL : to;
}

static int key_line(void *user, const char *section, const char *name, const char *value)
{
	struct reader *r = user;

	(void)section;				/* inih cuts it */
	if (r->result)
		return 0;
	if (strstr(value, " #") || strstr(value, "\t#"))
		refuse(r, value, "a comment on a line of its own, or after \" ;\"");
	else
		tell(r, name, value);
	return !r->result;
}

/** The whole file into `buf`, with a 0 behind it; its length, or -errno. */
static ssize_t slurp(int fd, char *buf, size_t bytes)
{
	size_t n = 0;
	ssize_t got;

	while ((got = read(fd, buf + n, bytes - n)) != 0) {
		if (got == -1 && errno == EINTR)
			continue;
		if (got == -1)
			return -errno;
		n += (size_t)got;
		if (n == bytes)
			return -EFBIG;
	}
	buf[n] = 0;
	return (ssize_t)n;
}

/** Line `number` of the text, as inih counts. */
static const char *line_at(char *text, int number)
{
	while (--number > 0)
		text += strcspn(text, "\n") + 1;
	text[strcspn(text, "\r\n")] = 0;
	return text;
}

static int parse(const char *path, char *text, size_t len, file_line_fn *fn, void *arg, struct conf_error *error)
{
	struct reader r = { .path = path, .at = text, .end = text + len, .fn = fn, .arg = arg, .error = error };
	int bad = ini_parse_stream(next_line, &r, key_line, &r);

	if (bad > 0 && (!r.result || (unsigned)bad < r.line)) {	/* inih's own finding, it read on: no '=' in the line */
		r.line = (unsigned)bad;
		refuse(&r, line_at(text, bad), "KEY = VALUE, [SECTION], or a comment");
	}
	return r.result;
}

int file_read(const char *path, file_line_fn *fn, void *arg, struct conf_error *error)
{
	/* O_NONBLOCK: a FIFO must not stop a program's start */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK), result = -errno;
	char *buf = MAP_FAILED;			/* a mapping: the first thread to need memory may have a small stack */
	ssize_t n;

	if (fd == -1)
		goto fail;
	buf = mmap(NULL, FILE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	result = -errno;
	if (buf == MAP_FAILED)
		goto fail;
	n = slurp(fd, buf, FILE_BYTES);
	result = (int)n;
	if (n < 0)
		goto fail;
	result = parse(path, buf, (size_t)n, fn, arg, error);
	munmap(buf, FILE_BYTES);
	close(fd);
	return result;
fail:
	if (buf != MAP_FAILED)
		munmap(buf, FILE_BYTES);
	if (fd != -1)
		close(fd);
	error_set(error, "%.255s: %s", path, result == -EFBIG ? "longer than 64K" : error_name(-result));
	return result;
}
