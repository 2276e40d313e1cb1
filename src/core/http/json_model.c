/* SPDX-License-Identifier: Apache-2.0 */
/* See json_model.h. One pass over the text, without recursion: what is open is a bit each, object or array. */
#include "core/http/json_model.h"

#include "core/http/bytes.h"

struct scan {
    const char *at, *end;
    unsigned depth;
    uint64_t is_object[VX_JSON_MODEL_DEPTH / 64]; /* bit d: what was opened at depth d */
    bool found;
    bool has_escapes; /* the string that was read last; for `found`: copied to model_has_escapes */
    bool model_has_escapes;
    struct vx_slice model; /* without quotes, as it stands */
};

static void skip_blank(struct scan *s) {
    while (s->at < s->end && (*s->at == ' ' || *s->at == '\n' || *s->at == '\t' || *s->at == '\r'))
        s->at++;
}

/* The first quote, backslash or control character. */
static const char *string_special(const char *p, const char *end) {
#ifdef __SSSE3__
    const __m128i quote = _mm_set1_epi8('"'), backslash = _mm_set1_epi8('\\'), last = _mm_set1_epi8(0x1f);
    while (end - p >= 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
        __m128i hit = _mm_or_si128(_mm_cmpeq_epi8(v, quote), _mm_cmpeq_epi8(v, backslash));
        hit = _mm_or_si128(hit, _mm_cmpeq_epi8(_mm_min_epu8(v, last), v));
        unsigned found = (unsigned)_mm_movemask_epi8(hit);
        if (found)
            return p + __builtin_ctz(found);
        p += 16;
    }
#endif
    while (p < end && *p != '"' && *p != '\\' && (unsigned char)*p >= 0x20)
        p++;
    return p;
}

/* Four hex digits at `p`, or -1. */
static int32_t hex4(const char *p, const char *end) {
    if (end - p < 4)
        return -1;
    int32_t n = 0;
    for (int i = 0; i < 4; i++) {
        int digit = vx_byte_hex(p[i]);
        if (digit < 0)
            return -1;
        n = n << 4 | digit;
    }
    return n;
}

/* A string from its opening quote; *out is what stands between the quotes. */
static bool read_string(struct scan *s, struct vx_slice *out) {
    const char *from = ++s->at;
    s->has_escapes = false;
    for (;;) {
        s->at = string_special(s->at, s->end);
        if (s->at == s->end || (unsigned char)*s->at < 0x20)
            return false;
        if (*s->at == '"')
            break;
        s->has_escapes = true;
        if (s->end - s->at < 2 || !memchr("\"\\/bfnrtu", s->at[1], 9))
            return false;
        if (s->at[1] == 'u' && hex4(s->at + 2, s->end) < 0)
            return false;
        s->at += s->at[1] == 'u' ? 6 : 2;
    }
    *out = vx_slice(from, (size_t)(s->at - from));
    s->at++;
    return true;
}

static bool skip_digits(struct scan *s) {
    const char *from = s->at;
    while (s->at < s->end && vx_byte_is(*s->at, VX_BYTE_DIGIT))
        s->at++;
    return s->at > from;
}

/* RFC 8259 §6. */
static bool skip_number(struct scan *s) {
    if (*s->at == '-')
        s->at++;
    const char *from = s->at;
    if (!skip_digits(s) || (*from == '0' && s->at - from > 1))
        return false;
    if (s->at < s->end && *s->at == '.') {
        s->at++;
        if (!skip_digits(s))
            return false;
    }
    if (s->at < s->end && (*s->at | 0x20) == 'e') {
        s->at++;
        if (s->at < s->end && (*s->at == '+' || *s->at == '-'))
            s->at++;
        return skip_digits(s);
    }
    return true;
}

static bool skip_word(struct scan *s, struct vx_slice word) {
    if (!vx_slice_starts_with(vx_slice(s->at, (size_t)(s->end - s->at)), word))
        return false;
    s->at += word.len;
    return true;
}

/* UTF-8 of a code point into `out` (four bytes). */
static size_t put_utf8(char *out, uint32_t c) {
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = n; --i > 0; c >>= 6)
        out[i] = (char)(0x80 | (c & 0x3f));
    out[0] = (char)(0xf00 >> n | c);
    return n;
}

/* The character of the escape at *p, of which read_string has seen that it is whole; moves *p behind it. A surrogate
 * without its partner becomes U+FFFD. */
