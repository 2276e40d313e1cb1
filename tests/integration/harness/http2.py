# SPDX-License-Identifier: Apache-2.0
"""An HTTP/2 client that a test drives stream by stream, and that can also say what no client should."""

import contextlib
import socket
import ssl
import time
from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import hyperframe.frame
from h2.errors import ErrorCodes
from h2.settings import SettingCodes


@dataclass
class Answer:
    """What came on one stream so far."""

    status: int = 0
    headers: list = field(default_factory=list)
    interim: list = field(default_factory=list)
    body: bytes = b""
    trailers: list | None = None
    ended: bool = False
    reset: int | None = None

    def header(self, name):
        values = [value for key, value in self.headers if key == name]
        return values[0] if len(values) == 1 else values or None


class Client:
    """One connection. Everything is read by wait(), which returns when its condition holds."""

    def __init__(self, port, *, tls=None, sni="localhost", timeout=20.0, window=None, receive_buffer=None):
        self.timeout = timeout
        sock = socket.socket()
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.settimeout(timeout)
        sock.connect(("127.0.0.1", port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = tls.wrap_socket(sock, server_hostname=sni) if tls else sock
        # Nothing is checked on the way out: some tests are about what must not be sent.
        config = h2.config.H2Configuration(
            client_side=True,
            header_encoding="utf-8",
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
        )
        self.h2 = h2.connection.H2Connection(config)
        self.h2.initiate_connection()
        self.answers = {}
        self.reading = True  # gives windows back as bytes come
        self.goaway = None
        self.goaways = []
        self.closed = False
        self.acked = False
        self.pongs = 0
        self.flush()
        if window is not None:
            self.wait(lambda: self.acked)
            self.acked = False
            self.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: window})
            self.flush()
            self.wait(lambda: self.acked)

    def flush(self):
        with contextlib.suppress(BrokenPipeError, ConnectionResetError, ssl.SSLError):
            self.sock.sendall(self.h2.data_to_send())

    def send_raw(self, data):
        """Bytes behind what the h2 package has to say. False: the connection is gone."""
        try:
            self.sock.sendall(self.h2.data_to_send() + data)
        except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
            return False
        return True

    def open(self, method="GET", path="/", headers=(), *, body=None, end=True, authority="test", pseudo=None, hold=False):
        """Begins a request; returns its stream. hold: its head leaves with what is flushed next."""
        stream = self.h2.get_next_available_stream_id()
        first = pseudo or [(":method", method), (":scheme", "http"), (":authority", authority), (":path", path)]
        self.answers[stream] = Answer()
        self.h2.send_headers(stream, [*first, *headers], end_stream=end and not body)
        if body:
            self.send(stream, body, end=end)
        if not hold:
            self.flush()
        return stream

    def send(self, stream, data, *, end=False):
        """Body bytes, as fast as the proxy's windows let them."""
        while data:
            room = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size)
            if room <= 0:
                self.flush()
                self.read()
                assert self.answers[stream].reset is None and not self.closed, "reset while sending"
                continue
            self.h2.send_data(stream, data[:room], end_stream=end and len(data) <= room)
            data = data[room:]
        self.flush()

    def end(self, stream, trailers=None):
        if trailers:
            self.h2.send_headers(stream, trailers, end_stream=True)
        else:
            self.h2.end_stream(stream)
        self.flush()

    def reset(self, stream, code=ErrorCodes.CANCEL):
        self.h2.reset_stream(stream, code)
        self.flush()

    def read(self):
        """Takes in what has come; waits for it."""
        try:
            data = self.sock.recv(65536)
        except (ConnectionResetError, ssl.SSLError):
            data = b""
        if not data:
            self.closed = True
            return
        try:
            events = self.h2.receive_data(data)
        except h2.exceptions.ProtocolError as error:
            raise AssertionError(f"the proxy broke the protocol: {error}") from error
        for event in events:
            self.handle(event)
        self.flush()

    def handle(self, event):
        answer = self.answers.get(getattr(event, "stream_id", None))
        match event:
            case h2.events.InformationalResponseReceived():
                answer.interim.append(event.headers)
            case h2.events.ResponseReceived():
                answer.headers = event.headers
                answer.status = int(answer.header(":status"))
            case h2.events.DataReceived():
                answer.body += event.data
                if self.reading and event.flow_controlled_length:
                    self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            case h2.events.TrailersReceived():
                answer.trailers = event.headers
            case h2.events.StreamEnded():
                answer.ended = True
            case h2.events.StreamReset():
                answer.reset = int(event.error_code)
            case h2.events.ConnectionTerminated():
                self.goaway = int(event.error_code)
                # The package takes this for the end of everything; streams that are open go on (RFC 9113 §6.8).
                self.h2.state_machine.state = h2.connection.ConnectionState.CLIENT_OPEN
                self.goaways.append((event.last_stream_id, int(event.error_code)))
            case h2.events.SettingsAcknowledged():
                self.acked = True
            case h2.events.PingAckReceived():
                self.pongs += 1

    def wait(self, condition, timeout=None):
        end = time.monotonic() + (timeout or self.timeout)
        while not condition():
            assert not self.closed, "the connection was closed"
            assert time.monotonic() < end, "timed out"
            self.read()

    def answer(self, stream):
        """The whole answer of a stream, or what there was when it was reset."""
        answer = self.answers[stream]
        self.wait(lambda: answer.ended or answer.reset is not None)
        return answer

    def request(self, *args, **options):
        return self.answer(self.open(*args, **options))

    def wait_closed(self):
        """Reads to the end; returns the code of the last GOAWAY."""
        while not self.closed:
            self.read()
        return self.goaway

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def frame(kind, **fields):
    """A frame's bytes: frame("WindowUpdate", stream_id=1, window_increment=1)."""
    return getattr(hyperframe.frame, kind + "Frame")(**fields).serialize()


def raw_frame(kind, flags, stream, payload=b""):
    """A frame as it is on the wire, whether it makes sense or not."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload
