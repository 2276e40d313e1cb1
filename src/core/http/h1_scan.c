/* SPDX-License-Identifier: Apache-2.0 */
/* See h1_scan.h. Sixty-four bytes become three bit masks, and three expressions over these find all that
 * matters at once; a line costs no branch of its own. */
#include "core/http/h1_scan.h"

#ifdef __SSE2__
#include <immintrin.h>
#endif

enum { BLOCK = 64 };

struct masks {
    uint64_t cr, lf;
    uint64_t control; /* CR, LF and all other control characters but HTAB */
};

#ifdef __SSE2__
static inline struct masks classify(const char *p) {
    const __m128i cr = _mm_set1_epi8('\r'), lf = _mm_set1_epi8('\n'), tab = _mm_set1_epi8('\t');
    const __m128i last_control = _mm_set1_epi8(0x1f), del = _mm_set1_epi8(0x7f);
    struct masks m = {0, 0, 0};
    for (int i = 0; i < BLOCK; i += 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)(p + i));
        __m128i control = _mm_cmpeq_epi8(_mm_min_epu8(v, last_control), v);
        control = _mm_andnot_si128(_mm_cmpeq_epi8(v, tab), control);
        control = _mm_or_si128(control, _mm_cmpeq_epi8(v, del));
        m.cr |= (uint64_t)(unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(v, cr)) << i;
        m.lf |= (uint64_t)(unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(v, lf)) << i;
        m.control |= (uint64_t)(unsigned)_mm_movemask_epi8(control) << i;
    }
    return m;
}
#else
static inline struct masks classify(const char *p) {
    struct masks m = {0, 0, 0};
    for (int i = 0; i < BLOCK; i++) {
        unsigned char c = (unsigned char)p[i];
        m.cr |= (uint64_t)(c == '\r') << i;
        m.lf |= (uint64_t)(c == '\n') << i;
        m.control |= (uint64_t)((c < 0x20 && c != '\t') || c == 0x7f) << i;
    }
    return m;
}
#endif

/* The masks of the last n < 64 bytes, which are bytes[len-n..len). */
static struct masks classify_tail(struct vx_slice bytes, size_t n) {
    if (bytes.len >= BLOCK) {
        struct masks m = classify(bytes.ptr + bytes.len - BLOCK);
        unsigned before = (unsigned)(BLOCK - n);
        return (struct masks){m.cr >> before, m.lf >> before, m.control >> before};
    }
    char padded[BLOCK];
    memset(padded, ' ', sizeof padded);
    memcpy(padded, bytes.ptr + bytes.len - n, n);
    return classify(padded);
}

enum vx_h1_scan vx_h1_scan(struct vx_slice bytes, size_t *at) {
    size_t from = *at;
    uint64_t after_cr = from && bytes.ptr[from - 1] == '\r';
    uint64_t after_lf = !from || bytes.ptr[from - 1] == '\n';
    while (from < bytes.len) {
        size_t n = bytes.len - from;
        uint64_t valid = ~UINT64_C(0);
        struct masks m;
        if (n >= BLOCK) {
            n = BLOCK;
            m = classify(bytes.ptr + from);
        } else {
            valid = (UINT64_C(1) << n) - 1;
            m = classify_tail(bytes, n);
        }
        uint64_t bad = m.control ^ (m.cr | m.lf);
        bad |= (m.lf ^ (m.cr << 1 | after_cr)) & valid; /* CR and LF only as a pair */
        uint64_t empty_line = m.cr & (m.lf << 1 | after_lf);
        if (__builtin_expect((bad | empty_line) != 0, 0)) {
            unsigned first = (unsigned)__builtin_ctzll(bad | empty_line);
            *at = from + first;
            if (bad >> first & 1)
                return VX_H1_SCAN_BAD;
            if (*at + 1 == bytes.len)
                return VX_H1_SCAN_MORE;
            if (bytes.ptr[*at + 1] != '\n') {
                *at += 1;
                return VX_H1_SCAN_BAD;
            }
            *at += 2;
            return VX_H1_SCAN_END;
        }
        after_cr = m.cr >> (n - 1) & 1;
        after_lf = m.lf >> (n - 1) & 1;
        from += n;
    }
    *at = from;
    return VX_H1_SCAN_MORE;
}

const char *vx_h1_scan_reason(struct vx_slice bytes, size_t at) {
    if (bytes.ptr[at] == '\n')
        return "a bare LF";
    if (at && bytes.ptr[at - 1] == '\r')
        return "a bare CR";
    return bytes.ptr[at] ? "a control character" : "a NUL byte";
}
