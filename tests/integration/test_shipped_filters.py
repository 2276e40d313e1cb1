# SPDX-License-Identifier: Apache-2.0
"""The filters that ship with Vortex, as `make filters` builds them, in the path of real requests."""

import base64
import json
import subprocess
import time

import pytest
from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from harness.proxy import ROOT, check, targets

SECRET = b"0123456789abcdef0123456789abcdef"


pytestmark = pytest.mark.timeout(600)  # the first one builds the filters


@pytest.fixture(scope="module")
def modules():
    subprocess.run([ROOT / "scripts" / "build-filters"], check=True)
    return ROOT / "filters"


def encode(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def number(value, length):
    return encode(value.to_bytes(length, "big"))


class Hs256:
    def jwk(self):
        return {"kty": "oct", "kid": "h", "alg": "HS256", "k": encode(SECRET)}

    def sign(self, data):
        mac = hmac.HMAC(SECRET, hashes.SHA256())
        mac.update(data)
        return mac.finalize()


class Rs256:
    def __init__(self):
        self.key = rsa.generate_private_key(65537, 2048)

    def jwk(self):
        public = self.key.public_key().public_numbers()
        return {"kty": "RSA", "kid": "r", "n": number(public.n, 256), "e": number(public.e, 3)}

    def sign(self, data):
        return self.key.sign(data, padding.PKCS1v15(), hashes.SHA256())


class Es256:
    def __init__(self):
        self.key = ec.generate_private_key(ec.SECP256R1())

    def jwk(self):
        public = self.key.public_key().public_numbers()
        return {"kty": "EC", "kid": "e", "crv": "P-256", "x": number(public.x, 32), "y": number(public.y, 32)}

    def sign(self, data):
        r, s = decode_dss_signature(self.key.sign(data, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def token(algorithm, signer, **claims):
    head = encode(json.dumps({"alg": algorithm, "typ": "JWT"}).encode())
    signed = f"{head}.{encode(json.dumps({'exp': int(time.time()) + 60, **claims}).encode())}"
    return f"{signed}.{encode(signer.sign(signed.encode()))}"


def bearer(text):
    return [("Authorization", f"Bearer {text}")]


def fields(answer, name):
    return [value for key, value in answer.json()["headers"] if key.lower() == name]


def jwt(modules, *signers, **config):
    keys = [signer.jwk() for signer in signers]
    return {"name": "jwt", "wasm": str(modules / "jwt.wasm"), "config": {"jwks": {"keys": keys}, **config}}


def test_jwt_of_each_algorithm(vortex, backend, modules):
    signers = {"HS256": Hs256(), "RS256": Rs256(), "ES256": Es256()}
    proxy = vortex(backend(), filters=[jwt(modules, *signers.values(), forward={"sub": "x-user"})])
    for algorithm, signer in signers.items():
        good = token(algorithm, signer, sub=f"me by {algorithm}")
        answer = proxy.get("/", [*bearer(good), ("X-User", "root")])
        assert (answer.status, fields(answer, "x-user")) == (200, [f"me by {algorithm}"])
        for bad in (good[:-6] + "AAAAAA", token(algorithm, signer, exp=int(time.time()) - 3600), "a.b.c"):
            answer = proxy.get("/", bearer(bad))
            assert (answer.status, answer.json()["error"]) == (401, "Unauthorized")
            assert 'error="invalid_token"' in answer.get("www-authenticate")
    # The public key as a secret: the key decides on the algorithm.
    assert proxy.get("/", bearer(token("RS256", Hs256(), sub="x"))).status == 401
    answer = proxy.get("/")
    assert (answer.status, answer.get("www-authenticate")) == (401, "Bearer")


def test_jwt_refuses_what_is_not_one_text(vortex, backend, modules):
    signer = Hs256()
    proxy = vortex(backend(), filters=[jwt(modules, signer)])
    good = bearer(token("HS256", signer))
    with proxy.client() as client:
        for fields_sent in ([("Authorization", "Bearer \xff\xfe")], good + bearer("other"), good + good):
            assert client.request("GET", "/", fields_sent).status == 401
            assert client.request("GET", "/", good).status == 200
    assert proxy.metric("vortex_filter_traps_total") == 0


def test_jwt_spares_paths_and_checks_parties(vortex, backend, modules):
    signer = Hs256()
    config = jwt(modules, signer, issuer="us", audiences=["api"], except_=["/open"], forward={"sub": "x-user"})
    config["config"]["except"] = config["config"].pop("except_")
    proxy = vortex(backend(), filters=[config])
    answer = proxy.get("/open/x", [("X-User", "root")])
    assert (answer.status, fields(answer, "x-user")) == (200, [])
    assert proxy.get("/", bearer(token("HS256", signer, iss="us", aud=["api", "b"]))).status == 200
    assert proxy.get("/", bearer(token("HS256", signer, iss="them", aud="api"))).status == 401
    assert proxy.get("/", bearer(token("HS256", signer, iss="us", aud="other"))).status == 401


def test_rewrite_edits_heads(vortex, backend, modules):
    config = {
        "request": {"remove": ["x-debug"], "set": {"x-tenant": "blue", ":path": "/there?q"}, "add": {"x-more": "1"}},
        "response": {"remove": ["x-backend"], "set": {"x-frame-options": "DENY"}},
    }
    target = backend()
    routes = [
        {"name": "all", "match": {"path_prefix": "/"}, "backends": targets(target)},
    ]
    filters = [{"name": "rewrite", "wasm": str(modules / "rewrite.wasm"), "config": config}]
    proxy = vortex(target, routes=routes, filters=filters)
    answer = proxy.request(
        "POST", "/here", [("X-Debug", "1"), ("X-Tenant", "red"), ("X-Tenant", "green"), ("X-More", "0")], b"body"
    )
    seen = answer.json()
    assert (seen["target"], seen["length"]) == ("/there?q", 4)
    assert fields(answer, "x-debug") == []
    assert fields(answer, "x-tenant") == ["blue"]
    assert fields(answer, "x-more") == ["0", "1"]
    assert (answer.get("x-backend"), answer.get("x-frame-options")) == (None, "DENY")


@pytest.mark.parametrize(
    ("name", "config"),
    [("rewrite", {"request": {"set": {"a b": "c"}}}), ("rewrite", {"requests": {}}), ("jwt", {"jwks": {"keys": []}})],
)
def test_what_they_do_not_accept_is_refused_at_load(vortex, tmp_path, modules, name, config):
    filters = [{"name": name, "wasm": str(modules / f"{name}.wasm"), "config": config}]
    code, places, output = check(tmp_path, vortex.config("127.0.0.1:1", filters=filters))
    assert (code, len(places)) == (2, 1), output
    assert "does not accept its configuration" in output
