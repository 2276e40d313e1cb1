# SPDX-License-Identifier: Apache-2.0
"""Rate limits in memory, from outside: what passes, what clients are told, what is counted together."""

import json
import math
import re
import threading

import pytest

from harness.proxy import targets
from harness.wait import wait_until

# Slow enough that nothing is earned back while a test runs.
SLOW = {"requests": 1, "per": "1h"}


def statuses(proxy, count, target="/", headers=(), **options):
    return [proxy.get(target, headers, **options).status for _ in range(count)]


def test_from_rest_exactly_the_burst_passes(vortex, backend):
    proxy = vortex(backend(), rate_limit={**SLOW, "burst": 5})
    assert statuses(proxy, 8) == [200] * 5 + [429] * 3
    proxy.wait_metric("vortex_rate_limited_total", 3, route="main")
    proxy.wait_metric("vortex_http_requests_total", 3, route="main", code="429")


def test_what_a_refused_client_is_told(vortex, backend):
    proxy = vortex(backend(), rate_limit={"requests": 2, "per": "1m", "burst": 1})
    first, second = proxy.get(), proxy.get()
    assert first.get("ratelimit-policy") == '"default";q=2;w=60'
    assert first.get("ratelimit") == '"default";r=0;t=30'
    assert first.get("retry-after") is None
    assert second.status == 429
    assert second.get("content-type") == "application/json"
    body = json.loads(second.body)
    assert body["error"] == "Rate limit exceeded" and set(body) == {"error", "retry_after_ms"}
    assert 20000 < body["retry_after_ms"] <= 30000
    assert int(second.get("retry-after")) == math.ceil(body["retry_after_ms"] / 1000)
    assert re.fullmatch(r'"default";r=0;t=(\d+)', second.get("ratelimit"))[1] == second.get("retry-after")
    entry = proxy.log(2)[1]
    assert (entry["status"], entry["reason"], entry["attempts"]) == (429, "rate_limited", 0)


def test_who_waits_as_long_as_he_was_told_passes(vortex, backend):
    proxy = vortex(backend(), rate_limit={"requests": 5, "per": "1s", "burst": 1})
    assert proxy.get().status == 200
    for _ in range(3):
        answer = proxy.get()
        if answer.status == 200:
            continue  # the machine was slow enough to earn it
        wait_s = json.loads(answer.body)["retry_after_ms"] / 1000
        assert wait_s <= 0.2
        wait_until(lambda: proxy.get().status == 200, 10, "the next request to pass")


def test_the_rate_holds_over_time(vortex, backend):
    """As much as the limit earns in the time that has gone by, and the burst; counted by the clock, decided by none."""
    import time

    proxy = vortex(backend(), rate_limit={"requests": 50, "per": "1s", "burst": 10}, workers=2)
    passed = 0
    with_client = proxy.client()
    began = time.monotonic()
    while time.monotonic() - began < 1.5:
        passed += with_client.request("GET", "/").status == 200
    gone = time.monotonic() - began
    assert 10 <= passed <= 10 + gone * 50 + 1


def test_one_table_for_all_workers(vortex, backend):
    """Many connections at once, on several workers: together they get the burst and nothing more."""
    proxy = vortex(backend(), rate_limit={**SLOW, "burst": 40}, workers=4)
    passed, lock = [], threading.Lock()

    def ask():
        for _ in range(10):
            status = proxy.get().status
            with lock:
                passed.append(status)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert sorted(passed) == [200] * 40 + [429] * 40


