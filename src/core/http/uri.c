/* SPDX-License-Identifier: Apache-2.0 */
/* See uri.h. Each function first asks, in one fast pass, whether anything must be changed at all. */
#include "core/http/uri.h"

#include "core/base/address.h"
#include "core/http/bytes.h"

/* Visible ASCII but for `#`: a fragment never belongs in a request, and what a backend makes of one is its guess. */
static bool is_target_text(struct vx_slice s) {
    const char *p = s.ptr, *end = s.ptr + s.len;
#ifdef __SSSE3__
    const __m128i first = _mm_set1_epi8('!'), del = _mm_set1_epi8(0x7f), hash = _mm_set1_epi8('#');
    while (p < end) {
        size_t n = end - p < 16 ? (size_t)(end - p) : 16;
        __m128i v = vx_bytes_load(p, n);
        __m128i bad = _mm_cmplt_epi8(v, first); /* signed: bytes from 0x80 too */
        bad = _mm_or_si128(bad, _mm_or_si128(_mm_cmpeq_epi8(v, del), _mm_cmpeq_epi8(v, hash)));
        if (_mm_movemask_epi8(bad))
            return false;
        p += n;
    }
#endif
    for (; p < end; p++)
        if (*p < '!' || *p > '~' || *p == '#')
            return false;
    return true;
}

static void split_query(struct vx_slice s, struct vx_request_target *out) {
    const char *end = s.ptr + s.len;
    const char *mark = vx_bytes_find(s.ptr, end, '?');
    out->path = vx_slice(s.ptr, (size_t)(mark - s.ptr));
    out->query = mark == end ? VX_SLICE_NONE : vx_slice(mark + 1, (size_t)(end - mark - 1));
}

static bool starts_without_case(struct vx_slice s, struct vx_slice prefix) {
    return s.len >= prefix.len && vx_slice_ieq(vx_slice(s.ptr, prefix.len), prefix);
}

static enum vx_error_code split_absolute(struct vx_slice target, struct vx_request_target *out) {
    size_t scheme_len;
    if (starts_without_case(target, VX_SLICE("http://")))
        scheme_len = sizeof "http://" - 1;
    else if (starts_without_case(target, VX_SLICE("https://")))
        scheme_len = sizeof "https://" - 1;
    else
        return VX_ERR_BAD_REQUEST;
    struct vx_slice rest = vx_slice_skip(target, scheme_len);
    size_t authority_len = 0;
    while (authority_len < rest.len && rest.ptr[authority_len] != '/' && rest.ptr[authority_len] != '?')
        authority_len++;
    out->form = VX_TARGET_ABSOLUTE;
    out->https = scheme_len == sizeof "https://" - 1;
    out->authority = vx_slice(rest.ptr, authority_len);
    split_query(vx_slice_skip(rest, authority_len), out);
    return VX_ERR_NONE;
}

enum vx_error_code vx_request_target_split(struct vx_slice target, struct vx_request_target *out) {
    if (target.len == 0 || !is_target_text(target))
        return VX_ERR_BAD_REQUEST;
    if (target.ptr[0] != '/' && !(target.len == 1 && target.ptr[0] == '*'))
        return split_absolute(target, out);
    out->form = target.ptr[0] == '/' ? VX_TARGET_ORIGIN : VX_TARGET_ASTERISK;
    out->https = false;
    out->authority = VX_SLICE_NONE;
    split_query(target, out);
    return VX_ERR_NONE;
}

