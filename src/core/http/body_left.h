/* SPDX-License-Identifier: Apache-2.0 */
/* What is left of a body whose length its head declares (RFC 9110 §8.6). Whatever sends a body holds it against this, on both
 * sides of both protocols; HTTP/1 holds what it receives against it as well.
 *
 * Invariants
 *   1. `bytes` is what the head declared, less what was counted since; 0 where no length is declared.
 *   2. Nothing is counted that vx_body_left_cut has not let through: what lies behind the length is not of this body.
 *   3. A body may end only at 0. One that stops before was cut, and is not made to look whole.
 */
#ifndef VX_CORE_HTTP_BODY_LEFT_H
#define VX_CORE_HTTP_BODY_LEFT_H

#include "core/http/message.h"

/* All zero: no length is declared. */
struct vx_body_left {
    uint64_t bytes;
    bool declared;
};

/* `bytes` counts with VX_BODY_LENGTH only. */
static inline struct vx_body_left vx_body_left_of(enum vx_framing framing, uint64_t bytes) {
    bool declared = framing == VX_BODY_LENGTH;
    return (struct vx_body_left){declared ? bytes : 0, declared};
}

/* The part of `bytes` that belongs to the body. */
static inline struct vx_slice vx_body_left_cut(const struct vx_body_left *left, struct vx_slice bytes) {
    if (left->declared && bytes.len > left->bytes)
        bytes.len = left->bytes;
    return bytes;
}

static inline void vx_body_left_count(struct vx_body_left *left, uint64_t bytes) {
    if (left->declared)
        left->bytes -= bytes;
}

#endif
