# SPDX-License-Identifier: Apache-2.0
"""Filters from outside: `execute` modules and Proxy-WASM plugins in the path of real requests, and their swapping."""

import threading

import pytest

from harness import http1
from harness.backend import echo, response, serve
from harness.client import request
from harness.guests import (
    CONTINUE,
    PAUSE,
    REQUEST,
    REQUEST_BODY,
    RESPONSE,
    RESPONSE_BODY,
    Plugin,
    build,
    execute,
)
from harness.http2 import Client
from harness.proxy import check, targets
from harness.wait import wait_until


@pytest.fixture
def filtered(vortex, backend, tmp_path):
    """Starts a proxy whose filters are these modules, given as text: filtered(name=wat, ..., options={name: {...}})."""

    def start(script=None, options=None, route=None, **modules):
        filters = [
            {"name": name, "wasm": build(tmp_path, name, wat), **(options or {}).get(name, {})}
            for name, wat in modules.items()
        ]
        return vortex(backend(script), filters=filters, route=route)

    return start


def marker(value):
    """A plugin that leaves its mark on requests and responses."""
    plugin = Plugin()
    plugin.on("request_headers", plugin.add(REQUEST, "x-mark", value), CONTINUE)
    plugin.on("response_headers", plugin.add(RESPONSE, "x-mark", value), CONTINUE)
    return plugin.wat()


def marks(seen):
    return [value for name, value in seen["headers"] if name.lower() == "x-mark"]


# execute


def test_execute_passes_and_answers(filtered):
    proxy = filtered(gate=execute("(i32.const 200)"))
    assert proxy.get("/a").json()["target"] == "/a"


@pytest.mark.parametrize(("status", "reason"), [(401, "Unauthorized"), (429, "Too Many Requests"), (503, "Service Unavailable")])
def test_a_status_of_execute_is_the_answer(filtered, status, reason):
    proxy = filtered(gate=execute(f"(i32.const {status})"))
    answer = proxy.get()
    assert (answer.status, answer.json(), answer.get("content-type")) == (status, {"error": reason}, "application/json")
    assert proxy.log(1)[0]["reason"] == "filter_answered"


ENDLESS = "(loop $again (br $again)) (i32.const 200)"


@pytest.mark.parametrize("body", ["unreachable", "(i32.const 0)", "(i32.const 302)", ENDLESS])
def test_execute_that_fails(filtered, body):
    proxy = filtered(
        bad=execute(body, '(memory (export "memory") 1)'), options={"bad": {"limits": {"time": "2ms"}}}
    )
    answer = proxy.get()
    assert (answer.status, answer.json()) == (500, {"error": "Internal Server Error"})
    assert proxy.log(1)[0]["reason"] == "filter_failed"
    assert proxy.metric("vortex_filter_traps_total", filter="bad") == 1


def test_execute_that_fails_open(filtered):
    proxy = filtered(bad=execute("unreachable"), options={"bad": {"on_failure": "open"}})
    for turn in range(10):
        assert proxy.get(f"/{turn}").json()["target"] == f"/{turn}"
    assert proxy.metric("vortex_filter_isolated", filter="bad") == 1
    assert proxy.metric("vortex_filter_traps_total", filter="bad") < 10  # it is left alone for a while


def test_each_execute_has_a_sandbox_of_its_own(filtered):
    counter = execute(
        "(global.set $n (i32.add (global.get $n) (i32.const 1)))"
        " (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1)))"
        " (select (i32.const 200) (i32.const 500)"
        "  (i32.eq (i32.add (global.get $n) (i32.load (i32.const 0))) (i32.const 2)))",
        '(memory (export "memory") 1) (global $n (mut i32) (i32.const 0))',
    )
    proxy = filtered(counter=counter)
    assert [proxy.get().status for _ in range(5)] == [200] * 5


# Plugins


def test_the_chain_passes_both_ways(filtered):
    proxy = filtered(one=marker("1"), two=marker("2"))
    answer = proxy.get()
    assert marks(answer.json()) == ["1", "2"]
    assert answer.all("x-mark") == ["2", "1"]


def test_routes_name_their_filters(vortex, backend, tmp_path):
    target = backend()
    filters = [{"name": name, "wasm": build(tmp_path, name, marker(name))} for name in ("a", "b")]
    routes = [
        {"name": path, "match": {"path_prefix": f"/{path}"}, "backends": targets(target), **names}
        for path, names in (("all", {}), ("none", {"filters": []}), ("turned", {"filters": ["b", "a"]}))
    ]
    proxy = vortex(target, routes=routes, filters=filters)
    assert marks(proxy.get("/all").json()) == ["a", "b"]
    assert marks(proxy.get("/none").json()) == []
    assert marks(proxy.get("/turned").json()) == ["b", "a"]


def test_a_pause_that_nothing_ends_is_a_rejection(filtered):
    proxy = filtered(deny=Plugin().on("request_headers", PAUSE).wat())
    answer = proxy.get()
    assert (answer.status, answer.json()) == (403, {"error": "Forbidden"})
    assert proxy.log(1)[0]["reason"] == "filter_denied"


