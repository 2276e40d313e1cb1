# SPDX-License-Identifier: Apache-2.0
"""Bodies pass as they come, in bounded memory whoever is slow, and every wait has its end."""

import hashlib
import pathlib
import threading
import time

import pytest

from harness import http1
from harness.backend import echo, response, serve
from harness.client import request
from harness.net import stalled_value
from harness.proxy import memory_slack, settle
from harness.wait import wait_until

MIB = 1 << 20
BLOCK = bytes(range(256)) * 256


def kernel_buffers():
    """The most that two TCP connections may hold in the kernel here: both send sides, and the one receive side that tunes
    itself (the tests fix the other)."""
    receive, send = (
        int(pathlib.Path(f"/proc/sys/net/ipv4/tcp_{name}").read_text().split()[2])
        for name in ("rmem", "wmem")
    )
    return receive + 2 * send


# What may be on its way when one side stops: the kernel's buffers and some MiB in the proxy. Bodies are far bigger.
IN_FLIGHT = kernel_buffers() + 8 * MIB
BLOCKS = 3 * IN_FLIGHT // len(BLOCK)
NO_RETRY = {"retries": {"attempts": 0}}


class Sender:
    """Sends `blocks` blocks of 64 KiB in a thread and counts them."""

    def __init__(self, send, blocks):
        self.sent = 0
        self.send = send
        self.blocks = blocks
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        for _ in range(self.blocks):
            if self.send(BLOCK) is False:
                return
            self.sent += len(BLOCK)


# Nothing is held back


def test_response_pieces_are_passed_on_as_they_come(vortex, backend):
    """Server-sent events: each piece reaches the client before the next one is sent."""
    step = threading.Semaphore(0)

    def script(conn):
        conn.request()
        conn.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for number in range(5):
            conn.send(b"7\r\ndata: %d\r\n" % number)
            step.acquire(timeout=20)
        conn.send(b"0\r\n\r\n")

    proxy = vortex(backend(script))
    with proxy.client() as client:
        client.send(request("GET", "/"))
        assert client.head().framing == "chunked"
        for number in range(5):
            while f"data: {number}".encode() not in client.stream.buffer:
                assert client.stream.fill()
            step.release()
        while not client.stream.buffer.endswith(b"0\r\n\r\n"):
            assert client.stream.fill()


def test_request_pieces_are_passed_on_as_they_come(vortex, backend):
    """The backend sees each piece, and can answer it, before the next is sent: a full-duplex exchange."""

    def script(conn):
        incoming = conn.head()
        assert incoming.framing == "chunked"
        conn.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(5):
            size = int(conn.stream.line(), 16)
            piece = conn.stream.exactly(size)
            conn.stream.exactly(2)
            conn.send(b"%x\r\n%s\r\n" % (size, piece))
        assert conn.stream.line() == b"0"
        assert conn.stream.line() == b""
        conn.send(b"0\r\n\r\n")

    proxy = vortex(backend(script))
    with proxy.client() as client:
        client.send(request("POST", "/", {"Transfer-Encoding": "chunked"}))
        client.head()
        for number in range(5):
            client.send(b"7\r\npiece %d\r\n" % number)
            while f"piece {number}".encode() not in client.stream.buffer:
                assert client.stream.fill()
        client.send(b"0\r\n\r\n")
        while not client.stream.buffer.endswith(b"0\r\n\r\n"):
            assert client.stream.fill()


def test_100_mib_pass_unchanged_both_ways(vortex, backend):
    blocks = 1600
    whole = hashlib.sha256()
    for _ in range(blocks):
        whole.update(BLOCK)
    got = hashlib.sha256()

    def script(conn):
        conn.head()
        left = blocks * len(BLOCK)
        while left:
            if not conn.stream.buffer:
                assert conn.stream.fill(1 << 20)
            piece = conn.stream.take(left)
            got.update(piece)
            left -= len(piece)
        conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (blocks * len(BLOCK)))
        for _ in range(blocks):
            conn.send(BLOCK)

    proxy = vortex(backend(script))
    with proxy.client() as client:
        client.send(request("POST", "/", {"Content-Length": str(blocks * len(BLOCK))}))
        for _ in range(blocks):
            client.send(BLOCK)
        answer = client.head()
        left = int(answer.get("content-length"))
        back = hashlib.sha256()
        while left:
            if not client.stream.buffer:
                assert client.stream.fill(1 << 20)
            piece = client.stream.take(left)
            back.update(piece)
            left -= len(piece)
    assert got.digest() == back.digest() == whole.digest()


