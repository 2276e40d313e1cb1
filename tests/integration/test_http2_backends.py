# SPDX-License-Identifier: Apache-2.0
"""HTTP/2 to backends: streams over few connections, what a backend may do with them, and what is no HTTP/2."""

import base64
import hashlib
import json
import threading

import pytest

from harness.backend import response, serve
from harness.client import request as h1_request
from harness.http2 import Client
from harness.http2_backend import Answer, Codes, Settings, http2, http2_serve
from harness.net import stalled_value
from harness.wait import wait_until

H2 = {"protocol": "http2"}
NO_BREAKER = {"circuit_breaker": False}


def route(**more):
    return {**H2, **more}


def get_all(proxy, count, path="/"):
    """So many requests at once over one HTTP/2 connection; their answers."""
    with Client(proxy.port) as client:
        streams = [client.open(path=f"{path}?{number}") for number in range(count)]
        return [client.answer(stream) for stream in streams]


def data_of(answer):
    return json.loads(answer.body)


# Plain requests


def test_a_client_of_http1_meets_a_backend_of_http2(vortex, backend):
    proxy = vortex(backend(http2_serve()), route=H2)
    body = b"x" * 100_000
    answer = proxy.request("POST", "/a/b?c=d", {"X-Mixed-Case": "1", "Cookie": "a=1"}, body)
    seen = answer.json()
    assert answer.status == 200
    assert seen["method"] == "POST" and seen["target"] == "/a/b?c=d"
    assert seen["authority"] == "test" and seen["scheme"] == "http"
    assert seen["sha256"] == hashlib.sha256(body).hexdigest()
    fields = dict(map(tuple, seen["headers"]))
    assert fields["x-mixed-case"] == "1" and fields["content-length"] == str(len(body))
    assert fields["via"] == "1.1 vortex" and fields["x-forwarded-for"] == "127.0.0.1"
    assert "host" not in fields and "connection" not in fields and "transfer-encoding" not in fields
    assert answer.get("via") == "2.0 vortex"


def test_chunked_bodies_and_trailers_cross_both_ways(vortex, backend):
    def reply(request):
        assert request.trailers == [("x-sum", "1")]
        return Answer(request.body, [], 200, [("x-after", "2")])

    proxy = vortex(backend(http2_serve(reply)), route=H2)
    with proxy.client() as client:
        client.send(
            b"POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\nTE: trailers\r\n"
            b"Connection: te\r\n\r\n5\r\nhello\r\n0\r\nx-sum: 1\r\n\r\n"
        )
        answer = client.final("POST")
    assert answer.status == 200 and answer.body == b"hello"
    assert ["x-after", "2"] in [list(pair) for pair in answer.trailers]


def test_both_sides_of_http2(vortex, backend):
    proxy = vortex(backend(http2_serve()), route=H2)
    with Client(proxy.port) as client:
        answer = client.request("POST", "/x", [("content-length", "3"), ("cookie", "a=1"), ("cookie", "b=2")], body=b"abc")
    seen = data_of(answer)
    assert answer.status == 200 and seen["length"] == 3
    fields = [tuple(pair) for pair in seen["headers"]]
    assert ("cookie", "a=1; b=2") in fields and ("content-length", "3") in fields
    assert [value for name, value in fields if name == "via"] == ["2.0 vortex"]


def test_head_has_the_length_and_no_body(vortex, backend):
    proxy = vortex(backend(http2_serve()), route=H2)
    answer = proxy.request("HEAD", "/")
    assert answer.status == 200 and int(answer.get("content-length")) > 50


def test_over_tls_with_alpn(vortex, backend, ca):
    context = ca.issue("backend.internal").server_context()
    context.set_alpn_protocols(["h2"])
    one = backend(http2_serve(), tls=context)
    proxy = vortex(one, route=route(tls={"ca": str(ca.path), "server_name": "backend.internal"}))
    answer = proxy.get("/")
    assert answer.status == 200 and answer.json()["scheme"] == "https"


