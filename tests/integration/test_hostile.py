# SPDX-License-Identifier: Apache-2.0
"""Hostile peers. What is refused gets the proxy's JSON error, the connection ends where framing is in doubt, and the
backend never hears of it. Reasons follow RFC 9112 unless a docstring says otherwise."""

import json
import random

import pytest

from harness import http1
from harness.backend import Backend, echo, once, response, serve
from harness.client import request
from harness.proxy import Builder, settle

GET = b"GET / HTTP/1.1\r\nHost: test\r\n"
POST = b"POST / HTTP/1.1\r\nHost: test\r\n"


def check_error(answer, *statuses):
    """The shape of every error the proxy makes itself."""
    assert answer.status in statuses, answer
    assert answer.get("content-type", "").split(";")[0].strip() == "application/json"
    assert answer.framing in ("length", "chunked")
    shape = answer.json()
    assert isinstance(shape, dict)
    assert isinstance(shape["error"], str) and shape["error"]


class Pair:
    """A proxy and its backend that many hostile requests are tried on; the backend's memory is wiped between them."""

    def __init__(self, builder, **options):
        self.target = Backend()
        self.builder = builder
        self.proxy = builder(self.target, **options)

    def refused(self, data, *statuses):
        """Sends data, expects one error and the end of the connection, and that the backend heard nothing. The smuggled
        request that follows in the same packet must not be answered."""
        assert self.proxy.alive(), "an earlier test ended the proxy"
        self.target.requests.clear()
        before = self.target.bytes_received()
        answer = self.proxy.raw(data)
        check_error(answer, *statuses)
        assert answer.closes, "the answer does not announce the close"
        assert self.target.bytes_received() == before, "the backend received something"
        assert not self.target.requests
        assert self.proxy.get("/after").json()["target"] == "/after"

    def close(self):
        self.builder.finish()
        self.target.close()
        assert not self.target.errors


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    made = Pair(Builder(tmp_path_factory.mktemp("hostile")))
    yield made
    made.close()


SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: test\r\n\r\n"

FRAMING = {
    "te_and_cl": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
    "cl_and_te": POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "cl_twice_same": POST + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    "cl_twice_differing": POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "cl_list_same": POST + b"Content-Length: 3, 3\r\n\r\nabc",
    "cl_list_differing": POST + b"Content-Length: 3, 4\r\n\r\nabcd",
    "cl_plus": POST + b"Content-Length: +3\r\n\r\nabc",
    "cl_minus": POST + b"Content-Length: -3\r\n\r\nabc",
    "cl_hex": POST + b"Content-Length: 0x3\r\n\r\nabc",
    "cl_empty": POST + b"Content-Length: \r\n\r\nabc",
    "cl_letters": POST + b"Content-Length: three\r\n\r\nabc",
    "cl_space_inside": POST + b"Content-Length: 1 0\r\n\r\nabc",
    "cl_overflow_64": POST + b"Content-Length: 18446744073709551619\r\n\r\nabc",
    "cl_overflow_long": POST + b"Content-Length: " + b"9" * 60 + b"\r\n\r\nabc",
    "te_in_http10": b"POST / HTTP/1.0\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "te_not_ending_in_chunked": POST + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "te_unknown_alone": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "te_chunked_twice": POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "te_chunked_in_two_fields": POST
    + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "te_chunked_then_identity_field": POST
    + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "te_identity": POST + b"Transfer-Encoding: identity\r\n\r\nabc",
    "te_empty": POST + b"Transfer-Encoding: \r\n\r\n0\r\n\r\n",
    "te_vertical_tab": POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "te_quoted": POST + b'Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n',
    "te_with_parameter": POST + b"Transfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n",
    "te_space_before_colon": POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "cl_space_before_colon": POST + b"Content-Length : 3\r\n\r\nabc",
    "cl_tab_before_colon": POST + b"Content-Length\t: 3\r\n\r\nabc",
    "obs_fold": GET + b"X-A: one\r\n two\r\n\r\n",
    "obs_fold_tab": GET + b"X-A: one\r\n\ttwo\r\n\r\n",
    "obs_fold_of_te": POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "first_field_begins_with_space": b"GET / HTTP/1.1\r\n Host: test\r\n\r\n",
    "nul_in_value": GET + b"X-A: a\0b\r\n\r\n",
    "nul_in_name": GET + b"X\0A: b\r\n\r\n",
    "nul_in_target": b"GET /\0 HTTP/1.1\r\nHost: test\r\n\r\n",
    "bare_lf_ends_request_line": b"GET / HTTP/1.1\nHost: test\r\n\r\n",
    "bare_lf_ends_field": GET + b"X-A: b\nX-B: c\r\n\r\n",
    "bare_lf_ends_head": GET + b"X-A: b\r\n\n",
    "bare_cr_in_value": GET + b"X-A: b\rX-B: c\r\n\r\n",
    "bare_cr_in_request_line": b"GET /\r HTTP/1.1\r\nHost: test\r\n\r\n",
    "cr_cr_lf": GET + b"X-A: b\r\r\n\r\n",
    "control_in_value": GET + b"X-A: a\x01b\r\n\r\n",
    "delete_in_value": GET + b"X-A: a\x7fb\r\n\r\n",
    "no_colon": GET + b"X-A b\r\n\r\n",
    "empty_name": GET + b": b\r\n\r\n",
    "space_in_name": GET + b"X A: b\r\n\r\n",
    "bad_name_character": GET + b"X(A): b\r\n\r\n",
    "high_byte_in_name": GET + b"X\xe9A: b\r\n\r\n",
}

