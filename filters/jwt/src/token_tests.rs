// SPDX-License-Identifier: Apache-2.0
//! Tokens good and bad.

use super::*;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use base64::Engine;
use hmac::{Hmac, Mac};
use serde_json::json;
use sha2::Sha256;

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
const NOW: u64 = 1_800_000_000;

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn sign(header: Value, claims: Value) -> String {
    let signed = format!(
        "{}.{}",
        encode(header.to_string().as_bytes()),
        encode(claims.to_string().as_bytes())
    );
    let mac = Hmac::<Sha256>::new_from_slice(SECRET)
        .unwrap()
        .chain_update(signed.as_bytes());
    format!("{signed}.{}", encode(&mac.finalize().into_bytes()))
}

fn config(more: Value) -> Config {
    let mut all = json!({"jwks": {"keys": [{"kty": "oct", "kid": "1", "k": encode(SECRET)}]}});
    all.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    Config::parse(all.to_string().as_bytes()).unwrap()
}

fn judge(more: Value, claims: Value) -> Result<(), Refusal> {
    config(more)
        .judge(&sign(json!({"alg": "HS256"}), claims), NOW)
        .map(|_| ())
}

#[test]
fn times() {
    assert_eq!(judge(json!({}), json!({"exp": NOW + 1})), Ok(()));
    assert_eq!(judge(json!({}), json!({"exp": NOW - 59})), Ok(()));
    assert_eq!(
        judge(json!({}), json!({"exp": NOW - 60})),
        Err(Refusal::Expired)
    );
    assert_eq!(
        judge(json!({"leeway_seconds": 0}), json!({"exp": NOW})),
        Err(Refusal::Expired)
    );
    assert_eq!(
        judge(json!({}), json!({"exp": NOW + 9, "nbf": NOW + 61})),
        Err(Refusal::NotYet)
    );
    assert_eq!(
        judge(json!({}), json!({"exp": "tomorrow"})),
        Err(Refusal::Malformed)
    );
    assert_eq!(judge(json!({}), json!({})), Err(Refusal::NoExpiry));
    assert_eq!(judge(json!({"require_exp": false}), json!({})), Ok(()));
}

#[test]
fn parties() {
    let at = NOW + 1;
    assert_eq!(
        judge(json!({"issuer": "i"}), json!({"exp": at, "iss": "i"})),
        Ok(())
    );
    assert_eq!(
        judge(json!({"issuer": "i"}), json!({"exp": at, "iss": "j"})),
        Err(Refusal::Issuer)
    );
    assert_eq!(
        judge(json!({"issuer": "i"}), json!({"exp": at})),
        Err(Refusal::Issuer)
    );
    assert_eq!(
        judge(
            json!({"audiences": ["a", "b"]}),
            json!({"exp": at, "aud": "b"})
        ),
        Ok(())
    );
    assert_eq!(
        judge(
            json!({"audiences": ["a"]}),
            json!({"exp": at, "aud": ["x", "a"]})
        ),
        Ok(())
    );
    assert_eq!(
        judge(json!({"audiences": ["a"]}), json!({"exp": at, "aud": "x"})),
        Err(Refusal::Audience)
    );
    assert_eq!(
        judge(json!({"audiences": ["a"]}), json!({"exp": at})),
        Err(Refusal::Audience)
    );
}

#[test]
fn signatures() {
    let config = config(json!({}));
    let good = sign(
        json!({"alg": "HS256", "kid": "1"}),
        json!({"exp": NOW + 1, "sub": "me"}),
    );
    assert_eq!(config.judge(&good, NOW).unwrap()["sub"], "me");
    let claims = json!({"exp": NOW + 1});
    for (header, refusal) in [
        (json!({"alg": "none"}), Refusal::UnknownKey),
        (json!({"alg": "RS256"}), Refusal::UnknownKey),
        (json!({"alg": "HS256", "kid": "2"}), Refusal::UnknownKey),
        (json!({"alg": "HS256", "crit": ["b64"]}), Refusal::Malformed),
        (json!({"kid": "1"}), Refusal::Malformed),
    ] {
        assert_eq!(
            config
                .judge(&sign(header.clone(), claims.clone()), NOW)
                .map(|_| ()),
            Err(refusal),
            "{header}"
        );
    }
    let mut other = good.clone().into_bytes();
    let at = good.find('.').unwrap() + 5;
    other[at] ^= 1;
    let other = String::from_utf8(other).unwrap();
    assert_eq!(
        config.judge(&other, NOW).map(|_| ()),
        Err(Refusal::Signature)
    );
    for bad in [
        "",
        ".",
        "..",
        "a.b",
        "a.b.c.d",
        &format!("{good}="),
        &good.replace('.', " "),
    ] {
        assert_eq!(
            config.judge(bad, NOW).map(|_| ()),
            Err(Refusal::Malformed),
            "{bad}"
        );
    }
    assert_eq!(
        config.judge(&"a".repeat(20_000), NOW).map(|_| ()),
        Err(Refusal::Malformed)
    );
}

