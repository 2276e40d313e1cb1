# SPDX-License-Identifier: Apache-2.0
"""Bans, seen from clients on the other end of a veth pair: 429s, then nothing, then service again; by the kernel and
without it; over reloads and restarts. And what else the XDP program drops, counted against what was sent."""

import contextlib

import pytest

from harness import ports
from harness.http2 import raw_frame
from harness.netns import Network, bpffs, get
from harness.proxy import command
from harness.wait import wait_until

LIMIT = {"requests": 1, "per": "1h", "burst": 3, "key": "client_ip"}
ADMIN = {"socket": "admin.sock"}
GOOD, BAD, BAD6 = "198.18.0.10", "198.18.0.66", "fd18:b::66"
# How long silence is listened to. A test that hears something sooner fails; one that hears nothing asks the counters.
SILENCE = 0.5


@pytest.fixture
def network():
    made = Network()
    yield made
    made.close()


@pytest.fixture
def pins(tmp_path):
    with bpffs(tmp_path / "bpffs") as folder:
        yield folder


def bans(**more):
    """Bans that last until somebody ends them, but for tests that say otherwise."""
    return {"after": 3, "within": "1h", "duration": "1h", "sweep_interval": "50ms", **more}


@pytest.fixture
def proxy(network, backend, vortex):
    """Starts a proxy on all addresses of the network: proxy(bans=..., ...)."""

    def start(options=None, **settings):
        listeners = [{"address": f"0.0.0.0:{ports.take()}"}]
        listeners.append({"address": f"[::]:{listeners[0]['address'].rsplit(':', 1)[1]}"})
        prefix = settings.pop("prefix", ())
        config = vortex.config(
            backend(), listeners=listeners, route={"rate_limit": LIMIT}, bans=options, **settings
        )
        return vortex.start(config, prefix=prefix)

    return start


def use_up(client, port):
    """What the limit lets through, then refusals until the ban."""
    for _ in range(3):
        assert client.get(port) == 200
    for _ in range(3):
        assert client.get(port) == 429


def banned(proxy, count):
    proxy.wait_metric("vortex_bans_active", count)


def cut_short(proxy, address):
    """Ends the ban in a moment, when the test has seen what it does: by its time, as the sweep finds it."""
    assert command("bans", "add", address, "--for", "100ms", cwd=proxy.folder).returncode == 0
    banned(proxy, 0)


def dropped(proxy, reason):
    return proxy.metric("vortex_xdp_dropped_packets_total", reason=reason)


@pytest.mark.parametrize("address", [BAD, BAD6])
def test_without_the_kernel_banned_clients_are_cut_at_accept(network, proxy, address):
    one = proxy(bans(), admin=ADMIN)
    good, bad = network.add(GOOD), network.add(address)
    held = bad.connect(one.port, 15)
    use_up(bad, one.port)
    banned(one, 1)
    assert bad.get(one.port) is None
    assert get(held) is None, "a connection from before the ban is cut, too"
    assert one.metric("vortex_banned_connections_total") >= 1
    assert one.metric("vortex_errors_total", reason="banned") == 1
    assert good.get(one.port) == 200
    cut_short(one, address)
    assert bad.get(one.port) == 429, "served again, and still beyond its limit"
    assert "banned" in one.output() and "unbanned" in one.output()


def storm(streams):
    """Streams of HTTP/2, each reset in the same breath."""
    head, cancel = b"\x82\x86\x84\x01\x01a", (8).to_bytes(4, "big")
    pairs = (raw_frame(1, 5, 2 * n + 1, head) + raw_frame(3, 0, 2 * n + 1, cancel) for n in range(streams))
    return b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + raw_frame(4, 0, 0) + b"".join(pairs)


def test_who_has_to_be_calmed_again_and_again_is_banned(network, proxy):
    one = proxy(bans(), limits={"glitches": 100})
    good, bad = network.add(GOOD), network.add(BAD)
    for count in range(3):
        assert one.metric("vortex_bans_active") == 0
        with contextlib.closing(bad.connect(one.port, 15)) as attacker, contextlib.suppress(ConnectionError):
            attacker.sock.sendall(storm(200))
            while attacker.sock.recv(65536):
                pass
        one.wait_metric("vortex_http2_calmed_total", count + 1)
    banned(one, 1)
    assert bad.get(one.port) is None
    assert good.get(one.port) == 200


