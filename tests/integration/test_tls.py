# SPDX-License-Identifier: Apache-2.0
"""TLS on listeners and to backends."""

import contextlib
import shutil
import signal
import socket
import ssl
import subprocess
import threading

import pytest

from harness import http1
from harness.backend import echo, response, serve
from harness.client import request
from harness.ports import take
from harness.proxy import check
from harness.wait import wait_until

V12, V13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


def secure(vortex, backend, *pairs, listener=None, **options):
    """A proxy with a TLS listener that has these certificates."""
    tls = pairs[0].config() if len(pairs) == 1 else {"certificates": [pair.config() for pair in pairs]}
    tls.update(listener or {})
    return vortex(backend, listeners=[{"address": f"127.0.0.1:{take()}", "tls": tls}], **options)


def serial(connection):
    return int(connection.sock.getpeercert()["serialNumber"], 16)


@pytest.mark.parametrize("version", [V12, V13], ids=["1.2", "1.3"])
def test_tls_version_is_served(vortex, backend, ca, version):
    proxy = secure(vortex, backend(), ca.issue("localhost"))
    with proxy.client(tls=ca.client_context(version=version), sni="localhost") as client:
        assert client.sock.version() == {V12: "TLSv1.2", V13: "TLSv1.3"}[version]
        for _ in range(3):
            assert client.request("GET", "/", host="localhost").status == 200


def test_tls_before_1_2_is_refused(vortex, backend, ca):
    target = backend()
    proxy = secure(vortex, target, ca.issue("localhost"))
    context = ca.client_context()
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning):
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionError)):
        proxy.client(tls=context, sni="localhost")
    assert not target.connections


@pytest.mark.parametrize(
    "offered, chosen",
    [(("http/1.1",), "http/1.1"), (("spdy/3", "http/1.1"), "http/1.1"), (None, None)],
    ids=["http1", "among_others", "none"],
)
def test_alpn(vortex, backend, ca, offered, chosen):
    proxy = secure(vortex, backend(), ca.issue("localhost"))
    with proxy.client(tls=ca.client_context(alpn=offered), sni="localhost") as client:
        assert client.sock.selected_alpn_protocol() == chosen
        assert client.request("GET", "/", host="localhost").status == 200


def test_big_bodies_pass_over_tls_both_ways(vortex, backend, ca):
    proxy = secure(vortex, backend(serve(lambda r: response(r.body))), ca.issue("localhost"))
    body = bytes(range(256)) * 20000
    answer = proxy.request("POST", "/", body=body, tls=ca.client_context(), sni="localhost", host="localhost")
    assert answer.body == body


def test_tls_records_split_at_every_byte(vortex, backend, ca):
    """Each byte of the request in a TLS record of its own."""
    proxy = secure(vortex, backend(), ca.issue("localhost"))
    with proxy.client(tls=ca.client_context(), sni="localhost") as client:
        client.dribble(request("POST", "/x", body=b"hello", host="localhost"))
        assert client.read().json()["length"] == 5


def test_certificate_is_chosen_by_sni(vortex, backend, ca):
    one, two, wild = ca.issue("one.test"), ca.issue("two.test"), ca.issue("*.wild.test")
    proxy = secure(vortex, backend(), one, two, wild)
    context = ca.client_context()
    for name, expected in (("one.test", one), ("two.test", two), ("a.wild.test", wild), ("ONE.test", one)):
        with proxy.client(tls=context, sni=name) as client:
            assert serial(client) == expected.serial
            assert client.request("GET", "/", host=name).status == 200


def test_exact_name_wins_over_wildcard(vortex, backend, ca):
    wild, exact = ca.issue("*.same.test"), ca.issue("a.same.test")
    proxy = secure(vortex, backend(), wild, exact)
    for name, expected in (("a.same.test", exact), ("b.same.test", wild)):
        with proxy.client(tls=ca.client_context(), sni=name) as client:
            assert serial(client) == expected.serial


