// SPDX-License-Identifier: Apache-2.0
//! Tells scripts/build-native where the headers are that other build scripts generated; cargo names those folders only
//! to a dependent's build script.
use std::env;
use std::fs;
use std::path::Path;

fn main() {
    let out_dir = env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    let wasmtime = env::var("DEP_WASMTIME_C_API_INCLUDE").expect("wasmtime-c-api-impl names its include folder");
    let nghttp2 = env::var("DEP_NGHTTP2_ROOT").expect("libnghttp2-sys names its install folder");
    let lines = format!("{wasmtime}\n{nghttp2}/include\n");
    fs::write(Path::new(&out_dir).join("include-folders.txt"), lines).expect("OUT_DIR can be written");
    println!("cargo:rerun-if-changed=build.rs");
}
