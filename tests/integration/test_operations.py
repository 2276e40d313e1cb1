# SPDX-License-Identifier: Apache-2.0
"""Metrics, health, access log, drain, and what happens when the machine has no more to give."""

import json
import os
import pathlib
import re
import signal
import socket
import threading
import time

import pytest

from harness import http1
from harness.backend import echo, once, refuse, response, serve
from harness.client import Client, request
from harness.proxy import settle, targets
from harness.wait import wait_until

NO_RETRY = {"retries": {"attempts": 0}}
BASE_METRICS = [
    "vortex_http_requests_total",
    "vortex_http_request_duration_seconds_bucket",
    "vortex_http_request_duration_seconds_sum",
    "vortex_http_request_duration_seconds_count",
    "vortex_connections_active",
    "vortex_backend_ewma_seconds",
    "vortex_backend_active_requests",
    "vortex_backend_breaker_state",
    "vortex_backend_connections_opened_total",
    "vortex_backend_requests_total",
    "vortex_retries_total",
    "vortex_config_reloads_total",
]


# Metrics and health


def test_metrics_are_there_with_type_and_help(vortex, backend):
    proxy = vortex(backend())
    proxy.get()
    # A request is counted when it is over, which the client may see first.
    proxy.wait_metric("vortex_http_requests_total", 1)
    answer = proxy.admin("/metrics")
    assert answer.get("content-type").startswith("text/plain")
    text = answer.body.decode()
    names = {name for name, _, _ in proxy.metrics()}
    for name in BASE_METRICS:
        assert name in names, name
        family = re.sub("_(bucket|sum|count)$", "", name)
        assert re.search(rf"^# TYPE {family} (counter|gauge|histogram)$", text, re.M), family
        assert re.search(rf"^# HELP {family} \S", text, re.M), family
    assert all(name.startswith("vortex_") for name in names)


def test_no_series_stands_twice(vortex, backend):
    proxy = vortex(backend(), backend(), workers=2)
    for _ in range(20):
        proxy.get()
    series = [(name, tuple(sorted(labels.items()))) for name, labels, _ in proxy.metrics()]
    assert len(series) == len(set(series))


def test_requests_are_counted_by_route_and_code(vortex, backend):
    proxy = vortex(
        backend(serve(lambda r: response(status="404 Not Found") if r.target == "/missing" else echo(r))),
        workers=2,
    )
    for _ in range(30):
        proxy.get()
    for _ in range(5):
        proxy.get("/missing")
    proxy.wait_metric("vortex_http_requests_total", 30, route="main", code="200")
    assert proxy.metric("vortex_http_requests_total", route="main", code="404") == 5
    assert proxy.metric("vortex_http_request_duration_seconds_count", route="main") == 35
    labels = next(labels for name, labels, _ in proxy.metrics() if name == "vortex_http_requests_total")
    assert {"route", "code", "protocol"} <= set(labels)


def test_histogram_is_cumulative(vortex, backend):
    proxy = vortex(backend(serve(delay=0.02)))
    for _ in range(10):
        proxy.get()
    proxy.wait_metric("vortex_http_request_duration_seconds_count", 10, route="main")
    samples = [
        (labels["le"], value)
        for name, labels, value in proxy.metrics()
        if name == "vortex_http_request_duration_seconds_bucket" and labels.get("route") == "main"
    ]
    bounds = [float(bound) for bound, _ in samples]
    counts = [count for _, count in samples]
    assert bounds == sorted(bounds) and bounds[-1] == float("inf")
    assert counts == sorted(counts) and counts[-1] == 10
    assert all(count == 0 for bound, count in zip(bounds, counts, strict=True) if bound < 0.02)
    assert 0.2 <= proxy.metric("vortex_http_request_duration_seconds_sum", route="main") < 20


def test_active_connections_and_requests_go_up_and_down(vortex, backend):
    hold = threading.Event()
    target = backend(serve(lambda r: (hold.wait(30), echo(r))[1]))
    proxy = vortex(target)
    clients = [proxy.client() for _ in range(5)]
    for client in clients[:3]:
        client.send(request("GET", "/"))
    target.wait_requests(3)
    proxy.wait_metric("vortex_connections_active", 5)
    proxy.wait_metric("vortex_backend_active_requests", 3, route="main")
    hold.set()
    for client in clients[:3]:
        client.read()
    proxy.wait_metric("vortex_backend_active_requests", 0, route="main")
    for client in clients:
        client.close()
    proxy.wait_metric("vortex_connections_active", 0)