@pytest.mark.parametrize("order", (("ec", "rsa"), ("rsa", "ec")))
def test_rsa_and_ecdsa_certificates_of_one_name_are_a_pair(vortex, backend, ca, order):
    """Clients that can take ECDSA get it, the others RSA, whichever stands first and with or without a name asked for."""
    pair = {kind: ca.issue("pair.test", "*.pair.test", kind=kind) for kind in order}
    alone = ca.issue("alone.test", kind="rsa")
    proxy = secure(vortex, backend(), *pair.values(), alone)
    for kind, ciphers in (("ec", "ECDHE-ECDSA-AES128-GCM-SHA256"), ("rsa", "ECDHE-RSA-AES128-GCM-SHA256"), ("ec", None)):
        context = ca.client_context(version=ssl.TLSVersion.TLSv1_2 if ciphers else None)
        context.check_hostname = False
        if ciphers:
            context.set_ciphers(ciphers)
        for name in ("pair.test", "a.pair.test", None):
            with proxy.client(tls=context, sni=name) as client:
                assert serial(client) == pair[kind].serial
                assert client.request("GET", "/", host=name or "pair.test").status == 200
    with proxy.client(tls=ca.client_context(), sni="alone.test") as client:
        assert serial(client) == alone.serial


def test_unknown_or_missing_sni_gets_the_first_certificate(vortex, backend, ca):
    """As in nginx."""
    one, two = ca.issue("one.test"), ca.issue("two.test")
    proxy = secure(vortex, backend(), one, two)
    context = ca.client_context()
    context.check_hostname = False
    for name in ("unknown.test", None):
        with proxy.client(tls=context, sni=name) as client:
            assert serial(client) == one.serial


def test_host_of_another_certificate_than_the_sni_is_421(vortex, backend, ca):
    """A client that reuses a connection across certificates is told to open another (RFC 9110 15.5.20)."""
    one, two = ca.issue("one.test", "alias.test"), ca.issue("two.test")
    target = backend()
    proxy = secure(vortex, target, one, two)
    with proxy.client(tls=ca.client_context(), sni="one.test") as client:
        assert client.request("GET", "/", host="one.test").status == 200
        assert client.request("GET", "/", host="alias.test").status == 200
        count = len(target.requests)
        answer = client.request("GET", "/", host="two.test")
        assert answer.status == 421
        assert answer.json()["error"]
        assert len(target.requests) == count


@pytest.mark.parametrize("version", [V12, V13], ids=["1.2", "1.3"])
def test_sessions_resume_on_every_worker(vortex, backend, ca, version):
    """Tickets made by one worker are good on the others. (New connections are spread over both workers by the kernel.)"""
    proxy = secure(vortex, backend(), ca.issue("localhost"), workers=2)
    context = ca.client_context(version=version)
    with proxy.client(tls=context, sni="localhost") as client:
        assert client.request("GET", "/", host="localhost").status == 200
        session = client.sock.session
        assert not client.sock.session_reused
    for _ in range(12):
        with proxy.client(tls=context, sni="localhost", session=session) as client:
            assert client.request("GET", "/", host="localhost").status == 200
            assert client.sock.session_reused


def test_sessions_resume_after_a_reload(vortex, backend, ca):
    """A reload that does not touch TLS keeps the ticket keys."""
    proxy = secure(vortex, backend(), ca.issue("localhost"))
    context = ca.client_context()
    with proxy.client(tls=context, sni="localhost") as client:
        client.request("GET", "/", host="localhost")
        session = client.sock.session
    proxy.reload(proxy.config)
    with proxy.client(tls=context, sni="localhost", session=session) as client:
        assert client.request("GET", "/", host="localhost").status == 200
        assert client.sock.session_reused


# Client certificates


def refused_without_certificate(proxy, context):
    """Refused in the handshake, or by 400 after it as nginx does."""
    with contextlib.suppress(ssl.SSLError, OSError, http1.Closed, http1.Incomplete):
        answer = proxy.get(tls=context, sni="localhost", host="localhost")
        assert answer.status == 400
        assert answer.json()["error"]


