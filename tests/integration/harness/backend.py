# SPDX-License-Identifier: Apache-2.0
"""Backends that do exactly what a test tells them, and remember what they saw.

A backend runs a script (a function of one Conn) in a thread of its own for each connection. serve() makes the script of
an ordinary server from a function that answers one request.
"""

import contextlib
import hashlib
import json
import os
import socket
import ssl
import threading
import time

from . import http1
from .wait import wait_until


class Conn:
    """The backend's end of one connection from the proxy."""

    def __init__(self, backend, sock, number):
        self.backend = backend
        self.sock = sock
        self.number = number
        self.stream = http1.Stream(sock, backend.timeout)
        self.closed = False

    def head(self):
        """The next request's head; recorded at once."""
        request = http1.read_request_head(self.stream)
        request.connection = self.number
        with self.backend.lock:
            self.backend.requests.append(request)
        return request

    def body(self, request):
        return http1.read_body(self.stream, request)

    def request(self):
        """The next request with its body."""
        return self.body(self.head())

    def send(self, data):
        self.sock.settimeout(self.backend.timeout)
        self.sock.sendall(data)

    def gone(self, timeout=15.0):
        """True when the proxy closes (or resets) this connection within the time."""
        with contextlib.suppress(TimeoutError):
            self.stream.rest(timeout)
            return True
        return False

    def half_close(self):
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self):
        http1.reset_on_close(self.sock)
        self.close()

    def close(self):
        self.closed = True
        with contextlib.suppress(OSError):
            self.sock.close()


class Backend:
    """A server on loopback. `address` goes into the proxy's configuration."""

    def __init__(
        self,
        script=None,
        *,
        name="b",
        host="127.0.0.1",
        port=0,
        unix=None,
        tls=None,
        rcvbuf=None,
        timeout=30.0,
    ):
        self.name = name
        self.script = script or serve()
        self.tls = tls
        self.timeout = timeout
        self.lock = threading.Lock()
        self.requests = []
        self.connections = []
        self.errors = []
        self.live = 0
        self.most_live = 0
        self.accepted = 0
        self.tls_failures = []
        self.host, self.unix, self.rcvbuf = host, unix, rcvbuf
        self.port = port
        self.listener = None
        self.open()

    def open(self):
        """Starts listening; on the same port again after close()."""
        if self.unix:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.unix)
        family = socket.AF_UNIX if self.unix else socket.AF_INET6 if ":" in self.host else socket.AF_INET
        self.listener = socket.socket(family, socket.SOCK_STREAM)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if self.rcvbuf:
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.rcvbuf)
        self.listener.bind(self.unix or (self.host, self.port))
        if not self.unix:
            self.port = self.listener.getsockname()[1]
        self.listener.listen(512)
        threading.Thread(target=self.accept, args=(self.listener,), daemon=True).start()

    @property
    def address(self):
        if self.unix:
            return f"unix:{self.unix}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def accept(self, listener):
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            with self.lock:
                self.accepted += 1
                number = self.accepted
            threading.Thread(target=self.run, args=(sock, number), daemon=True).start()

    def run(self, sock, number):
        try:
            if self.tls:
                sock.settimeout(self.timeout)
                sock = self.tls.wrap_socket(sock, server_side=True, suppress_ragged_eofs=True)
        except OSError as error:
            self.tls_failures.append(error)
            sock.close()
            return
        conn = Conn(self, sock, number)
        with self.lock:
            self.connections.append(conn)
            self.live += 1
            self.most_live = max(self.most_live, self.live)
        try:
            self.script(conn)
        except (http1.Closed, http1.Incomplete, OSError, ssl.SSLError):
            pass
        except Exception as error:  # what the proxy sent was wrong, or the script is: the fixture reports it
            self.errors.append(error)
        finally:
            conn.close()
            with self.lock:
                self.live -= 1

    def wait_requests(self, count=1, timeout=15.0):
        """Waits until so many request heads were seen; returns them."""
        wait_until(lambda: len(self.requests) >= count, timeout, f"{count} requests at backend {self.name}")
        return list(self.requests)

    def bytes_received(self):
        with self.lock:
            return sum(conn.stream.total for conn in self.connections)

    def close(self):
        """Stops listening and closes every connection."""
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        with self.lock:
            connections = list(self.connections)
        for conn in connections:
            with contextlib.suppress(OSError):
                conn.sock.shutdown(socket.SHUT_RDWR)


def response(body=b"", headers=(), status="200 OK"):
    """The bytes of a well-formed response with Content-Length."""
    headers = list(headers.items()) if isinstance(headers, dict) else list(headers)
    lines = [f"HTTP/1.1 {status}"] + [f"{name}: {value}" for name, value in headers]
    if not status.startswith(("1", "204", "304")):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def echo(request, name="b"):
    """Answers with what was received, as JSON; to HEAD with the head alone."""
    body = json.dumps(
        {
            "backend": name,
            "method": request.method,
            "target": request.target,
            "version": request.version,
            "headers": request.headers,
            "length": len(request.body),
            "sha256": hashlib.sha256(request.body).hexdigest(),
            "framing": request.framing,
            "trailers": request.trailers,
            "connection": request.connection,
        }
    ).encode()
    answer = response(body, [("Content-Type", "application/json"), ("X-Backend", name)])
    return answer[: -len(body)] if request.method == "HEAD" else answer


def serve(reply=None, delay=0.0):
    """The script of a keep-alive server. reply: bytes, or a function of the request that returns bytes; default: echo."""

    def script(conn):
        while True:
            request = conn.request()
            if delay:
                time.sleep(delay)
            if reply is None:
                conn.send(echo(request, conn.backend.name))
            else:
                conn.send(reply(request) if callable(reply) else reply)
            if "close" in request.get("connection", "").lower():
                return

    return script


def once(answer):
    """A script that answers the first request with these bytes and closes."""

    def script(conn):
        conn.request()
        conn.send(answer)

    return script


def refuse(conn):
    """A script that reads a request and resets the connection without an answer."""
    conn.request()
    conn.reset()
