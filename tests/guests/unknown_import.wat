;; SPDX-License-Identifier: Apache-2.0
(module
  (import "env" "launch_rocket" (func $launch (param i32)))
  (import "env" "add" (func $add (param i32 i32) (result i32))))
