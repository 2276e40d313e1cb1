#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Hot swaps under load: a plugin is replaced again and again by SIGHUP while requests run.

    tests/bench/swaps.py [--swaps 10000] [--clients 4] [--build build]

Every request must be answered by 200 and have passed a plugin. Prints requests, failures, the time of a swap as seen from outside
(file written, signal sent, counted on the metrics page) and the resident memory after a tenth of the swaps and at the end; exits
with 1 when a request failed or memory grew by more than a tenth.
"""

import argparse
import http.client
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

CONFIG = """\
workers: 2
listeners: [ {{ address: 127.0.0.1:{port} }} ]
metrics: {{ address: 127.0.0.1:{metrics} }}
routes: [ {{ name: main, match: {{ path_prefix: / }}, backends: [ {{ id: 1, address: 127.0.0.1:{backend} }} ] }} ]
filters: [ {{ name: probe, wasm: {module}, config: version {version} }} ]
"""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Load(threading.Thread):
    """One client that asks without a pause on one connection."""

    def __init__(self, port, over):
        super().__init__(daemon=True)
        self.port, self.over = port, over
        self.requests = 0
        self.failures = []

    def run(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        while not self.over.is_set():
            try:
                connection.request("GET", "/")
                answer = connection.getresponse()
                answer.read()
                if answer.status != 200 or answer.getheader("x-probe") != "1":
                    self.failures.append(f"{answer.status}")
            except OSError as error:
                self.failures.append(repr(error))
            self.requests += 1
        connection.close()


def resident_mib(pid):
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) / 1024


def reloads(connection):
    connection.request("GET", "/metrics")
    page = connection.getresponse().read().decode()
    good = re.search(r'vortex_config_reloads_total{result="success"} (\d+)', page)
    bad = re.search(r'vortex_config_reloads_total{result="failure"} (\d+)', page)
    if int(bad[1]):
        raise RuntimeError("a reload was refused")
    return int(good[1])


def swap(file, text, proxy, metrics, wanted):
    """Replaces the configuration and waits until the proxy has it; seconds."""
    begun = time.monotonic()
    draft = file.with_suffix(".new")
    draft.write_text(text)
    draft.rename(file)
    proxy.send_signal(signal.SIGHUP)
    while reloads(metrics) < wanted:
        if time.monotonic() > begun + 20:
            raise RuntimeError("a reload is not counted")
    return time.monotonic() - begun


def run(options, folder, processes):
    vortex = options.build / "vortex"
    values = {"port": free_port(), "metrics": free_port(), "backend": free_port(),
              "module": options.build / "tests/guests/probe.wasm"}  # fmt: skip
    file = folder / "vortex.yaml"
    file.write_text(CONFIG.format(version=0, **values))
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    processes.append(subprocess.Popen([vortex, "echo", "--port", str(values["backend"])], **quiet))
    proxy = subprocess.Popen([vortex, "run", "-c", file], **quiet)
    processes.append(proxy)
    time.sleep(1)
    metrics = http.client.HTTPConnection("127.0.0.1", values["metrics"], timeout=10)
    over = threading.Event()
    clients = [Load(values["port"], over) for _ in range(options.clients)]
    for client in clients:
        client.start()
    times, early = [], 0
    for n in range(1, options.swaps + 1):
        times.append(swap(file, CONFIG.format(version=n, **values), proxy, metrics, n))
        if n == max(1, options.swaps // 10):
            early = resident_mib(proxy.pid)
    late = resident_mib(proxy.pid)
    over.set()
    for client in clients:
        client.join()
    failures = [failure for client in clients for failure in client.failures]
    print(f"{options.swaps} swaps, {sum(client.requests for client in clients)} requests, {len(failures)} failed")
    print(f"a swap takes {statistics.median(times) * 1000:.1f} ms (median), {max(times) * 1000:.1f} ms (longest)")
    print(f"resident memory: {early:.1f} MiB after a tenth, {late:.1f} MiB at the end")
    for failure in sorted(set(failures)):
        print(f"failed: {failures.count(failure)} x {failure}")
    return 1 if failures or late > early * 1.1 else 0


def main():
    parser = argparse.ArgumentParser(description="Hot swaps of a plugin under load.")
    parser.add_argument("--swaps", type=int, default=10000)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--build", type=Path, default=ROOT / "build")
    options = parser.parse_args()
    options.build = options.build.resolve()
    processes = []
    with tempfile.TemporaryDirectory() as folder:
        try:
            return run(options, Path(folder), processes)
        finally:
            for process in processes:
                process.kill()
                process.wait()


if __name__ == "__main__":
    sys.exit(main())
