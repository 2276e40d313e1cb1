# SPDX-License-Identifier: Apache-2.0
"""The scenarios: what is done to each peer, and what is made of the counts.

A scenario yields rounds: for each round and peer a flat dictionary of figures. Peers take turns within a round, so
that a machine which slows down slows all of them; report.py makes medians and ratios of what is returned here.
"""

import os
import re
import socket
import subprocess
import time
from dataclasses import dataclass
from statistics import median
from typing import Callable

import http2
from processes import BenchError, Peer, Stage, pss_bytes

GIB = 1024**3
TICKS = os.sysconf("SC_CLK_TCK")
L4 = ["relay"]
L7 = ["nginx", "haproxy", "envoy", "vortex"]
H2_H2 = ["haproxy", "envoy", "vortex"]
GRPC = ["nginx", "haproxy", "envoy", "vortex"]
H2 = ["nginx", "haproxy", "envoy", "h2o", "vortex"]
ORIGIN_DELAY_US = 1000
SLOWER = 50
TAIL_RATE = 2000
LATE_SHARE = 0.5
LIMITS_RATE = 5000
IDLE_CONNECTIONS = 10000
FILTER_SLICES = 4
H2_COUNTED_REQUESTS = 4000


@dataclass
class Settings:
    rounds: int
    window_s: float
    warmup_s: float
    peers: list[str]
    say: Callable[[str], None]
    origins: list[int]


@dataclass
class Outcome:
    """What a scenario measured: figures[peer] is a list, one dictionary a round; failures[peer] says why there is none."""

    figures: dict[str, list[dict[str, float]]]
    failures: dict[str, str]

    @staticmethod
    def empty() -> "Outcome":
        return Outcome({}, {})

    def add(self, peer: str, figures: dict[str, float]) -> None:
        self.figures.setdefault(peer, []).append(figures)


@dataclass
class Scenario:
    """`options` go to the load generator. `unit` is what the CPU time is divided by: a request, or a GiB of bodies."""

    name: str
    title: str
    run: Callable[["Scenario", Stage, Settings, dict[str, Outcome]], Outcome]
    peers: list[str]
    options: tuple[str, ...] = ()
    tls: bool = False
    unit: str = "request"


def figures_of(counted: dict, unit: str) -> dict[str, float]:
    """Figures from one run of the load generator."""
    cpu = counted["cpu"]
    errors = sum(counted["errors"].values())
    if not counted["requests"] and not counted["body_bytes"]:
        raise BenchError(f"no request was answered ({counted['errors']})")
    done = counted["body_bytes"] / GIB if unit == "GiB" else counted["requests"]
    run_us = cpu["run_ns"] / 1e3
    ticks = cpu["user_ticks"] + cpu["system_ticks"]
    user = cpu["user_ticks"] / ticks if ticks else 0.0
    window_s = counted["window_ns"] / 1e9
    latency = counted["latency_us"]
    return {
        "cpu_us": run_us / done,
        "user_us": run_us * user / done,
        "per_cpu_second": done * 1e6 / run_us if run_us else 0.0,
        "per_second": done / window_s,
        "busy": cpu["run_ns"] / counted["window_ns"],
        "p50_us": latency["p50"],
        "p99_us": latency["p99"],
        "p999_us": latency["p999"],
        "max_us": latency["max"],
        "lag_p99_us": counted["lag_us"]["p99"],
        "errors": errors,
        "reconnects": counted["reconnects"],
        "requests": counted["requests"],
        "steal": cpu["core_steal_ticks"] / max(1, cpu["core_all_ticks"]),
        "foreign": max(0.0, cpu["core_busy_ticks"] / TICKS / window_s - cpu["run_ns"] / counted["window_ns"]),
    }


def start_peers(
    scenario: Scenario, stage: Stage, settings: Settings, outcome: Outcome, h2_origins: list[int] | None = None
) -> list[Peer]:
    """Starts those of the scenario's peers that are wanted; one that does not start is a failure, not the end."""
    started = []
    origins = h2_origins or settings.origins
    for name in scenario.peers:
        if name not in settings.peers:
            continue
        try:
            started.append(stage.peer(name, origins, h2_origins=bool(h2_origins)))
        except BenchError as error:
            outcome.failures[name] = str(error)
    return started


def take_turns(settings: Settings, peers: list[Peer], outcome: Outcome, measure: Callable[[Peer], dict]) -> None:
    for turn in range(settings.rounds):
        for peer in peers:
            if peer.name in outcome.failures:
                continue
            try:
                figures = measure(peer)
            except (BenchError, OSError, subprocess.TimeoutExpired) as error:
                outcome.failures[peer.name] = str(error)
                continue
            outcome.add(peer.name, figures)
            settings.say(f"  round {turn + 1}/{settings.rounds} {peer.name}")


