# SPDX-License-Identifier: Apache-2.0
"""Which route takes a request (INTERFACE.md: exact host before the longest wildcard before `*`; then exact path before the
longest prefix; then more conditions before fewer; then earlier in the file), rewrites, redirects, and AI models."""

import hashlib
import itertools
import json

import pytest

from harness import http1
from harness.client import request
from harness.proxy import targets


def route(name, backend, **match):
    return {"name": name, "match": match, "backends": targets({"address": backend.address})}


def taken(proxy, target="/", *, host="test", method="GET", headers=()):
    """The name of the route that took a request, from the access log's newest entry; None for 404."""
    before = (
        len((proxy.folder / "access.log").read_text().splitlines())
        if (proxy.folder / "access.log").exists()
        else 0
    )
    answer = proxy.request(method, target, headers, host=host)
    entry = proxy.log(before + 1)[before]
    if answer.status == 404:
        assert entry["reason"] == "no_route"
        return None
    assert answer.status == 200
    return entry["route"]


def test_order_in_the_file_does_not_matter(vortex, backend):
    target = backend()
    routes = [
        route("any", target, host="*", path_prefix="/"),
        route("wild", target, host="*.example.test", path_prefix="/"),
        route("longer", target, host="*.a.example.test", path_prefix="/"),
        route("exact", target, host="x.a.example.test"),
    ]
    for order in (routes, routes[::-1], [routes[2], routes[0], routes[3], routes[1]]):
        proxy = vortex(routes=order)
        assert taken(proxy, host="x.a.example.test") == "exact"
        assert taken(proxy, host="y.a.example.test") == "longer"
        assert taken(proxy, host="b.example.test") == "wild"
        assert taken(proxy, host="other.test") == "any"


def test_wildcard_takes_every_depth_below_but_not_the_name_itself(vortex, backend):
    """As in nginx and Envoy."""
    proxy = vortex(routes=[route("wild", backend(), host="*.example.test", path_prefix="/")])
    assert taken(proxy, host="a.example.test") == "wild"
    assert taken(proxy, host="a.b.example.test") == "wild"
    assert taken(proxy, host="A.EXAMPLE.TEST:8080") == "wild"
    assert taken(proxy, host="example.test") is None
    assert taken(proxy, host=".example.test") in (None, "wild")
    assert taken(proxy, host="aexample.test") is None


def test_exact_path_before_the_longest_prefix(vortex, backend):
    target = backend()
    for order in itertools.permutations(
        [
            route("root", target, path_prefix="/"),
            route("prefix", target, path_prefix="/a/b"),
            route("exact", target, path="/a/b/c"),
        ]
    ):
        proxy = vortex(routes=list(order))
        assert taken(proxy, "/a/b/c") == "exact"
        assert taken(proxy, "/a/b/c?x=1") == "exact"
        assert taken(proxy, "/a/b/c/") == "prefix"
        assert taken(proxy, "/a/b/d") == "prefix"
        assert taken(proxy, "/a") == "root"
        proxy.stop()


def test_prefix_is_taken_by_whole_segments(vortex, backend):
    """As Envoy's path_separated_prefix and Kubernetes: /api takes /api and /api/x, not /apiary."""
    proxy = vortex(routes=[route("api", backend(), path_prefix="/api")])
    assert taken(proxy, "/api") == "api"
    assert taken(proxy, "/api/") == "api"
    assert taken(proxy, "/api/x") == "api"
    assert taken(proxy, "/api?x") == "api"
    assert taken(proxy, "/apiary") is None
    assert taken(proxy, "/API") is None


def test_host_weighs_more_than_path(vortex, backend):
    target = backend()
    proxy = vortex(
        routes=[
            route("path", target, host="*", path="/a/b/c"),
            route("host", target, host="x.test", path_prefix="/"),
        ]
    )
    assert taken(proxy, "/a/b/c", host="x.test") == "host"
    assert taken(proxy, "/a/b/c", host="y.test") == "path"


def test_less_specific_host_takes_over_when_no_path_of_the_specific_one_fits(vortex, backend):
    """A route is the whole match: x.test has no route for /other, so the route for any host takes it."""
    target = backend()
    proxy = vortex(
        routes=[
            route("host", target, host="x.test", path_prefix="/only"),
            route("any", target, host="*", path_prefix="/"),
        ]
    )
    assert taken(proxy, "/only", host="x.test") == "host"
    assert taken(proxy, "/other", host="x.test") == "any"