def test_nginx_as_backend(vortex, nginx):
    big = bytes(range(256)) * 8000
    proxy = vortex(nginx({"big": big, "small": b"s"}, http2=True), route=H2)
    assert proxy.get("/big").body == big
    for answer in get_all(proxy, 50, "/small"):
        assert answer.status == 200 and answer.body == b"s"


# Multiplexing


def test_streams_share_one_connection(vortex, backend):
    gate = threading.Event()

    def script(peer):
        requests = [peer.head() for _ in range(40)]
        gate.set()
        for request in reversed(requests):
            peer.answer(request, Answer(request.path.encode()))
        peer.read_until_closed()

    one = backend(http2(script))
    proxy = vortex(one, route=H2)
    answers = get_all(proxy, 40)
    assert gate.is_set() and [answer.body for answer in answers] == [f"/?{n}".encode() for n in range(40)]
    assert one.accepted == 1
    assert proxy.metric("vortex_backend_connections_opened_total") == 1


def test_the_backends_limit_opens_more_connections(vortex, backend):
    one = backend(http2_serve(settings={Settings.MAX_CONCURRENT_STREAMS: 4}))
    proxy = vortex(one, route=route(retries={"attempts": 10}))
    assert proxy.get().status == 200  # the backend has said what it takes
    assert {answer.status for answer in get_all(proxy, 30)} == {200}
    assert one.accepted > 1


def test_the_limit_of_connections_makes_requests_wait(vortex, backend):
    one = backend(http2_serve(settings={Settings.MAX_CONCURRENT_STREAMS: 2}))
    proxy = vortex({"address": one.address, "max_connections": 1}, route=H2)
    assert proxy.get().status == 200
    assert {answer.status for answer in get_all(proxy, 50)} == {200}
    assert one.accepted == 1


def test_a_slow_stream_neither_stalls_its_siblings_nor_grows_memory(vortex, backend):
    """The client reads nothing of a stream that the backend sends without end."""
    sent = [0]

    def script(peer):
        slow = peer.head()
        peer.respond(slow)
        piece = b"x" * 16384
        while True:
            while peer.fresh:
                peer.answer(peer.fresh.pop(0), Answer(b"quick"))
            if peer.h2.local_flow_control_window(slow.stream) >= len(piece):
                peer.send(slow, piece)
                sent[0] += len(piece)
            else:
                peer.read()

    proxy = vortex(backend(http2(script)), route=H2)
    with Client(proxy.port) as client:
        client.reading = False
        client.open(path="/slow")
        client.wait(lambda: client.answers[1].status == 200)
        before = stalled_value(lambda: sent[0])
        assert before < 2_000_000
        for answer in get_all(proxy, 100):
            assert answer.status == 200 and answer.body == b"quick"
        assert sent[0] == before


def test_a_large_upload_waits_for_the_backends_window(vortex, backend):
    release = threading.Event()
    held = []

    def script(peer):
        peer.holds_windows = True
        request = peer.head()
        while not release.is_set():
            peer.wait(lambda: len(request.body) >= 65535)
            held.append(len(request.body))
            release.wait(20)
        peer.holds_windows = False
        peer.h2.acknowledge_received_data(len(request.body), request.stream)
        peer.flush()
        peer.wait(lambda: request.ended)
        peer.answer(request, Answer(str(len(request.body)).encode()))
        peer.read_until_closed()

    proxy = vortex(backend(http2(script)), route=H2)
    with proxy.client() as client:
        sender = threading.Thread(
            target=client.send, args=(h1_request("POST", "/", {}, b"y" * 3_000_000, host="test"),)
        )
        sender.start()
        wait_until(lambda: held, 15, "a full window")
        release.set()
        sender.join()
        assert client.final("POST").body == b"3000000"
    assert held[0] == 65535


# What backends do with streams and connections


def test_a_refused_stream_goes_to_another_backend(vortex, backend):
    def refuse(peer):
        while True:
            peer.refuse(peer.request())

    bad, good = backend(http2(refuse)), backend(http2_serve())
    proxy = vortex(bad, good, route=route(balance="round_robin", retries=False, **NO_BREAKER))
    for number in range(20):
        answer = proxy.request("POST", "/", {}, b"body %d" % number)
        assert answer.status == 200 and answer.json()["length"] == len(b"body %d" % number)
    assert len(bad.requests) >= 1


