#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The benchmark: Vortex beside a relay, nginx, HAProxy and Envoy, one core each, in one run.

    tests/bench/run.py [--quick] [--scenario small,tls] [--peers relay,nginx,vortex] [--rounds N] [--window SECONDS]

`make bench` builds what is needed and calls it. It writes build/bench/<scenario>.json, build/bench/summary.json and
build/bench/table.txt, and prints the table. docs/performance.md says how the figures are made and how to read them.
"""

import argparse
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import report
from processes import (PEERS, BenchError, Cores, Paths, Stage, die_with_parent, ensure_envoy, find_program,
                       make_certificate, raise_file_limit)  # fmt: skip
from scenarios import SCENARIOS, Outcome, Settings

ROOT = Path(__file__).resolve().parents[2]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Vortex beside its peers, one core each.")
    parser.add_argument("--quick", action="store_true", help="2 rounds of 1 second: to see that it runs, not to quote")
    parser.add_argument("--rounds", type=int, help="rounds of each scenario (5; quick: 2)")
    parser.add_argument("--window", type=float, help="seconds that are counted in each round (3; quick: 1)")
    parser.add_argument("--scenario", default="all", help="some of: " + ",".join(s.name for s in SCENARIOS))
    parser.add_argument("--peers", default=",".join(PEERS), help="some of: " + ",".join(PEERS))
    parser.add_argument("--build", type=Path, default=ROOT / "build", help="the build folder (build)")
    parser.add_argument("--vortex", type=Path, help="the program (vortex in the build folder)")
    parser.add_argument("--out", type=Path, help="where the results go (bench in the build folder)")
    parser.add_argument("--no-micro", action="store_true", help="leave the micro-benchmarks out")
    parser.add_argument("--strict", action="store_true", help="exit with 1 also when a target is missed")
    return parser.parse_args()


def chosen(text: str, known: list[str], what: str) -> list[str]:
    names = known if text == "all" else text.split(",")
    unknown = [name for name in names if name not in known]
    if unknown:
        raise BenchError(f"no such {what}: {', '.join(unknown)}; known: {', '.join(known)}")
    return names


def version_of(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return ((done.stdout + done.stderr).strip().splitlines() or ["?"])[0]


def machine(paths: Paths, cores: Cores, peers: list[str]) -> dict:
    """What a reader needs to judge the figures by."""
    cpu = next((line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                if line.startswith("model name")), platform.machine())  # fmt: skip
    versions = {}
    if "nginx" in peers:
        versions["nginx"] = version_of([find_program("nginx"), "-v"])
    if "haproxy" in peers:
        versions["haproxy"] = version_of([find_program("haproxy"), "-v"])
    if "envoy" in peers:
        versions["envoy"] = version_of([str(paths.envoy), "--version"]) if paths.envoy else "?"
    if "vortex" in peers:
        versions["vortex"] = version_of([str(paths.vortex), "--version"])
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "cpu": cpu,
        "cores": {"proxy": cores.proxy, "load": cores.load, "origin": cores.origin},
        "kernel": platform.release(),
        "congestion_control": Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text().strip(),
        "load_average": os.getloadavg(),
        "versions": versions,
    }


def speed_ms(core: int) -> float:
    """A fixed piece of work on the proxy's core: tells a slow hour of the machine from a slow program."""
    code = ("import time\nb=9.0\nfor _ in range(5):\n t=time.process_time();n=0\n for i in range(400000): n+=i\n"
            " b=min(b,time.process_time()-t)\nprint(b*1e3)")  # fmt: skip
    done = subprocess.run(["taskset", "-c", str(core), sys.executable, "-c", code], capture_output=True, text=True,
                          check=True)  # fmt: skip
    return float(done.stdout)


def run_micro(paths: Paths) -> tuple[list[dict], dict[str, str]]:
    """Each micro_* program of the build, and the flood; each line that they print is one JSON object."""
    results: list[dict] = []
    failures: dict[str, str] = {}
    programs = [p for p in sorted(paths.build.glob("**/micro_*")) if p.is_file() and os.access(p, os.X_OK)]
    commands = {program.name: [str(program)] for program in programs}
    commands["flood"] = [sys.executable, str(ROOT / "tests/bench/flood.py"), "--build", str(paths.build)]
    for name, command in commands.items():
        print(f"bench: {name}", file=sys.stderr)
        try:
            # Not pinned: some of them measure two threads on two cores.
            done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=ROOT,
                                  preexec_fn=die_with_parent)  # fmt: skip
            if done.returncode != 0:
                raise BenchError(f"exit code {done.returncode}: {done.stderr.strip()[-200:]}")
            for line in done.stdout.splitlines():
                result = json.loads(line)
                if not {"name", "unit", "median", "min", "max"} <= result.keys():
                    raise BenchError(f"a line without name, unit, median, min and max: {line[:100]}")
                results.append(result)
        except (BenchError, subprocess.TimeoutExpired, json.JSONDecodeError) as error:
            failures[name] = str(error)
    return results, failures


