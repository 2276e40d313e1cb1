#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a flood does to a good client, without the kernel's help and with it; what a packet of it costs; and how many packets
a second the XDP program drops. In namespaces of its own (tests/integration/harness/netns.py), bounded in time; needs root.

    tests/bench/flood.py [--build build] [--rounds 5] [--window 2] [--rate PACKETS]

run.py calls it. Each line it prints is one JSON object: name, unit, median, min and max.

One core is the proxy's, and its interface's: the kernel's receive work there is a thread of its own (threaded NAPI), pinned
to that core and before all else on it, as it would be with a network card whose interrupts come to it. So what a packet costs,
in the XDP program or in the stack, is charged to the core that is to be relieved. The other core is the load generator's and
the origin's; the good client asks as fast as it is answered.

The flood is TCP SYNs to the proxy's port from one address, whose answers nobody gets, as with a sender that floods: the proxy's
core shall not do the sender's work as well. It comes at one rate, with bans and without, and is made on the proxy's core, where
the receiver takes each batch before the next is made, so that none is lost in between (what the other core made would be, as
it is faster than the receiver). Making it is 4 to 6 % of that core's time, charged in both cases to the good client; a real
flood would not even cost that. The rate that arrived is printed.

Windows are interleaved: without bans, calm and flooded; with the flood's source banned, calm and flooded. Each share is of the
calm of its kind: a veth interface with a program on it copies what it receives, which a network card's driver does not, and
that shall not be mixed up with what the flood costs. What a packet costs is the time of the receiver's thread for a flood alone,
as fast as the other core can make it, and so bears noise.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "integration"))

from harness.netns import SERVER, Network, ip  # noqa: E402

GOOD, BAD = "198.18.0.10", "198.18.0.66"
NOBODY = "02:00:00:00:00:66"  # the address of no interface
PORT, ORIGIN, METRICS = 8080, 9001, 9091
GENERATOR_PRIORITY, RECEIVER_PRIORITY = 1, 2  # of real time: before the proxy, and the receiver before all
CONFIG = """
workers: 1
listeners: [ {{ address: 0.0.0.0:{port} }} ]
metrics: {{ address: 127.0.0.1:{metrics} }}
routes:
  - match: {{ path_prefix: / }}
    backends: [ {{ address: 127.0.0.1:{origin} }} ]
    pool: {{ max_idle: 512 }}
  - match: {{ path_prefix: /limited }}
    backends: [ {{ address: 127.0.0.1:{origin} }} ]
    rate_limit: {{ requests: 1, per: 1h, burst: 1 }}
{bans}
"""
BANS = "bans: {{ after: 3, within: 1h, duration: 1h, interface: {interface}, xdp: {{ pin: off }} }}"


class Wire(Network):
    """Its interface has a name of its own, as its receiver is found by that among all processes."""

    interface = f"flood{os.getpid()}"


