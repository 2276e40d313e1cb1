/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers as decimal text, since the core has no printf. */
#ifndef VX_CORE_BASE_DECIMAL_H
#define VX_CORE_BASE_DECIMAL_H

#include "core/base/slice.h"

enum { VX_DECIMAL_MAX_BYTES = 20 };

/* `n` without leading zeros, written to the end of `out`. */
static inline struct vx_slice vx_decimal(uint64_t n, char out[VX_DECIMAL_MAX_BYTES]) {
    size_t at = VX_DECIMAL_MAX_BYTES;
    do {
        out[--at] = (char)('0' + n % 10);
        n /= 10;
    } while (n);
    return vx_slice(out + at, VX_DECIMAL_MAX_BYTES - at);
}

#endif