def test_more_conditions_before_fewer(vortex, backend):
    target = backend()
    routes = [
        route("none", target, path_prefix="/"),
        route("method", target, path_prefix="/", method="POST"),
        route("both", target, path_prefix="/", method="POST", headers={"x-a": "1"}),
        route("three", target, path_prefix="/", method="POST", headers={"x-a": "1", "x-b": "2"}),
    ]
    for order in (routes, routes[::-1]):
        proxy = vortex(routes=order)
        assert taken(proxy) == "none"
        assert taken(proxy, method="POST") == "method"
        assert taken(proxy, method="POST", headers={"X-A": "1"}) == "both"
        assert taken(proxy, method="POST", headers={"X-A": "1", "X-B": "2"}) == "three"
        assert taken(proxy, method="POST", headers={"X-A": "1", "X-B": "3"}) == "both"
        assert taken(proxy, headers={"X-A": "1"}) == "none"


def test_path_weighs_more_than_conditions(vortex, backend):
    target = backend()
    proxy = vortex(
        routes=[
            route("conditions", target, path_prefix="/a", method="GET", headers={"x-a": "1"}),
            route("longer", target, path_prefix="/a/b"),
        ]
    )
    assert taken(proxy, "/a/b", headers={"X-A": "1"}) == "longer"
    assert taken(proxy, "/a/c", headers={"X-A": "1"}) == "conditions"


def test_earlier_in_the_file_wins_a_tie(vortex, backend):
    target = backend()
    first = route("first", target, path_prefix="/", headers={"x-a": "1"})
    second = route("second", target, path_prefix="/", headers={"x-b": "1"})
    both = {"X-A": "1", "X-B": "1"}
    assert taken(vortex(routes=[first, second]), headers=both) == "first"
    assert taken(vortex(routes=[second, first]), headers=both) == "second"


def test_header_names_are_matched_without_case_and_values_exactly(vortex, backend):
    proxy = vortex(routes=[route("tenant", backend(), path_prefix="/", headers={"X-Tenant": "Blue"})])
    assert taken(proxy, headers={"x-tenant": "Blue"}) == "tenant"
    assert taken(proxy, headers={"x-tenant": "blue"}) is None
    assert taken(proxy, headers={"x-tenant": "Blue2"}) is None
    assert taken(proxy) is None


def test_methods_are_matched_exactly(vortex, backend):
    proxy = vortex(routes=[route("get", backend(), path_prefix="/", method="GET")])
    assert taken(proxy) == "get"
    assert taken(proxy, method="get") is None
    assert taken(proxy, method="POST") is None


def test_route_without_match_takes_no_client_traffic(vortex, backend):
    target = backend()
    proxy = vortex(
        routes=[{"name": "group", "backends": targets(target)}, route("only", target, path="/only")]
    )
    assert taken(proxy, "/only") == "only"
    assert taken(proxy, "/") is None


def test_unmatched_request_is_404_as_json_and_keeps_the_connection(vortex, backend):
    target = backend()
    proxy = vortex(routes=[route("only", target, host="known.test", path_prefix="/")])
    with proxy.client() as client:
        answer = client.request("GET", "/", host="unknown.test")
        assert answer.status == 404
        assert answer.json()["error"]
        assert answer.get("content-type").startswith("application/json")
        assert client.request("GET", "/", host="known.test").status == 200
    assert proxy.log(1)[0]["reason"] == "no_route"


def test_thousand_routes_each_take_their_own(vortex, backend):
    target = backend()
    proxy = vortex(
        routes=[
            route(f"r{n}", target, host=f"h{n % 10}.test", path_prefix=f"/p{n // 10}") for n in range(1000)
        ]
    )
    for number in (0, 1, 9, 10, 555, 999):
        assert taken(proxy, f"/p{number // 10}/x", host=f"h{number % 10}.test") == f"r{number}"
    assert taken(proxy, "/p100", host="h0.test") is None


# Rewrite and redirect


@pytest.mark.parametrize(
    "prefix, new, sent, seen",
    [
        ("/api", "/v2", "/api/users?x=1", "/v2/users?x=1"),
        ("/api", "/v2", "/api", "/v2"),
        ("/api", "/v2", "/api/", "/v2/"),
        ("/", "/v2", "/users", "/v2/users"),
        ("/api", "/", "/api/users", "/users"),
        ("/api", "/", "/api", "/"),
        ("/api/", "/v2/", "/api/users", "/v2/users"),
        ("/api", "/v2", "/api/a%2fb", "/v2/a%2fb"),
        ("/api", "/v2", "/api?x", "/v2?x"),
        ("/api", "/", "/api?x", "/?x"),
        ("/api", "/v2", "/api//x", "/v2//x"),
    ],
)
def test_path_prefix_is_rewritten(vortex, backend, prefix, new, sent, seen):
    proxy = vortex(backend(), route={"match": {"path_prefix": prefix}, "rewrite": {"path_prefix": new}})
    assert proxy.get(sent).json()["target"] == seen


