;; SPDX-License-Identifier: Apache-2.0
;; An `execute` module whose start function already says something and sends a request of its own.
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_http_call"
    (func $http_call (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 64) "\00\01\00\00\05\00\00\00")
  (data (i32.const 256) "hello")
  (data (i32.const 512) "\03\00\00\00\07\00\00\00\03\00\00\00\05\00\00\00\01\00\00\00\0a\00\00\00\01\00\00\00")
  (data (i32.const 540) ":method\00GET\00:path\00/\00:authority\00a\00")
  (func $speak
    (drop (call $fd_write (i32.const 1) (i32.const 64) (i32.const 1) (i32.const 72)))
    (if (call $http_call (i32.const 256) (i32.const 5) (i32.const 512) (i32.const 61) (i32.const 0) (i32.const 0)
          (i32.const 0) (i32.const 0) (i32.const 1000) (i32.const 80))
      (then (unreachable))))
  (start $speak)
  (func (export "execute") (result i32) (i32.const 200)))
