# SPDX-License-Identifier: Apache-2.0
"""Ordinary HTTP/1.1 traffic: methods, framing both ways, connection reuse, interim answers, real peers."""

import gzip
import hashlib
import json
import random
import subprocess
import threading
import time
from email.utils import parsedate_to_datetime

import httpx
import pytest

from harness import http1, http2
from harness.backend import echo, once, response, serve
from harness.client import request
from harness.ports import take
from harness.proxy import binary
from harness.wait import wait_until

MIB = 1 << 20


def payload(size, seed=1):
    return random.Random(seed).randbytes(size)


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "QUERY", "PROPFIND"])
def test_method_reaches_the_backend_and_its_answer_comes_back(vortex, backend, method):
    proxy = vortex(backend())
    answer = proxy.request(
        method, "/some/path?a=1&b=%20", [("X-Test", "yes")], b"hello" if method in ("POST", "PUT") else b""
    )
    seen = answer.json()
    assert answer.status == 200
    assert (seen["method"], seen["target"]) == (method, "/some/path?a=1&b=%20")
    assert ["x-test", "yes"] in [[name.lower(), value] for name, value in seen["headers"]]


def test_head_gets_the_head_alone_and_the_connection_stays_usable(vortex, backend):
    proxy = vortex(
        backend(
            serve(
                lambda r: (
                    b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n" if r.method == "HEAD" else echo(r)
                )
            )
        )
    )
    with proxy.client() as client:
        answer = client.request("HEAD", "/")
        assert (answer.status, answer.get("content-length"), answer.body) == (200, "1234", b"")
        assert client.request("GET", "/next").json()["target"] == "/next"


def test_head_answer_with_transfer_encoding_has_no_body(vortex, backend):
    proxy = vortex(
        backend(
            serve(
                lambda r: (
                    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                    if r.method == "HEAD"
                    else echo(r)
                )
            )
        )
    )
    with proxy.client() as client:
        assert client.request("HEAD", "/").status == 200
        assert client.request("GET", "/next").json()["target"] == "/next"


def test_options_asterisk_is_forwarded_as_it_is(vortex, backend):
    """RFC 9112 3.2.4: the asterisk form goes on as `*`; a route with path_prefix / takes it (as the whole server)."""
    proxy = vortex(backend())
    answer = proxy.request("OPTIONS", "*")
    assert answer.status == 200
    assert answer.json()["target"] == "*"


def test_absolute_form_is_forwarded_in_origin_form(vortex, backend):
    proxy = vortex(backend())
    answer = proxy.request("GET", "http://test/abs?x=1")
    assert answer.status == 200
    assert answer.json()["target"] == "/abs?x=1"


def test_absolute_form_without_path_becomes_the_root(vortex, backend):
    proxy = vortex(backend())
    assert proxy.request("GET", "http://test").json()["target"] == "/"
    assert proxy.request("GET", "http://test?x=1").json()["target"] == "/?x=1"


def test_keep_alive_serves_many_requests_on_one_connection(vortex, backend):
    proxy = vortex(backend())
    with proxy.client() as client:
        for number in range(50):
            answer = client.request("GET", f"/{number}")
            assert answer.json()["target"] == f"/{number}"
            assert not answer.closes


def test_pipelined_requests_in_one_packet_are_answered_in_order(vortex, backend):
    proxy = vortex(backend())
    with proxy.client() as client:
        client.send(b"".join(request("POST", f"/{n}", body=b"x" * n) for n in range(20)))
        for number in range(20):
            seen = client.read().json()
            assert (seen["target"], seen["length"]) == (f"/{number}", number)


def test_pipelining_keeps_the_order_when_later_requests_are_faster(vortex, backend):
    slow = threading.Event()
    first = backend(serve(lambda r: (slow.wait(10), response(b"slow"))[1]))
    second = backend(serve(lambda r: (slow.set(), response(b"fast"))[1]))
    proxy = vortex(
        routes=[
            {"name": "slow", "match": {"path": "/slow"}, "backends": [{"id": 1, "address": first.address}]},
            {"name": "fast", "match": {"path": "/fast"}, "backends": [{"id": 1, "address": second.address}]},
        ]
    )
    with proxy.client() as client:
        client.send(request("GET", "/slow") + request("GET", "/fast"))
        threading.Timer(1.0, slow.set).start()
        assert [client.read().body, client.read().body] == [b"slow", b"fast"]


