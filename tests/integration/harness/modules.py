# SPDX-License-Identifier: Apache-2.0
"""WebAssembly modules for tests, built from tests/guests/ when they are first asked for, and kept under build/guests/ by
the hash of their sources. Their compilers come with the packages of the tests (scripts/packages.txt, requirements.txt);
Rust's target is added where rustup can."""

import fcntl
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[3]
SOURCES = ROOT / "tests" / "guests"
BUILT = ROOT / "build" / "guests"
TOOLS = pathlib.Path(sys.executable).parent  # the virtual environment's


def run(*command, cwd, **env):
    path = f"{TOOLS}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command, cwd=cwd, env={**os.environ, "PATH": path, **env}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}"


def build_c(source, out):
    flags = "--target=wasm32 -O2 -nostdlib -ffreestanding -fno-builtin".split()
    flags += ["-Wl,--no-entry", "-Wl,--export-dynamic", "-Wl,-z,stack-size=16384"]
    run("clang-16", *flags, "-o", out, source, cwd=SOURCES)


def build_wat(source, out):
    run("wat2wasm", source, "-o", out, cwd=SOURCES)


def build_go(source, out):
    go = str(TOOLS / "go") if (TOOLS / "go").exists() else "go"
    run(go, "build", "-buildmode=c-shared", "-o", out, ".", cwd=source, GOOS="wasip1", GOARCH="wasm")


def build_rust(source, out):
    sysroot = subprocess.run(["rustc", "--print", "sysroot"], capture_output=True, text=True, check=True).stdout.strip()
    if not (pathlib.Path(sysroot) / "lib/rustlib/wasm32-wasip1").exists():
        run("rustup", "--quiet", "target", "add", "wasm32-wasip1", cwd=source)
    target = BUILT / "rust-target"
    options = ["--quiet", "--locked", "--release", "--target", "wasm32-wasip1", "--target-dir", str(target)]
    run("cargo", "build", *options, cwd=source)
    shutil.copy(target / "wasm32-wasip1" / "release" / "guest.wasm", out)


def build_assemblyscript(source, out):
    work = BUILT / "assemblyscript"
    shutil.copytree(source, work, dirs_exist_ok=True)
    run("npm", "install", "--no-audit", "--no-fund", "--no-package-lock", cwd=work)
    asc = work / "node_modules" / "assemblyscript" / "bin" / "asc"
    run("node", asc, "assembly/index.ts", "-b", out, "--use", "abort=abort_proc_exit", "--optimize", cwd=work)


BUILDERS = {
    "go": build_go,
    "rust": build_rust,
    "assemblyscript": build_assemblyscript,
}


def sources_of(name):
    if name in BUILDERS:
        return SOURCES / name, BUILDERS[name]
    c = SOURCES / f"{name}.c"
    return (c, build_c) if c.exists() else (SOURCES / f"{name}.wat", build_wat)


def digest(source):
    files = [source, *SOURCES.glob("*.h")] if source.is_file() else sorted(source.rglob("*"))
    sha = hashlib.sha256(pathlib.Path(__file__).read_bytes())
    for file in files:
        if file.is_file():
            sha.update(str(file.relative_to(SOURCES)).encode() + file.read_bytes())
    return sha.hexdigest()[:16]


def guest(name):
    """The path of the module tests/guests/NAME, built."""
    source, builder = sources_of(name)
    BUILT.mkdir(parents=True, exist_ok=True)
    out = BUILT / f"{name}-{digest(source)}.wasm"
    with open(BUILT / f"{name}.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not out.exists():
            draft = out.with_suffix(".new")
            builder(source, draft)
            draft.rename(out)
    return str(out)
