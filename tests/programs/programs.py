#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Programs that know nothing of memapi, at work on every private manager, with a check of what they did.

    programs.py BUILD [PROGRAM ...]    each PROGRAM (all) on each manager and module of BUILD; exit status 1: one did not work

A program is a function that does some work in an empty directory, raises Fault when a result is wrong, and returns a Cost.
The built-in managers are asked of the preload library itself. bench/programs.py takes the same functions for its figures.
"""
import hashlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import namedtuple

SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
Cost = namedtuple("Cost", "cpu wall peak")     # s of user and system time, s, KiB
GLIBC = "glibc"


class Fault(Exception):
    """What was wrong."""


class Run:
    """One program on one allocator: how to start it, and the directory that it works in."""

    def __init__(self, build, manager, scale=1):
        self.build, self.manager, self.scale = build, manager, scale
        self.directory = tempfile.mkdtemp(prefix="memapi-programs-")
        self.registry = os.path.join(self.directory, "registry")
        self.work = os.path.join(self.directory, "work")
        os.mkdir(self.work)
        self.env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": self.work, "LC_ALL": "C.UTF-8", "MEMAPI_CONFIG": "/dev/null",
                    "MEMAPI_REGISTRY": self.registry, "MEMAPI_KEEP_EXITED": "yes", "XDG_STATE_HOME": self.directory}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.directory, ignore_errors=True)

    def command(self, *words):
        """glibc is put in front of other allocators that a program may bring, too: Debian's redis has jemalloc."""
        if self.manager == GLIBC:
            return ["env", "LD_PRELOAD=" + c_library(), *words]
        return [os.path.join(self.build, "bin/mmctl"), "run", "--manager", self.manager, "--", *words]

    def path(self, name):
        return os.path.join(self.work, name)

    def batch(self, *words, feed=None, timeout=300):
        """Runs a command to its end, which must be a success: (what it printed, Cost)."""
        note = os.path.join(self.directory, "time")
        ran = subprocess.run(["/usr/bin/time", "-o", note, "-f", "%e %U %S %M", *self.command(*words)], cwd=self.work, env=self.env,
                             input=feed, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout, check=False)
        if ran.returncode:
            raise Fault(f"{' '.join(words)[:200]}: exit status {ran.returncode}\n{(ran.stdout + ran.stderr).decode(errors='replace')[-2000:]}")
        with open(note, encoding="ascii") as f:
            wall, user, system, peak = f.read().split()[-4:]
        self.seen()
        return ran.stdout, Cost(float(user) + float(system), float(wall), int(peak))

    def seen(self):
        """A program that was not on the manager proves nothing: its file in the registry names the manager."""
        if self.manager == GLIBC:
            return
        name = self.manager.split(":")[-1].encode() + b"\0"
        for file in os.listdir(self.registry) if os.path.isdir(self.registry) else ():
            with open(os.path.join(self.registry, file), "rb") as f:
                if name in f.read(4096):
                    return
        raise Fault("nobody in the registry is on " + self.manager)


class Server:
    """A server between its start and its end; it must end well."""

    def __init__(self, run, *words, stop=signal.SIGTERM):
        self.run, self.stop, self.cost = run, stop, None
        self.log = open(os.path.join(run.directory, "log"), "w+b")  # pylint: disable=consider-using-with
        self.process = subprocess.Popen(run.command(*words), cwd=run.work, env=run.env, stdin=subprocess.DEVNULL,  # pylint: disable=consider-using-with
                                        stdout=self.log, stderr=subprocess.STDOUT)

    def fault(self, what):
        self.log.seek(0)
        return Fault(f"{what}\n{self.log.read().decode(errors='replace')[-2000:]}")

    def __enter__(self):
        return self

    def pids(self):
        me = str(self.process.pid)
        children = subprocess.run(["ps", "-o", "pid=", "--ppid", me], stdout=subprocess.PIPE, text=True, check=False).stdout.split()
        return [me, *children]

    def measure(self):
        """Of the server and its workers."""
        cpu, peak = 0, 0
        for pid in self.pids():
            try:
                with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
                    fields = f.read().rsplit(")", 1)[1].split()
                with open(f"/proc/{pid}/status", encoding="utf-8") as f:
                    peak += int(re.search(r"^VmHWM:\s+(\d+)", f.read(), re.M).group(1))
            except (OSError, AttributeError):
                continue
            cpu += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        return cpu, peak

    def __exit__(self, kind, *_):
        if kind is None and self.process.poll() is None:
            self.process.send_signal(self.stop)
        elif self.process.poll() is None:
            self.process.kill()
        try:
            status = self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise self.fault("the server does not end") from None
        self.log.flush()
        if kind is None and status:
            raise self.fault(f"the server ended with {status}")
        self.run.seen()
        self.log.close()
        return False


