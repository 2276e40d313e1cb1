# SPDX-License-Identifier: Apache-2.0
"""Answers that come before an HTTP/1 client has sent its whole upload: they arrive in full, and say what becomes of the connection."""

import threading

import pytest

from harness.backend import response
from harness.client import request
from harness.http1 import chunked
from harness.ports import take

LARGE = 20000000
SMALL = 200000


@pytest.fixture(params=["tcp", "tls"])
def connect(request, vortex, ca):
    """Starts a proxy; connect(backend, ...) gives a function that opens a connection to it."""

    def start(*backends, **options):
        if request.param == "tcp":
            return vortex(*backends, **options).client
        pair = ca.issue("localhost")
        listener = {"address": f"127.0.0.1:{take()}", "tls": pair.config()}
        proxy = vortex(*backends, listeners=[listener], **options)
        return lambda: proxy.client(tls=ca.client_context(), sni="localhost")

    return start


class Refusing:
    """A backend that answers from the head alone, and reads no byte of the upload."""

    def __init__(self):
        self.over = threading.Event()

    def __call__(self, conn):
        conn.head()
        conn.send(response(b"not for me", status="403 Forbidden", headers={"Connection": "close"}))
        self.over.wait(20)


NOBODY = {"match": {"host": "nobody.test"}}
EXHAUSTED = {"requests": 1, "per": "1h", "burst": 1}
CASES = {
    "no_route": ({"route": NOBODY}, 404),
    "rate_limited": ({"rate_limit": EXHAUSTED}, 429),
    "backend": ({}, 403),
}


@pytest.mark.parametrize("case", CASES)
def test_a_client_that_writes_all_before_it_reads_gets_its_answer(connect, backend, case):
    options, status = CASES[case]
    refusing = Refusing()
    target = backend(refusing if case == "backend" else None)
    open_client = connect(target, **options)
    if case == "rate_limited":
        with open_client() as client:
            assert client.request("GET", "/", host="localhost").status == 200
    with open_client() as client:
        client.send(request("POST", "/", {"Content-Length": LARGE}, host="localhost"))
        assert client.try_send(b"a" * LARGE)
        answer = client.read()
        assert answer.status == status and answer.closes
        assert client.ended()
    refusing.over.set()


def test_a_small_upload_that_nobody_reads_leaves_the_connection_usable(connect, backend):
    open_client = connect(backend(), route={"match": {"path_prefix": "/known"}})
    with open_client() as client:
        for _ in range(3):
            answer = client.request("POST", "/unknown", body=b"a" * SMALL, host="localhost")
            assert answer.status == 404 and not answer.closes
            answer = client.request("POST", "/unknown", {"Transfer-Encoding": "chunked"}, chunked(b"a", b"b"), host="localhost")
            assert answer.status == 404
            if answer.closes:  # the end of the body came in a packet of its own
                return
        assert client.request("GET", "/known", host="localhost").status == 200


def test_the_rest_of_a_small_upload_may_come_behind_the_answer(connect, backend):
    open_client = connect(backend(), route={"match": {"path_prefix": "/known"}})
    with open_client() as client:
        client.send(request("POST", "/unknown", {"Content-Length": SMALL}, host="localhost"))
        answer = client.read()
        assert answer.status == 404 and not answer.closes
        client.send(b"a" * SMALL + request("GET", "/known", host="localhost"))
        assert client.read().status == 200


@pytest.mark.parametrize("length", [SMALL, LARGE])
def test_a_client_that_waits_for_leave_is_told_that_the_connection_ends(vortex, backend, length):
    """It may leave its body out now, so nobody could tell where the next request begins."""
    proxy = vortex(backend(), route={"match": {"path_prefix": "/known"}}, limits={"body_bytes": "1MiB"})
    with proxy.client() as client:
        client.send(request("POST", "/unknown", {"Content-Length": length, "Expect": "100-continue"}))
        answer = client.read()
        assert answer.status == (404 if length == SMALL else 413) and answer.closes
        client.try_send(request("GET", "/known"))
        assert client.ended()


def test_an_answer_to_an_endless_upload_says_that_the_connection_ends(vortex, backend):
    """The backend is through while its client goes on: a 200 is no reason to stop, the end of the connection is."""

    def script(conn):
        conn.head()
        conn.send(response(b"enough"))
        conn.gone(20)

    proxy = vortex(backend(script))
    with proxy.client() as client:
        client.send(request("POST", "/", {"Transfer-Encoding": "chunked"}) + b"5\r\nbegin\r\n")
        answer = client.read()
        assert (answer.status, answer.body, answer.closes) == (200, b"enough", True)
        client.send(b"4\r\nmore\r\n")
        assert client.ended()