LINES = {
    "no_host": b"GET / HTTP/1.1\r\n\r\n",
    "two_hosts_same": b"GET / HTTP/1.1\r\nHost: test\r\nHost: test\r\n\r\n",
    "two_hosts_differing": b"GET / HTTP/1.1\r\nHost: test\r\nHost: evil\r\n\r\n",
    "host_list": b"GET / HTTP/1.1\r\nHost: test, evil\r\n\r\n",
    "host_with_space": b"GET / HTTP/1.1\r\nHost: te st\r\n\r\n",
    "host_with_path": b"GET / HTTP/1.1\r\nHost: test/path\r\n\r\n",
    "host_with_userinfo": b"GET / HTTP/1.1\r\nHost: user@test\r\n\r\n",
    "host_with_bad_port": b"GET / HTTP/1.1\r\nHost: test:80x\r\n\r\n",
    "host_with_bad_brackets": b"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n",
    "absolute_form_and_other_host": b"GET http://other/ HTTP/1.1\r\nHost: test\r\n\r\n",
    "absolute_form_and_other_port": b"GET http://test:81/ HTTP/1.1\r\nHost: test:82\r\n\r\n",
    "absolute_form_with_userinfo": b"GET http://a@test/ HTTP/1.1\r\nHost: test\r\n\r\n",
    "absolute_form_without_host_field": b"GET http://test/ HTTP/1.1\r\n\r\n",
    "absolute_form_of_another_scheme": b"GET ftp://test/ HTTP/1.1\r\nHost: test\r\n\r\n",
    "target_without_slash": b"GET index.html HTTP/1.1\r\nHost: test\r\n\r\n",
    "asterisk_with_get": b"GET * HTTP/1.1\r\nHost: test\r\n\r\n",
    "target_missing": b"GET HTTP/1.1\r\nHost: test\r\n\r\n",
    "two_spaces_before_target": b"GET  / HTTP/1.1\r\nHost: test\r\n\r\n",
    "two_spaces_before_version": b"GET /  HTTP/1.1\r\nHost: test\r\n\r\n",
    "space_in_target": b"GET /a b HTTP/1.1\r\nHost: test\r\n\r\n",
    "tab_for_space": b"GET\t/\tHTTP/1.1\r\nHost: test\r\n\r\n",
    "space_after_version": b"GET / HTTP/1.1 \r\nHost: test\r\n\r\n",
    "space_before_method": b" GET / HTTP/1.1\r\nHost: test\r\n\r\n",
    "bad_method_character": b"G@T / HTTP/1.1\r\nHost: test\r\n\r\n",
    "lower_case_protocol": b"GET / http/1.1\r\nHost: test\r\n\r\n",
    "protocol_without_minor": b"GET / HTTP/1\r\nHost: test\r\n\r\n",
    "two_digit_minor": b"GET / HTTP/1.10\r\nHost: test\r\n\r\n",
    "control_in_target": b"GET /\x01 HTTP/1.1\r\nHost: test\r\n\r\n",
    "fragment_in_target": b"GET /a#b HTTP/1.1\r\nHost: test\r\n\r\n",
    "tls_hello_on_plain_port": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00\r\n\r\n" * 8,
    "http09": b"GET /\r\n\r\n",
}


