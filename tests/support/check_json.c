/* SPDX-License-Identifier: Apache-2.0 */
/* See check_json.h. Written apart from the code it judges: the UTF-8 reader here decodes and compares ranges. */
#include "support/check_json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

struct reader {
    const unsigned char *at, *end;
    struct json_object *object;
};

static bool eat(struct reader *r, char c) {
    if (r->at == r->end || *r->at != (unsigned char)c)
        return false;
    r->at++;
    return true;
}

static bool emit(struct reader *r, unsigned char c) {
    if (r->object->used == JSON_TEXT_MAX)
        return false;
    r->object->text[r->object->used++] = (char)c;
    return true;
}

static bool emit_code_point(struct reader *r, uint32_t c) {
    if (c < 0x80)
        return emit(r, (unsigned char)c);
    if (c < 0x800)
        return emit(r, (unsigned char)(0xc0 | c >> 6)) && emit(r, (unsigned char)(0x80 | (c & 0x3f)));
    return emit(r, (unsigned char)(0xe0 | c >> 12)) && emit(r, (unsigned char)(0x80 | (c >> 6 & 0x3f))) &&
           emit(r, (unsigned char)(0x80 | (c & 0x3f)));
}

static bool read_hex4(struct reader *r, uint32_t *out) {
    *out = 0;
    for (int i = 0; i < 4; i++) {
        if (r->at == r->end)
            return false;
        unsigned char c = *r->at++;
        uint32_t digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : 99;
        if (digit == 99)
            return false;
        *out = *out * 16 + digit;
    }
    return *out < 0xd800 || *out > 0xdfff;
}

static bool read_escape(struct reader *r) {
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    if (r->at == r->end)
        return false;
    unsigned char c = *r->at++;
    uint32_t code;
    if (c == 'u')
        return read_hex4(r, &code) && emit_code_point(r, code);
    const char *found = c ? strchr(from, c) : NULL;
    return found && emit(r, (unsigned char)to[found - from]);
}

/* One code point of UTF-8 that is not ASCII. */
static bool read_multibyte(struct reader *r) {
    unsigned char lead = *r->at;
    int more = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1;
    static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
    if (lead < 0xc0 || lead > 0xf7 || r->end - r->at <= more)
        return false;
    uint32_t code = lead & (0x3f >> more);
    for (int i = 1; i <= more; i++) {
        if ((r->at[i] & 0xc0) != 0x80)
            return false;
        code = code << 6 | (r->at[i] & 0x3f);
    }
    if (code < least[more] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
        return false;
    for (int i = 0; i <= more; i++)
        if (!emit(r, *r->at++))
            return false;
    return true;
}

static bool read_string(struct reader *r, struct vx_slice *out) {
    if (!eat(r, '"'))
        return false;
    size_t start = r->object->used;
    for (;;) {
        if (r->at == r->end || *r->at < 0x20)
            return false;
        if (eat(r, '"'))
            break;
        bool good = eat(r, '\\') ? read_escape(r) : *r->at >= 0x80 ? read_multibyte(r) : emit(r, *r->at++);
        if (!good)
            return false;
    }
    *out = vx_slice(r->object->text + start, r->object->used - start);
    return true;
}

static bool digits(struct reader *r) {
    const unsigned char *start = r->at;
    while (r->at < r->end && *r->at >= '0' && *r->at <= '9')
        r->at++;
    return r->at > start;
}

static bool read_number(struct reader *r) {
    eat(r, '-');
    const unsigned char *start = r->at;
    if (!digits(r) || (*start == '0' && r->at - start > 1))
        return false;
    return !eat(r, '.') || digits(r);
}

static bool read_word(struct reader *r, const char *word) {
    size_t len = strlen(word);
    if ((size_t)(r->end - r->at) < len || memcmp(r->at, word, len) != 0)
        return false;
    r->at += len;
    return true;
}

static bool read_value(struct reader *r, struct json_member *m) {
    if (r->at < r->end && *r->at == '"') {
        m->kind = JSON_STRING;
        return read_string(r, &m->value);
    }
    const unsigned char *start = r->at;
    bool good = true;
    if (read_word(r, "true") || read_word(r, "false"))
        m->kind = JSON_BOOL;
    else if (read_word(r, "null"))
        m->kind = JSON_NULL;
    else if ((good = read_number(r)))
        m->kind = JSON_NUMBER;
    m->value = vx_slice((const char *)start, (size_t)(r->at - start));
    return good;
}

static bool read_member(struct reader *r) {
    struct json_object *o = r->object;
    if (o->count == JSON_MEMBERS)
        return false;
    struct json_member *m = &o->members[o->count];
    struct vx_slice key;
    if (!read_string(r, &key) || key.len >= JSON_KEY_MAX || !eat(r, ':') || !read_value(r, m))
        return false;
    memcpy(m->key, key.ptr, key.len);
    m->key[key.len] = 0;
    for (unsigned i = 0; i < o->count; i++)
        if (strcmp(o->members[i].key, m->key) == 0)
            return false;
    o->count++;
    return true;
}

bool json_read(struct json_object *o, struct vx_slice s) {
    o->count = 0;
    o->used = 0;
    struct reader r = {(const unsigned char *)s.ptr, (const unsigned char *)s.ptr + s.len, o};
    if (!eat(&r, '{'))
        return false;
    if (!eat(&r, '}')) {
        do {
            if (!read_member(&r))
                return false;
        } while (eat(&r, ','));
        if (!eat(&r, '}'))
            return false;
    }
    return r.at == r.end;
}

struct vx_slice json_value(const struct json_object *o, const char *key) {
    for (unsigned i = 0; i < o->count; i++)
        if (strcmp(o->members[i].key, key) == 0)
            return o->members[i].value;
    print_error("no member `%s`\n", key);
    fail();
    return VX_SLICE_NONE;
}

void json_check(const struct json_object *o, const char *key, const char *value) {
    struct vx_slice have = json_value(o, key);
    if (!vx_slice_eq(have, vx_slice_of(value))) {
        print_error("`%s` is `%.*s`, not `%s`\n", key, VX_SLICE_ARG(have), value);
        fail();
    }
}