/// Made by OpenSSL, with keys that were thrown away.
#[test]
fn signatures_of_others() {
    let rsa = json!({"kty": "RSA", "e": "AQAB", "n": concat!(
        "t2RgSUX_oDOHAmSM1MvSV0WcxBEEIlKdLMnpcZ5Su3GMh-QR6B1pS8E6O44nezIJ3nKu6beTQ5nEzmgvMkjlH6roQSTUaVRo",
        "LMc5TBREYahnOnTmReLoy9swqdZthgzR5l1YhU4wux4_HfgpF3eVSfdbjagqi_21bWclaDaTPqjFtrQxyCkOagF8AxIpNOYC",
        "xVpUkft4FpSMiuLzncJ0aLCzcSIeSG7T_bSz_77nbazkqswO9pl8vwEYJetFdx8B4R1zWCf_qkvMSInlN4CMNg8xCGV7NWsM",
        "NcmD5-VIJG1Kv5qdmoACx-cZVLPhyAJBGZUboLBDBEYx5XNjkGfIqw")});
    let ec = json!({"kty": "EC", "crv": "P-256", "x": "A0k-2Ex-FLBLOLrHZ9gUyWIPKFE4ahIJ7iSUZ5GfWoU", "y": "aMSf3l7oN9mNztcRpMwuhwOk1u165CrTZV2rvSnkRkI"});
    let rs256 = concat!(
        "eyJhbGciOiAiUlMyNTYifQ.eyJpc3MiOiAiam9lIiwgImV4cCI6IDEzMDA4MTkzODB9.XcEAC4fVIG6ZtlXskxKsuTI3amuu",
        "RIAYlvmZMv3mmu0zjEb5cp-wH-7K2glPkpD49bIyHUr0c8omPVt6wM7PTKfZEH403Zp6WAoJY1TzURbxPIgVI5WAkFQQQkr1",
        "trigyl8bX9VQEf1E9dRhtMUCV8xSTkom8Zq6Z2QaSysoFOoKIhM8YkPPO40-eWZN_HQLv0940pD5CdQTZyF6Q_PA4dlNgKYG",
        "DojqDVdBdDUvg81Zdeaq30-zIze9AJfwa-3BsCVXcmntN7C44bonBn2_tWV-7FH4OCS0y3Ki-6jNv6mHIAZXvzu3PhIKJBtX",
        "lgPgHhqbe2ROwRrJCcc5mCqVAg");
    let es256 = concat!(
        "eyJhbGciOiAiRVMyNTYifQ.eyJpc3MiOiAiam9lIiwgImV4cCI6IDEzMDA4MTkzODB9.5-aWSzScAiAh22Nw0f6aYoOYZFAZ",
        "W14cGGCc0d6h5obuOiZvkBmk9OvEQpIwpdB0TxuRd__qC3LYp2libfrgaQ");
    let config =
        Config::parse(json!({"jwks": {"keys": [rsa, ec]}}).to_string().as_bytes()).unwrap();
    for token in [rs256, es256] {
        assert_eq!(config.judge(token, 1_300_819_000).unwrap()["iss"], "joe");
        assert_eq!(config.judge(token, NOW).map(|_| ()), Err(Refusal::Expired));
        let (head, signature) = token.rsplit_once('.').unwrap();
        let mut bytes = bytes_of(signature).unwrap();
        bytes[9] ^= 1;
        let wrong = format!("{head}.{}", encode(&bytes));
        assert_eq!(
            config.judge(&wrong, 1_300_819_000).map(|_| ()),
            Err(Refusal::Signature)
        );
        assert!(config.judge(head, 1_300_819_000).is_err());
        assert!(config.judge(&format!("{head}."), 1_300_819_000).is_err());
    }
}

#[test]
fn configurations() {
    for bad in [
        json!({}),
        json!({"jwks": {"keys": []}}),
        json!({"jwks": {"keys": [{"kty": "oct", "k": encode(b"short")}]}}),
        json!({"jwks": {"keys": [{"kty": "oct", "k": encode(SECRET), "alg": "HS512"}]}}),
        json!({"jwks": {"keys": [{"kty": "OKP"}]}}),
        json!({"jwks": {"keys": [{"kty": "RSA", "n": "AQAB", "e": "AQAB"}]}}),
        json!({"jwks": {"keys": [{"kty": "EC", "crv": "P-384", "x": "", "y": ""}]}}),
        json!({"jwks": {"keys": [{"kty": "EC", "crv": "P-256", "x": encode(SECRET), "y": encode(SECRET)}]}}),
        json!({"jwks": {"keys": [{"kty": "oct", "k": encode(SECRET)}]}, "isuer": "x"}),
        json!({"jwks": {"keys": [{"kty": "oct", "k": encode(SECRET)}]}, "forward": {"sub": "x user"}}),
        json!({"jwks": {"keys": [{"kty": "oct", "k": encode(SECRET)}]}, "forward": {"sub": ":path"}}),
        json!({"jwks": {"keys": [{"kty": "oct", "k": encode(SECRET)}]}, "forward": {"sub": "Authorization"}}),
        json!({"jwks": {"keys": [{"kty": "oct", "k": encode(SECRET)}]}, "except": [""]}),
    ] {
        assert!(Config::parse(bad.to_string().as_bytes()).is_err(), "{bad}");
    }
}

#[test]
fn spared_paths() {
    let config = config(json!({"except": ["/healthz", "/public/"]}));
    for path in ["/healthz", "/healthz?x", "/healthz/a", "/public/a"] {
        assert!(config.spares(path), "{path}");
    }
    for path in [
        "/",
        "/healthzx",
        "/public",
        "/x/healthz",
        "",
        "/public/..%2fx",
        "/public/..;/x",
        "/public/%252e%252e/x",
    ] {
        assert!(!config.spares(path), "{path}");
    }
}
