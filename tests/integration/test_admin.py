# SPDX-License-Identifier: Apache-2.0
"""The admin service over its socket, asked by the commands, by grpcio and by grpcurl."""

import json
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading

import grpc
import pytest
import yaml

from harness import ports
from harness.backend import response, serve
from harness.guests import CONTINUE, REQUEST, Plugin, build
from harness.programs import go_program
from harness.proxy import ROOT, binary, command
from harness.wait import wait_until



@pytest.fixture(scope="session")
def api(tmp_path_factory):
    """The modules that protoc makes of api/admin.proto: (messages, service)."""
    folder = tmp_path_factory.mktemp("api")
    subprocess.run(
        [sys.executable, "-m", "grpc_tools.protoc", f"-I{ROOT / 'api'}", f"--python_out={folder}",
         f"--grpc_python_out={folder}", "admin.proto"],
        check=True,
    )  # fmt: skip
    sys.path.insert(0, str(folder))
    import admin_pb2
    import admin_pb2_grpc

    return admin_pb2, admin_pb2_grpc


@pytest.fixture(scope="session")
def grpcurl():
    return go_program("grpcurl", "github.com/fullstorydev/grpcurl/cmd/grpcurl")


@pytest.fixture
def admin(vortex, backend):
    """Starts a proxy with an admin socket: admin(...) as vortex(...), with the backend already there."""

    def start(script=None, **options):
        proxy = vortex(backend(script or serve(lambda _: response(b"hello"))), admin={"socket": "admin.sock"}, **options)
        proxy.socket = proxy.folder / "admin.sock"
        return proxy

    return start


@pytest.fixture
def ask(api):
    """ask(proxy): the stub of grpcio."""
    channels = []

    def stub(proxy):
        channel = grpc.insecure_channel(f"unix:{proxy.socket}")
        channels.append(channel)
        return api[1].AdminServiceStub(channel)

    yield stub
    for channel in channels:
        channel.close()


def operate(proxy, *args, code=0):
    """A command against the proxy's socket; what it printed."""
    done = command(*args, "--socket", str(proxy.socket), cwd=proxy.folder)
    assert done.returncode == code, (args, done.returncode, done.stdout, done.stderr)
    return done.stdout if code == 0 else done.stderr


# The socket


def test_the_socket_is_the_owners_alone_and_goes_with_the_proxy(admin):
    proxy = admin()
    mode = proxy.socket.stat().st_mode
    assert stat.S_ISSOCK(mode) and stat.S_IMODE(mode) == 0o600
    proxy.stop()
    assert not proxy.socket.exists()


def test_a_socket_left_by_a_dead_proxy_is_replaced(admin):
    first = admin()
    first.kill()
    assert first.socket.exists()
    second = first.__class__(first.folder, first.config)
    try:
        assert second.get().status == 200
        second.socket = first.socket
        assert "state ready" in operate(second, "stats")
    finally:
        second.stop()


def test_a_socket_in_use_is_an_error_with_its_place(admin, vortex, tmp_path):
    first = admin()
    config = {
        **first.config,
        "listeners": [{"address": f"127.0.0.1:{ports.take()}"}],
        "metrics": {"address": f"127.0.0.1:{ports.take()}"},
        "admin": {"socket": str(first.socket)},
    }
    path = tmp_path / "second.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    done = command("run", "-c", str(path), cwd=tmp_path)
    assert done.returncode == 2
    assert "the address is in use" in done.stdout + done.stderr
    assert f"{path}:" in done.stdout + done.stderr
    assert "state ready" in operate(first, "stats")


def test_a_reload_keeps_moves_and_closes_the_socket(admin, ask):
    proxy = admin()
    stub = ask(proxy)
    inode = proxy.socket.stat().st_ino
    operate(proxy, "reload")
    assert proxy.socket.stat().st_ino == inode
    config = {**proxy.config, "admin": {"socket": "moved.sock"}}
    proxy.write(config)
    # Who asks for the move over the old socket is still answered.
    assert operate(proxy, "reload").startswith("configuration reloaded")
    assert not proxy.socket.exists()
    proxy.socket = proxy.folder / "moved.sock"
    assert "config_version 3" in operate(proxy, "stats")
    proxy.write({**config, "admin": False})
    assert operate(proxy, "reload").startswith("configuration reloaded")
    assert not proxy.socket.exists()
    assert "no proxy listens there" in operate(proxy, "stats", code=1)
    del stub


# What grpcio sees