@pytest.mark.parametrize("version", [V12, V13], ids=["1.2", "1.3"])
def test_client_certificate_is_required(vortex, backend, ca, stranger, version):
    target = backend()
    proxy = secure(vortex, target, ca.issue("localhost"), listener={"client_ca": str(ca.path)})
    refused_without_certificate(proxy, ca.client_context(version=version))
    refused_without_certificate(
        proxy, ca.client_context(stranger.issue("client", client=True), version=version)
    )
    assert not target.requests
    good = ca.client_context(ca.issue("client", client=True), version=version)
    assert proxy.get(tls=good, sni="localhost", host="localhost").status == 200


def test_client_certificate_cannot_be_dodged_by_resumption(vortex, backend, ca):
    """A ticket of a listener without client_ca is no ticket for one that demands certificates."""
    pair, target = ca.issue("localhost"), backend()
    listeners = [
        {"address": f"127.0.0.1:{take()}", "tls": pair.config()},
        {"address": f"127.0.0.1:{take()}", "tls": {**pair.config(), "client_ca": str(ca.path)}},
    ]
    proxy = vortex(target, listeners=listeners)
    context = ca.client_context()
    with proxy.client(tls=context, sni="localhost") as client:
        client.request("GET", "/open", host="localhost")
        session = client.sock.session
    with contextlib.suppress(ssl.SSLError, OSError, http1.Closed, http1.Incomplete):
        with proxy.client(proxy.ports[1], tls=context, sni="localhost", session=session) as client:
            assert client.request("GET", "/closed", host="localhost").status == 400
    assert [seen.target for seen in target.requests] == ["/open"]


# Reload


def test_certificate_is_reloaded_without_dropping_a_running_request(vortex, backend, ca, tmp_path):
    old, new = ca.issue("localhost"), ca.issue("localhost")
    live_cert, live_key = tmp_path / "live.pem", tmp_path / "live.key"
    shutil.copy(old.cert, live_cert)
    shutil.copy(old.key, live_key)
    release = threading.Event()
    target = backend(serve(lambda r: (r.target == "/slow" and release.wait(30), echo(r))[1]))
    config = vortex.config(target, listener={"tls": {"cert": str(live_cert), "key": str(live_key)}})
    proxy = vortex.start(config)
    context = ca.client_context()
    running = proxy.client(tls=context, sni="localhost")
    assert serial(running) == old.serial
    running.send(request("GET", "/slow", host="localhost"))
    target.wait_requests()
    shutil.copy(new.cert, live_cert)
    shutil.copy(new.key, live_key)
    proxy.reload(config)

    def new_one():
        with proxy.client(tls=context, sni="localhost") as client:
            return serial(client) == new.serial

    wait_until(new_one, what="the new certificate")
    release.set()
    assert running.read().json()["target"] == "/slow"


def test_reload_with_a_broken_certificate_keeps_the_old_one(vortex, backend, ca, tmp_path):
    pair = ca.issue("localhost")
    config = vortex.config(backend(), listener={"tls": pair.config()})
    proxy = vortex.start(config)
    broken = tmp_path / "broken.pem"
    broken.write_text("not a certificate\n")
    bad = {
        **config,
        "listeners": [{**config["listeners"][0], "tls": {"cert": str(broken), "key": str(pair.key)}}],
    }
    proxy.reload(bad, good=False)
    with proxy.client(tls=ca.client_context(), sni="localhost") as client:
        assert serial(client) == pair.serial


TLS_CONFIG = """listeners:
  - address: 127.0.0.1:8443
    tls:
      cert: {cert}
      key: {key}
routes:
  - name: main
    match: {{ path_prefix: / }}
    backends: [ {{ id: 1, address: 127.0.0.1:9001 }} ]
"""


def test_good_certificate_passes_the_check(ca, tmp_path):
    code, _, output = check(tmp_path, TLS_CONFIG.format(**ca.issue("localhost").config()))
    assert code == 0, output