def test_counted_by_header_and_route(vortex, backend):
    target = targets(backend())
    routes = [
        {"name": name, "match": {"path_prefix": f"/{name}"}, "backends": target, **more}
        for name, more in (("a", {}), ("b", {}), ("own", {"rate_limit": {**SLOW, "burst": 1}}), ("free", {"rate_limit": False}))
    ]
    proxy = vortex(routes=routes, rate_limit={**SLOW, "burst": 2, "key": ["header:X-Api-Key", "route"]})
    one, two = [("X-Api-Key", "one")], [("x-api-key", "two")]
    assert statuses(proxy, 3, "/a", one) == [200, 200, 429]
    assert statuses(proxy, 3, "/a", two) == [200, 200, 429]
    assert statuses(proxy, 3, "/b", one) == [200, 200, 429]
    assert statuses(proxy, 3, "/a") == [200, 200, 429]
    assert statuses(proxy, 2, "/own", one) == [200, 429]
    assert statuses(proxy, 1, "/own", two) == [429]  # its own limit counts by client
    free = proxy.get("/free")
    assert free.status == 200 and free.get("ratelimit") is None
    assert proxy.get("/nowhere").get("ratelimit") is None


def test_the_default_limit_is_one_for_all_routes(vortex, backend):
    target = targets(backend())
    routes = [{"name": n, "match": {"path_prefix": f"/{n}"}, "backends": target} for n in ("a", "b")]
    proxy = vortex(routes=routes, rate_limit={**SLOW, "burst": 2})
    assert [proxy.get(path).status for path in ("/a", "/b", "/a", "/b")] == [200, 200, 429, 429]


def test_the_cost_is_in_a_header(vortex, backend):
    limit = {**SLOW, "burst": 100, "cost": "header:x-ai-estimated-tokens"}
    proxy = vortex(backend(), route={"rate_limit": limit})
    cost = lambda tokens: [("x-ai-estimated-tokens", str(tokens))]  # noqa: E731
    assert proxy.get("/", cost(60)).get("ratelimit").startswith('"route";r=40;')
    assert proxy.get("/", cost(41)).status == 429
    assert proxy.get("/", cost(30)).status == 200
    assert proxy.get("/", cost("many")).get("ratelimit").startswith('"route";r=9;')
    assert proxy.get("/", cost(101)).status == 429
    assert statuses(proxy, 10) == [200] * 9 + [429]


@pytest.mark.parametrize("trusted", [True, False])
def test_only_trusted_proxies_say_who_the_client_is(vortex, backend, trusted):
    proxy = vortex(
        backend(), rate_limit={**SLOW, "burst": 1}, trusted_proxies=["127.0.0.0/8"] if trusted else None
    )
    got = [
        proxy.get("/", [("X-Forwarded-For", who)]).status
        for who in ("192.0.2.1", "192.0.2.2", "192.0.2.1", "2001:db8::1", "2001:db8::2", "2001:db8:0:1::1")
    ]
    assert got == ([200, 200, 429, 200, 429, 200] if trusted else [200, 429, 429, 429, 429, 429])


def test_redirects_and_failures_are_limited_and_told_too(vortex, backend, dead):
    routes = [
        {"name": "moved", "match": {"path": "/moved"}, "redirect": {"to": "/new"}},
        {"name": "dead", "match": {"path": "/dead"}, "backends": targets(dead), "retries": False},
    ]
    proxy = vortex(routes=routes, rate_limit={**SLOW, "burst": 3})
    moved, broken = proxy.get("/moved"), proxy.get("/dead")
    assert (moved.status, moved.get("ratelimit")[:13]) == (302, '"default";r=2')
    assert (broken.status, broken.get("ratelimit")[:13]) == (502, '"default";r=1')


def test_what_was_counted_stays_over_a_reload(vortex, backend):
    proxy = vortex(backend(), rate_limit={**SLOW, "burst": 3})
    assert statuses(proxy, 2) == [200, 200]
    proxy.reload({**proxy.config, "rate_limit": {**SLOW, "burst": 4}})
    assert statuses(proxy, 3) == [200, 200, 429]
    proxy.reload({**proxy.config, "rate_limit": False})
    assert statuses(proxy, 3) == [200, 200, 200]


def test_a_body_that_waits_is_not_lost(vortex, backend):
    proxy = vortex(backend(), rate_limit={**SLOW, "burst": 1})
    body = b"x" * 200000
    assert proxy.request("POST", "/", body=body).status == 200
    assert proxy.request("POST", "/", body=body).status == 429