@pytest.mark.parametrize("mode", ["native", "generic"])
@pytest.mark.parametrize("address", [BAD, BAD6])
def test_kernel_drops_banned_clients_until_the_sweep(network, proxy, mode, address):
    one = proxy(bans(interface=network.interface, xdp={"mode": mode, "pin": "off"}), admin=ADMIN)
    good, bad = network.add(GOOD), network.add(address)
    assert one.metric("vortex_xdp_attached", mode=mode) == 1
    use_up(bad, one.port)
    banned(one, 1)
    before = dropped(one, "banned")
    assert bad.get(one.port, timeout=SILENCE) is None
    assert dropped(one, "banned") > before, "its SYN came as far as the kernel"
    assert good.get(one.port) == 200
    cut_short(one, address)
    assert wait_until(lambda: bad.get(one.port), 15, "service again") == 429
    assert one.metric("vortex_banned_connections_total") == 0, "none of its connections came as far as accept"


def test_kernel_counts_what_was_sent(network, proxy):
    xdp = {"pin": "off", "drop": ["198.18.0.128/25"], "udp_rate": 1000000}
    one = proxy(bans(interface=network.interface, xdp=xdp), admin=ADMIN)
    bad, listed = network.add(BAD), network.add("198.18.0.200")
    # Not by requests: what TCP repeats after them would be counted too.
    assert command("bans", "add", BAD, cwd=one.folder).returncode == 0
    banned(one, 1)
    bad.send_udp(9, 500)
    listed.send_udp(9, 300)
    wait_until(lambda: dropped(one, "banned") >= 500 and dropped(one, "prefix") >= 300, 15, "the drops")
    assert (dropped(one, "banned"), dropped(one, "prefix")) == (500, 300)
    passed = one.metric("vortex_xdp_passed_packets_total")
    network.add(GOOD).send_udp(9, 100)
    wait_until(lambda: one.metric("vortex_xdp_passed_packets_total") >= passed + 100, 15, "what passed")


def test_rates_and_ports_are_dropped_and_good_clients_are_not(network, proxy):
    one = proxy(
        bans(
            interface=network.interface,
            never=[GOOD],
            xdp={"pin": "off", "udp_rate": 10, "connection_rate": 1, "malformed": True, "fragments": True},
        )
    )
    bad, good = network.add(BAD), network.add(GOOD)
    bad.send_udp(9, 1000)
    good.send_udp(9, 1000)
    wait_until(lambda: dropped(one, "udp_rate") > 0, 15, "drops by udp_rate")

    def one_more():
        bad.get(one.port, timeout=0.05)
        return dropped(one, "connection_rate") > 0

    wait_until(one_more, 15, "drops by connection_rate")
    assert [good.get(one.port) for _ in range(20)].count(None) == 0, "spared by `never`"
    assert dropped(one, "malformed") == 0 and dropped(one, "fragment") == 0, "all of it was well-formed"


def test_never_and_trusted_proxies_are_not_banned(network, proxy):
    one = proxy(bans(after=1, never=[GOOD]), trusted_proxies=["198.18.0.30"])
    never, trusted = network.add(GOOD), network.add("198.18.0.30")
    for client in (never, trusted):
        answers = [client.get(one.port) for _ in range(10)]
        assert answers == [200] * 3 + [429] * 7
    for _ in range(10):
        assert one.get().status in (200, 429), "loopback"
    assert one.metric("vortex_bans_active") == 0


def test_client_behind_a_trusted_proxy_is_banned_alone(network, proxy):
    one = proxy(bans(), trusted_proxies=["198.18.0.30"])
    front = network.add("198.18.0.30")
    connection = front.connect(one.port, 15)

    def ask(client):
        connection.request("GET", "/", headers={"X-Forwarded-For": client})
        answer = connection.getresponse()
        answer.read()
        return answer.status

    assert [ask("203.0.113.9") for _ in range(6)] == [200] * 3 + [429] * 3
    banned(one, 1)
    assert ask("203.0.113.9") == 403
    assert ask("203.0.113.10") == 200, "on the same connection"