def run_load(scenario: Scenario, stage: Stage, settings: Settings, _: dict[str, Outcome]) -> Outcome:
    """Closed loop: as much as the peer takes."""
    outcome = Outcome.empty()
    peers = start_peers(scenario, stage, settings, outcome)
    times = ("--window", settings.window_s, "--warmup", settings.warmup_s)

    def measure(peer: Peer) -> dict:
        return figures_of(stage.load(*scenario.options, *times, peer=peer, tls=scenario.tls), scenario.unit)

    take_turns(settings, peers, outcome, measure)
    return outcome


def run_limits(scenario: Scenario, stage: Stage, settings: Settings, _: dict[str, Outcome]) -> Outcome:
    """Closed loop for the CPU time, then open loop at a fixed rate for what clients wait."""
    outcome = Outcome.empty()
    peers = start_peers(scenario, stage, settings, outcome)
    times = ("--window", settings.window_s, "--warmup", settings.warmup_s)

    def measure(peer: Peer) -> dict:
        full = figures_of(stage.load(*times, peer=peer), "request")
        steady = figures_of(stage.load(*times, "--connections", 128, "--rate", LIMITS_RATE, peer=peer), "request")
        waits = {name: steady[name] for name in ("p50_us", "p99_us", "lag_p99_us")}
        return {**full, **waits, "errors": full["errors"] + steady["errors"]}

    take_turns(settings, peers, outcome, measure)
    return outcome


def run_h2(scenario: Scenario, stage: Stage, settings: Settings, _: dict[str, Outcome]) -> Outcome:
    """Closed loop over HTTP/2; the options are the connections and the streams of each."""
    outcome = Outcome.empty()
    peers = start_peers(scenario, stage, settings, outcome)
    connections, streams = map(int, scenario.options)

    def measure(peer: Peer) -> dict:
        return http2.measure(stage, peer, settings.window_s, connections, streams, scenario.tls)

    take_turns(settings, peers, outcome, measure)
    return outcome


def run_h2_to_h2(scenario: Scenario, stage: Stage, settings: Settings, _: dict[str, Outcome]) -> Outcome:
    """The same where the origin speaks HTTP/2 too."""
    outcome = Outcome.empty()
    peers = start_peers(scenario, stage, settings, outcome, [stage.h2_origin(b"vv")])
    connections, streams = map(int, scenario.options)

    def measure(peer: Peer) -> dict:
        return http2.measure(stage, peer, settings.window_s, connections, streams, scenario.tls)

    take_turns(settings, peers, outcome, measure)
    return outcome


def run_grpc(scenario: Scenario, stage: Stage, settings: Settings, _: dict[str, Outcome]) -> Outcome:
    """Unary calls as they are on the wire: a small message each way, the status in trailers."""
    outcome = Outcome.empty()
    message = b"\0" + (16).to_bytes(4, "big") + b"a" * 16
    peers = start_peers(scenario, stage, settings, outcome, [stage.h2_origin(message, "--trailer", "grpc-status: 0")])
    connections, streams = map(int, scenario.options)
    options = http2.grpc_options(stage)

    def measure(peer: Peer) -> dict:
        return http2.measure(stage, peer, settings.window_s, connections, streams, scenario.tls, options)

    take_turns(settings, peers, outcome, measure)
    return outcome


def run_h2_reset(scenario: Scenario, stage: Stage, settings: Settings, _: dict[str, Outcome]) -> Outcome:
    """The same closed loop without and with an attacker."""
    outcome = Outcome.empty()
    peers = start_peers(scenario, stage, settings, outcome)
    connections, streams, again_ms = map(int, scenario.options)

    def measure(peer: Peer) -> dict:
        return http2.measure_attacked(stage, peer, settings.window_s, connections, streams, again_ms)

    take_turns(settings, peers, outcome, measure)
    return outcome


def manages(stage: Stage, settings: Settings, peer: Peer, options: tuple[str, ...]) -> float:
    """What a peer answers in a second of the closed loop, just now."""
    times = ("--window", settings.window_s / 2, "--warmup", settings.warmup_s)
    return figures_of(stage.load(*options, *times, peer=peer), "request")["per_second"]


def is_late(figures: dict[str, float]) -> bool:
    """The load itself was late by so much that the latencies of this round are mostly its own."""
    return figures["lag_p99_us"] > LATE_SHARE * figures["p99_us"]