@pytest.mark.parametrize(
    "fault",
    ["mismatch", "garbage_cert", "garbage_key", "missing_cert", "missing_key", "empty_cert", "key_as_cert"],
)
def test_bad_certificate_or_key_is_a_config_error_with_its_line(ca, tmp_path, fault):
    """The place is the line of `cert` or `key` that is wrong (either one where they do not fit each other)."""
    one, two = ca.issue("localhost").config(), ca.issue("localhost").config()
    garbage, empty = tmp_path / "garbage.pem", tmp_path / "empty.pem"
    garbage.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    empty.write_text("")
    values, lines = {
        "mismatch": ({"cert": one["cert"], "key": two["key"]}, (4, 5)),
        "garbage_cert": ({**one, "cert": str(garbage)}, (4,)),
        "garbage_key": ({**one, "key": str(garbage)}, (5,)),
        "missing_cert": ({**one, "cert": "nowhere.pem"}, (4,)),
        "missing_key": ({**one, "key": "nowhere.key"}, (5,)),
        "empty_cert": ({**one, "cert": str(empty)}, (4,)),
        "key_as_cert": ({**one, "cert": one["key"]}, (4,)),
    }[fault]
    code, places, output = check(tmp_path, TLS_CONFIG.format(**values))
    assert code == 2, output
    assert places and places[0][0] in lines, output


# Hostile handshakes


def test_plain_http_on_the_tls_port_is_refused(vortex, backend, ca):
    """nginx answers 400 in plain text here, others send an alert or close; the backend hears nothing."""
    target = backend()
    proxy = secure(vortex, target, ca.issue("localhost"))
    with proxy.client() as client:
        client.send(request("GET", "/"))
        client.rest()
    assert not target.connections
    assert proxy.get(tls=ca.client_context(), sni="localhost", host="localhost").status == 200


def test_silent_or_slow_handshake_is_dropped(vortex, backend, ca):
    proxy = secure(vortex, backend(), ca.issue("localhost"), timeouts={"handshake": "500ms"})
    with proxy.client() as client:
        assert client.ended(15)
    with proxy.client() as client:
        client.send(b"\x16\x03\x01\x02\x00\x01")
        client.rest(15)


def test_truncation_inside_tls_is_told_from_the_end(vortex, backend, ca):
    """A response the backend cut off must not end with close_notify and look whole; chunked or length tell anyway."""

    def script(conn):
        conn.request()
        conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc")

    proxy = secure(vortex, backend(script), ca.issue("localhost"), route={"retries": {"attempts": 0}})
    with proxy.client(tls=ca.client_context(), sni="localhost") as client:
        client.send(request("GET", "/", host="localhost"))
        with pytest.raises((http1.Incomplete, ssl.SSLError)):
            client.read()


def test_connection_close_over_tls_ends_with_close_notify(vortex, backend, ca):
    """RFC 8446 6.1; Python raises on a ragged end."""
    proxy = secure(vortex, backend(), ca.issue("localhost"))
    with proxy.client(tls=ca.client_context(), sni="localhost") as client:
        assert client.request("GET", "/", {"Connection": "close"}, host="localhost").status == 200
        assert client.rest() == b""


def test_curl_over_tls(vortex, backend, ca):
    proxy = secure(vortex, backend(), ca.issue("localhost"))
    done = subprocess.run(
        [
            "curl",
            "-sS",
            "--fail",
            "--cacert",
            str(ca.path),
            "--resolve",
            f"localhost:{proxy.port}:127.0.0.1",
            f"https://localhost:{proxy.port}/",
            f"https://localhost:{proxy.port}/again",
            "-w",
            "%{num_connects}",
        ],
        capture_output=True,
        timeout=30,
        check=True,
    )
    assert done.stdout.endswith(b"0")


# To backends


def to_backend(vortex, target, **tls):
    return vortex(target, route={"tls": tls, "retries": {"attempts": 0}})


def test_tls_to_a_backend_with_our_own_ca(vortex, backend, ca):
    target = backend(tls=ca.issue("localhost", "127.0.0.1").server_context())
    proxy = to_backend(vortex, target, ca=str(ca.path), server_name="localhost")
    with proxy.client() as client:
        for number in range(3):
            assert client.request("POST", "/", body=b"x" * 100000).json()["connection"] == 1, number


def test_backend_of_an_unknown_authority_is_502(vortex, backend, ca, stranger):
    target = backend(tls=stranger.issue("localhost").server_context())
    proxy = to_backend(vortex, target, ca=str(ca.path), server_name="localhost")
    answer = proxy.get()
    assert answer.status == 502
    assert answer.json()["error"]
    assert not target.requests


