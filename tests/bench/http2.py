# SPDX-License-Identifier: Apache-2.0
"""What HTTP/2 costs: nghttp2's h2load against each peer, and what a peer's other clients lose to an attacker.

h2load says how many requests were answered; the CPU time of the peer comes from /proc, as in load_measure.c, read
before and after the whole run: connections are few and requests many, so that opening them does not show.
"""

import re
import subprocess
import sys
import time
from pathlib import Path

from processes import BenchError, Peer, Stage, die_with_parent, find_program

ATTACKER = "192.0.2.1"  # RFC 5737: nobody's
FIRST_REQUESTS = 20000  # warm the peer, and tell how many fit into the window


def cpu_ns(pids: list[int]) -> int:
    """CPU time of some processes with all their threads, in the kernel's nanoseconds."""
    total = 0
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").glob("*/schedstat"):
            total += int(task.read_text().split()[0])
    return total


def grpc_options(stage: Stage) -> list[str]:
    """What makes h2load's requests unary calls: a message of 16 bytes and the fields that a client of gRPC sends."""
    message = stage.paths.work / "grpc-message"
    message.write_bytes(b"\0" + (16).to_bytes(4, "big") + b"m" * 16)
    return ["-d", str(message), "-H", "content-type: application/grpc", "-H", "te: trailers"]


def h2load(
    stage: Stage, url: str, connections: int, streams: int, requests: int, options: list[str]
) -> tuple[int, int, float]:
    """Answers with a 2xx status, other ends, and the seconds it took."""
    command = ["taskset", "-c", str(stage.cores.load), find_program("h2load"), "-t", "1", "-c", str(connections),
               "-m", str(streams), "-n", str(requests), *options, url]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, preexec_fn=die_with_parent)
    counted = re.search(r"^requests: .* (\d+) succeeded, (\d+) failed, (\d+) errored", done.stdout, re.MULTILINE)
    took = re.search(r"^finished in ([\d.]+)(us|ms|s|m)", done.stdout, re.MULTILINE)
    if done.returncode != 0 or not counted or not took:
        raise BenchError(f"h2load: {(done.stderr or done.stdout).strip()[-300:]}")
    seconds = float(took[1]) * {"us": 1e-6, "ms": 1e-3, "s": 1, "m": 60}[took[2]]
    return int(counted[1]), int(counted[2]) + int(counted[3]), seconds


def measure(
    stage: Stage, peer: Peer, window_s: float, connections: int, streams: int, tls: bool, options: list[str] | None = None
) -> dict[str, float]:
    """One round of a closed loop; `options` go to h2load."""
    options = options or []
    url = f"https://127.0.0.1:{peer.tls_port}/" if tls else f"http://127.0.0.1:{peer.h2_port}/"
    first, _, seconds = h2load(stage, url, connections, streams, FIRST_REQUESTS, options)
    requests = max(FIRST_REQUESTS, int(first / seconds * window_s))
    pids = peer.pids()
    before, began = cpu_ns(pids), time.monotonic()
    answered, errors, seconds = h2load(stage, url, connections, streams, requests, options)
    run_ns, wall_s = cpu_ns(pids) - before, time.monotonic() - began
    if not answered:
        raise BenchError(f"{peer.name}: no request was answered")
    return {
        "cpu_us": run_ns / 1e3 / answered,
        "per_cpu_second": answered * 1e9 / run_ns,
        "per_second": answered / seconds,
        "busy": run_ns / 1e9 / wall_s,
        "errors": errors,
    }


def wait_ban(peer: Peer) -> None:
    end = time.monotonic() + 30
    while not re.search(r"^vortex_bans_active [1-9]", peer.metrics(), re.MULTILINE):
        if time.monotonic() > end:
            raise BenchError(f"{peer.name} has banned nobody")
        time.sleep(0.1)


def measure_attacked(
    stage: Stage, peer: Peer, window_s: float, connections: int, streams: int, again_ms: int
) -> dict[str, float]:
    """What the peer's other clients get without and with somebody who resets streams as fast as one connection goes, and
    comes again `again_ms` after it was ended. A peer with bans has seen enough of him by then to have banned him.

    Per second of the peer's CPU time, because on two cores the attacker takes its own time from the load generator."""
    bans = peer.name.endswith("+bans")
    alone = measure(stage, peer, window_s, connections, streams, tls=False)
    command = ["taskset", "-c", str(stage.cores.load), sys.executable, str(Path(__file__).with_name("rapid_reset.py")),
               str(peer.proxied_port if bans else peer.h2_port), str(again_ms), *([ATTACKER] if bans else [])]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=die_with_parent) as attacker:
        try:
            time.sleep(0.5)
            if bans:
                wait_ban(peer)
            attacked = measure(stage, peer, window_s, connections, streams, tls=False)
        finally:
            attacker.terminate()
            said = attacker.communicate(timeout=10)[0].split()
    return {
        "per_cpu_second": alone["per_cpu_second"],
        "attacked_per_cpu_second": attacked["per_cpu_second"],
        "kept": attacked["per_cpu_second"] / alone["per_cpu_second"],
        "resets": float(said[0]) if said else 0.0,
        "connections": float(said[1]) if said else 0.0,
        "errors": alone["errors"] + attacked["errors"],
    }
