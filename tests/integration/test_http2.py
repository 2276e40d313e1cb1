# SPDX-License-Identifier: Apache-2.0
"""HTTP/2 from clients: negotiation, requests and answers, bodies and windows, WebSocket, drains; by several clients."""

import json
import random
import shutil
import subprocess
import threading

import httpx
import pytest
from h2.errors import ErrorCodes

from harness.backend import response, serve
from harness.http1 import chunked
from harness.http2 import Client
from harness.wait import wait_until


def mirror(request):
    """Says what the backend was sent."""
    seen = {
        "method": request.method,
        "target": request.target,
        "headers": [[name.lower(), value] for name, value in request.headers],
        "body": len(request.body),
    }
    return response(json.dumps(seen).encode())


def seen_by_backend(answer):
    assert answer.status == 200, answer
    seen = json.loads(answer.body)
    seen["headers"] = dict(seen["headers"])
    return seen


@pytest.fixture
def h2c(vortex, backend):
    """A proxy with a plain listener and a client with prior knowledge: h2c(script, **config) -> proxy, client."""
    clients = []

    def make(script=None, *, client=None, **config):
        proxy = vortex(backend(script), **config)
        clients.append(Client(proxy.port, **(client or {})))
        return proxy, clients[-1]

    yield make
    for one in clients:
        one.close()


def secure(vortex, target, pair, **config):
    listener = {"tls": {"cert": str(pair.cert), "key": str(pair.key)}}
    return vortex(target, listener=listener, **config)


def test_prior_knowledge_on_a_plain_listener(h2c):
    proxy, client = h2c(serve(mirror))
    seen = seen_by_backend(client.request("GET", "/a?b=c", [("x-one", "1")], authority="example.test"))
    assert (seen["method"], seen["target"]) == ("GET", "/a?b=c")
    assert seen["headers"]["host"] == "example.test"
    assert seen["headers"]["x-one"] == "1"
    assert proxy.get().status == 200  # HTTP/1.1 on the same port
    assert proxy.metric("vortex_http_requests_total", code="200", protocol="h2") == 1
    entry = proxy.log(2)[0]
    assert entry["protocol"] == "HTTP/2"


def test_alpn_prefers_h2(vortex, backend, ca):
    proxy = secure(vortex, backend(serve(mirror)), ca.issue("localhost"))
    with Client(proxy.port, tls=ca.client_context(alpn=("http/1.1", "h2"))) as client:
        assert client.sock.selected_alpn_protocol() == "h2"
        seen = seen_by_backend(client.request(authority="localhost"))
        assert seen["headers"]["x-forwarded-proto"] == "https"


def test_the_preface_may_drip_in(vortex, backend):
    proxy = vortex(backend(serve(mirror)))
    with proxy.client() as raw:
        for byte in b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0":
            raw.send(bytes([byte]))
        assert raw.sock.recv(9)[3] == 4  # SETTINGS


def test_streams_run_beside_each_other(h2c):
    release = threading.Event()

    def script(request):
        if request.target == "/slow":
            assert release.wait(20)
        return response(request.target.encode())

    _, client = h2c(serve(script))
    slow = client.open(path="/slow")
    for number in range(50):
        assert client.request(path=f"/{number}").body == f"/{number}".encode()
    assert not client.answers[slow].ended
    release.set()
    assert client.answer(slow).body == b"/slow"


def test_bodies_both_ways(h2c):
    body = random.Random(1).randbytes(3 << 20)
    _, client = h2c(serve(lambda request: response(request.body)))
    assert client.request("POST", body=body).body == body
    stream = client.open("POST", headers=[("content-length", str(len(body)))], body=body)
    answer = client.answer(stream)
    assert answer.body == body
    assert answer.header("content-length") == str(len(body))


def test_trailers_both_ways(h2c):
    def script(request):
        assert [(name.lower(), value) for name, value in request.trailers] == [("x-sum", "7")]
        return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(b"a", b"bc", trailers=[(b"X-Check", b"yes")])

    _, client = h2c(serve(script))
    stream = client.open("POST", end=False)
    client.send(stream, b"data")
    client.end(stream, [("x-sum", "7")])
    answer = client.answer(stream)
    assert (answer.body, answer.trailers) == (b"abc", [("x-check", "yes")])


