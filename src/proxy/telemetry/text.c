/* SPDX-License-Identifier: Apache-2.0 */
/* See text.h. */
#include "proxy/telemetry/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/base/assert.h"

static const char digit_pairs[] =
    "00010203040506070809101112131415161718192021222324252627282930313233343536373839"
    "40414243444546474849505152535455565758596061626364656667686970717273747576777879"
    "8081828384858687888990919293949596979899";
static const char hex[] = "0123456789abcdef";

void vx_text_free(struct vx_text *text) {
    free(text->data);
    *text = (struct vx_text){0};
}

char *vx_text_room(struct vx_text *text, size_t bytes) {
    if (text->failed)
        return NULL;
    if (text->capacity - text->len >= bytes)
        return text->data + text->len;
    size_t want = text->capacity ? text->capacity : 4096;
    while (want - text->len < bytes && want < SIZE_MAX / 2)
        want *= 2;
    char *grown = want - text->len < bytes ? NULL : realloc(text->data, want);
    if (!grown) {
        text->failed = true;
        return NULL;
    }
    text->data = grown;
    text->capacity = want;
    return text->data + text->len;
}

void vx_text_add(struct vx_text *text, struct vx_slice s) {
    char *room = s.len ? vx_text_room(text, s.len) : NULL;
    if (!room)
        return;
    memcpy(room, s.ptr, s.len);
    text->len += s.len;
}

static void put(struct vx_text_sink *self, struct vx_slice s) {
    vx_text_add(VX_CONTAINER_OF(self, struct vx_text_writer, sink)->text, s);
}

struct vx_text_writer vx_text_writer(struct vx_text *text) {
    return (struct vx_text_writer){.sink.put = put, .text = text};
}

size_t vx_format_u64(char *out, uint64_t n) {
    char digits[VX_TEXT_U64_MAX];
    char *at = digits + sizeof digits;
    while (n >= 100) {
        at -= 2;
        memcpy(at, digit_pairs + n % 100 * 2, 2);
        n /= 100;
    }
    if (n >= 10) {
        at -= 2;
        memcpy(at, digit_pairs + n * 2, 2);
    } else {
        *--at = (char)('0' + n);
    }
    size_t len = (size_t)(digits + sizeof digits - at);
    memcpy(out, at, len);
    return len;
}

size_t vx_format_ms(char *out, uint64_t ns) {
    uint64_t us = ns / 1000;
    size_t len = vx_format_u64(out, us / 1000);
    unsigned rest = (unsigned)(us % 1000);
    out[len] = '.';
    out[len + 1] = (char)('0' + rest / 100);
    memcpy(out + len + 2, digit_pairs + (size_t)(rest % 100) * 2, 2);
    return len + 4;
}

void vx_text_format(struct vx_text *text, const char *format, ...) {
    va_list args;
    va_start(args, format);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *room = n >= 0 ? vx_text_room(text, (size_t)n + 1) : NULL;
    if (!room)
        return;
    va_start(args, format);
    vsnprintf(room, (size_t)n + 1, format, args);
    va_end(args);
    text->len += (size_t)n;
}

void vx_text_u64(struct vx_text *text, uint64_t n) {
    char *room = vx_text_room(text, VX_TEXT_U64_MAX);
    if (room)
        text->len += vx_format_u64(room, n);
}

void vx_text_seconds(struct vx_text *text, uint64_t ns) {
    char *room = vx_text_room(text, VX_TEXT_SECONDS_MAX);
    if (!room)
        return;
    size_t len = vx_format_u64(room, ns / 1000000000);
    uint32_t rest = (uint32_t)(ns % 1000000000);
    if (rest) {
        room[len++] = '.';
        for (uint32_t unit = 100000000; rest; unit /= 10) {
            room[len++] = (char)('0' + rest / unit);
            rest %= unit;
        }
    }
    text->len += len;
}

void vx_text_label(struct vx_text *text, struct vx_slice s) {
    char *out = vx_text_room(text, s.len * 2);
    if (!out)
        return;
    char *start = out;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (c == '\\' || c == '"' || c == '\n')
            *out++ = '\\';
        *out++ = c == '\n' ? 'n' : c;
    }
    text->len += (size_t)(out - start);
}

