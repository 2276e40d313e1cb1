;; SPDX-License-Identifier: Apache-2.0
;; An allocator that adds to the headers which it is asked to make room for, and gives the last bytes of the memory.
(module
  (import "env" "proxy_get_header_map_pairs" (func $pairs (param i32 i32 i32) (result i32)))
  (import "env" "proxy_add_header_map_value" (func $add (param i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 64) "x-more")
  (func $fill (memory.fill (i32.const 2048) (i32.const 118) (i32.const 4096)))
  (start $fill)
  (func (export "proxy_abi_version_0_2_0"))
  (func (export "proxy_on_memory_allocate") (param $n i32) (result i32)
    (drop (call $add (i32.const 0) (i32.const 64) (i32.const 6) (i32.const 2048) (i32.const 4096)))
    (i32.sub (i32.const 65536) (local.get $n)))
  (func (export "proxy_on_context_create") (param $id i32) (param i32)
    (if (i32.gt_u (local.get $id) (i32.const 1)) (then
      (i32.store8 (i32.const 1024)
        (i32.add (i32.const 48) (call $pairs (i32.const 0) (i32.const 16) (i32.const 24))))))))
