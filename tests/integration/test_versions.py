# SPDX-License-Identifier: Apache-2.0
"""Nothing that is safe in one version of HTTP becomes another request in the other one: hostile heads and bodies through
all four mixes, each to a backend that counts what it was asked. A message is refused, or arrives as the one it was."""

import hashlib
import json

import pytest
from test_hostile import FRAMING, LINES, SMUGGLED

from harness.backend import Backend, once, response, serve
from harness.client import Client as Client1
from harness.http2 import Client as Client2
from harness.http2_backend import Answer, http2, http2_serve
from harness.proxy import Builder

VERSIONS = ["http1", "http2"]
PLAIN = [(":method", "POST"), (":scheme", "http"), (":authority", "test"), (":path", "/x")]


class Mix:
    """A proxy whose backend speaks one version; messages are tried on it one after the other."""

    def __init__(self, builder, protocol):
        self.builder = builder
        self.target = Backend(serve() if protocol == "http1" else http2_serve())
        self.proxy = builder(self.target, route={"protocol": protocol, "circuit_breaker": {"failures": 0, "failure_rate": "0%"}})

    def seen(self):
        """What the backend was asked since the last call. A request that is cut short (`/part`) may be noticed at any time."""
        assert self.proxy.alive(), "an earlier test ended the proxy"
        assert self.proxy.get("/after").status == 200
        targets = [getattr(request, "target", None) or request.path for request in self.target.requests]
        self.target.requests.clear()
        targets = [target for target in targets if target != "/part"]
        assert targets[-1] == "/after"
        return targets[:-1]

    def close(self):
        self.builder.finish()
        self.target.close()
        assert not self.target.errors


@pytest.fixture(scope="module", params=VERSIONS)
def mix(request, tmp_path_factory):
    made = Mix(Builder(tmp_path_factory.mktemp("mix")), request.param)
    yield made
    made.close()


# Requests of HTTP/1


@pytest.mark.parametrize("name", [*FRAMING, *LINES])
def test_hostile_requests_of_http1(mix, name):
    data = (FRAMING | LINES)[name]
    with Client1(mix.proxy.port) as client:
        client.try_send(data + SMUGGLED)
        answer = client.read()
        assert 400 <= answer.status < 600
        assert client.ended(), "the connection stays open behind a message in doubt"
    assert mix.seen() == []


CHUNKS = {
    "a_request_in_a_chunk": b"1b\r\nGET /smuggled HTTP/1.1\r\n\r\nX\r\n0\r\n\r\n",
    "the_end_in_a_chunk": b"5\r\n0\r\n\r\n\r\n0\r\n\r\n",
    "an_extension": b"3;a=b\r\nabc\r\n0\r\n\r\n",
    "trailers_that_frame": b"3\r\nabc\r\n0\r\nContent-Length: 30\r\nTransfer-Encoding: chunked\r\n\r\n",
    "trailers_that_route": b"3\r\nabc\r\n0\r\nHost: evil\r\nX-Forwarded-For: 6.6.6.6\r\nx-sum: 1\r\n\r\n",
}


