/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of pairs as they cross the border of a guest: a count, the lengths of all names and values, then each name and
 * each value with a zero byte behind. All numbers are 32 bits, little-endian. */
#ifndef VX_FILTERS_PROXY_WASM_PAIRS_H
#define VX_FILTERS_PROXY_WASM_PAIRS_H

#include "core/http/field_map.h"

/* Reads `bytes`, which a guest wrote, into at most VX_FIELD_MAP_PAIRS_MAX fields; they lie in `bytes`. Nothing at all is
 * the empty list. False: lengths that do not add up, a missing zero byte, more than may be. Pure. */
bool vx_pwasm_pairs_read(struct vx_slice bytes, struct vx_field *fields, uint32_t *count);

/* The size of a list of `count` pairs whose names and values have `bytes` together; 0 for none. */
static inline size_t vx_pwasm_pairs_bytes(uint32_t count, size_t bytes) {
    return count ? 4 + count * (size_t)10 + bytes : 0;
}

/* Writes a list pair by pair into the room that was measured for it, and never beyond: a guest may have run since. */
struct vx_pwasm_pairs {
    uint8_t *lengths, *lengths_end, *text, *text_end;
};

/* `bytes` is vx_pwasm_pairs_bytes() of `count` pairs, not 0. */
struct vx_pwasm_pairs vx_pwasm_pairs_begin(uint8_t *out, uint32_t count, size_t bytes);

/* `lower`: the name is written in lower case. False: there is no room for it. */
bool vx_pwasm_pairs_put(struct vx_pwasm_pairs *p, struct vx_slice name, struct vx_slice value, bool lower);

/* Whether all of the list has been written, so that the lengths add up. */
static inline bool vx_pwasm_pairs_full(const struct vx_pwasm_pairs *p) {
    return p->lengths == p->lengths_end && p->text == p->text_end;
}

#endif
