# SPDX-License-Identifier: Apache-2.0
"""WebAssembly modules for tests, written as text and made by wat2wasm."""

import subprocess

IMPORTS = {
    "add": ("proxy_add_header_map_value", 5),
    "replace": ("proxy_replace_header_map_value", 5),
    "set_body": ("proxy_set_buffer_bytes", 5),
    "answer": ("proxy_send_local_response", 8),
    "get": ("proxy_get_header_map_value", 5),
}
# Maps and buffers of the ABI.
REQUEST, RESPONSE = 0, 2
REQUEST_BODY, RESPONSE_BODY = 0, 1
CONTINUE, PAUSE = "(i32.const 0)", "(i32.const 1)"


def build(folder, name, text):
    """Makes FOLDER/NAME.wasm; its path."""
    source, module = folder / f"{name}.wat", folder / f"{name}.wasm"
    source.write_text(text)
    draft = folder / f"{name}.new"
    subprocess.run(["wat2wasm", str(source), "-o", str(draft)], check=True)
    draft.rename(module)
    return str(module)


def execute(body, prelude=""):
    """A module whose `execute` is `body`."""
    return f'(module {prelude} (func (export "execute") (result i32) {body}))'


class Plugin:
    """The text of a Proxy-WASM plugin: callbacks in terms of host calls with their strings written out."""

    def __init__(self):
        self.data, self.at = [], 64
        self.callbacks = {}

    def text(self, value):
        """A string in memory, as the two constants that a call needs."""
        data = value.encode()
        at, self.at = self.at, self.at + len(data) + 1
        self.data.append((at, "".join(f"\\{byte:02x}" for byte in data)))
        return f"(i32.const {at}) (i32.const {len(data)})"

    def add(self, where, name, value):
        return f"(drop (call $add (i32.const {where}) {self.text(name)} {self.text(value)}))"

    def replace(self, where, name, value):
        return f"(drop (call $replace (i32.const {where}) {self.text(name)} {self.text(value)}))"

    def set_body(self, which, value, start=0, length=0x7FFFFFFF):
        place = f"(i32.const {which}) (i32.const {start}) (i32.const {length})"
        return f"(drop (call $set_body {place} {self.text(value)}))"

    def answer(self, status, body):
        none = "(i32.const 0) (i32.const 0)"
        return f"(drop (call $answer (i32.const {status}) {none} {self.text(body)} {none} (i32.const -1)))"

    def on(self, callback, *steps):
        """What a callback does; the last step is its result. $size and $end are its second and third parameter."""
        self.callbacks[callback] = " ".join(steps)
        return self

    def wat(self):
        imports = " ".join(
            f'(import "env" "{name}" (func ${short} (param{" i32" * count}) (result i32)))'
            for short, (name, count) in IMPORTS.items()
        )
        data = " ".join(f'(data (i32.const {at}) "{bytes_}")' for at, bytes_ in self.data)
        callbacks = " ".join(
            f'(func (export "proxy_on_{name}") (param $id i32) (param $size i32) (param $end i32) (result i32) {body})'
            for name, body in self.callbacks.items()
        )
        return (
            f'(module {imports} (memory (export "memory") 2) {data}'
            f' (func (export "proxy_abi_version_0_2_1"))'
            f' (func (export "proxy_on_memory_allocate") (param i32) (result i32) (i32.const 65536)) {callbacks})'
        )


def leb128(number):
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def section(kind, body):
    return bytes([kind]) + leb128(len(body)) + body


def never_compiled(folder, name, turns=40000):
    """Makes FOLDER/NAME.wasm, an `execute` module of a megabyte whose one function has so many branches that the compiler
    needs minutes for it; its path."""
    # (if (local.get 0) (then local 0 = (local 0 + 1) * 13) (else local 0 = (local 0 ^ 3) - 11))
    turn = bytes.fromhex("2000044020004101 6a410d6c2100 052000410373410b6b2100 0b")
    code = b"\x01\x01\x7f" + turn * turns + bytes.fromhex("20000b")
    path = folder / f"{name}.wasm"
    path.write_bytes(
        b"\0asm\1\0\0\0"
        + section(1, bytes.fromhex("01 60 00 01 7f"))
        + section(3, bytes.fromhex("01 00"))
        + section(7, b"\x01" + leb128(7) + b"execute" + bytes.fromhex("00 00"))
        + section(10, b"\x01" + leb128(len(code)) + code)
    )
    return str(path)
