#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# fetch-llhttp.sh FOLDER: puts the C that llhttp's generator wrote (api.c, http.c, llhttp.c, llhttp.h) into FOLDER, from
# the PyPI package that ships it, pinned and checked by its hash. npm's package of that name ended at 1.0.1 in 2018, and
# Node's own copy is in no registry; this one follows Node's releases.
set -eu

version=9.3.0.0
hash=0d989363e7fb6f270b9d49956e7a3945c26778f8c70a166815264309ac6a8295

root=$(cd "$(dirname "$0")/../.." && pwd)
folder=$1
python=$root/build/venv/bin/python
[ -x "$python" ] || python=python3

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
echo "llhttp==$version --hash=sha256:$hash" > "$work/requirements.txt"
"$python" -m pip download --quiet --disable-pip-version-check --no-deps --no-binary :all: --require-hashes \
    --dest "$work" --requirement "$work/requirements.txt"
tar -xzf "$work/llhttp-$version.tar.gz" -C "$work"
mkdir -p "$folder"
cp "$work/llhttp-$version/LICENSE" "$work/llhttp-$version"/lib/* "$folder"
