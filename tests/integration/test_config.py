# SPDX-License-Identifier: Apache-2.0
"""The command line, `vortex check` with its messages, and reloads by SIGHUP."""

import json
import re
import signal
import socket
import subprocess
import threading

import pytest
import yaml

from harness.backend import echo, serve
from harness.client import request
from harness.ports import take
from harness.proxy import SANITIZER, binary, check, command, memory_slack, targets
from harness.wait import wait_until

GOOD = """listeners:
  - address: 127.0.0.1:18080
routes:
  - name: main
    match: { path_prefix: / }
    backends:
      - { id: 1, address: 127.0.0.1:9001 }
"""

# Each is GOOD with something wrong on the line that ends in `#!` (the whole file where there is none).
WRONG = {
    "unknown_key_at_the_top": GOOD + "colour: blue #!\n",
    "unknown_key_in_a_listener": GOOD.replace("18080\n", "18080\n    adress: 1.2.3.4:5 #!\n"),
    "unknown_key_in_a_route": GOOD.replace("name: main\n", "name: main\n    backend: x #!\n"),
    "unknown_key_in_a_backend": GOOD.replace("id: 1,", "id: 1, wieght: 2,").replace("9001 }", "9001 } #!"),
    "unknown_key_in_timeouts": GOOD + "timeouts:\n  header: 5s\n  headers: 5s #!\n",
    "unknown_key_in_match": GOOD.replace("{ path_prefix: / }", "{ path_prefix: /, hots: x } #!"),
    "text_for_a_number": GOOD + "workers: many #!\n",
    "negative_number": GOOD + "workers: -1 #!\n",
    "mapping_for_a_list": "listeners: { address: 127.0.0.1:18080 } #!\n" + GOOD[GOOD.index("routes") :],
    "list_for_a_mapping": GOOD + "timeouts: [5s] #!\n",
    "text_for_a_mapping": GOOD + "limits: none of them #!\n",
    "text_for_a_flag": GOOD.replace("18080\n", "18080\n    proxy_protocol: perhaps #!\n"),
    "list_for_a_text": GOOD.replace("name: main", "name: [main] #!"),
    "duration_without_unit": GOOD + "timeouts:\n  header: 5 #!\n",
    "duration_with_bad_unit": GOOD + "timeouts:\n  header: 5 parsecs #!\n",
    "negative_duration": GOOD + "timeouts:\n  header: -5s #!\n",
    "bad_size": GOOD + "limits:\n  header_bytes: 64 elephants #!\n",
    "negative_size": GOOD + "limits:\n  header_bytes: -64KiB #!\n",
    "size_beyond_64_bits": GOOD + "limits:\n  body_bytes: 99999999999999999999GiB #!\n",
    "bad_percentage": GOOD.replace("name: main\n", "name: main\n    retries: { budget: 120% } #!\n"),
    "bad_balance": GOOD.replace("name: main\n", "name: main\n    balance: fastest #!\n"),
    "bad_protocol": GOOD.replace("name: main\n", "name: main\n    protocol: gopher #!\n"),
    "bad_decay": GOOD.replace("name: main\n", "name: main\n    ewma_decay: 1.5 #!\n"),
    "bad_redirect_code": GOOD.replace(
        "name: main\n", "name: main\n    redirect: { to: 'https://x.test/', code: 200 } #!\n"
    ),
    "address_without_port": GOOD.replace("127.0.0.1:18080", "127.0.0.1 #!"),
    "port_out_of_range": GOOD.replace("127.0.0.1:18080", "127.0.0.1:70000 #!"),
    "bad_backend_address": GOOD.replace("127.0.0.1:9001 }", "'127.0.0.1:' } #!"),
    "zero_weight": GOOD.replace("9001 }", "9001, weight: 0 } #!"),
    "bad_network": GOOD + "trusted_proxies:\n  - 10.0.0.0/8\n  - 10.0.0.0/40 #!\n",
    "ban_shorter_than_a_first_one": GOOD + "bans:\n  duration: 1m\n  max_duration: 30s #!\n",
    "bad_interface": GOOD + "bans:\n  interface: not an interface #!\n",
    "xdp_without_interface": GOOD + "bans:\n  xdp: { malformed: true } #!\n",
    "bad_host_pattern": GOOD.replace("{ path_prefix: / }", "{ host: 'a.*.test', path_prefix: / } #!"),
    "path_without_slash": GOOD.replace("path_prefix: /", "path_prefix: api").replace("api }", "api } #!"),
    "duplicate_key": GOOD + "workers: 1\nworkers: 2 #!\n",
    "duplicate_listeners": GOOD.replace("18080\n", "18080\n  - address: 127.0.0.1:18080 #!\n"),
    "duplicate_route_names": GOOD
    + "  - name: main #!\n    match: { path_prefix: /b }\n    backends: [ { id: 1, address: 127.0.0.1:9001 } ]\n",
    "duplicate_backend_ids": GOOD + "      - { id: 1, address: 127.0.0.1:9002 } #!\n",
    "missing_certificate_file": GOOD.replace(
        "18080\n", "18080\n    tls:\n      cert: nowhere.pem #!\n      key: nowhere.pem\n"
    ),
    "missing_filter_file": GOOD + "filters:\n  - name: auth\n    wasm: nowhere.wasm #!\n",
    "filter_without_name": GOOD + "filters:\n  - wasm: vortex.yaml #!\n",
    "filter_named_twice": GOOD
    + "filters:\n  - { name: a, wasm: vortex.yaml }\n  - { name: a, wasm: vortex.yaml } #!\n",
    "filter_that_is_no_module": GOOD + "filters:\n  - name: a\n    wasm: vortex.yaml #!\n",
    "unknown_filter_in_a_route": GOOD.replace("name: main\n", "name: main\n    filters: [auth] #!\n"),
    "missing_ca_file": GOOD.replace("name: main\n", "name: main\n    tls: { ca: nowhere.pem } #!\n"),
    "certificate_without_key": GOOD.replace("18080\n", "18080\n    tls: { cert: vortex.yaml } #!\n"),
    "limit_without_requests": GOOD + "rate_limit: { per: 1s } #!\n",
    "limit_by_nonsense": GOOD + "rate_limit: { requests: 1, key: ip } #!\n",
    "limit_of_a_route_without_requests": GOOD.replace(
        "name: main\n", "name: main\n    rate_limit: { burst: 5 } #!\n"
    ),
    "yaml_not_closed": GOOD + "timeouts: { header: 5s\n",
    "yaml_tab": GOOD + "timeouts:\n\theader: 5s #!\n",
    "no_listeners": GOOD[GOOD.index("routes") :],
    "empty_listeners": "listeners: [] #!\n" + GOOD[GOOD.index("routes") :],
    "no_routes": GOOD[: GOOD.index("routes")],
    "empty_routes": GOOD[: GOOD.index("routes")] + "routes: [] #!\n",
    "route_without_backends": GOOD[: GOOD.index("    backends")],
    "empty_file": "",
    "not_a_mapping": "- just\n- a list\n",
    "binary": "\x00\x01\x02",
    "invalid_utf8_text": GOOD.replace("main", "m\udcff\udcfen"),
}