/* True when one of eight bytes is a control character, DEL, a double quote, a backslash or not ASCII. */
static bool any_special(uint64_t x) {
    const uint64_t ones = 0x0101010101010101u;
    const uint64_t high = 0x8080808080808080u;
    uint64_t quote = x ^ ones * '"';
    uint64_t backslash = x ^ ones * '\\';
    uint64_t del = x ^ ones * 0x7f;
    uint64_t hit = x | ((x - ones * 0x20) & ~x) | ((quote - ones) & ~quote) |
                   ((backslash - ones) & ~backslash) | ((del - ones) & ~del);
    return (hit & high) != 0;
}

static bool special(unsigned char c) {
    return c < 0x20 || c >= 0x7f || c == '"' || c == '\\';
}

/* Copies what needs no escape from *at up to `end`; eight bytes a step, the last of which may overlap. */
static char *copy_plain(char *out, const char **at, const char *end) {
    const char *p = *at;
    while (end - p >= 8) {
        uint64_t x;
        memcpy(&x, p, 8);
        if (any_special(x))
            break;
        memcpy(out, &x, 8);
        p += 8;
        out += 8;
    }
    size_t left = (size_t)(end - p);
    if (left > 0 && left < 8 && p > *at && !any_special(vx_load8(end - 8))) {
        memcpy(out + left - 8, end - 8, 8);
        *at = end;
        return out + left;
    }
    while (p < end && !special((unsigned char)*p))
        *out++ = *p++;
    *at = p;
    return out;
}

/* The length of the valid UTF-8 sequence at `p` that encodes U+00A0 or more, else 0 (RFC 3629 §4). */
static size_t utf8_length(const unsigned char *p, size_t left) {
    unsigned char lead = p[0];
    size_t len = lead >= 0xc2 && lead <= 0xdf   ? 2
                 : (lead & 0xf0) == 0xe0        ? 3
                 : lead >= 0xf0 && lead <= 0xf4 ? 4
                                                : 0;
    if (len == 0 || left < len)
        return 0;
    unsigned char low = 0x80, high = 0xbf;
    switch (lead) {
    case 0xc2: /* U+0080..U+009F are control characters */
    case 0xe0: /* below U+0800: too long a form */
        low = 0xa0;
        break;
    case 0xed: /* U+D800..U+DFFF: surrogates */
        high = 0x9f;
        break;
    case 0xf0: /* below U+10000 */
        low = 0x90;
        break;
    case 0xf4: /* above U+10FFFF */
        high = 0x8f;
        break;
    default:
        break;
    }
    if (p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < len; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    return len;
}

static char *put_escape(char *out, unsigned char c) {
    static const char shorts[] = "\b\f\n\r\t\"\\";
    static const char letters[] = "bfnrt\"\\";
    const char *found = c ? strchr(shorts, c) : NULL;
    *out++ = '\\';
    if (found) {
        *out++ = letters[found - shorts];
        return out;
    }
    memcpy(out, "u00", 3);
    out[3] = hex[c >> 4];
    out[4] = hex[c & 15];
    return out + 5;
}

char *vx_format_json(char *out, struct vx_slice s) {
    const char *at = s.ptr;
    const char *end = s.len ? s.ptr + s.len : s.ptr;
    while (at < end) {
        out = copy_plain(out, &at, end);
        if (at == end)
            break;
        const unsigned char *p = (const unsigned char *)at;
        size_t left = (size_t)(end - at);
        size_t len = utf8_length(p, left);
        if (len) {
            memcpy(out, at, len);
            out += len;
        } else if (p[0] == 0xc2 && left > 1 && p[1] >= 0x80 && p[1] <= 0x9f) {
            len = 2;
            out = put_escape(out, p[1]);
        } else {
            len = 1;
            out = put_escape(out, p[0]);
        }
        at += len;
    }
    return out;
}

char *vx_format_combined(char *out, struct vx_slice s) {
    const char *at = s.ptr;
    const char *end = s.len ? s.ptr + s.len : s.ptr;
    while (at < end) {
        out = copy_plain(out, &at, end);
        if (at == end)
            break;
        unsigned char c = (unsigned char)*at++;
        memcpy(out, "\\x", 2);
        out[2] = "0123456789ABCDEF"[c >> 4];
        out[3] = "0123456789ABCDEF"[c & 15];
        out += 4;
    }
    return out;
}