# Backpressure


@pytest.mark.parametrize("framing", ["length", "chunked", "tls"])
def test_slow_reader_stops_the_backend_and_memory_stays_bounded(vortex, backend, ca, framing):
    blocks = BLOCKS
    senders = []

    def script(conn):
        conn.request()
        if framing == "chunked":
            conn.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            senders.append(Sender(lambda block: conn.send(b"10000\r\n" + block + b"\r\n"), blocks))
            senders[0].thread.join()
            conn.send(b"0\r\n\r\n")
        else:
            conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (blocks * len(BLOCK)))
            senders.append(Sender(conn.send, blocks))
            senders[0].thread.join()
        conn.gone()

    listener = {"tls": ca.issue("localhost").config()} if framing == "tls" else None
    proxy = vortex(backend(script), listener=listener)
    before = proxy.rss_bytes()
    options = {"tls": ca.client_context(), "sni": "localhost"} if listener else {}
    with proxy.client(rcvbuf=65536, **options) as client:
        client.send(request("GET", "/", host="localhost"))
        wait_until(lambda: senders, what="the response to begin")
        assert stalled_value(lambda: senders[0].sent) < IN_FLIGHT
        assert proxy.rss_bytes() - before < 16 * MIB * memory_slack()
        answer = client.read()
        assert len(answer.body) == blocks * len(BLOCK)
        assert answer.body == BLOCK * blocks


def test_many_slow_readers_take_bounded_memory(vortex, backend):
    """A hundred readers that do not read, each of a 4 MiB answer: at most 512 KiB for each in the proxy."""

    def script(conn):
        conn.request()
        conn.send(response(BLOCK * 64))
        conn.gone()

    proxy = vortex(backend(script))
    before = proxy.rss_bytes()
    clients = [proxy.client(rcvbuf=4096) for _ in range(100)]
    for client in clients:
        client.send(request("GET", "/"))
    highest = before

    def megabytes():
        """Its highest so far: the kernel may take a page back at any time."""
        nonlocal highest
        highest = max(highest, proxy.rss_bytes())
        return highest // MIB

    stalled_value(megabytes)
    assert highest - before < 50 * MIB * memory_slack()
    assert clients[0].read().body == BLOCK * 64


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_slow_backend_stops_the_upload_and_memory_stays_bounded(vortex, backend, framing):
    blocks = BLOCKS
    go = threading.Event()

    def script(conn):
        incoming = conn.head()
        go.wait(40)
        conn.send(echo(conn.body(incoming)))
        conn.gone()

    target = backend(script, rcvbuf=65536)
    proxy = vortex(target)
    before = proxy.rss_bytes()
    with proxy.client() as client:
        if framing == "length":
            client.send(request("POST", "/", {"Content-Length": str(blocks * len(BLOCK))}))
            sender = Sender(client.try_send, blocks)
        else:
            client.send(request("POST", "/", {"Transfer-Encoding": "chunked"}))
            sender = Sender(lambda block: client.try_send(b"10000\r\n" + block + b"\r\n"), blocks)
        target.wait_requests()
        assert stalled_value(lambda: sender.sent) < IN_FLIGHT
        assert proxy.rss_bytes() - before < 16 * MIB * memory_slack()
        go.set()
        sender.thread.join(40)
        if framing == "chunked":
            client.send(b"0\r\n\r\n")
        assert client.read().json()["length"] == blocks * len(BLOCK)


def test_slow_tunnel_reader_stops_the_backend(vortex, backend):
    senders = []

    def script(conn):
        conn.head()
        conn.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
        senders.append(Sender(conn.send, BLOCKS))
        senders[0].thread.join()

    proxy = vortex(backend(script))
    before = proxy.rss_bytes()
    with proxy.client(rcvbuf=65536) as client:
        client.send(request("GET", "/", {"Connection": "Upgrade", "Upgrade": "x"}))
        assert client.read().status == 101
        wait_until(lambda: senders)
        assert stalled_value(lambda: senders[0].sent) < IN_FLIGHT
        assert proxy.rss_bytes() - before < 16 * MIB * memory_slack()
        assert client.stream.exactly(BLOCKS * len(BLOCK)) == BLOCK * BLOCKS


