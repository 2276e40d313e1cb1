// SPDX-License-Identifier: Apache-2.0
//! Nothing but re-exports: naming a crate here keeps its C symbols in the static archive.
pub use libnghttp2_sys;
pub use quiche;
pub use wasmtime_c_api;
pub use yyjson_sys;
