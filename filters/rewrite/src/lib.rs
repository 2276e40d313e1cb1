// SPDX-License-Identifier: Apache-2.0
//! A filter that adds, sets and removes header fields of requests and responses. Its configuration:
//!
//! ```yaml
//! config:
//!   request:  { remove: [x-debug], set: { x-tenant: blue }, add: { via: edge } }
//!   response: { remove: [server], set: { x-frame-options: DENY } }
//! ```
//!
//! `remove` comes first, then `set` (this value instead of all others), then `add` (one more value). What cannot be a
//! header name or value is refused when the filter starts, not when a request comes.

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::rc::Rc;

/// What happens to the head of one direction.
#[derive(Deserialize, Default, Debug, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Edits {
    remove: Vec<String>,
    set: BTreeMap<String, String>,
    add: BTreeMap<String, String>,
}

#[derive(Deserialize, Default, Debug, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    request: Edits,
    response: Edits,
}

/// What the proxy says by itself, whatever a plugin sets: fields of a connection, and how bodies are framed.
const OF_THE_PROXY: [&str; 8] = [
    "connection",
    "content-length",
    "expect",
    "keep-alive",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
];

fn is_token(text: &str) -> bool {
    let fine = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    !text.is_empty() && text.bytes().all(fine)
}

/// RFC 9110 §5.1.
fn check_name(name: &str) -> Result<(), String> {
    if !is_token(name.strip_prefix(':').unwrap_or(name)) {
        return Err(format!("`{name}` is no header name"));
    }
    if OF_THE_PROXY.contains(&name.to_lowercase().as_str()) {
        return Err(format!("`{name}` is not for filters to edit"));
    }
    Ok(())
}

fn check_removed(name: &str) -> Result<(), String> {
    check_name(name)?;
    match name.starts_with(':') || name.eq_ignore_ascii_case("host") {
        true => Err(format!("`{name}` cannot be removed")),
        false => Ok(()),
    }
}

/// RFC 9110 §5.5, and what pseudo fields can be.
fn check_value(name: &str, value: &str) -> Result<(), String> {
    let visible = || value.bytes().all(|b| (b'!'..=b'~').contains(&b));
    let fine = match name.to_lowercase().as_str() {
        ":method" => is_token(value) && value != "CONNECT",
        ":path" => value.starts_with('/') && !value.contains('#') && visible(),
        ":authority" | ":scheme" | "host" => !value.is_empty() && visible(),
        ":status" => value.len() == 3 && value.parse().is_ok_and(|n: u16| (200..600).contains(&n)),
        _ => value
            .bytes()
            .all(|b| b == b'\t' || (b >= b' ' && b != 0x7f)),
    };
    match fine {
        true => Ok(()),
        false => Err(format!("`{name}` cannot be {value:?}")),
    }
}

impl Edits {
    /// `pseudo`: the fields beside the ordinary ones that a head of this direction has.
    fn check(&self, pseudo: &[&str]) -> Result<(), String> {
        self.remove
            .iter()
            .try_for_each(|name| check_removed(name))?;
        for (name, value) in self.set.iter().chain(&self.add) {
            check_name(name)?;
            if name.starts_with(':') && !pseudo.contains(&name.as_str()) {
                return Err(format!("there is no `{name}` here"));
            }
            check_value(name, value)?;
        }
        Ok(())
    }
}

impl Config {
    /// An empty configuration edits nothing.
    pub fn parse(bytes: &[u8]) -> Result<Config, String> {
        if bytes.is_empty() {
            return Ok(Config::default());
        }
        let config: Config = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
        config
            .request
            .check(&[":method", ":path", ":authority", ":scheme"])?;
        config.response.check(&[":status"])?;
        Ok(config)
    }
}

struct Root {
    config: Rc<Config>,
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _bytes: usize) -> bool {
        match Config::parse(&self.get_plugin_configuration().unwrap_or_default()) {
            Ok(config) => {
                self.config = Rc::new(config);
                true
            }
            Err(why) => {
                let _ =
                    proxy_wasm::hostcalls::log(LogLevel::Error, &format!("configuration: {why}"));
                false
            }
        }
    }

    fn create_http_context(&self, _id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream {
            config: self.config.clone(),
        }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

struct Stream {
    config: Rc<Config>,
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _count: usize, _end: bool) -> Action {
        let edits = &self.config.clone().request;
        edits
            .remove
            .iter()
            .for_each(|name| self.set_http_request_header(name, None));
        edits
            .set
            .iter()
            .for_each(|(name, value)| self.set_http_request_header(name, Some(value)));
        edits
            .add
            .iter()
            .for_each(|(name, value)| self.add_http_request_header(name, value));
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _count: usize, _end: bool) -> Action {
        let edits = &self.config.clone().response;
        edits
            .remove
            .iter()
            .for_each(|name| self.set_http_response_header(name, None));
        edits
            .set
            .iter()
            .for_each(|(name, value)| self.set_http_response_header(name, Some(value)));
        edits
            .add
            .iter()
            .for_each(|(name, value)| self.add_http_response_header(name, value));
        Action::Continue
    }
}

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| -> Box<dyn RootContext> {
        Box::new(Root { config: Rc::new(Config::default()) })
    });
}}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_its_configuration() {
        let config =
            Config::parse(br#"{"request":{"remove":["a"],"set":{":path":"/x"},"add":{"b":"1"}}}"#)
                .unwrap();
        assert_eq!(config.request.remove, ["a"]);
        assert_eq!(config.request.set[":path"], "/x");
        assert_eq!(config.response, Edits::default());
        assert_eq!(Config::parse(b"").unwrap(), Config::default());
    }

    #[test]
    fn refuses_what_cannot_be_a_field() {
        for bad in [
            r#"{"requests":{}}"#,
            r#"{"request":{"remove":["a b"]}}"#,
            r#"{"request":{"set":{"":"x"}}}"#,
            r#"{"response":{"add":{"a":"b\r\nc"}}}"#,
            r#"{"request":{"set":{"a":"b\u0001"}}}"#,
            r#"{"request":{"set":{":path":"a"}}}"#,
            r#"{"request":{"set":{":path":"/a b"}}}"#,
            r#"{"request":{"set":{":method":"CONNECT"}}}"#,
            r#"{"request":{"set":{":status":"200"}}}"#,
            r#"{"request":{"add":{"Transfer-Encoding":"chunked"}}}"#,
            r#"{"request":{"remove":[":path"]}}"#,
            r#"{"request":{"remove":["host"]}}"#,
            r#"{"response":{"set":{":status":"99"}}}"#,
            r#"{"response":{"set":{":path":"/"}}}"#,
            "text",
        ] {
            assert!(Config::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