def run_scenarios(names: list[str], settings: Settings, paths: Paths, cores: Cores, about: dict) -> dict[str, Outcome]:
    outcomes: dict[str, Outcome] = {}
    for scenario in SCENARIOS:
        if scenario.name not in names:
            continue
        speed = speed_ms(cores.proxy)
        print(f"bench: {scenario.name}: {scenario.title}", file=sys.stderr)
        with Stage(paths, cores) as stage:
            settings.origins = [stage.origin()]
            outcome = scenario.run(scenario, stage, settings, outcomes)
        outcomes[scenario.name] = outcome
        document = {
            "scenario": scenario.name,
            "title": scenario.title,
            "unit": scenario.unit,
            "machine": {**about, "speed_ms": speed},
            "window_s": settings.window_s,
            "peers": report.summarise(outcome),
            "rounds": outcome.figures,
            "failures": outcome.failures,
        }
        (paths.out / f"{scenario.name}.json").write_text(json.dumps(document, indent=1) + "\n")
    return outcomes


def prepare(arguments: argparse.Namespace, peers: list[str], work: Path) -> Paths:
    build = arguments.build.resolve()
    out = (arguments.out or build / "bench").resolve()
    out.mkdir(parents=True, exist_ok=True)
    paths = Paths(build, out, work, (arguments.vortex or build / "vortex").resolve(), Path())
    if "envoy" in peers:
        try:
            paths.envoy = ensure_envoy(build)
        except (BenchError, subprocess.CalledProcessError) as error:
            raise BenchError(f"Envoy: {error}; leave it out with --peers") from error
    missing_vortex = not paths.vortex.exists()
    if missing_vortex and any(peer.startswith("vortex") for peer in peers):
        raise BenchError(f"{paths.vortex} is missing: make build, or leave it out with --peers")
    make_certificate(work)
    return paths


def run(arguments: argparse.Namespace, work: Path) -> int:
    peers = chosen(arguments.peers, PEERS, "peer")
    names = chosen(arguments.scenario, [s.name for s in SCENARIOS], "scenario")
    cores = Cores.choose()
    paths = prepare(arguments, peers, work)
    raise_file_limit()
    settings = Settings(
        rounds=arguments.rounds or (2 if arguments.quick else 5),
        window_s=arguments.window or (1 if arguments.quick else 3),
        warmup_s=0.5 if arguments.quick else 1,
        peers=peers,
        say=lambda text: print(text, file=sys.stderr),
        origins=[],
    )
    about = machine(paths, cores, peers)
    outcomes = run_scenarios(names, settings, paths, cores, about)
    micro, micro_failures = ([], {}) if arguments.no_micro else run_micro(paths)
    if not arguments.no_micro:
        (paths.out / "micro.json").write_text(json.dumps(micro, indent=1) + "\n")

    verdicts = report.judge(outcomes, micro)
    tables = [report.scenario_table(s, outcomes[s.name]) for s in SCENARIOS if s.name in outcomes]
    tables += [] if arguments.no_micro else [report.micro_table(micro, micro_failures)]
    tables += [report.target_table(verdicts)]
    head = f"{about['cpu']}, Linux {about['kernel']}, {about['time']}, {settings.rounds} rounds of {settings.window_s:g} s"
    text = "\n\n".join([head + "; median (min..max)", *tables]) + "\n"
    print("\n" + text)
    (paths.out / "table.txt").write_text(text)
    (paths.out / "summary.json").write_text(json.dumps({"machine": about, "targets": verdicts}, indent=1) + "\n")

    failed = any(outcome.failures for outcome in outcomes.values()) or bool(micro_failures)
    missed = any(verdict["verdict"] == "MISSED" for verdict in verdicts)
    return 1 if failed or (arguments.strict and missed) else 0


def main() -> int:
    # SIGTERM ends the run as an error does: through the `with` blocks that end the processes.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    arguments = parse()
    # nginx is particular about the owner of its folders, so they lie where this run made them.
    work = Path(tempfile.mkdtemp(prefix="vortex-bench-"))
    try:
        return run(arguments, work)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 1
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
