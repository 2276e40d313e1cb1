/* SPDX-License-Identifier: Apache-2.0 */
/* See json.h. The tree is walked twice: to measure, then to write. Its depth is bounded by VX_YAML_DEPTH_MAX. */
#include "admin/yaml/json.h"

/* Where bytes go; `to` NULL: they are only counted. */
struct out {
    char *to;
    size_t len;
};

static void put(struct out *o, struct vx_slice s) {
    if (o->to && s.len)
        memcpy(o->to + o->len, s.ptr, s.len);
    o->len += s.len;
}

static void put_char(struct out *o, char c) {
    put(o, vx_slice(&c, 1));
}

static void put_escaped(struct out *o, char c) {
    static const char digits[] = "0123456789abcdef";
    char escape[6] = {'\\', 'u', '0', '0', digits[(unsigned char)c >> 4], digits[c & 15]};
    if (c == '"' || c == '\\') {
        put_char(o, '\\');
        put_char(o, c);
    } else if (c == '\n') {
        put(o, VX_SLICE("\\n"));
    } else if ((unsigned char)c < 0x20) {
        put(o, vx_slice(escape, sizeof escape));
    } else {
        put_char(o, c);
    }
}

static void put_string(struct out *o, struct vx_slice s) {
    put_char(o, '"');
    for (size_t i = 0; i < s.len; i++)
        put_escaped(o, s.ptr[i]);
    put_char(o, '"');
}

/* Takes the digits off the front of `s`; how many there were. */
static size_t take_digits(struct vx_slice *s) {
    size_t n = 0;
    while (n < s->len && s->ptr[n] >= '0' && s->ptr[n] <= '9')
        n++;
    *s = vx_slice_skip(*s, n);
    return n;
}

static bool take_one_of(struct vx_slice *s, char a, char b) {
    if (!s->len || (s->ptr[0] != a && s->ptr[0] != b))
        return false;
    *s = vx_slice_skip(*s, 1);
    return true;
}

/* A number as RFC 8259 §6 writes it. */
static bool is_number(struct vx_slice s) {
    take_one_of(&s, '-', '-');
    bool zero_first = s.len && s.ptr[0] == '0';
    size_t whole = take_digits(&s);
    if (whole == 0 || (whole > 1 && zero_first))
        return false;
    if (take_one_of(&s, '.', '.') && take_digits(&s) == 0)
        return false;
    if (take_one_of(&s, 'e', 'E')) {
        take_one_of(&s, '+', '-');
        if (take_digits(&s) == 0)
            return false;
    }
    return s.len == 0;
}

static void put_scalar(struct out *o, const struct vx_yaml_node *node) {
    if (vx_yaml_is_null(node))
        put(o, VX_SLICE("null"));
    else if (node->plain && (is_number(node->text) || vx_slice_eq(node->text, VX_SLICE("true")) ||
                             vx_slice_eq(node->text, VX_SLICE("false"))))
        put(o, node->text);
    else
        put_string(o, node->text);
}

static void put_node(struct out *o, const struct vx_yaml_node *node) {
    if (node->kind == VX_YAML_SCALAR) {
        put_scalar(o, node);
        return;
    }
    bool mapping = node->kind == VX_YAML_MAPPING;
    put_char(o, mapping ? '{' : '[');
    for (const struct vx_yaml_item *item = node->items; item; item = item->next) {
        if (item != node->items)
            put_char(o, ',');
        if (mapping) {
            put_string(o, item->key->text);
            put_char(o, ':');
        }
        put_node(o, item->value);
    }
    put_char(o, mapping ? '}' : ']');
}

struct vx_slice vx_yaml_to_json(const struct vx_yaml_node *node, struct vx_arena *arena) {
    struct out o = {NULL, 0};
    put_node(&o, node);
    size_t len = o.len;
    o = (struct out){vx_arena_alloc(arena, len), 0};
    if (!o.to)
        return VX_SLICE_NONE;
    put_node(&o, node);
    return vx_slice(o.to, len);
}
