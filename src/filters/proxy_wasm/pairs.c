/* SPDX-License-Identifier: Apache-2.0 */
/* See pairs.h. */
#include "filters/proxy_wasm/pairs.h"

static uint32_t get4(const char *p) {
    const unsigned char *u = (const unsigned char *)p;
    return (uint32_t)u[0] | (uint32_t)u[1] << 8 | (uint32_t)u[2] << 16 | (uint32_t)u[3] << 24;
}

static void put4(uint8_t *p, uint32_t n) {
    p[0] = (uint8_t)n;
    p[1] = (uint8_t)(n >> 8);
    p[2] = (uint8_t)(n >> 16);
    p[3] = (uint8_t)(n >> 24);
}

/* The next `len` bytes and the zero behind them. */
static bool take(struct vx_slice *rest, uint32_t len, struct vx_slice *out) {
    if (rest->len <= len || rest->ptr[len] != '\0')
        return false;
    *out = vx_slice(rest->ptr, len);
    *rest = vx_slice_skip(*rest, (size_t)len + 1);
    return true;
}

bool vx_pwasm_pairs_read(struct vx_slice bytes, struct vx_field *fields, uint32_t *count) {
    *count = 0;
    if (bytes.len == 0)
        return true;
    if (bytes.len < 4 || bytes.len > VX_FIELD_MAP_BYTES_MAX)
        return false;
    uint32_t n = get4(bytes.ptr);
    if (n > VX_FIELD_MAP_PAIRS_MAX || bytes.len - 4 < (size_t)n * 8)
        return false;
    const char *lengths = bytes.ptr + 4;
    struct vx_slice rest = vx_slice_skip(bytes, 4 + (size_t)n * 8);
    for (uint32_t i = 0; i < n; i++)
        if (!take(&rest, get4(lengths + 8 * i), &fields[i].name) ||
            !take(&rest, get4(lengths + 8 * i + 4), &fields[i].value))
            return false;
    *count = n;
    return rest.len == 0;
}

struct vx_pwasm_pairs vx_pwasm_pairs_begin(uint8_t *out, uint32_t count, size_t bytes) {
    uint8_t *text = out + 4 + (size_t)count * 8;
    put4(out, count);
    return (struct vx_pwasm_pairs){
        .lengths = out + 4, .lengths_end = text, .text = text, .text_end = out + bytes};
}

static void put_text(struct vx_pwasm_pairs *p, struct vx_slice s) {
    if (s.len)
        memcpy(p->text, s.ptr, s.len);
    p->text += s.len;
    *p->text++ = 0;
}

bool vx_pwasm_pairs_put(struct vx_pwasm_pairs *p, struct vx_slice name, struct vx_slice value, bool lower) {
    if (p->lengths == p->lengths_end || (size_t)(p->text_end - p->text) < name.len + value.len + 2)
        return false;
    put4(p->lengths, (uint32_t)name.len);
    put4(p->lengths + 4, (uint32_t)value.len);
    p->lengths += 8;
    uint8_t *text = p->text;
    put_text(p, name);
    for (size_t i = 0; lower && i < name.len; i++)
        text[i] = (uint8_t)vx_lower((char)text[i]);
    put_text(p, value);
    return true;
}
