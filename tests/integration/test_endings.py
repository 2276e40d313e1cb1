# SPDX-License-Identifier: Apache-2.0
"""How exchanges end when one side does not wait for the other: early answers, half-closes, disconnects, stale connections."""

import threading

import pytest

from harness import http1
from harness.backend import echo, refuse, response, serve
from harness.client import request
from harness.proxy import settle
from harness.wait import wait_until

UPGRADE = {"Connection": "Upgrade", "Upgrade": "test-protocol"}
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: test-protocol\r\n\r\n"


def test_early_answer_reaches_the_client_while_it_still_uploads(vortex, backend):
    """The backend answers from the head alone and closes; the client gets that answer, not 502 and not a reset."""

    def script(conn):
        conn.head()
        conn.send(response(b"too much", status="413 Content Too Large", headers={"Connection": "close"}))
        conn.half_close()
        conn.gone(5)

    proxy = vortex(backend(script))
    for _ in range(5):
        with proxy.client() as client:
            client.try_send(request("POST", "/", {"Content-Length": "20000000"}))
            sender = threading.Thread(target=client.try_send, args=(b"a" * 20000000,))
            sender.start()
            answer = client.read()
            assert (answer.status, answer.body) == (413, b"too much")
            client.stream.rest()
            sender.join()


def test_early_answer_of_a_backend_that_then_resets_reaches_the_client(vortex, backend):
    """What had arrived of the answer before the reset counts: nginx and HAProxy read it first too."""

    def script(conn):
        conn.head()
        conn.send(response(b"go away", status="403 Forbidden", headers={"Connection": "close"}))
        settle(0.3)
        conn.reset()

    proxy = vortex(backend(script))
    with proxy.client() as client:
        client.try_send(request("POST", "/", {"Content-Length": "5000000"}))
        settle(0.1)
        client.try_send(b"a" * 100000)
        assert client.read().body == b"go away"


def test_early_answer_with_the_upload_completed_later_keeps_both_connections(vortex, backend):
    """The backend answers before the body ends but goes on reading: nothing is lost, and the next request is served."""
    target = backend()

    def script(conn):
        while True:
            incoming = conn.head()
            conn.send(response(b"early"))
            conn.body(incoming)

    target.script = script
    proxy = vortex(target)
    with proxy.client() as client:
        client.send(request("POST", "/", {"Content-Length": "200000"}) + b"a" * 100000)
        assert client.read().body == b"early"
        client.try_send(b"a" * 100000)
    assert proxy.get().body == b"early"


def test_two_way_streaming_keeps_both_connections(vortex, backend):
    """The answer begins before the upload ends, and ends after it: both connections serve the next request."""
    target = backend()

    def script(conn):
        while True:
            incoming = conn.head()
            conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nbegin")
            conn.body(incoming)
            conn.send(b"-done")

    target.script = script
    proxy = vortex(target, workers=1)
    with proxy.client() as client:
        for _ in range(3):
            client.send(request("POST", "/", {"Content-Length": "10"}) + b"12345")
            answer = http1.read_response_head(client.stream, "POST")
            assert client.stream.exactly(5) == b"begin"
            client.send(b"67890")
            assert client.stream.exactly(5) == b"-done"
            assert answer.get("Connection") is None
    assert target.accepted == 1


def test_error_answers_survive_an_upload_in_flight(vortex, backend):
    """404 no_route while the client pushes megabytes: lingering close."""
    proxy = vortex(backend(), route={"match": {"path_prefix": "/known"}})
    for _ in range(5):
        with proxy.client() as client:
            client.try_send(request("POST", "/unknown", {"Content-Length": "3000000"}))
            client.try_send(b"a" * 3000000)
            assert client.read().status == 404


def test_small_unread_body_of_a_refused_request_does_not_become_the_next_request(vortex, backend):
    target = backend()
    proxy = vortex(target, route={"match": {"path_prefix": "/known"}})
    with proxy.client() as client:
        client.send(request("POST", "/unknown", body=request("GET", "/known/smuggled")))
        answer = client.read()
        assert answer.status == 404
        if not answer.closes:
            assert client.request("GET", "/known/next").json()["target"] == "/known/next"
    settle(0.05)
    assert "/known/smuggled" not in [seen.target for seen in target.requests]


def test_client_that_half_closes_still_gets_its_answer(vortex, backend):
    """`printf ... | nc`: FIN after the request is not a disconnect."""
    proxy = vortex(backend(serve(delay=0.5)))
    with proxy.client() as client:
        client.send(request("GET", "/"))
        client.half_close()
        assert client.read().status == 200
        assert client.ended()


def test_client_that_half_closes_after_pipelining_gets_all_answers(vortex, backend):
    proxy = vortex(backend(serve(delay=0.1)))
    with proxy.client() as client:
        client.send(b"".join(request("GET", f"/{n}") for n in range(5)))
        client.half_close()
        assert [client.read().json()["target"] for _ in range(5)] == [f"/{n}" for n in range(5)]
        assert client.ended()


