;; SPDX-License-Identifier: Apache-2.0
;; An allocator that asks the host for something that needs the allocator, and one that never returns.
(module
  (import "env" "proxy_get_configuration" (func $get (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "proxy_abi_version_0_1_0"))
  (func (export "proxy_on_memory_allocate") (param $n i32) (result i32)
    (if (i32.eq (local.get $n) (i32.const 4)) (then (loop $again (br $again))))
    (drop (call $get (i32.const 16) (i32.const 24)))
    (i32.const 4096))
  (func (export "proxy_on_vm_start") (param i32 i32) (result i32)
    (drop (call $get (i32.const 16) (i32.const 24))) (i32.const 1)))
