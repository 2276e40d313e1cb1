# SPDX-License-Identifier: Apache-2.0
"""Runs the program under test and looks at it from outside: output, metrics, access log, /proc."""

import json
import os
import pathlib
import re
import signal
import subprocess
import time

import yaml

from . import client, ports
from .wait import wait_until

ROOT = pathlib.Path(__file__).resolve().parents[3]
SANITIZER = re.compile(
    r"(ERROR|WARNING): (Address|Leak|Memory|Thread|UndefinedBehavior)Sanitizer|: runtime error: |"
    r"^SUMMARY: \w*Sanitizer",
    re.M,
)
SAMPLE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)(?: \d+)?\Z")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)",?')


def binary():
    path = pathlib.Path(os.environ.get("VORTEX_BINARY", ROOT / "build" / "vortex")).resolve()
    if not path.exists():
        raise RuntimeError(f"{path} does not exist: build it, or set VORTEX_BINARY")
    return str(path)


def memory_slack():
    """How much more memory than a plain build this binary may take: sanitizers shadow and keep freed memory."""
    code = pathlib.Path(binary()).read_bytes()
    return 12 if b"__asan_init" in code or b"__tsan_init" in code else 1


def command(*args, cwd, timeout=120):
    """Runs `vortex ARGS` to its end; the sanitizers' silence is checked."""
    done = subprocess.run(
        [binary(), *args], cwd=cwd, timeout=timeout, capture_output=True, text=True, check=False
    )
    assert not SANITIZER.search(done.stderr), done.stderr
    return done


def parse_metrics(text):
    """Prometheus text as a list of (name, labels, value); AssertionError where a line is not of that format."""
    samples = []
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        match = SAMPLE.match(line)
        assert match, f"not a Prometheus sample: {line!r}"
        labels = match[2] or ""
        assert LABEL.sub("", labels) == "", f"bad labels: {line!r}"
        samples.append((match[1], dict(LABEL.findall(labels)), float(match[3])))
    return samples


