# SPDX-License-Identifier: Apache-2.0
"""A strict little HTTP/1 reader for both sides.

It is deliberately not a library: the tests must see exactly what came over the wire, and must fail on anything RFC 9112
forbids a sender to send, where a library would be lenient.
"""

import dataclasses
import json
import re
import socket
import time

TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")
VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*\Z")
STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9][0-9]) ([\t\x20-\x7e\x80-\xff]*)\Z")
REQUEST_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) ([\x21-\x7e\x80-\xff]+) HTTP/1\.([01])\Z")
HEAD_LIMIT = 4 << 20


class Violation(AssertionError):
    """The peer sent something that RFC 9112 forbids."""


class Closed(Exception):
    """The peer closed in good order where a message could have begun."""


class Incomplete(Exception):
    """The peer closed or reset inside a message; `message` is what had come, `reset` tells which."""

    def __init__(self, what, message=None, reset=False):
        super().__init__(what)
        self.message = message
        self.reset = reset


class Stream:
    """Buffered reading from a socket with a deadline on each call."""

    def __init__(self, sock, timeout):
        self.sock = sock
        self.timeout = timeout
        self.buffer = b""
        self.eof = False
        self.reset = False
        self.total = 0

    def fill(self, size=65536, timeout=None):
        """Reads once; False at the end of the stream. TimeoutError when nothing came in time."""
        if self.eof:
            return False
        self.sock.settimeout(self.timeout if timeout is None else timeout)
        try:
            data = self.sock.recv(size)
        except (ConnectionResetError, BrokenPipeError):
            self.reset = True
            data = b""
        if not data:
            self.eof = True
            return False
        self.total += len(data)
        self.buffer += data
        return True

    def take(self, count):
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        return data

    def exactly(self, count):
        parts = []
        left = count
        while left:
            if not self.buffer and not self.fill():
                raise Incomplete(f"{left} bytes missing", b"".join(parts), self.reset)
            part = self.take(left)
            parts.append(part)
            left -= len(part)
        return b"".join(parts)

    def line(self):
        """One line without its CRLF; a bare CR or LF is a violation."""
        start = 0
        while True:
            end = self.buffer.find(b"\n", start)
            if end >= 0:
                break
            start = len(self.buffer)
            if start > HEAD_LIMIT:
                raise Violation("a line without an end")
            if not self.fill():
                raise Incomplete("closed inside a line", self.buffer, self.reset)
        line = self.take(end + 1)
        if not line.endswith(b"\r\n") or b"\r" in line[:-2] or b"\0" in line:
            raise Violation(f"bad line {line[:120]!r}")
        return line[:-2]

    def rest(self, timeout=None):
        """All bytes up to the end of the stream."""
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        parts = [self.take(len(self.buffer))]
        while self.fill(timeout=max(0.01, deadline - time.monotonic())):
            parts.append(self.take(len(self.buffer)))
        return b"".join(parts)


@dataclasses.dataclass
class Message:
    version: int
    headers: list = dataclasses.field(default_factory=list)
    body: bytes = b""
    trailers: list = dataclasses.field(default_factory=list)
    framing: str = "none"
    chunks: int = 0
    complete: bool = False

    def all(self, name):
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def get(self, name, default=None):
        values = self.all(name)
        return ", ".join(values) if values else default

    def has(self, name):
        return bool(self.all(name))

    def json(self):
        return json.loads(self.body)


@dataclasses.dataclass
class Response(Message):
    status: int = 0
    reason: str = ""

    @property
    def closes(self):
        """True where the sender said that this connection ends after this message."""
        tokens = [token.strip().lower() for token in self.get("connection", "").split(",")]
        return "close" in tokens or (self.version == 0 and "keep-alive" not in tokens)


@dataclasses.dataclass
class Request(Message):
    method: str = ""
    target: str = ""
    connection: int = 0