def run_half_load(scenario: Scenario, stage: Stage, settings: Settings, _: dict[str, Outcome]) -> Outcome:
    """Open loop at one rate for all: half of what the slowest of them manages in the closed loop, measured right before each
    round. So every peer gets the same schedule, and one that the load can keep, whatever the machine is like in that minute.
    A round in which it did not is left out."""
    outcome = Outcome.empty()
    peers = start_peers(scenario, stage, settings, outcome)
    times = ("--window", settings.window_s, "--warmup", settings.warmup_s)
    try:
        for turn in range(settings.rounds):
            rate = min((manages(stage, settings, peer, scenario.options) for peer in peers), default=0) / 2
            for peer in peers:
                counted = stage.load(*scenario.options, *times, "--rate", f"{rate:.0f}", peer=peer)
                figures = {**figures_of(counted, "request"), "rate": rate}
                if not is_late(figures):
                    outcome.add(peer.name, figures)
                settings.say(f"  round {turn + 1}/{settings.rounds} {peer.name}{', late' if is_late(figures) else ''}")
    except (BenchError, OSError, subprocess.TimeoutExpired) as error:
        outcome.failures.update({peer.name: str(error) for peer in peers})
    for peer in peers:
        if peer.name not in outcome.figures:
            outcome.failures.setdefault(peer.name, "the load was late in every round")
    return outcome


def run_tail(scenario: Scenario, stage: Stage, settings: Settings, _: dict[str, Outcome]) -> Outcome:
    """Each peer twice: before four equal origins, and before three of them and one that is 50 times slower."""
    outcome = Outcome.empty()
    equal = [stage.origin(ORIGIN_DELAY_US) for _ in range(4)]
    slow = [*equal[:3], stage.origin(ORIGIN_DELAY_US * SLOWER)]
    pairs: dict[str, tuple[Peer, Peer]] = {}
    for name in scenario.peers:
        if name not in settings.peers:
            continue
        try:
            pairs[name] = stage.peer(name, equal), stage.peer(name, slow)
        except BenchError as error:
            outcome.failures[name] = str(error)
    window_s = max(settings.window_s, 3)
    options = (*scenario.options, "--window", window_s, "--warmup", 2, "--rate", TAIL_RATE)

    def measure(peer: Peer) -> dict:
        without, with_slow = (figures_of(stage.load(*options, peer=each), "request") for each in pairs[peer.name])
        return {
            "p99_us": without["p99_us"],
            "p99_slow_us": with_slow["p99_us"],
            "p999_us": without["p999_us"],
            "p999_slow_us": with_slow["p999_us"],
            "p99_ratio": with_slow["p99_us"] / without["p99_us"],
            "errors": without["errors"] + with_slow["errors"],
            "steal": max(without["steal"], with_slow["steal"]),
            "foreign": max(without["foreign"], with_slow["foreign"]),
        }

    take_turns(settings, [pair[0] for pair in pairs.values()], outcome, measure)
    return outcome


def run_filter(scenario: Scenario, stage: Stage, settings: Settings, _: dict[str, Outcome]) -> Outcome:
    """Each peer with a filter and without: what the filter costs is the difference. A round is made of short windows, one
    beside the other and each second pair the other way round, as the pace of a shared machine changes by more than that."""
    outcome = Outcome.empty()
    pairs: dict[str, tuple[Peer, Peer]] = {}
    for name in scenario.peers:
        kind = name.partition("+")[0]
        if kind not in settings.peers:
            continue
        try:
            pairs[name] = stage.peer(kind, settings.origins), stage.peer(name, settings.origins)
        except BenchError as error:
            outcome.failures[name] = str(error)
    times = ("--window", settings.window_s / FILTER_SLICES, "--warmup", settings.warmup_s / FILTER_SLICES)

    def measure(peer: Peer) -> dict:
        slices = []
        for turn in range(FILTER_SLICES):
            found = {each.name: figures_of(stage.load(*scenario.options, *times, peer=each), "request")
                     for each in pairs[peer.name][:: 1 - 2 * (turn % 2)]}  # fmt: skip
            slices.append(tuple(found[each.name] for each in pairs[peer.name]))
        return {
            "bare_us": median(bare["cpu_us"] for bare, _ in slices),
            "cpu_us": median(filtered["cpu_us"] for _, filtered in slices),
            "filter_us": median(filtered["cpu_us"] - bare["cpu_us"] for bare, filtered in slices),
            "per_cpu_second": median(filtered["per_cpu_second"] for _, filtered in slices),
            "errors": sum(figures["errors"] for pair in slices for figures in pair),
            "steal": max(figures["steal"] for pair in slices for figures in pair),
            "foreign": max(figures["foreign"] for pair in slices for figures in pair),
        }

    take_turns(settings, [pair[1] for pair in pairs.values()], outcome, measure)
    return outcome