/* Whether the path may need work: a `%`, `/.`, or `//` where those are merged. */
static bool is_suspect(struct vx_slice path, bool merge_slashes) {
    const char *p = path.ptr, *last = path.ptr + path.len - 1;
#ifdef __SSSE3__
    const __m128i slash = _mm_set1_epi8('/'), dot = _mm_set1_epi8('.'), percent = _mm_set1_epi8('%');
    const __m128i also = merge_slashes ? slash : dot;
    for (; last - p >= 16; p += 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
        __m128i next = _mm_loadu_si128((const __m128i *)(const void *)(p + 1));
        __m128i after = _mm_or_si128(_mm_cmpeq_epi8(next, dot), _mm_cmpeq_epi8(next, also));
        __m128i hit = _mm_and_si128(_mm_cmpeq_epi8(v, slash), after);
        if (_mm_movemask_epi8(_mm_or_si128(hit, _mm_cmpeq_epi8(v, percent))))
            return true;
    }
#endif
    for (; p < last; p++)
        if (*p == '%' || (*p == '/' && (p[1] == '.' || (p[1] == '/' && merge_slashes))))
            return true;
    return *last == '%';
}

/* Copies `path` to `out`, which has room for it, with escapes of unreserved characters resolved. Returns the
 * length, 0 for a bad escape or an escaped NUL. */
static size_t unescape_unreserved(struct vx_slice path, char *out) {
    size_t n = 0;
    for (size_t i = 0; i < path.len; i++) {
        char c = path.ptr[i];
        if (c == '%') {
            int high = i + 2 < path.len ? vx_byte_hex(path.ptr[i + 1]) : -1;
            int low = i + 2 < path.len ? vx_byte_hex(path.ptr[i + 2]) : -1;
            if (high < 0 || low < 0 || (high | low) == 0)
                return 0;
            char plain = (char)(high << 4 | low);
            if (vx_byte_is(plain, VX_BYTE_UNRESERVED)) {
                c = plain;
                i += 2;
            }
        }
        out[n++] = c;
    }
    return n;
}

/* Resolves `.` and `..` segments in place (RFC 3986 §5.2.4) and merges slashes. Returns the length, which is
 * never more than before, or 0 when the path leads above the root. */
static size_t resolve_dots(char *path, size_t len, bool merge_slashes) {
    size_t w = 0;
    for (size_t r = 0; r < len;) {
        const char *segment = path + r + 1;
        const char *slash = memchr(segment, '/', len - r - 1);
        bool is_last = !slash;
        size_t n = is_last ? len - r - 1 : (size_t)(slash - segment);
        bool dot = n == 1 && segment[0] == '.';
        bool dots = n == 2 && segment[0] == '.' && segment[1] == '.';
        if (dots) {
            if (w == 0)
                return 0;
            while (path[--w] != '/')
                ;
        }
        if (dot || dots || (n == 0 && merge_slashes)) {
            if (is_last)
                path[w++] = '/';
        } else {
            memmove(path + w, path + r, n + 1);
            w += n + 1;
        }
        r += n + 1;
    }
    return w;
}

enum vx_error_code vx_path_normalise(struct vx_slice path, bool merge_slashes, struct vx_arena *arena,
                                     struct vx_slice *out) {
    *out = path;
    if (!is_suspect(path, merge_slashes))
        return VX_ERR_NONE;
    char *copy = vx_arena_alloc(arena, path.len);
    if (!copy)
        return VX_ERR_OUT_OF_MEMORY;
    size_t len = unescape_unreserved(path, copy);
    if (len)
        len = resolve_dots(copy, len, merge_slashes);
    if (len == 0)
        return VX_ERR_BAD_PATH;
    *out = vx_slice(copy, len);
    return VX_ERR_NONE;
}

static bool is_ipv6(struct vx_slice s) {
    struct vx_address address;
    return s.len && memchr(s.ptr, ':', s.len) && vx_address_parse_ip(s, &address);
}

/* Whether a number, or nothing, is a port: at most 65535. */
static bool is_port(struct vx_slice digits) {
    unsigned value = 0;
    for (size_t i = 0; digits.len > 4 && i < digits.len; i++) {
        value = value * 10 + (unsigned)(digits.ptr[i] - '0');
        if (value > UINT16_MAX)
            return false;
    }
    return true;
}

