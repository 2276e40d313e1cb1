# SPDX-License-Identifier: Apache-2.0
"""Who the client is and what it asked for, as backends see it: PROXY protocol, X-Forwarded-*, Via, hop-by-hop headers,
normalised paths and hosts."""

import ipaddress
import struct

import pytest

from harness.client import request
from harness.ports import take

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
V1 = b"PROXY TCP4 203.0.113.7 127.0.0.1 4321 8080\r\n"


def v2(source, destination="127.0.0.1", *, command=1, family=None, tlv=b""):
    """A PROXY v2 header; family overrides the family-and-protocol byte."""
    if source is None:
        addresses = b""
        kind = 0
    else:
        source, destination = ipaddress.ip_address(source), ipaddress.ip_address(destination)
        addresses = source.packed + destination.packed + struct.pack("!HH", 4321, 8080)
        kind = 0x11 if source.version == 4 else 0x21
    rest = addresses + tlv
    return (
        SIGNATURE
        + bytes([0x20 | command, kind if family is None else family])
        + struct.pack("!H", len(rest))
        + rest
    )


def fields(answer):
    """The header fields the backend saw, names in lower case."""
    assert answer.status == 200, answer
    return [(name.lower(), value) for name, value in answer.json()["headers"]]


def values(answer, name):
    return [value for key, value in fields(answer) if key == name]


def forwarded_for(proxy, prefix, **options):
    with proxy.client(**options) as client:
        client.send(prefix + request("GET", "/"))
        return values(client.read(), "x-forwarded-for")


# PROXY protocol