def ask(connection: socket.socket) -> None:
    """One small request on a connection that stays open."""
    connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    answer = b""
    while not answer.endswith(b"vv"):
        piece = connection.recv(4096)
        if not piece:
            raise BenchError("a connection was closed in the middle of an answer")
        answer += piece


def own_memory(peer: Peer) -> float | None:
    """What Vortex itself says its connections hold, if its metrics say so."""
    if not peer.name.startswith("vortex"):
        return None
    try:
        found = re.findall(r"^vortex_connection_memory_bytes(?:\{[^}]*\})? (\S+)$", peer.metrics(), re.MULTILINE)
    except OSError:
        return None
    return sum(map(float, found)) if found else None


def measure_idle(stage: Stage, name: str, origins: list[int]) -> dict[str, float]:
    """Memory of many connections: silent ones, then the same ones after a request each."""
    peer = stage.peer(name, origins)
    connections: list[socket.socket] = []
    try:
        for _ in range(100):
            with socket.create_connection(("127.0.0.1", peer.port), timeout=10) as connection:
                ask(connection)
        time.sleep(1)
        before, own_before = pss_bytes(peer.pids()), own_memory(peer)
        for _ in range(IDLE_CONNECTIONS):
            connections.append(socket.create_connection(("127.0.0.1", peer.port), timeout=10))
        time.sleep(1)
        silent = pss_bytes(peer.pids())
        for connection in connections:
            ask(connection)
        time.sleep(2)
        after, own_after = pss_bytes(peer.pids()), own_memory(peer)
    finally:
        for connection in connections:
            connection.close()
        peer.process.end()
    figures = {
        "silent_bytes": (silent[1] - before[1]) / IDLE_CONNECTIONS,
        "kept_bytes": (after[1] - before[1]) / IDLE_CONNECTIONS,
        "kept_rss_bytes": (after[0] - before[0]) / IDLE_CONNECTIONS,
        "base_bytes": before[1],
    }
    if own_before is not None and own_after is not None:
        figures["own_bytes"] = (own_after - own_before) / IDLE_CONNECTIONS
    return figures


def run_idle(scenario: Scenario, stage: Stage, settings: Settings, _: dict[str, Outcome]) -> Outcome:
    """A fresh process each time: memory that was once taken is seldom given back."""
    outcome = Outcome.empty()
    for _turn in range(min(settings.rounds, 3)):
        for name in scenario.peers:
            if name not in settings.peers or name in outcome.failures:
                continue
            try:
                outcome.add(name, measure_idle(stage, name, settings.origins))
                settings.say(f"  {name}")
            except (BenchError, OSError) as error:
                outcome.failures[name] = str(error)
    return outcome


def count_instructions(
    stage: Stage, name: str, label: str, origins: list[int], h2_origins: bool, load: Callable[[Peer], float]
) -> dict[str, float]:
    """User-space instructions of a peer under callgrind while it serves; neither start nor end is counted. `load` says how
    many requests it made."""
    profile = stage.paths.out / f"callgrind.{label}.out"
    valgrind = ("valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={profile}")
    peer = stage.peer(name, origins, valgrind, single=True, h2_origins=h2_origins)
    switch = ["vgdb", f"--pid={peer.process.pid}", "instrumentation"]
    try:
        load(peer)
        subprocess.run([*switch, "on"], check=True, capture_output=True, timeout=60)
        requests = load(peer)
        subprocess.run([*switch, "off"], check=True, capture_output=True, timeout=60)
    finally:
        peer.process.end()
    found = re.search(r"^totals: (\d+)", profile.read_text(), re.MULTILINE)
    if not found or not int(found[1]) or not requests:
        raise BenchError(f"callgrind counted nothing in {profile}: {peer.process.last_words()}")
    return {"instructions": float(found[1]) / requests, "requests": requests}


def count_each(scenario: Scenario, settings: Settings, count: Callable[[str], dict[str, float]]) -> Outcome:
    """Once only: instructions depend little on how fast the machine is."""
    outcome = Outcome.empty()
    for name in scenario.peers:
        if name not in settings.peers:
            continue
        try:
            outcome.add(name, count(name))
            settings.say(f"  {name}")
        except (BenchError, OSError, subprocess.SubprocessError) as error:
            outcome.failures[name] = str(error)
    return outcome