def test_stats(admin, ask, api):
    proxy = admin(workers=2)
    client = proxy.client()
    assert client.request("GET", "/").status == 200
    stats = ask(proxy).GetStats(api[0].GetStatsRequest())
    assert stats.active_connections == 1
    assert stats.connections_total >= 1
    assert (stats.workers, stats.config_version, stats.state, stats.pid) == (2, 1, "ready", proxy.pid)
    assert stats.config_path == str(proxy.file)


def test_reload(admin, ask, api):
    proxy = admin()
    stub, messages = ask(proxy), api[0]
    done = stub.ReloadConfig(messages.ReloadConfigRequest())
    assert (done.success, done.message) == (True, "configuration reloaded: version 2")
    bad = proxy.folder / "bad.yaml"
    bad.write_text("listeners: 5\n")
    done = stub.ReloadConfig(messages.ReloadConfigRequest(config_path=str(bad)))
    check = command("check", "-c", str(bad), cwd=proxy.folder)
    assert not done.success
    assert done.message == (check.stdout + check.stderr).strip()
    assert stub.GetStats(messages.GetStatsRequest()).config_version == 2
    # A good one is from then on the one in use, for SIGHUP as well.
    other = proxy.folder / "other.yaml"
    config = {**proxy.config, "routes": [{"name": "r", "match": {}, "redirect": {"to": "/x"}}]}
    other.write_text(yaml.safe_dump(config))
    assert stub.ReloadConfig(messages.ReloadConfigRequest(config_path=str(other))).success
    wait_until(lambda: proxy.get("/").status == 302, 10, "the other configuration")
    assert stub.GetStats(messages.GetStatsRequest()).config_path == str(other)
    before = proxy.reloads(True)
    proxy.signal(signal.SIGHUP)
    wait_until(lambda: proxy.reloads(True) > before, 10, "a reload")
    assert proxy.get("/").status == 302
    assert proxy.reloads(False) == 1


def test_errors_of_grpc(admin, ask, api):
    proxy = admin()
    channel = grpc.insecure_channel(f"unix:{proxy.socket}")
    with pytest.raises(grpc.RpcError) as error:
        channel.unary_unary("/vortex.admin.AdminService/Nothing")(b"")
    assert error.value.code() == grpc.StatusCode.UNIMPLEMENTED
    with pytest.raises(grpc.RpcError) as error:
        channel.unary_unary("/vortex.admin.AdminService/ReloadConfig")(b"\xff\xff")
    assert error.value.code() == grpc.StatusCode.INTERNAL
    with pytest.raises(grpc.RpcError) as error:
        ask(proxy).ListBans(api[0].ListBansRequest())
    assert error.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert "bans are off" in error.value.details()
    with pytest.raises(grpc.RpcError) as error:
        ask(proxy).UpdateWasmPlugin(
            api[0].UpdateWasmRequest(wasm_binary=b"x" * (65 << 20)), compression=grpc.Compression.NoCompression
        )
    assert error.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    with pytest.raises(grpc.RpcError) as error:
        ask(proxy).GetStats(api[0].GetStatsRequest(), compression=grpc.Compression.Gzip)
    assert error.value.code() == grpc.StatusCode.UNIMPLEMENTED
    channel.close()
    assert proxy.get("/").status == 200


def test_many_calls_at_once(admin, ask, api):
    proxy = admin(workers=2)
    stub, messages = ask(proxy), api[0]
    calls = [stub.GetStats.future(messages.GetStatsRequest()) for _ in range(40)]
    dumps = [stub.Dump.future(messages.DumpRequest()) for _ in range(4)]
    assert all(call.result().workers == 2 for call in calls)
    for dump in dumps:
        try:
            assert "worker 1:\n" in dump.result().text
        except grpc.RpcError as error:
            assert "too many dumps" in error.details()


def test_bans(admin, ask, api):
    proxy = admin(bans={"after": 5})
    stub, messages = ask(proxy), api[0]
    assert stub.AddBan(messages.AddBanRequest(address="192.0.2.7", duration_ms=60000)).success
    assert stub.AddBan(messages.AddBanRequest(address="2001:db8::1")).success
    done = stub.AddBan(messages.AddBanRequest(address="nobody"))
    assert not done.success and done.message
    bans = {ban.address: ban for ban in stub.ListBans(messages.ListBansRequest()).bans}
    assert set(bans) == {"192.0.2.7", "2001:db8::/64"}
    assert bans["192.0.2.7"].manual and 0 < bans["192.0.2.7"].remaining_ms <= 60000
    assert proxy.metric("vortex_bans_active") == 2
    assert stub.RemoveBan(messages.RemoveBanRequest(address="192.0.2.7")).success
    assert not stub.RemoveBan(messages.RemoveBanRequest(address="192.0.2.7")).success
    assert len(stub.ListBans(messages.ListBansRequest()).bans) == 1


