/* SPDX-License-Identifier: Apache-2.0 */
/* Classes of bytes and searches over them, for the parsers beside this file. Sixteen bytes at a time where
 * the machine has SSSE3 (our x86-64 baseline), byte by byte elsewhere and in the last fifteen bytes: no load
 * goes past `end`. Any thread. */
#ifndef VX_CORE_HTTP_BYTES_H
#define VX_CORE_HTTP_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __SSSE3__
#include <immintrin.h>
#endif

enum vx_byte_class {
    VX_BYTE_TOKEN = 1,      /* tchar, RFC 9110 §5.6.2 */
    VX_BYTE_UNRESERVED = 2, /* RFC 3986 §2.3 */
    VX_BYTE_REG_NAME = 4,   /* unreserved and sub-delims: a host name but for escapes, RFC 3986 §3.2.2 */
    VX_BYTE_UPPER = 8,
    VX_BYTE_DIGIT = 16,
    VX_BYTE_HEX = 32,
    VX_BYTE_QUOTED = 64,  /* may stand in a quoted-string as it is, RFC 9110 §5.6.4 */
    VX_BYTE_ESCAPED = 128 /* may stand there after a backslash */
};

extern const uint8_t vx_byte_classes[256];

static inline bool vx_byte_is(char c, enum vx_byte_class class) {
    return vx_byte_classes[(unsigned char)c] & class;
}

/* The value of a hex digit, -1 for any other byte. */
static inline int vx_byte_hex(char c) {
    if (vx_byte_is(c, VX_BYTE_DIGIT))
        return c - '0';
    return vx_byte_is(c, VX_BYTE_HEX) ? (c | 0x20) - 'a' + 10 : -1;
}

#ifdef __SSSE3__
/* A bit for each of the sixteen bytes that is a tchar. Each byte is looked up by its low and by its high
 * half: the low table has a bit for each high half with which it makes a tchar. Bytes from 0x80 find zero. */
static inline unsigned vx_bytes_token_mask(__m128i v) {
    const __m128i by_low = _mm_setr_epi8(0x3a, 0x3f, 0x3e, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3e, 0x3e, 0x3d,
                                         0x15, 0x34, 0x15, 0x3d, 0x1c);
    const __m128i by_high = _mm_setr_epi8(0, 0, 0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0, 0, 0, 0, 0, 0, 0, 0);
    __m128i high = _mm_and_si128(_mm_srli_epi16(v, 4), _mm_set1_epi8(0x0f));
    __m128i common = _mm_and_si128(_mm_shuffle_epi8(by_low, v), _mm_shuffle_epi8(by_high, high));
    return (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(common, _mm_setzero_si128())) ^ 0xffffu;
}
#endif

#ifdef __SSSE3__
/* The n <= 16 bytes at `p` in a vector, its other lanes filled with some of the same bytes: for questions that are
 * asked of each byte alike. n > 0. */
static inline __m128i vx_bytes_load(const char *p, size_t n) {
    if (n >= 8) {
        __m128i low = _mm_loadl_epi64((const __m128i *)(const void *)p);
        return _mm_unpacklo_epi64(low, _mm_loadl_epi64((const __m128i *)(const void *)(p + n - 8)));
    }
    uint32_t low, high;
    if (n >= 4) {
        __builtin_memcpy(&low, p, 4);
        __builtin_memcpy(&high, p + n - 4, 4);
    } else {
        low = high = (unsigned char)p[0] | (uint32_t)(unsigned char)p[n / 2] << 8 |
                     (uint32_t)(unsigned char)p[n - 1] << 16 | (uint32_t)(unsigned char)p[0] << 24;
    }
    return _mm_set1_epi64x((int64_t)((uint64_t)high << 32 | low));
}
#endif

/* How many tchars stand in a row at `p`. */
static inline size_t vx_bytes_token_len(const char *p, const char *end) {
    const char *at = p;
#ifdef __SSSE3__
    while (end - at >= 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)at);
        unsigned others = vx_bytes_token_mask(v) ^ 0xffffu;
        if (others)
            return (size_t)(at - p) + (unsigned)__builtin_ctz(others);
        at += 16;
    }
#endif
    while (at < end && vx_byte_is(*at, VX_BYTE_TOKEN))
        at++;
    return (size_t)(at - p);
}

/* Whether all bytes are tchars and none a capital: what the name of a field may hold in HTTP/2 (RFC 9113 §8.2.1). */
static inline bool vx_bytes_are_lower_token(const char *p, const char *end) {
#ifdef __SSSE3__
    while (p < end) {
        size_t n = end - p < 16 ? (size_t)(end - p) : 16;
        __m128i v = vx_bytes_load(p, n);
        /* Moved so that a capital is one of the 26 lowest signed bytes. */
        __m128i moved = _mm_sub_epi8(v, _mm_set1_epi8((char)('A' + 128)));
        __m128i capital = _mm_cmplt_epi8(moved, _mm_set1_epi8((char)(-128 + 26)));
        if (vx_bytes_token_mask(v) != 0xffffu || _mm_movemask_epi8(capital))
            return false;
        p += n;
    }
#endif
    while (p < end && vx_byte_is(*p, VX_BYTE_TOKEN) && !vx_byte_is(*p, VX_BYTE_UPPER))
        p++;
    return p == end;
}

/* The first `a` or `b` at or after `p`, `end` when there is none. Inline, as most runs are short. */
static inline const char *vx_bytes_find_either(const char *p, const char *end, char a, char b) {
#ifdef __SSSE3__
    const __m128i first = _mm_set1_epi8(a), second = _mm_set1_epi8(b);
    while (end - p >= 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
        __m128i hit = _mm_or_si128(_mm_cmpeq_epi8(v, first), _mm_cmpeq_epi8(v, second));
        unsigned found = (unsigned)_mm_movemask_epi8(hit);
        if (found)
            return p + __builtin_ctz(found);
        p += 16;
    }
#endif
    while (p < end && *p != a && *p != b)
        p++;
    return p;
}

static inline const char *vx_bytes_find(const char *p, const char *end, char c) {
    return vx_bytes_find_either(p, end, c, c);
}

/* Whether all bytes may stand in the value of a field: no control characters but tabs (RFC 9110 §5.5). The scanner of
 * HTTP/1 heads goes by the same rule. */
static inline bool vx_bytes_are_value(const char *p, const char *end) {
#ifdef __SSSE3__
    const __m128i space = _mm_set1_epi8(' '), del = _mm_set1_epi8(0x7f), tab = _mm_set1_epi8('\t');
    while (p < end) {
        size_t n = end - p < 16 ? (size_t)(end - p) : 16;
        __m128i v = vx_bytes_load(p, n);
        /* min(v, ' ') == v and v != ' ': below it, unsigned. */
        __m128i low = _mm_andnot_si128(_mm_cmpeq_epi8(v, space), _mm_cmpeq_epi8(_mm_min_epu8(v, space), v));
        __m128i bad = _mm_or_si128(_mm_andnot_si128(_mm_cmpeq_epi8(v, tab), low), _mm_cmpeq_epi8(v, del));
        if (_mm_movemask_epi8(bad))
            return false;
        p += n;
    }
#endif
    for (; p < end; p++)
        if (((unsigned char)*p < ' ' && *p != '\t') || *p == 0x7f)
            return false;
    return true;
}

#endif