def test_reset_client_cancels_the_backend_request(vortex, backend):
    gone = threading.Event()

    def script(conn):
        conn.request()
        if conn.gone(20):
            gone.set()

    target = backend(script)
    proxy = vortex(target)
    client = proxy.client()
    client.send(request("GET", "/"))
    target.wait_requests()
    client.reset()
    assert gone.wait(20), "the backend's connection stays although nobody wants the answer"


def test_client_that_goes_away_during_the_download_cancels_it(vortex, backend):
    gone = threading.Event()

    def script(conn):
        conn.request()
        conn.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            for _ in range(100000):
                conn.send(b"10000\r\n" + b"a" * 65536 + b"\r\n")
        finally:
            gone.set()

    proxy = vortex(backend(script))
    client = proxy.client()
    client.send(request("GET", "/"))
    client.head()
    client.close()
    assert gone.wait(20)
    proxy.wait_metric("vortex_backend_active_requests", 0)


def test_client_that_goes_away_during_its_upload_cancels_it(vortex, backend):
    gone = threading.Event()

    def script(conn):
        incoming = conn.head()
        try:
            conn.body(incoming)
        except http1.Incomplete:
            gone.set()

    target = backend(script)
    proxy = vortex(target)
    client = proxy.client()
    client.send(request("POST", "/", {"Content-Length": "1000000"}) + b"a" * 1000)
    target.wait_requests()
    client.reset()
    assert gone.wait(20)
    assert not target.requests[0].complete


def test_what_clients_do_wrong_does_not_count_against_the_backend(vortex, backend):
    """Disconnects, aborted uploads and bad chunks, far more than `failures`: the breaker must stay closed."""

    def script(conn):
        while True:
            seen = conn.request()
            if seen.target == "/hang":
                conn.gone(20)
                return
            conn.send(echo(seen))

    target = backend(script)
    proxy = vortex(
        target, route={"circuit_breaker": {"failures": 2, "open_for": "60s"}, "retries": {"attempts": 0}}
    )
    for _ in range(5):
        count = len(target.requests)
        with proxy.client() as client:
            client.send(request("GET", "/hang"))
            target.wait_requests(count + 1)
            client.reset()
        with proxy.client() as client:
            client.send(request("POST", "/", {"Content-Length": "100"}) + b"abc")
            target.wait_requests(count + 2)
            client.reset()
        with proxy.client() as client:
            client.send(request("POST", "/", {"Transfer-Encoding": "chunked"}) + b"zz\r\n")
            assert client.read().status == 400
    proxy.wait_metric("vortex_backend_active_requests", 0)
    assert proxy.get("/good").status == 200


def test_client_body_timeout_does_not_count_against_the_backend(vortex, backend):
    target = backend()
    proxy = vortex(
        target,
        timeouts={"body": "300ms"},
        route={"circuit_breaker": {"failures": 1, "open_for": "60s"}, "retries": {"attempts": 0}},
    )
    with proxy.client() as client:
        client.send(request("POST", "/", {"Content-Length": "100"}) + b"abc")
        assert client.read().status == 408
    assert proxy.get("/good").status == 200


# Upgrade


def test_bytes_after_an_upgrade_request_wait_for_the_101(vortex, backend):
    """They may belong to either protocol until the backend decides (RFC 9110 7.8), so the backend gets them after its 101."""
    early = []

    def script(conn):
        conn.head()
        try:
            conn.stream.fill(timeout=0.5)
        except TimeoutError:
            pass
        early.append(conn.stream.buffer)
        conn.send(SWITCH)
        conn.send(b"got " + conn.stream.exactly(5))
        conn.gone()

    proxy = vortex(backend(script))
    with proxy.client() as client:
        client.send(request("GET", "/", UPGRADE) + b"first")
        answer = client.read()
        assert answer.status == 101
        assert answer.get("upgrade") == "test-protocol"
        assert "upgrade" in answer.get("connection").lower()
        assert client.stream.exactly(9) == b"got first"
    assert early == [b""]


def test_upgrade_refused_leaves_http_and_what_followed_is_the_next_request(vortex, backend):
    proxy = vortex(backend())
    with proxy.client() as client:
        client.send(request("GET", "/1", UPGRADE) + request("GET", "/2"))
        assert client.read().json()["target"] == "/1"
        assert client.read().json()["target"] == "/2"


def test_tunnel_carries_bytes_both_ways_and_half_closes(vortex, backend):
    def script(conn):
        conn.head()
        conn.send(SWITCH + b"hello")
        received = conn.stream.rest()
        conn.send(b"%d bytes" % len(received))
        conn.half_close()

    proxy = vortex(backend(script))
    with proxy.client() as client:
        client.send(request("GET", "/", UPGRADE))
        assert client.read().status == 101
        assert client.stream.exactly(5) == b"hello"
        client.send(b"x" * 3000000)
        client.half_close()
        assert client.rest() == b"3000000 bytes"