# Keys of features that issue 3 does not build. The message says so in a sentence; nothing is silently ignored.
UNBUILT = {
    "http3": GOOD.replace("18080\n", "18080\n    http3: true #!\n"),
    "tracing": GOOD + "tracing: { endpoint: 'http://127.0.0.1:4318' } #!\n",
    "kubernetes": GOOD + "kubernetes: { watch: true } #!\n",
}


def marked_line(text):
    return next((number for number, line in enumerate(text.splitlines(), 1) if line.endswith("#!")), None)


def check_bytes(folder, text):
    """check() for text that need not be valid UTF-8."""
    path = folder / "vortex.yaml"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    done = command("check", "-c", str(path), cwd=folder)
    output = done.stdout + done.stderr
    places = re.findall(rf"{re.escape(str(path))}:(\d+):(\d+): (.+)", output)
    return done.returncode, [(int(line), int(column), what) for line, column, what in places], output


# vortex check


def test_good_file_passes(tmp_path):
    code, places, output = check(tmp_path, GOOD)
    assert (code, places) == (0, []), output


@pytest.mark.parametrize("name", WRONG)
def test_wrong_file_is_refused_with_its_place(tmp_path, name):
    text = WRONG[name]
    code, places, output = check_bytes(tmp_path, text)
    assert code == 2, output
    assert places, f"no FILE:LINE:COL: in {output!r}"
    line, column, what = places[0]
    assert column >= 1 and len(what) > 10
    if marked_line(text):
        assert line == marked_line(text), output
    else:
        assert 1 <= line <= len(text.splitlines()) + 1


