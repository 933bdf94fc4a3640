/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Phones that register at examples/registrar, from one UDP socket. Their numbers are the requests', counted from 0: a
 * reply says which one it answers by the branch in its Via.
 *
 *	registrar_start ─> phones_open ─> phones_register ─> phone_send, phone_receive ─> phones_close
 */
#ifndef BENCH_PHONES_H
#define BENCH_PHONES_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/** The socket; one thread may send while another one receives. */
extern struct phones {
	int fd;				/* -1: closed */
	uint32_t count;			/* that are registered */
	uint64_t next;			/* number of the next request: its branch and CSeq */
	unsigned port, server_port;
} phones;

/** Starts the registrar that lies beside `self` (argv[0]), with two workers and its contacts in the pool `serve`.
 * Returns its pid and its port; -1, or the port 0: it did not come up. */
pid_t registrar_start(const char *self, unsigned *ret_port);

/** Opens the socket towards 127.0.0.1:server_port. false: errno. */
bool phones_open(unsigned server_port);
void phones_close(void);

/** `count` phones register, each until it is answered. NULL, or what went wrong. */
const char *phones_register(uint32_t count);

/** One REGISTER of this phone. */
void phone_send(uint32_t phone, uint64_t number);

struct reply { uint64_t number, ns; bool ok; };	/* ns: when the kernel had it, CLOCK_REALTIME; ok: 200 */
/** false: nothing came within 0.1 s. */
bool phone_receive(struct reply *ret_reply);

#endif /* BENCH_PHONES_H */