class Bench:
    def __init__(self, arguments, stack):
        self.build, self.window, self.rate = arguments.build, arguments.window, arguments.rate
        self.proxy_core, self.other_core = sorted(os.sched_getaffinity(0))[:2]
        self.folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vortex-flood-")))
        self.network = Wire()
        stack.callback(self.network.close)
        self.network.add(GOOD)
        self.attacker = self.network.add(BAD)
        # Without an XDP program frames are taken from the other end only where GRO is on; with one they always are.
        subprocess.run(["ethtool", "-K", self.network.interface, "gro", "on"], check=True, capture_output=True)
        self.mac = mac_of(self.network.interface)
        with self.network.among_clients():
            self.clients_mac = mac_of("downlink")
        self.origin = self.start(stack, [self.tool("backend"), str(ORIGIN)], self.other_core)
        self.vortex = None

    def tool(self, name):
        return str(self.build / "bench" / name)

    def start(self, stack, command, core, **options):
        process = subprocess.Popen(["taskset", "-c", str(core), *command], stdin=subprocess.DEVNULL, **options)
        stack.callback(process.wait)
        stack.callback(process.kill)
        return process

    def start_proxy(self, stack, banned):
        bans = BANS.format(interface=self.network.interface) if banned else ""
        file, log = self.folder / "vortex.yaml", self.folder / "log"
        file.write_text(CONFIG.format(port=PORT, metrics=METRICS, origin=ORIGIN, bans=bans))
        with log.open("wb") as err:
            self.vortex = self.start(stack, [str(self.build / "vortex"), "run", "-c", str(file)], self.proxy_core, stderr=err)
        wait_for(lambda: '"ready' in log.read_text() or "ready:" in log.read_text(), log)
        self.pin_receiver()
        if banned:
            self.ban()

    def pin_receiver(self):
        """The interface's receive work on the proxy's core. Its switch is in a sysfs of the namespace's own."""
        sysfs = self.folder / "sys"
        sysfs.mkdir(exist_ok=True)
        subprocess.run(["mount", "-t", "sysfs", "none", str(sysfs)], check=True)
        try:
            (sysfs / "class/net" / self.network.interface / "threaded").write_text("1")
        finally:
            subprocess.run(["umount", str(sysfs)], check=True)
        receivers = [t for t in Path("/proc").glob("[0-9]*") if name_of(t).startswith(f"napi/{self.network.interface}-")]
        if not receivers:
            raise SystemExit("flood.py: the kernel has no threaded NAPI for this interface")
        self.receivers = receivers
        for task in receivers:
            os.sched_setaffinity(int(task.name), {self.proxy_core})
            os.sched_setscheduler(int(task.name), os.SCHED_FIFO, os.sched_param(RECEIVER_PRIORITY))

    def received(self):
        """(nanoseconds of the receive work, packets received, packets that the interface's ring had no room for) so far."""
        spent = sum(int((task / "schedstat").read_text().split()[0]) for task in self.receivers)
        lines = Path("/proc/thread-self/net/dev").read_text().splitlines()
        fields = next(line.split() for line in lines if self.network.interface in line)
        return spent, int(fields[2]), int(fields[4])

    def load(self):
        command = ["taskset", "-c", str(self.other_core), self.tool("load"), "--host", SERVER, "--source", GOOD]
        command += ["--port", str(PORT), "--connections", "32", "--warmup", "0.3", "--window", str(self.window)]
        with self.network.among_clients():
            done = subprocess.run(command, capture_output=True, text=True, check=True)
        result = json.loads(done.stdout)
        return result["requests"] / result["window_ns"] * 1e9

    def send_answers(self, mac):
        """Where the packets to the flood's source go."""
        ip("neigh", "replace", BAD, "lladdr", mac, "dev", self.network.interface, "nud", "permanent")

    def ban(self):
        """By asking more than the limit lets through, as an attacker would."""
        self.send_answers(self.clients_mac)
        for _ in range(4):
            self.attacker.get(PORT, "/limited")
        wait_for(lambda: self.metric("vortex_bans_active") == 1, self.folder / "log")

    def metric(self, name, label=""):
        page = urllib.request.urlopen(f"http://127.0.0.1:{METRICS}/metrics", timeout=10).read().decode()
        found = re.search(rf"^{name}(?:{{{label}}})? (\S+)$", page, re.M)
        return float(found[1]) if found else 0

    def dropped(self):
        return self.metric("vortex_xdp_dropped_packets_total", 'reason="banned"')

    def flood(self, stack, seconds, rate=0):
        """At a rate, on the proxy's core; or as many packets as the other core can make."""
        command = [self.tool("xdp_flood"), "--interface", "downlink", "--mac", self.mac, "--source", BAD, "--target", SERVER]
        command += ["--port", str(PORT), "--seconds", str(seconds), "--rate", str(rate)]
        if rate:
            command = ["chrt", "--fifo", str(GENERATOR_PRIORITY), *command]
        self.send_answers(NOBODY)
        with self.network.among_clients():
            core = self.proxy_core if rate else self.other_core
            return self.start(stack, command, core, stdout=subprocess.PIPE, text=True)

    def flooded(self):
        """(the good client's requests a second while the flood goes on, packets a second of it that arrived)"""
        seconds = int(self.window + 3)
        with ExitStack() as stack:
            lost = self.received()[2]
            flood = self.flood(stack, seconds, self.rate)
            time.sleep(0.5)
            result = self.load()
            if flood.poll() is not None:
                raise SystemExit("flood.py: the flood ended before the load did")
            sent = int(flood.communicate()[0])
            return result, (sent - (self.received()[2] - lost)) / seconds


def mac_of(interface):
    return re.search(r"link/ether (\S+)", ip("link", "show", interface))[1]


def name_of(task):
    """The name of a process in /proc; empty: it has ended."""
    try:
        return (task / "comm").read_text()
    except OSError:
        return ""


def wait_for(condition, log):
    for _ in range(200):
        if condition():
            return
        time.sleep(0.05)
    raise SystemExit(f"flood.py: gave up waiting\n{log.read_text()[-2000:]}")


def report(name, unit, values):
    print(json.dumps({"name": name, "unit": unit, "median": median(values), "min": min(values), "max": max(values)}), flush=True)


def measure(bench, rounds):
    names = {False: "without", True: "with"}
    calm, share, rate = ({banned: [] for banned in names} for _ in range(3))
    for _ in range(rounds):
        for banned in names:
            with ExitStack() as stack:
                bench.start_proxy(stack, banned)
                calm[banned].append(bench.load())
                requests, packets = bench.flooded()
                share[banned].append(100 * requests / calm[banned][-1])
                rate[banned].append(packets)
    for banned, name in names.items():
        report(f"calm_{name}_bans", "requests/s", calm[banned])
        report(f"flood_rate_{name}_bans", "packets/s", rate[banned])
        report(f"flood_{name}_bans", "%", share[banned])


def measure_packets(bench, rounds):
    """The flood alone: what each of its packets costs, and how many a second are dropped."""
    costs, drops = {False: [], True: []}, []
    for _ in range(rounds):
        for banned, values in costs.items():
            with ExitStack() as stack:
                bench.start_proxy(stack, banned)
                dropped, (spent, packets, _), began = bench.dropped(), bench.received(), time.monotonic()
                bench.flood(stack, 2).wait()
                took, (spent_after, packets_after, _) = time.monotonic() - began, bench.received()
                values.append((spent_after - spent) / (packets_after - packets))
                if banned:
                    drops.append((bench.dropped() - dropped) / took / 1e6)
    report("flood_packet_without_bans", "ns", costs[False])
    report("flood_packet_with_bans", "ns", costs[True])
    report("xdp_drops_on_veth", "Mpps", drops)


def main():
    parser = argparse.ArgumentParser(description="A good client during a flood, with bans and without.")
    parser.add_argument("--build", type=Path, default=ROOT / "build")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--window", type=float, default=2)
    parser.add_argument("--rate", type=int, default=250000, help="packets a second of the flood")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # through what ends processes
    with ExitStack() as stack:
        bench = Bench(arguments, stack)
        measure(bench, arguments.rounds)
        measure_packets(bench, arguments.rounds)


if __name__ == "__main__":
    main()