def c_library():
    with open("/proc/self/maps", encoding="utf-8") as f:
        return re.search(r"\S+/libc\.so\.6$", f.read(), re.M).group(0)


def managers(build):
    """The names that serve private memory, as the library tells who asks for one that is not there."""
    said = subprocess.run([os.path.join(build, "bin/mmctl"), "run", "--manager", "?", "true"], stderr=subprocess.PIPE, text=True, check=False,
                          env={"PATH": os.environ["PATH"], "MEMAPI_CONFIG": "/dev/null"}).stderr
    return re.search(r"available: (.*)", said).group(1).split()


def everything(build):
    """The same, and the modules of the build."""
    directory = os.path.join(build, "lib/memapi")
    files = sorted(os.listdir(directory)) if os.path.isdir(directory) else []
    return managers(build) + ["module:" + file[:-3] for file in files if file.endswith(".so")]


def wait_until(what, seconds=20):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if what():
            return
        time.sleep(0.02)
    raise Fault("waited in vain")


def quiet(words, **kw):
    """A client, not on the manager: what it printed."""
    ran = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=300, **kw)
    if ran.returncode:
        raise Fault(f"{' '.join(words)[:200]}: exit status {ran.returncode}\n{ran.stdout[-1000:]}")
    return ran.stdout


# ---- the programs ----