def test_backend_is_verified_against_the_systems_authorities_when_no_ca_is_given(vortex, backend, ca):
    target = backend(tls=ca.issue("localhost").server_context())
    assert to_backend(vortex, target, server_name="localhost").get().status == 502
    assert not target.requests


def test_backend_with_another_name_is_502(vortex, backend, ca):
    target = backend(tls=ca.issue("other.test").server_context())
    assert to_backend(vortex, target, ca=str(ca.path), server_name="localhost").get().status == 502
    assert not target.requests


def test_server_name_is_sent_as_sni(vortex, backend, ca):
    names = []
    context = ca.issue("api.internal").server_context()
    context.sni_callback = lambda _socket, name, _context: names.append(name)
    assert (
        to_backend(vortex, backend(tls=context), ca=str(ca.path), server_name="api.internal").get().status
        == 200
    )
    assert names == ["api.internal"]


def test_name_of_the_backend_address_is_used_when_server_name_is_absent(vortex, backend, ca):
    names = []
    context = ca.issue("localhost").server_context()
    context.sni_callback = lambda _socket, name, _context: names.append(name)
    target = backend(tls=context)
    assert to_backend(vortex, f"localhost:{target.port}", ca=str(ca.path)).get().status == 200
    assert names == ["localhost"]


def test_ip_address_of_the_backend_is_verified_when_server_name_is_absent(vortex, backend, ca):
    good = backend(tls=ca.issue("127.0.0.1").server_context())
    bad = backend(tls=ca.issue("localhost").server_context())
    assert to_backend(vortex, good, ca=str(ca.path)).get().status == 200
    assert to_backend(vortex, bad, ca=str(ca.path)).get().status == 502


def test_our_certificate_is_shown_to_the_backend(vortex, backend, ca):
    target = backend(tls=ca.issue("localhost").server_context(client_ca=ca.path))
    own = ca.issue("vortex-client", client=True).config()
    assert to_backend(vortex, target, ca=str(ca.path), server_name="localhost", **own).get().status == 200
    assert to_backend(vortex, target, ca=str(ca.path), server_name="localhost").get().status == 502


def test_plain_backend_on_a_tls_route_is_502(vortex, backend, ca):
    target = backend(lambda conn: conn.gone(5))
    assert to_backend(vortex, target, ca=str(ca.path), server_name="localhost").get().status in (502, 504)
    other = backend(lambda conn: conn.send(response(b"plain")))
    assert to_backend(vortex, other, ca=str(ca.path), server_name="localhost").get().status == 502


def test_backend_that_ends_a_close_delimited_body_without_close_notify_is_truncated(vortex, backend, ca):
    """RFC 9112 9.8: an incomplete close makes a close-delimited message incomplete."""

    def script(conn):
        conn.request()
        conn.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\npart")
        raw = conn.sock.detach()
        with socket.socket(fileno=raw):
            pass

    proxy = to_backend(
        vortex,
        backend(script, tls=ca.issue("localhost").server_context()),
        ca=str(ca.path),
        server_name="localhost",
    )
    with proxy.client() as client:
        client.send(request("GET", "/"))
        with pytest.raises(http1.Incomplete):
            client.read()


def test_tls_on_both_sides_with_big_bodies(vortex, backend, ca):
    target = backend(serve(lambda r: response(r.body)), tls=ca.issue("localhost").server_context())
    proxy = secure(
        vortex, target, ca.issue("localhost"), route={"tls": {"ca": str(ca.path), "server_name": "localhost"}}
    )
    body = bytes(range(256)) * 20000
    answer = proxy.request("POST", "/", body=body, tls=ca.client_context(), sni="localhost", host="localhost")
    assert answer.body == body


def test_drain_works_with_tls_connections_open(vortex, backend, ca):
    proxy = secure(vortex, backend(), ca.issue("localhost"))
    idle = proxy.client(tls=ca.client_context(), sni="localhost")
    assert idle.request("GET", "/", host="localhost").status == 200
    handshaking = proxy.client()
    handshaking.send(b"\x16\x03\x01")
    proxy.signal(signal.SIGTERM)
    proxy.finish()