def test_tunnel_ends_when_the_backend_resets(vortex, backend):
    def script(conn):
        conn.head()
        conn.send(SWITCH)
        conn.stream.exactly(1)
        conn.reset()

    proxy = vortex(backend(script))
    with proxy.client() as client:
        client.send(request("GET", "/", UPGRADE))
        assert client.read().status == 101
        client.send(b"x")
        assert client.ended()


def test_upgrade_headers_are_forwarded_only_when_connection_names_them(vortex, backend):
    """`Upgrade` alone is hop-by-hop noise and is removed; with `Connection: Upgrade` both reach the backend."""
    proxy = vortex(backend())
    seen = proxy.get(headers={"Upgrade": "test-protocol"}).json()["headers"]
    assert "upgrade" not in [name.lower() for name, _ in seen]
    seen = {name.lower(): value for name, value in proxy.get(headers=UPGRADE).json()["headers"]}
    assert seen["upgrade"] == "test-protocol"
    assert seen["connection"].lower() == "upgrade"


# Pooled connections that went stale


def stale(conn):
    """First connection: answers one request, then resets as soon as anything more comes. Others: an ordinary server."""
    if conn.number > 1:
        return serve()(conn)
    conn.send(echo(conn.request()))
    conn.stream.fill()
    conn.reset()


def closing(conn):
    """First connection: answers one request, then reads the next whole and closes without an answer."""
    if conn.number > 1:
        return serve()(conn)
    conn.send(echo(conn.request()))
    conn.request()


@pytest.mark.parametrize("script", [stale, closing])
def test_get_on_a_stale_connection_is_tried_again_on_a_fresh_one(vortex, backend, script):
    """Also with retries off: a stale connection is the pool's fault and not an attempt of the route's."""
    target = backend(script)
    proxy = vortex(target, route={"retries": {"attempts": 0}})
    assert proxy.get("/1").status == 200
    answer = proxy.get("/2")
    assert (answer.status, answer.json()["target"], answer.json()["connection"]) == (200, "/2", 2)


@pytest.mark.parametrize("script", [stale, closing])
@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_post_whose_bytes_went_out_on_a_stale_connection_is_not_sent_again(vortex, backend, script, method):
    target = backend(script)
    proxy = vortex(target, route={"retries": {"attempts": 3}})
    assert proxy.get("/1").status == 200
    answer = proxy.request(method, "/2", body=b"pay 100")
    assert answer.status == 502
    assert isinstance(answer.json()["error"], str)
    settle(0.1)
    assert all(seen.connection == 1 for seen in target.requests)


def test_post_after_the_pooled_connection_was_closed_uses_a_fresh_one(vortex, backend):
    """The close was seen before the request came: nothing was sent, so nothing is lost."""

    def script(conn):
        conn.send(echo(conn.request()))

    target = backend(script)
    proxy = vortex(target)
    assert proxy.get("/1").status == 200
    wait_until(lambda: target.live == 0)
    settle(0.2)
    assert proxy.request("POST", "/2", body=b"pay 100").json()["target"] == "/2"
    assert [seen.target for seen in target.requests] == ["/1", "/2"]


def test_backend_that_closes_without_an_answer_is_502_for_post(vortex, backend):
    target = backend(refuse)
    proxy = vortex(target, route={"retries": {"attempts": 2}, "circuit_breaker": {"failures": 100}})
    answer = proxy.request("POST", "/", body=b"once")
    assert answer.status == 502
    assert len(target.requests) == 1


def test_client_connection_survives_a_backend_failure(vortex, backend):
    """A 502 with the request read to its end leaves the client's connection usable."""

    def script(conn):
        while True:
            seen = conn.request()
            if seen.target == "/fail":
                return
            conn.send(echo(seen))

    proxy = vortex(backend(script), route={"retries": {"attempts": 0}, "circuit_breaker": {"failures": 100}})
    with proxy.client() as client:
        assert client.request("GET", "/fail").status == 502
        assert client.request("GET", "/good").status == 200


def test_active_counts_return_to_zero_after_all_kinds_of_endings(vortex, backend):
    def script(conn):
        while True:
            seen = conn.request()
            if seen.target == "/reset":
                conn.reset()
                return
            if seen.target == "/cut":
                conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
                return
            conn.send(echo(seen))

    proxy = vortex(backend(script), route={"circuit_breaker": {"failures": 1000}, "retries": {"attempts": 0}})
    for target in ("/", "/reset", "/", "/cut", "/"):
        with proxy.client() as client:
            client.send(request("GET", target))
            try:
                client.read()
            except http1.Incomplete:
                assert target == "/cut"
    with proxy.client() as client:
        client.send(b"BAD\r\n\r\n")
        client.read()
    proxy.wait_metric("vortex_backend_active_requests", 0)
    assert proxy.get().status == 200