def test_an_answer_of_its_own_is_passed_on(filtered):
    plugin = Plugin()
    plugin.on("request_headers", plugin.answer(418, "short and stout"), CONTINUE)
    proxy = filtered(teapot=plugin.wat())
    with proxy.client() as client:
        for _ in range(2):
            answer = client.request("GET", "/")
            assert (answer.status, answer.body, answer.get("content-length")) == (418, b"short and stout", "15")


def test_edited_paths_are_routed_again(vortex, backend, tmp_path):
    one, two = backend(name="one"), backend(name="two")
    plugin = Plugin()
    plugin.on("request_headers", plugin.replace(REQUEST, ":path", "/two/x"), CONTINUE)
    routes = [
        {"name": "one", "match": {"path_prefix": "/one"}, "backends": targets(one)},
        {"name": "two", "match": {"path_prefix": "/two"}, "backends": targets(two), "filters": []},
    ]
    proxy = vortex(one, routes=routes, filters=[{"name": "move", "wasm": build(tmp_path, "move", plugin.wat())}])
    assert proxy.get("/one").json()["target"] == "/two/x"
    assert not one.requests


@pytest.mark.parametrize("size", [5, 100, 300_000])
@pytest.mark.parametrize("chunked", [False, True])
def test_an_edited_request_is_framed_anew(filtered, size, chunked):
    """It neither removes Content-Length nor holds the body: what it adds must not leak into the next request."""
    plugin = Plugin()
    insert = plugin.set_body(REQUEST_BODY, "GET /smuggled HTTP/1.1\r\n\r\n", start=0, length=0)
    plugin.on("request_body", insert, CONTINUE)
    proxy = filtered(edit=plugin.wat())
    with proxy.client() as client:
        for turn in range(3):
            body = bytes(size)
            if chunked:
                encoded = [("Transfer-Encoding", "chunked")]
                answer = client.request("POST", f"/{turn}", encoded, http1.chunked(body))
            else:
                answer = client.request("POST", f"/{turn}", body=body)
            seen = answer.json()
            assert (seen["method"], seen["target"]) == ("POST", f"/{turn}")
            assert seen["length"] > size


@pytest.mark.parametrize("hold", [False, True])
@pytest.mark.parametrize("size", [0, 7, 200_000])
def test_an_edited_response_is_framed_anew(filtered, hold, size):
    plugin = Plugin()
    tail = plugin.set_body(RESPONSE_BODY, "<tail>", start=0x7FFFFFFF, length=0)
    at_end = f"(if (local.get $end) (then {tail}))"
    result = "(i32.eqz (local.get $end))" if hold else CONTINUE
    plugin.on("response_body", at_end, result)
    proxy = filtered(serve(lambda _: response(b"x" * size)), edit=plugin.wat())
    with proxy.client() as client:
        for _ in range(3):
            answer = client.request("GET", "/")
            assert answer.body == (b"x" * size + b"<tail>" if size else b"")


def test_nobody_knows_the_length_of_a_body_that_would_have_been_edited(filtered):
    """The answer to a HEAD does not tell the length before the edits (RFC 9110 8.6), but does where nobody edits."""
    plugin = Plugin()
    plugin.on("response_body", plugin.set_body(RESPONSE_BODY, "<head>", start=0, length=0), CONTINUE)

    answers = []
    for module in (plugin.wat(), marker("1")):
        with filtered(one=module).client() as client:
            answers.append(client.request("HEAD", "/"))
    assert [answer.status for answer in answers] == [200, 200]
    assert answers[0].get("content-length") is None
    assert int(answers[1].get("content-length")) > 0