def test_pipelining_without_reading_is_bounded(vortex, backend):
    """A client that sends requests for ever and reads nothing is stopped by backpressure."""
    target = backend(serve(lambda r: response(b"z" * 20000)))
    proxy = vortex(target)
    before = proxy.rss_bytes()
    one = request("GET", "/" + "p" * 1000)
    with proxy.client(rcvbuf=4096, timeout=3) as client:
        sent = 0
        with pytest.raises(TimeoutError):
            while sent < 2 * IN_FLIGHT:
                client.send(one * 60)
                sent += len(one) * 60
        assert sent < IN_FLIGHT
        assert proxy.rss_bytes() - before < 16 * MIB * memory_slack()


def test_memory_does_not_grow_with_the_number_of_requests(vortex, backend):
    proxy = vortex(backend())
    with proxy.client() as client:

        def run(count):
            for number in range(count):
                client.send(request("POST", f"/{number}", {"X-Big": "h" * 2000}, b"b" * 3000) * 10)
                for _ in range(10):
                    client.read()

        run(60)
        before = proxy.rss_bytes()
        run(250)
        assert proxy.rss_bytes() - before < 4 * MIB * memory_slack()


# Timeouts of the client's side


def ends_with_408(client):
    """408 and the end, or just the end (for who never sent a whole head both are right)."""
    try:
        answer = client.read()
    except (http1.Closed, http1.Incomplete) as end:
        assert not isinstance(end, http1.Incomplete) or end.message in (None, b"")
        return
    assert answer.status == 408
    assert answer.json()["error"]
    assert answer.closes
    assert client.ended()


@pytest.mark.parametrize(
    "start", [b"G", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: test\r\nX-A: b\r\n"]
)
def test_head_that_does_not_end_gets_408_or_the_end(vortex, backend, start):
    target = backend()
    proxy = vortex(target, timeouts={"header": "500ms"})
    with proxy.client() as client:
        client.send(start)
        ends_with_408(client)
    assert not target.connections


def test_dribbled_head_does_not_extend_its_time(vortex, backend):
    """Slowloris: bytes keep coming, the head still has to be whole in time. (What comes after the 408 may be read and thrown
    away for a while: lingering close.)"""
    proxy = vortex(backend(), timeouts={"header": "1s"})
    with proxy.client() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: test\r\n")
        deadline = time.monotonic() + 20
        while client.silent(0.2) and client.try_send(b"X-A: b\r\n"):
            assert time.monotonic() < deadline, "no answer after twenty times the header timeout"
        ends_with_408(client)


def test_header_timeout_applies_to_the_second_request_too(vortex, backend):
    proxy = vortex(backend(), timeouts={"header": "1s", "idle": "60s"})
    with proxy.client() as client:
        assert client.request("GET", "/").status == 200
        client.send(b"GET / HT")
        ends_with_408(client)


def test_connection_that_says_nothing_is_closed(vortex, backend):
    """Nothing was asked, so nothing is answered: a plain close (or 408, which browsers ignore)."""
    proxy = vortex(backend(), timeouts={"header": "500ms", "idle": "500ms"})
    with proxy.client() as client:
        ends_with_408(client)


def test_idle_connection_is_closed_without_an_answer(vortex, backend):
    """A 408 on an idle keep-alive connection could be taken for the answer to the next request."""
    proxy = vortex(backend(), timeouts={"idle": "1s"})
    with proxy.client() as client:
        assert client.request("GET", "/").status == 200
        assert client.ended()


def test_body_that_stops_gets_408_and_the_end(vortex, backend):
    target = backend()
    proxy = vortex(target, timeouts={"body": "500ms"}, route=NO_RETRY)
    for headers, start in (
        ({"Content-Length": "100"}, b"abc"),
        ({"Transfer-Encoding": "chunked"}, b"5\r\nab"),
    ):
        with proxy.client() as client:
            client.send(request("POST", "/", headers) + start)
            answer = client.read()
            assert answer.status == 408
            assert answer.json()["error"]
            assert answer.closes
            assert client.ended()
    assert not any(seen.complete for seen in target.requests)


def test_slow_but_steady_body_is_not_cut(vortex, backend):
    """timeouts.body is between reads, as nginx's client_body_timeout; timeouts.response begins when the request is out."""
    proxy = vortex(backend(), timeouts={"body": "2s"}, route={"timeouts": {"response": "2s"}})
    with proxy.client() as client:
        client.send(request("POST", "/", {"Content-Length": "25"}))
        for _ in range(25):
            client.send(b"x")
            settle(0.15)
        assert client.read().json()["length"] == 25


def test_client_that_does_not_read_is_dropped_after_the_write_timeout(vortex, backend):
    ended = threading.Event()

    def script(conn):
        conn.request()
        conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (len(BLOCK) * BLOCKS))
        try:
            for _ in range(BLOCKS):
                conn.send(BLOCK)
        finally:
            ended.set()

    proxy = vortex(backend(script), timeouts={"write": "1s"}, route={"timeouts": {"idle": "50s"}})
    with proxy.client(rcvbuf=4096) as client:
        client.send(request("GET", "/"))
        assert ended.wait(30), "the exchange goes on although the client does not read"
        with pytest.raises(http1.Incomplete):
            client.read()
    proxy.wait_metric("vortex_connections_active", 0)


