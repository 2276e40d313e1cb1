/* SPDX-License-Identifier: Apache-2.0 */
/* See scalar.h. Own readers instead of libc's: those take signs, white space, hexadecimal and the locale's
 * decimal point, and a value read otherwise than its writer meant is worse than one refused. */
#include "admin/yaml/scalar.h"

struct unit {
    struct vx_slice name;
    uint64_t factor;
};

static const struct unit durations[] = {
    {VX_SLICE("d"), 86400000000000u}, {VX_SLICE("h"), 3600000000000u}, {VX_SLICE("m"), 60000000000u},
    {VX_SLICE("s"), 1000000000u},     {VX_SLICE("ms"), 1000000u},
};
enum { DURATION_COUNT = sizeof(durations) / sizeof(*durations) };

static const struct unit sizes[] = {
    {VX_SLICE("KiB"), 1u << 10},
    {VX_SLICE("MiB"), 1u << 20},
    {VX_SLICE("GiB"), 1u << 30},
};
enum { SIZE_COUNT = sizeof(sizes) / sizeof(*sizes) };

static bool is_digit(char c) {
    return (unsigned char)(c - '0') < 10;
}

static size_t digits_len(struct vx_slice s) {
    size_t n = 0;
    while (n < s.len && is_digit(s.ptr[n]))
        n++;
    return n;
}

bool vx_yaml_read_count(struct vx_slice text, uint64_t *out) {
    uint64_t n = 0;
    if (text.len == 0 || digits_len(text) != text.len || (text.len > 1 && text.ptr[0] == '0'))
        return false;
    for (size_t i = 0; i < text.len; i++)
        if (__builtin_mul_overflow(n, 10u, &n) ||
            __builtin_add_overflow(n, (uint64_t)(text.ptr[i] - '0'), &n))
            return false;
    *out = n;
    return true;
}

/* The digits at the front of *s, which is moved behind them. */
static bool take_count(struct vx_slice *s, uint64_t *out) {
    size_t n = digits_len(*s);
    if (!vx_yaml_read_count(vx_slice(s->ptr, n), out))
        return false;
    *s = vx_slice_skip(*s, n);
    return true;
}

bool vx_yaml_read_duration(struct vx_slice text, uint64_t *out_ns) {
    uint64_t total = 0;
    size_t next_unit = 0;
    if (text.len == 1 && text.ptr[0] == '0') {
        *out_ns = 0;
        return true;
    }
    do {
        uint64_t n;
        if (!take_count(&text, &n))
            return false;
        size_t letters = 0;
        while (letters < text.len && !is_digit(text.ptr[letters]))
            letters++;
        struct vx_slice name = vx_slice(text.ptr, letters);
        while (next_unit < DURATION_COUNT && !vx_slice_eq(name, durations[next_unit].name))
            next_unit++;
        if (next_unit == DURATION_COUNT || __builtin_mul_overflow(n, durations[next_unit].factor, &n) ||
            __builtin_add_overflow(total, n, &total))
            return false;
        next_unit++;
        text = vx_slice_skip(text, letters);
    } while (text.len);
    *out_ns = total;
    return true;
}

bool vx_yaml_read_size(struct vx_slice text, uint64_t *out_bytes) {
    uint64_t n;
    if (!take_count(&text, &n))
        return false;
    for (size_t i = 0; text.len && i < SIZE_COUNT; i++)
        if (vx_slice_eq(text, sizes[i].name)) {
            if (__builtin_mul_overflow(n, sizes[i].factor, &n))
                return false;
            text = VX_SLICE_NONE;
        }
    *out_bytes = n;
    return text.len == 0;
}

bool vx_yaml_read_percent(struct vx_slice text, uint64_t *out) {
    return text.len && text.ptr[text.len - 1] == '%' &&
           vx_yaml_read_count(vx_slice(text.ptr, text.len - 1), out);
}

bool vx_yaml_read_flag(struct vx_slice text, bool *out) {
    static const struct vx_slice words[] = {VX_SLICE("false"), VX_SLICE("true"), VX_SLICE("off"),
                                            VX_SLICE("on"),    VX_SLICE("no"),   VX_SLICE("yes")};
    for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
        if (vx_slice_ieq(text, words[i])) {
            *out = i % 2;
            return true;
        }
    return false;
}

bool vx_yaml_read_fraction(struct vx_slice text, double *out) {
    uint64_t whole, part = 0;
    double scale = 1;
    if (!take_count(&text, &whole))
        return false;
    if (text.len) {
        size_t n = digits_len(vx_slice_skip(text, 1));
        if (text.ptr[0] != '.' || n == 0 || n > 9 || n + 1 != text.len)
            return false;
        for (size_t i = 1; i <= n; i++) {
            part = part * 10 + (uint64_t)(text.ptr[i] - '0');
            scale *= 10;
        }
    }
    *out = (double)whole + (double)part / scale;
    return true;
}
