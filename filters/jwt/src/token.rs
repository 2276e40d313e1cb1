// SPDX-License-Identifier: Apache-2.0
//! What a token must be to be let pass (RFC 7519, RFC 8725). Without the proxy, so that it can be tested without one.

use crate::bytes_of;
use crate::keys::{Jwks, Key};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// A longer one is refused before anything is computed.
const TOKEN_BYTES_MAX: usize = 16 * 1024;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    jwks: Jwks,
    issuer: Option<String>,
    #[serde(default)]
    audiences: Vec<String>,
    #[serde(default = "a_minute")]
    leeway_seconds: u64,
    #[serde(default = "yes")]
    require_exp: bool,
    #[serde(default)]
    forward: BTreeMap<String, String>,
    #[serde(default)]
    except: Vec<String>,
}

fn a_minute() -> u64 {
    60
}

fn yes() -> bool {
    true
}

/// The filter's configuration, checked.
pub struct Config {
    keys: Vec<Key>,
    issuer: Option<String>,
    audiences: Vec<String>,
    leeway_seconds: u64,
    require_exp: bool,
    /// Claim to header field.
    pub forward: BTreeMap<String, String>,
    except: Vec<String>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    /// RFC 7515 §4.1.11: extensions that must be understood; none is.
    crit: Option<Value>,
}

#[derive(Debug, PartialEq)]
pub enum Refusal {
    Missing,
    Several,
    Malformed,
    UnknownKey,
    Signature,
    NoExpiry,
    Expired,
    NotYet,
    Issuer,
    Audience,
}

impl Refusal {
    /// For `error_description` (RFC 6750 §3): says what is wrong, and nothing about the keys.
    pub fn text(&self) -> &'static str {
        match self {
            Refusal::Missing => "a token is required",
            Refusal::Several => "more than one field carries credentials",
            Refusal::Malformed => "the token is malformed",
            Refusal::UnknownKey => "the token's key is not known",
            Refusal::Signature => "the token's signature is wrong",
            Refusal::NoExpiry => "the token has no exp",
            Refusal::Expired => "the token has expired",
            Refusal::NotYet => "the token is not valid yet",
            Refusal::Issuer => "the token is of another issuer",
            Refusal::Audience => "the token is for another audience",
        }
    }
}

/// Of a request that carries its token in `Authorization`, which is judged after these were taken out.
fn check_forward(field: &str) -> Result<(), String> {
    let fine = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if field.is_empty() || !field.bytes().all(fine) {
        return Err(format!("`forward`: `{field}` is no header name"));
    }
    match field {
        "authorization" | "host" => Err(format!("`forward`: `{field}` is not for claims")),
        _ => Ok(()),
    }
}

impl Config {
    pub fn parse(bytes: &[u8]) -> Result<Config, String> {
        let given: Given = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
        let mut keys = Vec::new();
        for (i, jwk) in given.jwks.keys.iter().enumerate() {
            keys.push(Key::new(jwk).map_err(|why| format!("key {} of `jwks`: {why}", i + 1))?);
        }
        if keys.is_empty() {
            return Err("`jwks` has no keys".into());
        }
        if let Some(path) = given.except.iter().find(|path| !path.starts_with('/')) {
            return Err(format!("`except`: `{path}` must begin with `/`"));
        }
        let forward: BTreeMap<String, String> = given
            .forward
            .into_iter()
            .map(|(claim, field)| (claim, field.to_lowercase()))
            .collect();
        forward
            .values()
            .try_for_each(|field| check_forward(field))?;
        Ok(Config {
            keys,
            issuer: given.issuer,
            audiences: given.audiences,
            leeway_seconds: given.leeway_seconds,
            require_exp: given.require_exp,
            forward,
            except: given.except,
        })
    }

