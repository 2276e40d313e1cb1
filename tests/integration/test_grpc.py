# SPDX-License-Identifier: Apache-2.0
"""gRPC through the proxy, with grpcio on both sides: the four kinds of calls, deadlines, errors, cancellation."""

import concurrent.futures
import contextlib
import socket
import threading

import grpc
import pytest

from harness.backend import serve
from harness.http2 import Client
from harness.http2_backend import Answer, http2, http2_serve
from harness.wait import wait_until

H2 = {"protocol": "http2"}
CALL = [("content-type", "application/grpc"), ("te", "trailers")]


class Service(grpc.GenericRpcHandler):
    """/t.T/*: bytes as they are, no generated code."""

    def __init__(self):
        self.timeouts = []
        self.cancelled = threading.Event()
        self.started = threading.Event()

    def service(self, details):
        kinds = {
            "Unary": grpc.unary_unary_rpc_method_handler(self.unary),
            "ServerStream": grpc.unary_stream_rpc_method_handler(self.server_stream),
            "ClientStream": grpc.stream_unary_rpc_method_handler(self.client_stream),
            "Both": grpc.stream_stream_rpc_method_handler(self.both),
            "Fail": grpc.unary_unary_rpc_method_handler(self.fail),
            "FailLate": grpc.unary_stream_rpc_method_handler(self.fail_late),
            "Wait": grpc.unary_unary_rpc_method_handler(self.wait),
        }
        return kinds.get(details.method.rsplit("/", 1)[1])

    def unary(self, message, context):
        self.timeouts.append(context.time_remaining())
        context.set_trailing_metadata([("x-after", "1")])
        return message[::-1]

    def server_stream(self, message, _):
        for number in range(int(message)):
            yield b"%d" % number

    def client_stream(self, messages, _):
        return b"%d" % sum(len(message) for message in messages)

    def both(self, messages, _):
        for message in messages:
            yield message * 2

    def fail(self, message, context):
        context.set_trailing_metadata([("x-why", "tested")])
        context.abort(grpc.StatusCode(codes()[message]), f"as told: {message.decode()} \N{SNOWMAN}%")

    def fail_late(self, _, context):
        yield b"first"
        context.abort(grpc.StatusCode.DATA_LOSS, "late")

    def wait(self, message, context):
        context.add_callback(self.cancelled.set)
        self.started.set()
        self.cancelled.wait(30)
        return message


def codes():
    return {code.name.encode(): code.value for code in grpc.StatusCode}


@pytest.fixture
def server():
    """Starts gRPC servers: server(credentials) gives (address, service); server.stop(address) stops one in order."""

    def make(credentials=None):
        one = grpc.server(concurrent.futures.ThreadPoolExecutor(16))
        service = Service()
        one.add_generic_rpc_handlers([service])
        port = one.add_secure_port("127.0.0.1:0", credentials) if credentials else one.add_insecure_port("127.0.0.1:0")
        one.start()
        made[f"127.0.0.1:{port}"] = one, service
        return f"127.0.0.1:{port}", service

    made = {}

    def stop(address):
        """Begins to stop it in order; calls under way may end."""
        return made[address][0].stop(5)

    make.stop = stop
    yield make
    for one, service in made.values():
        service.cancelled.set()
        one.stop(None).wait(10)


def refuses(address):
    host, port = address.split(":")
    try:
        socket.create_connection((host, int(port)), 5).close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:
        pass
    return False


@contextlib.contextmanager
def channel_to(proxy):
    with grpc.insecure_channel(f"127.0.0.1:{proxy.port}", [("grpc.enable_retries", 0)]) as channel:
        yield channel


