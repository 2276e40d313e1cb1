# SPDX-License-Identifier: Apache-2.0
"""Proxy-WASM plugins: our own probe, which does what a request asks for, and plugins built with real SDKs."""

import concurrent.futures
import json
import os
import re
import subprocess
import time

import grpc
import pytest

from harness.backend import response, serve
from harness.modules import ROOT, guest
from harness.proxy import binary, check, memory_slack, settle, targets
from harness.wait import wait_until

# Compiled modules of the real SDKs are large: all tests of one build share them.
CACHE = str(ROOT / "build" / "guests" / f"cache-{re.sub(r'[^a-z]+', '-', os.environ.get('VORTEX_BINARY', 'release'))[-20:]}")


def seen():
    """A backend that answers with the request it saw."""

    def answer(request):
        text = json.dumps({"method": request.method, "target": request.target, "fields": request.headers,
                           "body": request.body.decode("latin-1")})
        return response(text.encode(), [("content-type", "application/json")])

    return serve(answer)


class Echo:
    """What the backend says it saw."""

    def __init__(self, answer):
        assert answer.status == 200, (answer.status, answer.body)
        self.all = json.loads(answer.body)
        self.fields = {name.lower(): value for name, value in self.all["fields"]}
        self.target, self.body = self.all["target"], self.all["body"]


@pytest.fixture
def plugin(vortex, backend):
    """Starts a proxy with one plugin: plugin(name, config, ...)."""

    def start(name="probe", config="", routes=(), filter_options=None, backends=None, **options):
        module = {"name": name, "wasm": guest(name), "config": config, **(filter_options or {})}
        back = backends or [backend(seen())]
        main = {"name": "main", "match": {"path_prefix": "/"}, "backends": targets(*back)}
        return vortex(
            routes=[main, *routes],
            filters=[module],
            wasm={"cache": CACHE, "instances": 50},
            **options,
        )

    return start


def ask(proxy, what, target="/", headers=(), **options):
    return proxy.request(options.pop("method", "GET"), target, [("x-do", what), *headers], **options)


# Headers, bodies, answers


def test_headers_go_both_ways(plugin):
    proxy = plugin()
    answer = proxy.get("/some/where?q=1")
    echo = Echo(answer)
    assert echo.fields["x-end"] == "1"
    assert int(echo.fields["x-fields"]) >= 4
    assert answer.get("x-probe") == "1"
    assert answer.get("x-url-path") == "/some/where"
    assert answer.get("x-plugin") == "probe"
    assert answer.get("x-route") == answer.get("x-xds-route") == "main"


def test_edited_path_is_routed_and_forwarded(plugin, backend):
    other = backend(seen(), name="elsewhere")
    route = {"name": "elsewhere", "match": {"path_prefix": "/elsewhere"}, "backends": targets(other)}
    proxy = plugin(routes=[route])
    answer = ask(proxy, "path", "/start")
    assert Echo(answer).target == "/elsewhere?x=1"
    assert answer.get("x-route") == "elsewhere"
    assert len(other.requests) == 1


def test_body_of_the_request_is_edited_and_framed(plugin):
    proxy = plugin()
    with proxy.client() as client:
        for body in (b"first", b"x" * 100000):
            answer = client.request("POST", "/", [("x-do", "raise")], body, host="test")
            assert Echo(answer).body == body.decode().upper() + "!!"
        assert Echo(client.request("GET", "/after", host="test")).target == "/after"


def test_body_of_the_response_is_edited_and_framed(plugin):
    proxy = plugin()
    with proxy.client() as client:
        answer = client.request("GET", "/", [("x-do", "raise-response")], host="test")
        assert answer.body.endswith(b"!!")
        assert b'"METHOD": "GET"' in answer.body
        assert Echo(client.request("GET", "/after", host="test")).target == "/after"


def test_local_answer_is_passed_on(plugin):
    answer = ask(plugin(), "local")
    assert (answer.status, answer.body) == (418, b"short and stout")
    assert answer.get("x-local") == "yes"
    assert answer.get("content-length") == "15"
    assert answer.get("x-probe") == "1"  # its own response callbacks ran


