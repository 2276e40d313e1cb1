# SPDX-License-Identifier: Apache-2.0
"""Ports nobody else uses, also while several pytest processes run on the machine.

A port asked from the kernel and given back could be taken again before the proxy listens on it, so ports come from below
the ephemeral range and each is claimed by a lock on a file for the life of this process.
"""

import fcntl
import os
import pathlib
import random
import socket
import tempfile

FIRST, LAST = 15000, 31999
claims = []


def usable(port):
    for family, host in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            try:
                probe.bind((host, port))
            except OSError:
                return False
    return True


def take():
    """A TCP port that is free and stays claimed until this process ends."""
    folder = pathlib.Path(tempfile.gettempdir()) / "vortex-test-ports"
    folder.mkdir(exist_ok=True)
    for _ in range(2000):
        port = random.randint(FIRST, LAST)
        claim = os.open(folder / str(port), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(claim)
            continue
        if usable(port):
            claims.append(claim)
            return port
        os.close(claim)
    raise RuntimeError("no free port")
