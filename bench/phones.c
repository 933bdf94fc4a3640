/* SPDX-License-Identifier: BSD-2-Clause */
/* Phones on one UDP socket, and the registrar that they register at; the contract is in phones.h. */
#include "phones.h"

#include <arpa/inet.h>
#include <libgen.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench.h"

extern char **environ;

enum { WINDOW = 64, PACKET = 2048 };

static const char BRANCH[] = "branch=z9hG4bK-";

struct phones phones = { .fd = -1 };

bool phones_open(unsigned server_port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct timeval look_at_stop = { .tv_usec = 100000 };
	socklen_t len = sizeof a;

	phones.fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (phones.fd == -1 || bind(phones.fd, (struct sockaddr *)&a, len) ||
	    getsockname(phones.fd, (struct sockaddr *)&a, &len) ||
	    setsockopt(phones.fd, SOL_SOCKET, SO_TIMESTAMPNS, &(int){ 1 }, sizeof(int)) ||
	    setsockopt(phones.fd, SOL_SOCKET, SO_RCVTIMEO, &look_at_stop, sizeof look_at_stop))
		return false;
	(void)setsockopt(phones.fd, SOL_SOCKET, SO_RCVBUF, &(int){ 4 << 20 }, sizeof(int));	/* a wish */
	phones.port = ntohs(a.sin_port);
	phones.server_port = server_port;
	a.sin_port = htons((uint16_t)server_port);
	return !connect(phones.fd, (struct sockaddr *)&a, sizeof a);
}

/* REGISTER as examples/registrar/sipp/phones.xml has it. */
void phone_send(uint32_t phone, uint64_t number)
{
	char text[PACKET];
	int len = snprintf(text, sizeof text,
			   "REGISTER sip:127.0.0.1:%u SIP/2.0\r\n"
			   "Via: SIP/2.0/UDP 127.0.0.1:%u;rport;%s%llu\r\n"
			   "Max-Forwards: 70\r\n"
			   "From: <sip:phone%u@example.com>;tag=%u\r\n"
			   "To: <sip:phone%u@example.com>\r\n"
			   "Call-ID: %u-phones@127.0.0.1\r\n"
			   "CSeq: %llu REGISTER\r\n"
			   "Contact: <sip:phone%u@127.0.0.1:%u>\r\n"
			   "Expires: 7200\r\n"
			   "Content-Length: 0\r\n\r\n",
			   phones.server_port, phones.port, BRANCH, (unsigned long long)number, phone, phone, phone,
			   phone, (unsigned long long)number + 1, phone, phones.port);

	(void)!send(phones.fd, text, (size_t)len, 0);		/* a lost packet is counted as such */
}

bool phone_receive(struct reply *ret_reply)
{
	char text[PACKET + 1], control[CMSG_SPACE(sizeof(struct timespec))];
	struct iovec iov = { text, PACKET };
	struct msghdr m = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control
	};
	ssize_t n = recvmsg(phones.fd, &m, 0);
	struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&m) : NULL;
	struct timespec t;
	const char *branch;

	if (n <= 0)
		return false;
	text[n] = 0;
	branch = strstr(text, BRANCH);
	*ret_reply = (struct reply){ branch ? strtoull(branch + sizeof BRANCH - 1, NULL, 10) : UINT64_MAX,
				     bench_ns(CLOCK_REALTIME), !strncmp(text, "SIP/2.0 200", 11) };
	if (c && c->cmsg_type == SCM_TIMESTAMPNS) {
		memcpy(&t, CMSG_DATA(c), sizeof t);
		ret_reply->ns = (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
	}
	return true;
}

/* WINDOW phones at a time, each slot's next as soon as its last one is answered; what is not answered is sent again. */
const char *phones_register(uint32_t count)
{
	uint32_t slot[WINDOW], done = 0;
	unsigned idle = 0;
	struct reply r;

	phones.count = count;
	for (uint32_t i = 0; i < WINDOW; i++)
		phone_send(slot[i] = i, i);
	while (done < count) {
		if (!phone_receive(&r)) {
			if (++idle > 50)
				return "the registrar has fallen silent";
			for (uint32_t i = 0; i < WINDOW; i++)
				if (slot[i] < count)
					phone_send(slot[i], slot[i]);
			continue;
		}
		if (!r.ok)
			return "a registration was refused: is the pool too small?";
		idle = 0;
		if (r.number >= count || slot[r.number % WINDOW] != r.number)
			continue;		/* answered twice */
		done++;
		slot[r.number % WINDOW] += WINDOW;
		if (slot[r.number % WINDOW] < count)
			phone_send(slot[r.number % WINDOW], r.number + WINDOW);
	}
	phones.next = count;
	return NULL;
}

void phones_close(void)
{
	if (phones.fd != -1)
		close(phones.fd);
	phones.fd = -1;
}

/* ---- the registrar ---- */

/* Its port is on the first line that it prints. */
pid_t registrar_start(const char *self, unsigned *ret_port)
{
	char path[4096], line[512] = "", *copy = strdup(self), *at;
	char *args[] = { path, (char[]){ "--listen" }, (char[]){ "127.0.0.1:0" }, (char[]){ "--workers" }, (char[]){ "2" },
			 (char[]){ "--pool" }, (char[]){ "serve" }, (char[]){ "--buckets" }, (char[]){ "1048576" },
			 (char[]){ "--sweep" }, (char[]){ "3600000" }, NULL };
	posix_spawn_file_actions_t actions;
	pid_t pid = -1;
	FILE *in = NULL;
	int ends[2];

	*ret_port = 0;
	snprintf(path, sizeof path, "%s/registrar", copy ? dirname(copy) : ".");
	free(copy);
	if (pipe(ends))
		return -1;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
	posix_spawn_file_actions_addclose(&actions, ends[0]);
	posix_spawn_file_actions_addclose(&actions, ends[1]);
	if (posix_spawn(&pid, path, &actions, NULL, args, environ))
		pid = -1;
	posix_spawn_file_actions_destroy(&actions);
	close(ends[1]);
	in = fdopen(ends[0], "r");
	if (in && fgets(line, sizeof line, in) && (at = strstr(line, "127.0.0.1:")))
		*ret_port = (unsigned)strtoul(at + strlen("127.0.0.1:"), NULL, 10);
	in ? (void)fclose(in) : (void)close(ends[0]);
	return pid;
}