def four_kinds(channel):
    call, trailing = channel.unary_unary("/t.T/Unary").with_call(b"abc", timeout=20)
    assert call == b"cba" and ("x-after", "1") in [tuple(pair) for pair in trailing.trailing_metadata()]
    assert list(channel.unary_stream("/t.T/ServerStream")(b"500", timeout=20)) == [b"%d" % n for n in range(500)]
    parts = [b"x" * 10_000] * 50
    assert channel.stream_unary("/t.T/ClientStream")(iter(parts), timeout=20) == b"500000"
    assert list(channel.stream_stream("/t.T/Both")(iter([b"a", b"b"] * 100), timeout=20)) == [b"aa", b"bb"] * 100


def test_all_four_kinds(vortex, server):
    proxy = vortex(server()[0], route=H2)
    with channel_to(proxy) as channel:
        four_kinds(channel)
    proxy.wait_metric("vortex_grpc_responses_total", 4, grpc_status="0", route="main")
    assert {entry["grpc_status"] for entry in proxy.log(4)} == {0}


def test_all_four_kinds_with_tls_on_both_sides(vortex, server, ca):
    pair = ca.issue("localhost", "127.0.0.1")
    credentials = grpc.ssl_server_credentials([(pair.key.read_bytes(), pair.cert.read_bytes())])
    address, _ = server(credentials)
    proxy = vortex(
        address,
        route={**H2, "tls": {"ca": str(ca.path), "server_name": "localhost"}},
        listener={"tls": pair.config()},
    )
    trust = grpc.ssl_channel_credentials(ca.path.read_bytes())
    with grpc.secure_channel(f"localhost:{proxy.port}", trust) as channel:
        four_kinds(channel)


def test_a_stream_is_not_held_back(vortex, server):
    """Each message is answered before the next one is sent."""
    proxy = vortex(server()[0], route=H2)
    go_on = threading.Semaphore(0)

    def messages():
        for number in range(20):
            yield b"%d" % number
            go_on.acquire()

    with channel_to(proxy) as channel:
        for number, answer in enumerate(channel.stream_stream("/t.T/Both")(messages(), timeout=20)):
            assert answer == b"%d%d" % (number, number)
            go_on.release()


def test_many_calls_share_a_connection(vortex, server):
    proxy = vortex(server()[0], route=H2)
    with channel_to(proxy) as channel:
        calls = [channel.unary_unary("/t.T/Unary").future(b"%03d" % n, timeout=30) for n in range(200)]
        assert [call.result() for call in calls] == [(b"%03d" % n)[::-1] for n in range(200)]
    assert proxy.metric("vortex_backend_connections_opened_total") <= 3


@pytest.mark.parametrize("code", ["NOT_FOUND", "UNAVAILABLE", "INTERNAL", "UNAUTHENTICATED"])
def test_errors_of_the_application_pass_unchanged(vortex, server, code):
    proxy = vortex(server()[0], route=H2)
    with channel_to(proxy) as channel, pytest.raises(grpc.RpcError) as failure:
        channel.unary_unary("/t.T/Fail")(code.encode(), timeout=20)
    error = failure.value
    assert error.code().name == code and error.details() == f"as told: {code} \N{SNOWMAN}%"
    assert ("x-why", "tested") in [tuple(pair) for pair in error.trailing_metadata()]
    proxy.wait_metric("vortex_grpc_responses_total", 1, grpc_status=str(error.code().value[0]))


def test_an_error_behind_messages(vortex, server):
    proxy = vortex(server()[0], route=H2)
    with channel_to(proxy) as channel:
        answers = channel.unary_stream("/t.T/FailLate")(b"", timeout=20)
        assert next(answers) == b"first"
        with pytest.raises(grpc.RpcError) as failure:
            next(answers)
    assert failure.value.code() == grpc.StatusCode.DATA_LOSS


def test_the_deadline_reaches_the_backend_and_shrinks(vortex, server):
    address, service = server()
    proxy = vortex(address, route=H2)
    with channel_to(proxy) as channel:
        channel.unary_unary("/t.T/Unary")(b"", timeout=20)
    assert 10 < service.timeouts[0] <= 20