def test_pipelined_requests_split_at_every_byte(vortex, backend):
    proxy = vortex(backend())
    data = (
        request("GET", "/1", {"X-A": "b"})
        + request("POST", "/2", body=b"hello")
        + request(
            "POST",
            "/3",
            {"Transfer-Encoding": "chunked"},
            http1.chunked(b"abc", b"defg", trailers=[(b"X-T", b"v")]),
        )
        + request("GET", "/4")
    )
    with proxy.client() as client:
        client.dribble(data)
        assert [client.read().json()["target"] for _ in range(4)] == ["/1", "/2", "/3", "/4"]


@pytest.mark.parametrize("seed", range(4))
def test_pipelined_requests_split_at_random_places(vortex, backend, seed):
    dice = random.Random(seed)
    proxy = vortex(backend())
    bodies = [dice.randbytes(dice.choice([0, 1, 100, 5000, 70000])) for _ in range(12)]
    data = b"".join(
        request("POST", f"/{n}", body=body)
        if dice.random() < 0.5
        else request("POST", f"/{n}", {"Transfer-Encoding": "chunked"}, http1.chunked(body[:77], body[77:]))
        for n, body in enumerate(bodies)
    )
    with proxy.client() as client:

        def send():
            rest = data
            while rest:
                cut = dice.choice([1, 2, 3, 50, 1000, 20000])
                client.send(rest[:cut])
                rest = rest[cut:]

        sender = threading.Thread(target=send)
        sender.start()
        for number, body in enumerate(bodies):
            seen = client.read().json()
            assert (seen["target"], seen["sha256"]) == (f"/{number}", hashlib.sha256(body).hexdigest())
        sender.join()


def test_empty_lines_before_a_request_are_skipped(vortex, backend):
    """RFC 9112 2.2: at least one empty line before the request line SHOULD be ignored."""
    proxy = vortex(backend())
    with proxy.client() as client:
        client.send(b"\r\n" + request("GET", "/a"))
        assert client.read().json()["target"] == "/a"
        client.send(b"\r\n" + request("GET", "/b"))
        assert client.read().json()["target"] == "/b"


@pytest.mark.parametrize("size", [0, 1, 65536, 10 * MIB, 77777, 1234567])
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_request_body_arrives_whole(vortex, backend, size, framing):
    proxy = vortex(backend())
    body = payload(size)
    with proxy.client() as client:
        if framing == "length":
            client.send(request("POST", "/", body=body))
        else:
            pieces = [body[at : at + 40000] for at in range(0, size, 40000)]
            client.send(request("POST", "/", {"Transfer-Encoding": "chunked"}, http1.chunked(*pieces)))
        seen = client.read().json()
        assert (seen["length"], seen["sha256"]) == (size, hashlib.sha256(body).hexdigest())
        assert client.request("GET", "/next").status == 200


@pytest.mark.parametrize("size", [0, 1, 65536, 10 * MIB, 77777, 1234567])
@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_response_body_arrives_whole(vortex, backend, size, framing):
    body = payload(size)
    answers = {
        "length": serve(response(body)),
        "chunked": serve(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            + http1.chunked(*[body[at : at + 50000] for at in range(0, size, 50000)])
        ),
        "close": once(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + body),
    }
    proxy = vortex(backend(answers[framing]))
    with proxy.client() as client:
        answer = client.request("GET", "/")
        assert (answer.status, len(answer.body)) == (200, size)
        assert hashlib.sha256(answer.body).digest() == hashlib.sha256(body).digest()


def test_many_one_byte_chunks_both_ways(vortex, backend):
    body = payload(3000)
    singles = [body[at : at + 1] for at in range(len(body))]
    reply = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + http1.chunked(*singles)
    target = backend(serve(lambda r: reply))
    proxy = vortex(target)
    answer = proxy.request("POST", "/", {"Transfer-Encoding": "chunked"}, http1.chunked(*singles))
    assert answer.body == body
    assert target.requests[0].body == body


