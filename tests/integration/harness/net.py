# SPDX-License-Identifier: Apache-2.0
"""Addresses that misbehave below HTTP."""

import contextlib
import socket
import time

from .wait import wait_until


class Refused:
    """A port nobody listens on: bound, so that nobody else takes it, but without listen()."""

    def __init__(self):
        self.sock = socket.socket()
        self.sock.bind(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.sock.getsockname()[1]

    def close(self):
        self.sock.close()


class Blackhole:
    """A listener whose queue is full: the kernel drops further SYNs, so a connect neither succeeds nor fails."""

    def __init__(self):
        self.sock = socket.socket()
        self.sock.bind(("127.0.0.1", 0))
        self.sock.listen(0)
        name = self.sock.getsockname()
        self.address = "127.0.0.1:%d" % name[1]
        self.fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                filler.connect(name)
            self.fillers.append(filler)
        time.sleep(0.1)
        wait_until(self.full, 10, "a full accept queue")

    def full(self):
        with socket.socket() as probe:
            probe.settimeout(0.3)
            try:
                probe.connect(self.sock.getsockname())
            except TimeoutError:
                return True
        return False

    def close(self):
        for filler in self.fillers:
            filler.close()
        self.sock.close()


def stalled_value(read, quiet=1.0, timeout=40.0):
    """Waits until read() has not changed for `quiet` seconds; returns that value."""
    deadline = time.monotonic() + timeout
    last, since = read(), time.monotonic()
    while time.monotonic() - since < quiet:
        assert time.monotonic() < deadline, f"still moving after {timeout} s, now at {last}"
        time.sleep(0.05)
        now = read()
        if now != last:
            last, since = now, time.monotonic()
    return last
