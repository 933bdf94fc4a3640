# SPDX-License-Identifier: BSD-2-Clause
"""What the registrar's tests share: a registrar in a directory of its own, and a client on a raw UDP socket.

Nothing outside of a temporary directory and loopback is touched. The program is argv[1] or $REGISTRAR.
"""
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

CRLF = "\r\n"


class Reply:
    """A parsed reply: status, reason, and headers by their names in lower case, each a list."""

    def __init__(self, packet):
        self.text = packet.decode("utf-8", "replace")
        head = self.text.split(CRLF + CRLF)[0].split(CRLF)
        _, status, self.reason = head[0].split(" ", 2)
        self.status = int(status)
        self.headers = {}
        for line in head[1:]:
            name, value = line.split(":", 1)
            self.headers.setdefault(name.strip().lower(), []).append(value.strip())

    def one(self, name):
        values = self.headers.get(name, [])
        assert len(values) == 1, f"{name}: {values}"
        return values[0]

    def contacts(self):
        """{uri: seconds left}"""
        found = {}
        for value in self.headers.get("contact", []):
            uri, rest = re.match(r"<([^>]*)>(.*)$", value).groups()
            found[uri] = int(re.search(r";expires=(\d+)", rest).group(1))
        return found

    def count(self, name):
        """A figure of the X-Registrar header."""
        return int(re.search(rf"\b{name}=(\d+)", self.one("x-registrar")).group(1))


class Client:
    """A socket, and requests that are well-formed unless they are told not to be."""

    def __init__(self, port, timeout=3.0):
        self.server = ("127.0.0.1", port)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.settimeout(timeout)
        self.port = self.socket.getsockname()[1]
        self.turn = 0

    def close(self):
        self.socket.close()

    def request(self, method="REGISTER", user="alice", call_id="c1", cseq=1, branch=None, headers=(), via=None, to=None,
                cseq_method=None, extra=""):
        self.turn += 1
        branch = branch or f"z9hG4bK{self.port}x{self.turn}"
        lines = [f"{method} sip:example.com SIP/2.0",
                 via or f"Via: SIP/2.0/UDP 127.0.0.1:{self.port};branch={branch}",
                 f"From: <sip:{user}@example.com>;tag=f1", to or f"To: <sip:{user}@example.com>",
                 f"Call-ID: {call_id}", f"CSeq: {cseq} {cseq_method or method}", "Max-Forwards: 70"]
        return (CRLF.join(lines + list(headers)) + CRLF + CRLF + extra).encode()

    def send(self, packet):
        self.socket.sendto(packet, self.server)

    def receive(self):
        return Reply(self.socket.recvfrom(65535)[0])

    def ask(self, packet):
        self.send(packet)
        return self.receive()

    def register(self, contacts, user="alice", call_id="c1", cseq=1, headers=(), **more):
        contacts = [contacts] if isinstance(contacts, str) else contacts
        return self.ask(self.request("REGISTER", user, call_id, cseq,
                                     headers=[f"Contact: {c}" for c in contacts] + list(headers), **more))

    def query(self, user="alice"):
        return self.ask(self.request("REGISTER", user, call_id=f"q{self.turn}"))

    def options(self):
        return self.ask(self.request("OPTIONS", call_id=f"o{self.turn}"))

    def silent(self, packet):
        """True when nothing comes back, though the server answers what is asked next."""
        self.send(packet)
        reply = self.ask(self.request("OPTIONS", call_id="after"))
        return reply.one("call-id") == "after"


class Registrar:
    """A running registrar. `with Registrar(program, …) as r:`, r.port, r.client()."""

    def __init__(self, program, *options, directory=None, environment=None):
        self.own = None if directory else tempfile.mkdtemp(prefix="registrar-test-")
        self.directory = directory or self.own
        env = dict(os.environ)
        env.pop("MEMAPI_CONFIG", None)
        env.update({"MEMAPI_REGISTRY": os.path.join(self.directory, "registry"), "XDG_CONFIG_HOME": self.directory,
                    "XDG_STATE_HOME": self.directory, "XDG_RUNTIME_DIR": self.directory})
        env.update(environment or {})
        self.errors = open(os.path.join(self.directory, "registrar.err"), "ab")
        self.process = subprocess.Popen([program, "--listen", "127.0.0.1:0", *options], env=env, stdout=subprocess.PIPE,
                                        stderr=self.errors, text=True)
        line = self.process.stdout.readline()
        found = re.search(r"listening on 127\.0\.0\.1:(\d+)", line)
        if not found:
            self.process.wait(5)
            raise RuntimeError(f"{program} did not start: {line!r} {self.complaints()}")
        self.line = line
        self.port = int(found.group(1))

    def __enter__(self):
        return self

    def __exit__(self, *ignored):
        self.stop()

    def client(self, **more):
        return Client(self.port, **more)

    def complaints(self):
        with open(os.path.join(self.directory, "registrar.err"), errors="replace") as f:
            return f.read()

    def stop(self):
        """Ends it in order; returns its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(20)
        self.process.stdout.close()
        self.errors.close()
        if self.own:
            shutil.rmtree(self.own, ignore_errors=True)
        return code

    def children(self):
        with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children") as f:
            return [int(pid) for pid in f.read().split()]


def wait_for(what, seconds=10.0, pause=0.05):
    """The first true result of what(); fails after `seconds`."""
    end = time.monotonic() + seconds
    while True:
        result = what()
        if result:
            return result
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(pause)
