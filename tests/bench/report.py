# SPDX-License-Identifier: Apache-2.0
"""From figures to medians, ratios, targets and tables. Nothing here measures."""

from dataclasses import dataclass
from statistics import median

from scenarios import Outcome, Scenario

Stats = dict[str, dict[str, float]]

# For each kind of scenario: figure, heading, factor.
H2_COLUMNS = [
    ("cpu_us", "CPU us", 1),
    ("per_cpu_second", "per CPU-s", 1),
    ("per_second", "per s", 1),
    ("busy", "busy %", 100),
    ("errors", "errors", 1),
]
INSTRUCTIONS_COLUMNS = [("instructions", "instructions", 1), ("requests", "counted over", 1)]
COLUMNS = {
    "run_load": [
        ("cpu_us", "CPU us", 1),
        ("user_us", "user us", 1),
        ("per_cpu_second", "per CPU-s", 1),
        ("per_second", "per s", 1),
        ("busy", "busy %", 100),
        ("errors", "errors", 1),
    ],
    "run_limits": [
        ("cpu_us", "CPU us", 1),
        ("user_us", "user us", 1),
        ("per_cpu_second", "per CPU-s", 1),
        ("busy", "busy %", 100),
        ("p50_us", "p50 us", 1),
        ("p99_us", "p99 us", 1),
        ("lag_p99_us", "lag p99 us", 1),
        ("errors", "errors", 1),
    ],
    "run_h2": H2_COLUMNS,
    "run_h2_to_h2": H2_COLUMNS,
    "run_grpc": H2_COLUMNS,
    "run_h2_reset": [
        ("per_cpu_second", "per CPU-s", 1),
        ("attacked_per_cpu_second", "attacked: per CPU-s", 1),
        ("kept", "kept %", 100),
        ("resets", "streams reset", 1),
        ("connections", "connections", 1),
        ("errors", "errors", 1),
    ],
    "run_half_load": [
        ("rate", "rate/s", 1),
        ("p50_us", "p50 us", 1),
        ("p99_us", "p99 us", 1),
        ("p999_us", "p99.9 us", 1),
        ("lag_p99_us", "lag p99 us", 1),
        ("cpu_us", "CPU us", 1),
        ("errors", "errors", 1),
    ],
    "run_tail": [
        ("p99_us", "p99 us", 1),
        ("p99_slow_us", "slow: p99 us", 1),
        ("p99_ratio", "p99 ratio", 1),
        ("p999_us", "p99.9 us", 1),
        ("p999_slow_us", "slow: p99.9 us", 1),
        ("errors", "errors", 1),
    ],
    "run_idle": [
        ("silent_bytes", "silent: bytes", 1),
        ("kept_bytes", "after a request: bytes", 1),
        ("kept_rss_bytes", "the same by RSS", 1),
        ("own_bytes", "by its own account", 1),
        ("base_bytes", "process MiB", 1 / 1024**2),
    ],
    "run_filter": [
        ("bare_us", "without: CPU us", 1),
        ("cpu_us", "with: CPU us", 1),
        ("filter_us", "the filter: us", 1),
        ("per_cpu_second", "per CPU-s", 1),
        ("errors", "errors", 1),
    ],
    "run_instructions": INSTRUCTIONS_COLUMNS,
    "run_h2_instructions": INSTRUCTIONS_COLUMNS,
}


@dataclass
class Target:
    """One figure to reach: of Vortex (or `peer`) in a scenario (`ratio_to`: divided by that peer's of the same run), or
    of a micro-benchmark by its name."""

    what: str
    scenario: str
    figure: str
    bound: float
    at_least: bool = False
    ratio_to: str = ""
    micro: str = ""
    unit: str = ""
    peer: str = "vortex"