def test_metrics_survive_a_reload(vortex, backend):
    config = vortex.config(backend())
    proxy = vortex.start(config)
    for _ in range(3):
        proxy.get()
    proxy.wait_metric("vortex_http_requests_total", 3, route="main", code="200")
    proxy.reload({**config, "limits": {"headers": 100}})
    proxy.get()
    proxy.wait_metric("vortex_http_requests_total", 4, route="main", code="200")


def test_label_values_are_escaped(vortex, backend):
    """A route's name may hold what Prometheus' text escapes, or is refused by the configuration; the page stays readable."""
    proxy = vortex(
        routes=[{"name": "a-b_c.d:e", "match": {"path_prefix": "/"}, "backends": targets(backend())}]
    )
    proxy.get()
    proxy.wait_metric("vortex_http_requests_total", 1, route="a-b_c.d:e", code="200")


def test_health_and_readiness(vortex, backend):
    proxy = vortex(backend())
    assert proxy.admin("/healthz").status == 200
    assert proxy.admin("/readyz").status == 200
    assert proxy.admin("/nothing-here").status == 404
    assert proxy.request("HEAD", "/healthz", port=proxy.metrics_port).status == 200


def test_metrics_listener_is_as_strict_as_the_proxy(vortex, backend):
    proxy = vortex(backend())
    with Client(proxy.metrics_port) as client:
        client.send(
            b"GET /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        assert client.read().status == 400
        assert client.ended()


def test_metrics_are_not_served_on_the_proxy_listener(vortex, backend):
    assert vortex(backend()).get("/metrics").json()["target"] == "/metrics"


# Access log


def test_access_log_entry_has_the_facts(vortex, backend):
    """Names of the fields are stable: time, client_ip, method, host, path, protocol, status, reason (empty where nothing went
    wrong), route, backend, duration_ms, request_bytes, response_bytes, user_agent."""
    target = backend()
    proxy = vortex(target)
    proxy.request("POST", "/log?x=1", {"User-Agent": "tests/1"}, b"12345", host="log.test")
    entry = proxy.log(1)[0]
    assert {
        key: entry[key]
        for key in (
            "client_ip",
            "method",
            "host",
            "path",
            "protocol",
            "status",
            "reason",
            "route",
            "backend",
            "request_bytes",
            "user_agent",
        )
    } == {
        "client_ip": "127.0.0.1",
        "method": "POST",
        "host": "log.test",
        "path": "/log?x=1",
        "protocol": "HTTP/1.1",
        "status": 200,
        "reason": "",
        "route": "main",
        "backend": target.address,
        "request_bytes": 5,
        "user_agent": "tests/1",
    }
    assert re.match(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+(Z|\+00:00)$", entry["time"])
    assert 0 <= entry["duration_ms"] < 60000
    assert entry["response_bytes"] > 0


def test_each_request_gets_exactly_one_entry_in_every_worker(vortex, backend):
    proxy = vortex(backend(), workers=2)
    for number in range(100):
        proxy.get(f"/{number}")
    entries = proxy.log(100)
    settle(0.3)
    assert len(proxy.log(100)) == 100
    assert {entry["path"] for entry in entries} == {f"/{number}" for number in range(100)}


def test_access_log_is_json_whatever_clients_send(vortex, backend):
    proxy = vortex(backend())
    proxy.get('/"quo\\te"<>{}?a="b"', {"User-Agent": 'a"b\\c\xe9\xff\t', "Referer": "\xc3\xa9"})
    proxy.raw(b"GET /\x01\xff HTTP/1.1\r\nHost: test\r\n\r\n")
    proxy.get("/" + "long" * 1900)
    entries = proxy.log(3)
    assert [entry["status"] for entry in entries] == [200, 400, 200]
    assert "\n" not in entries[0]["user_agent"]


def test_access_log_to_stdout(vortex, backend):
    proxy = vortex(backend(), access_log={"path": "stdout", "format": "json"})
    proxy.get("/to-stdout")

    def entry():
        for line in proxy.out.read_text().splitlines():
            if "/to-stdout" in line:
                return json.loads(line)
        return None

    assert wait_until(entry)["status"] == 200


def test_access_log_is_off_when_absent(vortex, backend):
    proxy = vortex(backend(), access_log=None)
    proxy.get("/not-logged")
    proxy.stop()
    assert "/not-logged" not in proxy.output()
    assert not (proxy.folder / "access.log").exists()


def test_access_log_is_opened_again_by_a_reload(vortex, backend):
    config = vortex.config(backend())
    proxy = vortex.start(config)
    proxy.get("/before")
    proxy.log(1)
    (proxy.folder / "access.log").rename(proxy.folder / "access.log.1")
    proxy.reload(config)
    proxy.get("/after")
    assert [entry["path"] for entry in proxy.log(1)] == ["/after"]


def test_last_entries_are_written_before_the_end(vortex, backend):
    proxy = vortex(backend())
    for number in range(50):
        proxy.get(f"/{number}")
    proxy.stop()
    assert len((proxy.folder / "access.log").read_text().splitlines()) == 50


def reason_of(proxy, status):
    entry = proxy.log(1)[0]
    assert entry["status"] == status
    return entry["reason"]


def test_reason_no_route(vortex, backend):
    proxy = vortex(backend(), route={"match": {"path": "/known"}})
    assert proxy.get().status == 404
    assert reason_of(proxy, 404) == "no_route"


def test_reason_connect_failed(vortex, dead):
    proxy = vortex(dead, route=NO_RETRY)
    proxy.get()
    assert reason_of(proxy, 502) == "connect_failed"


@pytest.mark.parametrize(
    "script, reason",
    [
        (refuse, ("backend_reset", "backend_closed")),
        (once(b""), ("backend_closed",)),
        (once(b"garbage\r\n\r\n"), ("bad_response",)),
    ],
    ids=["reset", "closed", "garbage"],
)
def test_reason_of_a_bad_backend(vortex, backend, script, reason):
    proxy = vortex(backend(script), route=NO_RETRY)
    proxy.request("POST", "/", body=b"x")
    assert reason_of(proxy, 502) in reason


@pytest.mark.parametrize(
    "data, status, reason",
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400, ("bad_host", "bad_request")),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX : b\r\n\r\n", 400, ("bad_request",)),
        (
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            400,
            ("bad_framing", "bad_request"),
        ),
        (b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414, ("uri_too_long",)),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 5000 + b"\r\n\r\n", 431, ("headers_too_large",)),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n", 413, ("body_too_large",)),
        (b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", 501, ("not_implemented",)),
        (b"GET / HTTP/4.0\r\nHost: a\r\n\r\n", 505, ("bad_version",)),
        (b"GET / HT", 408, ("request_timeout",)),
    ],
    ids=["no_host", "bad_field", "framing", "uri", "head", "body", "connect", "version", "timeout"],
)
def test_refused_requests_are_logged_with_their_reason(vortex, backend, data, status, reason):
    proxy = vortex(
        backend(), limits={"header_bytes": "4KiB", "body_bytes": "1KiB"}, timeouts={"header": "1s"}
    )
    with proxy.client() as client:
        client.send(data)
        client.rest()
    assert reason_of(proxy, status) in reason