@pytest.mark.parametrize(
    "prefix, seen",
    [
        (V1, "203.0.113.7"),
        (b"PROXY TCP6 2001:db8::7 ::1 4321 8080\r\n", "2001:db8::7"),
        (b"PROXY TCP6 ::ffff:203.0.113.9 ::1 4321 8080\r\n", "203.0.113.9"),
        (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
        (b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n", "127.0.0.1"),
        (v2("203.0.113.8"), "203.0.113.8"),
        (v2("2001:db8::8", "::1"), "2001:db8::8"),
        (v2("::ffff:203.0.113.9", "::1"), "203.0.113.9"),
        (v2("203.0.113.8", command=0), "127.0.0.1"),
        (v2(None, command=0), "127.0.0.1"),
        (v2(None), "127.0.0.1"),
        (v2("203.0.113.8", tlv=b"\x04\x00\x03abc\x01\x00\x08http/1.1"), "203.0.113.8"),
        (v2("203.0.113.8", tlv=b"\x04\x0f\xa0" + b"\0" * 4000), "203.0.113.8"),
    ],
    ids=[
        "v1_tcp4",
        "v1_tcp6",
        "v1_mapped",
        "v1_unknown",
        "v1_unknown_with_addresses",
        "v2_inet",
        "v2_inet6",
        "v2_mapped",
        "v2_local",
        "v2_local_without_addresses",
        "v2_unspec",
        "v2_tlvs",
        "v2_4k_of_tlvs",
    ],
)
def test_proxy_protocol_gives_the_client_address(vortex, backend, prefix, seen):
    """LOCAL and UNKNOWN mean the connection's own peer; TLVs are skipped; `::ffff:a.b.c.d` is a.b.c.d."""
    proxy = vortex(backend(), listener={"proxy_protocol": True})
    assert forwarded_for(proxy, prefix) == [seen]


@pytest.mark.parametrize("prefix", [V1, v2("203.0.113.7")], ids=["v1", "v2"])
def test_proxy_protocol_header_split_at_every_byte(vortex, backend, prefix):
    proxy = vortex(backend(), listener={"proxy_protocol": True})
    with proxy.client() as client:
        client.dribble(prefix + request("GET", "/"))
        assert values(client.read(), "x-forwarded-for") == ["203.0.113.7"]
        assert values(client.request("GET", "/again"), "x-forwarded-for") == ["203.0.113.7"]


@pytest.mark.parametrize(
    "prefix",
    [
        b"",
        b"PROXY TCP4 203.0.113.7 127.0.0.1 4321\r\n",
        b"PROXY TCP4 203.0.113.700 127.0.0.1 1 2\r\n",
        b"PROXY TCP4 203.0.113.7 127.0.0.1 99999 2\r\n",
        b"PROXY TCP6 203.0.113.7 127.0.0.1 1 2\r\n",
        b"PROXY TCP4 203.0.113.7 127.0.0.1 4321 8080\n",
        b"PROXY TCP4  203.0.113.7 127.0.0.1 4321 8080\r\n",
        b"proxy TCP4 203.0.113.7 127.0.0.1 4321 8080\r\n",
        b"PROXY TCP4 " + b"1" * 200 + b"\r\n",
        b"PROXY TCP5 1.2.3.4 1.2.3.4 1 2\r\n",
        SIGNATURE + b"\x31\x11\x00\x0c" + b"\0" * 12,
        SIGNATURE + b"\x22\x11\x00\x0c" + b"\0" * 12,
        SIGNATURE + b"\x21\x11\x00\x04" + b"\0" * 4,
        SIGNATURE + b"\x21\x21\x00\x0c" + b"\0" * 12,
        SIGNATURE[:-1] + b"X\x21\x11\x00\x0c" + b"\0" * 12,
    ],
    ids=[
        "missing",
        "v1_short",
        "v1_bad_address",
        "v1_bad_port",
        "v1_family_differs",
        "v1_bare_lf",
        "v1_two_spaces",
        "v1_lower_case",
        "v1_too_long",
        "v1_unknown_family",
        "v2_bad_version",
        "v2_bad_command",
        "v2_too_short",
        "v2_inet6_too_short",
        "v2_bad_signature",
    ],
)
def test_bad_proxy_protocol_header_ends_the_connection_unanswered_by_a_backend(vortex, backend, prefix):
    """Closed, with or without a 400; the request behind it is never forwarded."""
    target = backend()
    proxy = vortex(target, listener={"proxy_protocol": True})
    with proxy.client() as client:
        client.try_send(prefix + request("GET", "/") + request("GET", "/"))
        rest = client.rest()
    assert rest == b"" or rest.startswith(b"HTTP/1.1 400 ")
    assert not target.connections
    assert forwarded_for(proxy, V1) == ["203.0.113.7"]


def test_proxy_protocol_is_not_accepted_where_it_is_not_configured(vortex, backend):
    target = backend()
    proxy = vortex(target)
    assert proxy.raw(V1 + request("GET", "/")).status == 400
    assert not target.connections


def test_proxy_protocol_header_comes_before_tls(vortex, backend, ca):
    proxy = vortex(backend(), listener={"proxy_protocol": True, "tls": ca.issue("localhost").config()})
    with proxy.client(before_tls=V1, tls=ca.client_context(), sni="localhost") as client:
        answer = client.request("GET", "/", host="localhost")
        assert values(answer, "x-forwarded-for") == ["203.0.113.7"]
        assert values(answer, "x-forwarded-proto") == ["https"]


def test_proxy_protocol_address_is_the_one_held_against_trusted_proxies(vortex, backend):
    """As nginx's realip after proxy_protocol: the peer is who the PROXY header says, not the load balancer that sent it."""
    proxy = vortex(backend(), listener={"proxy_protocol": True}, trusted_proxies=["203.0.113.0/24"])
    with proxy.client() as client:
        client.send(V1 + request("GET", "/", {"X-Forwarded-For": "198.51.100.1"}))
        assert values(client.read(), "x-forwarded-for") == ["198.51.100.1, 203.0.113.7"]
    with proxy.client() as client:
        client.send(
            V1.replace(b"203.0.113.7", b"192.0.2.1")
            + request("GET", "/", {"X-Forwarded-For": "198.51.100.1"})
        )
        assert values(client.read(), "x-forwarded-for") == ["192.0.2.1"]


def test_silent_client_on_a_proxy_protocol_listener_is_dropped(vortex, backend):
    """timeouts.header covers the PROXY header too."""
    proxy = vortex(backend(), listener={"proxy_protocol": True}, timeouts={"header": "300ms"})
    with proxy.client() as client:
        client.send(b"PROXY TCP4 203")
        rest = client.rest(10)
        assert rest == b"" or rest.startswith(b"HTTP/1.1 40")


# X-Forwarded-*, Via


def test_forwarded_headers_are_set(vortex, backend):
    answer = vortex(backend()).get(host="Example.test:8080")
    assert values(answer, "x-forwarded-for") == ["127.0.0.1"]
    assert values(answer, "x-forwarded-proto") == ["http"]
    assert [host.lower() for host in values(answer, "x-forwarded-host")] == ["example.test:8080"]


def test_host_is_passed_on_as_the_client_sent_it(vortex, backend):
    """As in Envoy; rewrite.host changes it."""
    assert values(vortex(backend()).get(host="example.test:8080"), "host") == ["example.test:8080"]


def test_https_is_told_to_the_backend(vortex, backend, ca):
    proxy = vortex(backend(), listener={"tls": ca.issue("localhost").config()})
    answer = proxy.get(tls=ca.client_context(), sni="localhost", host="localhost")
    assert values(answer, "x-forwarded-proto") == ["https"]


FORGED = [
    ("X-Forwarded-For", "198.51.100.1"),
    ("X-Forwarded-For", "198.51.100.2, 10.1.1.1"),
    ("X-Forwarded-Proto", "https"),
    ("X-Forwarded-Host", "evil.test"),
    ("x-forwarded-host", "evil2.test"),
]


def test_forged_values_of_untrusted_peers_are_replaced(vortex, backend):
    answer = vortex(backend()).get(headers=FORGED)
    assert values(answer, "x-forwarded-for") == ["127.0.0.1"]
    assert values(answer, "x-forwarded-proto") == ["http"]
    assert values(answer, "x-forwarded-host") == ["test"]


def test_untrusted_when_the_peer_is_outside_trusted_proxies(vortex, backend):
    answer = vortex(backend(), trusted_proxies=["10.0.0.0/8", "2001:db8::/32"]).get(headers=FORGED)
    assert values(answer, "x-forwarded-for") == ["127.0.0.1"]


def test_values_of_trusted_peers_are_believed_and_extended(vortex, backend):
    proxy = vortex(backend(), trusted_proxies=["127.0.0.0/8"])
    answer = proxy.get(
        headers=[
            ("X-Forwarded-For", "198.51.100.1, 10.1.1.1"),
            ("X-Forwarded-Proto", "https"),
            ("X-Forwarded-Host", "public.test"),
        ]
    )
    assert ", ".join(values(answer, "x-forwarded-for")) == "198.51.100.1, 10.1.1.1, 127.0.0.1"
    assert values(answer, "x-forwarded-proto") == ["https"]
    assert values(answer, "x-forwarded-host") == ["public.test"]


def test_trusted_peer_that_says_nothing_gets_the_plain_values(vortex, backend):
    answer = vortex(backend(), trusted_proxies=["127.0.0.1/32"]).get()
    assert values(answer, "x-forwarded-for") == ["127.0.0.1"]
    assert values(answer, "x-forwarded-proto") == ["http"]
    assert values(answer, "x-forwarded-host") == ["test"]


def test_ipv6_client_and_ipv6_trusted_proxy(vortex, backend):
    proxy = vortex(backend(), listeners=[{"address": f"[::1]:{take()}"}], trusted_proxies=["::1/128"])
    answer = proxy.get(headers={"X-Forwarded-For": "2001:db8::1"}, connect_to="::1")
    assert values(answer, "x-forwarded-for") == ["2001:db8::1, ::1"]


def test_via_names_the_proxy_and_keeps_what_was_there(vortex, backend):
    """RFC 9110 7.6.3: `1.1 <name>`, appended to the list; the received protocol version is the client's."""
    proxy = vortex(backend())
    own = ", ".join(values(proxy.get(), "via"))
    assert own.startswith("1.1 ")
    assert ", ".join(values(proxy.get(headers={"Via": "1.0 fred"}), "via")) == f"1.0 fred, {own}"


# Hop by hop


def test_hop_by_hop_request_headers_are_removed(vortex, backend):
    seen = dict(
        fields(
            vortex(backend()).get(
                headers=[
                    ("Connection", "close, X-Private, x-other"),
                    ("X-Private", "1"),
                    ("X-Other", "2"),
                    ("Keep-Alive", "timeout=5"),
                    ("Proxy-Connection", "keep-alive"),
                    ("TE", "gzip"),
                    ("X-Public", "3"),
                ]
            )
        )
    )
    assert seen["x-public"] == "3"
    assert not set(seen) & {"x-private", "x-other", "keep-alive", "proxy-connection", "te", "upgrade"}
    assert "x-private" not in seen.get("connection", "").lower()
    assert "close" not in seen.get("connection", "").lower()


def test_hop_by_hop_response_headers_are_removed(vortex, backend):
    raw = (
        b"HTTP/1.1 200 OK\r\nConnection: keep-alive, X-Private\r\nX-Private: 1\r\nKeep-Alive: timeout=5\r\n"
        b"Proxy-Connection: keep-alive\r\nX-Public: 3\r\nContent-Length: 0\r\n\r\n"
    )

    def script(conn):
        while True:
            conn.request()
            conn.send(raw)

    answer = vortex(backend(script)).get()
    assert answer.get("x-public") == "3"
    for name in ("x-private", "keep-alive", "proxy-connection"):
        assert not answer.has(name)
    assert "x-private" not in answer.get("connection", "").lower()


@pytest.mark.parametrize(
    "name", ["Host", "Content-Length", "X-Forwarded-For", "X-Forwarded-Proto", "Via", "Transfer-Encoding"]
)
def test_connection_cannot_remove_what_the_proxy_itself_sets_or_needs(vortex, backend, name):
    """`Connection: X-Forwarded-For` must not let a client strip its own address (or the framing)."""
    proxy = vortex(backend())
    answer = proxy.request("POST", "/", {"Connection": f"close, {name}"}, b"body")
    assert answer.status in (200, 400)
    if answer.status == 200:
        assert answer.json()["length"] == 4
        assert values(answer, "x-forwarded-for") == ["127.0.0.1"]
        assert values(answer, "x-forwarded-proto") == ["http"]
        assert values(answer, "host") == ["test"]


def test_te_trailers_is_kept(vortex, backend):
    """gRPC needs it; RFC 9110 10.1.4. It is named in Connection again, or passed bare as many proxies do."""
    assert values(vortex(backend()).get(headers={"TE": "trailers", "Connection": "TE"}), "te") in (
        [],
        ["trailers"],
    )


def test_framing_headers_are_the_proxys_own(vortex, backend):
    seen = fields(vortex(backend()).request("POST", "/", body=b"abc"))
    assert [value for name, value in seen if name == "content-length"] == ["3"]
    assert "transfer-encoding" not in dict(seen)


# Normalisation. What is forwarded is the normalised path; the query is never touched.


@pytest.mark.parametrize(
    "sent, seen",
    [
        ("/a/b", "/a/b"),
        ("/a/./b", "/a/b"),
        ("/a/../b", "/b"),
        ("/a/b/..", "/a/"),
        ("/a/b/.", "/a/b/"),
        ("/./a", "/a"),
        ("/a/%2e/b", "/a/b"),
        ("/a/%2E%2e/b", "/b"),
        ("/a/.%2e/b", "/b"),
        ("/a/%2e./b", "/b"),
        ("/a/..%2fb", "/a/..%2fb"),
        ("/a%2fb", "/a%2fb"),
        ("/a%2Fb", "/a%2Fb"),
        ("/a/...", "/a/..."),
        ("/a/.b", "/a/.b"),
        ("/a..", "/a.."),
        ("/a/..b/c", "/a/..b/c"),
        ("/a//b", "/a//b"),
        ("/a/b/?x=/../y&z=%2e%2e", "/a/b/?x=/../y&z=%2e%2e"),
        ("/?", "/?"),
        ("/a?b?c", "/a?b?c"),
        ("/a/./b/../c/./../d?x=./..", "/a/d?x=./.."),
        ("/%41", "/A"),
        ("/%61dmin%7e", "/admin~"),
        ("/caf%C3%A9", "/caf%C3%A9"),
        ("/a;b=c,d", "/a;b=c,d"),
        ("/a//../b", "/a/b"),
    ],
)
def test_path_is_normalised_before_it_is_forwarded(vortex, backend, sent, seen):
    """Doubled slashes stay unless merge_slashes is on. `%2f` stays as it is, so `..%2f` is no dot segment. Escapes of
    unreserved characters are decoded (RFC 3986 6.2.2.2), so that /%61dmin is no way round a route for /admin; others stay."""
    assert vortex(backend()).get(sent).json()["target"] == seen


@pytest.mark.parametrize(
    "sent", ["/..", "/../etc/passwd", "/a/../../b", "/%2e%2e/etc", "/..%2e", "/a/%2e%2e/%2e%2e/b"]
)
def test_path_above_the_root_is_refused_or_held_at_the_root(vortex, backend, sent):
    """nginx answers 400, RFC 3986 5.2.4 stops at the root. Never may a `..` reach the backend as a segment."""
    target = backend()
    answer = vortex(target).get(sent)
    assert answer.status in (200, 400)
    if answer.status == 200 and sent != "/..%2e":
        assert ".." not in answer.json()["target"].lower().replace("%2e", ".").split("/")


def test_normalised_path_is_what_is_matched(vortex, backend):
    public, private = backend(name="public"), backend(name="private")
    proxy = vortex(
        routes=[
            {
                "name": "private",
                "match": {"path_prefix": "/private"},
                "backends": [{"id": 1, "address": private.address}],
            },
            {
                "name": "public",
                "match": {"path_prefix": "/"},
                "backends": [{"id": 1, "address": public.address}],
            },
        ]
    )
    for sent in ("/private/x", "/public/../private/x", "/./private/x", "/public/%2e%2e/private/x"):
        assert proxy.get(sent).json()["backend"] == "private"
    for sent in ("/private/../x", "/%2fprivate/x"):
        assert proxy.get(sent).json()["backend"] == "public"


def test_doubled_slashes_are_merged_by_option(vortex, backend):
    """`normalize: { merge_slashes: true }` at the top level; off by default as in Envoy."""
    proxy = vortex(backend(), normalize={"merge_slashes": True})
    assert proxy.get("//a///b/?x=//y").json()["target"] == "/a/b/?x=//y"


@pytest.mark.parametrize("sent", ["/%zz", "/%", "/%2", "/a%0", "/%00"])
def test_bad_escapes_are_refused_or_passed_as_they_are(vortex, backend, sent):
    """Envoy refuses, others pass them on; what must not happen is a repair that means something else."""
    answer = vortex(backend()).get(sent)
    assert answer.status == 400 or answer.json()["target"] == sent


@pytest.mark.parametrize(
    "host",
    [
        "example.test",
        "EXAMPLE.TEST",
        "example.test:80",
        "example.test:65535",
        "example.test.",
        "Example.Test.:8080",
    ],
)
def test_hosts_are_compared_without_case_port_and_trailing_dot(vortex, backend, host):
    proxy = vortex(backend(), route={"match": {"host": "Example.Test"}})
    assert proxy.get(host=host).status == 200


@pytest.mark.parametrize(
    "host", ["example.test.evil", "xexample.test", "example.test..", "other", "[::1]", "127.0.0.1"]
)
def test_other_hosts_are_not_taken_for_it(vortex, backend, host):
    proxy = vortex(backend(), route={"match": {"host": "example.test"}})
    assert proxy.get(host=host).status in (404, 400)


def test_ipv6_literal_as_host(vortex, backend):
    proxy = vortex(backend(), route={"match": {"host": "[::1]"}})
    assert proxy.get(host="[::1]:8080").status == 200


def test_client_address_over_a_unix_listener_is_not_invented(vortex, backend, tmp_path):
    """`unix:/path` as a listener: the request works; X-Forwarded-For is absent or names no IP address of somebody else."""
    path = str(tmp_path / "listen.sock")
    proxy = vortex(backend(), listeners=[{"address": f"unix:{path}"}])
    answer = proxy.request("GET", "/", unix=path)
    assert all(
        value in ("unix", "unix:", "127.0.0.1", "unknown") for value in values(answer, "x-forwarded-for")
    )


def test_ipv4_mapped_peer_is_shown_as_ipv4(vortex, backend):
    """`[::]` takes IPv4 too where no IPv4 listener has that port. Such a peer is `::ffff:127.0.0.1` to the socket and
    127.0.0.1 to backends, trusted_proxies and the log."""
    proxy = vortex(
        backend(), listeners=[{"address": f"[::]:{take()}"}], trusted_proxies=["127.0.0.1/32"]
    )
    answer = proxy.get(headers={"X-Forwarded-For": "192.0.2.1"})
    assert values(answer, "x-forwarded-for") == ["192.0.2.1, 127.0.0.1"]
    assert values(proxy.get(connect_to="::1"), "x-forwarded-for") == ["::1"]
    assert proxy.log(1)[0]["client_ip"] == "192.0.2.1"