def test_the_proxy_keeps_the_deadline_itself(vortex, backend):
    def script(peer):
        peer.request()
        peer.read_until_closed()

    proxy = vortex(backend(http2(script)), route=H2)
    with Client(proxy.port) as client:
        answer = client.request("POST", "/t.T/Wait", [*CALL, ("grpc-timeout", "200m")], body=b"\0" * 5)
    assert answer.status == 200 and answer.header("grpc-status") == "4" and answer.ended and not answer.body
    entry = proxy.log(1)[0]
    assert (entry["reason"], entry["grpc_status"], entry["status"]) == ("deadline_exceeded", 4, 200)


@pytest.mark.parametrize("sent", [b"\0\0\0\0\2ok", b"\0\0\0\0\2o"])
def test_a_deadline_in_the_answer_ends_it_by_trailers(vortex, backend, sent):
    """Behind a message, and in the middle of one."""
    ended = []

    def script(peer):
        request = peer.request()
        peer.respond(request, headers=CALL)
        peer.send(request, sent)
        peer.wait(lambda: request.reset is not None)
        ended.append(True)

    proxy = vortex(backend(http2(script)), route=H2)
    with Client(proxy.port) as client:
        answer = client.request("POST", "/t.T/Wait", [*CALL, ("grpc-timeout", "500m")], body=b"\0" * 5)
    assert answer.status == 200 and answer.ended and answer.body == sent
    assert ("grpc-status", "4") in answer.trailers
    assert ("grpc-message", "Deadline Exceeded: deadline_exceeded") in answer.trailers
    entry = proxy.log(1)[0]
    assert (entry["reason"], entry["grpc_status"], entry["status"]) == ("deadline_exceeded", 4, 200)
    wait_until(lambda: ended, what="the reset of the backend's stream")


def test_cancellation_reaches_the_backend(vortex, server):
    address, service = server()
    proxy = vortex(address, route=H2)
    with channel_to(proxy) as channel:
        call = channel.unary_unary("/t.T/Wait").future(b"", timeout=30)
        assert service.started.wait(10)
        call.cancel()
        assert service.cancelled.wait(10)
    proxy.wait_metric("vortex_grpc_responses_total", 1, grpc_status="1")


def test_the_proxys_own_errors(vortex, dead):
    proxy = vortex(
        routes=[
            {"name": "dead", "match": {"path_prefix": "/dead"}, "backends": [{"address": dead.address}], **H2},
        ]
    )
    with channel_to(proxy) as channel:
        with pytest.raises(grpc.RpcError) as failure:
            channel.unary_unary("/dead/Unary")(b"", timeout=20)
        assert failure.value.code() == grpc.StatusCode.UNAVAILABLE
        assert failure.value.details() == "Bad Gateway: connect_failed"
        with pytest.raises(grpc.RpcError) as failure:
            channel.unary_unary("/t.T/Unary")(b"", timeout=20)
        assert failure.value.code() == grpc.StatusCode.UNIMPLEMENTED
        assert failure.value.details() == "Not Found: no_route"


def test_a_rate_limit_is_unavailable(vortex, server):
    proxy = vortex(server()[0], route={**H2, "rate_limit": {"requests": 1, "per": "1h", "burst": 1}})
    with channel_to(proxy) as channel:
        assert channel.unary_unary("/t.T/Unary")(b"ab", timeout=20) == b"ba"
        with pytest.raises(grpc.RpcError) as failure:
            channel.unary_unary("/t.T/Unary")(b"", timeout=20)
    assert failure.value.code() == grpc.StatusCode.UNAVAILABLE
    assert "rate_limited" in failure.value.details()


def test_a_breaker_opens_for_unavailable_only(vortex, server):
    proxy = vortex(server()[0], route={**H2, "circuit_breaker": {"failures": 3, "open_for": "1h"}})
    with channel_to(proxy) as channel:
        fail = channel.unary_unary("/t.T/Fail")
        for code in [b"NOT_FOUND"] * 10 + [b"UNAVAILABLE"] * 3:
            assert proxy.metric("vortex_backend_breaker_state") == 0
            with pytest.raises(grpc.RpcError) as failure:
                fail(code, timeout=20)
            assert "as told" in failure.value.details()
        proxy.wait_metric("vortex_backend_breaker_state", 2)
        with pytest.raises(grpc.RpcError) as failure:
            fail(b"NOT_FOUND", timeout=20)
    assert failure.value.details() == "Service Unavailable: breaker_open"


