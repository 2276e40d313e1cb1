# SPDX-License-Identifier: Apache-2.0
"""Backends that speak HTTP/2 as a test tells them: scripts for harness.backend.Backend, over the `h2` package.

    backend(http2(script))         a script(peer) that is driven frame by frame
    backend(http2_serve(reply))    an ordinary server; reply(request) gives an Answer
"""

import contextlib
import hashlib
import json
from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings

from .http1 import Closed

Codes = h2.errors.ErrorCodes
Settings = h2.settings.SettingCodes


@dataclass
class Request:
    """One stream as far as it has come."""

    stream: int
    connection: int
    headers: list
    body: bytes = b""
    trailers: list | None = None
    ended: bool = False
    reset: int | None = None

    def all(self, name):
        return [value for key, value in self.headers if key == name]

    def get(self, name, default=None):
        values = self.all(name)
        assert len(values) < 2, f"{name} came {len(values)} times"
        return values[0] if values else default

    @property
    def method(self):
        return self.get(":method")

    @property
    def path(self):
        return self.get(":path")


@dataclass
class Answer:
    body: bytes = b""
    headers: list = field(default_factory=list)
    status: int = 200
    trailers: list | None = None


class Peer:
    """The backend's end of one HTTP/2 connection."""

    def __init__(self, conn, settings):
        self.conn = conn
        self.h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=False, header_encoding="utf-8", validate_outbound_headers=False)
        )
        self.streams = {}
        self.fresh = []
        self.holds_windows = False
        self.goaway = None
        self.h2.local_settings = h2.settings.Settings(client=False, initial_values=dict(settings))
        self.h2.initiate_connection()
        self.flush()

    def flush(self):
        data = self.h2.data_to_send()
        if data:
            self.conn.send(data)

    def read(self):
        """Takes in what comes next."""
        self.conn.sock.settimeout(self.conn.backend.timeout)
        data = self.conn.sock.recv(65536)
        if not data:
            raise Closed
        for event in self.h2.receive_data(data):
            self.handle(event)
        self.flush()

    def handle(self, event):
        request = self.streams.get(getattr(event, "stream_id", None))
        match event:
            case h2.events.RequestReceived():
                request = Request(event.stream_id, self.conn.number, event.headers)
                self.streams[event.stream_id] = request
                self.fresh.append(request)
                with self.conn.backend.lock:
                    self.conn.backend.requests.append(request)
            case h2.events.DataReceived():
                request.body += event.data
                if not self.holds_windows and event.flow_controlled_length:
                    self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            case h2.events.TrailersReceived():
                request.trailers = event.headers
            case h2.events.StreamEnded():
                request.ended = True
            case h2.events.StreamReset():
                if request:
                    request.reset = int(event.error_code)
            case h2.events.ConnectionTerminated():
                self.goaway = int(event.error_code)

    def wait(self, condition):
        while not condition():
            self.read()

    def head(self):
        """The next request's head."""
        self.wait(lambda: self.fresh)
        return self.fresh.pop(0)

    def request(self):
        """The next request, whole."""
        request = self.head()
        self.wait(lambda: request.ended or request.reset is not None)
        return request

    def respond(self, request, status=200, headers=(), *, end=False):
        fields = [(":status", str(status)), *headers]
        self.h2.send_headers(request.stream, fields, end_stream=end)
        self.flush()

    def send(self, request, data, *, end=False):
        """Body bytes, as far as the proxy's windows let them; waits for more."""
        while data:
            room = min(self.h2.local_flow_control_window(request.stream), self.h2.max_outbound_frame_size)
            if room <= 0:
                self.flush()
                self.read()
                continue
            self.h2.send_data(request.stream, data[:room], end_stream=end and len(data) <= room)
            data = data[room:]
            self.flush()

    def end(self, request, trailers=None):
        if trailers:
            self.h2.send_headers(request.stream, trailers, end_stream=True)
        else:
            self.h2.end_stream(request.stream)
        self.flush()

    def answer(self, request, answer):
        """All of an answer; to a stream that is gone by now, nothing."""
        with contextlib.suppress(h2.exceptions.StreamClosedError, h2.exceptions.NoSuchStreamError):
            bare = not answer.body and not answer.trailers
            self.respond(request, answer.status, answer.headers, end=bare)
            if not bare:
                self.send(request, answer.body, end=not answer.trailers)
            if answer.trailers:
                self.end(request, answer.trailers)

    def reset(self, request, code=Codes.INTERNAL_ERROR):
        self.h2.reset_stream(request.stream, code)
        self.flush()

    def refuse(self, request):
        self.reset(request, Codes.REFUSED_STREAM)

    def leave(self, last, code=Codes.NO_ERROR):
        """GOAWAY: streams above `last` are not served."""
        frame = h2.connection.GoAwayFrame(0, last_stream_id=last, error_code=code)
        self.conn.send(frame.serialize())

    def read_until_closed(self):
        with contextlib.suppress(Closed, OSError):
            while True:
                self.read()


def http2(script, settings=None):
    """The script of a Backend whose connections are driven by script(peer)."""

    def run(conn):
        script(Peer(conn, settings or {}))

    return run


def echo(request, name="b"):
    """Answers with what was received, as JSON; the same keys as harness.backend.echo."""
    fields = [[name, value] for name, value in request.headers if not name.startswith(":")]
    body = json.dumps(
        {
            "backend": name,
            "method": request.method,
            "target": request.path,
            "authority": request.get(":authority"),
            "scheme": request.get(":scheme"),
            "headers": fields,
            "length": len(request.body),
            "sha256": hashlib.sha256(request.body).hexdigest(),
            "trailers": request.trailers,
            "connection": request.connection,
        }
    ).encode()
    if request.method == "HEAD":
        return Answer(b"", [("content-length", str(len(body)))])
    return Answer(body, [("content-type", "application/json"), ("x-backend", name)])


def http2_serve(reply=None, settings=None):
    """The script of a server that answers each request once it is whole."""

    def script(peer):
        while True:
            request = peer.request()
            if request.reset is None:
                peer.answer(request, reply(request) if reply else echo(request, peer.conn.backend.name))

    return http2(script, settings)