def test_request_trailers_are_forwarded(vortex, backend):
    """As Envoy with trailers enabled: gRPC and checksums need them. `Trailer` announces them."""
    proxy = vortex(backend())
    answer = proxy.request(
        "POST",
        "/",
        {"Transfer-Encoding": "chunked", "Trailer": "X-Sum"},
        http1.chunked(b"data", trailers=[(b"X-Sum", b"abc")]),
    )
    assert [[name.lower(), value] for name, value in answer.json()["trailers"]] == [["x-sum", "abc"]]


def test_response_trailers_are_forwarded(vortex, backend):
    proxy = vortex(
        backend(
            serve(
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
                + http1.chunked(b"data", trailers=[(b"X-Sum", b"abc")])
            )
        )
    )
    answer = proxy.get(headers={"TE": "trailers"})
    assert answer.body == b"data"
    assert [(name.lower(), value) for name, value in answer.trailers] == [("x-sum", "abc")]


@pytest.mark.parametrize("name", [b"Content-Length", b"Transfer-Encoding", b"Host", b"Authorization"])
def test_trailers_that_would_change_framing_or_routing_are_not_forwarded_as_such(vortex, backend, name):
    """RFC 9110 6.5.1: such trailers are dropped or the message is refused (400); they are never taken for headers."""
    target = backend()
    proxy = vortex(target)
    answer = proxy.request(
        "POST", "/", {"Transfer-Encoding": "chunked"}, http1.chunked(b"data", trailers=[(name, b"7")])
    )
    assert answer.status in (200, 400)
    if answer.status == 200:
        seen = answer.json()
        assert seen["length"] == 4
        assert name.decode().lower() not in [field.lower() for field, _ in seen["trailers"]]


def test_answers_without_a_date_get_one(vortex, backend):
    """RFC 9110 §6.6.1. What the backend says stays as it is."""

    def script(request):
        theirs = [("Date", "Sun, 06 Nov 1994 08:49:37 GMT")] if request.target == "/dated" else []
        interim = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" if request.target == "/hints" else b""
        return interim + response(b"ok", theirs)

    proxy = vortex(backend(serve(script)))
    with proxy.client() as client:
        dated = client.request("GET", "/dated")
        assert dated.all("date") == ["Sun, 06 Nov 1994 08:49:37 GMT"]
        client.send(request("GET", "/hints"))
        assert client.read().all("date") == []
        before = time.time()
        dates = client.read().all("date") + client.request("GET", "/%zz").all("date")
    assert len(dates) == 2
    for date in dates:
        assert before - 2 < parsedate_to_datetime(date).timestamp() < time.time() + 2
        assert parsedate_to_datetime(date).strftime("%a, %d %b %Y %H:%M:%S GMT") == date
    with http2.Client(proxy.port) as client:
        assert client.request("GET", "/dated").header("date") == dated.get("date")
        assert client.request("GET", "/").header("date")
        assert client.request("GET", "/%zz").header("date")


def test_expect_continue_is_answered_by_the_backend(vortex, backend):
    waiting = threading.Event()

    def script(conn):
        incoming = conn.head()
        assert not conn.stream.buffer
        waiting.set()
        conn.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        conn.send(echo(conn.body(incoming)))
        conn.request()

    proxy = vortex(backend(script))
    with proxy.client() as client:
        client.send(request("POST", "/", {"Expect": "100-continue", "Content-Length": "5"}))
        assert client.read().status == 100
        assert waiting.is_set()
        client.send(b"hello")
        assert client.read().json()["length"] == 5


def test_expect_continue_with_a_body_sent_at_once_goes_through_when_the_backend_never_says_100(
    vortex, backend
):
    """A client need not wait (RFC 9110 10.1.1): the body follows, the backend answers 200 without ever sending 100."""
    proxy = vortex(backend())
    with proxy.client() as client:
        client.send(request("POST", "/", {"Expect": "100-continue"}, b"hello"))
        assert client.final().json()["length"] == 5
        assert client.request("GET", "/").status == 200