def test_a_backend_that_dies_is_replaced(vortex, server, backend):
    """One of two backends is refused connections; no call is lost."""
    address, _ = server()
    one = backend(http2_serve())
    one.close()
    proxy = vortex(one, address, route={**H2, "balance": "round_robin"})
    with channel_to(proxy) as channel:
        for number in range(20):
            assert channel.unary_unary("/t.T/Unary")(b"%d" % number, timeout=20) == (b"%d" % number)[::-1]


def test_an_answer_without_status_is_the_backends_fault(vortex, backend):
    def reply(_):
        return Answer(b"", [("content-type", "application/grpc")])

    proxy = vortex(backend(http2_serve(reply)), route={**H2, "circuit_breaker": {"failures": 1}})
    with Client(proxy.port) as client:
        answer = client.request("POST", "/t.T/X", CALL, body=b"\0" * 5)
    assert answer.status == 200
    proxy.wait_metric("vortex_backend_breaker_state", 2)
    assert proxy.log(1)[0]["grpc_status"] == 2


def test_other_clients_get_json(vortex, dead):
    proxy = vortex(dead, route={**H2, "circuit_breaker": {"failures": 0, "failure_rate": "0%"}})
    assert proxy.request("POST", "/", {"Content-Type": "application/grpc"}, b"").status == 502
    with Client(proxy.port) as client:
        answer = client.request("POST", "/", [("content-type", "application/grpc-web")], body=b"x")
    assert answer.status == 502 and answer.header("grpc-status") is None


def test_a_call_to_a_backend_of_http1(vortex, backend):
    """No gRPC comes back, and the client is told so by its own rules."""
    proxy = vortex(backend(serve()))
    with channel_to(proxy) as channel, pytest.raises(grpc.RpcError):
        channel.unary_unary("/t.T/Unary")(b"", timeout=20)
    assert proxy.alive()


def test_a_reload_ends_no_stream(vortex, server):
    proxy = vortex(server()[0], route=H2)
    go_on = threading.Semaphore(0)

    def messages():
        for number in range(3):
            yield b"%d" % number
            go_on.acquire()

    with channel_to(proxy) as channel:
        answers = channel.stream_stream("/t.T/Both")(messages(), timeout=30)
        assert next(answers) == b"00"
        proxy.config["routes"][0]["timeouts"] = {"response": "7s"}
        proxy.reload(proxy.config)
        go_on.release()
        assert next(answers) == b"11"
        go_on.release()
        assert next(answers) == b"22"
        go_on.release()
        assert list(answers) == []


def test_calls_survive_a_server_that_stops_in_order(vortex, server):
    """It closes its listener and says GOAWAY; what would have been its calls go to the other one.

    No call is made while the listener closes: a connection that waits in its backlog then is reset with a call on it,
    which nobody can know to be unread (docs/http2.md)."""
    (first, _), (second, _) = server(), server()
    proxy = vortex(
        first,
        second,
        route={**H2, "balance": "round_robin", "circuit_breaker": {"failures": 0, "failure_rate": "0%"}},
    )
    done = 0
    with channel_to(proxy) as channel:
        unary = channel.unary_unary("/t.T/Unary")
        for number in range(300):
            calls = [unary.future(b"ab", timeout=20) for _ in range(4)]
            assert {call.result() for call in calls} == {b"ba"}
            done += len(calls)
            if number == 50:
                stopped = server.stop(first)
                wait_until(lambda: refuses(first), what="the end of accepting")
        stopped.wait(10)
    assert done == 1200 and proxy.metric("vortex_errors_total") == 0
