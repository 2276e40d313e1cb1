/* SPDX-License-Identifier: Apache-2.0 */
/* The WebAssembly modules that tests run: tests/guests/ as it was built. A program that uses this runs guests, and keeps
 * cmocka from taking the signals by which Wasmtime notices traps. */
#ifndef VX_TESTS_SUPPORT_GUEST_H
#define VX_TESTS_SUPPORT_GUEST_H

#include "core/base/slice.h"

/* The bytes of tests/guests/NAME. Aborts when it is not there. Freed with vx_guest_free. */
struct vx_slice vx_guest_load(const char *name);
void vx_guest_free(struct vx_slice binary);

#endif