def redis(run):
    """A load of every type, both ways of persistence by fork, Redis's own checks, the same data after a restart."""
    at = run.path("redis.sock")
    server = ["redis-server", "--port", "0", "--unixsocket", at, "--save", "", "--appendonly", "yes", "--enable-debug-command", "yes",
              "--dir", run.work, "--daemonize", "no"]

    def cli(*words):
        return quiet(["redis-cli", "-s", at, *words]).strip()

    def ready():
        return os.path.exists(at) and subprocess.run(["redis-cli", "-s", at, "ping"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                                                     check=False).stdout == "PONG\n"

    begin = time.monotonic()
    with Server(run, *server) as s:
        wait_until(ready)
        quiet(["redis-benchmark", "-s", at, "-q", "-P", "16", "-r", "20000", "-d", "120", "-n", str(40000 * run.scale), "-t",
               "set,get,incr,lpush,rpop,sadd,hset,zadd,mset"])
        for command in ("bgsave", "bgrewriteaof"):
            cli(command)
            wait_until(lambda: re.search("rdb_bgsave_in_progress:0", cli("info", "persistence")) and
                       re.search("aof_rewrite_in_progress:0", cli("info", "persistence")) and
                       re.search("aof_rewrite_scheduled:0", cli("info", "persistence")))
        quiet(["redis-benchmark", "-s", at, "-q", "-r", "20000", "-d", "300", "-n", str(5000 * run.scale), "-t", "set,lpush,hset"])
        before = cli("debug", "digest")
        if cli("save") != "OK" or "ok" not in cli("info", "persistence").split("rdb_last_bgsave_status:")[1][:3]:
            raise Fault("it could not save")
        cpu, peak = s.measure()
    wall = time.monotonic() - begin
    run.batch("redis-check-rdb", run.path("dump.rdb"))
    run.batch("redis-check-aof", run.path("appendonlydir/appendonly.aof.manifest"))
    with Server(run, *server):
        wait_until(ready)
        wait_until(lambda: cli("info", "persistence").count("loading:0"))
        if len(before) != 40 or cli("debug", "digest") != before:
            raise Fault(f"other data after the restart: {before}")
    return Cost(cpu, wall, peak)


PYTHON_TESTS = ["test_re", "test_dict", "test_list", "test_json", "test_set", "test_bytes", "test_pickle", "test_threading", "test_fork1"]


def python(run):
    """Test modules of the standard library; Python's own allocator is off."""
    run.env["PYTHONMALLOC"] = "malloc"
    out, cost = run.batch("/usr/bin/python3", "-m", "test", "-q", *PYTHON_TESTS[:None if run.scale > 1 else 3], timeout=600)
    if b"Result: SUCCESS" not in out and b"== Tests result: SUCCESS ==" not in out:
        raise Fault(out.decode(errors="replace")[-2000:])
    return cost


PERL = r"""
use strict; my ($n, %h, @l) = (shift);
for my $round (1 .. 3) {
    $h{$_} = { name => "n" x ($_ % 97), list => [1 .. $_ % 13] } for 1 .. $n;
    my $sum = 0; $sum += length($_->{name}) + @{$_->{list}} for values %h;
    my $want = 0; $want += $_ % 97 + $_ % 13 for 1 .. $n;
    die "sum $sum, not $want" if $sum != $want;
    delete @h{grep { $_ % 3 } keys %h};
    @l = sort { $a cmp $b } map { join ',', reverse split //, $_ } 1 .. $n;
    die "order" if grep { $l[$_] lt $l[$_ - 1] } 1 .. $#l;
    my $text = join ' ', @l; my $words = () = $text =~ /\S+/g; die "words" if $words != $n;
    $text =~ s/(\d),/$1/g; die "replaced" if $text =~ /,/;
    my $pid = fork // die; if (!$pid) { my %copy = %h; undef %h; exit(keys %copy == int($n / 3) ? 0 : 1) }
    waitpid $pid, 0; die "child $?" if $?;
}
print "whole\n";
"""


def perl(run):
    """Hashes of hashes, sorting, regular expressions, a fork, each result compared."""
    out, cost = run.batch("perl", "-e", PERL, str(30000 * run.scale))
    if out != b"whole\n":
        raise Fault(out)
    return cost


def git(run):
    """Commits of a generated tree, gc, fsck, a clone that equals it."""
    who = ("-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "pack.threads=2", "-c", "gc.autoDetach=false")
    cpu = wall = peak = 0

    def do(*words):
        nonlocal cpu, wall, peak
        out, cost = run.batch("git", *who, *words)
        cpu, wall, peak = cpu + cost.cpu, wall + cost.wall, max(peak, cost.peak)
        return out

    tree = run.path("tree")
    do("init", "-q", tree)
    for commit in range(6 * run.scale):
        for i in range(60):
            if (i + commit) % 3 == 0:
                os.makedirs(f"{tree}/{i % 7}", exist_ok=True)
                with open(f"{tree}/{i % 7}/{i}", "w", encoding="ascii") as f:
                    f.writelines(f"{(line * i + commit) % 1009} line {line}\n" for line in range(400))
        do("-C", tree, "add", "-A")
        do("-C", tree, "commit", "-q", "-m", f"commit {commit}")
    do("-C", tree, "gc", "-q", "--aggressive", "--prune=now")
    do("-C", tree, "fsck", "--full", "--strict")
    do("clone", "-q", "--no-local", tree, run.path("clone"))
    if do("-C", tree, "rev-parse", "HEAD", "HEAD^{tree}") != do("-C", run.path("clone"), "rev-parse", "HEAD", "HEAD^{tree}") or \
            do("-C", run.path("clone"), "status", "--porcelain"):
        raise Fault("the clone differs")
    return Cost(cpu, wall, peak)


def gcc(run):
    """Files of this project; the same object as on glibc, byte for byte."""
    cpu = wall = peak = 0
    for source in ("src/mem/front/front.c", "src/conf/conf.c", "src/mem/pkg.c")[:None if run.scale > 1 else 1]:
        words = ["gcc", "-O2", "-D_GNU_SOURCE", "-DMEM_DOMAIN_PKG=1", "-I" + SOURCE + "/include", "-I" + SOURCE + "/src", "-c", os.path.join(SOURCE, source)]
        _, cost = run.batch(*words, "-o", "here.o")
        quiet([*words, "-o", "there.o"], cwd=run.work)
        with open(run.path("here.o"), "rb") as a, open(run.path("there.o"), "rb") as b:
            if a.read() != b.read():
                raise Fault(source + ": another object")
        cpu, wall, peak = cpu + cost.cpu, wall + cost.wall, max(peak, cost.peak)
    return Cost(cpu, wall, peak)


def sqlite(run):
    """A table with indices in a file, changed and searched; integrity_check and sums."""
    n = 60000 * run.scale
    out, cost = run.batch("sqlite3", run.path("db"), f"""
        create table t(a integer primary key, b text, c blob); create index i on t(b); begin;
        with recursive n(x) as (select 1 union all select x + 1 from n where x < {n})
            insert into t select x, 'text ' || (x * 7919 % {n}), zeroblob(x % 300) from n;
        commit; delete from t where a % 5 = 0; update t set b = b || ' more' where a % 7 = 0; vacuum;
        select count(*), sum(a), sum(length(c)) from t;
        select count(*) from t x join t y on x.b = y.b;
        select group_concat(b) is not null from (select b from t order by b); pragma integrity_check;""")
    kept = [a for a in range(1, n + 1) if a % 5]
    want = f"{len(kept)}|{sum(kept)}|{sum(a % 300 for a in kept)}\n{len(kept)}\n1\nok\n"
    if out.decode() != want:
        raise Fault(f"{out.decode()!r}, not {want!r}")
    return cost


NGINX = """
daemon off; worker_processes 2; pid nginx.pid; error_log stderr error; %s
events { worker_connections 512; }
http {
    access_log off; gzip on; gzip_types text/plain; gzip_min_length 1; gzip_proxied any;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    server { listen 127.0.0.1:%d; root .; default_type text/plain; }
}
"""


def nginx(run):
    """Under load with and without keep-alive and gzip, reloaded meanwhile; no request fails, the bytes are right."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    body = "".join(f"line {i * i}\n" for i in range(1500)).encode()
    with open(run.path("file"), "wb") as f:
        f.write(body)
    os.chmod(run.directory, 0o755)
    with open(run.path("nginx.conf"), "w", encoding="ascii") as f:
        f.write(NGINX % ("user root;" if os.geteuid() == 0 else "", port))
    url = f"http://127.0.0.1:{port}/file"
    begin = time.monotonic()
    with Server(run, "nginx", "-p", run.work, "-c", run.path("nginx.conf"), stop=signal.SIGQUIT) as s:
        wait_until(lambda: socket.socket().connect_ex(("127.0.0.1", port)) == 0)
        for options in (["-k"], [], ["-k", "-H", "Accept-Encoding: gzip"]):
            said = quiet(["ab", "-q", "-c", "20", "-n", str(2000 * run.scale), *options, url])
            if not re.search(r"Failed requests:\s+0\n", said) or "Non-2xx" in said:
                raise Fault(said)
        cpu, peak = s.measure()
        s.process.send_signal(signal.SIGHUP)
        # without -k: a worker that ends may close a connection at rest while the next request on it is on its way
        quiet(["ab", "-q", "-c", "20", "-n", "2000", url])
        with socket.create_connection(("127.0.0.1", port), 10) as c:
            c.sendall(b"GET /file HTTP/1.0\r\n\r\n")
            got = b"".join(iter(lambda: c.recv(65536), b""))
        if hashlib.sha256(got.split(b"\r\n\r\n", 1)[1]).digest() != hashlib.sha256(body).digest():
            raise Fault("other bytes")
    return Cost(cpu, time.monotonic() - begin, peak)


def stress_ng(run):
    """malloc, calloc, realloc, memalign and their kin by processes with threads; every byte verified."""
    return run.batch("stress-ng", "--malloc", "2", "--malloc-ops", str(10000 * run.scale), "--malloc-pthreads", "2", "--malloc-bytes", "64m",
                     "--verify", "--quiet", "--temp-path", run.work)[1]


PROGRAMS = {"redis": redis, "python": python, "perl": perl, "git": git, "gcc": gcc, "sqlite": sqlite, "nginx": nginx, "stress-ng": stress_ng}
NEEDS = {"redis-server": "redis-server", "redis-benchmark": "redis-tools", "perl": "perl", "git": "git", "gcc": "gcc", "sqlite3": "sqlite3",
         "nginx": "nginx-light", "ab": "apache2-utils", "stress-ng": "stress-ng", "time": "time", "ps": "procps"}


def missing():
    """Debian packages of programs that are not here."""
    path = "/usr/sbin:/usr/bin:/sbin:/bin"
    lack = [package for program, package in NEEDS.items() if not shutil.which(program, path=path)]
    if subprocess.run(["/usr/bin/python3", "-c", "import test.test_json"], stderr=subprocess.DEVNULL, check=False).returncode:
        lack.append("libpython3.11-testsuite")
    return sorted(set(lack))


def main():
    build, names = os.path.abspath(sys.argv[1]), sys.argv[2:] or list(PROGRAMS)
    lack, bad = missing(), 0
    if lack:
        sys.exit("missing, and no reason to skip anything: apt-get install " + " ".join(lack))
    for name in names:
        for manager in everything(build):
            try:
                with Run(build, manager) as run:
                    cost = PROGRAMS[name](run)
                print(f"ok      {name} on {manager}: {cost.wall:.1f} s, CPU {cost.cpu:.2f} s, {cost.peak} KiB", flush=True)
            except (Fault, subprocess.TimeoutExpired, OSError) as e:
                bad = 1
                print(f"NOT OK  {name} on {manager}: {e}", flush=True)
    sys.exit(bad)


if __name__ == "__main__":
    main()