def test_expect_continue_client_that_waits_and_then_sends_anyway(vortex, backend):
    """The backend does not send 100; the client gives up waiting and sends the body; the answer comes."""
    target = backend()
    proxy = vortex(target)
    with proxy.client() as client:
        client.send(request("POST", "/", {"Expect": "100-continue", "Content-Length": "5"}))
        target.wait_requests()
        client.send(b"hello")
        assert client.final().json()["length"] == 5


def test_expect_continue_final_status_instead_of_100(vortex, backend):
    """A final status instead of 100: the client gets it and must not send the body; the connection must not mistake the
    next request for that body, so it is either closed or the body is still awaited."""

    def script(conn):
        conn.head()
        conn.send(response(b"no", status="403 Forbidden", headers={"Connection": "close"}))

    proxy = vortex(backend(script))
    with proxy.client() as client:
        client.send(request("POST", "/", {"Expect": "100-continue", "Content-Length": "5"}))
        answer = client.read()
        assert (answer.status, answer.body) == (403, b"no")
        assert answer.closes
        assert client.ended()


def test_expect_other_than_100_continue_is_417_or_forwarded(vortex, backend):
    """RFC 9110 10.1.1 allows 417 for an expectation nobody knows; nginx forwards it. Both are fine, silence is not."""
    proxy = vortex(backend())
    assert proxy.get(headers={"Expect": "tea"}).status in (200, 417)


def test_interim_103_is_passed_on_before_the_answer(vortex, backend):
    hint = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"
    proxy = vortex(backend(serve(hint + response(b"done"))))
    with proxy.client() as client:
        client.send(request("GET", "/"))
        early = client.read()
        assert (early.status, early.get("link")) == (103, "</style.css>; rel=preload")
        assert client.read().body == b"done"


def test_several_interim_answers_are_all_passed_on(vortex, backend):
    hint = b"HTTP/1.1 103 Early Hints\r\nX-N: %d\r\n\r\n"
    proxy = vortex(backend(serve(hint % 1 + hint % 2 + hint % 3 + response(b"done"))))
    with proxy.client() as client:
        client.send(request("GET", "/"))
        assert [client.read().get("x-n") for _ in range(3)] == ["1", "2", "3"]
        assert client.read().body == b"done"
        assert client.request("GET", "/").body == b"done"


def test_interim_answers_are_not_sent_to_an_http10_client(vortex, backend):
    """RFC 9110 15.2: a 1xx must not be sent to an HTTP/1.0 client."""
    proxy = vortex(backend(serve(b"HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n" + response(b"done"))))
    with proxy.client() as client:
        client.send(request("GET", "/", version="1.0"))
        assert client.read().body == b"done"


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_status_without_body_leaves_the_connection_usable(vortex, backend, status):
    proxy = vortex(
        backend(
            serve(lambda r: response(status=status, headers={"ETag": '"x"'}) if r.target == "/" else echo(r))
        )
    )
    with proxy.client() as client:
        answer = client.request("GET", "/")
        assert (answer.status, answer.get("etag"), answer.body) == (int(status[:3]), '"x"', b"")
        assert client.request("GET", "/next").json()["target"] == "/next"


def test_304_with_content_length_has_no_body(vortex, backend):
    answer = b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"
    proxy = vortex(backend(serve(lambda r: answer if r.target == "/" else echo(r))))
    with proxy.client() as client:
        assert client.request("GET", "/").status == 304
        assert client.request("GET", "/next").json()["target"] == "/next"


@pytest.mark.parametrize(
    "status",
    [
        "201 Created",
        "299 Whatever",
        "404 Not Found",
        "418 I'm a teapot",
        "500 Internal Server Error",
        "503 Service Unavailable",
        "599 ",
    ],
)
def test_backend_status_and_reason_pass_unchanged(vortex, backend, status):
    proxy = vortex(backend(serve(response(b"theirs", status=status))))
    answer = proxy.get()
    assert (answer.status, answer.reason, answer.body) == (int(status[:3]), status[4:], b"theirs")


