# SPDX-License-Identifier: Apache-2.0
"""A module that takes minutes to compile keeps nobody waiting: neither who asks the proxy for something, nor who ends it."""

import signal
import subprocess
import threading

import pytest

from harness.backend import response, serve
from harness.guests import never_compiled
from harness.proxy import binary, command
from harness.wait import wait_until


@pytest.fixture
def busy(vortex, backend, tmp_path):
    """A proxy that compiles: busy("reload") or busy("push"), with a backend whose answers wait for `busy.gate`."""
    module = never_compiled(tmp_path, "large")
    pushers = []

    class Busy:
        gate = threading.Event()
        pushers = []

        def __call__(self, by):
            def answer(_):
                self.gate.wait(60)
                return response(b"late")

            small = tmp_path / "small.wat"
            small.write_text('(module (func (export "execute") (result i32) (i32.const 200)))')
            subprocess.run(["wat2wasm", str(small), "-o", str(tmp_path / "small.wasm")], check=True)
            proxy = vortex(
                backend(serve(answer)),
                admin={"socket": "admin.sock"},
                wasm={"cache": "off"},
                filters=[{"name": "one", "wasm": str(tmp_path / "small.wasm")}],
            )
            proxy.socket = str(proxy.folder / "admin.sock")
            if by == "reload":
                proxy.write({**proxy.config, "filters": [{"name": "one", "wasm": module}]})
                proxy.signal(signal.SIGHUP)
            else:
                call = [binary(), "plugin", "push", module, "--socket", proxy.socket]
                pushers.append(subprocess.Popen(call, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
            wait_until(lambda: f"compiling for a {by}" in dump(proxy), 15, "the compiler at work")
            return proxy

    one = Busy()
    one.pushers = pushers
    yield one
    one.gate.set()
    for pusher in pushers:
        pusher.kill()
        pusher.communicate()


def dump(proxy):
    return command("stats", "--verbose", "--socket", proxy.socket, cwd=proxy.folder).stdout


@pytest.mark.parametrize("by", ["reload", "push"])
def test_the_drain_begins_at_once_and_the_end_is_that_of_the_drain(busy, by):
    proxy = busy(by)
    client = proxy.client()
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    wait_until(lambda: proxy.metric("vortex_backend_active_requests") == 1, 15, "the request at the backend")
    proxy.signal(signal.SIGTERM)
    wait_until(lambda: proxy.admin("/readyz").status == 503, 15, "the drain")
    busy.gate.set()
    assert client.read().body == b"late"
    proxy.finish(0, timeout=30)
    assert "ended" in proxy.output()
    for pusher in busy.pushers:
        assert pusher.wait(15) != 0
        assert "the proxy has ended" in pusher.stderr.read()


def test_a_second_signal_ends_it_at_once(busy):
    proxy = busy("reload")
    client = proxy.client()
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    wait_until(lambda: proxy.metric("vortex_backend_active_requests") == 1, 15, "the request at the backend")
    proxy.signal(signal.SIGTERM)
    wait_until(lambda: "draining" in proxy.output(), 15, "the drain")
    assert proxy.alive()
    proxy.signal(signal.SIGTERM)
    proxy.finish(0, timeout=30)


def test_a_signal_while_it_starts(vortex, backend, tmp_path):
    module = never_compiled(tmp_path, "large")
    filters = [{"name": "one", "wasm": module}]
    proxy = vortex(backend(), filters=filters, wasm={"cache": "off"}, until="compiling")
    proxy.signal(signal.SIGHUP)  # nothing is there yet that could be reloaded
    proxy.signal(signal.SIGTERM)
    proxy.finish(0, timeout=30)
    assert "ready:" not in proxy.output()
