;; SPDX-License-Identifier: Apache-2.0
;; An `execute` filter with a linear memory, of which it uses a word.
(module
  (memory (export "memory") 1)
  (data (i32.const 16) "some data of its own")
  (func (export "execute") (result i32)
    (i32.store (i32.const 0) (i32.const 200))
    (i32.load (i32.const 0))))
