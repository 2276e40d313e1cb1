/* SPDX-License-Identifier: Apache-2.0 */
/* A slice is a borrowed run of bytes: pointer and length, never NUL-terminated, never owned.
 * Whoever hands one out says how long the bytes stay. */
#ifndef VX_CORE_BASE_SLICE_H
#define VX_CORE_BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct vx_slice {
    const char *ptr;
    size_t len;
};

#define VX_SLICE(literal) ((struct vx_slice){(literal), sizeof(literal) - 1})
#define VX_SLICE_NONE     ((struct vx_slice){NULL, 0})
/* For printf-like calls: printf("%.*s", VX_SLICE_ARG(s)). */
#define VX_SLICE_ARG(s) (int)(s).len, (s).ptr

static inline struct vx_slice vx_slice(const char *ptr, size_t len) {
    return (struct vx_slice){ptr, len};
}

/* `text` is a NUL-terminated string or NULL, which gives the empty slice. */
static inline struct vx_slice vx_slice_of(const char *text) {
    return (struct vx_slice){text, text ? strlen(text) : 0};
}

static inline bool vx_slice_eq(struct vx_slice a, struct vx_slice b) {
    return a.len == b.len && (a.len == 0 || (a.ptr && b.ptr && memcmp(a.ptr, b.ptr, a.len) == 0));
}

/* ASCII only: HTTP's case-insensitive names and tokens are ASCII (RFC 9110 §5.1). */
static inline char vx_lower(char c) {
    return (char)(c + ((unsigned char)(c - 'A') < 26 ? 'a' - 'A' : 0));
}

/* The same for the eight bytes of a word. */
static inline uint64_t vx_lower8(uint64_t w) {
    const uint64_t ones = 0x0101010101010101u;
    uint64_t low7 = w & ones * 0x7f;
    uint64_t from_a = low7 + ones * (0x80 - 'A');
    uint64_t past_z = low7 + ones * (0x80 - 'Z' - 1);
    return w | (((from_a ^ past_z) & ~w & ones * 0x80) >> 2);
}

static inline uint64_t vx_load8(const char *p) {
    uint64_t w;
    memcpy(&w, p, sizeof w);
    return w;
}

static inline uint32_t vx_load4(const char *p) {
    uint32_t w;
    memcpy(&w, p, sizeof w);
    return w;
}

/* Equality of `n` bytes without ASCII case; the last words overlap instead of a loop over bytes. */
static inline bool vx_same_letters(const char *a, const char *b, size_t n) {
    if (n < 4) {
        for (size_t i = 0; i < n; i++)
            if (vx_lower(a[i]) != vx_lower(b[i]))
                return false;
        return true;
    }
    if (n < 8) {
        uint64_t x = (uint64_t)vx_load4(a) << 32 | vx_load4(a + n - 4);
        uint64_t y = (uint64_t)vx_load4(b) << 32 | vx_load4(b + n - 4);
        return vx_lower8(x) == vx_lower8(y);
    }
    for (size_t i = 0; i + 8 < n; i += 8)
        if (vx_lower8(vx_load8(a + i)) != vx_lower8(vx_load8(b + i)))
            return false;
    return vx_lower8(vx_load8(a + n - 8)) == vx_lower8(vx_load8(b + n - 8));
}

/* Equality without ASCII case. */
static inline bool vx_slice_ieq(struct vx_slice a, struct vx_slice b) {
    return a.len == b.len && vx_same_letters(a.ptr, b.ptr, b.len);
}

static inline bool vx_slice_starts_with(struct vx_slice s, struct vx_slice prefix) {
    return s.len >= prefix.len && (prefix.len == 0 || memcmp(s.ptr, prefix.ptr, prefix.len) == 0);
}

/* The slice without its first `n` bytes; n <= s.len. */
static inline struct vx_slice vx_slice_skip(struct vx_slice s, size_t n) {
    return (struct vx_slice){s.ptr + n, s.len - n};
}

/* Optional white space (SP, HTAB) taken off both ends (RFC 9110 §5.6.3). */
static inline struct vx_slice vx_slice_trim(struct vx_slice s) {
    while (s.len && (s.ptr[0] == ' ' || s.ptr[0] == '\t')) {
        s.ptr++;
        s.len--;
    }
    while (s.len && (s.ptr[s.len - 1] == ' ' || s.ptr[s.len - 1] == '\t'))
        s.len--;
    return s;
}

#endif
