;; SPDX-License-Identifier: Apache-2.0
;; What the engine's tests need of a guest: work, and every way to misbehave.
(module
  (import "env" "add" (func $add (param i32 i32) (result i32)))
  (import "env" "add64" (func $add64 (param i32 i64) (result i64)))
  (memory (export "memory") 1)
  (data (i32.const 16) "as compiled")
  (func (export "answer") (result i32) (i32.const 42))
  (func (export "call_host") (param i32 i32) (result i32) (call $add (local.get 0) (local.get 1)))
  (func (export "call_host64") (param i32 i64) (result i64) (call $add64 (local.get 0) (local.get 1)))
  (func (export "call_host_twice") (result i32)
    (local $n i32)
    (loop $again
      (local.set $n (call $add (local.get $n) (i32.const -999)))
      (br_if $again (i32.lt_u (local.get $n) (i32.const 2))))
    (local.get $n))
  (func (export "trap") (unreachable))
  (func (export "spin") (loop $again (br $again)))
  (func $nest (export "nest") (call $nest))
  (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
  (func (export "load") (param i32) (result i32) (i32.load8_u (local.get 0)))
  (func (export "store") (param i32 i32) (i32.store8 (local.get 0) (local.get 1))))