def test_a_stream_refused_everywhere_is_an_error(vortex, backend):
    def refuse(peer):
        while True:
            peer.refuse(peer.request())

    proxy = vortex(backend(http2(refuse)), route=H2)
    assert proxy.get().status == 502
    assert proxy.log(1)[0]["reason"] == "backend_refused"


@pytest.mark.parametrize("retries", [False, {"attempts": 2}])
def test_goaway_loses_no_request(vortex, backend, retries):
    """Each connection serves one stream, and leaves out whatever else it has got by then."""

    def script(peer):
        first = peer.request()
        peer.leave(first.stream)
        peer.answer(first, Answer(str(peer.conn.number).encode()))
        peer.read_until_closed()

    one = backend(http2(script))
    proxy = vortex(one, route=route(retries=retries, **NO_BREAKER))
    for _ in range(10):
        assert proxy.request("POST", "/", {}, b"not idempotent").status == 200
    assert one.accepted == 10


def test_what_was_left_out_twice_is_sent_a_third_time(vortex, backend):
    """With its body, and without any retries: the backend has done nothing yet."""

    def script(peer):
        request = peer.request()
        if peer.conn.number < 3:
            peer.leave(0)
            peer.read_until_closed()
        else:
            peer.answer(request, Answer(str(len(request.body)).encode()))

    one = backend(http2(script))
    proxy = vortex(one, route=route(retries=False, **NO_BREAKER))
    answer = proxy.request("POST", "/", {}, b"x" * 50_000)
    assert answer.status == 200 and answer.body == b"50000"
    assert one.accepted == 3


def test_a_connection_that_is_reset_before_its_first_word(vortex, backend):
    """Has carried nothing: a POST goes on to the next one."""

    def script(conn):
        if conn.number == 1:
            conn.reset()
        else:
            http2(lambda peer: peer.answer(peer.request(), Answer(b"here")))(conn)

    proxy = vortex(backend(script), route=route(**NO_BREAKER))
    answer = proxy.request("POST", "/", {}, b"not idempotent")
    assert answer.status == 200 and answer.body == b"here"
    assert proxy.log(1)[0]["attempts"] == 2


def test_streams_beyond_a_goaway_are_sent_again(vortex, backend):
    def script(peer):
        first = peer.request()
        if peer.conn.number == 1:
            peer.wait(lambda: len(peer.streams) == 5)
            peer.leave(first.stream)
            peer.answer(first, Answer(b"1"))
            peer.read_until_closed()
            return
        while True:
            peer.answer(first, Answer(str(peer.conn.number).encode()))
            first = peer.request()

    one = backend(http2(script))
    proxy = vortex(one, route=route(**NO_BREAKER))
    with Client(proxy.port) as client:
        streams = [client.open("POST", "/", body=b"b%d" % n) for n in range(5)]
        answers = [client.answer(stream) for stream in streams]
    assert sorted(answer.body for answer in answers) == [b"1", b"2", b"2", b"2", b"2"]
    assert proxy.metric("vortex_errors_total") == 0


def test_a_reset_in_the_answer_cuts_it(vortex, backend):
    arrived = threading.Event()

    def script(peer):
        request = peer.request()
        peer.respond(request, headers=[("content-length", "100")])
        peer.send(request, b"part")
        arrived.wait(10)
        peer.reset(request)
        peer.read_until_closed()

    proxy = vortex(backend(http2(script)), route=H2)
    with Client(proxy.port) as client:
        stream = client.open()
        client.wait(lambda: client.answers[stream].body)
        arrived.set()
        answer = client.answer(stream)
    assert answer.status == 200 and answer.reset is not None and not answer.ended
    assert proxy.log(1)[0]["reason"] == "backend_reset"


