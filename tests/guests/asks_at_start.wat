;; SPDX-License-Identifier: Apache-2.0
;; An `execute` module whose start function already asks the host for something that takes the allocator.
(module
  (import "env" "proxy_get_header_map_value" (func $get (param i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 64) ":path")
  (func $ask (drop (call $get (i32.const 0) (i32.const 64) (i32.const 5) (i32.const 16) (i32.const 24))))
  (start $ask)
  (func (export "malloc") (param i32) (result i32) (i32.const 4096))
  (func (export "execute") (result i32) (i32.const 200)))