def test_pause_that_nobody_can_end_is_a_rejection(plugin):
    proxy = plugin()
    answer = ask(proxy, "pause")
    assert answer.status == 403
    assert "error" in json.loads(answer.body)
    assert proxy.log(1)[0]["reason"] == "filter_denied"


def test_closed_stream_gets_no_answer(plugin):
    proxy = plugin()
    with proxy.client() as client:
        client.send(b"GET / HTTP/1.1\r\nhost: test\r\nx-do: close\r\n\r\n")
        assert client.ended()
    assert proxy.log(1)[0]["status"] == 0


# What reaches beyond a stream


def test_tick_resumes_a_paused_request(plugin):
    echo = Echo(ask(plugin(config="tick"), "wait-for-tick"))
    assert echo.fields["x-from-tick"] == "1"


def test_shared_data_counts_over_workers(plugin):
    proxy = plugin(workers=2)
    counts = sorted(int(ask(proxy, "count").get("x-count")) for _ in range(20))
    assert counts == list(range(1, 21))


def test_queue_reaches_the_listener(plugin):
    proxy = plugin(config="queue", workers=2)
    for _ in range(5):
        Echo(ask(proxy, "enqueue"))
    wait_until(lambda: proxy.output().count("filter probe: job done") == 5, 15, "five items in the log")


def test_plugins_with_one_vm_id_share(vortex, backend):
    """Two plugins count together, one apart; each answers for the routes that name it."""
    one = {"wasm": guest("probe"), "config": ""}
    filters = [
        {**one, "name": "a", "vm_id": "together"},
        {**one, "name": "b", "vm_id": "together"},
        {**one, "name": "c"},
    ]
    back = targets(backend(seen()))
    routes = [{"name": x, "match": {"path": f"/{x}"}, "backends": back, "filters": [x]} for x in "abc"]
    proxy = vortex(routes=routes, filters=filters, wasm={"cache": CACHE, "instances": 50})
    counts = [int(ask(proxy, "count", f"/{x}").get("x-count")) for x in "abcab"]
    assert counts == [1, 2, 1, 3, 4]


def test_plugin_that_no_route_names_does_its_own_work(vortex, backend):
    filters = [{"name": "busy", "wasm": guest("probe"), "config": "tick"}]
    route = {"name": "main", "match": {"path_prefix": "/"}, "backends": targets(backend(seen())), "filters": []}
    proxy = vortex(routes=[route], filters=filters, wasm={"cache": CACHE, "instances": 50})
    wait_until(lambda: proxy.metric("probe_gauge") > 2, 15, "ticks")
    assert proxy.get().get("x-probe") is None


def test_metrics_of_plugins_are_on_the_page(plugin):
    proxy = plugin(workers=2)
    for _ in range(7):
        proxy.get()
    proxy.wait_metric("probe_requests", 7)
    assert proxy.metric("vortex_filter_duration_seconds_count", filter="probe") >= 14
    assert proxy.metric("vortex_filter_traps_total", filter="probe") == 0


# Calls of its own


@pytest.fixture
def asked(backend):
    """A server that plugins ask, and its route."""

    def start(status, body=b"alice"):
        server = backend(serve(lambda request: response(body, status=f"{status} Some")), name="auth")
        return server, {"name": "auth", "backends": targets(server)}

    return start


@pytest.mark.parametrize("by", ["route", "backend"])
def test_http_call_decides(plugin, asked, by):
    server, route = asked(200)
    proxy = plugin(routes=[route])
    upstream = "auth" if by == "route" else server.address
    echo = Echo(ask(proxy, "call", headers=[("x-to", upstream)]))
    assert echo.fields["x-answer"] == "alice"
    call = server.requests[0]
    assert (call.method, call.target, call.body) == ("POST", "/check", b"question")
    assert call.get("host") == "auth.example"
    assert call.get("x-asked") == "yes"


def test_http_call_refuses(plugin, asked):
    _, route = asked(403, b"go away")
    answer = ask(plugin(routes=[route]), "call", headers=[("x-to", "auth")])
    assert (answer.status, answer.body) == (401, b"go away")