def test_a_reset_before_the_answer(vortex, backend):
    def script(peer):
        while True:
            peer.reset(peer.request())

    proxy = vortex(backend(http2(script)), route=route(retries=False))
    assert proxy.get().status == 502
    assert proxy.log(1)[0]["reason"] == "backend_reset"


def test_a_closed_connection_is_replaced(vortex, backend):
    def script(peer):
        peer.answer(peer.request(), Answer(b"ok"))
        peer.conn.half_close()
        peer.read_until_closed()

    one = backend(http2(script))
    proxy = vortex(one, route=H2)
    for _ in range(5):
        assert proxy.get().body == b"ok"
    assert one.accepted == 5


def test_a_connection_that_breaks_is_one_failure(vortex, backend):
    """However many requests it fails: with `failures: 3` the third one opens the breaker."""

    def script(peer):
        peer.wait(lambda: len(peer.streams) == 10 and all(request.ended for request in peer.streams.values()))
        peer.conn.reset()

    one = backend(http2(script))
    proxy = vortex(one, route=route(retries=False, circuit_breaker={"failures": 3, "open_for": "60s"}))
    with Client(proxy.port) as client:
        for number in range(1, 4):
            streams = [client.open("POST", "/", body=b"not idempotent") for _ in range(10)]
            assert [client.answer(stream).status for stream in streams] == [502] * 10
            assert one.accepted == number
            assert proxy.metric("vortex_backend_breaker_state") == (2 if number == 3 else 0)


def test_a_client_that_goes_away_resets_its_stream_only(vortex, backend):
    seen = {}

    def script(peer):
        waiting = peer.request()
        seen["waiting"] = waiting
        peer.answer(peer.request(), Answer(b"ok"))
        peer.wait(lambda: waiting.reset is not None)
        seen["code"] = waiting.reset
        peer.answer(peer.request(), Answer(b"again"))
        peer.read_until_closed()

    one = backend(http2(script))
    proxy = vortex(one, route=H2)
    with Client(proxy.port) as client:
        client.open()
        one.wait_requests(1)
        assert proxy.get().body == b"ok"
        client.reset(1)
        wait_until(lambda: "code" in seen, 10, "the reset")
    assert seen["code"] == Codes.CANCEL
    assert proxy.get().body == b"again"
    assert one.accepted == 1


# Time


def test_no_answer_in_time(vortex, backend):
    def script(peer):
        peer.read_until_closed()

    proxy = vortex(backend(http2(script)), route=route(timeouts={"response": "300ms"}, retries=False))
    assert proxy.get().status == 504
    assert proxy.log(1)[0]["reason"] == "response_timeout"


def test_a_stalled_answer(vortex, backend):
    def script(peer):
        request = peer.request()
        peer.respond(request)
        peer.send(request, b"part")
        peer.read_until_closed()

    proxy = vortex(backend(http2(script)), route=route(timeouts={"idle": "300ms"}))
    with Client(proxy.port) as client:
        answer = client.request()
    assert answer.reset is not None
    assert proxy.log(1)[0]["reason"] == "backend_idle_timeout"


def test_idle_connections_end(vortex, backend):
    one = backend(http2_serve())
    proxy = vortex(one, route=route(pool={"idle": "200ms"}))
    assert proxy.get().status == 200
    wait_until(lambda: one.live == 0, 10, "the end of an idle connection")
    assert proxy.get().status == 200
    assert one.accepted == 2


def test_a_connection_carries_so_many_requests(vortex, backend):
    one = backend(http2_serve())
    proxy = vortex(one, route=route(pool={"max_requests": 3}))
    for _ in range(9):
        assert proxy.get().status == 200
    assert [len([r for r in one.requests if r.connection == n]) for n in (1, 2, 3)] == [3, 3, 3]


def test_health_checks_speak_it_too(vortex, backend):
    one = backend(http2_serve())
    proxy = vortex(one, route=route(health_check={"path": "/hz", "interval": "50ms", "healthy": 1}))
    wait_until(lambda: any(r.path == "/hz" for r in one.requests), 10, "a check")
    wait_until(lambda: proxy.metric("vortex_backend_healthy") == 1, 10, "a healthy backend")


