# SPDX-License-Identifier: Apache-2.0
"""Properties: what plugins learn of their exchange, with what real connections make of it."""

import hashlib
import re
import ssl

import pytest

from harness.backend import response, serve
from harness.client import request
from harness.http2_backend import Answer, http2_serve
from harness.modules import guest
from harness.ports import take
from harness.proxy import targets
from harness.wait import wait_until

URI = "spiffe://tests/{}"


@pytest.fixture
def start(vortex):
    """A proxy whose plugin says what it is asked for."""

    def start(back, listener=None, route=None):
        main = {"name": "main", "match": {"path_prefix": "/"}, "backends": targets(back), **(route or {})}
        address = {"address": f"127.0.0.1:{take()}"}
        filters = [{"name": "asker", "wasm": guest("properties"), "root_id": "the-root"}]
        return vortex(routes=[main], listeners=[{**address, **(listener or {})}], filters=filters)

    return start


def asked(proxy, *names, **options):
    """What the plugin sees at the response's head, and what it sees when the exchange is over."""
    answer = proxy.get("/", [("x-ask", ",".join(names))], **options)
    assert answer.status in (200, 502)
    shown = {name: answer.get(name) for name in names}

    def logged():
        lines = re.findall(r"filter asker: ([a-z0-9_.]+)=([^\n\"]*)", proxy.output())
        return dict(lines) if len(lines) >= len(names) else None

    return shown, wait_until(logged, 15, "the lines of the log")


def digest(pair):
    der = ssl.PEM_cert_to_DER_cert(pair.cert.read_text())
    return hashlib.sha256(der).hexdigest()


NAMES = [
    "subject_local_certificate",
    "subject_peer_certificate",
    "dns_san_local_certificate",
    "dns_san_peer_certificate",
    "uri_san_local_certificate",
    "uri_san_peer_certificate",
    "sha256_peer_certificate_digest",
]


@pytest.mark.parametrize("protocol", ["http1", "http2"])
def test_certificates_of_both_sides(start, backend, ca, protocol):
    ours = ca.issue("localhost", URI.format("proxy"))
    client = ca.issue("visitor", URI.format("visitor"), client=True)
    to_backend = ca.issue("proxy-out", URI.format("out"), client=True)
    theirs = ca.issue("backend.test", URI.format("backend"))
    context = theirs.server_context(client_ca=ca.path)
    if protocol == "http2":
        context.set_alpn_protocols(["h2"])
        back = backend(http2_serve(lambda request: Answer(b"hello")), tls=context)
    else:
        back = backend(serve(lambda request: response(b"hello")), tls=context)
    tls = {"ca": str(ca.path), "server_name": "backend.test", **to_backend.config()}
    proxy = start(
        back,
        listener={"tls": {**ours.config(), "client_ca": str(ca.path)}},
        route={"tls": tls, "protocol": protocol},
    )
    down = [f"connection.{name}" for name in NAMES]
    up = [f"upstream.{name}" for name in NAMES]
    more = ["connection.mtls", "connection.tls_version", "connection.requested_server_name", "upstream.tls_version"]
    shown, logged = asked(
        proxy, *down, *up, *more, tls=ca.client_context(client), sni="localhost", host="localhost"
    )
    assert shown == logged
    assert [shown[name] for name in down] == [
        "CN=localhost",
        "CN=visitor",
        "localhost",
        "visitor",
        URI.format("proxy"),
        URI.format("visitor"),
        digest(client),
    ]
    assert [shown[name] for name in up] == [
        "CN=proxy-out",
        "CN=backend.test",
        "proxy-out",
        "backend.test",
        URI.format("out"),
        URI.format("backend"),
        digest(theirs),
    ]
    assert [shown[name] for name in more] == ["1", "TLSv1.3", "localhost", "TLSv1.3"]


def test_facts_stay_the_same_for_a_connection(start, backend, ca):
    client = ca.issue("visitor", client=True)
    proxy = start(
        backend(serve(lambda request: response(b"hello"))),
        listener={"tls": {**ca.issue("localhost").config(), "client_ca": str(ca.path)}},
    )
    with proxy.client(tls=ca.client_context(client), sni="localhost") as connection:
        ids = set()
        for _ in range(3):
            ask = [("x-ask", "connection.id,connection.sha256_peer_certificate_digest")]
            answer = connection.request("GET", "/", ask, host="localhost")
            assert answer.get("connection.sha256_peer_certificate_digest") == digest(client)
            ids.add(answer.get("connection.id"))
        assert len(ids) == 1


def test_tls_without_client_certificate_and_plain_backend(start, backend, ca):
    proxy = start(
        backend(serve(lambda request: response(b"hello"))), listener={"tls": ca.issue("localhost").config()}
    )
    names = ["connection.mtls", "connection.subject_peer_certificate", "connection.uri_san_peer_certificate"]
    names += ["connection.sha256_peer_certificate_digest", "upstream.tls_version"]
    shown, _ = asked(proxy, *names, tls=ca.client_context(), sni="localhost", host="localhost")
    assert list(shown.values()) == ["0", "", "-", "-", "-"]


def test_plain_on_both_sides(start, backend):
    back = backend(serve(lambda request: response(b"hello")))
    proxy = start(back)
    names = ["connection.mtls", "connection.tls_version", "connection.subject_local_certificate"]
    names += ["upstream.address", "upstream.transport_failure_reason", "response.flags", "plugin_root_id"]
    shown, logged = asked(proxy, *names, "upstream.local_address")
    assert [shown[name] for name in names] == ["0", "-", "-", f"127.0.0.1:{back.port}", "", "0", "the-root"]
    assert re.fullmatch(r"127\.0\.0\.1:\d+", shown["upstream.local_address"])
    assert shown == logged


def test_why_a_backend_could_not_be_reached(start, backend, ca, stranger):
    back = backend(tls=stranger.issue("backend.test").server_context())
    proxy = start(back, route={"tls": {"ca": str(ca.path), "server_name": "backend.test"}})
    shown, _ = asked(proxy, "upstream.transport_failure_reason", "response.flags", "response.code_details")
    assert "certificate" in shown["upstream.transport_failure_reason"]
    assert shown["response.flags"] == str(0x20)
    assert shown["response.code_details"] == "backend_tls_failed"


def test_size_is_what_the_client_has_announced(start, backend):
    proxy = start(backend(serve(lambda request: response(b"hello"))))
    answer = proxy.request("POST", "/", [("x-ask", "request.size")], b"x" * 333)
    assert answer.get("request.size") == "333"


def test_log_of_an_exchange_without_response(start, backend, ca):
    """SDKs trap on anything but OK and NOT_FOUND there. Who the client was can still be asked when it has gone."""
    back = backend(lambda conn: (conn.request(), conn.gone(15)))
    visitor = ca.issue("visitor", client=True)
    proxy = start(back, listener={"tls": {**ca.issue("localhost").config(), "client_ca": str(ca.path)}})
    client = proxy.client(tls=ca.client_context(visitor), sni="localhost")
    ask = "connection.subject_peer_certificate,upstream.address,upstream.tls_version"
    client.send(request("GET", "/", [("x-ask", ask)], host="localhost"))
    back.wait_requests()
    client.reset()
    wait_until(lambda: "there was no response" in proxy.output(), 15, "the line of the log")
    assert "connection.subject_peer_certificate=CN=visitor" in proxy.output()
    assert "upstream.tls_version=-" in proxy.output()
    assert proxy.metric("vortex_filter_traps_total", filter="asker") == 0
