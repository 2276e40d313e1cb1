# SPDX-License-Identifier: Apache-2.0
"""WebSocket through the proxy, with the `websockets` package on both sides."""

import contextlib
import random
import threading

import pytest
import websockets.exceptions
import websockets.sync.client
import websockets.sync.server

from harness.backend import response, serve
from harness.certs import Authority

NORMAL = 1000


@pytest.fixture
def websocket_server():
    """Makes WebSocket servers on loopback: websocket_server(handler) gives the address."""
    servers = []

    def make(handler, **options):
        server = websockets.sync.server.serve(handler, "127.0.0.1", 0, max_size=None, **options)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        servers.append((server, thread))
        return f"127.0.0.1:{server.socket.getsockname()[1]}"

    yield make
    for server, thread in servers:
        server.shutdown()
        thread.join()


def echo_all(connection):
    for message in connection:
        connection.send(message)


def connect(proxy, path="/", **options):
    scheme = "wss" if "ssl" in options else "ws"
    return websockets.sync.client.connect(
        f"{scheme}://127.0.0.1:{proxy.port}{path}", max_size=None, proxy=None, **options
    )


def test_messages_are_echoed(vortex, websocket_server):
    proxy = vortex(websocket_server(echo_all))
    with connect(proxy) as socket:
        for message in ("text", "", "\N{SNOWMAN}" * 1000, b"", b"\x00\xff" * 500):
            socket.send(message)
            assert socket.recv(20) == message


def test_big_messages_pass_in_both_directions(vortex, websocket_server):
    proxy = vortex(websocket_server(echo_all))
    message = random.Random(3).randbytes(8 << 20)
    with connect(proxy, compression=None) as socket:
        socket.send(message)
        assert socket.recv(30) == message


def test_compression_extension_and_subprotocol_are_negotiated_through_the_proxy(vortex, websocket_server):
    proxy = vortex(websocket_server(echo_all, subprotocols=["chat"]))
    with connect(proxy, subprotocols=["chat"]) as socket:
        assert socket.subprotocol == "chat"
        assert "permessage-deflate" in socket.response.headers["Sec-WebSocket-Extensions"]
        socket.send("z" * 100000)
        assert socket.recv(20) == "z" * 100000


def test_ping_and_pong_from_both_sides(vortex, websocket_server):
    answered = threading.Event()

    def handler(connection):
        if connection.ping().wait(20):
            answered.set()
        echo_all(connection)

    proxy = vortex(websocket_server(handler))
    with connect(proxy) as socket:
        assert socket.ping().wait(20)
        socket.send("x")
        assert socket.recv(20) == "x"
        assert answered.wait(20)


def test_close_from_the_client_reaches_the_backend(vortex, websocket_server):
    seen = []
    done = threading.Event()

    def handler(connection):
        with contextlib.suppress(websockets.exceptions.ConnectionClosed):
            echo_all(connection)
        seen.append((connection.close_code, connection.close_reason))
        done.set()

    proxy = vortex(websocket_server(handler))
    with connect(proxy) as socket:
        socket.close(4001, "enough")
    assert done.wait(20)
    assert seen == [(4001, "enough")]


def test_close_from_the_backend_reaches_the_client(vortex, websocket_server):
    proxy = vortex(websocket_server(lambda connection: connection.close(4002, "over")))
    with connect(proxy) as socket:
        with pytest.raises(websockets.exceptions.ConnectionClosed):
            socket.recv(20)
        assert (socket.close_code, socket.close_reason) == (4002, "over")


@pytest.mark.parametrize("status", ["200 OK", "426 Upgrade Required", "403 Forbidden"])
def test_upgrade_refused_by_the_backend_is_passed_on(vortex, backend, status):
    proxy = vortex(backend(serve(response(b"no sockets here", status=status))))
    with pytest.raises(websockets.exceptions.InvalidStatus) as caught:
        connect(proxy)
    assert caught.value.response.status_code == int(status[:3])
    assert caught.value.response.body == b"no sockets here"


def test_tunnel_is_not_ended_by_the_idle_timeout_of_requests_while_it_is_used(vortex, websocket_server):
    """Traffic in one direction alone keeps a tunnel alive."""

    def handler(connection):
        for number in range(12):
            connection.send(str(number))
            threading.Event().wait(0.25)
        connection.close()

    proxy = vortex(
        websocket_server(handler),
        timeouts={"idle": "2s", "body": "2s"},
        route={"timeouts": {"idle": "2s", "response": "2s"}},
    )
    with connect(proxy) as socket:
        assert list(socket) == [str(number) for number in range(12)]


def test_many_tunnels_at_once(vortex, websocket_server):
    proxy = vortex(websocket_server(echo_all), workers=2)
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(connect(proxy)) for _ in range(50)]
        for number, socket in enumerate(sockets):
            socket.send(str(number))
        assert [socket.recv(20) for socket in sockets] == [str(number) for number in range(50)]
    assert {socket.close_code for socket in sockets} == {NORMAL}


def test_secure_websocket_over_tls(vortex, websocket_server, ca: Authority):
    pair = ca.issue("localhost")
    proxy = vortex(websocket_server(echo_all), listener={"tls": pair.config()})
    with connect(proxy, ssl=ca.client_context(), server_hostname="localhost") as socket:
        socket.send(b"x" * 1000000)
        assert socket.recv(20) == b"x" * 1000000