# Timeouts of the backend's side


def test_connect_timeout_is_504(vortex, blackhole):
    proxy = vortex(blackhole, route={"timeouts": {"connect": "500ms"}, **NO_RETRY})
    answer = proxy.get()
    assert answer.status == 504
    assert answer.json()["error"]
    assert proxy.log(1)[0]["reason"] == "connect_timeout"


def test_response_timeout_is_504_and_ends_the_backend_request(vortex, backend):
    gone = threading.Event()

    def script(conn):
        conn.request()
        if conn.gone(20):
            gone.set()

    target = backend(script)
    proxy = vortex(target, route={"timeouts": {"response": "500ms"}, **NO_RETRY})
    with proxy.client() as client:
        answer = client.request("GET", "/")
        assert answer.status == 504
        assert answer.json()["error"]
    assert gone.wait(20)
    assert len(target.requests) == 1
    assert proxy.log(1)[0]["reason"] == "response_timeout"


def test_post_that_timed_out_is_not_sent_again(vortex, backend):
    target = backend(lambda conn: (conn.request(), conn.gone(20)))
    proxy = vortex(target, route={"timeouts": {"response": "300ms"}, "retries": {"attempts": 3}})
    assert proxy.request("POST", "/", body=b"x").status == 504
    assert len(target.requests) == 1


def test_half_a_head_counts_as_no_answer(vortex, backend):
    def script(conn):
        conn.request()
        conn.send(b"HTTP/1.1 200 OK\r\nX-A: b\r\n")
        conn.gone(20)

    proxy = vortex(backend(script), route={"timeouts": {"response": "500ms"}, **NO_RETRY})
    assert proxy.get().status == 504


def test_response_timeout_does_not_cut_a_long_body(vortex, backend):
    def script(conn):
        conn.request()
        conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n")
        for _ in range(20):
            conn.send(b"x")
            settle(0.15)
        conn.gone()

    proxy = vortex(backend(script), route={"timeouts": {"response": "2s"}, **NO_RETRY})
    assert proxy.get().body == b"x" * 20


@pytest.mark.parametrize(
    "start",
    [b"Content-Length: 100\r\n\r\nabc", b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"],
    ids=["length", "chunked"],
)
def test_backend_that_stops_in_the_body_is_cut_off_after_the_idle_timeout(vortex, backend, start):
    def script(conn):
        conn.request()
        conn.send(b"HTTP/1.1 200 OK\r\n" + start)
        conn.gone(30)

    proxy = vortex(backend(script), route={"timeouts": {"idle": "500ms"}, **NO_RETRY})
    with proxy.client() as client:
        client.send(request("GET", "/"))
        with pytest.raises(http1.Incomplete):
            client.read()


def test_idle_client_of_a_slow_backend_is_not_closed_by_the_keep_alive_timeout(vortex, backend):
    """timeouts.idle is between requests; while the backend thinks, the client rightly says nothing."""
    proxy = vortex(backend(serve(delay=1.5)), timeouts={"idle": "1s", "header": "1s", "body": "1s"})
    with proxy.client() as client:
        assert client.request("GET", "/").status == 200
        assert client.request("POST", "/", body=b"x").status == 200


def test_many_slow_heads_cost_almost_nothing(vortex, backend):
    """300 connections stuck in their heads: the proxy serves others, its memory and CPU hardly move."""
    proxy = vortex(backend(), timeouts={"header": "60s"})
    proxy.get()
    before = proxy.rss_bytes()
    clients = [proxy.client() for _ in range(300)]
    for client in clients:
        client.send(b"GET / HTTP/1.1\r\nHost: test\r\nX-Slow: ")
    assert proxy.get().status == 200
    cpu = proxy.cpu_seconds()
    settle(1)
    assert proxy.cpu_seconds() - cpu < 0.3
    assert proxy.rss_bytes() - before < 24 * MIB * memory_slack()