def test_exact_path_is_rewritten_whole(vortex, backend):
    proxy = vortex(backend(), route={"match": {"path": "/old"}, "rewrite": {"path_prefix": "/new/place"}})
    assert proxy.get("/old?q=1").json()["target"] == "/new/place?q=1"


def test_host_is_rewritten_and_the_original_stays_in_x_forwarded_host(vortex, backend):
    proxy = vortex(backend(), route={"rewrite": {"host": "internal.test"}})
    seen = {name.lower(): value for name, value in proxy.get("/path", host="public.test").json()["headers"]}
    assert seen["host"] == "internal.test"
    assert seen["x-forwarded-host"] == "public.test"


def test_empty_rewrite_host_keeps_the_clients(vortex, backend):
    proxy = vortex(backend(), route={"rewrite": {"path_prefix": "/x", "host": ""}})
    seen = proxy.get("/path", host="public.test").json()
    assert (dict(seen["headers"]).get("Host") or dict(seen["headers"]).get("host")) == "public.test"
    assert seen["target"] == "/x/path"


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_redirect_with_its_code(vortex, backend, code):
    """`to` is sent as it is written."""
    routes = [
        {
            "name": "moved",
            "match": {"path_prefix": "/old"},
            "redirect": {"to": "https://new.test/there", "code": code},
        },
        route("rest", backend(), path_prefix="/"),
    ]
    proxy = vortex(routes=routes)
    with proxy.client() as client:
        answer = client.request("GET", "/old/page")
        assert (answer.status, answer.get("location")) == (code, "https://new.test/there")
        assert client.request("GET", "/other").status == 200


def test_redirect_of_a_post_with_a_body_keeps_framing(vortex, backend):
    proxy = vortex(
        routes=[
            {
                "name": "moved",
                "match": {"path_prefix": "/old"},
                "redirect": {"to": "https://new.test/", "code": 308},
            },
            route("rest", backend(), path_prefix="/"),
        ]
    )
    with proxy.client() as client:
        client.send(request("POST", "/old", body=b"GET /smuggled HTTP/1.1\r\nHost: test\r\n\r\n"))
        answer = client.read()
        assert answer.status == 308
        if not answer.closes:
            assert client.request("GET", "/other").json()["target"] == "/other"


# AI models


@pytest.fixture
def models(vortex, backend):
    """Two backends with models, one without, on one route, taken in turn so that each is met."""
    one, two, none = backend(name="gpt"), backend(name="claude"), backend(name="none")
    return vortex(
        {"address": one.address, "ai_models": ["gpt-4", "gpt-3.5-turbo"]},
        {"address": two.address, "ai_models": ["claude-3-opus"]},
        none,
        route={"balance": "round_robin"},
    )


def ask(proxy, model=None, *, body=None, headers=(), chunks=None):
    headers = {"Content-Type": "application/json", **dict(headers)}
    body = json.dumps({"messages": [], "model": model}).encode() if body is None else body
    if chunks:
        headers["Transfer-Encoding"] = "chunked"
        return proxy.request(
            "POST",
            "/v1/chat/completions",
            headers,
            http1.chunked(*[body[at : at + chunks] for at in range(0, len(body), chunks)]),
        )
    return proxy.request("POST", "/v1/chat/completions", headers, body)


def no_model(proxy, answer):
    assert answer.status == 404
    assert answer.json()["error"]
    assert "no_model" in [entry["reason"] for entry in proxy.log(1)]
    return True


@pytest.mark.parametrize(
    "model, name", [("gpt-4", "gpt"), ("gpt-3.5-turbo", "gpt"), ("claude-3-opus", "claude")]
)
def test_x_ai_model_picks_among_the_backends_that_list_it(models, model, name):
    assert {models.get("/", {"x-ai-model": model}).get("x-backend") for _ in range(10)} == {name}


