# SPDX-License-Identifier: Apache-2.0
"""Real redis-server processes: alone, with Sentinels, as a small cluster. What goes wrong with one is done to it by signals
and commands."""

import pathlib
import signal
import subprocess

from . import ports
from .wait import wait_until


class Redis:
    """One redis-server. `settings` are lines of its configuration; `sentinel`: it is one. It starts at once."""

    def __init__(self, folder, *settings, sentinel=False, tls=None, password=None):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True)
        self.port = ports.take()
        self.address = f"127.0.0.1:{self.port}"
        self.password = password
        self.tls = tls
        self.program = "redis-sentinel" if sentinel else "redis-server"
        lines = [f"dir {self.folder}", "bind 127.0.0.1", *settings]
        if not sentinel:
            lines += ["save ''", "appendonly no"]
        if tls:
            lines += ["port 0", f"tls-port {self.port}", f"tls-cert-file {tls.cert}", f"tls-key-file {tls.key}"]
            lines += ["tls-auth-clients no", f"tls-ca-cert-file {tls.cert}"]
        else:
            lines += [f"port {self.port}"]
        if password:
            lines += [f"requirepass {password}"]
        self.file = self.folder / "redis.conf"
        self.file.write_text("\n".join(lines) + "\n")
        self.start()

    def start(self):
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen([self.program, str(self.file)], stdout=log, stderr=log)
        wait_until(lambda: self.try_cli("PING") == "PONG", 15, f"{self.program} on port {self.port}")

    def try_cli(self, *words):
        command = ["redis-cli", "-p", str(self.port), "--no-auth-warning"]
        if self.password:
            command += ["-a", self.password]
        if self.tls:
            command += ["--tls", "--insecure"]
        done = subprocess.run([*command, *map(str, words)], capture_output=True, text=True, timeout=15, check=False)
        return done.stdout.strip()

    def cli(self, *words):
        """What redis-cli prints for a command that must not fail."""
        text = self.try_cli(*words)
        assert not text.startswith(("ERR", "WRONG", "NOAUTH")), text
        return text

    def keys(self, database=0):
        return self.cli("-n", database, "KEYS", "vortex:*").split()

    def commands(self, name):
        """How often a command was called so far."""
        for line in self.cli("INFO", "commandstats").splitlines():
            if line.startswith(f"cmdstat_{name}:"):
                return int(line.split("calls=")[1].split(",")[0])
        return 0

    def freeze(self):
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)

    def kill(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
        self.process.wait(15)


class Farm:
    """Starts Redis processes for one test and ends them with it."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.made = []

    def __call__(self, *settings, **options):
        one = Redis(self.folder / f"redis{len(self.made)}", *settings, **options)
        self.made.append(one)
        return one

    def with_sentinels(self, count=3, name="mymaster"):
        """(master, replica, sentinels): a replica takes over when the master is gone for half a second."""
        master = self()
        replica = self(f"replicaof 127.0.0.1 {master.port}")
        wait_until(lambda: "master_link_status:up" in replica.cli("INFO", "replication"), 15, "the replica")
        sentinels = [
            self(
                f"sentinel monitor {name} 127.0.0.1 {master.port} 2",
                f"sentinel down-after-milliseconds {name} 500",
                f"sentinel failover-timeout {name} 2000",
                sentinel=True,
            )
            for _ in range(count)
        ]
        for one in sentinels:
            wait_until(
                lambda one=one: f"num-other-sentinels\n{count - 1}" in one.cli("SENTINEL", "MASTER", name)
                and "num-slaves\n1" in one.cli("SENTINEL", "MASTER", name),
                20,
                "the sentinels to know each other",
            )
        return master, replica, sentinels

    def cluster(self, count=3):
        """Masters that share the slots evenly."""
        buses = [ports.take() for _ in range(count)]
        nodes = [
            self("cluster-enabled yes", "cluster-node-timeout 1000", f"cluster-port {bus}") for bus in buses
        ]
        for one, bus in zip(nodes[1:], buses[1:]):
            nodes[0].cli("CLUSTER", "MEET", "127.0.0.1", one.port, bus)
        for number, one in enumerate(nodes):
            first, last = 16384 * number // count, 16384 * (number + 1) // count - 1
            one.cli("CLUSTER", "ADDSLOTSRANGE", first, last)
        for one in nodes:
            wait_until(lambda one=one: "cluster_state:ok" in one.cli("CLUSTER", "INFO"), 20, "the cluster")
        return nodes

    def stop(self):
        for one in self.made:
            one.kill()
