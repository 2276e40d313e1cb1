# SPDX-License-Identifier: Apache-2.0
"""How plugins end: one that asks for time, by returning false from proxy_on_done, is waited for until it calls proxy_done,
but not for ever. The plugin is tests/guests/lingers.c; its configuration says what it does with its time."""

import json
import signal
import threading
import time

import pytest

from harness.backend import response, serve
from harness.modules import guest
from harness.proxy import command, memory_slack, targets
from harness.wait import wait_until

DELETED = "filter lingers: deleted"


@pytest.fixture
def lingers(vortex, backend, tmp_path):
    """Starts a proxy with the plugin: lingers(mode, ...). `proxy.collector` is whom it sends its last words."""

    def start(mode, answer=None, limits=None, instances=100, **options):
        collector = backend(serve(answer or (lambda request: response(b"good bye"))), name="collector")
        module = {"name": "lingers", "wasm": guest("lingers"), "config": mode, "limits": limits or {}}
        main = {"name": "main", "match": {"path_prefix": "/"}, "backends": targets(backend())}
        proxy = vortex(
            routes=[main, {"name": "collector", "backends": targets(collector)}],
            filters=[module],
            admin={"socket": str(tmp_path / "admin.sock")},
            wasm={"instances": instances},
            **options,
        )
        proxy.collector = collector
        assert proxy.get().status == 200
        return proxy

    return start


def without_filters(proxy, keep_collector=True):
    config = json.loads(json.dumps(proxy.config))
    config["filters"] = []
    if not keep_collector:
        config["routes"] = config["routes"][:1]
    return config