def test_http_call_to_nobody(plugin, dead):
    route = {"name": "auth", "backends": targets(dead)}
    proxy = plugin(routes=[route])
    answer = ask(proxy, "call", headers=[("x-to", "auth")])
    assert answer.status == 401  # it was told 503, with a text
    assert b"upstream connect error" in answer.body
    assert ask(proxy, "call", headers=[("x-to", "unknown")]).status == 403  # refused, so nothing can resume it


def test_http_call_that_takes_too_long(plugin, blackhole):
    route = {"name": "auth", "backends": targets(blackhole), "timeouts": {"connect": "30s"}}
    answer = ask(plugin(routes=[route]), "call", headers=[("x-to", "auth")])
    assert (answer.status, answer.body) == (401, b"upstream request timeout")


def test_call_made_while_it_starts(plugin, asked):
    server, route = asked(200)
    proxy = plugin(config="call auth", routes=[route])
    wait_until(lambda: "an answer came for nobody" in proxy.output(), 15, "the answer to the call")
    assert server.requests[0].target == "/at-start"


# gRPC


class Service(grpc.GenericRpcHandler):
    """/t.T/*: bytes as they are."""

    def service(self, details):
        unary, both = grpc.unary_unary_rpc_method_handler, grpc.stream_stream_rpc_method_handler
        kinds = {"Turn": unary(self.turn), "Fail": unary(self.fail), "Wait": unary(self.wait), "Twice": both(self.twice)}
        return kinds.get(details.method.rsplit("/", 1)[1])

    def turn(self, message, context):
        assert ("x-meta", "data") in [(item.key, item.value) for item in context.invocation_metadata()]
        return message[::-1]

    def fail(self, _, context):
        context.abort(grpc.StatusCode.CANCELLED, "as told \N{SNOWMAN}%")

    def wait(self, message, _):
        time.sleep(3)
        return message

    def twice(self, messages, _):
        for message in messages:
            yield message * 2


@pytest.fixture
def grpc_route():
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        server = grpc.server(pool, handlers=[Service()])
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        yield {"name": "auth", "protocol": "http2", "backends": targets(f"127.0.0.1:{port}")}
        server.stop(None).wait()


@pytest.mark.parametrize(
    ("what", "method", "shown"),
    [
        ("grpc-call", "Turn", "[DELLECNAC]"),
        ("grpc-call", "Fail", "1 as told \N{SNOWMAN}%"),
        ("grpc-call", "Wait", "4 response_timeout"),
        ("grpc-call", "Absent", "12 Method not found!"),
        ("grpc-stream", "Twice", "<[abab][cdecde]>0 "),
    ],
)
def test_grpc(plugin, grpc_route, what, method, shown):
    proxy = plugin(routes=[grpc_route])
    echo = Echo(ask(proxy, what, headers=[("x-to", "auth"), ("x-method", method)]))
    assert echo.fields["x-grpc"].encode("latin-1").decode() == shown.strip()


def test_grpc_to_whom_it_cannot_be(plugin, asked, dead):
    _, http1 = asked(200)
    route = {"name": "dead", "protocol": "http2", "backends": targets(dead)}
    proxy = plugin(routes=[http1, route])

    def call(to):
        return ask(proxy, "grpc-call", headers=[("x-to", to), ("x-method", "Turn")])

    assert (call("unknown").status, call("unknown").body) == (599, b"4")
    assert call("auth").status == 599  # it speaks HTTP/1
    assert Echo(call("dead")).fields["x-grpc"] == "14 connect_failed"


# Failures


def until_back(proxy):
    wait_until(lambda: proxy.get().status == 200, 15, "a fresh instance")