    /// Whether requests for this path need no token. A prefix is compared by whole segments. The proxy has resolved dot
    /// segments, but a backend may find some behind what the proxy keeps (`..%2f`, `..;`, `..\`, `%252e`).
    pub fn spares(&self, path: &str) -> bool {
        let path = path.split('?').next().unwrap_or("");
        if path.contains("..") || path.contains("%25") {
            return false;
        }
        self.except
            .iter()
            .any(|prefix| match path.strip_prefix(prefix.as_str()) {
                Some(rest) => rest.is_empty() || rest.starts_with('/') || prefix.ends_with('/'),
                None => false,
            })
    }

    /// The claims of a token that may pass at `now`, seconds since 1970.
    pub fn judge(&self, token: &str, now: u64) -> Result<Map<String, Value>, Refusal> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(Refusal::Malformed);
        }
        let parts: Vec<&str> = token.split('.').collect();
        let [header, claims, signature] = parts[..] else {
            return Err(Refusal::Malformed);
        };
        let signed = &token[..header.len() + 1 + claims.len()];
        let header: Header = decode(header)?;
        if header.crit.is_some() {
            return Err(Refusal::Malformed);
        }
        let signature = bytes_of(signature).ok_or(Refusal::Malformed)?;
        self.check_signature(&header, signed.as_bytes(), &signature)?;
        let claims: Map<String, Value> = decode(claims)?;
        self.check_times(&claims, now)?;
        self.check_parties(&claims)?;
        Ok(claims)
    }

    fn check_signature(
        &self,
        header: &Header,
        signed: &[u8],
        signature: &[u8],
    ) -> Result<(), Refusal> {
        let fits = |key: &&Key| {
            key.algorithm() == header.alg
                && (header.kid.is_none() || key.kid.is_none() || key.kid == header.kid)
        };
        let mut keys = self.keys.iter().filter(fits).peekable();
        if keys.peek().is_none() {
            return Err(Refusal::UnknownKey);
        }
        match keys.any(|key| key.verifies(signed, signature)) {
            true => Ok(()),
            false => Err(Refusal::Signature),
        }
    }

    fn check_times(&self, claims: &Map<String, Value>, now: u64) -> Result<(), Refusal> {
        let leeway = self.leeway_seconds as f64;
        let now = now as f64;
        match seconds(claims, "exp")? {
            Some(exp) if now >= exp + leeway => return Err(Refusal::Expired),
            None if self.require_exp => return Err(Refusal::NoExpiry),
            _ => {}
        }
        match seconds(claims, "nbf")? {
            Some(nbf) if now + leeway < nbf => Err(Refusal::NotYet),
            _ => Ok(()),
        }
    }

    fn check_parties(&self, claims: &Map<String, Value>) -> Result<(), Refusal> {
        if let Some(issuer) = &self.issuer {
            if claims.get("iss").and_then(Value::as_str) != Some(issuer) {
                return Err(Refusal::Issuer);
            }
        }
        let ours = |aud: &Value| {
            aud.as_str()
                .is_some_and(|aud| self.audiences.iter().any(|a| a == aud))
        };
        let fits = match claims.get("aud") {
            Some(Value::Array(list)) => list.iter().any(ours),
            Some(one) => ours(one),
            None => false,
        };
        match self.audiences.is_empty() || fits {
            true => Ok(()),
            false => Err(Refusal::Audience),
        }
    }
}

fn decode<T: serde::de::DeserializeOwned>(part: &str) -> Result<T, Refusal> {
    let bytes = bytes_of(part).ok_or(Refusal::Malformed)?;
    serde_json::from_slice(&bytes).map_err(|_| Refusal::Malformed)
}

/// A NumericDate (RFC 7519 §2); one that is no number is an error, not an absent one.
fn seconds(claims: &Map<String, Value>, name: &str) -> Result<Option<f64>, Refusal> {
    match claims.get(name) {
        None => Ok(None),
        Some(value) => value.as_f64().map(Some).ok_or(Refusal::Malformed),
    }
}

#[cfg(test)]
#[path = "token_tests.rs"]
mod tests;