@pytest.mark.parametrize("name", UNBUILT)
def test_feature_that_is_not_built_yet_is_refused_with_a_plain_sentence(tmp_path, name):
    text = UNBUILT[name]
    code, places, output = check_bytes(tmp_path, text)
    assert code == 2, output
    assert places and places[0][0] == marked_line(text), output
    assert re.search(r"\bnot\b", places[0][2]), output
    assert "unknown" not in places[0][2].lower(), "it is known, but not built"


def test_unknown_key_message_names_the_key(tmp_path):
    _, places, output = check_bytes(tmp_path, GOOD + "timeuots: { header: 5s }\n")
    assert "timeuots" in places[0][2], output


def test_column_points_at_the_fault(tmp_path):
    text = GOOD + "limits: { headers: 100, hedaers: 5 }\n"
    _, places, output = check_bytes(tmp_path, text)
    line = text.splitlines()[7]
    assert places[0][:2] == (8, line.index("hedaers") + 1), output


def test_file_is_named_as_it_was_given(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "my.yaml").write_text(GOOD + "colour: blue\n")
    done = command("check", "-c", "sub/my.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert re.search(r"(^|\s)sub/my\.yaml:8:\d+: ", done.stdout + done.stderr, re.M)


def test_missing_file_is_exit_2(tmp_path):
    for arguments in (
        ("check", "-c", "nowhere.yaml"),
        ("run", "-c", "nowhere.yaml"),
        ("-c", "nowhere.yaml"),
        (),
    ):
        done = command(*arguments, cwd=tmp_path)
        assert done.returncode == 2, arguments
        assert ("nowhere.yaml" if arguments else "vortex.yaml") in done.stdout + done.stderr


def test_vortex_yaml_is_the_default_file(tmp_path):
    (tmp_path / "vortex.yaml").write_text(GOOD)
    assert command("check", cwd=tmp_path).returncode == 0


def test_relative_paths_start_at_the_files_folder(tmp_path, ca):
    folder, elsewhere = tmp_path / "conf", tmp_path / "elsewhere"
    (folder / "certs").mkdir(parents=True)
    elsewhere.mkdir()
    pair = ca.issue("localhost")
    (folder / "certs" / "cert.pem").write_bytes(pair.cert.read_bytes())
    (folder / "certs" / "key.pem").write_bytes(pair.key.read_bytes())
    (folder / "my.yaml").write_text(
        GOOD.replace("18080\n", "18080\n    tls: { cert: certs/cert.pem, key: certs/key.pem }\n")
    )
    done = command("check", "-c", str(folder / "my.yaml"), cwd=elsewhere)
    assert done.returncode == 0, done.stderr
    done = command("check", "-c", "../conf/my.yaml", cwd=elsewhere)
    assert done.returncode == 0, done.stderr


def test_every_key_of_the_manual_that_is_built_is_accepted(tmp_path, ca):
    """INTERFACE.md's example without what later issues bring."""
    pair = ca.issue("localhost")
    config = {
        "workers": "auto",
        "listeners": [
            {"address": "127.0.0.1:18443", "tls": pair.config()},
            {"address": "[::1]:18443", "tls": {"certificates": [pair.config()], "client_ca": str(ca.path)}},
            {"address": "127.0.0.1:18080", "proxy_protocol": False},
            {"address": "unix:vortex.sock"},
        ],
        "routes": [
            {
                "name": "main-routing-topology",
                "match": {"host": "*", "path_prefix": "/", "method": "GET", "headers": {"x-a": "b"}},
                "backends": [
                    {
                        "id": 1,
                        "address": "127.0.0.1:9001",
                        "ai_models": ["gpt-4"],
                        "weight": 1,
                        "max_connections": 0,
                    },
                    {"id": 2, "address": "backend.test:80"},
                    {"id": 3, "address": "[::1]:80"},
                    {"id": 4, "address": "unix:b.sock"},
                ],
                "protocol": "http1",
                "tls": {"ca": str(ca.path), "server_name": "api.internal", **pair.config()},
                "balance": "peak_ewma",
                "ewma_decay": 0.5,
                "rewrite": {"path_prefix": "/v2", "host": ""},
                "timeouts": {"connect": "1s", "response": "30s", "idle": "1m"},
                "pool": {"idle": "60s", "max_idle": 64},
                "retries": {"attempts": 2, "budget": "20%"},
                "circuit_breaker": {
                    "failures": 5,
                    "failure_rate": "50%",
                    "open_for": "10s",
                    "half_open_requests": 3,
                },
                "health_check": {"path": "/healthz", "interval": "5s", "healthy": 2, "unhealthy": 3},
            },
            {"name": "moved", "match": {"path": "/old"}, "redirect": {"to": "https://x.test/", "code": 308}},
            {"name": "httpbin", "backends": [{"id": 1, "address": "127.0.0.1:9100"}]},
        ],
        "trusted_proxies": ["10.0.0.0/8", "::1/128"],
        "metrics": {"address": "127.0.0.1:19091"},
        "access_log": {"path": "stdout", "format": "json"},
        "shutdown": {"drain": "30s"},
        "timeouts": {"header": "10s", "idle": "75s", "body": "60s", "write": "60s", "handshake": "10s"},
        "limits": {
            "header_bytes": "64KiB",
            "headers": 128,
            "body_bytes": 0,
            "buffered_body": "1MiB",
            "connections": 0,
            "concurrent_streams": 128,
            "glitches": 1000,
        },
    }
    code, _, output = check(tmp_path, config)
    assert code == 0, output


def test_json_is_yaml_too(tmp_path):
    code, _, output = check(tmp_path, json.dumps(yaml.safe_load(GOOD)))
    assert code == 0, output


# The command line


def test_version(tmp_path):
    done = command("--version", cwd=tmp_path)
    assert done.returncode == 0
    assert re.search(r"\b\d+\.\d+\.\d+", done.stdout)


@pytest.mark.parametrize(
    "arguments",
    [
        ("fly",),
        ("--fly",),
        ("check", "--fly"),
        ("run", "-c"),
        ("echo", "--port", "x"),
        ("check", "-c", "a.yaml", "b.yaml"),
    ],
    ids=" ".join,
)
def test_wrong_usage_is_exit_2_with_a_word_on_stderr(tmp_path, arguments):
    done = command(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.strip()


def test_a_file_without_its_option_is_told_of_it(tmp_path):
    assert "-c a.yaml" in command("check", "a.yaml", cwd=tmp_path).stderr


@pytest.mark.parametrize(
    "arguments",
    [("--help",), ("-h",), ("help",), ("check", "--help"), ("echo", "-h"), ("bans", "add", "--help")],
    ids=" ".join,
)
def test_help_is_exit_0(tmp_path, arguments):
    done = command(*arguments, cwd=tmp_path)
    assert done.returncode == 0
    for word in ("run", "check", "echo"):
        assert word in done.stdout


def test_bare_vortex_runs_vortex_yaml(vortex, backend):
    config = vortex.config(backend())
    proxy = vortex.start(config, arguments=[])
    assert proxy.get().status == 200


def run_to_the_end(folder, config):
    folder.mkdir()
    path = folder / "vortex.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    done = subprocess.run(
        [binary(), "run", "-c", str(path)],
        cwd=folder,
        timeout=30,
        capture_output=True,
        text=True,
        check=False,
    )
    assert not SANITIZER.search(done.stderr), done.stderr
    places = [
        int(line) for line in re.findall(rf"{re.escape(str(path))}:(\d+):\d+: ", done.stdout + done.stderr)
    ]
    return done.returncode, places, path.read_text().splitlines(), done.stdout + done.stderr


def test_second_vortex_on_the_same_address_is_an_error_with_its_place(vortex, backend, tmp_path):
    """Although both use SO_REUSEPORT, which would let them share it. The first goes on."""
    target = backend()
    first = vortex(target)
    config = vortex.config(
        target, listeners=[{"address": f"127.0.0.1:{take()}"}, {"address": f"127.0.0.1:{first.port}"}]
    )
    code, places, lines, output = run_to_the_end(tmp_path / "second", config)
    assert code in (1, 2), output
    assert places and f":{first.port}" in lines[places[0] - 1], output
    for _ in range(10):
        assert first.get().status == 200


def test_second_vortex_on_the_same_metrics_address_is_an_error_with_its_place(vortex, backend, tmp_path):
    target = backend()
    first = vortex(target)
    config = vortex.config(target, metrics={"address": f"127.0.0.1:{first.metrics_port}"})
    code, places, lines, output = run_to_the_end(tmp_path / "second", config)
    assert code in (1, 2), output
    assert places and f":{first.metrics_port}" in lines[places[0] - 1], output


def test_address_held_by_another_program_is_an_error_with_its_place(vortex, backend, tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        config = vortex.config(backend(), listeners=[{"address": f"127.0.0.1:{port}"}])
        code, places, lines, output = run_to_the_end(tmp_path / "second", config)
    assert code in (1, 2), output
    assert places and f":{port}" in lines[places[0] - 1], output


# Reload


def test_reload_applies_new_routes(vortex, backend):
    one, two = backend(name="one"), backend(name="two")
    config = vortex.config(one)
    proxy = vortex.start(config)
    with proxy.client() as client:
        assert client.request("GET", "/").get("x-backend") == "one"
        proxy.reload(
            {
                **config,
                "routes": [{"name": "new", "match": {"path_prefix": "/new"}, "backends": targets(two)}],
            }
        )
        wait_until(
            lambda: client.request("GET", "/new/x").get("x-backend") == "two",
            what="the new route on an old connection",
        )
        assert client.request("GET", "/").status == 404


def test_running_request_keeps_the_configuration_it_began_with(vortex, backend):
    release = threading.Event()
    old = backend(serve(lambda r: (release.wait(30), echo(r, "old"))[1]))
    new = backend(name="new")
    config = vortex.config(old)
    proxy = vortex.start(config)
    with proxy.client() as client:
        client.send(request("GET", "/"))
        old.wait_requests()
        proxy.reload({**config, "routes": [{**config["routes"][0], "backends": targets(new)}]})
        wait_until(lambda: proxy.get().get("x-backend") == "new")
        release.set()
        assert client.read().get("x-backend") == "old"
        assert client.request("GET", "/").get("x-backend") == "new"


@pytest.mark.parametrize(
    "bad", ["unknown_key_at_the_top", "yaml_not_closed", "missing_certificate_file", "empty_file"]
)
def test_invalid_reload_keeps_the_old_configuration_and_logs_the_place(vortex, backend, bad):
    config = vortex.config(backend())
    proxy = vortex.start(config)
    proxy.reload(WRONG[bad], good=False)
    assert proxy.get().status == 200
    assert re.search(rf"{re.escape(str(proxy.file))}:\d+:\d+: ", proxy.err.read_text())
    proxy.reload(config)
    assert proxy.get().status == 200


def test_reload_with_the_file_gone_keeps_the_old_configuration(vortex, backend):
    config = vortex.config(backend())
    proxy = vortex.start(config)
    before = proxy.reloads(good=False)
    proxy.file.unlink()
    proxy.signal(signal.SIGHUP)
    wait_until(lambda: proxy.reloads(good=False) > before)
    assert proxy.get().status == 200


def test_reload_adds_and_removes_listeners(vortex, backend):
    config = vortex.config(backend())
    proxy = vortex.start(config)
    old, new = proxy.port, take()
    kept = proxy.client()
    assert kept.request("GET", "/").status == 200
    proxy.reload({**config, "listeners": [{"address": f"127.0.0.1:{old}"}, {"address": f"127.0.0.1:{new}"}]})
    assert proxy.get(port=new).status == 200
    assert proxy.get(port=old).status == 200
    proxy.reload({**config, "listeners": [{"address": f"127.0.0.1:{new}"}]})

    def closed():
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", old)) != 0

    wait_until(closed, what="the end of the removed listener")
    assert proxy.get(port=new).status == 200


def test_reload_with_a_listener_that_cannot_be_opened_keeps_everything(vortex, backend):
    config = vortex.config(backend())
    proxy = vortex.start(config)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        proxy.reload(
            {**config, "listeners": [*config["listeners"], {"address": f"127.0.0.1:{taken}"}]}, good=False
        )
        assert proxy.get().status == 200


def test_reload_changes_limits_and_timeouts(vortex, backend):
    config = vortex.config(backend())
    proxy = vortex.start(config)
    assert proxy.request("POST", "/", body=b"x" * 5000).status == 200
    proxy.reload({**config, "limits": {"body_bytes": "1KiB"}})
    wait_until(lambda: proxy.request("POST", "/", body=b"x" * 5000).status == 413)


def test_no_request_is_lost_across_twenty_reloads_under_load(vortex, backend):
    """Keep-alive connections, new connections and uploads go on while routes, backends and listeners change."""
    one, two = backend(name="one"), backend(name="two")
    config = vortex.config(one, workers=2)
    proxy = vortex.start(config)
    failures, done = [], threading.Event()
    counts = [0]

    def guard(work):
        def run():
            try:
                while not done.is_set():
                    work()
                    counts[0] += 1
            except Exception as error:
                failures.append(error)

        return threading.Thread(target=run)

    def fresh():
        assert proxy.get().status == 200

    def kept(client):
        assert client.request("POST", "/", body=b"k" * 3000).status == 200

    threads = [guard(fresh), guard(fresh)] + [
        guard(lambda client=proxy.client(): kept(client)) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for turn in range(20):
        extra = [
            {"name": f"extra{n}", "match": {"path": f"/extra/{n}"}, "backends": targets(one)}
            for n in range(turn)
        ]
        main = {**config["routes"][0], "backends": targets(*([one, two], [two], [one])[turn % 3])}
        listeners = config["listeners"] + ([{"address": f"127.0.0.1:{take()}"}] if turn % 2 else [])
        proxy.reload({**config, "routes": [main, *extra], "listeners": listeners})
    done.set()
    for thread in threads:
        thread.join()
    assert not failures, failures
    assert counts[0] > 100
    assert one.requests and two.requests


def test_memory_does_not_grow_with_reloads(vortex, backend):
    """Old snapshots go when nobody uses them."""
    target = backend()
    config = vortex.config(target)
    config["routes"] += [
        {"name": f"r{n}", "match": {"path_prefix": f"/r{n}"}, "backends": targets(target)} for n in range(100)
    ]
    proxy = vortex.start(config)
    for _ in range(6):
        proxy.reload(config)
    before = proxy.rss_bytes()
    for _ in range(20):
        proxy.reload(config)
    assert proxy.rss_bytes() - before < (8 << 20) * memory_slack()