def test_head_and_statuses_without_body(h2c):
    def script(request):
        if request.target == "/204":
            return b"HTTP/1.1 204 No Content\r\n\r\n"
        if request.target == "/304":
            return b'HTTP/1.1 304 Not Modified\r\nETag: "a"\r\n\r\n'
        return b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"

    _, client = h2c(serve(script))
    head = client.request("HEAD")
    assert (head.status, head.body, head.header("content-length")) == (200, b"", "5")
    assert client.request(path="/204").status == 204
    assert client.request(path="/304").header("etag") == '"a"'


def test_continue_and_early_hints_pass(h2c):
    def script(conn):
        while True:
            head = conn.head()
            conn.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            request = conn.body(head)
            conn.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
            conn.send(response(request.body))

    _, client = h2c(script)
    stream = client.open("POST", headers=[("expect", "100-continue"), ("content-length", "4")], end=False)
    client.wait(lambda: client.answers[stream].interim)
    client.send(stream, b"body", end=True)
    answer = client.answer(stream)
    assert [dict(head)[":status"] for head in answer.interim] == ["100", "103"]
    assert answer.body == b"body"


def test_an_early_answer_refuses_the_rest_of_the_body(h2c):
    def script(conn):
        conn.head()
        conn.send(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
        conn.half_close()
        conn.gone()

    _, client = h2c(script)
    stream = client.open("POST", end=False)
    client.send(stream, b"x" * 1000)
    client.wait(lambda: client.answers[stream].reset is not None)
    answer = client.answers[stream]
    assert (answer.status, answer.body, answer.ended) == (413, b"no", True)
    assert answer.reset == ErrorCodes.NO_ERROR


def test_a_cut_answer_is_seen_as_cut(h2c):
    def script(conn):
        conn.head()
        conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        conn.close()

    proxy, client = h2c(script)
    answer = client.answer(client.open())
    assert (answer.body, answer.ended) == (b"half", False)
    assert answer.reset == ErrorCodes.INTERNAL_ERROR
    assert proxy.log(1)[0]["reason"] == "backend_closed"


def test_a_reset_lets_the_backend_go(h2c):
    gone = threading.Event()

    def script(conn):
        conn.head()
        if conn.gone(20):
            gone.set()

    proxy, client = h2c(script)
    stream = client.open()
    proxy.wait_metric("vortex_backend_active_requests", 1)
    client.reset(stream)
    assert gone.wait(20)
    assert proxy.log(1)[0]["reason"] == "client_gone"
    assert proxy.metric("vortex_http2_glitches_total", kind="reset") == 1


def test_cookie_crumbs_become_one_field(h2c):
    _, client = h2c(serve(mirror))
    crumbs = [("cookie", "a=1"), ("cookie", "b=2"), ("cookie", "c=3")]
    assert seen_by_backend(client.request(headers=crumbs))["headers"]["cookie"] == "a=1; b=2; c=3"


def test_a_stalled_stream_stops_only_itself(h2c):
    """The backend does not read one request's body: that stops where its window ends, the others go on."""
    go = threading.Event()

    def script(conn):
        while True:
            head = conn.head()
            if head.target == "/stall":
                assert go.wait(30)
            conn.send(response(str(len(conn.body(head).body)).encode()))

    proxy, client = h2c(script)
    before = proxy.rss_bytes()
    stalled = client.open("POST", "/stall", end=False)
    sent = 0
    # What socket buffers on the way hold comes on top of the window.
    while sent < 64 << 20:
        room = min(client.h2.local_flow_control_window(stalled), 16384)
        if room <= 0:
            try:
                client.sock.settimeout(0.5)
                client.read()
                continue
            except TimeoutError:
                break
            finally:
                client.sock.settimeout(client.timeout)
        client.h2.send_data(stalled, b"s" * room)
        client.flush()
        sent += room
    assert sent < 64 << 20
    for _ in range(5):
        assert client.request("POST", "/go", body=b"x" * 300000).body == b"300000"
    assert proxy.rss_bytes() - before < 64 << 20
    go.set()
    client.end(stalled)
    assert client.answer(stalled).body == str(sent).encode()


def test_a_client_that_gives_no_window_stops_only_its_stream(h2c):
    body = b"z" * 300000
    proxy, client = h2c(serve(lambda request: response(body)), client={"window": 1000})
    client.reading = False
    stuck = client.open()
    client.wait(lambda: len(client.answers[stuck].body) == 1000)
    client.reading = True
    other = client.open(path="/other")
    assert client.answer(other).body == body
    assert len(client.answers[stuck].body) == 1000
    client.h2.acknowledge_received_data(1000, stuck)
    client.flush()
    assert client.answer(stuck).body == body
    assert proxy.metric("vortex_backend_active_requests") == 0


def test_a_window_that_stays_shut_is_not_waited_for(h2c):
    proxy, client = h2c(
        serve(lambda request: response(b"z" * 300000)), client={"window": 1000}, timeouts={"write": "500ms"}
    )
    client.reading = False
    stream = client.open()
    client.wait(lambda: client.answers[stream].reset is not None)
    assert proxy.log(1)[0]["reason"] == "client_write_timeout"
    assert client.request("HEAD").status == 200  # the connection lives


def test_a_body_that_does_not_come_is_not_waited_for(h2c):
    proxy, client = h2c(serve(mirror), timeouts={"body": "300ms"})
    stream = client.open("POST", end=False, headers=[("content-length", "5")])
    assert client.answer(stream).status == 408
    assert proxy.log(1)[0]["reason"] == "request_timeout"


def test_an_idle_connection_is_ended(h2c):
    _, client = h2c(serve(mirror), timeouts={"idle": "1s"})
    assert client.request().status == 200
    assert client.wait_closed() == ErrorCodes.NO_ERROR


def test_a_head_that_does_not_end_is_not_waited_for(h2c):
    proxy, client = h2c(serve(mirror), timeouts={"header": "1s"})
    client.wait(lambda: client.acked)
    client.send_raw(b"\0\0\1\1\0\0\0\0\1\x82")  # HEADERS without END_HEADERS
    client.wait_closed()
    assert proxy.log(1)[0]["reason"] == "request_timeout"


@pytest.mark.parametrize(
    "options, status, word",
    [
        ({"path": "/" + "a" * 9000}, 414, "uri_too_long"),
        ({"headers": [("x-big", "b" * 70000)]}, 431, "headers_too_large"),
        ({"headers": [(f"x-{n}", "1") for n in range(200)]}, 431, "headers_too_large"),
        ({"path": "/../x"}, 400, "bad_path"),
        ({"headers": [("host", "other.test")]}, 400, "bad_host"),
        ({"method": "POST", "headers": [("content-length", "2000")], "body": b"x" * 2000}, 413, "body_too_large"),
        ({"pseudo": [(":method", "CONNECT"), (":authority", "x.test:1")]}, 501, "not_implemented"),
    ],
)
def test_what_is_refused_costs_only_its_stream(h2c, options, status, word):
    proxy, client = h2c(serve(mirror), limits={"body_bytes": "1KiB"})
    answer = client.request(**options)
    assert answer.status == status
    assert json.loads(answer.body)["error"]
    assert proxy.log(1)[0]["reason"] == word
    assert client.request().status == 200


@pytest.mark.parametrize(
    "headers",
    [
        [("connection", "close")],
        [("transfer-encoding", "chunked")],
        [("upgrade", "websocket")],
        [("te", "gzip")],
        [("X-Upper", "1")],
        [("x bad", "1")],
        [("x-nul", "a\0b")],
        [("x-line", "a\r\nGET /smuggled HTTP/1.1")],
        [(":late", "1")],
    ],
)
def test_malformed_requests_reset_their_stream(h2c, headers):
    proxy, client = h2c(serve(mirror))
    stream = client.open(headers=headers)
    client.wait(lambda: client.answers[stream].reset is not None or client.answers[stream].ended)
    answer = client.answers[stream]
    assert answer.reset == ErrorCodes.PROTOCOL_ERROR or answer.status == 400
    assert client.request(path="/next").status == 200
    assert proxy.log(2)[0]["reason"] == "bad_request"


def test_a_body_longer_than_it_said_is_never_delivered_whole(h2c):
    lengths = []

    def script(conn):
        with pytest.raises(Exception):  # noqa: B017, PT011 - whatever it is, it is no whole request
            while True:
                lengths.append(len(conn.request().body))

    _, client = h2c(script)
    stream = client.open("POST", headers=[("content-length", "3")], end=False)
    client.h2.send_data(stream, b"12345", end_stream=True)
    client.flush()
    client.wait(lambda: client.answers[stream].reset is not None or client.closed)
    assert not lengths


def test_421_for_a_host_of_another_certificate(vortex, backend, ca):
    first, second = ca.issue("one.test"), ca.issue("two.test")
    pairs = [{"cert": str(pair.cert), "key": str(pair.key)} for pair in (first, second)]
    proxy = vortex(backend(serve(mirror)), listener={"tls": {"certificates": pairs}})
    with Client(proxy.port, tls=ca.client_context(alpn=("h2",)), sni="one.test") as client:
        assert client.request(authority="one.test").status == 200
        assert client.request(authority="two.test").status == 421


def test_the_limit_of_streams_is_announced_and_held(h2c):
    go = threading.Event()

    def script(request):
        assert go.wait(20)
        return response(b"ok")

    proxy, client = h2c(serve(script), limits={"concurrent_streams": 5})
    client.wait(lambda: client.acked)
    assert client.h2.remote_settings.max_concurrent_streams == 5
    streams = [client.open() for _ in range(5)]
    wait_until(lambda: proxy.metric("vortex_backend_active_requests") == 5)
    go.set()
    assert all(client.answer(stream).status == 200 for stream in streams)


def test_a_drain_ends_connections_when_their_streams_are_done(vortex, backend):
    go = threading.Event()

    def script(request):
        assert go.wait(20)
        return response(b"late")

    proxy = vortex(backend(serve(script)))
    with Client(proxy.port) as client, Client(proxy.port) as idle:
        idle.wait(lambda: idle.acked)
        stream = client.open()
        proxy.wait_metric("vortex_backend_active_requests", 1)
        proxy.signal(15)
        assert idle.wait_closed() == ErrorCodes.NO_ERROR
        client.wait(lambda: client.goaways)
        go.set()
        assert client.answer(stream).body == b"late"
        assert client.wait_closed() == ErrorCodes.NO_ERROR
        assert client.goaways[-1][0] == stream
    proxy.finish()


def test_a_reload_keeps_connections(h2c):
    proxy, client = h2c(serve(mirror))
    assert client.request().status == 200
    config = dict(proxy.config)
    config["limits"] = {"headers": 20}
    proxy.reload(config)
    many = [(f"x-{n}", "1") for n in range(30)]
    wait_until(lambda: client.request(headers=many).status == 431)
    assert client.request().status == 200


def test_websocket_over_http2(h2c):
    """Extended CONNECT becomes an HTTP/1.1 upgrade, and a tunnel."""

    def script(conn):
        head = conn.head()
        assert head.method == "GET"
        assert head.get("upgrade") == "websocket"
        assert len(head.get("sec-websocket-key")) == 24
        assert head.get("sec-websocket-version") == "13"
        conn.send(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Accept: x\r\nSec-WebSocket-Protocol: chat\r\n\r\nhello"
        )
        while data := conn.sock.recv(1000):
            conn.send(data.upper())
        conn.send(b"bye")
        conn.half_close()

    proxy, client = h2c(script)
    client.wait(lambda: client.acked)
    assert client.h2.remote_settings.enable_connect_protocol == 1
    pseudo = [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"), (":path", "/chat"),
              (":authority", "test")]  # fmt: skip
    stream = client.open(pseudo=pseudo, headers=[("sec-websocket-version", "13")], end=False)
    answer = client.answers[stream]
    client.wait(lambda: answer.body == b"hello")
    assert answer.status == 200
    assert answer.header("sec-websocket-protocol") == "chat"
    assert answer.header("sec-websocket-accept") is None
    client.send(stream, b"abc")
    client.wait(lambda: answer.body == b"helloABC")
    client.end(stream)
    assert client.answer(stream).body == b"helloABCbye"
    entry = proxy.log(1)[0]
    assert (entry["status"], entry["method"]) == (101, "GET")


def test_a_refused_websocket_is_an_answer(h2c):
    _, client = h2c(serve(lambda request: response(b"no", status="403 Forbidden")))
    client.wait(lambda: client.acked)
    pseudo = [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"), (":path", "/chat"),
              (":authority", "test")]  # fmt: skip
    stream = client.open(pseudo=pseudo, end=False)
    client.wait(lambda: client.answers[stream].reset is not None)
    assert (client.answers[stream].status, client.answers[stream].body) == (403, b"no")


# Other people's clients


def test_httpx(vortex, backend, ca):
    proxy = secure(vortex, backend(serve(lambda request: response(request.body))), ca.issue("localhost", "127.0.0.1"))
    with httpx.Client(http2=True, verify=ca.client_context(alpn=None), trust_env=False) as client:
        for size in (0, 1, 100000):
            answer = client.post(f"https://127.0.0.1:{proxy.port}/", content=b"h" * size)
            assert (answer.http_version, answer.status_code, answer.content) == ("HTTP/2", 200, b"h" * size)


@pytest.mark.parametrize("tls", [False, True])
def test_curl(vortex, backend, ca, tmp_path, tls):
    target = backend(serve(lambda request: response(request.body)))
    pair = ca.issue("localhost")
    proxy = secure(vortex, target, pair) if tls else vortex(target)
    big = tmp_path / "big"
    big.write_bytes(random.Random(2).randbytes(2 << 20))
    url = f"{'https' if tls else 'http'}://localhost:{proxy.port}/"
    how = ["--http2", "--cacert", str(ca.path)] if tls else ["--http2-prior-knowledge"]
    done = subprocess.run(
        ["curl", "-sS", "--noproxy", "*", *how, "-T", str(big), "-o", str(tmp_path / "out"), "-w",
         "%{http_version} %{http_code}", url],
        capture_output=True, text=True, timeout=50, check=True)  # fmt: skip
    assert done.stdout == "2 200"
    assert (tmp_path / "out").read_bytes() == big.read_bytes()


def test_nghttp(h2c, tmp_path):
    proxy, _ = h2c(serve(lambda request: response(b"n" * 70000)))
    assert shutil.which("nghttp"), "nghttp2-client is missing: scripts/install-packages test"
    urls = [f"http://127.0.0.1:{proxy.port}/{n}" for n in range(20)]
    done = subprocess.run(["nghttp", "-s", "--no-dep", *urls, "-n"], capture_output=True, text=True, timeout=50, check=True)
    assert done.stdout.count(" 200 ") == 20, done.stdout


@pytest.mark.parametrize("tls", [False, True])
def test_h2load(vortex, backend, ca, tls):
    pair = ca.issue("localhost")
    # An echo backend of our own: the scripted one is too slow for thousands of connections.
    target = backend(serve(mirror))
    proxy = secure(vortex, target, pair) if tls else vortex(target)
    done = subprocess.run(
        ["h2load", "-n", "1000", "-c", "4", "-m", "25", f"{'https' if tls else 'http'}://127.0.0.1:{proxy.port}/"],
        capture_output=True, text=True, timeout=50, check=True)  # fmt: skip
    assert "1000 succeeded, 0 failed, 0 errored" in done.stdout, done.stdout
    proxy.wait_metric("vortex_http_requests_total", 1000, code="200", protocol="h2")


def test_a_port_for_something_else(vortex, backend):
    """What is no HTTP at all is closed without a word; what nearly is gets an answer."""
    proxy = vortex(backend())
    for line, answered in ((b"INVITE sip:a SIP/2.0\r\n\r\n", False), (b"GET / HTTP/9.9\r\n\r\n", True)):
        with proxy.client() as client:
            client.send(line)
            assert bool(client.sock.recv(100)) == answered
    assert proxy.log(2)[0]["reason"] == "not_http"
