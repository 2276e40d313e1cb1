// SPDX-License-Identifier: Apache-2.0
//! A filter that lets requests pass only with a JSON Web Token that one of its keys has signed: HS256, RS256 or ES256.
//! Its configuration:
//!
//! ```yaml
//! config:
//!   jwks: { keys: [ { kty: EC, crv: P-256, kid: "1", x: "...", y: "..." } ] }   # as RFC 7517 has it
//!   issuer: https://login.example.org    # `iss` must be this; left out: any
//!   audiences: [api]                     # `aud` must name one of these; left out: any
//!   leeway_seconds: 60                   # how far clocks may differ
//!   require_exp: true                    # whether a token without `exp` is refused
//!   forward: { sub: x-user }             # claims that become request headers; the client's own are taken out
//!   except: [/healthz]                   # paths, by whole segments, that need no token; with `..` in them they do
//! ```
//!
//! The token is taken from `Authorization: Bearer`. A request without a good one gets 401, and so does one with several
//! such fields: the backend might read another one than was judged.

mod keys;
mod token;

use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use base64::Engine;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel};
use serde_json::{Map, Value};
use std::rc::Rc;
use std::time::UNIX_EPOCH;
use token::{Config, Refusal};

/// Base64url without padding, as RFC 7515 §2 has it.
fn bytes_of(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

struct Root {
    config: Option<Rc<Config>>,
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _bytes: usize) -> bool {
        match Config::parse(&self.get_plugin_configuration().unwrap_or_default()) {
            Ok(config) => self.config = Some(Rc::new(config)),
            Err(why) => {
                let _ =
                    proxy_wasm::hostcalls::log(LogLevel::Error, &format!("configuration: {why}"));
            }
        }
        self.config.is_some()
    }

    fn create_http_context(&self, _id: u32) -> Option<Box<dyn HttpContext>> {
        let config = self.config.clone()?;
        Some(Box::new(Stream { config }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

struct Stream {
    config: Rc<Config>,
}

impl Context for Stream {}

/// The one value of `Authorization`. Anything but text is no token, whatever a client sends.
fn authorization(fields: Vec<(String, Vec<u8>)>) -> Result<String, Refusal> {
    let mut values = fields
        .into_iter()
        .filter(|(name, _)| name == "authorization")
        .map(|(_, value)| value);
    let value = values.next().ok_or(Refusal::Missing)?;
    if values.next().is_some() {
        return Err(Refusal::Several);
    }
    String::from_utf8(value).map_err(|_| Refusal::Malformed)
}

/// The token behind `Bearer` (RFC 6750 §2.1; the scheme is compared without case).
fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// A claim as a header value: text as it is, anything else as JSON. What could not stand in a header is left out.
fn field_of(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    text.bytes().all(|b| b >= b' ' && b != 0x7f).then_some(text)
}

impl Stream {
    fn judge(&self) -> Result<Map<String, Value>, Refusal> {
        let authorization = authorization(self.get_http_request_headers_bytes())?;
        let token = bearer(&authorization).ok_or(Refusal::Missing)?;
        let now = self
            .get_current_time()
            .duration_since(UNIX_EPOCH)
            .map(|d| d.as_secs())
            .unwrap_or(0);
        self.config.judge(token, now)
    }

    fn refuse(&self, refusal: Refusal) {
        let challenge = match refusal {
            Refusal::Missing => "Bearer".to_string(),
            _ => format!(
                "Bearer error=\"invalid_token\", error_description=\"{}\"",
                refusal.text()
            ),
        };
        let body = format!(
            "{{\"error\":\"Unauthorized\",\"message\":\"{}\"}}",
            refusal.text()
        );
        let fields = vec![
            ("content-type", "application/json"),
            ("www-authenticate", challenge.as_str()),
        ];
        self.send_http_response(401, fields, Some(body.as_bytes()));
    }
}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _count: usize, _end: bool) -> Action {
        let config = self.config.clone();
        // Also where no token is asked for: nobody but this filter may say who a client is.
        config
            .forward
            .values()
            .for_each(|field| self.set_http_request_header(field, None));
        if config.spares(&self.get_http_request_header(":path").unwrap_or_default()) {
            return Action::Continue;
        }
        match self.judge() {
            Ok(claims) => {
                for (claim, field) in &config.forward {
                    if let Some(value) = claims.get(claim).and_then(field_of) {
                        self.set_http_request_header(field, Some(&value));
                    }
                }
                Action::Continue
            }
            Err(refusal) => {
                self.refuse(refusal);
                Action::Pause
            }
        }
    }
}

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| -> Box<dyn RootContext> { Box::new(Root { config: None }) });
}}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_token() {
        assert_eq!(bearer("Bearer a.b.c"), Some("a.b.c"));
        assert_eq!(bearer("bearer  a"), Some("a"));
        assert_eq!(bearer("Basic a"), None);
        assert_eq!(bearer("Bearer"), None);
    }

    #[test]
    fn finds_the_one_authorization() {
        let field = |name: &str, value: &[u8]| (name.to_string(), value.to_vec());
        let (host, one) = (field("host", b"a"), field("authorization", b"Bearer a"));
        assert_eq!(
            authorization(vec![host.clone(), one.clone()]),
            Ok("Bearer a".into())
        );
        assert_eq!(authorization(vec![host]), Err(Refusal::Missing));
        assert_eq!(authorization(vec![one.clone(), one]), Err(Refusal::Several));
        assert_eq!(
            authorization(vec![field("authorization", b"Bearer \xff")]),
            Err(Refusal::Malformed)
        );
    }

    #[test]
    fn claims_become_fields() {
        assert_eq!(field_of(&Value::from("a b")), Some("a b".into()));
        assert_eq!(field_of(&Value::from(7)), Some("7".into()));
        assert_eq!(field_of(&serde_json::json!(["a"])), Some("[\"a\"]".into()));
        assert_eq!(field_of(&Value::from("a\r\nb")), None);
    }
}
