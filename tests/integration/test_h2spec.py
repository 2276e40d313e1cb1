# SPDX-License-Identifier: Apache-2.0
"""h2spec, all of it, on a plain listener and over TLS."""

import fcntl
import os
import re
import shutil
import subprocess

import pytest

from harness.backend import response, serve
from harness.proxy import ROOT

PACKAGE = "github.com/summerwind/h2spec/cmd/h2spec"


@pytest.fixture(scope="session")
def h2spec():
    """The program, built from tests/h2spec once for a tree."""
    program = ROOT / "build" / "h2spec"
    program.parent.mkdir(exist_ok=True)
    with open(program.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.exists():
            go = shutil.which("go", path=os.environ["PATH"] + ":/usr/local/go/bin")
            assert go, "Go is missing: scripts/install-packages test"
            subprocess.run([go, "build", "-o", str(program), PACKAGE], cwd=ROOT / "tests" / "h2spec", check=True,
                           env={**os.environ, "GOTOOLCHAIN": "local", "CGO_ENABLED": "0"})  # fmt: skip
    return program


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