def test_response_headers_pass_in_order_and_repeated(vortex, backend):
    cookies = [("Set-Cookie", "a=1; Path=/"), ("Set-Cookie", "b=2"), ("X-Empty", ""), ("X-Latin", "caf\xe9")]
    proxy = vortex(backend(serve(response(b"", headers=cookies))))
    answer = proxy.get()
    assert answer.all("set-cookie") == ["a=1; Path=/", "b=2"]
    assert answer.all("x-empty") == [""]
    assert answer.all("x-latin") == ["caf\xe9"]


def test_request_headers_pass_in_order_and_repeated(vortex, backend):
    proxy = vortex(backend())
    seen = proxy.get(headers=[("X-A", "1"), ("Accept", "*/*"), ("X-A", "2"), ("X-Latin", "caf\xe9")]).json()[
        "headers"
    ]
    assert [value for name, value in seen if name.lower() == "x-a"] == ["1", "2"]
    assert [value for name, value in seen if name.lower() == "x-latin"] == ["caf\xe9"]


def test_close_delimited_response_reaches_an_http11_client_whole(vortex, backend):
    """The client can tell that it is whole: chunked, or the connection says close and ends in good order."""
    proxy = vortex(backend(once(b"HTTP/1.0 200 OK\r\n\r\nall of it")))
    with proxy.client() as client:
        answer = client.request("GET", "/")
        assert answer.body == b"all of it"
        assert answer.framing == "chunked" or (answer.framing == "close" and answer.closes)


