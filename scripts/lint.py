#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Check the tree against the project's rules; `make lint` calls this after building the libraries.

    lint.py [--only text|format|binary|tidy ...] [--jobs N] [--build FOLDER]

Prints `FILE:LINE: [rule] message` for each finding and exits 1 when there is any. clang-tidy is the slow part: a file
that passed is not looked at again until it, a header of ours that it reaches, its compiler flags or .clang-tidy change
(stamps in ${XDG_CACHE_HOME:-~/.cache}/vortex/lint, so that a clean clone profits too).
"""

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from lint_binary import binary_rules  # noqa: E402
from lint_rules import C_FILES, RULES, Finding, Tree, includes_of  # noqa: E402

PARTS = ("text", "format", "binary", "tidy")
CLANG_FORMAT = "clang-format-16"
CLANG_TIDY = "clang-tidy-16"
WARNING = re.compile(r"^(.+?):(\d+):\d+: (?:warning|error): (.*)$", re.M)
# gcc's own flags mean nothing to clang, which reads the same compile commands.
FOR_CLANG = ["--extra-arg=-Wno-unknown-warning-option", "--extra-arg=-Wno-ignored-optimization-argument",
             "--extra-arg=-Wno-unused-command-line-argument", "--extra-arg=-fno-lto"]


def check_text(tree, _options):
    for rule in RULES:
        yield from rule(tree)


def check_binary(tree, options):
    yield from binary_rules(tree.root, options.build / "src")


def check_format(tree, _options):
    names = tree.named(*C_FILES)
    for start in range(0, len(names), 100):
        command = [CLANG_FORMAT, "--dry-run", "-Werror", *names[start:start + 100]]
        result = subprocess.run(command, cwd=tree.root, capture_output=True, text=True)
        seen = set()
        for path, line, _ in WARNING.findall(result.stderr):
            if path not in seen:
                seen.add(path)
                yield Finding(path, int(line), "format", "not laid out by clang-format (and maybe below): make format")
        if result.returncode != 0 and not seen:
            yield Finding(".clang-format", 1, "format", result.stderr.strip()[:2000] or "clang-format failed")


def reached_headers(tree, name, seen):
    """The headers of ours that a file includes, directly or not."""
    for _, _, header in includes_of(tree, name):
        for candidate in ("src/" + header, "tests/" + header, str(Path(name).parent / header)):
            if candidate in tree.files and candidate not in seen:
                seen.add(candidate)
                reached_headers(tree, candidate, seen)
    return seen


def tidy_key(tree, name, entry, version):
    # Where the tree and the build lie says nothing about the file.
    command = entry["command"].replace(entry["directory"], "").replace(str(tree.root.resolve()), "")
    digest = hashlib.sha256((version + "\0" + " ".join(FOR_CLANG) + "\0" + command).encode())
    settings = [path for path in tree.files if Path(path).name == ".clang-tidy"]
    for path in [*settings, name, *sorted(reached_headers(tree, name, set()))]:
        digest.update(path.encode() + b"\0" + tree.text(path).encode())
    return digest.hexdigest()


def tidy_one(tree, name, build, stamp):
    """The findings of clang-tidy in one file; remembers a clean one."""
    command = [CLANG_TIDY, "--quiet", "-p", str(build), *FOR_CLANG, name]
    result = subprocess.run(command, cwd=tree.root, capture_output=True, text=True)
    found = set()
    for path, line, message in WARNING.findall(result.stdout + result.stderr):
        absolute = (tree.root / path).resolve()
        inside = absolute.is_relative_to(tree.root.resolve())
        short = str(absolute.relative_to(tree.root.resolve())) if inside else path
        found.add(Finding(short, int(line), "tidy", message))
    if result.returncode != 0 and not found:
        found.add(Finding(name, 1, "tidy", (result.stderr or result.stdout).strip()[-2000:]))
    if not found:
        stamp.touch()
    return found


def check_tidy(tree, options):
    """clang-tidy over what CMake compiles, as far as it changed."""
    commands = json.loads((options.build / "compile_commands.json").read_text())
    version = subprocess.run([CLANG_TIDY, "--version"], check=True, capture_output=True, text=True).stdout
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    stamps = Path(home) / "vortex" / "lint"
    stamps.mkdir(parents=True, exist_ok=True)
    work = {}
    for entry in commands:
        path = Path(entry["file"])
        if not path.is_relative_to(tree.root.resolve()):
            continue
        name = str(path.relative_to(tree.root.resolve()))
        if name in tree.files:
            stamp = stamps / tidy_key(tree, name, entry, version)
            if not stamp.exists():
                work[name] = stamp
    print(f"lint: clang-tidy reads {len(work)} of {len(commands)} files", flush=True)
    with ThreadPoolExecutor(options.jobs) as pool:
        for found in pool.map(lambda item: tidy_one(tree, item[0], options.build, item[1]), sorted(work.items())):
            yield from found


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--only", choices=PARTS, action="append")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parent.parent)
    parser.add_argument("--build", type=Path)
    options = parser.parse_args()
    options.build = (options.build or options.root / "build").resolve()
    tree = Tree(options.root)
    checks = {"text": check_text, "format": check_format, "binary": check_binary, "tidy": check_tidy}
    total = 0
    for part in options.only or PARTS:
        began = time.monotonic()
        # A header's finding comes with every file that includes it.
        found = sorted(set(checks[part](tree, options)))
        for finding in found:
            print(f"{finding.path}:{finding.line}: [{finding.rule}] {finding.message}")
        total += len(found)
        print(f"lint: {part}: {len(found)} findings in {time.monotonic() - began:.0f} s", flush=True)
    print(f"lint: {total} findings" if total else "lint: clean")
    return 1 if total else 0


if __name__ == "__main__":
    sys.exit(main())