def dump(proxy):
    done = command("stats", "--verbose", "--socket", proxy.config["admin"]["socket"], cwd=proxy.folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


def push_another(proxy):
    """The same module with other bytes: a custom section more."""
    other = proxy.folder / f"other-{time.monotonic_ns()}.wasm"
    name = other.stem.encode()
    with open(guest("lingers"), "rb") as module:
        other.write_bytes(module.read() + bytes([0, len(name) + 1, len(name)]) + name)
    done = command("plugin", "push", str(other), "--socket", proxy.config["admin"]["socket"], cwd=proxy.folder)
    assert done.returncode == 0, done.stderr


def count(proxy, text):
    return proxy.output().count(text)


def expect_deleted(proxy, times=1):
    wait_until(lambda: count(proxy, DELETED) == times, 20, f"the end of {times} instances")
    assert "not right" not in proxy.output()


# At a reload


def test_timer_runs_on_until_it_is_done(lingers):
    proxy = lingers("tick", workers=2)
    proxy.reload(without_filters(proxy))
    expect_deleted(proxy, 2)
    assert proxy.metric("vortex_filter_traps_total") == 0


def test_last_words_are_sent_and_heard(lingers):
    proxy = lingers("call collector")
    proxy.reload(without_filters(proxy))
    expect_deleted(proxy)
    assert count(proxy, "filter lingers: heard") == 1
    assert [(r.target, r.body) for r in proxy.collector.requests] == [("/last-words", b"so long")]


def test_last_words_reach_a_route_that_has_gone(lingers):
    proxy = lingers("call collector")
    proxy.reload(without_filters(proxy, keep_collector=False))
    expect_deleted(proxy)
    assert count(proxy, "filter lingers: heard") == 1


def test_it_shows_while_it_is_waited_for(lingers):
    go_on = threading.Event()

    def answer(request):
        go_on.wait(20)
        return response(b"good bye")

    proxy = lingers("call collector", answer)
    config = json.loads(json.dumps(proxy.config))
    config["filters"][0]["config"] = "none"
    proxy.reload(config)
    proxy.wait_metric("vortex_filter_ending", 1, filter="lingers")
    text = dump(proxy)
    assert "filter lingers: replaced " in text and "1 instances are ending" in text
    assert "superseded, used by 0 and kept by 1 of 2 threads" in text
    assert proxy.get().status == 200
    assert DELETED not in proxy.output()
    go_on.set()
    expect_deleted(proxy)
    proxy.wait_metric("vortex_filter_ending", 0, filter="lingers")
    wait_until(lambda: "superseded" not in dump(proxy), 10, "the end of the old configuration")


def test_it_is_not_waited_for_for_ever(lingers):
    proxy = lingers("never", limits={"end_time": "300ms"})
    proxy.reload(without_filters(proxy))
    expect_deleted(proxy)
    assert "has not called proxy_done within 300 ms (limits.end_time)" in proxy.output()


@pytest.mark.parametrize("how", ["trap", "trap-at-once", "trap-delete"])
def test_it_dies_while_it_ends(lingers, how):
    proxy = lingers(how)
    proxy.reload(without_filters(proxy))
    wait_until(lambda: "it was about to end" in proxy.output(), 15, "its death")
    assert DELETED not in proxy.output()
    wait_until(lambda: "superseded" not in dump(proxy), 10, "the end of the old configuration")
    assert proxy.get().status == 200


def test_it_may_come_back_while_it_is_waited_for(lingers):
    proxy = lingers("never", limits={"end_time": "2s"})
    whole = json.loads(json.dumps(proxy.config))
    proxy.reload(without_filters(proxy))
    # Until the worker has let go of the old configuration, its plugin would simply be taken on.
    wait_until(lambda: count(proxy, "filter lingers: done") == 1, 15, "the question to the instance")
    proxy.reload(whole)  # the same plugin again: another instance
    assert proxy.get().status == 200
    expect_deleted(proxy)
    assert proxy.get().status == 200
    assert count(proxy, DELETED) == 1


def test_streams_may_ask_for_time_too(lingers):
    proxy = lingers("none", limits={"end_time": "300ms"})
    for _ in range(3):
        assert proxy.get("/", [("x-linger", "yes")]).status == 200
    assert proxy.get("/", [("x-linger", "never")]).status == 200
    wait_until(lambda: count(proxy, "stream deleted") == 5, 15, "the end of all streams")
    assert "not right" not in proxy.output()


# At a push


def test_pushes_wait_too(lingers):
    proxy = lingers("call collector")
    push_another(proxy)
    expect_deleted(proxy)
    assert count(proxy, "filter lingers: heard") == 1
    assert proxy.get().status == 200


def test_a_storm_of_pushes_is_bounded(lingers):
    """Sixteen plugins may end at a time, and their instances take a quarter of wasm.instances: 40 / 4 on two workers are 5."""
    proxy = lingers("never", limits={"end_time": "10m"}, workers=2, instances=40, shutdown={"drain": "300ms"})
    client = proxy.client()
    push_another(proxy)
    before = None
    for turn in range(60):
        push_another(proxy)
        assert client.request("GET", "/", host="test").status == 200
        if turn == 30:  # each place of the pool has been used by now, and keeps its memory
            before = proxy.rss_bytes()
    wait_until(lambda: count(proxy, DELETED) == 2 * (61 - 5), 20, "the end of all but five")
    assert proxy.metric("vortex_filter_ending", filter="lingers") == 10
    assert "because too many others wait" in proxy.output()
    assert proxy.rss_bytes() - before < 8 * 1024 * 1024 * memory_slack()


def test_no_more_than_sixteen_end_at_a_time(lingers):
    """However many instances there may be."""
    proxy = lingers("never", limits={"end_time": "10m"}, instances=200, shutdown={"drain": "300ms"})
    for _ in range(20):
        push_another(proxy)
    wait_until(lambda: count(proxy, DELETED) == 20 - 16, 20, "the end of all but sixteen")
    assert proxy.metric("vortex_filter_ending", filter="lingers") == 16


# At the end of the process


def test_the_drain_waits(lingers):
    proxy = lingers("call collector", workers=2)
    proxy.stop()
    assert count(proxy, DELETED) == 2
    assert count(proxy, "filter lingers: heard") == 2


def test_the_drain_waits_no_longer_than_it_may(lingers):
    proxy = lingers("never", limits={"end_time": "10m"}, shutdown={"drain": "300ms"})
    proxy.stop()
    assert count(proxy, DELETED) == 1
    assert "the drain took longer than shutdown.drain" in proxy.output()


def test_a_second_signal_ends_the_wait(lingers):
    proxy = lingers("never", limits={"end_time": "10m"}, shutdown={"drain": "10m"})
    proxy.reload({**without_filters(proxy), "filters": [{**proxy.config["filters"][0], "config": "never "}]})
    proxy.signal(signal.SIGTERM)
    wait_until(lambda: count(proxy, "filter lingers: done") == 2, 15, "the question to both instances")
    assert proxy.alive()
    proxy.signal(signal.SIGTERM)
    proxy.finish()
    assert count(proxy, DELETED) == 2