def test_http1_is_told_what_this_is(admin):
    proxy = admin()
    with socket.socket(socket.AF_UNIX) as raw:
        raw.connect(str(proxy.socket))
        raw.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: raw.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 505 ")
    assert b"gRPC" in answer


# grpcurl


@pytest.mark.timeout(300)
def test_grpcurl(admin, grpcurl):
    proxy = admin()

    def call(method, message="{}"):
        done = subprocess.run(
            [str(grpcurl), "-plaintext", "-unix", "-authority", "localhost", "-import-path", str(ROOT / "api"),
             "-proto", "admin.proto", "-d", message, str(proxy.socket), f"vortex.admin.AdminService/{method}"],
            capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout, done.stderr

    code, out, err = call("GetStats")
    assert code == 0, err
    assert json.loads(out)["state"] == "ready"
    code, out, err = call("ReloadConfig")
    assert json.loads(out) == {"success": True, "message": "configuration reloaded: version 2"}, err
    code, out, err = call("ListBans")
    assert code != 0 and "bans are off" in err


# Commands


def test_commands(admin):
    proxy = admin(bans={"after": 5})
    assert operate(proxy, "reload") == "configuration reloaded: version 2\n"
    figures = dict(line.split(" ", 1) for line in operate(proxy, "stats").splitlines())
    assert (figures["state"], figures["config_version"], figures["pid"]) == ("ready", "2", str(proxy.pid))
    proxy.get("/")
    dump = operate(proxy, "stats", "--verbose")
    for part in ("snapshot: version 2, current", "route main:", "backend 127.0.0.1:", "worker 0:", "bans: on, 0 in effect"):
        assert part in dump
    assert operate(proxy, "bans", "add", "192.0.2.7", "--for", "90s") == "192.0.2.7 is banned\n"
    assert operate(proxy, "bans", "list").startswith("192.0.2.7 for ")
    assert operate(proxy, "bans", "remove", "192.0.2.7") == "192.0.2.7 is banned no more\n"
    assert operate(proxy, "bans", "list") == ""
    assert "is not banned" in operate(proxy, "bans", "remove", "192.0.2.7", code=1)
    # -c finds the socket by the configuration.
    done = command("stats", "-c", str(proxy.file), cwd="/")
    assert done.returncode == 0 and "state ready" in done.stdout


def test_commands_that_fail_say_why(admin, tmp_path):
    proxy = admin()
    bad = proxy.folder / "bad.yaml"
    bad.write_text("listeners: 5\n")
    assert operate(proxy, "reload", "bad.yaml", code=2).startswith(f"{bad}:1:12: ")
    assert "No such file" in operate(proxy, "reload", "missing.yaml", code=2)
    assert "bans are off" in operate(proxy, "bans", "list", code=1)
    assert "duration" in operate(proxy, "bans", "add", "192.0.2.7", "--for", "soon", code=2)
    assert "no `filters`" in operate(proxy, "plugin", "push", str(bad), code=2)
    nobody = command("stats", "--socket", str(tmp_path / "none.sock"), cwd=tmp_path)
    assert nobody.returncode == 1 and "no proxy listens there" in nobody.stderr
    off = tmp_path / "off.yaml"
    off.write_text(yaml.safe_dump({**proxy.config, "admin": False}))
    done = command("stats", "-c", str(off), cwd=tmp_path)
    assert done.returncode == 2 and "admin: { socket: PATH }" in done.stderr


def test_another_user_is_refused(admin):
    proxy = admin()
    for folder in [proxy.folder, *proxy.folder.parents]:
        if folder.stat().st_uid == 0 and folder != folder.parent:
            folder.chmod(folder.stat().st_mode | 0o011)
    copy = proxy.folder / "vortex-copy"
    shutil.copy(binary(), copy)
    copy.chmod(0o755)
    done = subprocess.run(
        [str(copy), "stats", "--socket", str(proxy.socket)],
        capture_output=True, text=True, timeout=30, check=False, user=65534, group=65534, extra_groups=[],
    )  # fmt: skip
    assert (done.returncode, "permission denied" in done.stderr) == (1, True), done.stderr


@pytest.mark.parametrize(
    "arguments",
    [["reload", "a", "b"], ["stats", "x"], ["stats", "--for", "5s"], ["plugin"], ["plugin", "pull", "x"], ["bans"],
     ["bans", "add"], ["bans", "list", "--socket"], ["stats", "--socket", "a", "-c", "b"], ["bans", "--what"]],
)  # fmt: skip
def test_wrong_usage(tmp_path, arguments):
    done = command(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert "usage:" in done.stderr


# Under load


class Load:
    """Clients that ask again and again; `failed` keeps what was no 200."""

    def __init__(self, proxy, clients=4):
        self.over, self.failed, self.count = threading.Event(), [], 0
        self.threads = [threading.Thread(target=self.run, args=(proxy,)) for _ in range(clients)]

    def run(self, proxy):
        while not self.over.is_set():
            try:
                answer = proxy.get("/")
                if answer.status != 200:
                    self.failed.append(answer.status)
            except (OSError, AssertionError, EOFError) as error:
                self.failed.append(repr(error))
            self.count += 1

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join()


def test_reload_under_load(admin, ask, api):
    proxy = admin(workers=2)
    stub = ask(proxy)
    with Load(proxy) as load:
        for _ in range(30):
            assert stub.ReloadConfig(api[0].ReloadConfigRequest()).success
        wait_until(lambda: load.count > 50, 20, "some requests")
    assert not load.failed
    wait_until(lambda: operate(proxy, "stats", "--verbose").count("snapshot: ") == 1, 10, "one snapshot left")


# Plugins


def mark(value):
    """The text of a plugin that leaves its mark on requests."""
    plugin = Plugin()
    return plugin.on("request_headers", plugin.add(REQUEST, "x-mark", value), CONTINUE).wat()


@pytest.fixture
def filtered(admin, tmp_path):
    """Starts a proxy whose filters, called as the arguments, mark requests with the values; the backend says which mark it
    saw."""

    def start(workers=1, **values):
        def tell(seen):
            marks = [value for name, value in seen.headers if name.lower() == "x-mark"]
            return response(",".join(marks).encode())

        filters = [{"name": name, "wasm": build(tmp_path, name, mark(value))} for name, value in values.items()]
        return admin(serve(tell), filters=filters, workers=workers)

    return start


def test_plugin_push(filtered, tmp_path):
    proxy = filtered(one="old")
    new = build(tmp_path, "new", mark("new"))
    assert operate(proxy, "plugin", "push", new) == "filter one replaced: version 2\n"
    wait_until(lambda: proxy.get("/").body == b"new", 10, "the new plugin")
    assert "filter one: pushed, in place of " in operate(proxy, "stats", "--verbose")
    # A reload reads the files again.
    operate(proxy, "reload")
    wait_until(lambda: proxy.get("/").body == b"old", 10, "the plugin of the file")


def test_the_dump_tells_of_filters(filtered, tmp_path):
    proxy = filtered(workers=2, one="1", two="2")
    assert proxy.get("/").body == b"1,2"
    text = operate(proxy, "stats", "--verbose")
    assert re.search(r"^wasm: room for \d+ instances", text, re.M)
    for name in ("one", "two"):
        line = re.search(rf"^  filter {name}: Proxy-WASM 0\.2\.\d, .*$", text, re.M)[0]
        assert "for 2 workers, of which 0 wait for a new instance" in line
        assert "; held 1 times, 1 calls, 0 traps, isolated on 0 workers" in line
        alive = re.findall(rf"^  instance \d+ of filter {name}: (\d+) bytes of memory, 0 streams", text, re.M)
        assert len(alive) == 2 and all(int(n) % 65536 == 0 for n in alive)
    simple = build(tmp_path, "simple", '(module (func (export "execute") (result i32) unreachable))')
    operate(proxy, "plugin", "push", simple, "--name", "two")
    assert proxy.get("/").status == 500
    line = re.search(r"^  filter two: execute, .*$", operate(proxy, "stats", "--verbose"), re.M)[0]
    assert ", a sandbox for each request, " in line and ", 1 calls, 1 traps, " in line
    assert "of which 0 run and 0 that are over share their store with the next" in line
    slim = build(tmp_path, "slim", '(module (func (export "execute") (result i32) i32.const 200))')
    operate(proxy, "plugin", "push", slim, "--name", "two")
    assert [proxy.get("/").status for _ in range(3)] == [200] * 3
    line = re.search(r"^  filter two: execute, .*$", operate(proxy, "stats", "--verbose"), re.M)[0]
    assert int(re.search(r"of which 0 run and (\d) that are over", line)[1]) in range(1, 4)


def test_the_dump_tells_of_plugins_without_an_instance(filtered, tmp_path):
    """One that traps at each request, again and again, so that it waits longer and longer for the next instance."""
    proxy = filtered(workers=1, one="1")
    dies = build(tmp_path, "dies", """(module (memory (export "memory") 1) (func (export "proxy_abi_version_0_2_1"))
        (func (export "malloc") (param i32) (result i32) i32.const 1024)
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) unreachable))""")
    operate(proxy, "plugin", "push", dies, "--name", "one")
    pattern = r"^  no instance of filter one: it has failed ([3-9]) times in a row, and (waits for (\d+) ms|the next is)"

    def waits():
        assert proxy.get("/").status == 500
        return re.search(pattern, operate(proxy, "stats", "--verbose"), re.M)

    found = wait_until(waits, 30, "a plugin that waits for its next instance")
    assert not found[3] or int(found[3]) == 100 << (int(found[1]) - 1)


def test_the_dump_tells_of_no_streams_that_there_are_not(filtered, tmp_path):
    """An instance that dies in its tick has none, though it is cleared away only when the next one is asked for."""
    proxy = filtered(workers=1, one="1")
    dies = build(tmp_path, "ticks", """(module
        (import "env" "proxy_set_tick_period_milliseconds" (func $tick (param i32) (result i32)))
        (memory (export "memory") 1) (func (export "proxy_abi_version_0_2_1"))
        (func (export "malloc") (param i32) (result i32) i32.const 1024)
        (func (export "proxy_on_configure") (param i32 i32) (result i32) (drop (call $tick (i32.const 1))) i32.const 1)
        (func (export "proxy_on_tick") (param i32) unreachable))""")
    operate(proxy, "plugin", "push", dies, "--name", "one")

    def waits():
        text = operate(proxy, "stats", "--verbose")
        return text if re.search(r"no instance of filter one: .*, and waits for \d{4}", text) else None

    assert "dead instances" not in wait_until(waits, 30, "a plugin that waits for its next instance")


def test_plugin_push_among_several(filtered, tmp_path):
    proxy = filtered(one="1", two="2")
    new = build(tmp_path, "new", mark("new"))
    assert "name the one that is meant" in operate(proxy, "plugin", "push", new, code=2)
    assert "no filter `three`" in operate(proxy, "plugin", "push", new, "--name", "three", code=2)
    operate(proxy, "plugin", "push", new, "--name", "two")
    wait_until(lambda: proxy.get("/").body == b"1,new", 10, "the new plugin")
    operate(proxy, "plugin", "push", new, "--name", "one")
    wait_until(lambda: proxy.get("/").body == b"new,new", 10, "both")


def test_a_bad_plugin_is_refused(filtered, ask, api, tmp_path):
    proxy = filtered(one="old")
    stub = ask(proxy)
    for bad in (b"", b"no module at all", b"\0asm\1\0\0\0"):
        done = stub.UpdateWasmPlugin(api[0].UpdateWasmRequest(wasm_binary=bad))
        assert not done.success and done.message
    unknown = build(tmp_path, "unknown", '(module (import "env" "no_such_call" (func)) (func (export "proxy_abi_version_0_2_1")))')
    assert "no_such_call" in operate(proxy, "plugin", "push", unknown, code=2)
    assert proxy.get("/").body == b"old"
    assert "config_version 1" in operate(proxy, "stats")


def test_plugin_push_under_load(filtered, ask, api, tmp_path):
    proxy = filtered(workers=2, one="a")
    modules = [(tmp_path / f"{value}.wasm", build(tmp_path, value, mark(value))) for value in ("b", "c")]
    binaries = [path.read_bytes() for path, _ in modules]
    stub = ask(proxy)
    with Load(proxy) as load:
        for turn in range(30):
            done = stub.UpdateWasmPlugin(api[0].UpdateWasmRequest(wasm_binary=binaries[turn % 2], name="one"))
            assert done.success, done.message
        wait_until(lambda: load.count > 50, 20, "some requests")
    assert not load.failed
    assert proxy.get("/").body == b"c"
    wait_until(lambda: operate(proxy, "stats", "--verbose").count("snapshot: ") == 1, 10, "one snapshot left")
