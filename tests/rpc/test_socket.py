#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""A real mmd over its raw socket: what comes in is bytes, what must come out is told to the letter.

Every answer that a test gets by call() has the members that methods.def tells of its method, and no other.

    test_socket.py MMD APP [TEST...] [-TEST...]	-: all but these

Every test has a directory of its own for socket, registry, state and configuration. APP is app.c: a program with heaps to look at.
"""
import contextlib
import ctypes
import grp
import json
import os
import re
import resource
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

MMD, APP = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
TESTS = []


def test(fn):
    TESTS.append(fn)
    return fn


def check(truth, *what):
    if not truth:
        raise AssertionError(" ".join(str(w) for w in what))


# ---- what methods.def tells of an answer ----

ANYTHING = object()			# {…}: an object whose members others tell


def shape_of(text):
    """`{a, b?: [{c}], d: {…}}` as {"a": None, "b?": [{"c": None}], "d": ANYTHING}; None is one value."""
    words = re.findall(r"[{}\[\],:…]|[^\s{}\[\],:…]+", text)

    def value():
        word = words.pop(0)
        if word == "[":
            shape = [value()]
            check(words.pop(0) == "]", "no ] in", text)
            return shape
        if word != "{":
            return None
        shape = ANYTHING if words[0] == "…" else {}
        while words[0] != "}":
            name = words.pop(0)
            if words[0] == ":":
                words.pop(0)
                shape[name] = value()
            elif shape is not ANYTHING:
                shape[name] = None
            if words[0] == ",":
                words.pop(0)
        words.pop(0)
        return shape

    shape = value()
    check(not words, "after its end in", text, ":", *words)
    return shape


def inner_shapes(shape, found):
    """Objects by the name of their member: `site` is told once, and meant wherever it stands."""
    if isinstance(shape, list):
        inner_shapes(shape[0], found)
    elif isinstance(shape, dict):
        for name, inner in shape.items():
            if isinstance(inner, dict):
                found.setdefault(name.rstrip("?"), inner)
            inner_shapes(inner, found)


class Told:
    """The results of all methods, as rpc.discover has them."""

    def __init__(self, methods):
        self.result = {m["name"]: shape_of(m["result"]) for m in methods}
        self.inner = {}
        for shape in self.result.values():
            inner_shapes(shape, self.inner)

    def differences(self, shape, value, name):
        """What `value`, found at `name`, has beyond its shape, and what it lacks. null may stand everywhere."""
        if value is None or shape is ANYTHING:
            return [] if value is None or isinstance(value, dict) else [name + " is no object"]
        if shape is None and isinstance(value, dict):
            shape = self.inner.get(name.rsplit(".", 1)[-1], {})
        if isinstance(shape, list) and isinstance(value, list):
            return [d for row in value for d in self.differences(shape[0], row, name)]
        if isinstance(shape, dict) and isinstance(value, dict):
            return self.members(shape, value, name)
        return [] if shape is None and not isinstance(value, list) else [name + " is told to be something else"]

    def members(self, shape, value, name):
        told = {member.rstrip("?"): inner for member, inner in shape.items()}
        wrong = ["%s.%s is not told" % (name, member) for member in value if member not in told]
        wrong += ["%s.%s is not sent" % (name, member) for member in shape if member[-1] != "?" and member not in value]
        for member in value:
            if member in told:
                wrong += self.differences(told[member], value[member], "%s.%s" % (name, member))
        return wrong


class Client:
    """One connection; lines in and out."""
    told = None				# of all that this program starts

    def __init__(self, path, timeout=20):
        self.s = socket.socket(socket.AF_UNIX)
        self.s.settimeout(timeout)
        self.s.connect(path)
        self.buf = b""

    def send(self, data):
        self.s.sendall(data if isinstance(data, bytes) else data.encode())

    def line(self):
        """The next line, without its newline; None at the end."""
        while b"\n" not in self.buf:
            more = self.s.recv(1 << 20)
            if not more:
                return None
            self.buf += more
        line, self.buf = self.buf.split(b"\n", 1)
        return line

    def reply(self):
        line = self.line()
        check(line is not None, "connection closed")
        return json.loads(line)

    def ask(self, text):
        self.send(text + "\n" if isinstance(text, str) else text + b"\n")
        return self.reply()

    def call(self, method, **params):
        reply = self.ask(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}))
        check("error" not in reply, method, params, reply)
        self.compare(method, reply["result"])
        return reply["result"]

    def compare(self, method, result):
        """The answer is what methods.def tells."""
        if not Client.told:
            Client.told = Told(self.ask('{"jsonrpc":"2.0","id":1,"method":"rpc.discover"}')["result"]["methods"])
        wrong = Client.told.differences(Client.told.result[method], result, method)
        check(not wrong, "methods.def and the answer differ:", ", ".join(sorted(set(wrong))))

    def error(self, method, **params):
        reply = self.ask(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}))
        check("error" in reply, method, params, "should fail:", str(reply)[:300])
        return reply["error"]

    def silent(self, seconds=0.1):
        """Nothing comes."""
        self.s.settimeout(seconds)
        try:
            data = self.s.recv(1)
            raise AssertionError("something came: %r" % data)
        except socket.timeout:
            pass
        finally:
            self.s.settimeout(20)

    def close(self):
        self.s.close()

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self.close()


class Place:
    """A directory, an environment, and the programs started in it."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="mmd-rpc-")
        os.chmod(self.dir, 0o755)
        self.path = os.path.join(self.dir, "run", "mmd.sock")
        self.conf = os.path.join(self.dir, "mmd.conf")
        self.log = os.path.join(self.dir, "log")
        self.running = []
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(("MEMAPI_", "MMD_", "XDG_", "NOTIFY_"))}
        self.env.update(MEMAPI_REGISTRY=os.path.join(self.dir, "registry"), XDG_STATE_HOME=os.path.join(self.dir, "state"),
                        XDG_CONFIG_HOME=os.path.join(self.dir, "config"), XDG_RUNTIME_DIR=os.path.join(self.dir, "run"))
        self.configure("")

    def configure(self, text):
        with open(self.conf, "w") as f:
            f.write(text)

    def run(self, *args, **env):
        """mmd until it ends: exit code and stderr."""
        p = subprocess.run([MMD, "-c", self.conf, *args], env={**self.env, **env}, capture_output=True, timeout=20)
        return p.returncode, p.stderr.decode(), p.stdout.decode()

    def start(self, *args, few=None, **env):
        """mmd, ready to be asked, perhaps with few descriptors."""
        with open(self.log, "ab") as log:
            p = subprocess.Popen([MMD, "-c", self.conf, *args], env={**self.env, **env}, stderr=log,
                                 preexec_fn=few and (lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (few, few))))
        self.running.append(p)
        for _ in range(1000):
            check(p.poll() is None, "mmd ended:", self.logged())
            with contextlib.suppress(OSError):
                with self.client() as c:
                    check(c.ask(PING) == PONG)
                return p
            time.sleep(0.01)
        raise AssertionError("mmd does not answer: " + self.logged())

    def app(self, *words, **env):
        """A program with heaps, which did what `words` say, and waits."""
        p = subprocess.Popen([APP, *words], env={**self.env, **env}, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.running.append(p)
        said = p.stdout.readline().decode().strip()
        check(said.startswith("ready"), "app says:", said)
        return p

    def client(self):
        return Client(self.path)

    def logged(self):
        with open(self.log, errors="replace") as f:
            return f.read()

    def wait_log(self, text):
        for _ in range(1000):
            if text in self.logged():
                return
            time.sleep(0.01)
        raise AssertionError("the log has no `%s`: %s" % (text, self.logged()))

    def end(self):
        for p in self.running:
            with contextlib.suppress(OSError):
                p.kill()
            p.wait()
            for f in (p.stdin, p.stdout):
                if f:
                    f.close()
        shutil.rmtree(self.dir, ignore_errors=True)


PING = '{"jsonrpc":"2.0","id":1,"method":"ping"}'
PONG = {"jsonrpc": "2.0", "id": 1, "result": "pong"}


def code(reply):
    return reply["error"]["code"]


# ---- JSON-RPC 2.0 ----

@test
def examples_of_the_standard(p):
    """Its dialogues, with methods that mmd has in the place of subtract, update, sum …"""
    p.start()
    with p.client() as c:
        check(c.ask(PING) == PONG)
        r = c.ask('{"jsonrpc": "2.0", "method": "failures", "params": ["shm", null, 5], "id": 2}')
        check(r["id"] == 2 and r["result"] == {"failures": []}, r)
        r = c.ask('{"jsonrpc": "2.0", "method": "failures", "params": {"limit": 5, "domain": "shm"}, "id": 3}')
        check(r["id"] == 3 and r["result"] == {"failures": []}, r)
        c.send('{"jsonrpc": "2.0", "method": "ping", "params": []}\n')
        c.send('{"jsonrpc": "2.0", "method": "foobar"}\n')
        c.silent()
        r = c.ask('{"jsonrpc": "2.0", "method": "foobar", "id": "1"}')
        check(r["id"] == "1" and code(r) == -32601 and r["error"]["message"] == "Method not found", r)
        check("ping" in r["error"]["data"]["allowed"], r)
        r = c.ask('{"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz]')
        check(r["id"] is None and code(r) == -32700 and r["error"]["message"] == "Parse error", r)
        r = c.ask('{"jsonrpc": "2.0", "method": 1, "params": "bar"}')
        check(r["id"] is None and code(r) == -32600 and r["error"]["message"] == "Invalid Request", r)
        r = c.ask('[ {"jsonrpc": "2.0", "method": "ping", "id": "1"}, {"jsonrpc": "2.0", "method" ]')
        check(r["id"] is None and code(r) == -32700, r)
        r = c.ask("[]")
        check(isinstance(r, dict) and r["id"] is None and code(r) == -32600, r)
        r = c.ask("[1]")
        check(isinstance(r, list) and len(r) == 1 and code(r[0]) == -32600, r)
        r = c.ask("[1,2,3]")
        check(len(r) == 3 and all(code(x) == -32600 and x["id"] is None for x in r), r)
        r = c.ask('[{"jsonrpc": "2.0", "method": "ping", "id": "1"}, {"jsonrpc": "2.0", "method": "ping"},'
                  '{"jsonrpc": "2.0", "method": "manager.list", "id": "2"}, {"foo": "boo"},'
                  '{"jsonrpc": "2.0", "method": "foo.get", "params": {"name": "myself"}, "id": "5"},'
                  '{"jsonrpc": "2.0", "method": "failures", "params": {"limit": "7"}, "id": "9"}]')
        check([x["id"] for x in r] == ["1", "2", None, "5", "9"], r)
        check(r[0]["result"] == "pong" and "managers" in r[1]["result"], r)
        check([code(x) for x in r[2:]] == [-32600, -32601, -32602], r)
        c.send('[{"jsonrpc": "2.0", "method": "ping"}, {"jsonrpc": "2.0", "method": "foobar"}]\n')
        c.silent()
        check(c.ask(PING) == PONG)


@test
def ids_come_back_to_the_letter(p):
    p.start()
    with p.client() as c:
        for i in ("0", "-7", "1.50", "1e3", "123456789012345678901234567890", "18446744073709551616", '"\\u00fc"', '""', "null"):
            c.send('{"jsonrpc":"2.0","method":"ping","id":%s}\n' % i)
            check(c.line().decode() == '{"jsonrpc":"2.0","id":%s,"result":"pong"}' % i, i)
        for i in ("{}", "[]", "true"):
            check(code(c.ask('{"jsonrpc":"2.0","method":"ping","id":%s}' % i)) == -32600, i)


@test
def wrong_parameters_say_what_is_right(p):
    p.start()
    with p.client() as c:
        for method, params, name, allowed in (
                ("stats", {"domain": "foo"}, "domain", ["pkg", "shm"]),
                ("dump", {}, "domain", ["pkg", "shm"]),
                ("dump", {"domain": "shm", "limit": 0}, "limit", "10000"),
                ("dump", {"domain": "shm", "limit": 10001}, "limit", "10000"),
                ("dump", {"domain": "shm", "limit": 2 ** 64}, None, None),
                ("dump", {"domain": "shm", "limit": 1.5}, "limit", "whole number"),
                ("dump", {"domain": "shm", "cursor": "garbled"}, "cursor", "next"),
                ("dump", {"domain": "shm", "cursor": "0-0-00000000-shm:x:1"}, "cursor", "next"),
                ("dump", {"domain": "shm", "older_than": -1}, "older_than", "0 or more"),
                ("track", {"mode": "on"}, "mode", ["off", "sites", "stacks", "sampled"]),
                ("track", {}, "mode", ["off", "sites", "stacks", "sampled"]),
                ("summary", {"domain": "shm", "by": "moon"}, "by", ["site", "module", "size", "owner"]),
                ("ping", {"x": 1}, "x", []),
                ("stats", {"Domain": "pkg"}, "Domain", ["domain", "pid", "pool"])):
            e = c.error(method, **params)
            check(e["code"] == -32602 and e["message"] == "Invalid params", method, params, e)
            if name:
                check(e["data"]["param"] == name, e)
                check(e["data"]["allowed"] == allowed if isinstance(allowed, list) else allowed in e["data"]["allowed"], e)
                if name in params:
                    check(e["data"]["got"] == params[name], e)
        e = c.error("stats", pid=2147483647)
        check(e["code"] == -32001 and e["data"]["param"] == "pid", e)
        e = c.error("dump", domain="shm", pool="shm:nowhere:1")
        check(e["code"] == -32001 and e["data"]["got"] == "shm:nowhere:1", e)
        e = c.error("manager.set", name="nonesuch")
        check(e["code"] == -32002 and "fm" in e["data"]["allowed"] and e["data"]["got"] == "nonesuch", e)


# ---- framing ----

@test
def lines_come_in_any_pieces(p):
    p.start()
    with p.client() as c:
        for b in PING.encode() + b"\n":
            c.send(bytes([b]))
        check(c.reply() == PONG)
        c.send(PING[:20])
        c.silent()
        c.send(PING[20:] + "\n" + PING[:5])
        check(c.reply() == PONG)
        c.silent()
        c.send(PING[5:] + "\r\n\r\n  \n")
        check(c.reply() == PONG)
        c.silent()
        c.send("".join('{"jsonrpc":"2.0","id":%d,"method":"ping"}\n' % i for i in range(3000)))
        for i in range(3000):
            check(c.reply()["id"] == i)


@test
def a_last_line_needs_no_newline(p):
    p.start()
    with p.client() as c:
        c.send(PING + "\n" + PING)
        c.s.shutdown(socket.SHUT_WR)
        check(c.reply() == PONG and c.reply() == PONG and c.line() is None)
    with p.client() as c:
        c.send('{"jsonrpc":')
        c.s.shutdown(socket.SHUT_WR)
        check(code(c.reply()) == -32700 and c.line() is None)


@test
def too_long_is_told_then_closed(p):
    p.configure("control.max_request = 65536\n")
    p.start()
    other = p.client()
    fits = '{"jsonrpc":"2.0","id":1,"method":"ping"%s}' % (" " * (65536 - len(PING)))
    with p.client() as c:
        check(len(fits) == 65536 and c.ask(fits) == PONG)
        c.send(fits + " \n")
        e = c.reply()
        check(e["id"] is None and code(e) == -32005 and "65536" in e["error"]["data"]["allowed"], e)
        check(c.line() is None, "still open")
    with p.client() as c:			# a line that never ends
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for _ in range(200):
                c.send(b"x" * 65536)
        check(code(c.reply()) == -32005)
    check(other.ask(PING) == PONG)
    other.close()


@test
def too_deep_is_a_parse_error(p):
    p.start()
    with p.client() as c:
        for n in (33, 1000, 500000):
            r = c.ask('{"jsonrpc":"2.0","id":1,"method":"ping","params":' + "[" * n + "]" * n + "}")
            check(code(r) == -32700 and "32 levels" in r["error"]["data"]["allowed"], r)
        check(code(c.ask("[" * 1000)) == -32700)
        check(c.ask(PING) == PONG)


@test
def the_depth_is_configured(p):
    p.configure("control.max_depth = 4\n")
    p.start()
    with p.client() as c:
        check(code(c.ask('{"jsonrpc":"2.0","id":1,"method":"ping","params":[[[]]]}')) == -32602)
        r = c.ask('{"jsonrpc":"2.0","id":1,"method":"ping","params":[[[[]]]]}')
        check(code(r) == -32700 and r["error"]["data"]["allowed"] == "4 levels", r)


@test
def noise_is_answered_and_survived(p):
    import random
    p.start()
    r = random.Random(7)
    with p.client() as c:
        for _ in range(300):
            noise = bytes(r.choice(b'{}[]",:\\ue0123456789abcnullping \xff\x00\xc3\xa4') for _ in range(r.randrange(1, 200)))
            c.send(noise.replace(b"\n", b" ") + b"\n")
        c.send(PING.replace('"id":1', '"id":"end"') + "\n")
        while True:
            reply = c.reply()
            if isinstance(reply, dict) and reply["id"] == "end":
                break
            check(code(reply if isinstance(reply, dict) else reply[0]) in (-32700, -32600), reply)
        check(c.ask(b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a\\u0000":1}}')["error"]["code"] == -32700)
        check(c.ask(b'\xff')["error"]["code"] == -32700)


@test
def idle_connections_cost_nobody_anything(p):
    p.configure("control.max_connections = 210\n")
    p.start()
    idle = [p.client() for _ in range(200)]
    for c in idle[:100]:
        c.send('{"jsonrpc":')			# half a line
    with p.client() as c:
        c.ask(PING)
        began = time.monotonic()
        for _ in range(20):
            c.ask(PING)
        check((time.monotonic() - began) / 20 < 0.02, "slow beside idle connections")
        more = [p.client() for _ in range(12)]
        e = more[-1].reply()
        check(code(e) == -32005 and more[-1].line() is None, e)
        check(c.ask(PING) == PONG)
        for x in more:
            x.close()
    for x in idle:
        x.close()
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        with p.client() as c:
            if "result" in c.ask(PING):
                return
    raise AssertionError("places are not given back")


@test
def an_idle_peer_is_cut_off_when_configured(p):
    p.configure("control.idle_timeout = 1\n")
    p.start()
    with p.client() as c:
        check(c.ask(PING) == PONG)
        check(c.line() is None)


def rss(pid):
    with open("/proc/%d/status" % pid) as f:
        return int(next(x for x in f if x.startswith("VmRSS")).split()[1]) * 1024


@test
def a_peer_that_does_not_read_is_bounded(p):
    mmd = p.start()
    with p.client() as deaf, p.client() as c:
        line = ('[' + ",".join(['{"jsonrpc":"2.0","id":1,"method":"rpc.discover"}'] * 500) + "]\n").encode()
        deaf.s.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            for _ in range(2000):
                deaf.s.send(line)
        began = time.monotonic()
        check(c.ask(PING) == PONG)
        check(time.monotonic() - began < 1, "slow beside a deaf peer")
        check(rss(mmd.pid) < 96 << 20, "memory", rss(mmd.pid))


def batch(calls):
    """500 are answered by some 6 MiB."""
    return ("[" + ",".join(['{"jsonrpc":"2.0","id":1,"method":"rpc.discover"}'] * calls) + "]\n").encode()


@contextlib.contextmanager
def deaf_process(p):
    """A process that asks for much, and reads nothing of it."""
    r, w = os.pipe()
    pid = os.fork()
    if not pid:
        with contextlib.suppress(BaseException):
            c = p.client()
            c.send(batch(500))
            os.write(w, b"x")
            time.sleep(60)
        os._exit(0)
    try:
        os.close(w)
        check(os.read(r, 1) == b"x")
        os.close(r)
        yield pid
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


@test
def who_does_not_read_makes_room_for_who_does(p):
    p.configure("control.max_backlog = 10M\n")
    p.start()
    with deaf_process(p) as deaf, p.client() as reads, p.client() as c:
        reads.send(batch(250))			# read as it comes
        got, line = b"", "pid %d is cut off" % deaf
        deadline = time.monotonic() + 10
        while not got.endswith(b"\n"):
            check(c.ask(PING) == PONG)
            more = reads.s.recv(65536)
            check(more, "the one who reads was cut off", p.logged())
            got += more
            if line not in p.logged() and time.monotonic() < deadline:
                time.sleep(0.02)
        check(len(json.loads(got)) == 250 and p.logged().count("is cut off") == 1 and line in p.logged(), p.logged())


@test
def many_that_do_not_read_are_bounded(p):
    mmd = p.start()
    with contextlib.ExitStack() as all, p.client() as c:
        for _ in range(20):
            deaf = all.enter_context(p.client())
            deaf.send(batch(500))
            select.select([deaf.s], [], [], 10)
            check(c.ask(PING) == PONG)
        wait_for(lambda: c.ask(PING) == PONG and "is cut off" in p.logged())
        check(rss(mmd.pid) < 128 << 20 or "san" in MMD, "memory", rss(mmd.pid))


@test
def a_big_batch_is_bounded(p):
    p.start()
    with p.client() as c:
        r = c.ask("[" + ",".join(['{"jsonrpc":"2.0","id":1,"method":"ping"}'] * 5000) + "]")
        check(len(r) == 5000 and all(x == PONG for x in r))
        check(code(c.ask("[" + "1," * 20000 + "1]")) == -32005)
        r = c.ask("[" + ",".join(['{"jsonrpc":"2.0","id":1,"method":"rpc.discover"}'] * 3000) + "]")
        check(len(r) == 3000 and "result" in r[0] and code(r[-1]) == -32005, "no bound")


# ---- start and end ----

@test
def a_wrong_configuration_creates_nothing(p):
    for text, args, words in (
            ("memory.manager = fm\nmemory.managr = fm\n", [], ["mmd.conf:2", "memory.managr", "memory.manager"]),
            ("memory.manager = nonesuch\n", [], ["mmd.conf:1", "memory.manager", "nonesuch", "fm"]),
            ("memory.track = maybe\n", [], ["mmd.conf:1", "memory.track", "maybe", "off", "sites", "stacks", "sampled"]),
            ("control.group = no-such-group\n", [], ["mmd.conf:1: control.group", "no-such-group"]),
            ("", ["-x", "nonesuch"], ["-x", "nonesuch", "fm"]),
            ("", ["-m", "much"], ["-m", "much"])):
        p.configure(text)
        for check_only in ([], ["--check-config"]):
            rc, err, _ = p.run(*args, *check_only)
            check(rc == 2, rc, err)
            check(all(w in err for w in words), words, err)
        check(not os.path.exists(os.path.join(p.dir, "run")) and not os.path.exists(os.path.join(p.dir, "registry")), "created")
    rc, err, _ = p.run("--bogus")
    check(rc == 2, rc)
    p.configure("memory.manager = fm\n")
    rc, err, out = p.run("--check-config")
    check(rc == 0 and "good" in out, rc, err, out)
    check(not os.path.exists(os.path.join(p.dir, "run")), "created")


@test
def one_mmd_a_socket(p):
    mmd = p.start()
    check(oct(os.stat(os.path.dirname(p.path)).st_mode)[-3:] == "750", "directory")
    check(oct(os.stat(p.path).st_mode)[-3:] == "660", "socket")
    rc, err, _ = p.run()
    check(rc == 1 and p.path in err and str(mmd.pid) in err, rc, err)
    with p.client() as c:
        check(c.ask(PING) == PONG)
    mmd.kill()
    mmd.wait()
    check(os.path.exists(p.path), "kill -9 leaves the socket")
    mmd = p.start()				# taken over
    with p.client() as c:
        check(c.call("status")["daemon"]["pid"] == mmd.pid)
    mmd.terminate()
    check(mmd.wait(20) == 0, "SIGTERM", mmd.returncode, p.logged())
    check(os.listdir(os.path.dirname(p.path)) == [], "left behind")
    with open(p.path, "w") as f:
        f.write("somebody's file")
    rc, err, _ = p.run()
    check(rc == 1 and "not a socket" in err and os.path.exists(p.path), rc, err)
    os.unlink(p.path)
    mmd = p.start()
    mmd.send_signal(signal.SIGINT)
    check(mmd.wait(20) == 0, "SIGINT")


@test
def a_service_manager_is_told(p):
    n = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    path = os.path.join(p.dir, "notify")
    n.bind(path)
    n.settimeout(10)
    mmd = p.start(NOTIFY_SOCKET=path)
    check(n.recv(999).startswith(b"READY=1"))
    mmd.send_signal(signal.SIGHUP)
    check(n.recv(999).startswith(b"RELOADING=1\nMONOTONIC_USEC="))
    check(n.recv(999) == b"READY=1")
    with p.client() as c:
        c.call("restart")
    check(n.recv(999).startswith(b"RELOADING=1"))
    check(n.recv(999).startswith(b"READY=1"))
    mmd.terminate()
    check(n.recv(999) == b"STOPPING=1")
    n.close()


@test
def hangup_reads_the_configuration_again(p):
    mmd = p.start()
    p.configure("nonsense\n")
    mmd.send_signal(signal.SIGHUP)
    p.wait_log("stays as it was")
    p.configure("control.max_request = 2048\n")
    mmd.send_signal(signal.SIGHUP)
    p.wait_log("read again")
    with p.client() as c:
        check(code(c.ask(" " * 3000)) == -32005)


@test
def a_higher_limit_is_for_connections_that_come_after_it(p):
    p.configure("control.max_request = 2048\n")
    mmd = p.start()
    with p.client() as before:
        check(before.ask(PING) == PONG)
        p.configure("control.max_request = 8192\n")
        mmd.send_signal(signal.SIGHUP)
        p.wait_log("read again")
        with p.client() as after:
            check(code(before.ask(" " * 3000 + PING)) == -32005)
            check(after.ask(" " * 3000 + PING) == PONG)


@test
def a_restart_refuses_no_connection(p):
    mmd = p.start()
    with p.client() as c:
        check(c.call("restart") == {"restarting": True, "pid": mmd.pid})
        check(c.line() is None)
    for _ in range(50):
        with p.client() as c:			# waits in the queue, is never refused
            check(c.ask(PING) == PONG)
    check(mmd.poll() is None)
    with p.client() as c:
        check(c.call("status")["daemon"]["pid"] == mmd.pid)
    p.configure("memory.manager = nonesuch\n")
    with p.client() as c:
        e = c.error("restart")
        check(e["code"] == -32003 and "nonesuch" in e["data"]["reason"], e)
        check(c.ask(PING) == PONG)


# ---- roles ----

def as_user(p, uid, groups, method, params):
    """What a process of that user is answered."""
    r, w = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.close(r)
            os.setgroups(groups)
            os.setgid(groups[0])
            os.setuid(uid)
            with Client(p.path) as c:
                reply = c.ask(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}))
            os.write(w, json.dumps(reply.get("error", {}).get("code", 0)).encode())
        except OSError as e:
            os.write(w, json.dumps(type(e).__name__).encode())
        finally:
            os._exit(0)
    os.close(w)
    data = os.read(r, 4096)
    os.close(r)
    os.waitpid(pid, 0)
    return json.loads(data)


@test
def roles_come_from_the_kernel(p):
    if os.geteuid():
        print("    (not root: no other user to be)")
        return
    readers, operators = grp.getgrnam("games"), grp.getgrnam("users")
    p.configure("control.group = games\ncontrol.operators = users\n")
    p.start()
    check(os.stat(p.path).st_gid == readers.gr_gid and os.stat(os.path.dirname(p.path)).st_gid == readers.gr_gid, "group")
    reader, operator, nobody = [readers.gr_gid], [readers.gr_gid, operators.gr_gid], [65534]
    read, operate, admin = ("ping", {}), ("track", {"mode": "off"}), ("manager.set", {"name": "fm"})
    check(as_user(p, 65534, nobody, *read) == "PermissionError", "the socket is open to everybody")
    for groups, call, want in ((reader, read, 0), (reader, operate, -32004), (reader, admin, -32004), (operator, read, 0),
                               (operator, operate, 0), (operator, admin, -32004)):
        got = as_user(p, 65534, groups, *call)
        check(got == want, groups, call, got)
    os.chmod(p.path, 0o666)
    os.chmod(os.path.dirname(p.path), 0o755)
    check(as_user(p, 65534, nobody, *read) == -32004, "no role is no service")
    with p.client() as c:
        check("pkg" in c.call("manager.set", name="fm"))
    log = p.logged()
    check("track by uid 65534 pid" in log and "manager.set by uid 0 pid %d" % os.getpid() in log and "Role missing" in log, log)


@test
def a_hangup_gives_the_socket_to_its_group(p):
    if os.geteuid():
        print("    (not root: no other group to give it to)")
        return
    mmd = p.start()
    directory = os.path.dirname(p.path)
    games, users = grp.getgrnam("games").gr_gid, grp.getgrnam("users").gr_gid
    for text, gid in (("control.group = games\n", games), ("control.group = users\ncontrol.operators = games\n", users),
                      ("control.operators = games\n", games), ("", os.getegid())):
        p.configure(text)
        before = p.logged().count("read again")
        mmd.send_signal(signal.SIGHUP)
        wait_for(lambda: p.logged().count("read again") > before)
        check(os.stat(p.path).st_gid == os.stat(directory).st_gid == gid, text, os.stat(p.path).st_gid)
        check(as_user(p, 65534, [gid], "ping", {}) == 0 or not gid, text)
        check(oct(os.stat(p.path).st_mode)[-3:] == "660", "socket")
    p.configure("control.group = games\n")
    with p.client() as c:
        c.call("restart")
        check(c.line() is None)
    wait_for(lambda: as_user(p, 65534, [games], "ping", {}) == 0)	# a restart in place, too


# ---- the choice ----

@test
def a_choice_is_stored_and_weighed(p):
    mmd = p.start()
    with p.client() as c:
        before = c.call("manager.get")
        check(before["pkg"]["from"] == "default" and before["held_back"] is None, before)
        names = [m["name"] for m in c.call("manager.list")["managers"]]
        other = next((n for n in names if n != before["pkg"]["now"]), names[0])
        r = c.call("manager.set", name=other, domain="pkg")
        check(r["pkg"] == {"now": before["pkg"]["now"], "next": other, "from": "choice", "held_back": None}, r)
        check(r["shm"] == before["shm"], r)
    mmd.kill()
    mmd.wait()
    mmd = p.start()
    with p.client() as c:
        r = c.call("manager.get")
        check(r["pkg"]["now"] == r["pkg"]["next"] == other and r["pkg"]["from"] == "choice", r)
        r = c.call("manager.reset")
        check(r["pkg"]["from"] == "default" and r["pkg"]["next"] == before["pkg"]["next"], r)
        e = c.error("manager.set", name="nonesuch", domain="shm")
        check(e["code"] == -32002 and c.call("manager.get")["shm"]["from"] == "default", e)
    mmd.terminate()
    mmd.wait()
    mmd = p.start(MEMAPI_SHM_MANAGER=names[0])
    with p.client() as c:
        r = c.call("manager.set", name=other)
        check(r["shm"]["from"] == "environment" and r["shm"]["held_back"] == "environment", r)
        check(r["pkg"]["from"] == "choice" and r["pkg"]["held_back"] is None and r["held_back"] == "environment", r)
    mmd.terminate()
    mmd.wait()
    p.start("-x", names[0])
    with p.client() as c:
        r = c.call("manager.get")
        check(r["held_back"] == "command_line" and r["shm"]["from"] == r["pkg"]["from"] == "command_line", r)
        check(c.call("status")["managers"]["pkg"]["next"] == names[0])


# ---- methods ----

SITE = {"file", "function", "line", "module"}
OWNER = {"pid", "command", "alive"}
MEMBERS = {				# design: what each result must have; a list: of rows
    "status": {"schema": None, "version": None, "build": {"dbg", "compiler", "commit"},
               "daemon": {"pid", "uptime", "socket", "config"}, "managers": {"pkg", "shm"},
               "pools": [{"pool", "domain", "name", "pid", "command", "manager", "shards", "incarnation", "state",
                          "held_back"}],
               "costs": [{"mode", "ns", "ratio"}], "skipped": [{"file", "reason"}], "unread": None},
    "stats": {"pools": [{"pool", "domain", "name", "pid", "command", "manager", "shards", "size", "used", "real_used",
                         "max_used", "free", "cached", "fragments", "free_fragments", "largest_free", "failures", "untracked", "tracking"}],
              "total": {"size", "used", "real_used", "max_used", "free", "cached", "fragments", "free_fragments",
                        "largest_free", "failures", "untracked"}},
    "dump": {"fragments": [{"pool", "address", "size", "requested", "state", "site", "owner", "age", "stamp", "weight"}], "next": None,
             "pause_us": None},
    "summary": {"rows": [{"key", "count", "bytes", "estimated", "sampled", "largest", "oldest"}],
                "total": {"count", "bytes", "estimated", "sampled"}},
    "leaks": {"suspects": [{"evidence", "pool", "site", "owner", "count", "bytes", "estimated", "sampled", "oldest", "rate",
                            "examples"}], "next": None},
    "check": {"pools": [{"pool", "ok", "walked", "counted", "errors"}]},
    "failures": {"failures": [{"time", "pool", "pid", "site", "requested", "free", "largest_free", "verdict"}]},
    "track": {"pools": [{"pool", "tracking"}]},
    "pool.list": {"pools": [{"pool", "name"}]},
    "pool.drop": {"dropped": None},
    "pool.release": {"name": None, "released": None},
    "manager.list": {"managers": [{"name", "source", "domains", "capabilities", "advice", "default"}]},
    "manager.get": {"pkg": {"now", "next", "from"}, "shm": {"now", "next", "from"}},
    "manager.set": {"pkg": {"now", "next", "from"}, "shm": {"now", "next", "from"}},
    "manager.reset": {"pkg": {"now", "next", "from"}, "shm": {"now", "next", "from"}},
    "restart": {"restarting": None},
    "rpc.discover": {"methods": [{"name", "role", "params", "example"}]},
}


def has_members(method, result, must_have_rows=False):
    for name, want in MEMBERS[method].items():
        check(name in result, method, "has no", name, str(result)[:300])
        if isinstance(want, set):
            check(want <= set(result[name]), method, name, "lacks", want - set(result[name]))
        elif isinstance(want, list):
            check(isinstance(result[name], list), method, name)
            for row in result[name]:
                check(want[0] <= set(row), method, name, "lacks", want[0] - set(row))
            check(result[name] or not must_have_rows, method, name, "is empty")


@test
def every_method_does_its_example(p):
    p.start()
    with p.client() as c:
        methods = c.call("rpc.discover")["methods"]
        check({m["name"] for m in methods} == set(MEMBERS) | {"ping"}, [m["name"] for m in methods])
        for m in sorted(methods, key=lambda m: m["name"] == "restart"):
            check(m["role"] in ("read", "operate", "admin") and m["summary"] and m["result"], m)
            for param in m["params"]:
                check(set(param) == {"name", "required", "description", "schema"} and "type" in param["schema"], param)
            check(set(m["example"]) <= {x["name"] for x in m["params"]}, m)
            result = c.call(m["name"], **m["example"])
            if m["name"] == "ping":
                check(result == "pong")
            else:
                has_members(m["name"], result)


def objects(shape, name):
    """Each place of a shape where members are told."""
    if isinstance(shape, list):
        yield from objects(shape[0], name)
    elif isinstance(shape, dict):
        yield name, shape
        for member, inner in shape.items():
            yield from objects(inner, "%s.%s" % (name, member.rstrip("?")))


@test
def a_member_that_is_not_told_is_found(p):
    p.start()
    p.app("shm=50,64", "fork")
    empty = {"status.costs", "status.skipped", "status.pools.lock", "stats.pools.lock", "check.pools.errors", "dump.errors"}
    with p.client() as c:
        for method, params in (("status", {}), ("stats", {}), ("dump", {"domain": "shm", "state": "used"}), ("summary", {"domain": "shm"}),
                               ("leaks", {"domain": "shm"}), ("check", {}), ("manager.get", {}), ("rpc.discover", {})):
            result, shape = c.call(method, **params), c.told.result[method]
            for name, members in list(objects(shape, method)):
                if name in empty:
                    continue
                for member in [m for m in members if m[-1] != "?"]:
                    inner = members.pop(member)		# as if methods.def did not tell of it
                    wrong = c.told.differences(shape, result, method)
                    members[member] = inner
                    check("%s.%s is not told" % (name, member) in wrong, name, member, wrong)
                members["more"] = None			# ... and as if it told of one more
                wrong = c.told.differences(shape, result, method)
                del members["more"]
                check("%s.more is not sent" % name in wrong, name, wrong)
            check(not c.told.differences(shape, result, method), "as it was")


# ---- heaps to look at ----

def wait_for(fn, seconds=15):
    """What fn gives, as soon as it is something."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        got = fn()
        if got:
            return got
        time.sleep(0.05)
    raise AssertionError("did not come true in %d s" % seconds)


def pages(c, **params):
    """All fragments of a dump, page by page."""
    rows, more = [], {}
    while True:
        page = c.call("dump", **params, **more)
        has_members("dump", page)
        check(page["pause_us"] <= 100, page["pause_us"])
        rows += page["fragments"]
        if page["next"] is None:
            return rows
        more = {"cursor": page["next"]}


@test
def rows_have_what_was_promised(p):
    p.start()
    a = p.app("pkg=50,64", "shm=200,100", "fork", "fail", MEMAPI_TRACK="sites")
    with p.client() as c:
        for method, params in (("status", {}), ("stats", {}), ("dump", {"domain": "shm"}), ("dump", {"domain": "pkg", "pid": a.pid}),
                               ("summary", {"domain": "shm"}), ("leaks", {"domain": "shm"}), ("failures", {}),
                               ("track", {"mode": "sites"}), ("pool.list", {}), ("check", {})):
            result = c.call(method, **params)
            if method == "status":
                result["skipped"].append({"file": "", "reason": ""})
                result["costs"].append({"mode": "", "ns": 1, "ratio": 1})	# not measured yet
            has_members(method, result, must_have_rows=True)
        rows = {r["pool"]: r for r in c.call("stats")["pools"]}
        own, pkg, shm = rows["pkg:%d:1" % p.running[0].pid], rows["pkg:%d:1" % a.pid], rows["shm:%d:1" % a.pid]
        check(own["command"].startswith("mmd") and own["used"] > 0 and own["state"] == "live", own)
        check(pkg["fragments"] == 50 and pkg["tracking"] == "sites" and pkg["untracked"] == 0, pkg)
        check(shm["fragments"] == 210 and shm["failures"] == 1 and shm["dead"] == 1, shm)
        for r in rows.values():
            check(r["real_used"] + r["cached"] + r["free"] == r["committed"], "the sum", r)
        total = c.call("stats")["total"]
        check(total["size"] is None and total["largest_free"] is None, total)
        total, rows = c.call("stats", domain="shm")["total"], c.call("stats", domain="shm")["pools"]
        check(total["used"] == sum(r["used"] for r in rows), total)
        check([r["pool"] for r in c.call("stats", pid=a.pid)["pools"]] == ["pkg:%d:1" % a.pid, "shm:%d:1" % a.pid])
        check([r["pool"] for r in c.call("stats", pool="shm:default:1")["pools"]] == ["shm:default:1"])
        summary = c.call("summary", domain="shm", pid=a.pid)
        check(summary["total"] == {"count": 210, "bytes": shm["used"], "estimated": False, "sampled": 0}, summary)
        check([r["count"] for r in summary["rows"]] == [200, 10], summary)
        site = summary["rows"][0]["site"]
        check(site["file"].endswith("app.c") and site["function"] == "many" and site["module"] == "core", site)
        for by, keys in (("module", ["core"]), ("size", ["65-128"]), ("owner", None)):
            rows = c.call("summary", domain="shm", pid=a.pid, by=by)["rows"]
            check(sum(r["count"] for r in rows) == 210 and (not keys or [r["key"] for r in rows] == keys), rows)
        check(c.call("summary", domain="shm", limit=1)["total"]["count"] == 210, "total is of everything")


@test
def what_watching_costs_is_measured_once(p):
    modes = ["libc", "off", "sites", "stacks", "sampled stacks", "guards", "no magazines", "shm"]
    rc, err, out = p.run("--costs")
    check(rc == 0 and [line[:14].strip() for line in out.splitlines()] == modes, rc, err, out)
    p.start()
    with p.client() as c:
        check(c.call("status")["costs"] == [], "before it is measured")
        deadline = time.monotonic() + 60
        while not c.call("status")["costs"] and time.monotonic() < deadline:
            time.sleep(0.2)
        costs = {x["mode"]: x for x in c.call("status")["costs"]}
        check(list(costs) == modes and all(x["ns"] > 0 for x in costs.values()), costs)
        check(costs["libc"]["ratio"] == 1 and costs["stacks"]["ratio"] > costs["off"]["ratio"], costs)
        pools = {x["pool"] for x in c.call("status")["pools"]}
        check(len(pools) == 2, "who measures is not shown", pools)	# mmd's two


@test
def a_recovery_is_told(p):
    p.start()
    with p.client() as c:
        a = p.app("hold-killed")
        pool = "shm:%d:1" % a.pid
        row = {r["pool"]: r for r in c.call("status")["pools"]}[pool]
        check(row["takeovers"] == 1 and row["dead"] == 1 and row["lock"] is None, row)
        check({r["pool"]: r for r in c.call("stats")["pools"]}[pool]["takeovers"] == 1)
        p.wait_log("%s: lock of dead owner" % pool)
        check("taken over by %d, 0 stores rolled back, in " % a.pid in p.logged(), p.logged())
        suspects = c.call("leaks", domain="shm", pool=pool, evidence="owner_dead")["suspects"]
        check(len(suspects) == 1 and suspects[0]["site"]["function"] == "hold" and suspects[0]["count"] == 1 and
              not suspects[0]["owner"]["alive"], suspects)


@test
def a_stopped_holder_is_told_with_its_time(p):
    p.start()
    a = p.app("hold-stopped")
    with p.client() as c:
        def lock():
            return {r["pool"]: r for r in c.call("status")["pools"]}["shm:%d:1" % a.pid]["lock"]
        first = lock()
        check(first and first["pid"] not in (a.pid, 0) and first["held"] < 5, first)
        os.kill(first["pid"], 0)
        time.sleep(0.3)
        second = lock()
        check(second["turn"] == first["turn"] and 0.25 < second["held"] - first["held"] < 5, first, second)
        os.kill(first["pid"], signal.SIGKILL)


@test
def a_dump_is_filtered_and_paged(p):
    p.start()
    a = p.app("shm=3000,40", "shm=100,1000", "fork")
    with p.client() as c:
        everything = pages(c, domain="shm", pid=a.pid, limit=701)
        used = [f for f in everything if f["state"] == "used"]
        check(len(used) == 3110 and len({f["address"] for f in everything}) == len(everything), len(used), len(everything))
        check(any(f["state"] == "free" for f in everything), "no free fragment")
        one = used[0]
        check(one["address"].startswith("0x") and one["size"] >= one["requested"] == 40 and one["age"] < 60, one)
        check(one["owner"] == {"pid": a.pid, "command": one["owner"]["command"], "alive": True}, one)
        check(len(pages(c, domain="shm", pid=a.pid, min_size=1000, state="used")) == 100)
        check(len(pages(c, domain="shm", pid=a.pid, state="used", owner=a.pid, limit=999)) == 3100)
        line = one["site"]["line"]
        check(len(pages(c, domain="shm", site="app.c:%d" % line)) == 3100)
        check(len(pages(c, domain="shm", site="app.c")) == 3110 and not pages(c, domain="shm", site="pp.c"))
        check(len(pages(c, domain="shm", site="lose_child")) == 10)
        check(not pages(c, domain="shm", older_than=1000, state="used"))
        check(not pages(c, domain="shm", pool="shm:default:1", state="used"))
        dead = pages(c, domain="shm", site="lose_child")
        check(all(not f["owner"]["alive"] and f["owner"]["pid"] != a.pid for f in dead), dead[0])
        page = c.call("dump", domain="shm", pid=a.pid, limit=10)
        for params in ({"domain": "shm", "pid": a.pid, "state": "used"}, {"domain": "shm"}):
            check(c.error("dump", cursor=page["next"], **params)["data"]["param"] == "cursor", "cursor of another question")
        garbled = page["next"].replace("-", "-1", 1)
        check(c.error("dump", domain="shm", pid=a.pid, cursor=garbled)["code"] == -32602)
        c.call("dump", domain="shm", pid=a.pid, cursor=page["next"], limit=10000)
        a.kill()
        a.wait()


@test
def a_cursor_of_a_pool_that_is_gone_is_stale(p):
    p.start()
    a = p.app("shm=100,40")
    with p.client() as c:
        page = c.call("dump", domain="shm", limit=10)
        check(page["next"], page)
        a.stdin.close()
        a.wait()
        check(wait_for(lambda: c.ask(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "dump",
                                                 "params": {"domain": "shm", "cursor": page["next"]}}))
                       .get("error", {}).get("code")) == -32602)


@test
def an_untracked_heap_is_walked(p):
    p.start()
    a = p.app("pkg=500,64", MEMAPI_TRACK="off")
    with p.client() as c:
        rows = pages(c, domain="pkg", pid=a.pid, limit=77)
        used = [f for f in rows if f["state"] == "used"]
        check(len(used) == 500 and used[0]["site"] is None and used[0]["requested"] is None and used[0]["age"] is None, len(used))
        check(used[0]["owner"]["pid"] == a.pid, used[0])
        rows = c.call("summary", domain="pkg", pid=a.pid)["rows"]
        check([(r["key"], r["count"]) for r in rows] == [("untracked", 500)], rows)
        r = c.call("track", mode="sites", pid=a.pid)
        check(r["pools"] == [{"pool": "pkg:%d:1" % a.pid, "tracking": "sites"}], r)
        for mode in ("off", "sampled"):
            e = c.error("track", mode=mode, domain="shm")
            check(e["code"] == -32602 and e["data"]["param"] == "mode" and e["data"]["allowed"] == ["sites", "stacks"], e)


@test
def estimates_are_told_as_such(p):
    p.start()
    a = p.app("pkg=20000,500", MEMAPI_TRACK="sampled", MEMAPI_SAMPLE="64K")
    with p.client() as c:
        pool = c.call("stats", domain="pkg", pid=a.pid)["pools"][0]
        check(pool["tracking"] == "sampled" and pool["fragments"] == 20000 and pool["untracked"] < 20000, pool)
        summary = c.call("summary", domain="pkg", pid=a.pid)
        rows = [r for r in summary["rows"] if r["key"] != "untracked"]
        check(rows and all(r["estimated"] and r["sampled"] > 0 for r in rows), rows)
        n, count = sum(r["sampled"] for r in rows), sum(r["count"] for r in rows)
        check(n == 20000 - pool["untracked"], n, pool)
        check(abs(count - 20000) < 20000 * 5 / n ** 0.5, n, count)		# 5 deviations, 154 samples
        check(summary["total"]["estimated"] and summary["total"]["count"] >= 20000, summary["total"])
        for site in (r["site"] for r in rows):		# a stack is no address, and has the names of its functions
            check("address" not in site and site["stack"].startswith("0x") and site["function"].startswith("many < main"), site)
        for name in ("many", rows[0]["site"]["stack"]):
            check(len(pages(c, domain="pkg", pid=a.pid, state="used", site=name)) == n, name)
        check(not pages(c, domain="pkg", pid=a.pid, site="man") and not pages(c, domain="pkg", pid=a.pid, site="main"))
        weights = [f["weight"] for f in pages(c, domain="pkg", pid=a.pid, state="used") if f["weight"]]
        check(len(weights) == n and all(abs(w - 128) < 10 for w in weights), weights)


@test
def leaks_have_evidence(p):
    p.configure("leaks.samples = 3\nleaks.interval = 1\n")
    p.start()
    with p.client() as c:
        check(c.call("leaks", domain="shm")["suspects"] == [] and c.call("leaks", domain="pkg")["suspects"] == [])
        a = p.app("shm=500,100", "fork")			# 500 fragments that live and do not grow are no leak
        (row,) = c.call("leaks", domain="shm")["suspects"]
        check(row["evidence"] == "owner_dead" and row["count"] == 10 and row["site"]["function"] == "lose_child", row)
        check(not row["owner"]["alive"] and row["rate"] is None and len(row["examples"]) == 3, row)
        gone = p.app("pkg=20,64", "exit", MEMAPI_TRACK="sites")
        crashed = p.app("pkg=30,64", "crash", MEMAPI_TRACK="sites")
        gone.wait()
        crashed.wait()
        rows = c.call("leaks", domain="pkg", evidence="at_exit")["suspects"]
        check(sorted((r["owner"]["pid"], r["count"]) for r in rows) == sorted([(gone.pid, 20), (crashed.pid, 30)]), rows)
        states = {x["pid"]: x["state"] for x in c.call("status")["pools"] if x["domain"] == "pkg"}
        check(states[gone.pid] == "exited" and states[crashed.pid] == "crashed", states)
        page = c.call("leaks", domain="pkg", evidence="at_exit", limit=1)
        rest = c.call("leaks", domain="pkg", evidence="at_exit", limit=1, cursor=page["next"])
        check(page["suspects"] + rest["suspects"] == rows and rest["next"] is None, "paging")
        p.app("grow")
        rows = wait_for(lambda: c.call("leaks", domain="shm", evidence="growing")["suspects"])
        check(len(rows) == 1 and rows[0]["site"]["function"] == "grow" and rows[0]["rate"] > 0, rows)
        figures = rows[0]["figures"]
        check(rows[0]["samples"] == 3 and rows[0]["interval"] == 1 and len(figures) == 4, rows)
        check(all(x < y for x, y in zip(figures, figures[1:])), figures)
        check(c.call("leaks", domain="shm")["unsampled"] is False)
        p.app("sites=9000")				# more than are sampled: that is told
        wait_for(lambda: c.call("leaks", domain="shm")["unsampled"] is True)
        check(c.error("leaks", domain="shm", evidence="unreachable")["data"]["allowed"] == ["owner_dead", "at_exit", "growing"])
        a.kill()


@test
def a_failure_says_why(p):
    p.start()
    p.app("shm=10,40", "fail")
    a = p.app("drain", MEMAPI_SHM_SIZE="2M")			# its dead child has what it needs
    with p.client() as c:
        rows = c.call("failures")["failures"]
        by_pool = {r["pool"]: r for r in rows}
        check(by_pool["shm:%d:1" % a.pid]["verdict"] == "dead_owners", rows)
        other = [r for r in rows if r["pool"] != "shm:%d:1" % a.pid]
        check(len(other) == 1 and other[0]["verdict"] == "limit" and other[0]["requested"] == 1 << 45, other)
        check(other[0]["site"]["function"] == "does" and other[0]["pid"] and abs(other[0]["time"] - time.time()) < 60, other)
        for limit in range(1, len(rows) + 1):			# the newest ones
            check(c.call("failures", limit=limit)["failures"] == rows[:limit], limit, rows)


@test
def a_check_names_both_places(p):
    p.start()
    a = p.app("pkg=10,64", "shm=10,64", "double", MEMAPI_TRACK="sites")
    with p.client() as c:
        rows = {r["pool"]: r for r in c.call("check")["pools"]}
        check(rows["shm:%d:1" % a.pid]["ok"] is True and rows["shm:default:1"]["ok"] is True, rows)
        row = rows["pkg:%d:1" % a.pid]
        check(row["ok"] is False and row["walked"] == row["counted"], row)
        what = row["errors"][0]["what"]
        check("double free" in what and what.count("app.c:") == 3, what)
        check([r["pool"] for r in c.call("check", pool="shm:default:1")["pools"]] == ["shm:default:1"])


@test
def noise_in_the_registry_is_skipped(p):
    p.start()
    a = p.app("shm=10,64")
    registry = p.env["MEMAPI_REGISTRY"]
    with open(os.path.join(registry, "pkg-99-1"), "wb") as f:
        f.write(os.urandom(100000))
    with open(os.path.join(registry, "shm-short-1"), "wb") as f:
        f.write(b"x")
    with p.client() as c:
        status = c.call("status")
        check({s["file"] for s in status["skipped"]} == {"pkg-99-1", "shm-short-1"} and all(s["reason"] for s in status["skipped"]),
              status["skipped"])
        check("shm:%d:1" % a.pid in [x["pool"] for x in status["pools"]])


@test
def few_descriptors_are_enough(p):
    for _ in range(10):
        p.app("shm=5000,40", MEMAPI_SHARDS="8")
    p.start(few=64)				# each observer takes its share of them
    with p.client() as c:
        for _ in range(3):
            check(c.call("summary", domain="shm")["total"]["count"] == 10 * 5000, c.call("summary", domain="shm"))
            check(all(r["ok"] for r in c.call("check", domain="shm")["pools"]))
        check(not c.call("status")["skipped"])


@test
def a_registry_that_cannot_be_read_is_an_error(p):
    mmd = p.start()
    p.app("shm=100,40")
    with p.client() as c:
        check(c.call("summary", domain="shm")["total"]["count"] == 100)
        limit = resource.prlimit(mmd.pid, resource.RLIMIT_NOFILE)
        p.app("shm=100,40")

        def not_one_more():
            there = {int(fd) for fd in os.listdir("/proc/%d/fd" % mmd.pid)}
            lowest = min(set(range(len(there) + 1)) - there)
            resource.prlimit(mmd.pid, resource.RLIMIT_NOFILE, (lowest, limit[1]))

        def refused(method, params):
            not_one_more()
            return c.ask(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})).get("error")

        for method, params in (("summary", {"domain": "shm"}), ("leaks", {"domain": "shm"}), ("dump", {"domain": "shm"}),
                               ("pool.list", {})):
            e = wait_for(lambda: refused(method, params))	# another thread of mmd's may have closed one just then
            check(e["code"] == -32603 and "registry cannot be read" in e["data"]["reason"], e)
        wait_for(lambda: not_one_more() or "open files" in (c.call("status")["unread"] or ""))
        resource.prlimit(mmd.pid, resource.RLIMIT_NOFILE, limit)
        check(c.call("summary", domain="shm")["total"]["count"] == 200)
        check(c.call("status")["unread"] is None)


# ---- hosted pools ----

@test
def who_finds_the_socket_finds_the_pools(p):
    names = ["p%d" % i for i in range(12)]
    p.configure("".join("[pool.%s]\nsize = 16M\nshards = 8\n" % name for name in names))
    with open(p.log, "ab") as log:
        p.running.append(subprocess.Popen([MMD, "-c", p.conf], env=p.env, stderr=log))
    while True:
        with contextlib.suppress(OSError), p.client():
            there = os.listdir(p.env["MEMAPI_REGISTRY"])
            break
    check(all("shm-%s-1" % name in there for name in names), there)


def hosted(c):
    return [(r["pool"], r["state"], r["users"], r["used"] > 0) for r in c.call("pool.list")["pools"]]


@test
def hosted_pools_outlive_a_restart(p):
    p.configure("[pool.kept]\nkeep = yes\nsize = 16M\n")
    mmd = p.start()
    a = p.app("shm=100,40", MEMAPI_SHM_POOL="default")
    k = p.app("shm=100,40", MEMAPI_SHM_POOL="kept")
    with p.client() as c:
        check(hosted(c) == [("shm:default:1", "live", 1, True), ("shm:kept:1", "live", 1, True)], hosted(c))
        c.call("restart")
    with p.client() as c:
        check(hosted(c) == [("shm:default:1", "live", 1, True), ("shm:kept:1", "live", 1, True)], hosted(c))
        own = [r for r in c.call("status")["pools"]
               if r["domain"] == "pkg" and r["pid"] == mmd.pid and r["state"] == "live"]
        check(len(own) == 1, "the heap before the restart still lives", own)
        a.stdin.close()
        a.wait()
        wait_for(lambda: hosted(c)[0] == ("shm:default:1", "live", 0, True))	# nobody uses it: it stays as it is
        mmd.kill()
        mmd.wait()
    mmd = p.start()
    with p.client() as c:
        check(hosted(c) == [("shm:default:1", "live", 0, True), ("shm:kept:1", "live", 1, True)], hosted(c))
        k.stdin.close()
        k.wait()
    mmd.terminate()
    check(mmd.wait(20) == 0)
    check(sorted(f for f in os.listdir(p.env["MEMAPI_REGISTRY"]) if f.startswith("shm")) == ["shm-kept-1", "shm-kept-1.data"])


@test
def a_dropped_pool_drains(p):
    p.start()
    a = p.app("shm=100,40", MEMAPI_SHM_POOL="default")
    with p.client() as c:
        r = c.call("pool.drop", name="default")
        check(r["dropped"] == ["shm:default:1"] and r["draining"] == ["shm:default:1"], r)
        check([x[:3] for x in hosted(c)] == [("shm:default:1", "draining", 1), ("shm:default:2", "live", 0)], hosted(c))
        b = p.app("shm=5,40", MEMAPI_SHM_POOL="default")
        check([x[2] for x in hosted(c)] == [1, 1], hosted(c))
        a.stdin.close()
        a.wait()
        wait_for(lambda: [x[0] for x in hosted(c)] == ["shm:default:2"])
        b.stdin.close()
        b.wait()
        r = c.call("pool.drop", name="default")
        check(r["dropped"] == ["shm:default:2"] and r["draining"] == [], r)
        check(c.error("pool.drop", name="nonesuch")["code"] == -32001)


@test
def what_the_killed_left_is_released(p):
    p.configure("[pool.apart]\non_death = quarantine\n")
    p.start()
    a = p.app("shm=100,40", MEMAPI_SHM_POOL="apart")
    b = p.app("shm=7,40", MEMAPI_SHM_POOL="apart")
    with p.client() as c:
        left = lambda: c.call("stats", pool="shm:apart:1")["pools"][0]["fragments"]
        check(left() == 107, left())
        check(c.call("pool.release", name="apart") == {"name": "apart", "released": 0})    # the living keep theirs
        a.kill()
        a.wait()
        wait_for(lambda: c.call("dump", domain="shm", pool="shm:apart:1", state="quarantined")["fragments"])
        check(left() == 107, left())
        check(c.call("pool.release", name="apart", pid=b.pid)["released"] == 0)
        check(c.call("pool.release", name="apart", pid=a.pid)["released"] == 100)
        check(left() == 7, left())
        check(c.error("pool.release", name="nonesuch")["code"] == -32001)
        b.kill()


@test
def a_release_that_has_to_wait_lets_others_through(p):
    p.configure("[pool.apart]\non_death = quarantine\n")
    p.start()
    a = p.app("shm=100,40", MEMAPI_SHM_POOL="apart")
    b = p.app("shm=7,40", "hold-stopped", MEMAPI_SHM_POOL="apart")
    with p.client() as waits, p.client() as c:
        a.kill()
        a.wait()
        waits.send('{"jsonrpc":"2.0","id":1,"method":"pool.release","params":{"name":"apart","pid":%d}}\n' % a.pid)
        check(c.ask(PING) == PONG)
        with p.client() as leaves:
            leaves.send('{"jsonrpc":"2.0","id":1,"method":"pool.release","params":{"name":"apart"}}\n')
            leaves.silent()
        waits.silent(0.3)			# the lock's holder is stopped
        b.kill()
        check(waits.reply()["result"] == {"name": "apart", "released": 100})


@test
def another_manager_comes_with_the_restart(p):
    p.configure("[pool.kept]\nkeep = yes\n")
    p.start()
    with p.client() as c:
        names = [m["name"] for m in c.call("manager.list")["managers"] if "shm" in m["domains"]]
        now = c.call("manager.get")["shm"]["now"]
        other = next((n for n in names if n != now), None)
        if not other:
            print("    (only one manager is built)")
            return
        a = p.app("shm=10,40", MEMAPI_SHM_POOL="default")
        r = c.call("manager.set", name=other)
        check(r["shm"]["next"] == other and r["shm"]["now"] == now and r["pkg"]["next"] == other, r)
        check("kept" in r["held_back"] and "kept" in r["shm"]["held_back"], r)
        c.call("restart")
    with p.client() as c:
        pools = {x["pool"]: x for x in c.call("status")["pools"]}
        check(pools["shm:default:1"]["state"] == "draining" and pools["shm:default:1"]["manager"] == now, pools)
        check(pools["shm:default:2"]["state"] == "live" and pools["shm:default:2"]["manager"] == other, pools)
        check(pools["shm:kept:1"]["manager"] == now and "keep" in pools["shm:kept:1"]["held_back"], pools)
        check("shm:kept:2" not in pools, pools)
        r = c.call("manager.get")
        check(r["shm"]["now"] == other and "kept" in r["held_back"], r)
        b = p.app("shm=10,40", MEMAPI_SHM_POOL="default")
        check(c.call("stats", pool="shm:default:2")["pools"][0]["fragments"] == 10)
        c.call("pool.drop", name="kept")
        check({x["manager"] for x in c.call("pool.list")["pools"] if x["name"] == "kept"} == {other})
        a.kill()
        b.kill()


# ---- no request holds up the loop ----

def loop_cpu(mmd):
    """What the loop's thread has computed so far, in s. Not how long it waited: this machine may be busy."""
    with open("/proc/%d/task/%d/schedstat" % (mmd.pid, mmd.pid)) as f:
        return int(f.read().split()[0]) / 1e9


@test
def a_long_answer_lets_others_through(p):
    """With a million fragments. How long it takes beside a program that works, ./dev bench introspect measures."""
    mmd = p.start()
    p.app("shm=1000000,40", MEMAPI_SHM_SIZE="512M")
    with p.client() as long, p.client() as c:
        took = []
        for method, params in (("dump", {"state": "used", "limit": 10000}), ("dump", {"min_size": 4096}), ("summary", {}),
                               ("leaks", {}), ("check", {})):
            long.send(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": {"domain": "shm", **params}}) + "\n")
            for _ in range(20):
                began = time.monotonic()
                check(c.ask(PING) == PONG)
                took.append(time.monotonic() - began)
            long.line()
        took.sort()
        check(took[len(took) * 9 // 10] < 0.02, "pings took", took[-5:])	# this machine may be busy: nine of ten
        before = loop_cpu(mmd)
        for _ in range(20):
            c.call("stats", domain="shm")
        took = (loop_cpu(mmd) - before) / 20
        check(took < 0.002 or "san" in MMD, "stats took", took)
        check(rss(mmd.pid) < 64 << 20 or "san" in MMD, "memory", rss(mmd.pid))


IDLE = 5	# SCHED_IDLE
FUTEX = {"x86_64": 202, "aarch64": 98}.get(os.uname().machine, "?")


def idle_threads(pid):
    """Threads of the process that report where nobody else wants to run."""
    found = []
    for tid in os.listdir("/proc/%d/task" % pid):
        with contextlib.suppress(OSError), open("/proc/%d/task/%s/stat" % (pid, tid)) as f:
            stat = f.read()
            if int(stat.rsplit(")", 1)[1].split()[38]) == IDLE and "(mmd-sample)" not in stat:
                found.append(int(tid))
    return found


@contextlib.contextmanager
def held(tid):
    """The thread gets no CPU: what a busy machine does to one of idle priority, only more so."""
    libc = ctypes.CDLL(None, use_errno=True)

    def ptrace(request):
        libc.ptrace.argtypes = [ctypes.c_long] * 4
        check(libc.ptrace(request, tid, 0, 0) == 0, "ptrace", hex(request), os.strerror(ctypes.get_errno()))

    ptrace(0x4206)	# PTRACE_SEIZE
    ptrace(0x4207)	# PTRACE_INTERRUPT
    os.waitpid(tid, 0x40000000)	# __WALL
    try:
        yield
    finally:
        ptrace(17)	# PTRACE_DETACH


def summary_text():
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": "summary", "params": {"domain": "shm"}}) + "\n"


def lend(client):
    """A summary that stays with the held thread. On a busy machine that may not be tried for a while."""
    began = time.monotonic()
    while time.monotonic() - began < 100:
        client.send(summary_text())
        if not select.select([client.s], [], [], 2)[0]:
            return
        client.line()
        time.sleep(0.2)
    raise AssertionError("the thread gets no work")


def report_beside(p):
    """mmd with a pool that takes more than a slice, its summary, and the thread that has made it."""
    mmd = p.start()
    p.app("shm=300000,40", MEMAPI_SHM_SIZE="256M")
    with p.client() as c:
        check(not idle_threads(mmd.pid), "a thread without a report")
        total = c.call("summary", domain="shm")["total"]
        check(total["count"] == 300000, total)
    threads = idle_threads(mmd.pid)
    check(len(threads) == 1 and mmd.pid not in threads, threads)
    return mmd, total, threads[0]


@test
def a_report_goes_on_when_its_thread_does_not_come_on(p):
    _, total, thread = report_beside(p)
    with p.client() as stuck, p.client() as c, p.client() as other:
        took = []
        with held(thread):
            lend(stuck)
            other.send(summary_text())		# waits behind it
            for _ in range(20):
                began = time.monotonic()
                check(c.ask(PING) == PONG)
                took.append(time.monotonic() - began)
            check(other.reply()["result"]["total"] == total)
            check(c.call("summary", domain="shm")["total"] == total)
            check(pages(c, domain="shm", min_size=4096, state="used") == [])
            stuck.silent()
        check(stuck.reply()["result"]["total"] == total, "the one that was with the thread")
        check(sorted(took)[17] < 0.02, "pings took", took)
        check(c.call("summary", domain="shm")["total"] == total)


def longest_turn(mmd, busy, c, method, rows):
    """What the loop computes at most between two pings while it makes a report."""
    most, began = 0, time.monotonic()
    busy.send(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": {"domain": "shm", "limit": 10000}}) + "\n")
    while not select.select([busy.s], [], [], 0)[0]:
        check(time.monotonic() - began < 60, method, "is not answered")
        before = loop_cpu(mmd)
        check(c.ask(PING) == PONG)
        most = max(most, loop_cpu(mmd) - before)
    check(len(busy.reply()["result"][rows]) == 10000)
    return most


@test
def the_end_of_a_report_of_many_groups_comes_in_slices_too(p):
    p.configure("memory.shm.size = 64M\n")
    mmd, _, thread = report_beside(p)
    a = p.app("sites=32700")
    a.kill()
    a.wait()
    with p.client() as stuck, p.client() as busy, p.client() as c, held(thread):
        lend(stuck)				# from here on the loop works
        for method, rows in (("summary", "rows"), ("leaks", "suspects")):
            took = []
            while len(took) < 3 and min(took, default=1) > 0.01:	# where others compute, it is told by ticks of 4 ms
                took.append(longest_turn(mmd, busy, c, method, rows))
            check(min(took) < 0.01 or "san" in MMD, method, "held the loop for", took)


@test
def a_peer_may_leave_while_a_thread_has_its_report(p):
    _, total, thread = report_beside(p)
    with p.client() as c:
        with held(thread):
            with p.client() as stuck, p.client() as waits:
                lend(stuck)
                waits.send(summary_text())
                check(c.ask(PING) == PONG)
            check(c.ask(PING) == PONG)
        check(c.call("summary", domain="shm")["total"] == total)


@test
def the_end_waits_for_the_slice_that_runs(p):
    mmd, _, thread = report_beside(p)
    with held(thread), p.client() as stuck:
        lend(stuck)
        mmd.send_signal(signal.SIGTERM)
        time.sleep(0.2)
        check(mmd.poll() is None)
    check(mmd.wait(20) == 0)


def waits_for_a_lock(pid):
    """The main thread, for another one of its process."""
    with open("/proc/%d/syscall" % pid) as f:
        return f.read().split()[0] == str(FUTEX)


def held_check(c, mmd):
    """A check is answered, and again, while its first thread is held. False: it has the lock of mmd's own heap."""
    c.send(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "check", "params": {"domain": "shm"}}) + "\n")
    while not idle_threads(mmd.pid):
        pass
    with held(idle_threads(mmd.pid)[0]):
        time.sleep(0.2)
        if waits_for_a_lock(mmd.pid):
            return False
        check(c.s.recv(1, socket.MSG_PEEK), "an answer while the first thread is held")
        pools = c.reply()["result"]["pools"]
        check(all(x["ok"] for x in pools) and max(x["walked"]["fragments"] for x in pools) >= 1500000, pools)
        for _ in range(6):			# what is left behind does not count as one that runs
            check(c.call("check", domain="shm")["pools"][0]["ok"], "again, while it is held")
    return True


@test
def a_check_is_begun_anew_when_its_thread_does_not_come_on(p):
    mmd = p.start()
    p.app("shm=1500000,40", MEMAPI_SHM_SIZE="512M")
    with p.client() as c:
        times = 0
        while not held_check(c, mmd):		# rarely: a call of an allocator is short
            times += 1
            check(times < 3, "its threads have the heap's lock again and again")
            c.reply()
            while idle_threads(mmd.pid):
                time.sleep(0.01)
        check(c.call("check", domain="shm")["pools"][0]["ok"], "again")


def main():
    wanted = [name for name in sys.argv[3:] if name[0] != "-"]
    unwanted = [name[1:] for name in sys.argv[3:] if name[0] == "-"]
    for fn in TESTS:
        if fn.__name__ in unwanted or (wanted and fn.__name__ not in wanted):
            continue
        place = Place()
        began = time.monotonic()
        try:
            fn(place)
        except BaseException:
            print("FAIL", fn.__name__)
            if os.path.exists(place.log):
                print(place.logged()[-3000:])
            raise
        finally:
            place.end()
        print("ok   %s (%.1f s)" % (fn.__name__, time.monotonic() - began), flush=True)


if __name__ == "__main__":
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    main()
