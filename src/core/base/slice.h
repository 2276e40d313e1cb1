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
#define VX_SLICE_NONE ((struct vx_slice){NULL, 0})
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
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

/* ASCII only: HTTP's case-insensitive names and tokens are ASCII (RFC 9110 §5.1). */
static inline char vx_lower(char c) {
    return (char)(c + ((unsigned char)(c - 'A') < 26 ? 'a' - 'A' : 0));
}

/* Equality without ASCII case. */
static inline bool vx_slice_ieq(struct vx_slice a, struct vx_slice b) {
    if (a.len != b.len)
        return false;
    for (size_t i = 0; i < a.len; i++)
        if (vx_lower(a.ptr[i]) != vx_lower(b.ptr[i]))
            return false;
    return true;
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