@pytest.mark.parametrize("name", FRAMING)
def test_ambiguous_framing_or_bad_field_is_refused(pair, name):
    """400. A TE whose last coding is not chunked, and other codings than chunked: 501 is as good (RFC 9112 6.1)."""
    statuses = (400, 501) if name in ("te_unknown_alone", "te_identity") else (400,)
    data = FRAMING[name]
    pair.refused(data + SMUGGLED, *statuses)


@pytest.mark.parametrize(
    "name", ["te_and_cl", "cl_twice_differing", "obs_fold", "bare_lf_ends_field", "te_space_before_colon"]
)
def test_the_same_is_refused_byte_by_byte(pair, name):
    with pair.proxy.client() as client:
        data = FRAMING[name]
        for at in range(len(data)):
            if not client.try_send(data[at : at + 1]):
                break
        check_error(client.read(), 400)
        assert client.ended()


@pytest.mark.parametrize("name", LINES)
def test_bad_request_line_or_host_is_refused(pair, name):
    """An absolute-form target that contradicts Host is 400 here (RFC 9112 3.2.2 would let a proxy ignore Host; two hops that
    read it differently are a smuggling vector). HTTP/0.9, and versions that are not DIGIT.DIGIT, may be 400 or 505. A
    fragment in the target is 400 as in Envoy. Leading space is 400."""
    statuses = (
        (400, 505)
        if name
        in ("http09", "protocol_without_minor", "two_digit_minor", "lower_case_protocol", "target_missing")
        else (400,)
    )
    pair.refused(LINES[name], *statuses)


def test_gzip_chunked_is_not_understood(pair):
    """A coding before the final chunked that we cannot undo: 501 (RFC 9112 6.1), 400 tolerated; never forwarded."""
    pair.refused(POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501, 400)


@pytest.mark.parametrize("version", [b"HTTP/2.0", b"HTTP/3.0", b"HTTP/9.9", b"HTTP/0.9"])
def test_unknown_version_is_505(pair, version):
    """HTTP/0.9 spelled out may be 400 too, as in nginx."""
    pair.refused(
        b"GET / " + version + b"\r\nHost: test\r\n\r\n", *((400, 505) if version == b"HTTP/0.9" else (505,))
    )


def test_http_1_minor_above_1_is_served_as_1_1(pair):
    """RFC 9110 2.5: HTTP/1.2 is processed as the highest minor version known; 505 is tolerated (Envoy refuses it)."""
    answer = pair.proxy.request("GET", "/")
    with pair.proxy.client() as client:
        client.send(b"GET /minor HTTP/1.2\r\nHost: test\r\nConnection: close\r\n\r\n")
        answer = client.read()
        assert answer.status in (200, 505)
        if answer.status == 200:
            assert answer.json()["version"] == 1


def test_connect_is_not_implemented(pair):
    """CONNECT would make a forward proxy; INTERFACE.md lists 501 and not 405, so 501."""
    pair.refused(b"CONNECT test:443 HTTP/1.1\r\nHost: test:443\r\n\r\n", 501)


@pytest.mark.parametrize(
    "chunk",
    [
        b"g\r\nabc\r\n",
        b"\r\nabc\r\n",
        b"-1\r\nabc\r\n",
        b"+3\r\nabc\r\n",
        b"0x3\r\nabc\r\n",
        b" 3\r\nabc\r\n",
        b"3 \r\nabc\r\n",
        b"3\nabc\r\n",
        b"3\r\nabcd\r\n",
        b"3\r\nabcX\r\n",
        b"3\r\nabc\n",
        b"3\rabc\r\n",
        b"FFFFFFFFFFFFFFFFF\r\nabc\r\n",
        b"10000000000000003\r\nabc\r\n",
        b"3;\0\r\nabc\r\n",
        b"3;a\nb\r\nabc\r\n",
        b'3;a="b\r\nabc\r\n',
        b"3;=\r\nabc\r\n",
        b"3 a\r\nabc\r\n",
        b"3;" + b"a" * 100000 + b"\r\nabc\r\n",
    ],
    ids=lambda chunk: repr(chunk[:14]),
)
def test_bad_chunk_or_extension_ends_the_request(pair, chunk):
    """The head may have gone to the backend already (bodies stream), but no body byte behind the fault and no end of the body
    may follow: the backend must see an aborted request. The client gets 400 and the end."""
    pair.target.requests.clear()
    with pair.proxy.client() as client:
        client.try_send(POST + b"Transfer-Encoding: chunked\r\n\r\n" + chunk + b"0\r\n\r\n" + SMUGGLED)
        check_error(client.read(), 400)
        assert client.ended()
    settle(0.05)
    assert all(seen.target == "/" for seen in pair.target.requests)
    assert not any(seen.complete for seen in pair.target.requests)