TARGETS = [
    Target("small GETs: requests per CPU-second against nginx", "small", "per_cpu_second", 1.35, True, "nginx"),
    Target("small GETs: requests per CPU-second against HAProxy", "small", "per_cpu_second", 1.7, True, "haproxy"),
    Target("small GETs: CPU time against the relay", "small", "cpu_us", 1.25, False, "relay"),
    Target("small GETs: own user time for each", "small", "user_us", 0.8, unit="us"),
    Target("limits on Redis: requests per CPU-second against none", "limits", "cpu_us", 0.7, True, "vortex+redis"),
    Target("a limit's decision among 1 million keys", "micro", "", 60, micro="limit.memory.1m_keys", unit="ns"),
    Target("the same on two threads", "micro", "", 60, micro="limit.memory.1m_keys.2_threads", unit="ns"),
    Target("HTTP/2, 100 streams: requests per CPU-second against nginx", "h2", "per_cpu_second", 1.3, True, "nginx"),
    Target("HTTP/2, 100 streams: requests per CPU-second against HAProxy", "h2", "per_cpu_second", 1.3, True, "haproxy"),
    Target("HTTP/2, 100 streams: requests per CPU-second against h2o", "h2", "per_cpu_second", 0.9, True, "h2o"),
    Target("gRPC, unary calls: requests per CPU-second against Envoy", "grpc", "per_cpu_second", 3, True, "envoy"),
    Target("HTTP/2: what a rapid reset attacker leaves of the others' requests", "h2-reset", "kept", 0.95, True),
    Target("100 MiB bodies: CPU time against HAProxy", "100m", "cpu_us", 1.0, False, "haproxy"),
    Target("p99 with a slow origin against without", "tail", "p99_ratio", 1.3),
    Target("a plugin that adds a header: its CPU time against Envoy's", "filter", "filter_us", 1 / 3, False,
           "envoy+add_header", peer="vortex+add_header"),
    Target("the same plugin in the running proxy", "filter", "filter_us", 2.5, unit="us", peer="vortex+add_header"),
    Target("an execute filter without memory, in it", "filter", "filter_us", 1.5, unit="us", peer="vortex+pass"),
    Target("an execute filter with memory, in it", "filter", "filter_us", 6, unit="us", peer="vortex+pass_memory"),
    Target("a plugin that adds a header", "micro", "", 2500, micro="filters: a plugin that adds a header", unit="ns"),
    Target("an execute filter without memory", "micro", "", 1500, micro="filters: execute, without memory", unit="ns"),
    Target("an execute filter with memory", "micro", "", 6000, micro="filters: execute, with memory", unit="ns"),
    Target("memory of an idle plain connection", "idle", "kept_bytes", 1024, unit="bytes"),
    Target("pick among 8 backends", "micro", "", 10, micro="pick_peak_ewma_8", unit="ns"),
    Target("pick among 1,000 backends", "micro", "", 400, micro="pick_peak_ewma_1000", unit="ns"),
    Target("packed score of a backend", "micro", "", 0.394, micro="score_packed_1000", unit="ns"),
    Target("XDP: drop of a banned address", "micro", "", 40, micro="xdp_drop_banned", unit="ns"),
    Target("XDP: a packet let through, every check on", "micro", "", 90, micro="xdp_pass_all_checks", unit="ns"),
    Target("good client's throughput in a flood, bans off", "micro", "", 50, micro="flood_without_bans", unit="%"),
    Target("good client's throughput in a flood, bans on", "micro", "", 80, True, micro="flood_with_bans", unit="%"),
]


def spread(values: list[float]) -> dict[str, float]:
    return {"median": median(values), "min": min(values), "max": max(values)}


def summarise(outcome: Outcome) -> dict[str, Stats]:
    """Median and spread of each figure of each peer."""
    result: dict[str, Stats] = {}
    for peer, rounds in outcome.figures.items():
        names = [name for name in rounds[0] if all(name in figures for figures in rounds)]
        result[peer] = {name: spread([figures[name] for figures in rounds]) for name in names}
    return result


def ratios(outcome: Outcome, peer: str, other: str, figure: str) -> dict[str, float] | None:
    """The ratio of two peers' medians, with the spread of the ratios within each round."""
    ours, theirs = outcome.figures.get(peer), outcome.figures.get(other)
    if not ours or not theirs:
        return None
    pairs = [a[figure] / b[figure] for a, b in zip(ours, theirs) if b[figure]]
    divisor = median(figures[figure] for figures in theirs)
    if not pairs or not divisor:
        return None
    return {**spread(pairs), "median": median(figures[figure] for figures in ours) / divisor}


def number(value: float) -> str:
    """Three digits or more."""
    size = abs(value)
    if value == 0 or size >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if size >= 10 else f"{value:.2f}" if size >= 1 else f"{value:.3f}"


def text_of(value: dict[str, float], factor: float = 1) -> str:
    middle, low, high = (number(value[key] * factor) for key in ("median", "min", "max"))
    return middle if low == high else f"{middle} ({low}..{high})"