def test_operator_bans_and_unbans_in_the_kernel(network, proxy):
    one = proxy(bans(interface=network.interface, xdp={"pin": "off"}), admin=ADMIN)
    bad = network.add(BAD)
    assert bad.get(one.port) == 200
    assert command("bans", "add", BAD, cwd=one.folder).returncode == 0
    assert bad.get(one.port, timeout=SILENCE) is None
    assert dropped(one, "banned") > 0
    assert BAD in command("bans", "list", cwd=one.folder).stdout
    assert command("bans", "remove", BAD, cwd=one.folder).returncode == 0
    assert bad.get(one.port) == 200


def test_bans_survive_a_reload_and_end_when_switched_off(network, proxy):
    one = proxy(bans(interface=network.interface, xdp={"pin": "off"}))
    bad = network.add(BAD)
    use_up(bad, one.port)
    banned(one, 1)
    config = dict(one.config, bans=bans(after=50, interface=network.interface, xdp={"pin": "off", "malformed": True}))
    one.reload(config)
    assert one.metric("vortex_bans_active") == 1
    assert bad.get(one.port, timeout=SILENCE) is None
    assert network.has_xdp()
    one.reload({key: value for key, value in config.items() if key != "bans"})
    assert bad.get(one.port) == 429
    assert not network.has_xdp()
    assert one.metric("vortex_bans_active") == 0


def test_bans_survive_a_restart_by_the_pinned_map(network, proxy, vortex, pins):
    one = proxy(bans(interface=network.interface, xdp={"pin": str(pins)}))
    bad = network.add(BAD)
    use_up(bad, one.port)
    banned(one, 1)
    one.stop()
    assert not network.has_xdp(), "the program goes when Vortex goes"
    two = vortex.start(one.config)
    assert two.metric("vortex_bans_active") == 1
    assert bad.get(two.port, timeout=SILENCE) is None
    assert dropped(two, "banned") > 0


def test_program_stays_attached_where_asked_to(network, proxy, vortex, pins):
    xdp = {"pin": str(pins), "keep_attached": True}
    one = proxy(bans(interface=network.interface, xdp=xdp))
    bad = network.add(BAD)
    use_up(bad, one.port)
    banned(one, 1)
    one.stop()
    assert network.has_xdp()
    two = vortex.start(dict(one.config, bans=bans(interface=network.interface, xdp={**xdp, "keep_attached": False})))
    assert two.metric("vortex_bans_active") == 1
    two.stop()
    assert not network.has_xdp()


def test_missing_interface_is_said_and_the_program_guards_itself(network, proxy):
    one = proxy(bans(interface="nowhere0"))
    assert "there is no network interface nowhere0" in one.output()
    bad = network.add(BAD)
    use_up(bad, one.port)
    banned(one, 1)
    assert bad.get(one.port) is None
    assert one.metric("vortex_xdp_attached") == 0


def test_missing_capability_is_said_and_the_program_guards_itself(network, proxy):
    without = ("setpriv", "--bounding-set=-bpf,-net_admin,-sys_admin", "--inh-caps=-bpf,-net_admin,-sys_admin")
    one = proxy(bans(interface=network.interface, xdp={"pin": "off"}), prefix=without)
    assert "CAP_BPF" in one.output()
    bad = network.add(BAD)
    use_up(bad, one.port)
    banned(one, 1)
    assert bad.get(one.port) is None


def test_folder_in_no_bpffs_is_said(network, proxy, tmp_path):
    one = proxy(bans(interface=network.interface, xdp={"pin": str(tmp_path / "plain")}))
    assert "bans will not outlive a restart" in one.output()
    assert network.has_xdp()


def test_interface_that_another_program_holds(network, proxy, vortex):
    """The second one takes over by itself when the first one has gone."""
    options = bans(interface=network.interface, xdp={"pin": "off"})
    one = proxy(options)
    two = proxy(options)
    assert "another XDP program is on it" in two.output()
    one.stop()
    wait_until(lambda: two.metric("vortex_xdp_attached") == 1, 20, "the second one on the interface")