@pytest.mark.parametrize("name", CHUNKS)
def test_bodies_of_http1_stay_bodies(mix, name):
    """Whatever lies in a body is the body, and what stands behind the end is the next request."""
    with Client1(mix.proxy.port) as client:
        client.send(b"POST /x HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKS[name])
        seen = client.read("POST").json()
        client.send(b"GET /next HTTP/1.1\r\nHost: test\r\n\r\n")
        assert client.read().json()["target"] == "/next"
    names = [field.lower() for field, _ in seen["trailers"] or []]
    assert not {"content-length", "transfer-encoding", "host", "x-forwarded-for"} & set(names)
    assert mix.seen() == ["/x", "/next"]


# Requests of HTTP/2


def fields(*more, drop=None, **pseudo):
    """A request's fields: PLAIN with some pseudo fields replaced or dropped, and more behind them."""
    replaced = {":" + name: value for name, value in pseudo.items()}
    head = [(name, replaced.get(name, value)) for name, value in PLAIN if name != drop]
    return [*head, *more]


REFUSED = {
    "chunked": fields(("transfer-encoding", "chunked")),
    "chunked_and_length": fields(("transfer-encoding", "chunked"), ("content-length", "3")),
    "chunked_hidden_in_te": fields(("te", "chunked")),
    "te_with_trailers": fields(("te", "trailers, chunked")),
    "connection": fields(("connection", "close")),
    "connection_names_a_field": fields(("connection", "content-length"), ("content-length", "3")),
    "keep_alive": fields(("keep-alive", "timeout=5")),
    "proxy_connection": fields(("proxy-connection", "keep-alive")),
    "upgrade": fields(("upgrade", "h2c")),
    "upgrade_websocket": fields(("upgrade", "websocket")),
    "length_too_long": fields(("content-length", "30"), path="/part"),
    "length_too_short": fields(("content-length", "1"), path="/part"),
    "length_of_nothing": fields(("content-length", "0"), path="/part"),
    "length_twice": fields(("content-length", "3"), ("content-length", "3")),
    "length_twice_differing": fields(("content-length", "3"), ("content-length", "4")),
    "length_list": fields(("content-length", "3, 3")),
    "length_signed": fields(("content-length", "+3")),
    "length_hex": fields(("content-length", "0x3")),
    "length_overflow": fields(("content-length", "18446744073709551619")),
    "crlf_in_value": fields(("x-a", "b\r\nContent-Length: 0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: test\r\n")),
    "lf_in_value": fields(("x-a", "b\nTransfer-Encoding: chunked")),
    "cr_in_value": fields(("x-a", "b\rTransfer-Encoding: chunked")),
    "nul_in_value": fields(("x-a", "b\0c")),
    "control_in_value": fields(("x-a", "b\x01c")),
    "delete_in_value": fields(("x-a", "b\x7fc")),
    "crlf_in_name": fields(("x-a: b\r\ntransfer-encoding", "chunked")),
    "colon_in_name": fields(("transfer-encoding:", "chunked")),
    "space_in_name": fields(("transfer-encoding ", "chunked")),
    "tab_in_name": fields(("transfer-encoding\t", "chunked")),
    "empty_name": fields(("", "x")),
    "upper_case": fields(("Transfer-Encoding", "chunked")),
    "high_byte_in_name": fields(("x-\xe9", "1")),
    "method_with_a_line": fields(method="GET / HTTP/1.1\r\nHost: test\r\n\r\nGET"),
    "method_with_a_space": fields(method="GET /smuggled"),
    "method_empty": fields(method=""),
    "method_missing": fields(drop=":method"),
    "path_with_a_space": fields(path="/x HTTP/1.1"),
    "path_with_a_line": fields(path="/x HTTP/1.1\r\nHost: test\r\n\r\nGET /smuggled"),
    "path_with_a_tab": fields(path="/x\tHTTP/1.1"),
    "path_with_a_fragment": fields(path="/x#y"),
    "path_with_a_high_byte": fields(path="/\xe9"),
    "path_absolute": fields(path="http://evil/x"),
    "path_relative": fields(path="x"),
    "path_empty": fields(path=""),
    "path_missing": fields(drop=":path"),
    "path_above_the_root": fields(path="/../../etc"),
    "path_star": fields(path="*"),
    "authority_with_a_line": fields(authority="test\r\nX-Evil: 1"),
    "authority_with_a_space": fields(authority="test evil"),
    "authority_with_a_user": fields(authority="user@test"),
    "authority_with_a_path": fields(authority="test/evil"),
    "authority_empty": fields(authority=""),
    "authority_missing": fields(drop=":authority"),
    "host_differs": fields(("host", "evil")),
    "host_differs_by_port": fields(("host", "test:81")),
    "host_twice": fields(("host", "test"), ("host", "test")),
    "host_with_a_line": fields(("host", "test\r\nX-Evil: 1")),
    "scheme_with_a_line": fields(scheme="http\r\nX-Evil: 1"),
    "scheme_other": fields(scheme="file"),
    "scheme_missing": fields(drop=":scheme"),
    "pseudo_unknown": fields((":evil", "1")),
    "pseudo_late": fields(("x-a", "1"), (":path", "/smuggled")),
    "pseudo_twice": [*PLAIN, (":path", "/smuggled")],
    "pseudo_of_a_response": [*PLAIN, (":status", "200")],
    "protocol_without_connect": fields((":protocol", "websocket")),
    "connect": [(":method", "CONNECT"), (":authority", "test:443")],
    "expectation": fields(("expect", "200-ok")),
}


def try_on(mix, head, body, trailers=None):
    """Sends a request of HTTP/2 behind which the connection is closed; the status, 0 when the stream or connection was."""
    with Client2(mix.proxy.port) as client:
        # In one piece: a backend that is told of an empty body may answer before the rest comes.
        stream = client.open(pseudo=head, end=False, hold=True)
        if body:
            client.h2.send_data(stream, body, end_stream=not trailers)
        if trailers:
            client.h2.send_headers(stream, trailers, end_stream=True)
        client.flush()
        answer = client.answers[stream]
        while not (client.closed or answer.ended or answer.reset is not None):
            client.read()
        return answer


@pytest.mark.parametrize("name", REFUSED)
def test_hostile_requests_of_http2(mix, name):
    answer = try_on(mix, REFUSED[name], b"abc")
    assert answer.reset is not None or answer.status == 0 or 400 <= answer.status < 600
    # A body that belies its length may have been under way; it must never have arrived whole.
    assert not [request for request in mix.target.requests if len(request.body) == 3]
    assert mix.seen() == []


ODD = {
    "a_request_in_the_body": (fields(), b"0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: test\r\n\r\n"),
    "the_same_with_its_length": (
        fields(("content-length", "42")),
        b"0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: test\r\n\r\n"[:42],
    ),
    "a_body_of_get": (fields(method="GET"), b"GET /smuggled HTTP/1.1\r\nHost: test\r\n\r\n"),
    "an_unknown_method": (fields(method="PURGE"), b"abc"),
    "escaped_lines_in_the_path": (fields(path="/x%0d%0aHost:%20evil?%0d%0a"), b"abc"),
    "quotes_in_values": (fields(("x-a", 'a", "b')), b"abc"),
    "an_empty_value": (fields(("x-a", "")), b"abc"),
    "host_alike": (fields(("host", "TEST:80")), b"abc"),
    "te_trailers": (fields(("te", "trailers")), b"abc"),
    "a_name_like_a_method": (fields(("get", "/smuggled HTTP/1.1")), b"abc"),
    "many_fields": (fields(*((f"x-{n}", "v" * 100) for n in range(100))), b"abc"),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_requests_of_http2_arrive_as_what_they_are(mix, name):
    head, body = ODD[name]
    answer = try_on(mix, head, body)
    assert answer.status == 200
    seen = json.loads(answer.body)
    assert seen["method"] == dict(head)[":method"] and seen["sha256"] == hashlib.sha256(body).hexdigest()
    assert mix.seen() == [dict(head)[":path"]]


@pytest.mark.parametrize(
    "trailers", [[("x-sum", "1")], [("content-length", "30")], [("transfer-encoding", "chunked")], [("x", "a\r\nb")]], ids=str
)
def test_trailers_of_http2(mix, trailers):
    answer = try_on(mix, fields(), b"abc", trailers)
    name, value = trailers[0]
    if answer.status == 200:
        seen = json.loads(answer.body)["trailers"] or []
        assert [list(pair) for pair in seen] == ([[name, value]] if name == "x-sum" else [])
    else:
        assert name != "x-sum"
    assert set(mix.seen()) <= {"/x"}


# Responses


def raw2(*headers, body=b"abc", trailers=None, end=False):
    """A script of HTTP/2 that answers each request with exactly these fields."""

    def script(peer):
        peer.h2.config.validate_outbound_headers = peer.h2.config.normalize_outbound_headers = False
        while True:
            request = peer.request()
            if request.path == "/after":
                peer.answer(request, Answer(b"fine"))
                continue
            peer.h2.send_headers(request.stream, list(headers), end_stream=end)
            if not end:
                peer.h2.send_data(request.stream, body, end_stream=not trailers)
            if trailers:
                peer.h2.send_headers(request.stream, trailers, end_stream=True)
            peer.flush()

    return http2(script)


BAD2 = {
    "chunked": raw2((":status", "200"), ("transfer-encoding", "chunked")),
    "connection": raw2((":status", "200"), ("connection", "close")),
    "upgrade": raw2((":status", "200"), ("upgrade", "websocket")),
    "length_too_long": raw2((":status", "200"), ("content-length", "30")),
    "length_too_short": raw2((":status", "200"), ("content-length", "1")),
    "length_twice": raw2((":status", "200"), ("content-length", "3"), ("content-length", "4")),
    "length_without_a_body": raw2((":status", "200"), ("content-length", "3"), end=True),
    "length_signed": raw2((":status", "200"), ("content-length", "+3")),
    "crlf_in_value": raw2((":status", "200"), ("x-a", "b\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK")),
    "nul_in_value": raw2((":status", "200"), ("x-a", "b\0")),
    "upper_case": raw2((":status", "200"), ("X-A", "b")),
    "space_in_name": raw2((":status", "200"), ("x a", "b")),
    "status_101": raw2((":status", "101")),
    "status_of_two_digits": raw2((":status", "20")),
    "status_with_a_line": raw2((":status", "200\r\nx: y")),
    "status_missing": raw2(("x-a", "b")),
    "status_twice": raw2((":status", "200"), (":status", "404")),
    "pseudo_of_a_request": raw2((":status", "200"), (":path", "/")),
    "pseudo_late": raw2(("x-a", "b"), (":status", "200")),
}


@pytest.mark.parametrize("client", VERSIONS)
@pytest.mark.parametrize("name", BAD2)
def test_bad_responses_of_http2(vortex, backend, name, client):
    """An error, or an answer that is visibly cut; the next request gets its own answer."""
    proxy = vortex(backend(BAD2[name]), route={"protocol": "http2", "retries": {"attempts": 0}})
    if client == "http2":
        with Client2(proxy.port) as connection:
            answer = connection.request()
            assert answer.status >= 500 or answer.reset is not None
            assert connection.request(path="/after").body == b"fine"
        return
    with Client1(proxy.port) as connection:
        connection.send(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
        head = connection.head()
        if head.status == 200:
            assert name.startswith("length")
            assert len(connection.rest()) < int(head.get("content-length", "1000"))
        else:
            assert head.status == 502
    assert proxy.get("/after").body == b"fine"


@pytest.mark.parametrize("client", VERSIONS)
@pytest.mark.parametrize("name", ["content-length", "transfer-encoding", "set-cookie"])
def test_trailers_of_responses_cannot_frame(vortex, backend, name, client):
    proxy = vortex(backend(raw2((":status", "200"), trailers=[("x-sum", "1"), (name, "30")])), route={"protocol": "http2"})
    if client == "http2":
        with Client2(proxy.port) as connection:
            answer = connection.request()
        assert answer.status == 502 or answer.reset is not None or answer.trailers == [("x-sum", "1")]
        return
    with Client1(proxy.port) as connection:
        connection.send(b"GET / HTTP/1.1\r\nHost: test\r\nTE: trailers\r\nConnection: te\r\n\r\n")
        answer = connection.read()
        assert answer.status == 502 or [tuple(pair) for pair in answer.trailers] == [("x-sum", "1")]
    assert proxy.get("/after").body == b"fine"


BAD1 = {
    "cl_and_te": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "cl_twice": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "bare_cr": b"HTTP/1.1 200 OK\r\nX-A: b\rc\r\nContent-Length: 0\r\n\r\n",
    "nul": b"HTTP/1.1 200 OK\r\nX-A: b\0c\r\nContent-Length: 0\r\n\r\n",
    "obs_fold": b"HTTP/1.1 200 OK\r\nX-A: b\r\n c\r\nContent-Length: 0\r\n\r\n",
    "space_before_colon": b"HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n",
    "http2": b"HTTP/2 200 OK\r\nContent-Length: 0\r\n\r\n",
    "a_101_that_nobody_asked_for": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    "bad_chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n",
    "cut": b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
}


@pytest.mark.parametrize("name", BAD1)
def test_bad_responses_of_http1_to_a_client_of_http2(vortex, backend, name):
    proxy = vortex(backend(once(BAD1[name])), route={"retries": {"attempts": 0}})
    with Client2(proxy.port) as client:
        answer = client.request()
    assert answer.status >= 500 or (answer.reset is not None and not answer.ended)


def test_what_is_connections_own_is_not_passed_on(vortex, backend):
    """Fields of an HTTP/1 hop would make a message of HTTP/2 malformed."""
    answer = response(
        b"abc", [("Connection", "X-Mine, keep-alive"), ("Keep-Alive", "timeout=5"), ("X-Mine", "1"), ("X-Yours", "2")]
    )
    proxy = vortex(backend(serve(answer)))
    with Client2(proxy.port) as client:
        got = dict(client.request().headers)
    assert got["x-yours"] == "2" and got["content-length"] == "3"
    assert not {"connection", "keep-alive", "x-mine"} & set(got)


def test_echoes_agree(vortex, backend):
    """One request through all mixes looks alike to the backends."""
    views = []
    for protocol, script in (("http1", serve()), ("http2", http2_serve())):
        proxy = vortex(backend(script), route={"protocol": protocol})
        one = proxy.request("PUT", "/a?b", {"X-A": "1", "Cookie": "a=1; b=2"}, b"abc").json()
        with Client2(proxy.port) as client:
            two = json.loads(
                client.request("PUT", "/a?b", [("x-a", "1"), ("cookie", "a=1"), ("cookie", "b=2")], body=b"abc").body
            )
        views += [one, two]
    for view in views:
        assert (view["method"], view["target"], view["length"]) == ("PUT", "/a?b", 3)
        got = {name.lower(): value for name, value in view["headers"]}
        assert got["x-a"] == "1" and got["cookie"] == "a=1; b=2"
        assert (got.get("host") or view["authority"]) == "test"
