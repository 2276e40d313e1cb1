;; SPDX-License-Identifier: Apache-2.0
;; Neither memory nor table, but something to remember by: only in a fresh sandbox does `execute` return 200.
(module
  (global $last (mut i32) (i32.const 199))
  (func (export "execute") (result i32)
    (global.set $last (i32.add (global.get $last) (i32.const 1)))
    (global.get $last))
  (func (export "trap") (unreachable))
  (func (export "spin") (loop $again (br $again))))