def test_good_chunk_extensions_are_accepted_and_dropped(pair):
    """RFC 9112 7.1.1: unknown extensions are ignored; ours are not passed on."""
    body = b'3;name=value\r\nabc\r\n2;q="a;b";z\r\nde\r\n0;last\r\n\r\n'
    with pair.proxy.client() as client:
        client.send(POST + b"Transfer-Encoding: chunked\r\n\r\n" + body)
        assert client.read().json()["length"] == 5
        assert client.request("GET", "/").status == 200


def test_leading_zeros_in_chunk_size_are_accepted(pair):
    with pair.proxy.client() as client:
        client.send(POST + b"Transfer-Encoding: CHUNKED\r\n\r\n0003\r\nabc\r\n000\r\n\r\n")
        assert client.read().json()["length"] == 3


@pytest.mark.parametrize(
    "trailer", [b"X-A : b", b"X-A: b\0", b" X-A: b", b"no colon", b"X-A: b\n", b"X\xe9: b"], ids=repr
)
def test_bad_trailer_ends_the_request(pair, trailer):
    with pair.proxy.client() as client:
        client.try_send(POST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n" + trailer + b"\r\n\r\n")
        check_error(client.read(), 400)
        assert client.ended()


def test_truncated_request_is_not_completed_for_the_backend(vortex, backend):
    """The client half-closes in the middle of the body: the backend must not see a whole request."""
    target = backend()
    proxy = vortex(target)
    for part in (b"Content-Length: 10\r\n\r\nabc", b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"):
        with proxy.client() as client:
            client.send(POST + part)
            client.half_close()
            client.rest()
    assert not any(seen.complete for seen in target.requests)
    assert proxy.get().status == 200


def test_truncated_head_gets_nothing_forwarded(vortex, backend):
    target = backend()
    proxy = vortex(target)
    with proxy.client() as client:
        client.send(GET)
        client.half_close()
        client.rest()
    assert not target.connections


# Limits


def test_request_line_too_long_is_414(vortex, backend):
    target = backend()
    proxy = vortex(target, limits={"header_bytes": "4KiB"})
    answer = proxy.raw(b"GET /" + b"a" * 6000 + b" HTTP/1.1\r\nHost: test\r\n\r\n")
    check_error(answer, 414)
    assert not target.connections


def test_request_line_without_an_end_is_414(vortex, backend):
    proxy = vortex(backend(), limits={"header_bytes": "4KiB"})
    check_error(proxy.raw(b"GET /" + b"a" * 200000), 414)


def test_head_too_large_is_431_and_really_arrives(vortex, backend):
    """Far more than the socket buffers may come after the limit; the answer must survive it (lingering close)."""
    target = backend()
    proxy = vortex(target, limits={"header_bytes": "4KiB"})
    check_error(proxy.raw(GET + b"X-A: " + b"a" * 5000 + b"\r\n\r\n"), 431)
    check_error(
        proxy.raw(GET + b"".join(b"X-%d: %s\r\n" % (n, b"b" * 100) for n in range(20000)) + b"\r\n"), 431
    )
    assert not target.connections


def test_head_just_under_the_default_limit_passes(vortex, backend):
    proxy = vortex(backend(), limits={"header_bytes": "64KiB"})
    answer = proxy.get(headers={"X-Big": "v" * 60000})
    assert answer.status == 200
    assert "v" * 60000 in dict(answer.json()["headers"]).values()


def test_too_many_headers_are_431(vortex, backend):
    target = backend()
    proxy = vortex(target, limits={"headers": 20})
    check_error(proxy.raw(GET + b"".join(b"X-%d: a\r\n" % n for n in range(30)) + b"\r\n"), 431)
    assert not target.connections
    assert proxy.get(headers=[(f"X-{n}", "a") for n in range(15)]).status == 200


def test_declared_body_over_the_limit_is_413_before_anything_is_forwarded(vortex, backend):
    target = backend()
    proxy = vortex(target, limits={"body_bytes": "1KiB"})
    with proxy.client() as client:
        client.send(POST + b"Content-Length: 1025\r\n\r\n")
        check_error(client.read(), 413)
    assert not target.connections
    assert proxy.request("POST", "/", body=b"a" * 1024).json()["length"] == 1024


def test_413_is_received_while_the_upload_is_still_running(vortex, backend):
    """Lingering close: megabytes in flight must not turn the 413 into a reset."""
    proxy = vortex(backend(), limits={"body_bytes": "1KiB"})
    with proxy.client() as client:
        client.try_send(POST + b"Content-Length: 4000000\r\n\r\n")
        client.try_send(b"a" * 4000000)
        check_error(client.read(), 413)


def test_chunked_body_over_the_limit_is_413_and_never_whole_at_the_backend(vortex, backend):
    target = backend()
    proxy = vortex(target, limits={"body_bytes": "100KiB"})
    with proxy.client() as client:
        client.try_send(POST + b"Transfer-Encoding: chunked\r\n\r\n" + http1.chunked(*[b"a" * 10000] * 40))
        check_error(client.read(), 413)
    settle(0.05)
    assert not any(seen.complete for seen in target.requests)


def test_expect_continue_with_too_large_a_body_gets_413_and_no_100(vortex, backend):
    proxy = vortex(backend(), limits={"body_bytes": "1KiB"})
    with proxy.client() as client:
        client.send(POST + b"Content-Length: 5000\r\nExpect: 100-continue\r\n\r\n")
        check_error(client.read(), 413)


def test_no_body_limit_by_default(vortex, backend):
    proxy = vortex(backend())
    assert proxy.request("POST", "/", body=b"a" * (8 << 20)).json()["length"] == 8 << 20


def test_error_to_head_has_no_body(vortex, backend):
    proxy = vortex(backend(), route={"match": {"path": "/only"}})
    with proxy.client() as client:
        assert client.request("HEAD", "/other").status == 404
        assert client.request("GET", "/only").status == 200


def test_bytes_of_no_protocol_do_not_kill_the_proxy(vortex, backend):
    target = backend()
    proxy = vortex(target)
    dice = random.Random(7)
    for _ in range(60):
        with proxy.client() as client:
            client.try_send(dice.randbytes(dice.choice([1, 10, 1000, 70000])))
            client.try_send(b"\r\n\r\n")
            try:
                client.half_close()
                client.rest(5)
            except OSError:
                pass
    assert proxy.get().status == 200
    assert len(target.requests) == 1


# Backends that lie. 502 for the client, and the next request is fine.

BAD_RESPONSES = {
    "status_line_without_version": b"200 OK\r\n\r\n",
    "status_not_a_number": b"HTTP/1.1 abc OK\r\nContent-Length: 0\r\n\r\n",
    "status_two_digits": b"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
    "status_four_digits": b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
    "status_below_100": b"HTTP/1.1 099 Low\r\nContent-Length: 0\r\n\r\n",
    "version_2": b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    "garbage": b"\x00\x01\x02\x03 garbage\r\n\r\n",
    "ssh": b"SSH-2.0-OpenSSH_9.2p1 Debian\r\n",
    "te_and_cl": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "cl_twice_differing": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "cl_negative": b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    "cl_letters": b"HTTP/1.1 200 OK\r\nContent-Length: abc\r\n\r\n",
    "cl_overflow": b"HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551617\r\n\r\na",
    "te_chunked_twice": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "nul_in_value": b"HTTP/1.1 200 OK\r\nX-A: a\0b\r\nContent-Length: 0\r\n\r\n",
    "bare_cr_in_value": b"HTTP/1.1 200 OK\r\nX-A: a\rX-B: b\r\nContent-Length: 0\r\n\r\n",
    "space_before_colon": b"HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n",
    "obs_fold": b"HTTP/1.1 200 OK\r\nX-A: a\r\n b\r\nContent-Length: 0\r\n\r\n",
    "no_colon": b"HTTP/1.1 200 OK\r\nX-A\r\nContent-Length: 0\r\n\r\n",
    "huge_head": b"HTTP/1.1 200 OK\r\n" + b"X-A: " + b"a" * 3000000 + b"\r\nContent-Length: 0\r\n\r\n",
    "endless_headers": b"HTTP/1.1 200 OK\r\n"
    + b"".join(b"X-%d: b\r\n" % n for n in range(50000))
    + b"Content-Length: 0\r\n\r\n",
    "nothing": b"",
    "half_a_head": b"HTTP/1.1 200 OK\r\nContent-Le",
    "unasked_101": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
}


@pytest.mark.parametrize("name", BAD_RESPONSES)
def test_response_that_is_not_http_becomes_502(vortex, backend, name):
    """The same strictness as for requests where the client could be misled. (obs-fold: RFC 9112 5.2 also lets a proxy replace
    it by spaces; a differing or negative length, or TE with CL, is never repaired.)"""
    bad = once(BAD_RESPONSES[name])
    target = backend(lambda conn: (bad if conn.number == 1 else serve())(conn))
    proxy = vortex(target, route={"retries": {"attempts": 0}})
    with proxy.client() as client:
        client.send(request("GET", "/"))
        answer = client.read()
        if name == "obs_fold" and answer.status == 200:
            assert " ".join(answer.get("x-a").split()) == "a b"
        else:
            check_error(answer, 502)
    assert proxy.get("/after").json()["target"] == "/after"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n50\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n",
    ],
    ids=["length", "between_chunks", "inside_chunk", "bad_chunk", "before_last_crlf"],
)
def test_truncated_response_is_seen_as_truncated(vortex, backend, answer):
    """The client must not take a part for the whole: the message stays incomplete and the connection ends."""
    proxy = vortex(backend(once(answer)), route={"retries": {"attempts": 0}})
    with proxy.client() as client:
        client.send(request("GET", "/"))
        with pytest.raises(http1.Incomplete):
            client.read()


