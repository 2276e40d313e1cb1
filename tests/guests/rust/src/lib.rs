// SPDX-License-Identifier: Apache-2.0
//! A plugin on the Rust SDK: asks another server whether a request may pass, edits bodies once they are whole, counts in
//! shared data, ticks.
use log::{info, warn};
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel};
use std::time::Duration;

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| -> Box<dyn RootContext> { Box::new(Root { upstream: String::new() }) });
}}

struct Root {
    upstream: String,
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _size: usize) -> bool {
        self.upstream = self.get_plugin_configuration().map_or(String::new(), |b| String::from_utf8(b).unwrap());
        self.set_tick_period(Duration::from_millis(10));
        true
    }

    fn on_tick(&mut self) {
        info!("ticked");
        self.set_tick_period(Duration::ZERO);
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, _id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream { upstream: self.upstream.clone() }))
    }
}

struct Stream {
    upstream: String,
}

impl Context for Stream {
    fn on_http_call_response(&mut self, _id: u32, _headers: usize, size: usize, _trailers: usize) {
        let status = self.get_http_call_response_header(":status").unwrap_or_default();
        let body = self.get_http_call_response_body(0, size).unwrap_or_default();
        if status == "200" {
            self.add_http_request_header("x-user", &String::from_utf8_lossy(&body));
            self.resume_http_request();
        } else {
            self.send_http_response(401, vec![("x-auth-status", &status)], Some(b"who are you?"));
        }
    }
}

impl Stream {
    /// Adds one to a counter that all workers share.
    fn count(&self) -> u64 {
        loop {
            let (value, cas) = self.get_shared_data("count");
            let count = value.map_or(0, |v| String::from_utf8(v).unwrap().parse::<u64>().unwrap()) + 1;
            if self.set_shared_data("count", Some(count.to_string().as_bytes()), cas).is_ok() {
                return count;
            }
        }
    }
}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _count: usize, _end: bool) -> Action {
        let count = self.count().to_string();
        self.add_http_request_header("x-count", &count);
        if self.get_http_request_header("authorization").is_none() {
            return Action::Continue;
        }
        let token = self.get_http_request_header("authorization").unwrap();
        let headers = vec![(":method", "GET"), (":path", "/auth"), (":authority", "auth"), ("x-token", &token)];
        match self.dispatch_http_call(&self.upstream.clone(), headers, None, vec![], Duration::from_secs(2)) {
            Ok(_) => Action::Pause,
            Err(status) => {
                warn!("the call was refused: {status:?}");
                self.send_http_response(503, vec![], None);
                Action::Pause
            }
        }
    }

    fn on_http_response_headers(&mut self, _count: usize, _end: bool) -> Action {
        self.set_http_response_header("content-length", None);
        self.set_http_response_header("x-rust", Some("yes"));
        Action::Continue
    }

    fn on_http_response_body(&mut self, size: usize, end: bool) -> Action {
        if !end {
            return Action::Pause;
        }
        if let Some(body) = self.get_http_response_body(0, size) {
            let text = String::from_utf8_lossy(&body).replace("backend", "BACKEND");
            self.set_http_response_body(0, size, text.as_bytes());
        }
        Action::Continue
    }
}