def read_fields(stream):
    fields = []
    while True:
        line = stream.line()
        if not line:
            return fields
        name, colon, value = line.partition(b":")
        if not colon or not TOKEN.match(name):
            raise Violation(f"bad field line {line[:120]!r}")
        value = value.strip(b" \t")
        if not VALUE.match(value):
            raise Violation(f"bad field value {line[:120]!r}")
        fields.append((name.decode("ascii"), value.decode("latin-1")))


def framing_of(message, bodiless):
    """How the body is delimited: none, length, chunked, or close (responses only)."""
    codings = message.all("transfer-encoding")
    lengths = message.all("content-length")
    if len(lengths) > 1 or any(not re.fullmatch("[0-9]+", length) for length in lengths):
        raise Violation(f"bad Content-Length {lengths}")
    if codings and lengths:
        raise Violation("both Transfer-Encoding and Content-Length")
    if codings and message.version == 0:
        raise Violation("Transfer-Encoding in HTTP/1.0")
    if bodiless:
        return "none"
    if codings:
        if [coding.lower() for coding in codings] != ["chunked"]:
            raise Violation(f"unexpected Transfer-Encoding {codings}")
        return "chunked"
    if lengths:
        return "length"
    return "close" if isinstance(message, Response) else "none"


def read_chunked(stream, message):
    parts = []
    try:
        while True:
            line = stream.line()
            size, _, _ = line.partition(b";")
            if not re.fullmatch(rb"[0-9A-Fa-f]{1,16}", size.strip(b" \t")):
                raise Violation(f"bad chunk size {line[:80]!r}")
            count = int(size, 16)
            if count == 0:
                message.trailers = read_fields(stream)
                break
            message.chunks += 1
            parts.append(stream.exactly(count))
            if stream.exactly(2) != b"\r\n":
                raise Violation("chunk data not followed by CRLF")
    except Incomplete as error:
        message.body = b"".join(parts) + (error.message or b"")
        raise Incomplete("closed inside a chunked body", message, stream.reset) from error
    message.body = b"".join(parts)


def read_body(stream, message):
    if message.framing == "length":
        try:
            message.body = stream.exactly(int(message.get("content-length")))
        except Incomplete as error:
            message.body = error.message
            raise Incomplete("closed before Content-Length was reached", message, stream.reset) from error
    elif message.framing == "chunked":
        read_chunked(stream, message)
    elif message.framing == "close":
        message.body = stream.rest()
        if stream.reset:
            raise Incomplete("reset inside a close-delimited body", message, True)
    message.complete = True
    return message


def begin(stream):
    """Waits for the first byte of a message; Closed when the stream ends in good order before it."""
    if not stream.buffer and not stream.fill():
        if stream.reset:
            raise Incomplete("reset between messages", None, True)
        raise Closed()


def read_response_head(stream, method="GET"):
    begin(stream)
    line = stream.line()
    match = STATUS_LINE.match(line)
    if not match:
        raise Violation(f"bad status line {line[:120]!r}")
    response = Response(int(match[1]), status=int(match[2]), reason=match[3].decode("latin-1"))
    response.headers = read_fields(stream)
    if response.status < 200 or response.status == 204:
        if response.has("content-length") or response.has("transfer-encoding"):
            raise Violation(f"{response.status} with a body header")
    tunnel = method == "CONNECT" and 200 <= response.status < 300
    bodiless = method == "HEAD" or response.status < 200 or response.status in (204, 304) or tunnel
    response.framing = framing_of(response, bodiless)
    return response


def read_response(stream, method="GET"):
    return read_body(stream, read_response_head(stream, method))


def read_request_head(stream):
    begin(stream)
    line = stream.line()
    match = REQUEST_LINE.match(line)
    if not match:
        raise Violation(f"bad request line {line[:120]!r}")
    request = Request(int(match[3]), method=match[1].decode(), target=match[2].decode("latin-1"))
    request.headers = read_fields(stream)
    request.framing = framing_of(request, False)
    return request


def chunked(*parts, trailers=()):
    """A chunked body of these parts."""
    out = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts if part)
    return out + b"0\r\n" + b"".join(b"%s: %s\r\n" % field for field in trailers) + b"\r\n"


def reset_on_close(sock):
    """Makes close() send RST instead of FIN."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