def test_truncated_response_to_an_http10_client_is_reset(vortex, backend):
    """Without chunked and length only a reset tells an HTTP/1.0 client that a body was cut off."""
    proxy = vortex(
        backend(once(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n")),
        route={"retries": {"attempts": 0}},
    )
    with proxy.client() as client:
        client.send(request("GET", "/", version="1.0"))
        with pytest.raises(http1.Incomplete):
            client.read()


def test_close_delimited_response_that_is_reset_is_seen_as_truncated(vortex, backend):
    def script(conn):
        conn.request()
        conn.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nsome of it")
        settle(0.2)
        conn.reset()

    proxy = vortex(backend(script), route={"retries": {"attempts": 0}})
    with proxy.client() as client:
        client.send(request("GET", "/"))
        with pytest.raises(http1.Incomplete):
            client.read()


@pytest.mark.parametrize(
    "extra", [b"x", b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison", b"\r\n\r\n" + b"y" * 100000]
)
def test_bytes_after_the_response_are_never_an_answer(vortex, backend, extra):
    """The connection is dropped, not pooled: no other request may be answered by what came unasked."""

    def script(conn):
        while True:
            seen = conn.request()
            conn.send(response(json.dumps({"target": seen.target}).encode()) + extra)

    target = backend(script)
    proxy = vortex(target)
    for number in range(5):
        assert proxy.get(f"/{number}").json() == {"target": f"/{number}"}
        settle(0.02)
    assert target.accepted == 5


def test_bytes_sent_on_an_idle_backend_connection_are_never_an_answer(vortex, backend):
    def script(conn):
        seen = conn.request()
        conn.send(echo(seen))
        settle(0.2)
        if conn.number == 1:
            conn.send(response(b"poison"))
            conn.gone()

    proxy = vortex(backend(script))
    assert proxy.get("/1").json()["target"] == "/1"
    settle(0.6)
    assert proxy.get("/2").json()["target"] == "/2"


def test_body_after_head_and_204_is_never_an_answer(vortex, backend):
    """A backend that sends a body where none may be: it must not be read as the next response."""

    def script(conn):
        seen = conn.request()
        conn.send(
            b"HTTP/1.1 %s\r\nContent-Length: 41\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbad"
            % (b"200 OK" if seen.method == "HEAD" else b"304 Not Modified")
            if seen.target == "/bad"
            else echo(seen)
        )
        conn.gone(0.5)

    proxy = vortex(backend(script))
    for method, status in (("HEAD", 200), ("GET", 304)):
        with proxy.client() as client:
            assert client.request(method, "/bad").status == status
            assert client.request("GET", "/good").json()["target"] == "/good"


def test_endless_interim_answers_do_not_go_on_for_ever(vortex, backend):
    """A backend that sends nothing but 1xx: each is passed on, but timeouts.response still bounds the wait for the answer."""

    def script(conn):
        conn.request()
        for _ in range(600):
            conn.send(b"HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n")
            settle(0.05)

    proxy = vortex(backend(script), route={"timeouts": {"response": "1s"}, "retries": {"attempts": 0}})
    with proxy.client() as client:
        client.send(request("GET", "/"))
        check_error(client.final(), 504)
