/* SPDX-License-Identifier: Apache-2.0 */
/* The proxy never asks how a method is written: it passes on what came. Requests of tests are made from nothing. */
#ifndef VX_TESTS_SUPPORT_METHOD_H
#define VX_TESTS_SUPPORT_METHOD_H

#include "core/http/message.h"

/* Empty for VX_METHOD_OTHER. */
static inline struct vx_slice method_name(enum vx_method m) {
    static const struct vx_slice names[] = {[VX_METHOD_OTHER] = {"", 0},
#define X(name) [VX_METHOD_##name] = {#name, sizeof(#name) - 1},
                                            VX_METHOD_LIST(X)
#undef X
    };
    return names[m];
}

#endif