def layout(rows: list[list[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]


def scenario_table(scenario: Scenario, outcome: Outcome) -> str:
    """One scenario: a row a peer, with ratios of the CPU time where that is what was measured."""
    stats = summarise(outcome)
    columns = [c for c in COLUMNS[scenario.run.__name__] if any(c[0] in peer for peer in stats.values())]
    if scenario.unit == "GiB":
        columns = [(name, head.removesuffix("us") + "ms", 1e-3) if name.endswith("_us") else (name, head, by)
                   for name, head, by in columns]  # fmt: skip
    others = {"run_load": ("nginx", "haproxy", "relay"), "run_h2": ("nginx", "haproxy", "h2o"),
              "run_h2_to_h2": ("haproxy", "envoy"), "run_grpc": ("nginx", "haproxy", "envoy")}  # fmt: skip
    against = [p for p in others.get(scenario.run.__name__, ()) if p in stats]
    rows = [["", *(heading for _, heading, _ in columns), *(f"CPU / {other}" for other in against)]]
    for peer in scenario.peers:
        if peer in outcome.failures or peer not in stats:
            continue
        row = [text_of(stats[peer][name], factor) if name in stats[peer] else "-" for name, _, factor in columns]
        for other in against:
            ratio = ratios(outcome, peer, other, "cpu_us")
            row.append(f"{ratio['median']:.2f}" if ratio else "-")
        rows.append([peer, *row])
    lines = [f"{scenario.name}: {scenario.title}"]
    if scenario.unit != "request":
        lines[0] += f" (for each {scenario.unit})"
    lines += ["  " + line for line in layout(rows)] if len(rows) > 1 else []
    lines += [f"  {peer}: NOT MEASURED: {why}" for peer, why in outcome.failures.items()]
    noise = [figures for rounds in outcome.figures.values() for figures in rounds]
    if any("steal" in figures for figures in noise):
        steal, foreign = (max(figures.get(name, 0) for figures in noise) for name in ("steal", "foreign"))
        lines.append(f"  noise on the proxy's core, worst round: {steal:.1%} stolen, {foreign:.1%} by other processes")
    return "\n".join(lines)


def micro_value(results: list[dict], name: str) -> dict[str, float] | None:
    """The figures of one micro-benchmark, times in nanoseconds."""
    for result in results:
        unit = str(result["unit"]).split("/")[0]
        factor = {"ps": 1e-3, "ns": 1.0, "us": 1e3, "%": 1.0}.get(unit)
        if factor and result["name"] == name:
            return {key: float(result[key]) * factor for key in ("median", "min", "max")}
    return None


def measured(target: Target, outcomes: dict[str, Outcome], micro: list[dict]) -> dict[str, float] | None:
    if target.micro:
        return micro_value(micro, target.micro)
    outcome = outcomes.get(target.scenario)
    if not outcome or target.peer not in outcome.figures:
        return None
    if target.ratio_to:
        return ratios(outcome, target.peer, target.ratio_to, target.figure)
    return summarise(outcome)[target.peer].get(target.figure)


def judge(outcomes: dict[str, Outcome], micro: list[dict]) -> list[dict]:
    """Each target with what was measured: met, MISSED or not measured."""
    verdicts = []
    for target in TARGETS:
        value = measured(target, outcomes, micro)
        verdict = "not measured"
        if value:
            good = value["median"] >= target.bound if target.at_least else value["median"] <= target.bound
            verdict = "met" if good else "MISSED"
        bound = f"{'>=' if target.at_least else '<='} {target.bound:g} {target.unit}".strip()
        verdicts.append({"target": target.what, "bound": bound, "measured": value, "verdict": verdict})
    return verdicts


def target_table(verdicts: list[dict]) -> str:
    rows = [["", "wanted", "measured (spread)", ""]]
    for verdict in verdicts:
        value = verdict["measured"]
        rows.append([verdict["target"], verdict["bound"], text_of(value) if value else "-",
                     verdict["verdict"]])  # fmt: skip
    return "\n".join(["targets", *("  " + line for line in layout(rows))])


def micro_table(results: list[dict], failures: dict[str, str]) -> str:
    rows = [["", "median (spread)", "unit"]]
    rows += [[str(r["name"]), text_of(r), str(r["unit"])] for r in results]
    lines = ["micro-benchmarks", *("  " + line for line in layout(rows))] if results else ["micro-benchmarks: none"]
    return "\n".join(lines + [f"  {name}: FAILED: {why}" for name, why in failures.items()])
