;; SPDX-License-Identifier: Apache-2.0
(module
  (func $main (loop $again (br $again)))
  (start $main))
