# SPDX-License-Identifier: Apache-2.0
"""Rate limits on a real Redis, and what `on_store_failure` makes of one that is killed, frozen, slow, full, restarted or
failed over."""

import re
import threading

import pytest

from harness import redis as harness
from harness.net import Blackhole
from harness.proxy import command
from harness.wait import wait_until

SLOW = {"requests": 1, "per": "1h"}
# Sentinels and nodes take their time to know each other and to elect somebody, the more so on a busy machine.
slow_to_agree = pytest.mark.timeout(300)


@pytest.fixture
def redis(tmp_path):
    """Starts Redis processes: redis("setting value", password=..., tls=...); see harness.redis.Farm."""
    farm = harness.Farm(tmp_path)
    yield farm
    farm.stop()


def limit(store, burst=3, **more):
    return {"store": f"redis://{store}", "store_timeout": "2s", **SLOW, "burst": burst, **more}


def connected(proxy, workers=1):
    proxy.wait_metric("vortex_rate_store_connected_workers", workers)
    return proxy


def statuses(proxy, count, headers=(), target="/"):
    return [proxy.get(target, headers).status for _ in range(count)]


def by_client(name):
    return [("X-Client", name)]


# What holds while it is there


def test_the_limit_holds_over_several_proxies(vortex, backend, redis):
    server, target = redis(), backend()
    proxies = [connected(vortex(target, rate_limit=limit(server.address, 50), workers=2), 2) for _ in range(3)]
    got, lock = [], threading.Lock()

    def ask(proxy):
        mine = statuses(proxy, 20)
        with lock:
            got.extend(mine)

    threads = [threading.Thread(target=ask, args=(proxy,)) for proxy in proxies for _ in range(2)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert sorted(got) == [200] * 50 + [429] * 70
    assert len(server.keys()) == 1
    assert 0 < int(server.cli("PTTL", server.keys()[0])) <= 50 * 3600 * 1000


def test_a_refused_key_costs_redis_nothing(vortex, backend, redis):
    server = redis()
    proxy = connected(vortex(backend(), rate_limit=limit(server.address, 2)))
    first = [proxy.get() for _ in range(3)]
    assert [one.status for one in first] == [200, 200, 429]
    assert server.commands("evalsha") == 3
    again = [proxy.get() for _ in range(20)]
    assert {one.status for one in again} == {429}
    assert all(int(one.get("retry-after")) <= int(first[2].get("retry-after")) for one in again)
    assert server.commands("evalsha") == 3
    proxy.wait_metric("vortex_rate_limited_locally_total", 20)
    proxy.wait_metric("vortex_rate_store_requests_total", 3)
    assert proxy.metric("vortex_rate_store_duration_seconds_count") == 3


def test_who_waits_passes_again(vortex, backend, redis):
    server = redis()
    proxy = connected(vortex(backend(), rate_limit={**limit(server.address, 1), "requests": 5, "per": "1s"}))
    assert proxy.get().status == 200
    wait_until(lambda: proxy.get().status == 200, 10, "the next request to pass")


def test_a_script_that_was_forgotten_is_sent_again(vortex, backend, redis):
    server = redis()
    proxy = connected(vortex(backend(), rate_limit=limit(server.address, 3)))
    assert proxy.get().status == 200
    server.cli("SCRIPT", "FLUSH")
    assert statuses(proxy, 3) == [200, 200, 429]
    proxy.wait_metric("vortex_rate_store_errors_total", 0)


def test_database_user_and_password(vortex, backend, redis):
    server = redis("user limits on >p@ss:w/rd ~vortex:* +@all", password="other")
    store = f"limits:p%40ss%3Aw%2Frd@{server.address}/5"
    proxy = connected(vortex(backend(), rate_limit=limit(store)))
    assert statuses(proxy, 4) == [200, 200, 200, 429]
    assert server.keys() == [] and len(server.keys(5)) == 1


def test_a_password_alone(vortex, backend, redis):
    server = redis(password="secret")
    proxy = connected(vortex(backend(), rate_limit=limit(f":secret@{server.address}")))
    assert statuses(proxy, 4) == [200, 200, 200, 429]


def test_a_wrong_password_is_said(vortex, backend, redis):
    server = redis(password="secret")
    proxy = vortex(backend(), rate_limit=limit(f":wrong@{server.address}", on_store_failure="deny"))
    wait_until(lambda: "wrong user or password" in proxy.output(), 15, "the reason in the log")
    assert proxy.get().status == 429


def test_tls(vortex, backend, redis, ca, stranger):
    server = redis(tls=ca.issue("127.0.0.1", "localhost"))
    proxy = connected(
        vortex(
            backend(),
            rate_limit={
                **limit(server.address),
                "store": f"rediss://localhost:{server.port}",
                "tls": {"ca": str(ca.path)},
            },
        )
    )
    assert statuses(proxy, 4) == [200, 200, 200, 429]
    wary = vortex(
        backend(),
        rate_limit={
            **limit(server.address, on_store_failure="deny"),
            "store": f"rediss://{server.address}",
            "tls": {"ca": str(stranger.path)},
        },
    )
    assert wary.get().status == 429
    assert wary.metric("vortex_rate_store_connected_workers") == 0


def test_another_store_by_reload(vortex, backend, redis):
    one, other = redis(), redis()
    proxy = connected(vortex(backend(), rate_limit=limit(one.address, 2)))
    assert statuses(proxy, 3) == [200, 200, 429]
    proxy.reload({**proxy.config, "rate_limit": limit(other.address, 2)})
    connected(proxy)
    wait_until(lambda: other.commands("script|load") > 0, 15, "the new store to be greeted")
    assert statuses(proxy, 3) == [200, 200, 429]
    proxy.reload({**proxy.config, "rate_limit": {**SLOW, "burst": 1}})
    assert statuses(proxy, 2) == [200, 429]
    wait_until(lambda: len(one.cli("CLIENT", "LIST").splitlines()) == 1, 15, "the old connection to end")


# What happens while it is away

POLICIES = {"local": [200, 200, 429], "allow": [200, 200, 200], "deny": [429, 429, 429]}


def check_away(proxy, policy, client):
    """Decided without Redis, for a client that was not seen before."""
    assert statuses(proxy, 3, by_client(client)) == POLICIES[policy]


def check_back(proxy, client):
    """Decided by Redis again."""
    connected(proxy)
    assert statuses(proxy, 3, by_client(client)) == [200, 200, 429]


def failing(vortex, backend, address, policy, timeout="2s"):
    return vortex(
        backend(),
        rate_limit=limit(address, 2, key="header:X-Client", on_store_failure=policy, store_timeout=timeout),
    )


@pytest.mark.parametrize("policy", POLICIES)
def test_killed_and_started_again(vortex, backend, redis, policy):
    server = redis()
    proxy = connected(failing(vortex, backend, server.address, policy))
    check_back(proxy, "before")
    server.kill()
    proxy.wait_metric("vortex_rate_store_connected_workers", 0)
    check_away(proxy, policy, "away")
    assert "the store of rate limits is away" in proxy.output()
    server.start()
    check_back(proxy, "after")


@pytest.mark.parametrize("policy", POLICIES)
def test_frozen(vortex, backend, redis, policy):
    server = redis()
    proxy = connected(failing(vortex, backend, server.address, policy, timeout="1s"))
    check_back(proxy, "before")
    server.freeze()
    check_away(proxy, policy, "away")
    proxy.wait_metric("vortex_rate_store_connected_workers", 0)
    assert proxy.metric("vortex_rate_store_errors_total", reason="lost") >= 1
    check_away(proxy, policy, "still away")
    server.thaw()
    check_back(proxy, "after")


@pytest.mark.parametrize("policy", POLICIES)
def test_full(vortex, backend, redis, policy):
    server = redis("maxmemory-policy noeviction")
    proxy = connected(failing(vortex, backend, server.address, policy))
    server.cli("CONFIG", "SET", "maxmemory", "1")
    check_away(proxy, policy, "away")
    assert proxy.metric("vortex_rate_store_connected_workers") == 1
    proxy.wait_metric("vortex_rate_store_errors_total", 3, reason="error")
    server.cli("CONFIG", "SET", "maxmemory", "0")
    check_back(proxy, "after")


@pytest.mark.parametrize("policy", POLICIES)
def test_slow(vortex, backend, redis, policy):
    """It works, but takes longer than it may: a command keeps it busy for a while."""
    server = redis("enable-debug-command yes")
    proxy = connected(failing(vortex, backend, server.address, policy, timeout="500ms"))
    sleeper = threading.Thread(target=server.try_cli, args=("DEBUG", "SLEEP", "5"))
    sleeper.start()
    wait_until(lambda: proxy.get("/", by_client("probe")) and proxy.metric("vortex_rate_store_errors_total"), 15, "it to be slow")
    check_away(proxy, policy, "away")
    sleeper.join()
    check_back(proxy, "after")


@pytest.mark.parametrize("policy", POLICIES)
def test_never_there(vortex, backend, policy):
    """Packets to it are lost: requests do not wait for it once it is known not to answer."""
    hole = Blackhole()
    try:
        proxy = failing(vortex, backend, hole.address, policy, timeout="200ms")
        wait_until(lambda: "is away" in proxy.output(), 15, "the connection to be given up")
        check_away(proxy, policy, "a")
    finally:
        hole.close()


def test_a_name_that_does_not_resolve(vortex, backend):
    proxy = failing(vortex, backend, "no-such-host.invalid:6379", "deny", timeout="500ms")
    wait_until(lambda: "is away" in proxy.output(), 15, "the name to be given up")
    check_away(proxy, "deny", "a")


def test_clients_that_leave_while_redis_thinks(vortex, backend, redis):
    server = redis()
    proxy = connected(failing(vortex, backend, server.address, "deny", timeout="30s"))
    server.freeze()
    clients = [proxy.client() for _ in range(5)]
    for client in clients:
        client.send(b"GET / HTTP/1.1\r\nHost: test\r\nX-Client: gone\r\n\r\n")
    proxy.wait_metric("vortex_rate_store_requests_total", 5)
    for client in clients:
        client.reset()
    wait_until(lambda: proxy.metric("vortex_errors_total", reason="client_gone") == 5, 15, "five lost clients")
    server.thaw()
    assert statuses(proxy, 3, by_client("here")) == [200, 200, 429]


# Sentinels and clusters


@slow_to_agree
def test_failover_by_sentinels(vortex, backend, redis):
    master, replica, sentinels = redis.with_sentinels()
    names = ",".join(one.address for one in sentinels)
    proxy = connected(
        vortex(
            backend(),
            rate_limit={
                **limit("", 2, key="header:X-Client", on_store_failure="deny", store_timeout="500ms"),
                "store": f"redis+sentinel://{names}/mymaster/1",
            },
        )
    )
    check_back(proxy, "before")
    assert len(master.keys(1)) == 1
    sentinels[0].kill()  # the first one asked is not there any more
    master.kill()
    proxy.wait_metric("vortex_rate_store_connected_workers", 0)
    wait_until(lambda: "role:master" in replica.try_cli("INFO", "replication"), 30, "the failover")
    proxy.wait_metric("vortex_rate_store_connected_workers", 1, 30)
    assert statuses(proxy, 1, by_client("before")) == [429]  # what was counted had been replicated
    check_back(proxy, "after")


@slow_to_agree
@slow_to_agree
@pytest.mark.parametrize("user", [None, "asker"])
def test_sentinels_with_a_password_of_their_own(vortex, backend, redis, user):
    master = redis(password="masters")
    sentinel = redis(
        f"sentinel monitor mymaster 127.0.0.1 {master.port} 1",
        "sentinel auth-pass mymaster masters",
        "user asker on >askers resetchannels -@all +auth +sentinel|get-master-addr-by-name",
        sentinel=True,
        password="sentinels",
    )
    store = f"redis+sentinel://:masters@{sentinel.address}/mymaster"
    login = {"sentinel_username": user, "sentinel_password": "askers"} if user else {"sentinel_password": "sentinels"}
    proxy = connected(vortex(backend(), rate_limit={**limit("", 3), "store": store, **login}))
    assert statuses(proxy, 4) == [200, 200, 200, 429]
    for wrong, said in [
        ({}, "a Sentinel wants a password: rate_limit.sentinel_password"),
        ({**login, "sentinel_password": "wrong"}, "a Sentinel refuses rate_limit.sentinel_username"),
    ]:
        shut_out = vortex(backend(), rate_limit={**limit("", on_store_failure="deny"), "store": store, **wrong})
        wait_until(lambda one=shut_out, said=said: said in one.output(), 15, said)
        assert shut_out.get().status == 429


def test_a_master_that_became_a_replica(vortex, backend, redis):
    master, replica, sentinels = redis.with_sentinels()
    proxy = connected(
        vortex(
            backend(),
            rate_limit={
                **limit("", 2, key="header:X-Client", on_store_failure="deny"),
                "store": f"redis+sentinel://{sentinels[1].address}/mymaster",
            },
        )
    )
    sentinels[0].cli("SENTINEL", "FAILOVER", "mymaster")
    wait_until(lambda: "role:slave" in master.try_cli("INFO", "replication"), 30, "the failover")
    numbers = iter(range(1000))
    wait_until(
        lambda: proxy.get("/", by_client(f"c{next(numbers)}")).status == 200 and replica.commands("evalsha"),
        30,
        "the new master to be asked",
    )


@slow_to_agree
def test_a_cluster(vortex, backend, redis):
    nodes = redis.cluster()
    proxy = connected(
        vortex(
            backend(),
            rate_limit={
                **limit("", 2, key="header:X-Client", on_store_failure="deny"),
                "store": f"redis+cluster://{nodes[0].address},127.0.0.1:1",
            },
        )
    )
    wait_until(lambda: proxy.get("/", by_client("probe")).status == 200, 15, "the cluster's map")
    for number in range(12):
        assert statuses(proxy, 3, by_client(f"c{number}")) == [200, 200, 429]
    wait_until(lambda: all(one.keys() for one in nodes), 5, "keys on every node")


@slow_to_agree
def test_a_slot_that_moves(vortex, backend, redis):
    """First some of its keys are elsewhere already (ASK), then all of them (MOVED)."""
    nodes = redis.cluster()
    proxy = connected(
        vortex(
            backend(),
            rate_limit={
                **limit("", 4, key="header:X-Client", on_store_failure="deny"),
                "store": f"redis+cluster://{nodes[0].address}",
            },
        )
    )
    wait_until(lambda: proxy.get("/", by_client("mover")).status == 200, 15, "the cluster's map")
    source = next(one for one in nodes if one.keys())
    target = next(one for one in nodes if one is not source)
    key = source.keys()[0]
    slot = source.cli("CLUSTER", "KEYSLOT", key)
    ids = {one: one.cli("CLUSTER", "MYID") for one in nodes}
    target.cli("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[source])
    source.cli("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[target])
    source.cli("MIGRATE", "127.0.0.1", target.port, key, 0, 5000)
    assert statuses(proxy, 1, by_client("mover")) == [200]
    for one in (target, source, *(one for one in nodes if one not in (source, target))):
        one.cli("CLUSTER", "SETSLOT", slot, "NODE", ids[target])
    assert statuses(proxy, 3, by_client("mover")) == [200, 200, 429]
    proxy.wait_metric("vortex_rate_store_errors_total", 0, reason="error")


def test_the_dump_tells_of_the_store(vortex, backend, redis):
    server = redis()
    proxy = connected(vortex(backend(), rate_limit=limit(server.address, 3), admin={"socket": "admin.sock"}))
    socket = str(proxy.folder / "admin.sock")
    assert statuses(proxy, 2) == [200, 200]

    def dump():
        return command("stats", "--verbose", "--socket", socket, cwd=proxy.folder).stdout

    assert "rate limits: one Redis, connected, on_store_failure local, last trouble: none\n" in dump()
    assert "    2 asked, 0 refused here, 0 lost, 0 answered by an error, 0 not sent\n" in dump()
    assert f"node {server.address}: READY, 0 commands in flight, 0 failures in a row\n" in dump()
    server.kill()
    away = re.compile("rate limits: one Redis, away, on_store_failure local, last trouble: (?!none)")
    wait_until(lambda: away.search(dump()), 15, "the trouble in the dump")
    assert proxy.get().status == 200
    assert re.search(r"^rate limits in memory: \d+ places, .* 1 keys placed, 0 forgotten", dump(), re.M)


@slow_to_agree
def test_a_cluster_node_that_dies(vortex, backend, redis):
    nodes = redis.cluster()
    proxy = connected(
        vortex(
            backend(),
            rate_limit={
                **limit("", 2, key="header:X-Client", on_store_failure="allow"),
                "store": "redis+cluster://" + ",".join(one.address for one in nodes),
            },
        )
    )
    wait_until(lambda: proxy.get("/", by_client("probe")).get("ratelimit"), 15, "the cluster's map")
    nodes[2].kill()
    # Keys on the others are still decided by them, or by nobody once the cluster says that it is down.
    assert set(statuses(proxy, 6, by_client("x"))) <= {200, 429}
    nodes[2].start()
    wait_until(lambda: all("cluster_state:ok" in one.try_cli("CLUSTER", "INFO") for one in nodes), 30, "the cluster")
    numbers = iter(range(1000))
    wait_until(
        lambda: all(proxy.get("/", by_client(f"a{next(numbers)}")).get("ratelimit") for _ in range(12)),
        30,
        "every node to be asked again",
    )
