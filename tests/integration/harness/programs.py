# SPDX-License-Identifier: Apache-2.0
"""Go programs that tests run, built once for a tree from the module that pins them."""

import fcntl
import os
import shutil
import subprocess

from harness.proxy import ROOT


def go_program(name, package):
    """build/NAME, made of `package` as tests/NAME/go.mod has it; its path."""
    program = ROOT / "build" / name
    program.parent.mkdir(exist_ok=True)
    with open(program.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.exists():
            go = shutil.which("go", path=os.environ["PATH"] + ":/usr/local/go/bin")
            assert go, "Go is missing: scripts/install-packages test"
            subprocess.run([go, "build", "-o", str(program), package], cwd=ROOT / "tests" / name, check=True,
                           env={**os.environ, "GOTOOLCHAIN": "local", "CGO_ENABLED": "0"})  # fmt: skip
    return program
