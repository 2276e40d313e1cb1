/* SPDX-License-Identifier: Apache-2.0 */
/* See text.h. */
#include "admin/service/text.h"

#include <stdlib.h>

/* Whether these two bytes can begin a sequence of several: no overlong form, no surrogate, nothing beyond U+10FFFF
 * (RFC 3629 §4). */
static bool can_begin(unsigned char first, unsigned char second) {
    unsigned char least = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    unsigned char most = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    return first >= 0xc2 && first <= 0xf4 && second >= least && second <= most;
}

/* The length of the sequence that `s` (at least one byte) begins with; 0: it begins with none. */
static size_t sequence(struct vx_slice s) {
    const unsigned char *p = (const unsigned char *)s.ptr;
    if (p[0] < 0x80)
        return p[0] != 0;
    size_t n = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    if (s.len < n || !can_begin(p[0], p[1]))
        return 0;
    for (size_t i = 2; i < n; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    return n;
}

char *vx_admin_text(struct vx_slice text) {
    char *out = malloc(text.len + 1);
    if (!out)
        return NULL;
    size_t at = 0;
    while (at < text.len) {
        size_t n = sequence(vx_slice_skip(text, at));
        if (n)
            memcpy(out + at, text.ptr + at, n);
        else
            out[at] = '?';
        at += n ? n : 1;
    }
    out[text.len] = '\0';
    return out;
}