@pytest.mark.parametrize(
    "model, name", [("gpt-4", "gpt"), ("gpt-3.5-turbo", "gpt"), ("claude-3-opus", "claude")]
)
def test_model_of_the_json_body_picks_the_backend_and_the_body_arrives_whole(models, model, name):
    for chunks in (None, 7):
        body = json.dumps(
            {"messages": [{"content": "x" * 5000, "model": "not this"}], "model": model}
        ).encode()
        for _ in range(4):
            answer = ask(models, body=body, chunks=chunks)
            assert answer.get("x-backend") == name
            assert answer.json()["sha256"] == hashlib.sha256(body).hexdigest()


def test_unknown_model_is_404_no_model(models):
    assert no_model(models, models.get("/", {"x-ai-model": "llama"}))
    assert no_model(models, ask(models, "llama"))


def test_model_names_are_matched_exactly(models):
    for wrong in ("GPT-4", "gpt-4 turbo", "gpt", "gpt-4o"):
        assert models.get("/", {"x-ai-model": wrong}).status == 404


def test_request_that_names_no_model_may_go_anywhere(models):
    assert {models.get("/").get("x-backend") for _ in range(60)} == {"gpt", "claude", "none"}


def test_header_wins_over_the_body(models):
    """x-ai-model is the explicit word; the body is then not even buffered."""
    assert ask(models, "gpt-4", headers={"x-ai-model": "claude-3-opus"}).get("x-backend") == "claude"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"model"',
        b'{"model": 4}',
        b'{"model": null}',
        b'{"messages": [{"model": "llama"}]}',
        b'{"model": {"model": "llama"}}',
        b"\xff\xfe",
        b"{" * 20000,
        b'{"Model": "llama"}',
    ],
    ids=lambda b: repr(b[:20]),
)
def test_body_without_a_model_is_a_request_that_names_none(models, body):
    """It passes unchanged, broken JSON too: validating it is the backend's business."""
    answer = ask(models, body=body)
    assert answer.status == 200
    assert answer.json()["length"] == len(body)


def test_escaped_and_duplicate_model_keys(models):
    """Escapes are resolved. Of two keys either one may count, but not a third reading."""
    assert ask(models, body=b'{"mod\\u0065l": "gpt\\u002d4"}').get("x-backend") == "gpt"
    assert ask(models, body=b'{"model": "gpt-4", "model": "claude-3-opus"}').get("x-backend") in (
        "gpt",
        "claude",
    )


def test_body_that_is_not_json_is_not_searched(models):
    body = b"model=llama"
    answer = models.request("POST", "/", {"Content-Type": "application/x-www-form-urlencoded"}, body)
    assert answer.status == 200


def test_routes_without_models_ignore_both(vortex, backend):
    proxy = vortex(backend())
    assert proxy.get("/", {"x-ai-model": "llama"}).status == 200
    assert ask(proxy, "llama").status == 200


def test_body_over_the_buffer_limit_is_413_or_passes_whole(vortex, backend):
    """The model stands behind more bytes than limits.buffered_body: 413, or the request counts as naming no model; it is never
    cut and never goes to a backend that does not list the model it names by chance of the limit when it stands at the front."""
    one, two = backend(name="gpt"), backend(name="claude")
    proxy = vortex(
        {"address": one.address, "ai_models": ["gpt-4"]},
        {"address": two.address, "ai_models": ["claude-3-opus"]},
        limits={"buffered_body": "4KiB"},
    )
    body = json.dumps({"messages": ["x" * 100000], "model": "gpt-4"}).encode()
    answer = ask(proxy, body=body)
    assert answer.status in (200, 413)
    if answer.status == 200:
        assert answer.json()["sha256"] == hashlib.sha256(body).hexdigest()


def test_expect_continue_with_a_body_that_must_be_read_first(models):
    """The proxy needs the body to choose, so it sends the 100 itself."""
    body = json.dumps({"model": "gpt-4"}).encode()
    with models.client() as client:
        client.send(
            request(
                "POST",
                "/",
                {
                    "Content-Type": "application/json",
                    "Expect": "100-continue",
                    "Content-Length": str(len(body)),
                },
            )
        )
        assert client.read().status == 100
        client.send(body)
        assert client.final().get("x-backend") == "gpt"


def test_model_of_dead_backends_is_unavailable_not_missing(vortex, backend, dead):
    proxy = vortex(
        {"address": dead.address, "ai_models": ["gpt-4"]},
        {"address": backend().address, "ai_models": ["other"]},
        route={"retries": {"attempts": 0}},
    )
    assert proxy.get("/", {"x-ai-model": "gpt-4"}).status in (502, 503)