def test_reason_client_gone(vortex, backend):
    target = backend(lambda conn: (conn.request(), conn.gone(30)))
    proxy = vortex(target)
    client = proxy.client()
    client.send(request("GET", "/"))
    target.wait_requests()
    client.reset()
    assert proxy.log(1)[0]["reason"] == "client_gone"


def test_backend_failure_in_the_body_is_logged_with_the_status_that_was_sent(vortex, backend):
    proxy = vortex(backend(once(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")), route=NO_RETRY)
    with proxy.client() as client:
        client.send(request("GET", "/"))
        with pytest.raises(http1.Incomplete):
            client.read()
    entry = proxy.log(1)[0]
    assert entry["status"] == 200
    assert entry["reason"].startswith("backend_")


def test_own_log_is_json_lines_when_not_on_a_terminal(vortex, backend):
    config = vortex.config(backend())
    proxy = vortex.start(config)
    proxy.reload("nonsense: true\n", good=False)
    proxy.stop()
    lines = proxy.err.read_text().splitlines()
    assert lines
    assert all(isinstance(json.loads(line), dict) for line in lines)


# Drain


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_drain_finishes_the_running_request_and_ends_with_0(vortex, backend, number):
    release = threading.Event()
    target = backend(serve(lambda r: (release.wait(30), response(b"finished"))[1]))
    proxy = vortex(target, shutdown={"drain": "30s"})
    client = proxy.client()
    client.send(request("GET", "/"))
    target.wait_requests()
    proxy.signal(number)
    wait_until(lambda: proxy.admin("/readyz").status == 503, what="readyz 503")
    assert proxy.admin("/healthz").status == 200

    def refused():
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", proxy.port)) != 0

    wait_until(refused, what="the end of accepting")
    release.set()
    answer = client.read()
    assert answer.body == b"finished"
    assert answer.closes
    assert client.ended()
    proxy.finish()


def test_drain_lets_a_running_download_and_upload_finish(vortex, backend):
    step = threading.Event()

    def script(conn):
        incoming = conn.head()
        if incoming.method == "POST":
            conn.send(echo(conn.body(incoming)))
            return
        conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\n" + b"a" * 1000000)
        step.wait(30)
        conn.send(b"b" * 1000000)

    target = backend(script)
    proxy = vortex(target, shutdown={"drain": "30s"})
    down, up = proxy.client(), proxy.client()
    down.send(request("GET", "/"))
    up.send(request("POST", "/", {"Content-Length": "100000"}) + b"c" * 50000)
    target.wait_requests(2)
    assert down.head().status == 200
    proxy.signal(signal.SIGTERM)
    wait_until(lambda: proxy.admin("/readyz").status == 503)
    step.set()
    up.send(b"c" * 50000)
    assert down.stream.exactly(2000000) == b"a" * 1000000 + b"b" * 1000000
    assert up.read().json()["length"] == 100000
    proxy.finish()


def test_drain_closes_idle_connections_at_once(vortex, backend):
    proxy = vortex(backend(), shutdown={"drain": "50s"}, timeouts={"idle": "50s", "header": "50s"})
    used, fresh = proxy.client(), proxy.client()
    used.request("GET", "/")
    proxy.signal(signal.SIGTERM)
    assert used.ended()
    fresh.close()
    proxy.finish(timeout=20)


def test_drain_is_bounded(vortex, backend):
    """What still hangs after shutdown.drain is cut, and the exit code is 0 all the same."""
    target = backend(lambda conn: (conn.request(), conn.gone(60)))
    proxy = vortex(target, shutdown={"drain": "1s"})
    client = proxy.client()
    client.send(request("GET", "/"))
    target.wait_requests()
    proxy.signal(signal.SIGTERM)
    proxy.finish(timeout=20)


def test_drain_bounds_tunnels_too(vortex, backend):
    def script(conn):
        conn.head()
        conn.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
        conn.gone(60)

    proxy = vortex(backend(script), shutdown={"drain": "1s"})
    client = proxy.client()
    client.send(request("GET", "/", {"Connection": "Upgrade", "Upgrade": "x"}))
    assert client.read().status == 101
    proxy.signal(signal.SIGTERM)
    proxy.finish(timeout=20)


def test_second_signal_exits_at_once(vortex, backend):
    target = backend(lambda conn: (conn.request(), conn.gone(60)))
    proxy = vortex(target, shutdown={"drain": "50s"})
    client = proxy.client()
    client.send(request("GET", "/"))
    target.wait_requests()
    proxy.signal(signal.SIGTERM)
    wait_until(lambda: proxy.admin("/readyz").status == 503)
    assert proxy.alive()
    proxy.signal(signal.SIGTERM)
    proxy.process.wait(15)
    proxy.checked = True


def test_connections_waiting_in_the_kernel_are_served_before_the_listener_closes(vortex, backend):
    """The proxy is stopped (SIGSTOP), clients connect and send, then SIGTERM comes before it runs again: all get an answer."""
    proxy = vortex(backend(), workers=2, shutdown={"drain": "20s"})
    proxy.get()
    proxy.signal(signal.SIGSTOP)
    clients = [proxy.client() for _ in range(20)]
    for number, client in enumerate(clients):
        client.send(request("GET", f"/{number}"))
    proxy.signal(signal.SIGTERM)
    proxy.signal(signal.SIGCONT)
    for number, client in enumerate(clients):
        assert client.read().json()["target"] == f"/{number}"
    proxy.finish()


def test_unix_listener_socket_is_removed_at_the_end_or_taken_over_at_the_next_start(
    vortex, backend, tmp_path
):
    path = tmp_path / "listen.sock"
    config = vortex.config(backend(), listeners=[{"address": f"unix:{path}"}])
    for _ in range(2):
        proxy = vortex.start(config)
        assert proxy.request("GET", "/", unix=str(path)).status == 200
        proxy.stop()


# The machine's limits


def test_soft_limit_of_open_files_is_raised_to_the_hard_one(vortex, backend):
    proxy = vortex(backend(), nofile=(256, 4000))
    limits = pathlib.Path(f"/proc/{proxy.pid}/limits").read_text()
    assert re.search(r"Max open files +4000 +4000", limits)


def test_full_file_table_pauses_accepting_without_a_spin_and_recovers(vortex, backend):
    """Three times more connections than descriptors: the proxy neither dies nor burns CPU, and serves again afterwards."""
    proxy = vortex(backend(), nofile=(128, 128), timeouts={"header": "50s", "idle": "50s"})
    assert proxy.get().status == 200
    clients = [Client(proxy.port) for _ in range(400)]
    settle(0.5)
    before = proxy.cpu_seconds()
    settle(2)
    assert proxy.cpu_seconds() - before < 0.5, "it spins"
    assert proxy.alive()
    for client in clients:
        client.close()

    def served():
        try:
            return proxy.get(timeout=3).status == 200
        except (OSError, http1.Incomplete, http1.Closed):
            return False

    wait_until(served, 30, "an answer after the connections were closed")
    assert proxy.metric("vortex_accept_pauses_total") > 0


def test_limit_of_connections_holds_and_recovers(vortex, backend):
    """limits.connections: what is too much waits unaccepted, or is closed, or gets 503; those within are not hurt, and when they
    leave there is room again."""
    proxy = vortex(backend(), limits={"connections": 10}, timeouts={"header": "50s", "idle": "50s"})
    inside = [proxy.client() for _ in range(10)]
    for client in inside:
        assert client.request("GET", "/").status == 200
    outside = proxy.client(timeout=1)
    outside.send(request("GET", "/"))
    try:
        assert outside.read().status == 503
    except (TimeoutError, http1.Closed, http1.Incomplete):
        pass
    for client in inside:
        assert client.request("GET", "/").status == 200
        client.close()

    def served():
        try:
            return proxy.get(timeout=3).status == 200
        except (OSError, http1.Incomplete, http1.Closed):
            return False

    wait_until(served, 30, "an answer after the others left")


def test_idle_proxy_uses_no_cpu(vortex, backend):
    proxy = vortex(backend(), workers=2)
    clients = [proxy.client() for _ in range(50)]
    for client in clients:
        client.request("GET", "/")
    settle(0.3)
    before = proxy.cpu_seconds()
    settle(2)
    assert proxy.cpu_seconds() - before < 0.15


def test_descriptors_are_given_back(vortex, backend):
    proxy = vortex(backend(), route={"pool": {"idle": "200ms"}})
    proxy.get()
    wait_until(lambda: proxy.metric("vortex_connections_active") == 0)
    settle(0.5)
    before = proxy.open_files()
    for _ in range(5):
        clients = [proxy.client() for _ in range(30)]
        for number, client in enumerate(clients):
            client.send((request("GET", "/"), b"BAD\r\n\r\n", b"GET / HT")[number % 3])
        for number, client in enumerate(clients):
            if number % 3 < 2:
                client.read()
            client.close()
    wait_until(lambda: proxy.open_files() <= before, what=f"no more than {before} open descriptors")


def test_workers_are_pinned_to_cores(vortex, backend):
    """One worker for each core we may use (`workers: auto`), each allowed on one core only."""
    proxy = vortex(backend(), workers="auto")
    proxy.get()
    cores = os.sched_getaffinity(0)
    pinned = []
    for task in pathlib.Path(f"/proc/{proxy.pid}/task").iterdir():
        allowed = os.sched_getaffinity(int(task.name))
        if len(allowed) == 1:
            pinned.append(next(iter(allowed)))
    if len(cores) > 1:
        assert sorted(pinned) == sorted(cores)


def test_both_workers_get_connections(vortex, backend):
    """SO_REUSEPORT spreads them; with 64 connections both must have some. Seen by the threads' CPU time."""
    proxy = vortex(backend(), workers=2)
    clients = [proxy.client() for _ in range(64)]
    begin = time.monotonic()
    while time.monotonic() - begin < 1.5:
        for client in clients:
            client.send(request("GET", "/") * 10)
        for client in clients:
            for _ in range(10):
                client.read()
    busy = 0
    for task in pathlib.Path(f"/proc/{proxy.pid}/task").iterdir():
        fields = (task / "stat").read_text().rsplit(")", 1)[1].split()
        busy += int(fields[11]) + int(fields[12]) > 0
    assert busy >= 2
