# SPDX-License-Identifier: BSD-2-Clause
"""An mmd in a directory of its own, and mmctl to ask it."""
import json
import os
import signal
import subprocess

from sip import wait_for


class Daemon:
    """`with Daemon(mmd, mmctl, directory, conf) as d`: d.ask("stats", "shm") is the result, d.environment for programs."""

    def __init__(self, mmd, mmctl, directory, conf, *options):
        self.mmctl, self.directory = mmctl, directory
        self.socket = os.path.join(directory, "mmd.sock")
        with open(os.path.join(directory, "mmd.conf"), "w") as f:
            f.write(conf)
        self.environment = {"MEMAPI_REGISTRY": os.path.join(directory, "registry"),
                            "MEMAPI_CONFIG": os.path.join(directory, "mmd.conf"), "MMD_SOCKET": self.socket,
                            "XDG_STATE_HOME": directory, "XDG_CONFIG_HOME": directory, "XDG_RUNTIME_DIR": directory}
        self.log = open(os.path.join(directory, "mmd.log"), "ab")
        self.process = subprocess.Popen([mmd, "--socket", self.socket, *options], env=self.all(), stdout=self.log, stderr=self.log)
        wait_for(lambda: self.run("ping").returncode == 0, 20)

    def __enter__(self):
        return self

    def __exit__(self, *ignored):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        finally:
            self.log.close()

    def all(self):
        return {**os.environ, **self.environment}

    def run(self, *words):
        """mmctl's own exit code and output."""
        return subprocess.run([self.mmctl, "-s", self.socket, *words], env=self.all(), stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=120)

    def ask(self, *words, codes=(0,)):
        """The result as JSON."""
        p = self.run("-o", "json", *words)
        assert p.returncode in codes, f"mmctl {' '.join(words)}: exit {p.returncode}: {p.stdout} {p.stderr}"
        return json.loads(p.stdout)
