# SPDX-License-Identifier: Apache-2.0
"""Balancing, failures, breakers, retries, health checks, limits and pools."""

import collections
import re
import threading
import time

import pytest

from harness.backend import echo, refuse, response, serve
from harness.client import request
from harness.http2_backend import Answer, http2_serve
from harness.net import Refused
from harness.proxy import command, settle, targets
from harness.wait import wait_until

UNAVAILABLE = {
    "error": "Service Unavailable",
    "message": "Circuit breaker open or all backend nodes are offline.",
}
NO_RETRY = {"retries": {"attempts": 0}}
NO_BREAKER = {"circuit_breaker": {"failures": 0, "failure_rate": "0%"}}
BALANCERS = ["peak_ewma", "round_robin", "least_request", "random"]


def hits(proxy, count, threads=1):
    """Which backend answered how often."""
    seen = collections.Counter()
    lock = threading.Lock()

    def run():
        with proxy.client() as client:
            for _ in range(count // threads):
                answer = client.request("GET", "/")
                assert answer.status == 200
                with lock:
                    seen[answer.get("x-backend")] += 1

    workers = [threading.Thread(target=run) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sum(seen.values()) == count // threads * threads
    return seen


def fails_on_request(conn):
    """A backend that breaks off where /fail is asked for, and echoes everything else."""
    while True:
        seen = conn.request()
        if seen.target == "/fail":
            conn.reset()
            return
        conn.send(echo(seen))


def unavailable(answer):
    return answer.status == 503 and answer.json() == UNAVAILABLE


# Balancing


@pytest.mark.parametrize("balance", BALANCERS)
@pytest.mark.parametrize("threads", [1, 8])
def test_every_healthy_backend_is_used(vortex, backend, balance, threads):
    """Ties are broken fairly, so even one client after another reaches all. Peak EWMA rightly prefers who was fastest when
    nobody is busy; the others then get the probes, at most one request in a thousand."""
    proxy = vortex(backend(), backend(), backend(), route={"balance": balance})
    assert len(hits(proxy, 5000 if balance == "peak_ewma" and threads == 1 else 240, threads)) == 3


def test_round_robin_is_even(vortex, backend):
    proxy = vortex(backend(), backend(), backend(), route={"balance": "round_robin"})
    assert min(hits(proxy, 300).values()) >= 80


@pytest.mark.parametrize("balance", ["round_robin", "random"])
def test_weights_share_the_requests(vortex, backend, balance):
    light, heavy = backend(name="light"), backend(name="heavy")
    proxy = vortex(
        {"address": light.address, "weight": 1},
        {"address": heavy.address, "weight": 4},
        route={"balance": balance},
    )
    seen = hits(proxy, 500)
    assert 2 < seen["heavy"] / seen["light"] < 8


def test_least_request_avoids_the_busy_backend(vortex, backend):
    hold = threading.Event()

    def script(conn):
        while True:
            seen = conn.request()
            if seen.target == "/hold":
                hold.wait(40)
            conn.send(echo(seen, conn.backend.name))

    one, two = backend(script, name="one"), backend(script, name="two")
    proxy = vortex(one, two, route={"balance": "least_request"})
    with proxy.client() as held:
        held.send(request("GET", "/hold"))
        wait_until(lambda: one.requests or two.requests)
        busy = "one" if one.requests else "two"
        assert hits(proxy, 30)[busy] == 0
        hold.set()
        assert held.read().status == 200


def test_peak_ewma_avoids_the_slow_backend(vortex, backend):
    """One of four a hundred times slower: it gets far less than its quarter once that is known."""
    slow = backend(serve(delay=0.2), name="slow")
    proxy = vortex(backend(), backend(), slow, backend())
    assert hits(proxy, 400, 4)["slow"] < 40


def test_peak_ewma_does_not_favour_a_backend_that_fails_fast(vortex, backend):
    """Failures count as slow: a backend that answers every request by a reset attracts nothing."""
    bad = backend(refuse, name="bad")
    good = backend(serve(delay=0.01), name="good")
    proxy = vortex(bad, good, route=NO_BREAKER)
    assert hits(proxy, 100)["good"] == 100
    assert len(bad.requests) < 50


def test_a_backend_that_was_slow_finds_its_way_back(vortex, backend):
    """Its average ages or it is probed; within some thousand requests over a few seconds it is used again."""
    pause = [0.3]

    def script(conn):
        while True:
            seen = conn.request()
            settle(pause[0])
            conn.send(echo(seen, "was_slow"))

    slow = backend(script, name="was_slow")
    proxy = vortex(slow, backend(), route={"balance": "peak_ewma"})
    hits(proxy, 100, 4)
    pause[0] = 0
    before = len(slow.requests)
    deadline = time.monotonic() + 40
    while len(slow.requests) < before + 20:
        hits(proxy, 200, 4)
        assert time.monotonic() < deadline, "the backend that has recovered is not used"


@pytest.mark.parametrize("balance", BALANCERS)
def test_dead_backend_is_avoided_without_an_error_for_clients(vortex, backend, dead, balance):
    """With the defaults: a refused connection sent nothing, so another backend is tried, for POST too, until the breaker
    keeps the dead one out (before the retry budget is used up)."""
    live = backend()
    proxy = vortex(dead, live, route={"balance": balance})
    for number in range(40):
        assert proxy.get(f"/{number}").status == 200
        assert proxy.request("POST", f"/{number}", body=b"x").status == 200
    assert len(live.requests) == 80


# Dead and failing backends


def test_dead_backend_alone_is_502_or_503_as_json(vortex, dead):
    proxy = vortex(dead, route=NO_RETRY)
    answer = proxy.get()
    assert answer.status == 502 or unavailable(answer)
    assert answer.json()["error"]
    assert answer.get("content-type").startswith("application/json")


def test_answers_with_status_500_are_passed_on_and_not_retried(vortex, backend):
    """As nginx and Envoy by default."""
    target = backend(serve(response(b"mine", status="500 Internal Server Error")))
    proxy = vortex(target)
    answer = proxy.get()
    assert (answer.status, answer.body) == (500, b"mine")
    assert len(target.requests) == 1


def test_idempotent_request_is_retried_on_the_other_backend(vortex, backend):
    bad, good = backend(refuse), backend()
    proxy = vortex(
        bad,
        good,
        route={"balance": "round_robin", "retries": {"attempts": 2, "budget": "100%"}, **NO_BREAKER},
    )
    for method in ("GET", "HEAD", "OPTIONS", "PUT", "DELETE"):
        for _ in range(4):
            assert proxy.request(method, "/").status == 200
    assert bad.requests
    assert proxy.metric("vortex_retries_total", route="main") >= len(bad.requests)


def test_post_is_not_retried_after_its_bytes_were_sent(vortex, backend):
    bad, good = backend(refuse), backend()
    proxy = vortex(
        bad,
        good,
        route={"balance": "round_robin", "retries": {"attempts": 2, "budget": "100%"}, **NO_BREAKER},
    )
    statuses = [proxy.request("POST", f"/{number}", body=b"pay").status for number in range(10)]
    assert statuses.count(502) == len(bad.requests) >= 1
    assert statuses.count(200) == len(good.requests)
    assert len(bad.requests) + len(good.requests) == 10


def test_put_with_a_body_too_big_to_keep_is_not_sent_in_part(vortex, backend):
    """A retry must replay the whole body or not happen at all."""

    def script(conn):
        incoming = conn.head()
        conn.stream.exactly(100000)
        if conn.number == 1:
            conn.reset()
            return
        conn.stream.exactly(int(incoming.get("content-length")) - 100000)
        conn.send(response(b"whole"))

    proxy = vortex(backend(script), route={"retries": {"attempts": 2, "budget": "100%"}, **NO_BREAKER})
    answer = proxy.request("PUT", "/", body=b"u" * (6 << 20))
    assert answer.status == 502 or answer.body == b"whole"


def test_attempts_bound_the_retries(vortex, backend):
    bad = backend(refuse)
    other = backend(refuse)
    proxy = vortex(bad, other, route={"retries": {"attempts": 1, "budget": "100%"}, **NO_BREAKER})
    assert proxy.get().status == 502
    assert len(bad.requests) + len(other.requests) == 2


def test_retries_off_means_one_attempt(vortex, backend):
    bad, other = backend(refuse), backend(refuse)
    proxy = vortex(bad, other, route={**NO_RETRY, **NO_BREAKER})
    assert proxy.get().status == 502
    assert len(bad.requests) + len(other.requests) == 1


def test_retry_budget_bounds_the_extra_load(vortex, backend):
    """Every second request fails wherever it goes. Without a budget 300 extra attempts; with 20 % about 40 and a small floor."""

    one, two = backend(fails_on_request), backend(fails_on_request)
    proxy = vortex(one, two, route={"retries": {"attempts": 3, "budget": "20%"}, **NO_BREAKER})
    for _ in range(100):
        assert proxy.get("/ok").status == 200
        assert proxy.get("/fail").status == 502
    assert len(one.requests) + len(two.requests) <= 200 + 80


# Circuit breaker


def breaker(failures=3, open_for="60s", **more):
    return {"circuit_breaker": {"failures": failures, "open_for": open_for, **more}, **NO_RETRY}


def test_breaker_opens_after_consecutive_failures(vortex, backend):
    """Three failures, then 503 with the body of INTERFACE.md and reason breaker_open, and the backend is left alone."""
    target = backend(refuse)
    proxy = vortex(target, route=breaker())
    assert [proxy.get().status for _ in range(3)] == [502, 502, 502]
    for _ in range(5):
        answer = proxy.get()
        assert answer.status == 503
        assert answer.json() == UNAVAILABLE
        assert answer.get("content-type").startswith("application/json")
    assert target.accepted == 3
    assert [entry["reason"] for entry in proxy.log(8)][3:] == ["breaker_open"] * 5


def test_breaker_opens_on_refused_connections_too(vortex, dead):
    proxy = vortex(dead, route=breaker())
    for _ in range(3):
        proxy.get()
    assert unavailable(proxy.get())


def test_a_success_between_failures_keeps_the_breaker_closed(vortex, backend):
    proxy = vortex(backend(fails_on_request), route=breaker(failure_rate="100%"))
    for _ in range(6):
        assert proxy.get("/fail").status == 502
        assert proxy.get("/fail").status == 502
        assert proxy.get("/ok").status == 200


def test_breaker_opens_by_failure_rate(vortex, backend):
    """Never `failures` in a row, but two of three fail."""

    proxy = vortex(backend(fails_on_request), route=breaker(failures=1000, failure_rate="50%"))

    def turn():
        return 503 in [proxy.get(target).status for target in ("/fail", "/ok", "/fail")]

    assert any(turn() for _ in range(200)), "still closed after 600 requests of which two thirds failed"


def test_breaker_half_opens_after_its_time_and_closes_on_success(vortex, backend):
    healthy = threading.Event()

    def script(conn):
        while True:
            seen = conn.request()
            if not healthy.is_set():
                conn.reset()
                return
            conn.send(echo(seen))

    proxy = vortex(backend(script), route=breaker(open_for="2s", half_open_requests=2))
    for _ in range(3):
        assert proxy.get().status == 502
    assert proxy.get().status == 503
    healthy.set()
    wait_until(lambda: proxy.get().status == 200, what="the first request let through")
    wait_until(lambda: all(proxy.get().status == 200 for _ in range(10)), what="a closed breaker")


def test_half_open_breaker_lets_only_a_few_through_and_opens_again(vortex, backend):
    target = backend(refuse)
    proxy = vortex(target, route=breaker(open_for="1s", half_open_requests=1))
    begin = time.monotonic()
    while time.monotonic() - begin < 3.5:
        assert proxy.get().status in (502, 503)
        settle(0.02)
    rounds = int(time.monotonic() - begin) + 1
    assert 3 < len(target.requests) <= 3 + rounds


def test_open_breaker_of_one_backend_leaves_the_others(vortex, backend):
    bad, good = backend(refuse), backend()
    proxy = vortex(
        bad,
        good,
        route={
            "balance": "round_robin",
            "circuit_breaker": {"failures": 3, "open_for": "60s"},
            "retries": {"attempts": 2, "budget": "100%"},
        },
    )
    assert all(proxy.get().status == 200 for _ in range(30))
    assert len(bad.requests) <= 4


def test_breaker_state_is_in_the_metrics(vortex, backend):
    """0 closed, 1 half-open, 2 open."""
    target = backend(refuse)
    proxy = vortex(target, route=breaker())
    assert proxy.metric("vortex_backend_breaker_state", route="main") == 0
    for _ in range(3):
        proxy.get()
    assert proxy.metric("vortex_backend_breaker_state", route="main") == 2


def test_breaker_state_survives_a_reload(vortex, backend):
    target = backend(refuse)
    config = vortex.config(target, route=breaker())
    proxy = vortex.start(config)
    for _ in range(3):
        proxy.get()
    assert proxy.get().status == 503
    proxy.reload({**config, "limits": {"headers": 100}})
    assert proxy.get().status == 503
    assert target.accepted == 3


def test_breaker_is_shared_by_the_workers(vortex, backend):
    target = backend(refuse)
    proxy = vortex(target, route=breaker(), workers=2)
    for _ in range(12):
        assert proxy.get().status in (502, 503)
    assert target.accepted <= 4


# Health checks


def checked(flag, paths=None):
    """A backend whose /healthz answers 200 while flag is set, else 503."""

    def script(conn):
        while True:
            seen = conn.request()
            if seen.target == "/healthz":
                if paths is not None:
                    paths.append(seen)
                conn.send(response(b"", status="200 OK" if flag.is_set() else "503 Service Unavailable"))
            else:
                conn.send(echo(seen, conn.backend.name))

    return script


HEALTH = {"health_check": {"path": "/healthz", "interval": "100ms", "healthy": 2, "unhealthy": 2}}


def test_health_check_takes_a_backend_out_and_brings_it_back(vortex, backend):
    flag = threading.Event()
    flag.set()
    proxy = vortex(backend(checked(flag)), route={**HEALTH, **NO_RETRY})
    wait_until(lambda: proxy.get().status == 200)
    flag.clear()
    wait_until(lambda: proxy.get().status == 503, what="unhealthy")
    assert unavailable(proxy.get())
    flag.set()
    wait_until(lambda: proxy.get().status == 200, what="healthy again")


def test_unhealthy_backend_gets_no_traffic_while_another_is_healthy(vortex, backend):
    sick, well = threading.Event(), threading.Event()
    well.set()
    bad, good = backend(checked(sick), name="bad"), backend(checked(well), name="good")
    proxy = vortex(bad, good, route={"balance": "round_robin", **HEALTH})
    wait_until(lambda: len([r for r in bad.requests if r.target == "/healthz"]) >= 4)
    settle(0.3)
    assert hits(proxy, 30) == {"good": 30}


def test_health_check_request_is_well_formed_and_not_in_the_access_log(vortex, backend):
    flag, paths = threading.Event(), []
    flag.set()
    proxy = vortex(backend(checked(flag, paths)), route=HEALTH)
    wait_until(lambda: len(paths) >= 3)
    assert proxy.get("/client").status == 200
    assert (paths[0].method, len(paths[0].all("host"))) == ("GET", 1)
    assert [entry["path"] for entry in proxy.log(1)] == ["/client"]


def test_health_check_notices_a_dead_backend_and_its_return(vortex, backend):
    flag = threading.Event()
    flag.set()
    target = backend(checked(flag))
    proxy = vortex(target, route={**HEALTH, **NO_RETRY, **NO_BREAKER})
    wait_until(lambda: proxy.get().status == 200)
    target.close()
    wait_until(lambda: unavailable(proxy.get()), what="no backend left")
    target.open()
    wait_until(lambda: proxy.get().status == 200, what="the backend's return")


# Limits, addresses, pools


def test_max_connections_queues_what_is_too_much(vortex, backend):
    """One worker: when two share the places, one closes a connection for the other, and the backend may notice the end of
    the old one later than the new one."""
    target = backend(serve(delay=0.1))
    proxy = vortex({"address": target.address, "max_connections": 2}, workers=1)
    statuses = []
    threads = [threading.Thread(target=lambda: statuses.append(proxy.get().status)) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 10
    assert target.most_live <= 2


def test_a_worker_gives_an_idle_connection_up_for_another(vortex, backend):
    """One place, two workers, clients of both by turns: whoever has the idle connection lets the other one have it."""
    target = backend()
    proxy = vortex({"address": target.address, "max_connections": 1}, workers=2)
    clients = [proxy.client() for _ in range(8)]
    for _ in range(3):
        for client in clients:
            assert client.request("GET", "/").status == 200


def dump(proxy):
    done = command("stats", "--verbose", "--socket", str(proxy.folder / "admin.sock"), cwd=proxy.folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


def figures(pattern, proxy):
    """A figure of the dump: of each worker, or of each backend."""
    return [int(found) for found in re.findall(pattern, dump(proxy))]


OPEN = r"accepting, (\d+) connections"
TOLD = r"others told (\d+) times"


def clients_of_both_workers(proxy):
    """A client whose connection the first worker has, and one of the second; the kernel chooses which gets what."""
    found = {}
    others = []
    while len(found) < 2:
        before = figures(OPEN, proxy)
        client = proxy.client()
        wait_until(lambda: sum(figures(OPEN, proxy)) > sum(before), what="the connection")
        after = figures(OPEN, proxy)
        found.setdefault(after[0] == before[0], client)
        others.append(client)
    return found[False], found[True]


SERVE = {"http1": serve, "http2": http2_serve}


@pytest.mark.parametrize("protocol", SERVE)
def test_a_worker_tells_another_of_the_place_it_gives_up(vortex, backend, protocol):
    """One place, and the requests of two workers by turns: each waits while the other's is answered, then is told. Nobody
    finds a place by looking again."""
    holds = {f"/{n}": threading.Event() for n in range(8)}
    answers = {
        "http1": lambda r: (holds[r.target].wait(30), echo(r))[1],
        "http2": lambda r: (holds[r.path].wait(30), Answer())[1],
    }
    target = backend(SERVE[protocol](answers[protocol]))
    proxy = vortex(
        {"address": target.address, "max_connections": 1},
        route={"protocol": protocol},
        workers=2,
        admin={"socket": "admin.sock"},
    )
    clients = clients_of_both_workers(proxy)
    clients[0].send(request("GET", "/0"))
    target.wait_requests()
    for n in range(1, 8):
        clients[n % 2].send(request("GET", f"/{n}"))
        wait_until(lambda: figures(r"(\d+) waiting", proxy) == [1], what="the other worker's request to wait")
        holds[f"/{n - 1}"].set()
        assert clients[1 - n % 2].read().status == 200
    holds["/7"].set()
    assert clients[1].read().status == 200
    assert sum(figures(TOLD, proxy)) == 7
    assert figures(r"(\d+) found late", proxy) == [0, 0]
    assert target.most_live <= 2  # the backend may see the end of the one after the begin of the next


@pytest.mark.parametrize("protocol", SERVE)
def test_two_workers_share_one_place(vortex, backend, protocol):
    """Whatever both have to send, each gets on."""
    target = backend(SERVE[protocol]())
    proxy = vortex(
        {"address": target.address, "max_connections": 1},
        route={"protocol": protocol},
        workers=2,
        admin={"socket": "admin.sock"},
    )
    keepers = clients_of_both_workers(proxy)
    assert len(hits(proxy, 320, threads=16)) == 1
    assert all(client.request("GET", "/").status == 200 for client in keepers)
    assert sum(figures(TOLD, proxy)) > 0


def test_queued_request_of_a_client_that_leaves_is_forgotten(vortex, backend):
    hold = threading.Event()
    target = backend(serve(lambda r: (r.target == "/hold" and hold.wait(30), echo(r))[1]))
    proxy = vortex({"address": target.address, "max_connections": 1})
    first, second, third = (proxy.client() for _ in range(3))
    first.send(request("GET", "/hold"))
    target.wait_requests()
    second.send(request("GET", "/second"))
    settle(0.2)
    second.reset()
    third.send(request("GET", "/third"))
    settle(0.2)
    hold.set()
    assert first.read().status == 200
    assert third.read().status == 200
    assert [seen.target for seen in target.requests] == ["/hold", "/third"]


def test_dns_name_as_backend(vortex, backend):
    target = backend()
    proxy = vortex(f"localhost:{target.port}")
    wait_until(lambda: proxy.get().status == 200, what="an answer of localhost")
    assert target.requests[-1].get("host") == "test"


def test_name_that_does_not_resolve_is_an_error_for_its_route_only(vortex, backend):
    """The proxy starts and serves the other routes (as Envoy; nginx would refuse to start)."""
    good = backend()
    proxy = vortex(
        routes=[
            {
                "name": "bad",
                "match": {"path_prefix": "/bad"},
                "backends": targets("nowhere.invalid:80"),
                "timeouts": {"connect": "1s"},
                **NO_RETRY,
            },
            {"name": "good", "match": {"path_prefix": "/"}, "backends": targets(good)},
        ]
    )
    assert proxy.get("/good").status == 200
    answer = proxy.get("/bad")
    assert answer.status in (502, 503, 504)
    assert answer.json()["error"]


def test_unix_socket_as_backend(vortex, backend, tmp_path):
    target = backend(unix=str(tmp_path / "backend.sock"))
    proxy = vortex(target)
    assert [proxy.get(f"/{n}").json()["target"] for n in range(3)] == ["/0", "/1", "/2"]


def test_ipv6_backend(vortex, backend):
    target = backend(host="::1")
    proxy = vortex(target)
    assert [proxy.get(f"/{n}").json()["target"] for n in range(3)] == ["/0", "/1", "/2"]


def test_backend_connections_are_reused_across_clients(vortex, backend):
    target = backend()
    proxy = vortex(target)
    assert {proxy.get(f"/{n}").json()["connection"] for n in range(30)} == {1}
    assert target.accepted == 1
    assert proxy.metric("vortex_backend_connections_opened_total", route="main") == 1
    assert proxy.metric("vortex_backend_requests_total", route="main") == 30


def test_idle_backend_connections_are_closed_after_pool_idle(vortex, backend):
    target = backend()
    proxy = vortex(target, route={"pool": {"idle": "500ms"}})
    assert proxy.get().status == 200
    assert target.accepted == 1
    wait_until(lambda: target.live == 0, what="the idle connection's end")
    assert proxy.get().json()["connection"] == 2


def test_max_idle_bounds_the_pool(vortex, backend):
    target = backend(serve(delay=0.3))
    proxy = vortex(target, route={"pool": {"max_idle": 2}})
    threads = [threading.Thread(target=proxy.get) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert target.accepted > 2
    wait_until(lambda: target.live <= 2, what="no more than two idle connections")


def test_pool_survives_a_reload_that_keeps_the_backend(vortex, backend):
    target = backend()
    config = vortex.config(target)
    proxy = vortex.start(config)
    proxy.get()
    proxy.reload({**config, "limits": {"headers": 100}})
    assert proxy.get().json()["connection"] == 1


def test_connections_of_a_removed_backend_are_closed(vortex, backend):
    old, new = backend(name="old"), backend(name="new")
    config = vortex.config(old)
    proxy = vortex.start(config)
    assert proxy.get().get("x-backend") == "old"
    proxy.reload({**config, "routes": [{**config["routes"][0], "backends": targets(new)}]})
    wait_until(lambda: proxy.get().get("x-backend") == "new")
    wait_until(lambda: old.live == 0, what="the end of the connections to the removed backend")


def test_restarted_backend_is_reached_again(vortex, backend):
    target = backend()
    proxy = vortex(target, route={**NO_RETRY, **NO_BREAKER})
    assert proxy.get().status == 200
    target.close()
    wait_until(lambda: proxy.get().status in (502, 503))
    target.open()
    wait_until(lambda: proxy.get().status == 200)


def test_many_backends_of_which_most_are_dead(vortex, backend):
    graves = [Refused() for _ in range(5)]
    try:
        proxy = vortex(
            *graves,
            backend(),
            route={
                "retries": {"attempts": 5, "budget": "100%"},
                "circuit_breaker": {"failures": 1, "open_for": "60s"},
            },
        )
        statuses = [proxy.get().status for _ in range(30)]
        assert statuses[-20:] == [200] * 20
    finally:
        for grave in graves:
            grave.close()