@pytest.mark.parametrize("size", [10, 200_000])
def test_the_same_over_http2(filtered, size):
    """Held and edited both ways, on streams side by side."""
    plugin = Plugin()
    hold = "(i32.eqz (local.get $end))"
    for which, callback in ((REQUEST_BODY, "request_body"), (RESPONSE_BODY, "response_body")):
        tail = plugin.set_body(which, "<tail>", start=0x7FFFFFFF, length=0)
        plugin.on(callback, f"(if (local.get $end) (then {tail}))", hold)
    proxy = filtered(serve(lambda seen: response(seen.body)), edit=plugin.wat())
    client = Client(proxy.port)
    body = bytes(range(256)) * (size // 256) + b"end"
    for _ in range(3):
        answer = client.request("POST", "/", body=body)
        assert (answer.status, answer.body) == (200, body + b"<tail><tail>")
    client.close()


def test_too_much_for_a_filter_to_hold(filtered):
    plugin = Plugin().on("request_body", PAUSE)
    proxy = filtered(hold=plugin.wat(), options={"hold": {"limits": {"body": "1KiB"}}})
    answer = proxy.request("POST", "/", body=b"x" * 5000)
    assert (answer.status, answer.json()) == (413, {"error": "Content Too Large"})


def test_a_body_decides_under_held_headers(filtered):
    """on_headers_pause: body_continues. It adds a header when it has seen all of the body."""
    plugin = Plugin()
    plugin.on("request_headers", "(i32.eqz (local.get $end))")
    note = plugin.add(REQUEST, "x-seen", "all")
    plugin.on("request_body", f"(if (local.get $end) (then {note}))", "(i32.eqz (local.get $end))")
    proxy = filtered(late=plugin.wat(), options={"late": {"on_headers_pause": "body_continues"}})
    seen = proxy.request("POST", "/", body=b"x" * 3000).json()
    assert ["x-seen", "all"] in [[name.lower(), value] for name, value in seen["headers"]]
    assert seen["length"] == 3000


def test_a_plugin_that_traps_is_started_anew(filtered):
    plugin = Plugin()
    trap = '(if (i32.eqz (call $get (i32.const 0) %s (i32.const 0) (i32.const 4))) (then unreachable))'
    plugin.on("request_headers", trap % plugin.text("x-trap"), CONTINUE)
    proxy = filtered(fragile=plugin.wat())
    assert proxy.get().status == 200
    assert proxy.get("/", [("X-Trap", "1")]).status == 500
    proxy.wait_metric("vortex_filter_traps_total", 1, filter="fragile")

    def recovered():
        return proxy.get().status == 200

    wait_until(recovered, 15, "a fresh instance")


# Coming and going


def with_filter(config, path):
    return {**config, "filters": [{"name": "swap", "wasm": path}]}


def test_swap_by_reload(vortex, backend, tmp_path):
    """A request that began with the old plugin ends with it, the next one has the new."""
    release, arrived = threading.Event(), threading.Event()

    def slow(seen):
        if seen.target == "/slow":
            arrived.set()
            release.wait(15)
        return echo(seen)

    target = backend(serve(slow))
    config = with_filter(vortex.config(target), build(tmp_path, "swap", marker("old")))
    proxy = vortex.start(config)
    waiting = proxy.client()
    waiting.send(request("GET", "/slow"))
    assert arrived.wait(15)
    build(tmp_path, "swap", marker("new"))  # the same file, other bytes
    proxy.reload(config)
    assert marks(proxy.get("/").json()) == ["new"]
    release.set()
    answer = waiting.read()
    assert (marks(answer.json()), answer.get("x-mark")) == (["old"], "old")
    assert proxy.get("/").get("x-mark") == "new"


@pytest.mark.parametrize(
    "bad",
    [
        "not a module",
        '(module (import "env" "no_such_call" (func)) (func (export "proxy_abi_version_0_2_1")))',
        '(module (func (export "nothing")))',
        '(module (func (export "execute") (param i32)))',
        '(module (memory (export "memory") 1) (func (export "proxy_abi_version_0_2_1"))'
        ' (func (export "proxy_on_configure") (param i32 i32) (result i32) (i32.const 0)))',
        '(module (memory (export "memory") 1) (func (export "proxy_abi_version_0_2_1"))'
        ' (func (export "proxy_on_vm_start") (param i32 i32) (result i32) unreachable))',
    ],
)
def test_a_bad_module_is_refused_and_the_old_one_stays(vortex, backend, tmp_path, bad):
    config = with_filter(vortex.config(backend()), build(tmp_path, "swap", marker("old")))
    proxy = vortex.start(config)
    if bad.startswith("("):
        build(tmp_path, "swap", bad)
    else:
        (tmp_path / "swap.wasm").write_text(bad)
    proxy.reload(config, good=False)
    assert marks(proxy.get().json()) == ["old"]
    assert "filter swap" in proxy.output() or "swap.wasm" in proxy.output()
    code, places, output = check(tmp_path, config)
    assert (code, len(places)) == (2, 1), output


def test_swaps_under_load(vortex, backend, tmp_path):
    """Two modules in turn, fifty times: no request fails, and none sees anything but one of them, whole."""
    config = with_filter(vortex.config(backend(), workers=2), build(tmp_path, "swap", marker("0")))
    proxy = vortex.start(config)
    failures, counts, done = [], [0], threading.Event()

    def run(client):
        try:
            while not done.is_set():
                answer = client.request("POST", "/", body=b"x" * 1000)
                assert answer.status == 200
                assert marks(answer.json()) == [answer.get("x-mark")]
                counts[0] += 1
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(proxy.client(),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for turn in range(1, 50):
        build(tmp_path, "swap", marker(str(turn)))
        proxy.reload(config)
        assert proxy.get().get("x-mark") == str(turn)
    done.set()
    for thread in threads:
        thread.join()
    assert not failures, failures
    assert counts[0] > 50


def test_a_cache_that_cannot_be_written_is_mentioned_once(vortex, backend, tmp_path):
    modules = [build(tmp_path, name, execute(f"(i32.const {code})")) for name, code in (("a", 200), ("b", 403))]
    filters = [{"name": str(number), "wasm": module} for number, module in enumerate(modules)]
    proxy = vortex(backend(), filters=filters, wasm={"cache": "/proc/none"})
    assert proxy.get().status == 403
    assert proxy.output().count("compiled modules cannot be kept in /proc/none") == 1
