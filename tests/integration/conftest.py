# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the black-box tests. The binary is $VORTEX_BINARY, by default build/vortex.

Every test starts its own proxy on ports of its own and stops it by SIGTERM; the exit code must be 0 and no sanitizer may
have reported anything, or the test fails. A backend that was sent something RFC 9112 forbids fails its test too.
"""

import pytest

from harness.backend import Backend
from harness.certs import Authority
from harness.net import Blackhole, Refused
from harness.nginx import Nginx
from harness.proxy import Builder, binary


def pytest_sessionstart(session):
    if not session.config.option.collectonly:
        binary()


@pytest.fixture
def backend():
    """Makes backends: backend(script, name=..., tls=...); see harness.backend."""
    made = []

    def make(script=None, **options):
        options.setdefault("name", f"b{len(made) + 1}")
        one = Backend(script, **options)
        made.append(one)
        return one

    yield make
    for one in made:
        one.close()
    errors = [(one.name, error) for one in made for error in one.errors]
    assert not errors, f"backends saw what they should not: {errors}"


@pytest.fixture
def vortex(backend, tmp_path):
    """Starts proxies: vortex(backend, ..., route={...}, limits={...}); see harness.proxy.Builder."""
    builder = Builder(tmp_path)
    yield builder
    builder.finish()


@pytest.fixture
def dead():
    """A backend address that refuses connections."""
    one = Refused()
    yield one
    one.close()


@pytest.fixture
def blackhole():
    """A backend address where a connect gets no answer."""
    one = Blackhole()
    yield one
    one.close()


@pytest.fixture
def nginx(tmp_path):
    """Starts nginx as a backend: nginx(files={name: bytes}, extra="...")."""
    made = []

    def make(files=None, extra="", **options):
        one = Nginx(tmp_path / f"nginx{len(made)}", files, extra, **options)
        made.append(one)
        return one

    yield make
    for one in made:
        one.stop()


@pytest.fixture(scope="session")
def ca(tmp_path_factory):
    """The certificate authority that the tests' clients and proxies trust."""
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="session")
def stranger(tmp_path_factory):
    """An authority nobody trusts."""
    return Authority(tmp_path_factory.mktemp("stranger"), "stranger")
