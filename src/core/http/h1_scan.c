/* SPDX-License-Identifier: Apache-2.0 */
/* See h1_scan.h. Sixty-four bytes become two bit masks and a verdict, and two expressions over these find all that
 * matters at once; the bytes of a line cost no branch. */
#include "core/http/h1_scan.h"

#include "core/base/assert.h"

#ifdef __SSSE3__
#include <immintrin.h>
#endif

enum { BLOCK = 64 };

struct block {
    uint64_t cr, lf;
    bool bad; /* holds a control character other than HTAB, CR and LF */
};

static inline bool is_bad(unsigned char c) {
    return (c < 0x20 && c != '\t' && c != '\r' && c != '\n') || c == 0x7f;
}

#ifdef __SSSE3__
/* Which low half makes a bad byte with the high half 0, 1 and 7: a bit each. A byte is looked up by both its halves, and
 * those from 0x80 find nothing. */
#define BAD_BY_LOW  3, 3, 3, 3, 3, 3, 3, 3, 3, 2, 2, 3, 3, 2, 3, 7
#define BAD_BY_HIGH 1, 2, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0

static inline struct block classify(const char *p) {
    const __m128i by_low = _mm_setr_epi8(BAD_BY_LOW), by_high = _mm_setr_epi8(BAD_BY_HIGH);
    __m128i bad = _mm_setzero_si128();
    struct block b = {0, 0, false};
#pragma GCC unroll 4
    for (unsigned i = 0; i < BLOCK; i += 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)(p + i));
        __m128i high = _mm_and_si128(_mm_srli_epi16(v, 4), _mm_set1_epi8(0x0f));
        bad = _mm_or_si128(bad, _mm_and_si128(_mm_shuffle_epi8(by_low, v), _mm_shuffle_epi8(by_high, high)));
        b.cr |= (uint64_t)(unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(v, _mm_set1_epi8('\r'))) << i;
        b.lf |= (uint64_t)(unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(v, _mm_set1_epi8('\n'))) << i;
    }
    b.bad = _mm_movemask_epi8(_mm_cmpeq_epi8(bad, _mm_setzero_si128())) != 0xffff;
    return b;
}

__attribute__((target("avx2,bmi"))) static inline struct block classify_avx2(const char *p) {
    const __m256i by_low = _mm256_setr_epi8(BAD_BY_LOW, BAD_BY_LOW);
    const __m256i by_high = _mm256_setr_epi8(BAD_BY_HIGH, BAD_BY_HIGH);
    __m256i bad = _mm256_setzero_si256();
    struct block b = {0, 0, false};
#pragma GCC unroll 2
    for (unsigned i = 0; i < BLOCK; i += 32) {
        __m256i v = _mm256_loadu_si256((const __m256i *)(const void *)(p + i));
        __m256i high = _mm256_and_si256(_mm256_srli_epi16(v, 4), _mm256_set1_epi8(0x0f));
        bad = _mm256_or_si256(
            bad, _mm256_and_si256(_mm256_shuffle_epi8(by_low, v), _mm256_shuffle_epi8(by_high, high)));
        b.cr |= (uint64_t)(unsigned)_mm256_movemask_epi8(_mm256_cmpeq_epi8(v, _mm256_set1_epi8('\r'))) << i;
        b.lf |= (uint64_t)(unsigned)_mm256_movemask_epi8(_mm256_cmpeq_epi8(v, _mm256_set1_epi8('\n'))) << i;
    }
    b.bad = !_mm256_testz_si256(bad, bad);
    return b;
}
#else
static inline struct block classify(const char *p) {
    struct block b = {0, 0, false};
    for (unsigned i = 0; i < BLOCK; i++) {
        b.cr |= (uint64_t)(p[i] == '\r') << i;
        b.lf |= (uint64_t)(p[i] == '\n') << i;
        b.bad |= is_bad((unsigned char)p[i]);
    }
    return b;
}
#endif

/* Bit i for each of the n bytes that is bad; rarely asked. */
static uint64_t bad_mask(const char *p, size_t n) {
    uint64_t mask = 0;
    for (unsigned i = 0; i < n; i++)
        mask |= (uint64_t)is_bad((unsigned char)p[i]) << i;
    return mask;
}

/* Notes the line ends of a block. Returns how many are noted; what does not fit is only counted in `total`. */
static inline uint32_t keep_lines(struct vx_h1_lines *lines, uint32_t kept, size_t from, uint64_t cr) {
    for (; cr && kept < VX_H1_LINES_KEPT; cr &= cr - 1)
        lines->ends[kept++] = (uint32_t)from + (unsigned)__builtin_ctzll(cr);
    return kept;
}

