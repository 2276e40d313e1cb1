# SPDX-License-Identifier: Apache-2.0
"""nginx from Debian as a real backend."""

import pathlib
import shutil
import socket
import subprocess

from . import ports
from .wait import wait_until

CONFIG = """
daemon off;
master_process off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    client_max_body_size 0;
    default_type application/octet-stream;
    keepalive_requests 100000;
    server {{
        listen 127.0.0.1:{port}{http2};
        root {folder}/html;
        {extra}
    }}
}}
"""


class Nginx:
    """One nginx process serving `files` (name to bytes); `extra` goes into its server block. http2: h2c instead of HTTP/1."""

    def __init__(self, folder, files=None, extra="", http2=False):
        self.folder = pathlib.Path(folder)
        html = self.folder / "html"
        html.mkdir(parents=True)
        for name, content in (files or {}).items():
            (html / name).write_bytes(content)
        for parent in [self.folder, *self.folder.parents][:3]:
            parent.chmod(parent.stat().st_mode | 0o111)
        self.port = ports.take()
        self.address = f"127.0.0.1:{self.port}"
        config = self.folder / "nginx.conf"
        config.write_text(
            CONFIG.format(folder=self.folder, port=self.port, extra=extra, http2=" http2" if http2 else "")
        )
        program = shutil.which("nginx") or "/usr/sbin/nginx"
        self.process = subprocess.Popen(
            [program, "-c", str(config), "-e", str(self.folder / "error.log")],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        wait_until(self.accepts, 15, "nginx")

    def accepts(self):
        assert self.process.poll() is None, self.process.stderr.read()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self):
        self.process.terminate()
        self.process.wait(15)
        self.process.stderr.close()
