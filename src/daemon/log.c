/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static bool use_syslog;

void log_to(bool to_syslog)
{
	if (to_syslog && !use_syslog)
		openlog("mmd", LOG_PID, LOG_DAEMON);
	if (!to_syslog && use_syslog)
		closelog();
	use_syslog = to_syslog;
}

void log_line(int priority, const char *format, ...)
{
	char text[1400] = "mmd: ";
	const size_t head = strlen(text);
	va_list args;
	size_t len;

	if (priority >= LOG_DEBUG)
		return;
	va_start(args, format);
	vsnprintf(text + head, sizeof text - head - 1, format, args);
	va_end(args);
	len = strlen(text);
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)text[i] < ' ' || text[i] == 0x7f)
			text[i] = '?';
	if (use_syslog) {
		syslog(priority, "%s", text + head);
		return;
	}
	text[len++] = '\n';
	(void)!write(STDERR_FILENO, text, len);	/* one write: lines of several processes do not mix */
}