static uint32_t unescape_one(const char **p, const char *end) {
    char kind = (*p)[1];
    if (kind != 'u') {
        static const char plain[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
        *p += 2;
        return (unsigned char)meant[(const char *)memchr(plain, kind, sizeof plain - 1) - plain];
    }
    uint32_t c = (uint32_t)hex4(*p + 2, end);
    *p += 6;
    if (c < 0xd800 || c > 0xdfff)
        return c;
    int32_t low = end - *p >= 6 && (*p)[0] == '\\' && (*p)[1] == 'u' ? hex4(*p + 2, end) : -1;
    if (c > 0xdbff || low < 0xdc00 || low > 0xdfff)
        return 0xfffd;
    *p += 6;
    return 0x10000 + ((c - 0xd800) << 10 | (uint32_t)(low - 0xdc00));
}

/* `out` has room for text.len bytes: no escape is shorter than what it stands for. */
static size_t unescape(struct vx_slice text, char *out) {
    const char *p = text.ptr, *end = text.ptr + text.len;
    size_t n = 0;
    while (p < end) {
        if (*p == '\\')
            n += put_utf8(out + n, unescape_one(&p, end));
        else
            out[n++] = *p++;
    }
    return n;
}

/* Whether a member's name is `model`, also when it is written with escapes. */
static bool is_model(const struct scan *s, struct vx_slice name) {
    enum { LONGEST = 6 * (sizeof "model" - 1) }; /* each letter as \uXXXX */
    char plain[LONGEST];
    if (!s->has_escapes)
        return vx_slice_eq(name, VX_SLICE("model"));
    return name.len <= LONGEST && vx_slice_eq(vx_slice(plain, unescape(name, plain)), VX_SLICE("model"));
}

enum wanted { VALUE, VALUE_OR_CLOSE, NAME, NAME_OR_CLOSE, NEXT_OR_CLOSE, FAILED };

static bool in_object(const struct scan *s) {
    unsigned top = s->depth - 1;
    return s->is_object[top / 64] >> top % 64 & 1;
}

static enum wanted open_nested(struct scan *s) {
    if (s->depth == VX_JSON_MODEL_DEPTH)
        return FAILED;
    bool object = *s->at++ == '{';
    uint64_t bit = UINT64_C(1) << s->depth % 64;
    uint64_t *word = &s->is_object[s->depth / 64];
    *word = object ? *word | bit : *word & ~bit;
    s->depth++;
    return object ? NAME_OR_CLOSE : VALUE_OR_CLOSE;
}

/* `model`: this is the value of the member we look for. */
static enum wanted read_value(struct scan *s, bool model) {
    if (model)
        s->found = false;
    struct vx_slice text;
    bool good;
    switch (*s->at) {
    case '{':
    case '[':
        return open_nested(s);
    case '"':
        good = read_string(s, &text);
        if (good && model) {
            s->found = true;
            s->model = text;
            s->model_has_escapes = s->has_escapes;
        }
        break;
    case 't':
        good = skip_word(s, VX_SLICE("true"));
        break;
    case 'f':
        good = skip_word(s, VX_SLICE("false"));
        break;
    case 'n':
        good = skip_word(s, VX_SLICE("null"));
        break;
    default:
        good = (*s->at == '-' || vx_byte_is(*s->at, VX_BYTE_DIGIT)) && skip_number(s);
    }
    return good ? NEXT_OR_CLOSE : FAILED;
}

/* A member's name, the colon and what follows up to the value. */
static enum wanted read_name(struct scan *s, bool *model) {
    struct vx_slice name;
    if (*s->at != '"' || !read_string(s, &name))
        return FAILED;
    *model = s->depth == 1 && is_model(s, name);
    skip_blank(s);
    if (s->at == s->end || *s->at++ != ':')
        return FAILED;
    return VALUE;
}

static enum wanted read_next(struct scan *s) {
    if (*s->at++ == ',')
        return in_object(s) ? NAME : VALUE;
    if (s->at[-1] != (in_object(s) ? '}' : ']'))
        return FAILED;
    s->depth--;
    return NEXT_OR_CLOSE;
}

static bool read_text(struct scan *s) {
    enum wanted wanted = VALUE;
    bool model = false;
    for (;;) {
        skip_blank(s);
        if (s->depth == 0 && wanted == NEXT_OR_CLOSE)
            return s->at == s->end;
        if (s->at == s->end)
            return false;
        bool closes = *s->at == '}' || *s->at == ']';
        switch (wanted) {
        case VALUE_OR_CLOSE:
        case NAME_OR_CLOSE:
            if (closes)
                wanted = read_next(s);
            else
                wanted = wanted == NAME_OR_CLOSE ? NAME : VALUE;
            break;
        case NAME:
            wanted = read_name(s, &model);
            break;
        case VALUE:
            wanted = read_value(s, model);
            model = false;
            break;
        case NEXT_OR_CLOSE:
            wanted = read_next(s);
            break;
        default:
            return false;
        }
    }
}

enum vx_json_model_result vx_json_model(struct vx_slice body, struct vx_arena *arena,
                                        struct vx_slice *model) {
    struct scan s = {.at = body.ptr, .end = body.ptr + body.len};
    if (body.len == 0 || !read_text(&s))
        return VX_JSON_MODEL_INVALID;
    if (!s.found)
        return VX_JSON_MODEL_NONE;
    *model = s.model;
    if (!s.model_has_escapes)
        return VX_JSON_MODEL_FOUND;
    char *plain = vx_arena_alloc(arena, s.model.len);
    if (!plain)
        return VX_JSON_MODEL_NO_MEMORY;
    *model = vx_slice(plain, unescape(s.model, plain));
    return VX_JSON_MODEL_FOUND;
}