@pytest.mark.parametrize(
    ("what", "word"),
    [("trap", "unreachable"), ("spin", "deadline"), ("nest", "stack"), ("grow", "trap"), ("trap-response", "trap")],
)
def test_failure_costs_one_request(plugin, what, word):
    proxy = plugin()
    answer = ask(proxy, what)
    assert answer.status == 500
    assert "error" in json.loads(answer.body)
    until_back(proxy)
    assert proxy.metric("vortex_filter_traps_total", filter="probe") == 1
    assert proxy.metric("vortex_filter_isolated", filter="probe") == 0
    line = next(line for line in proxy.output().splitlines() if "its instance on worker" in line)
    assert word in line
    assert "proxy_on_" in line or "nest" in line  # the guest's backtrace


def test_failure_in_the_log_callback_does_not_show(plugin):
    proxy = plugin()
    Echo(ask(proxy, "trap-log"))
    proxy.wait_metric("vortex_filter_traps_total", 1, filter="probe")
    until_back(proxy)


@pytest.mark.parametrize(
    ("place", "status"),
    [("create", 500), ("request-body", 500), ("response-body", 500), ("done", 200), ("delete", 200)],
)
def test_trap_in_each_callback_of_a_stream(plugin, place, status):
    proxy = plugin(config=f"trap-in {place}")
    answer = proxy.request("POST", "/", [], b"some text")
    assert answer.status == status or place == "response-body"
    proxy.wait_metric("vortex_filter_traps_total", 1, filter="probe")


def test_trap_outside_of_streams(plugin, asked):
    _, route = asked(200)
    proxy = plugin(config="trap-in tick")
    wait_until(lambda: proxy.metric("vortex_filter_traps_total", filter="probe") >= 1, 15, "a trap")
    proxy = plugin(config="trap-in queue")
    ask(proxy, "enqueue")
    proxy.wait_metric("vortex_filter_traps_total", 1, filter="probe")
    proxy = plugin(config="trap-in answer", routes=[route])
    assert ask(proxy, "call", headers=[("x-to", "auth")]).status == 500
    proxy.wait_metric("vortex_filter_traps_total", 1, filter="probe")
    until_back(proxy)


def test_open_goes_on_without_the_plugin(plugin):
    proxy = plugin(filter_options={"on_failure": "open"})
    echo = Echo(ask(proxy, "trap"))
    assert "x-do" in echo.fields
    until_back(proxy)


def test_failing_again_and_again_is_isolated_and_harms_nobody(plugin):
    proxy = plugin(filter_options={"on_failure": "open"})
    for count in range(1, 6):
        ask(proxy, "trap")
        proxy.wait_metric("vortex_filter_traps_total", count, filter="probe")
        if count < 5:
            wait_until(lambda: proxy.get().get("x-probe") == "1", 15, "a fresh instance")
    proxy.wait_metric("vortex_filter_isolated", 1, filter="probe")
    assert proxy.get().get("x-probe") is None


def test_other_streams_of_a_dead_instance_fail_alone(plugin, blackhole):
    route = {"name": "auth", "backends": targets(blackhole), "timeouts": {"connect": "30s"}}
    proxy = plugin(routes=[route])
    with proxy.client() as waiting:
        waiting.send(b"GET / HTTP/1.1\r\nhost: test\r\nx-do: call\r\nx-to: auth\r\n\r\n")
        settle(0.2)
        assert ask(proxy, "trap").status == 500
        assert waiting.read().status == 500
    until_back(proxy)


def test_bad_pointers_are_refused(plugin):
    assert Echo(ask(plugin(), "pointers")).fields["x-status"] == "6"


def test_what_does_not_start_is_refused(vortex, backend, tmp_path):
    def refusal(**module):
        config = vortex.config(backend(), filters=[{"name": "probe", **module}], wasm={"cache": "off"})
        code, places, output = check(tmp_path, config)
        assert code == 2
        assert places
        return output

    probe = guest("probe")
    limits = {"start_time": "200ms"}
    assert "launch_rocket" in refusal(wasm=guest("unknown_import"))
    assert "does not accept its configuration" in refusal(wasm=probe, config="refuse")
    assert "unreachable" in refusal(wasm=probe, config="trap")
    assert "deadline" in refusal(wasm=probe, config="spin", limits=limits)
    assert "proxy_abi_version" in refusal(wasm=guest("wrong_abi"))
    text = tmp_path / "text.wasm"
    text.write_text("not a module")
    assert "not a WebAssembly module" in refusal(wasm=str(text))


