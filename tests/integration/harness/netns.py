# SPDX-License-Identifier: Apache-2.0
"""A network of the test's own: a namespace where the proxy and its backend run, one for clients, and a veth pair between
them. Nothing is left behind: the namespaces live as long as the descriptors to them. Needs root."""

import ctypes
import http.client
import os
import socket
import subprocess
from contextlib import contextmanager

CLONE_NEWNET = 0x40000000
SERVER, SERVER6 = "198.18.0.1", "fd18::1"
libc = ctypes.CDLL(None, use_errno=True)


def call(name, *args):
    if getattr(libc, name)(*args) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{name}: {os.strerror(error)} (namespaces need root)")


def current():
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def ip(*args):
    done = subprocess.run(["ip", *args], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(args)}: {done.stderr}"
    return done.stdout


class Network:
    """The calling thread, and what it starts from now on, is in the server's namespace until close(). The interface there
    is called `uplink`; clients have any address of 198.18.0.0/24 or fd18::/16 that add() gives them."""

    interface = "uplink"

    def __init__(self):
        self.origin = current()
        call("unshare", CLONE_NEWNET)
        self.clients = current()
        ip("link", "set", "lo", "up")
        call("unshare", CLONE_NEWNET)
        self.server = current()
        ip("link", "set", "lo", "up")
        # Without offloads, as packets come over a wire: what was sent is what arrives.
        peer = f"/proc/{os.getpid()}/fd/{self.clients}"
        ip("link", "add", self.interface, "type", "veth", "peer", "name", "downlink", "netns", peer)
        ip("address", "add", f"{SERVER}/24", "dev", self.interface)
        ip("address", "add", f"{SERVER6}/16", "dev", self.interface, "nodad")
        ip("link", "set", self.interface, "up")
        with self.among_clients():
            ip("link", "set", "downlink", "up")

    @contextmanager
    def among_clients(self):
        call("setns", self.clients, CLONE_NEWNET)
        try:
            yield
        finally:
            call("setns", self.server, CLONE_NEWNET)

    def add(self, address):
        """One more client."""
        bits = "/16" if ":" in address else "/24"
        with self.among_clients():
            ip("address", "add", address + bits, "dev", "downlink", *(["nodad"] if ":" in address else []))
        return Client(self, address)

    def has_xdp(self):
        return "xdp" in ip("link", "show", self.interface)

    def close(self):
        call("setns", self.origin, CLONE_NEWNET)
        for fd in (self.origin, self.clients, self.server):
            os.close(fd)


class Client:
    def __init__(self, network, address):
        self.network, self.address = network, address
        self.server = SERVER6 if ":" in address else SERVER

    def socket(self, kind=socket.SOCK_STREAM):
        family = socket.AF_INET6 if ":" in self.address else socket.AF_INET
        with self.network.among_clients():
            made = socket.socket(family, kind)
        made.bind((self.address, 0))
        return made

    def connect(self, port, timeout):
        """A connection for requests; OSError when there is none in time."""
        made = self.socket()
        made.settimeout(timeout)
        try:
            made.connect((self.server, port))
        except BaseException:
            made.close()
            raise
        connection = http.client.HTTPConnection(self.server, port)
        connection.sock = made
        return connection

    def get(self, port, path="/", timeout=15):
        """The status of one request on a connection of its own; None: there was no answer."""
        try:
            connection = self.connect(port, timeout)
        except OSError:
            return None
        try:
            return get(connection, path)
        finally:
            connection.close()

    def send_udp(self, port, count):
        with self.socket(socket.SOCK_DGRAM) as made:
            for _ in range(count):
                made.sendto(b"x", (self.server, port))


def get(connection, path="/"):
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        return answer.status
    except (OSError, http.client.HTTPException):
        return None


@contextmanager
def bpffs(folder):
    """A bpffs of the test's own."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "bpf", "bpf", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)