class Vortex:
    """One running proxy, waited for until its output has `until`. `config` is a mapping or YAML text."""

    def __init__(self, folder, config, *, nofile=None, arguments=None, prefix=(), until="ready"):
        self.until = until
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.file = self.folder / "vortex.yaml"
        self.config = config if isinstance(config, dict) else yaml.safe_load(config)
        self.clients = []
        self.checked = False
        self.write(config)
        self.ports = [
            int(match[1])
            for listener in self.config["listeners"]
            if (match := re.search(r":(\d+)$", listener["address"]))
        ]
        metrics = self.config.get("metrics", {}).get("address", "127.0.0.1:9091")
        self.metrics_port = int(metrics.rsplit(":", 1)[1])
        self.out, self.err = self.folder / "stdout", self.folder / "stderr"

        with open(self.out, "wb") as out, open(self.err, "wb") as err:
            call = [*prefix, binary(), *(["run", "-c", str(self.file)] if arguments is None else arguments)]
            if nofile:
                call = ["prlimit", "--nofile=%d:%d" % nofile, *call]
            self.process = subprocess.Popen(
                call, cwd=self.folder, stdout=out, stderr=err, stdin=subprocess.DEVNULL
            )
        try:
            # Longer than most tests may take: those with large modules to compile set a limit of their own.
            wait_until(
                lambda: self.ready() or self.process.poll() is not None, 500, f"the line with `{until}`"
            )
            assert self.process.poll() is None, f"ended with {self.process.returncode} at start"
        except BaseException as error:
            self.kill()
            error.add_note(self.output())
            raise

    def write(self, config):
        """Replaces the configuration file, as an editor would (the running proxy is not told)."""
        text = config if isinstance(config, str) else yaml.safe_dump(config, sort_keys=False)
        draft = self.file.with_suffix(".new")
        draft.write_text(text)
        draft.rename(self.file)

    @property
    def port(self):
        return self.ports[0]

    @property
    def pid(self):
        return self.process.pid

    def ready(self):
        return re.search(rf"\b{self.until}\b", self.output()) is not None

    def output(self):
        return self.out.read_text(errors="replace") + self.err.read_text(errors="replace")

    def alive(self):
        return self.process.poll() is None

    # Traffic

    def client(self, port=None, **options):
        """A raw connection; closed by stop()."""
        made = client.Client(port or self.port, **options)
        self.clients.append(made)
        return made

    def request(
        self,
        method,
        target,
        headers=(),
        body=b"",
        *,
        host="test",
        port=None,
        connect_to="127.0.0.1",
        **options,
    ):
        """One request on a connection of its own; the final answer."""
        with client.Client(
            port or self.port if "unix" not in options else 0, connect_to, **options
        ) as connection:
            return connection.request(method, target, headers, body, host=host)

    def get(self, target="/", headers=(), **options):
        return self.request("GET", target, headers, **options)

    def raw(self, data):
        """Sends bytes on a connection of its own and reads one answer; the connection must end after it."""
        with client.Client(self.port) as connection:
            connection.try_send(data)
            answer = connection.read()
            assert connection.ended(), "the connection stays open after the answer"
            return answer

    # Control

    def signal(self, number):
        self.process.send_signal(number)

    def reload(self, config, *, good=True):
        """Writes the configuration, sends SIGHUP and waits until the reload is counted."""
        before = self.reloads(good)
        self.write(config)
        self.signal(signal.SIGHUP)
        wait_until(
            lambda: self.reloads(good) > before,
            15,
            f"a {'good' if good else 'refused'} reload in the metrics",
        )

    def reloads(self, good):
        """Reloads counted so far. The label result is `success` for a good one, another word for a refused one."""
        page = self.admin("/metrics").body.decode()
        counted = "\n".join(line for line in page.splitlines() if line.startswith("vortex_config_reloads_total"))
        return sum(
            value for _, labels, value in parse_metrics(counted) if (labels.get("result") == "success") == good
        )

    # What can be seen from outside

    def admin(self, path):
        """GET from the metrics listener."""
        return self.get(path, port=self.metrics_port, host=f"127.0.0.1:{self.metrics_port}")

    def metrics(self):
        answer = self.admin("/metrics")
        assert answer.status == 200
        return parse_metrics(answer.body.decode())

    def metric(self, wanted, **labels):
        """The sum of all samples of this name whose labels include these."""
        return sum(
            value
            for name, have, value in self.metrics()
            if name == wanted and all(have.get(key) == str(label) for key, label in labels.items())
        )

    def wait_metric(self, wanted, value, timeout=15, **labels):
        wait_until(lambda: self.metric(wanted, **labels) == value, timeout, f"{wanted}{labels} = {value}")

    def log(self, count, timeout=15):
        """The first `count` entries of the access log, once they are there."""
        path = self.folder / "access.log"

        def entries():
            text = path.read_text() if path.exists() else ""
            whole = text[: text.rfind("\n") + 1].splitlines()
            return whole if len(whole) >= count else None

        return [
            json.loads(line) for line in wait_until(entries, timeout, f"{count} entries in the access log")
        ]

    def rss_bytes(self):
        text = pathlib.Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", text)[1]) * 1024

    def cpu_seconds(self):
        fields = pathlib.Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def open_files(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    # The end

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.checked = True

    def finish(self, code=0, timeout=40):
        """Waits for the end and checks exit code and sanitizers."""
        self.checked = True
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(
                f"still running {timeout} s after it was told to stop\n{self.output()}"
            ) from None
        text = self.err.read_text(errors="replace")
        report = SANITIZER.search(text)
        assert not report, f"sanitizer report:\n{text[max(0, report.start() - 500) :][:8000]}"
        assert self.process.returncode == code, (
            f"exit code {self.process.returncode}, not {code}\n{self.output()[-4000:]}"
        )

    def stop(self, code=0):
        """Closes the clients, sends SIGTERM, and checks how it ends."""
        for made in self.clients:
            made.close()
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
        self.finish(code)


class Builder:
    """Makes configurations and starts proxies for one test; stops and checks them at its end."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.started = []

    def config(self, *backends, routes=None, listeners=None, listener=None, route=None, workers=1, **top):
        """A configuration with one route `main` to these backends (or the routes given) and one plain listener."""
        if routes is None:
            routes = [
                {
                    "name": "main",
                    "match": {"path_prefix": "/"},
                    "backends": targets(*backends),
                    **(route or {}),
                }
            ]
        if listeners is None:
            listeners = [{"address": f"127.0.0.1:{ports.take()}", **(listener or {})}]
        base = {
            "workers": workers,
            "listeners": listeners,
            "routes": routes,
            "metrics": {"address": f"127.0.0.1:{ports.take()}"},
            "access_log": {"path": "access.log", "format": "json"},
            "shutdown": {"drain": "5s"},
        }
        base.update(top)
        return {key: value for key, value in base.items() if value is not None}

    def start(self, config, **options):
        folder = self.folder / f"proxy{len(self.started)}"
        proxy = Vortex(folder, config, **options)
        self.started.append(proxy)
        return proxy

    def __call__(self, *backends, nofile=None, until="ready", **options):
        return self.start(self.config(*backends, **options), nofile=nofile, until=until)

    def finish(self):
        problems = []
        for proxy in self.started:
            if proxy.checked:
                continue
            try:
                proxy.stop()
            except AssertionError as error:
                problems.append(str(error))
        assert not problems, "\n".join(problems)


def targets(*backends):
    """Backends as they stand in a route: objects with an address, plain addresses, or ready mappings."""
    out = []
    for number, backend in enumerate(backends, 1):
        if isinstance(backend, dict):
            out.append({"id": number, **backend})
        else:
            out.append({"id": number, "address": getattr(backend, "address", backend)})
    return out


def settle(seconds):
    """For the few tests that show that something does NOT happen."""
    time.sleep(seconds)


def check(folder, config, name="vortex.yaml"):
    """`vortex check` on this configuration: (exit code, places, output); places are the (line, column) pairs of
    `FILE:LINE:COL: ...` lines."""
    path = pathlib.Path(folder) / name
    path.write_text(config if isinstance(config, str) else yaml.safe_dump(config, sort_keys=False))
    done = command("check", "-c", str(path), cwd=folder)
    output = done.stdout + done.stderr
    places = [
        (int(line), int(column))
        for line, column in re.findall(rf"{re.escape(str(path))}:(\d+):(\d+): \S", output)
    ]
    return done.returncode, places, output