# What is no HTTP/2


def test_an_answer_of_http1_is_told_as_such(vortex, backend):
    def script(conn):
        conn.sock.recv(65536)
        conn.send(response(b"what?", status="400 Bad Request"))
        conn.gone()

    proxy = vortex(backend(script), route=H2)
    assert proxy.get().status == 502
    entry = proxy.log(1)[0]
    assert (entry["reason"], entry["detail"]) == ("bad_response", "the backend does not speak HTTP/2")


def test_a_backend_without_alpn_is_told_as_such(vortex, backend, ca):
    one = backend(serve(), tls=ca.issue("backend.internal").server_context())
    proxy = vortex(one, route=route(tls={"ca": str(ca.path), "server_name": "backend.internal"}))
    assert proxy.get().status == 502
    entry = proxy.log(1)[0]
    assert entry["reason"] == "backend_tls_failed" and "ALPN" in entry["detail"]


def test_nobody_there(vortex, dead):
    proxy = vortex(dead, route=H2)
    assert proxy.get().status == 502
    assert {answer.status for answer in get_all(proxy, 20)} <= {502, 503}
    assert proxy.log(1)[0]["reason"] == "connect_failed"


# WebSocket


def key_digest(key):
    return base64.b64encode(hashlib.sha1(key.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()).decode()


def echo_tunnel(peer):
    request = peer.head()
    assert request.method == "CONNECT" and request.get(":protocol") == "websocket"
    assert not request.all("sec-websocket-key") and not request.all("upgrade")
    peer.respond(request, 200, [("sec-websocket-protocol", "chat")])
    done = 0
    while not request.ended:
        peer.read()
        if len(request.body) > done:
            peer.send(request, request.body[done:])
            done = len(request.body)
    peer.end(request)
    peer.read_until_closed()


def test_a_websocket_of_http1_becomes_an_extended_connect(vortex, backend):
    proxy = vortex(backend(http2(echo_tunnel, {Settings.ENABLE_CONNECT_PROTOCOL: 1})), route=H2)
    key = base64.b64encode(bytes(16)).decode()
    with proxy.client() as client:
        client.send(
            f"GET /chat HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        answer = client.head()
        assert answer.status == 101 and answer.get("sec-websocket-accept") == key_digest(key)
        assert answer.get("sec-websocket-protocol") == "chat" and answer.get("upgrade") == "websocket"
        for text in (b"hello", b"x" * 50_000):
            client.send(text)
            assert client.stream.exactly(len(text)) == text
        client.sock.shutdown(1)
        assert client.rest() == b""


def test_a_websocket_of_http2_to_a_backend_of_http2(vortex, backend):
    proxy = vortex(backend(http2(echo_tunnel, {Settings.ENABLE_CONNECT_PROTOCOL: 1})), route=H2)
    with Client(proxy.port) as client:
        stream = client.open(
            end=False,
            pseudo=[
                (":method", "CONNECT"),
                (":protocol", "websocket"),
                (":scheme", "http"),
                (":path", "/chat"),
                (":authority", "test"),
            ],
        )
        answer = client.answers[stream]
        client.wait(lambda: answer.status == 200)
        client.send(stream, b"hello")
        client.wait(lambda: answer.body == b"hello")
        client.end(stream)
        client.wait(lambda: answer.ended)


def test_a_backend_that_takes_no_websockets(vortex, backend):
    proxy = vortex(backend(http2_serve()), route=route(circuit_breaker={"failures": 1}))
    headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Key": "AAAA"}
    for _ in range(3):  # the backend is not to blame
        assert proxy.get("/", headers).status == 501
    assert proxy.get("/").status == 200


def test_another_upgrade_is_not_asked_for(vortex, backend):
    proxy = vortex(backend(http2_serve()), route=H2)
    answer = proxy.get("/", {"Upgrade": "chat/2", "Connection": "Upgrade"})
    assert answer.status == 200
    assert not [pair for pair in answer.json()["headers"] if pair[0] == "upgrade"]