def test_too_little_address_space_is_said(vortex, backend, tmp_path):
    if memory_slack() > 1:
        return  # a sanitizer needs more of it than the pool
    config = vortex.config(backend(), filters=[{"name": "probe", "wasm": guest("probe")}], wasm={"cache": "off"})
    path = tmp_path / "vortex.yaml"
    path.write_text(json.dumps(config))
    done = subprocess.run(["prlimit", "--as=8000000000", binary(), "check", "-c", str(path)],
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 2
    assert "lower wasm.instances" in done.stderr


# Hot swap


def test_swaps_under_load_lose_nothing(plugin, vortex):
    proxy = plugin(config="a", workers=2)
    config = json.loads(json.dumps(proxy.config))
    with proxy.client() as client:
        for n in range(20):
            config["filters"][0]["config"] = f"version {n}"
            proxy.write(config)
            before = proxy.reloads(True)
            proxy.signal(1)
            while proxy.reloads(True) == before:
                answer = client.request("GET", "/", host="test")
                assert answer.status == 200
                assert answer.get("x-probe") == "1"
    wait_until(lambda: proxy.output().count("filter probe: deleted") == 2 * 20, 15, "the end of all old instances")
    assert proxy.metric("vortex_filter_traps_total", filter="probe") == 0


def test_request_ends_with_the_plugin_it_began_with(plugin, asked):
    server, route = asked(200)
    proxy = plugin(config="tick", routes=[route])
    config = json.loads(json.dumps(proxy.config))
    config["filters"] = []
    with proxy.client() as client:
        client.send(b"POST / HTTP/1.1\r\nhost: test\r\nx-do: raise\r\ncontent-length: 6\r\n\r\nabc")
        settle(0.2)
        proxy.reload(config)
        client.send(b"def")
        answer = client.read()
    assert Echo(answer).body == "ABCDEF!!"
    assert answer.get("x-probe") == "1"
    assert proxy.get().get("x-probe") is None
    assert server.requests == []


def test_bad_module_leaves_the_old_one_running(plugin, tmp_path):
    proxy = plugin()
    config = json.loads(json.dumps(proxy.config))
    config["filters"][0]["config"] = "refuse"
    proxy.reload(config, good=False)
    assert proxy.get().get("x-probe") == "1"
    assert "does not accept its configuration" in proxy.output()


# Real SDKs: their guests are built on the way, and the Go one takes long to compile for the proxy too

built = pytest.mark.timeout(600)


@built
def test_go_sdk(plugin):
    proxy = plugin("go", config="hello")
    echo = Echo(proxy.request("POST", "/x?y=1", [], b"some text"))
    assert echo.fields["x-go"] == "hello"
    assert echo.body == "SOME TEXT (by Go)"
    answer = proxy.get("/x?y=1")
    assert answer.get("x-go-path") == "/x?y=1"
    denied = proxy.get("/", [("x-deny", "1")])
    assert (denied.status, denied.body, denied.get("x-by")) == (403, b"denied by Go", "go")
    proxy.wait_metric("go_requests", 3)


@built
def test_rust_sdk(plugin, asked):
    server, route = asked(200, b"bob")
    proxy = plugin("rust", config="auth", routes=[route], workers=2)
    answer = proxy.get("/", [("authorization", "token")])
    echo = Echo(answer)
    assert echo.fields["x-user"] == "bob"
    assert server.requests[0].get("x-token") == "token"
    assert answer.get("x-rust") == "yes"
    counts = [int(Echo(proxy.get()).fields["x-count"]) for _ in range(10)]
    assert sorted(counts) == list(range(2, 12))
    wait_until(lambda: proxy.output().count("filter rust: ticked") == 2, 15, "one tick a worker")


@built
def test_assemblyscript_sdk(plugin):
    proxy = plugin("assemblyscript", config="hello", filter_options={"root_id": "add_header"})
    assert proxy.get().get("x-as") == "hello"