def test_backend_that_closes_after_each_answer_is_fine(vortex, backend):
    proxy = vortex(backend(once(response(b"bye", headers={"Connection": "close"}))))
    with proxy.client() as client:
        for _ in range(5):
            answer = client.request("GET", "/")
            assert (answer.status, answer.body) == (200, b"bye")
            assert not answer.closes


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_http10_client_gets_the_body_and_the_end(vortex, backend, framing):
    """No chunked to HTTP/1.0: a body without length ends with the connection."""
    answers = {
        "length": serve(response(b"old")),
        "chunked": serve(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + http1.chunked(b"o", b"ld")
        ),
        "close": once(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nold"),
    }
    proxy = vortex(backend(answers[framing]))
    with proxy.client() as client:
        client.send(request("GET", "/", version="1.0"))
        answer = client.read()
        assert answer.body == b"old"
        assert not answer.has("transfer-encoding")
        assert client.ended()


def test_http10_client_without_host_is_served(vortex, backend):
    """HTTP/1.0 needs no Host; a route for any host takes it, and the backend (HTTP/1.1) gets some Host field."""
    target = backend()
    proxy = vortex(target)
    with proxy.client() as client:
        client.send(b"GET /old HTTP/1.0\r\n\r\n")
        assert client.read().status == 200
    assert target.requests[0].target == "/old"
    assert target.requests[0].version == 1
    assert len(target.requests[0].all("host")) == 1


def test_http10_client_with_keep_alive_keeps_its_connection(vortex, backend):
    proxy = vortex(backend())
    with proxy.client() as client:
        for number in range(3):
            client.send(request("GET", f"/{number}", {"Connection": "keep-alive"}, version="1.0"))
            answer = client.read()
            assert answer.json()["target"] == f"/{number}"
            assert "keep-alive" in answer.get("connection", "").lower()


def test_connection_close_is_honoured(vortex, backend):
    proxy = vortex(backend())
    with proxy.client() as client:
        answer = client.request("GET", "/", {"Connection": "close"})
        assert answer.status == 200
        assert answer.closes
        assert client.ended()


def test_connection_close_in_a_list_is_honoured(vortex, backend):
    proxy = vortex(backend())
    with proxy.client() as client:
        assert client.request("GET", "/", {"Connection": "foo, Close"}).status == 200
        assert client.ended()


def test_requests_after_connection_close_are_not_answered(vortex, backend):
    target = backend()
    proxy = vortex(target)
    with proxy.client() as client:
        client.send(request("GET", "/1", {"Connection": "close"}) + request("GET", "/2"))
        assert client.read().json()["target"] == "/1"
        assert client.ended()
    assert [one.target for one in target.requests] == ["/1"]


def test_compressed_bodies_pass_untouched(vortex, backend):
    packed = gzip.compress(b"text " * 1000)
    proxy = vortex(backend(serve(response(packed, headers={"Content-Encoding": "gzip"}))))
    answer = proxy.get(headers={"Accept-Encoding": "gzip"})
    assert (answer.get("content-encoding"), answer.body) == ("gzip", packed)


def test_curl_get_post_and_upload(vortex, backend, tmp_path):
    proxy = vortex(backend())
    body = payload(3 * MIB)
    (tmp_path / "upload").write_bytes(body)
    url = f"http://127.0.0.1:{proxy.port}/curl"
    for arguments, method, size in (
        ([], "GET", 0),
        (["-d", "a=b"], "POST", 3),
        (["-T", str(tmp_path / "upload")], "PUT", len(body)),
        (["-T", "-", "-H", "Transfer-Encoding: chunked"], "PUT", len(body)),
    ):
        done = subprocess.run(
            ["curl", "-sS", "--fail", *arguments, url],
            input=body,
            capture_output=True,
            timeout=30,
            check=True,
        )
        seen = json.loads(done.stdout)
        assert (seen["method"], seen["length"]) == (method, size)


def test_httpx_reuses_connections_and_streams(vortex, backend):
    proxy = vortex(backend())
    with httpx.Client(base_url=f"http://127.0.0.1:{proxy.port}", trust_env=False) as client:
        for number in range(10):
            assert client.post(f"/{number}", content=b"x" * number).json()["length"] == number
        streamed = client.post("/stream", content=(b"y" * 1000 for _ in range(100)))
        assert (streamed.json()["length"], streamed.json()["framing"]) == (100000, "chunked")


def test_nginx_as_backend_serves_files_ranges_and_conditions(vortex, nginx):
    big = payload(10 * MIB)
    server = nginx({"small.txt": b"small", "empty": b"", "big": big})
    proxy = vortex(server.address)
    with proxy.client() as client:
        small = client.request("GET", "/small.txt")
        assert (small.status, small.body) == (200, b"small")
        assert client.request("GET", "/empty").body == b""
        assert client.request("GET", "/missing").status == 404
        assert client.request("GET", "/small.txt", {"If-None-Match": small.get("etag")}).status == 304
        part = client.request("GET", "/big", {"Range": "bytes=5000000-5000099"})
        assert (part.status, part.body) == (206, big[5000000:5000100])
        assert client.request("HEAD", "/big").get("content-length") == str(len(big))
        assert client.request("GET", "/big").body == big


def test_many_clients_at_once_each_get_their_own_answer(vortex, backend):
    proxy = vortex(backend(), backend(), workers=2)
    failures = []

    def run(number):
        try:
            with proxy.client() as client:
                for turn in range(20):
                    seen = client.request("POST", f"/{number}/{turn}", body=b"z" * (number * 37)).json()
                    assert (seen["target"], seen["length"]) == (f"/{number}/{turn}", number * 37)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_echo_command_answers(vortex, tmp_path):
    """`vortex echo --port N`: a tiny HTTP backend; it answers 200 to GET and POST, through the proxy too."""
    port = take()
    process = subprocess.Popen(
        [binary(), "echo", "--port", str(port)],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:

        def answers():
            try:
                return httpx.get(f"http://127.0.0.1:{port}/x", trust_env=False).status_code == 200
            except httpx.TransportError:
                return False

        wait_until(answers, 15, "vortex echo")
        proxy = vortex(f"127.0.0.1:{port}")
        with proxy.client() as client:
            assert client.request("GET", "/hello").status == 200
            assert client.request("POST", "/hello", body=b"body").status == 200
            assert (
                client.request(
                    "POST", "/hello", {"Transfer-Encoding": "chunked"}, http1.chunked(b"a", b"b")
                ).status
                == 200
            )
    finally:
        process.terminate()
        assert process.wait(15) == 0
