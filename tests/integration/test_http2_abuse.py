# SPDX-License-Identifier: Apache-2.0
"""What an HTTP/2 client may do that is cheap for it: each kind ends with ENHANCE_YOUR_CALM, is counted, and leaves the
other clients alone."""

import pytest
from h2.errors import ErrorCodes

from harness.backend import response, serve
from harness.http2 import Client, raw_frame
from harness.wait import wait_until

DATA, HEADERS, PRIORITY, RST, SETTINGS, PING, WINDOW, CONTINUATION = 0, 1, 2, 3, 4, 6, 8, 9
END_STREAM, END_HEADERS = 1, 4
# GET http a / with nothing that fills a table.
SMALL_HEAD = b"\x82\x86\x84\x01\x01a"
CANCEL = (8).to_bytes(4, "big")


def rapid_reset(number):
    stream = 1 + 2 * number
    return raw_frame(HEADERS, END_STREAM | END_HEADERS, stream, SMALL_HEAD) + raw_frame(RST, 0, stream, CANCEL)


def reset_by_mistake(number):
    """MadeYouReset: a mistake makes the server give the stream up."""
    stream = 1 + 2 * number
    head = raw_frame(HEADERS, END_HEADERS, stream, SMALL_HEAD)
    return head + raw_frame(WINDOW, 0, stream, b"\x7f\xff\xff\xff") + raw_frame(WINDOW, 0, stream, b"\x7f\xff\xff\xff")


def bad_head(number):
    return raw_frame(HEADERS, END_STREAM | END_HEADERS, 1 + 2 * number, b"\x82\x86\x84\x01\x01a\x00\x0aconnection\x01x")


def post_of_empty_data(number):
    if number == 0:
        return raw_frame(HEADERS, END_HEADERS, 1, b"\x83\x86\x84\x01\x01a")
    return raw_frame(DATA, 0, 1)


def header_bomb(number):
    """Indexed fields: a byte each on the wire, four thousand in memory."""
    if number == 0:
        value = b"v" * 3900
        literal = b"\x40\x01x\x7f" + bytes([(len(value) - 127) & 0x7F | 0x80, (len(value) - 127) >> 7]) + value
        return raw_frame(HEADERS, END_STREAM | END_HEADERS, 1, SMALL_HEAD + literal)
    return raw_frame(HEADERS, END_STREAM | END_HEADERS, 1 + 2 * number, SMALL_HEAD + b"\xbe" * 16000)


def continuations(number):
    if number == 0:
        return raw_frame(HEADERS, END_STREAM, 1, SMALL_HEAD)
    return raw_frame(CONTINUATION, 0, 1, b"\x00\x01a\x01b")


ATTACKS = {
    "reset": rapid_reset,
    "bad_frame": reset_by_mistake,
    "bad_head": bad_head,
    "empty_data": post_of_empty_data,
    "large_head": header_bomb,
    "continuation": continuations,
    "refused": lambda number: raw_frame(HEADERS, END_HEADERS, 1 + 2 * number, b"\x83\x86\x84\x01\x01a"),
    "ping": lambda _: raw_frame(PING, 0, 0, b"12345678"),
    "settings": lambda _: raw_frame(SETTINGS, 0, 0),
    "window": lambda _: raw_frame(WINDOW, 0, 0, b"\0\0\0\1"),
    "priority": lambda _: raw_frame(PRIORITY, 0, 5, b"\0\0\0\x03\x10"),
    "unknown": lambda _: raw_frame(0x42, 0, 0, b"x" * 10),
}


@pytest.mark.parametrize("kind", ATTACKS)
def test_an_attacker_is_told_to_calm_down(vortex, backend, kind):
    # Room for all the streams of a fast attacker, but for the one that wants too many.
    limits = {"glitches": 100, "concurrent_streams": 10 if kind == "refused" else 20000}
    proxy = vortex(backend(serve(lambda request: response(b"ok"))), limits=limits)
    attack = ATTACKS[kind]
    with Client(proxy.port) as attacker, Client(proxy.port) as other:
        attacker.wait(lambda: attacker.acked)
        for number in range(20000):
            if not attacker.send_raw(attack(number)):
                break
            if number % 64 == 63 and proxy.metric("vortex_http2_calmed_total"):
                break
        wait_until(lambda: proxy.metric("vortex_http2_calmed_total") == 1)
        named = ("reset", "bad_frame", "bad_head", "empty_data", "large_head", "continuation", "refused")
        label = kind if kind in named else "control"
        assert proxy.metric("vortex_http2_glitches_total", kind=label) >= 1
        # What answers it had on its streams are no matter here; what it was told last is.
        data = b""
        while piece := attacker.sock.recv(65536):
            data += piece
        assert raw_frame(7, 0, 0)[3:5] in data
        assert int(ErrorCodes.ENHANCE_YOUR_CALM).to_bytes(4, "big") in data
        assert other.request().status == 200


def test_a_reset_storm_costs_the_backend_nothing(vortex, backend):
    """Requests that are reset in the same breath never reach a handler."""
    target = backend(serve(lambda request: response(b"ok")))
    proxy = vortex(target, limits={"glitches": 0})
    with Client(proxy.port) as attacker:
        attacker.wait(lambda: attacker.acked)
        assert attacker.send_raw(b"".join(rapid_reset(number) for number in range(500)))
        proxy.wait_metric("vortex_http2_glitches_total", 500, kind="reset")
        attacker.send_raw(raw_frame(HEADERS, END_STREAM | END_HEADERS, 1001, SMALL_HEAD))
        wait_until(lambda: len(target.requests) >= 1)
    assert proxy.metric("vortex_http2_calmed_total") == 0
    assert len(target.requests) < 50


def test_honest_clients_make_no_glitches(vortex, backend):
    """Many requests, pings with each answer, windows given back in small steps, a few streams given up."""
    proxy = vortex(backend(serve(lambda request: response(b"x" * 5000))))
    with Client(proxy.port) as client:
        for _ in range(100):
            client.h2.ping(b"12345678")
            assert client.request().status == 200
        assert client.pongs == 100
        for _ in range(5):
            client.reset(client.open())
        assert client.request().status == 200
    kinds = {labels["kind"]: value for name, labels, value in proxy.metrics() if name == "vortex_http2_glitches_total"}
    assert kinds.pop("reset") <= 5
    assert not any(kinds.values()), kinds


def test_a_glitch_limit_of_none(vortex, backend):
    proxy = vortex(backend(serve(lambda request: response(b"ok"))), limits={"glitches": 0})
    with Client(proxy.port) as client:
        client.wait(lambda: client.acked)
        for _ in range(3000):
            client.h2.ping(b"12345678")
        client.flush()
        client.wait(lambda: client.pongs == 3000)
        assert client.request().status == 200
