;; SPDX-License-Identifier: Apache-2.0
;; Memory and an allocator, for tests that make host calls in a guest's place. Blocks come one after the other from 32768
;; on; what begins beyond 65000 is not given, and 666 bytes make it trap.
(module
  (memory (export "memory") 1)
  (global $at (mut i32) (i32.const 32768))
  (func (export "proxy_abi_version_0_2_0"))
  (func (export "proxy_on_memory_allocate") (param $n i32) (result i32) (local $p i32)
    (if (i32.eq (local.get $n) (i32.const 666)) (then (unreachable)))
    (if (i32.gt_u (i32.add (global.get $at) (local.get $n)) (i32.const 65000)) (then (return (i32.const 0))))
    (local.set $p (global.get $at))
    (global.set $at (i32.add (global.get $at) (local.get $n)))
    (local.get $p)))
