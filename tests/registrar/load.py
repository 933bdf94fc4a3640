# SPDX-License-Identifier: BSD-2-Clause
"""Clients that keep a registrar busy and know what it must remember.

Each user goes round through STEPS, one request after the other; a request is sent again until it is answered, as a SIP
client does. So at any time the registrar's answer to a query is known: no step that was answered 200 may be missing.
"""
import multiprocessing
import select
import time

from sip import Client, Reply

RETRANSMIT = 0.25
GIVE_UP = 30.0

# headers of the request, and the contacts that stand after it
STEPS = [
    (["Contact: <sip:a@h>"], {"sip:a@h"}),
    (["Contact: <sip:a@h>;q=0.5"], {"sip:a@h"}),
    (["Contact: <sip:b@h>", "Contact: <sip:c@h>"], {"sip:a@h", "sip:b@h", "sip:c@h"}),
    (["Contact: <sip:a@h>;expires=0"], {"sip:b@h", "sip:c@h"}),
    (["Contact: *", "Expires: 0"], set()),
]


class User:
    """One that has a request under way: its `turn`-th, from 1."""

    def __init__(self, name):
        self.name, self.turn, self.packet, self.first, self.sent = name, 0, None, 0, 0

    def step(self):
        return STEPS[(self.turn - 1) % len(STEPS)]


class Load:
    """One client; all of its users have a request under way, until it is told to end."""

    def __init__(self, port, name, users, expires):
        self.client = Client(port)
        self.expires = expires
        self.pending = {}
        self.done = {}          # user -> contacts after the last step that was answered 200
        self.answers = self.again = 0
        self.wrong = []
        for i in range(users):
            self.start(User(f"{name}-{i}"))

    def start(self, user):
        user.turn += 1
        headers = list(user.step()[0])
        if "Expires: 0" not in headers:
            headers.append(f"Expires: {self.expires}")
        user.packet = self.client.request("REGISTER", user.name, call_id=user.name, cseq=user.turn, headers=headers)
        user.first = user.sent = time.monotonic()
        self.pending[user.name] = user
        self.client.send(user.packet)

    def answered(self, reply, more):
        user = self.pending.get(reply.one("call-id"))
        if not user or int(reply.one("cseq").split()[0]) != user.turn:
            return              # of an earlier copy of a request that was sent again
        del self.pending[user.name]
        self.answers += 1
        if reply.status != 200 or set(reply.contacts()) != user.step()[1]:
            self.wrong.append(f"{user.name} turn {user.turn}: {reply.text[:300]}")
            return
        self.done[user.name] = user.step()[1]
        if more:
            self.start(user)

    def turn(self, more):
        if select.select([self.client.socket], [], [], 0.02)[0]:
            self.answered(Reply(self.client.socket.recv(65535)), more)
        now = time.monotonic()
        for user in list(self.pending.values()):
            if now - user.first > GIVE_UP:
                self.wrong.append(f"{user.name} turn {user.turn}: no answer")
                del self.pending[user.name]
            elif now - user.sent > RETRANSMIT:
                user.sent = now
                self.again += 1
                self.client.send(user.packet)


def run(port, name, users, expires, stop, results):
    load = Load(port, name, users, expires)
    while load.pending:
        load.turn(not stop.is_set())
    results.put((load.done, load.answers, load.again, load.wrong))


class Fleet:
    """Several of them, each a process."""

    def __init__(self, port, clients=2, users=50, expires=20):
        self.stop_event = multiprocessing.Event()
        self.results = multiprocessing.Queue()
        self.processes = [multiprocessing.Process(target=run, args=(port, f"u{i}", users, expires, self.stop_event, self.results))
                          for i in range(clients)]
        for process in self.processes:
            process.start()

    def stop(self):
        """{user: contacts}, answers, retransmissions, what was wrong"""
        self.stop_event.set()
        done, answers, again, wrong = {}, 0, 0, []
        for _ in self.processes:
            d, a, n, w = self.results.get(timeout=120)
            done.update(d)
            answers, again, wrong = answers + a, again + n, wrong + w
        for process in self.processes:
            process.join()
        return done, answers, again, wrong


def lost(port, done):
    """Users whose contacts are not what was answered."""
    client = Client(port)
    bad = []
    for user, contacts in done.items():
        for attempt in range(20):
            try:
                found = set(client.ask(client.request("REGISTER", user, call_id=f"query-{attempt}")).contacts())
                break
            except TimeoutError:
                continue
        else:
            found = {"no answer"}
        if found != contacts:
            bad.append(f"{user}: answered {sorted(contacts)}, found {sorted(found)}")
    client.close()
    return bad
