# SPDX-License-Identifier: Apache-2.0
"""A client that sends exactly the bytes it is told to, and reads answers strictly."""

import contextlib
import socket
import ssl
import time

from . import http1


class Client:
    """One connection to the proxy. Also a context manager."""

    def __init__(
        self,
        port,
        host="127.0.0.1",
        *,
        tls=None,
        sni=None,
        session=None,
        timeout=20.0,
        rcvbuf=None,
        unix=None,
        before_tls=b"",
    ):
        family = socket.AF_UNIX if unix else socket.AF_INET6 if ":" in host else socket.AF_INET
        self.sock = socket.socket(family, socket.SOCK_STREAM)
        self.sock.settimeout(timeout)
        if rcvbuf:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        try:
            self.sock.connect(unix or (host, port))
            if not unix:
                self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if before_tls:
                self.sock.sendall(before_tls)
            if tls:
                self.sock = tls.wrap_socket(
                    self.sock, server_hostname=sni, session=session, suppress_ragged_eofs=False
                )
        except BaseException:
            self.sock.close()
            raise
        self.stream = http1.Stream(self.sock, timeout)
        self.timeout = timeout

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    @property
    def address(self):
        return self.sock.getsockname()

    def send(self, data):
        self.sock.settimeout(self.timeout)
        self.sock.sendall(data)

    def try_send(self, data):
        """Sends what the peer will take; False if it closed before all was taken."""
        try:
            self.send(data)
            return True
        except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
            return False

    def dribble(self, data, size=1, pause=0.0):
        """Sends in pieces of `size` bytes, each in a packet of its own."""
        for start in range(0, len(data), size):
            self.send(data[start : start + size])
            if pause:
                time.sleep(pause)

    def request(self, method, target, headers=(), body=b"", *, host="test"):
        """Sends a request with Host and Content-Length as needed, and reads the final answer."""
        self.send(request(method, target, headers, body, host=host))
        return self.final(method)

    def read(self, method="GET"):
        """The next response, 1xx included."""
        return http1.read_response(self.stream, method)

    def head(self, method="GET"):
        """The next response's head; its body is not read."""
        return http1.read_response_head(self.stream, method)

    def final(self, method="GET"):
        """The next response that is not 1xx."""
        while True:
            response = self.read(method)
            if response.status >= 200 or response.status == 101:
                return response

    def rest(self, timeout=None):
        return self.stream.rest(timeout)

    def ended(self, timeout=10.0):
        """True when the peer closes within the time and sends nothing more before that."""
        try:
            extra = self.stream.rest(timeout)
        except TimeoutError:
            return False
        except ssl.SSLError:
            return True
        if extra:
            raise http1.Violation(f"unexpected bytes before the end: {extra[:200]!r}")
        return True

    def silent(self, seconds=0.3):
        """True when nothing arrives, not even an end, within the time."""
        if self.stream.buffer:
            return False
        try:
            self.stream.fill(timeout=seconds)
        except TimeoutError:
            return True
        return False

    def half_close(self):
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self):
        http1.reset_on_close(self.sock)
        self.sock.close()

    def close(self):
        with contextlib.suppress(OSError):
            self.sock.close()


def request(method, target, headers=(), body=b"", *, host="test", version="1.1"):
    """The bytes of a well-formed request."""
    lines = [f"{method} {target} HTTP/{version}"]
    if host is not None:
        lines.append(f"Host: {host}")
    headers = list(headers.items()) if isinstance(headers, dict) else list(headers)
    lines += [f"{name}: {value}" for name, value in headers]
    names = {name.lower() for name, _ in headers}
    if not names & {"content-length", "transfer-encoding"} and (body or method in ("POST", "PUT", "PATCH")):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body
