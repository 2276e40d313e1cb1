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
/* What a byte is, by both its halves: those from 0x80 find nothing. Bad ones are told by which low half makes one with the
 * high half 0, 1 and 7, a bit each; CR and LF have the bits that are the quickest to gather. */
enum { IS_CR = -0x80, IS_LF = 0x40, IS_BAD = 7 };
#define BY_LOW  3, 3, 3, 3, 3, 3, 3, 3, 3, 2, 2 | IS_LF, 3, 3, 2 | IS_CR, 3, 7
#define BY_HIGH 1 | IS_LF | IS_CR, 2, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0

static inline struct block classify(const char *p) {
    const __m128i by_low = _mm_setr_epi8(BY_LOW), by_high = _mm_setr_epi8(BY_HIGH);
    __m128i any = _mm_setzero_si128();
    struct block b = {0, 0, false};
#pragma GCC unroll 4
    for (unsigned i = 0; i < BLOCK; i += 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)(p + i));
        __m128i high = _mm_and_si128(_mm_srli_epi16(v, 4), _mm_set1_epi8(0x0f));
        __m128i class = _mm_and_si128(_mm_shuffle_epi8(by_low, v), _mm_shuffle_epi8(by_high, high));
        any = _mm_or_si128(any, class);
        b.cr |= (uint64_t)(unsigned)_mm_movemask_epi8(class) << i;
        b.lf |= (uint64_t)(unsigned)_mm_movemask_epi8(_mm_add_epi8(class, class)) << i;
    }
    __m128i bad = _mm_and_si128(any, _mm_set1_epi8(IS_BAD));
    b.bad = _mm_movemask_epi8(_mm_cmpeq_epi8(bad, _mm_setzero_si128())) != 0xffff;
    return b;
}

__attribute__((target("avx2,bmi"))) static inline struct block classify_avx2(const char *p) {
    const __m256i by_low = _mm256_setr_epi8(BY_LOW, BY_LOW), by_high = _mm256_setr_epi8(BY_HIGH, BY_HIGH);
    __m256i any = _mm256_setzero_si256();
    struct block b = {0, 0, false};
#pragma GCC unroll 2
    for (unsigned i = 0; i < BLOCK; i += 32) {
        __m256i v = _mm256_loadu_si256((const __m256i *)(const void *)(p + i));
        __m256i high = _mm256_and_si256(_mm256_srli_epi16(v, 4), _mm256_set1_epi8(0x0f));
        __m256i class = _mm256_and_si256(_mm256_shuffle_epi8(by_low, v), _mm256_shuffle_epi8(by_high, high));
        any = _mm256_or_si256(any, class);
        b.cr |= (uint64_t)(unsigned)_mm256_movemask_epi8(class) << i;
        b.lf |= (uint64_t)(unsigned)_mm256_movemask_epi8(_mm256_add_epi8(class, class)) << i;
    }
    b.bad = !_mm256_testz_si256(any, _mm256_set1_epi8(IS_BAD));
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

/* Something matters at lines->at: an empty line's CR, or a byte that must not be there. */
static enum vx_h1_scan judge(struct vx_slice bytes, struct vx_h1_lines *lines, bool empty_line) {
    size_t at = lines->at;
    if (!empty_line)
        return VX_H1_SCAN_BAD;
    if (at + 1 == bytes.len)
        return VX_H1_SCAN_MORE;
    bool ended = bytes.ptr[at + 1] == '\n';
    lines->at = at + (ended ? 2 : 1);
    return ended ? VX_H1_SCAN_END : VX_H1_SCAN_BAD;
}

/* At least a block's bytes may be read at bytes.ptr. */
static inline __attribute__((always_inline)) enum vx_h1_scan
scan_blocks(struct vx_slice bytes, size_t from, struct vx_h1_lines *lines,
            struct block (*classify_block)(const char *)) {
    size_t last = bytes.len > BLOCK ? bytes.len - BLOCK : 0; /* where the last block may begin */
    uint64_t after_cr = from && bytes.ptr[from - 1] == '\r';
    uint64_t after_lf = !from || bytes.ptr[from - 1] == '\n';
    uint32_t total = 0, kept = 0;
    while (from < bytes.len) {
        size_t begin = from < last ? from : last;
        unsigned seen =
            (unsigned)(from - begin) % BLOCK; /* bytes of the last block that an earlier one had too */
        size_t n = bytes.len - from < BLOCK ? bytes.len - from : BLOCK;
        struct block b = classify_block(bytes.ptr + begin);
        b.cr >>= seen;
        b.lf >>= seen;
        uint64_t valid = ~UINT64_C(0) >> (BLOCK - n) % BLOCK;
        uint64_t bad = (b.lf ^ (b.cr << 1 | after_cr)) & valid; /* CR and LF only as a pair */
        uint64_t empty_line = b.cr & (b.lf << 1 | after_lf);
        if (__builtin_expect(b.bad, 0))
            bad |= bad_mask(bytes.ptr + from, n);
        if (bad | empty_line) {
            unsigned first = (unsigned)__builtin_ctzll(bad | empty_line);
            lines->at = from + first;
            b.cr &= (UINT64_C(2) << first) - 1;
            lines->kept = keep_lines(lines, kept, from, b.cr);
            lines->total = total + (unsigned)__builtin_popcountll(b.cr);
            return judge(bytes, lines, !(bad >> first & 1));
        }
        total += (unsigned)__builtin_popcountll(b.cr);
        kept = keep_lines(lines, kept, from, b.cr);
        after_cr = b.cr >> (BLOCK - 1);
        after_lf = b.lf >> (BLOCK - 1);
        from += n;
    }
    lines->at = from;
    lines->kept = kept;
    lines->total = total;
    return VX_H1_SCAN_MORE;
}

#ifdef __SSSE3__
__attribute__((target("avx2,bmi"), noinline)) static enum vx_h1_scan
scan_avx2(struct vx_slice bytes, size_t from, struct vx_h1_lines *lines) {
    return scan_blocks(bytes, from, lines, classify_avx2);
}
#endif

static __attribute__((noinline)) enum vx_h1_scan scan_baseline(struct vx_slice bytes, size_t from,
                                                               struct vx_h1_lines *lines) {
    return scan_blocks(bytes, from, lines, classify);
}

/* Of less than a block: from a copy that is as long as one. */
static __attribute__((noinline)) enum vx_h1_scan scan_short(struct vx_slice bytes, size_t from,
                                                            struct vx_h1_lines *lines) {
    char padded[BLOCK];
    memset(padded, ' ', sizeof padded);
    memcpy(padded, bytes.ptr, bytes.len);
    return scan_baseline(vx_slice(padded, bytes.len), from, lines);
}

enum vx_h1_scan vx_h1_scan(struct vx_slice bytes, size_t from, struct vx_h1_lines *lines) {
    lines->bytes = bytes;
    lines->given = 0;
    if (VX_UNLIKELY(bytes.len < BLOCK))
        return scan_short(bytes, from, lines);
#ifdef __SSSE3__
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi"))
        return scan_avx2(bytes, from, lines);
#endif
    return scan_baseline(bytes, from, lines);
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
        vx_h1_scan(part, at, lines);
        at = lines->at;
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
