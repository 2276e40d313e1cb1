/* SPDX-License-Identifier: Apache-2.0 */
/* From a field name to its id by a perfect hash of length, first and last letter, inline for the parser's loop.
 * Private to core/http; others call vx_header_id_of. */
#ifndef VX_CORE_HTTP_HEADER_IDS_H
#define VX_CORE_HTTP_HEADER_IDS_H

#include "core/http/message.h"

enum { VX_HEADER_SLOTS = 128, VX_HEADER_NAME_MAX = 19 };

/* Chosen so that no two of our names share a slot; -Woverride-init and the unit test prove it. A new name that collides
 * wants other factors. */
#define VX_HEADER_SLOT(length, first, last) (((length) + (first)*6 + (last)*3) % VX_HEADER_SLOTS)

struct vx_header_name {
    uint8_t len;
    char text[VX_HEADER_NAME_MAX +
              4]; /* so that an entry is 24 bytes; 8 may be read at any place of the name */
};

extern const uint8_t vx_header_slots[VX_HEADER_SLOTS];
extern const struct vx_header_name vx_header_names[VX_HEADER_COUNT];

/* The id whose name differs from the `len` > 0 bytes at `name` in no bit outside of `ignored`, a byte of it for each byte. */
static inline enum vx_header_id vx_header_id_matching(const char *name, size_t len, uint64_t ignored) {
    unsigned first = (unsigned char)name[0] | 0x20u, last = (unsigned char)name[len - 1] | 0x20u;
    unsigned id = vx_header_slots[VX_HEADER_SLOT((unsigned)len, first, last)];
    const struct vx_header_name *known = &vx_header_names[id];
    if (known->len != len)
        return VX_HEADER_OTHER;
    uint64_t differ = 0;
    if (len >= 8) {
        differ = (vx_load8(name) | ignored) ^ vx_load8(known->text);
        differ |= (vx_load8(name + len - 8) | ignored) ^ vx_load8(known->text + len - 8);
        if (len > 16)
            differ |= (vx_load8(name + 8) | ignored) ^ vx_load8(known->text + 8);
    } else if (len >= 4) {
        differ = (vx_load4(name) | (uint32_t)ignored) ^ vx_load4(known->text);
        differ |= (vx_load4(name + len - 4) | (uint32_t)ignored) ^ vx_load4(known->text + len - 4);
    } else {
        for (size_t i = 0; i < len; i++)
            differ |= (uint64_t)(((unsigned char)name[i] | (uint8_t)ignored) ^ (unsigned char)known->text[i]);
    }
    return differ ? VX_HEADER_OTHER : (enum vx_header_id)id;
}

/* `name` is a token (RFC 9110 §5.6.2) of `len` > 0 bytes. A tchar that differs from a letter, digit or `-` in bit 5 alone
 * is the same letter in the other case, so setting that bit is all it takes to compare without case. */
static inline enum vx_header_id vx_header_id_of_token(const char *name, size_t len) {
    return vx_header_id_matching(name, len, 0x2020202020202020u);
}

#endif
