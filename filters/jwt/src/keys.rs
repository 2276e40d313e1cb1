// SPDX-License-Identifier: Apache-2.0
//! Keys of a JSON Web Key Set (RFC 7517, RFC 7518) and the signatures they verify. The key decides on the algorithm,
//! never the token: a token that names another one is not verified with it.

use crate::bytes_of;
use hmac::{Hmac, Mac};
use p256::ecdsa::signature::Verifier;
use p256::ecdsa::{Signature, VerifyingKey};
use rsa::{BigUint, Pkcs1v15Sign, RsaPublicKey};
use serde::Deserialize;
use sha2::{Digest, Sha256};

/// RFC 7518 §3.2 and §3.3: shorter ones are refused.
const HMAC_KEY_BYTES_MIN: usize = 32;
const RSA_KEY_BITS_MIN: usize = 2048;
const RSA_KEY_BITS_MAX: usize = 8192;

#[derive(Deserialize)]
pub struct Jwks {
    pub keys: Vec<Jwk>,
}

/// As it stands in the configuration. What else a key has (`use`, `x5c`, ...) is of no importance here.
#[derive(Deserialize)]
pub struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    crv: Option<String>,
    k: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

enum Verify {
    Hs256(Vec<u8>),
    Rs256(Box<RsaPublicKey>),
    Es256(Box<VerifyingKey>),
}

pub struct Key {
    pub kid: Option<String>,
    verify: Verify,
}

fn member(value: &Option<String>, name: &str) -> Result<Vec<u8>, String> {
    let text = value.as_ref().ok_or(format!("`{name}` is missing"))?;
    bytes_of(text).ok_or(format!("`{name}` is not base64url"))
}

fn rsa_key(jwk: &Jwk) -> Result<RsaPublicKey, String> {
    let n = BigUint::from_bytes_be(&member(&jwk.n, "n")?);
    let e = BigUint::from_bytes_be(&member(&jwk.e, "e")?);
    let bits = n.bits();
    if !(RSA_KEY_BITS_MIN..=RSA_KEY_BITS_MAX).contains(&bits) {
        return Err(format!(
            "an RSA key of {bits} bits; it must have {RSA_KEY_BITS_MIN} to {RSA_KEY_BITS_MAX}"
        ));
    }
    RsaPublicKey::new_with_max_size(n, e, RSA_KEY_BITS_MAX).map_err(|e| e.to_string())
}

fn ec_key(jwk: &Jwk) -> Result<VerifyingKey, String> {
    if jwk.crv.as_deref() != Some("P-256") {
        return Err("the curve must be P-256".into());
    }
    let (x, y) = (member(&jwk.x, "x")?, member(&jwk.y, "y")?);
    if x.len() != 32 || y.len() != 32 {
        return Err("`x` and `y` must have 32 bytes each".into());
    }
    let point = [&[4], x.as_slice(), y.as_slice()].concat();
    VerifyingKey::from_sec1_bytes(&point).map_err(|_| "`x` and `y` are no point of P-256".into())
}

impl Key {
    pub fn new(jwk: &Jwk) -> Result<Key, String> {
        let verify = match jwk.kty.as_str() {
            "oct" => {
                let secret = member(&jwk.k, "k")?;
                if secret.len() < HMAC_KEY_BYTES_MIN {
                    return Err(format!(
                        "a secret must have at least {HMAC_KEY_BYTES_MIN} bytes"
                    ));
                }
                Verify::Hs256(secret)
            }
            "RSA" => Verify::Rs256(Box::new(rsa_key(jwk)?)),
            "EC" => Verify::Es256(Box::new(ec_key(jwk)?)),
            other => {
                return Err(format!(
                    "`kty` must be `oct`, `RSA` or `EC`; found `{other}`"
                ))
            }
        };
        let key = Key {
            kid: jwk.kid.clone(),
            verify,
        };
        match jwk.alg.as_deref() {
            Some(alg) if alg != key.algorithm() => {
                Err(format!("`alg` of such a key must be `{}`", key.algorithm()))
            }
            _ => Ok(key),
        }
    }

    pub fn algorithm(&self) -> &'static str {
        match self.verify {
            Verify::Hs256(_) => "HS256",
            Verify::Rs256(_) => "RS256",
            Verify::Es256(_) => "ES256",
        }
    }

    pub fn verifies(&self, signed: &[u8], signature: &[u8]) -> bool {
        match &self.verify {
            Verify::Hs256(secret) => Hmac::<Sha256>::new_from_slice(secret)
                .map(|mac| mac.chain_update(signed).verify_slice(signature).is_ok())
                .unwrap_or(false),
            Verify::Rs256(key) => key
                .verify(
                    Pkcs1v15Sign::new::<Sha256>(),
                    &Sha256::digest(signed),
                    signature,
                )
                .is_ok(),
            Verify::Es256(key) => Signature::from_slice(signature)
                .map(|s| key.verify(signed, &s).is_ok())
                .unwrap_or(false),
        }
    }
}
