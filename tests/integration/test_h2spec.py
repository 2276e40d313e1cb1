# SPDX-License-Identifier: Apache-2.0
"""h2spec, all of it, on a plain listener and over TLS."""

import re
import subprocess

import pytest

from harness.backend import response, serve
from harness.programs import go_program


@pytest.fixture(scope="session")
def h2spec():
    return go_program("h2spec", "github.com/summerwind/h2spec/cmd/h2spec")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_h2spec(vortex, backend, ca, h2spec, tls):
    pair = ca.issue("localhost")
    listener = {"tls": {"cert": str(pair.cert), "key": str(pair.key)}} if tls else {}
    proxy = vortex(backend(serve(lambda request: response(b"hello"))), listener=listener)
    command = [str(h2spec), "-h", "127.0.0.1", "-p", str(proxy.port), "-o", "10", *(["-t", "-k"] if tls else [])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    counted = re.search(r"(\d+) tests, (\d+) passed, (\d+) skipped, (\d+) failed", done.stdout)
    assert counted, done.stdout[-2000:] + done.stderr[-2000:]
    total, passed, skipped, failed = map(int, counted.groups())
    assert (total, failed, skipped) == (passed, 0, 0), done.stdout[-4000:]
    assert total >= 145