/* Something matters at *at: an empty line's CR, or a byte that must not be there. */
static enum vx_h1_scan judge(struct vx_slice bytes, size_t *at, bool empty_line) {
    if (!empty_line)
        return VX_H1_SCAN_BAD;
    if (*at + 1 == bytes.len)
        return VX_H1_SCAN_MORE;
    bool ended = bytes.ptr[*at + 1] == '\n';
    *at += ended ? 2 : 1;
    return ended ? VX_H1_SCAN_END : VX_H1_SCAN_BAD;
}

static inline __attribute__((always_inline)) enum vx_h1_scan
scan_blocks(struct vx_slice bytes, size_t *at, struct vx_h1_lines *lines,
            struct block (*classify_block)(const char *)) {
    size_t from = *at;
    uint64_t after_cr = from && bytes.ptr[from - 1] == '\r';
    uint64_t after_lf = !from || bytes.ptr[from - 1] == '\n';
    uint32_t total = 0, kept = 0;
    while (from < bytes.len) {
        size_t n = bytes.len - from;
        unsigned missing = 0; /* how many bytes of a block the last one lacks */
        struct block b;
        if (n >= BLOCK) {
            n = BLOCK;
            b = classify_block(bytes.ptr + from);
        } else {
            missing = (unsigned)(BLOCK - n) % BLOCK;
            if (bytes.len >= BLOCK) { /* the last 64 bytes, of which the first were seen before */
                b = classify_block(bytes.ptr + bytes.len - BLOCK);
                b.cr >>= missing;
                b.lf >>= missing;
            } else {
                char padded[BLOCK];
                memset(padded, ' ', sizeof padded);
                memcpy(padded, bytes.ptr + from, n);
                b = classify_block(padded);
            }
        }
        uint64_t valid = ~UINT64_C(0) >> missing;
        uint64_t bad = (b.lf ^ (b.cr << 1 | after_cr)) & valid; /* CR and LF only as a pair */
        uint64_t empty_line = b.cr & (b.lf << 1 | after_lf);
        if (__builtin_expect(b.bad, 0))
            bad |= bad_mask(bytes.ptr + from, n);
        if (bad | empty_line) {
            unsigned first = (unsigned)__builtin_ctzll(bad | empty_line);
            *at = from + first;
            b.cr &= (UINT64_C(2) << first) - 1;
            lines->kept = keep_lines(lines, kept, from, b.cr);
            lines->total = total + (unsigned)__builtin_popcountll(b.cr);
            return judge(bytes, at, !(bad >> first & 1));
        }
        total += (unsigned)__builtin_popcountll(b.cr);
        kept = keep_lines(lines, kept, from, b.cr);
        after_cr = b.cr >> (BLOCK - 1);
        after_lf = b.lf >> (BLOCK - 1);
        from += n;
    }
    *at = from;
    lines->kept = kept;
    lines->total = total;
    return VX_H1_SCAN_MORE;
}

#ifdef __SSSE3__
__attribute__((target("avx2,bmi"))) static enum vx_h1_scan scan_avx2(struct vx_slice bytes, size_t *at,
                                                                     struct vx_h1_lines *lines) {
    return scan_blocks(bytes, at, lines, classify_avx2);
}
#endif

enum vx_h1_scan vx_h1_scan(struct vx_slice bytes, size_t *at, struct vx_h1_lines *lines) {
    lines->bytes = bytes;
    lines->given = 0;
#ifdef __SSSE3__
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi"))
        return scan_avx2(bytes, at, lines);
#endif
    return scan_blocks(bytes, at, lines, classify);
}

void vx_h1_lines_refill(struct vx_h1_lines *lines) {
    struct vx_slice bytes = lines->bytes;
    uint32_t total = lines->total;
    VX_CHECK(lines->given > 0);
    size_t at = lines->ends[lines->given - 1] + (size_t)2;
    do {
        /* A part at a time, or a long head would be scanned to its end for each refill. */
        struct vx_slice part = bytes;
        if (part.len > at + VX_H1_LINES_KEPT * BLOCK)
            part.len = at + VX_H1_LINES_KEPT * BLOCK;
        VX_CHECK(at < part.len);
        vx_h1_scan(part, &at, lines);
    } while (lines->kept == 0);
    lines->bytes = bytes;
    lines->total = total;
}

const char *vx_h1_scan_reason(struct vx_slice bytes, size_t at) {
    if (bytes.ptr[at] == '\n')
        return "a bare LF";
    if (at && bytes.ptr[at - 1] == '\r')
        return "a bare CR";
    return bytes.ptr[at] ? "a control character" : "a NUL byte";
}