#ifdef __SSSE3__
/* Whether all bytes are of the kind nearly all hosts are made of: small letters, digits, `-` and `.`. */
static bool is_plain_host(struct vx_slice s) {
    /* As in vx_bytes_token_mask: a bit for each high half (2, 3, 6, 7) with which a low half makes such a byte. */
    const __m128i by_low = _mm_setr_epi8(10, 14, 14, 14, 14, 14, 14, 14, 14, 14, 12, 4, 4, 5, 5, 4);
    const __m128i by_high = _mm_setr_epi8(0, 0, 1, 2, 0, 0, 4, 8, 0, 0, 0, 0, 0, 0, 0, 0);
    for (size_t i = 0; i < s.len; i += 16) {
        __m128i v = vx_bytes_load(s.ptr + i, s.len - i < 16 ? s.len - i : 16);
        __m128i high = _mm_and_si128(_mm_srli_epi16(v, 4), _mm_set1_epi8(0x0f));
        __m128i common = _mm_and_si128(_mm_shuffle_epi8(by_low, v), _mm_shuffle_epi8(by_high, high));
        if (_mm_movemask_epi8(_mm_cmpeq_epi8(common, _mm_setzero_si128())))
            return false;
    }
    return true;
}
#else
static bool is_plain_host(struct vx_slice s) {
    (void)s;
    return false; /* the general way finds out */
}
#endif

/* Whether `s` is a uri-host. *upper tells of capital letters in it. */
static bool is_host(struct vx_slice s, bool *upper) {
    *upper = false;
    if (is_plain_host(s))
        return true;
    bool literal = s.ptr[0] == '[';
    if (literal && (s.ptr[s.len - 1] != ']' || !is_ipv6(vx_slice(s.ptr + 1, s.len - 2))))
        return false;
    for (size_t i = 0; i < s.len; i++) {
        unsigned class = vx_byte_classes[(unsigned char)s.ptr[i]];
        *upper |= (class & VX_BYTE_UPPER) != 0;
        if ((class & VX_BYTE_REG_NAME) || literal)
            continue;
        if (s.ptr[i] != '%' || s.len - i < 3 || vx_byte_hex(s.ptr[i + 1]) < 0 ||
            vx_byte_hex(s.ptr[i + 2]) < 0)
            return false;
    }
    return true;
}

/* Where the port's colon is, or the end. Digits behind the last colon are taken for a port, which a host other than
 * a literal in brackets does not outlive when there was another colon. */
static size_t find_port(struct vx_slice s) {
    size_t at = s.len;
    while (at > 0 && (unsigned)(s.ptr[at - 1] - '0') < 10)
        at--;
    return at > 0 && s.ptr[at - 1] == ':' ? at - 1 : s.len;
}

enum vx_error_code vx_host_normalise(struct vx_slice authority, struct vx_arena *arena, struct vx_slice *out,
                                     struct vx_slice *port) {
    size_t len = find_port(authority);
    struct vx_slice digits = VX_SLICE_NONE;
    if (len < authority.len) {
        digits = vx_slice_skip(authority, len + 1);
        if (!is_port(digits))
            return VX_ERR_BAD_HOST;
    }
    if (port)
        *port = digits;
    bool upper;
    if (len == 0 || !is_host(vx_slice(authority.ptr, len), &upper))
        return VX_ERR_BAD_HOST;
    if (authority.ptr[len - 1] == '.' && --len == 0)
        return VX_ERR_BAD_HOST;
    *out = vx_slice(authority.ptr, len);
    if (!upper)
        return VX_ERR_NONE;
    char *copy = vx_arena_alloc(arena, len);
    if (!copy)
        return VX_ERR_OUT_OF_MEMORY;
    for (size_t i = 0; i < len; i++)
        copy[i] = vx_lower(authority.ptr[i]);
    *out = vx_slice(copy, len);
    return VX_ERR_NONE;
}