def run_instructions(scenario: Scenario, stage: Stage, settings: Settings, _: dict[str, Outcome]) -> Outcome:
    times = ("--warmup", 0, "--window", max(settings.window_s, 2))

    def load(peer: Peer) -> float:
        return stage.load("--connections", 16, *times, peer=peer)["requests"]

    def count(name: str) -> dict[str, float]:
        return count_instructions(stage, name, name, settings.origins, False, load)

    return count_each(scenario, settings, count)


def run_h2_instructions(scenario: Scenario, stage: Stage, settings: Settings, _: dict[str, Outcome]) -> Outcome:
    """The options are the connections, the streams of each, and the version that the origin speaks."""
    connections, streams, version = map(int, scenario.options)
    origins = settings.origins if version == 1 else [stage.h2_origin(b"vv")]

    def load(peer: Peer) -> float:
        url = f"http://127.0.0.1:{peer.h2_port}/"
        return http2.h2load(stage, url, connections, streams, H2_COUNTED_REQUESTS, [])[0]

    def count(name: str) -> dict[str, float]:
        return count_instructions(stage, name, f"{scenario.name}.{name}", origins, version == 2, load)

    return count_each(scenario, settings, count)


SCENARIOS = [
    Scenario("small", "small keep-alive GETs (2 bytes), 64 connections", run_load, [*L4, *L7, "vortex+log"]),
    Scenario("limits", "small GETs with limits off, in memory and on Redis", run_limits,
             ["vortex", "vortex+limit", "vortex+redis"]),
    Scenario("1k", "1 KiB bodies, 64 connections", run_load, [*L4, *L7], ("--path", "/1k")),
    Scenario("100k", "100 KiB bodies, 32 connections", run_load, [*L4, *L7],
             ("--path", "/100k", "--connections", "32")),
    Scenario("100m", "100 MiB bodies, 4 connections", run_load, [*L4, *L7],
             ("--path", "/100m", "--connections", "4"), unit="GiB"),
    Scenario("tls", "TLS keep-alive, small GETs, 64 connections", run_load, L7, tls=True),
    Scenario("handshake", "full TLS 1.3 handshakes (P-256), a request each, 32 connections", run_load, L7,
             ("--fresh", "--connections", "32"), tls=True),
    Scenario("half", "latency at half of what the slowest manages, small GETs, 128 connections", run_half_load, [*L4, *L7],
             ("--connections", "128")),
    Scenario("tail", f"one of four origins {SLOWER} times slower, {TAIL_RATE} requests/s", run_tail, L7,
             ("--connections", "256")),
    Scenario("idle", f"memory of {IDLE_CONNECTIONS} idle plain connections", run_idle, L7),
    Scenario("h2", "HTTP/2, small GETs, 4 connections of 100 streams", run_h2, H2, ("4", "100")),
    Scenario("h2-1", "HTTP/2, small GETs, 64 connections of 1 stream", run_h2, H2, ("64", "1")),
    Scenario("h2-tls", "HTTP/2 over TLS, small GETs, 4 connections of 100 streams", run_h2, H2, ("4", "100"), tls=True),
    Scenario("h2-tls-1", "HTTP/2 over TLS, small GETs, 64 connections of 1 stream", run_h2, H2, ("64", "1"), tls=True),
    Scenario("filter", "a plugin that adds a header; execute filters; small GETs, 64 connections", run_filter,
             ["envoy+add_header", "vortex+add_header", "vortex+pass", "vortex+pass_memory"]),
    Scenario("h2-h2", "HTTP/2 on both sides, small GETs, 4 connections of 100 streams", run_h2_to_h2, H2_H2, ("4", "100")),
    Scenario("grpc", "gRPC, unary calls, 4 connections of 100 streams", run_grpc, GRPC, ("4", "100")),
    Scenario("h2-reset", "HTTP/2, 4 connections of 100 streams beside a rapid reset attacker", run_h2_reset, H2,
             ("4", "100", "1000")),
    Scenario("h2-reset-20", "the same, where the attacker comes again 20 times a second", run_h2_reset,
             ["vortex", "vortex+bans"], ("4", "100", "50")),
    Scenario("instructions", "user-space instructions for each small GET", run_instructions,
             ["relay", "nginx", "haproxy", "vortex"]),
    Scenario("h2-instructions", "the same over HTTP/2, 4 connections of 100 streams", run_h2_instructions,
             ["haproxy", "vortex"], ("4", "100", "1")),
    Scenario("h2-h2-instructions", "the same over HTTP/2 on both sides", run_h2_instructions, ["haproxy", "vortex"],
             ("4", "100", "2")),
]  # fmt: skip
