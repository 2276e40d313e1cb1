/* SPDX-License-Identifier: Apache-2.0 */
/* See h1_meaning.h. Every doubt about framing is refused: what two readers may take for two different
 * messages is how requests are smuggled (RFC 9112 §11.2). */
#include "core/http/h1_meaning.h"

#include "core/http/bytes.h"

#define FAULT(code, text) ((struct vx_h1_fault){VX_ERR_##code, (text)})
#define NO_FAULT          ((struct vx_h1_fault){VX_ERR_NONE, NULL})

/* A list's first member, trimmed; *list goes on behind it. A quoted comma would split here too, so lists in
 * which quotes may occur are refused before. */
static struct vx_slice next_member(struct vx_slice *list) {
    const char *end = list->ptr + list->len;
    const char *comma = vx_bytes_find(list->ptr, end, ',');
    struct vx_slice member = vx_slice(list->ptr, (size_t)(comma - list->ptr));
    *list = comma == end ? VX_SLICE_NONE : vx_slice(comma + 1, (size_t)(end - comma - 1));
    return vx_slice_trim(member);
}

struct codings {
    unsigned chunked, unknown;
    bool last_is_chunked, malformed;
};

static void read_codings(struct vx_slice value, struct codings *c) {
    if (value.len == 0 || memchr(value.ptr, '"', value.len))
        c->malformed = true;
    while (value.ptr) {
        struct vx_slice member = next_member(&value);
        size_t name_len = vx_bytes_token_len(member.ptr, member.ptr + member.len);
        c->last_is_chunked = vx_slice_ieq(member, VX_SLICE("chunked"));
        if (c->last_is_chunked)
            c->chunked++;
        else if (name_len == 0 || vx_slice_ieq(vx_slice(member.ptr, name_len), VX_SLICE("chunked")))
            c->malformed = true; /* an empty member, or chunked with parameters */
        else
            c->unknown++;
    }
}

static struct vx_h1_fault read_transfer_encoding(const struct vx_headers *h) {
    struct codings c = {0, 0, false, false};
    for (uint16_t i = 0; i < h->count; i++)
        if (h->items[i].id == VX_HEADER_TRANSFER_ENCODING)
            read_codings(vx_header_value(&h->items[i]), &c);
    if (c.malformed)
        return FAULT(BAD_FRAMING, "a malformed Transfer-Encoding");
    if (!c.last_is_chunked)
        return FAULT(BAD_FRAMING, "a Transfer-Encoding that does not end in chunked");
    if (c.chunked > 1)
        return FAULT(BAD_FRAMING, "chunked more than once");
    if (c.unknown)
        return FAULT(NOT_IMPLEMENTED, "a transfer coding other than chunked");
    return NO_FAULT;
}

/* RFC 9110 §8.6: 1*DIGIT. */
static bool read_length(struct vx_slice s, uint64_t *out) {
    uint64_t n = 0;
    for (size_t i = 0; i < s.len; i++) {
        unsigned digit = (unsigned)(s.ptr[i] - '0');
        if (digit > 9 || n > (UINT64_MAX - digit) / 10)
            return false;
        n = n * 10 + digit;
    }
    *out = n;
    /* Half the range is left free, so that sums of lengths cannot overflow. */
    return s.len > 0 && n <= INT64_MAX;
}

struct vx_h1_fault vx_h1_read_framing(const struct vx_headers *h, uint64_t repeated,
                                      enum vx_http_version version, enum vx_framing *framing,
                                      uint64_t *body_bytes) {
    bool has_length = vx_headers_has(h, VX_HEADER_CONTENT_LENGTH);
    *framing = VX_BODY_NONE;
    *body_bytes = 0;
    if (vx_headers_has(h, VX_HEADER_TRANSFER_ENCODING)) {
        if (has_length)
            return FAULT(BAD_FRAMING, "Transfer-Encoding together with Content-Length");
        if (version == VX_HTTP_10)
            return FAULT(BAD_FRAMING, "Transfer-Encoding in HTTP/1.0");
        *framing = VX_BODY_CHUNKED;
        return read_transfer_encoding(h);
    }
    if (!has_length)
        return NO_FAULT;
    if (repeated >> VX_HEADER_CONTENT_LENGTH & 1)
        return FAULT(BAD_FRAMING, "more than one Content-Length");
    *framing = VX_BODY_LENGTH;
    if (!read_length(vx_header_value(vx_headers_find(h, VX_HEADER_CONTENT_LENGTH)), body_bytes))
        return FAULT(BAD_FRAMING, "a Content-Length that is no number");
    return NO_FAULT;
}

struct options {
    unsigned count;
    bool close, keep_alive, upgrade;
};

static void read_options(struct vx_slice value, struct options *o) {
    while (value.len) {
        struct vx_slice member = next_member(&value);
        o->count++;
        o->close |= vx_slice_ieq(member, VX_SLICE("close"));
        o->keep_alive |= vx_slice_ieq(member, VX_SLICE("keep-alive"));
        o->upgrade |= vx_slice_ieq(member, VX_SLICE("upgrade"));
    }
}

struct vx_h1_fault vx_h1_read_connection(const struct vx_headers *h, enum vx_http_version version,
                                         bool *keep_alive, bool *upgrade) {
    struct options o = {0, false, false, false};
    if (vx_headers_has(h, VX_HEADER_CONNECTION))
        for (uint16_t i = 0; i < h->count; i++)
            if (h->items[i].id == VX_HEADER_CONNECTION)
                read_options(vx_header_value(&h->items[i]), &o);
    if (o.count > VX_CONNECTION_OPTIONS_MAX)
        return FAULT(BAD_REQUEST, "too many connection options");
    *keep_alive = !o.close && (version != VX_HTTP_10 || o.keep_alive);
    const struct vx_header *protocols = o.upgrade ? vx_headers_find(h, VX_HEADER_UPGRADE) : NULL;
    *upgrade = version != VX_HTTP_10 && protocols && protocols->value_len > 0;
    return NO_FAULT;
}

struct vx_h1_fault vx_h1_read_expect(struct vx_request *req) {
    req->expects_continue = false;
    if (!vx_headers_has(&req->headers, VX_HEADER_EXPECT) || req->version == VX_HTTP_10)
        return NO_FAULT;
    for (uint16_t i = 0; i < req->headers.count; i++) {
        const struct vx_header *h = &req->headers.items[i];
        if (h->id == VX_HEADER_EXPECT && !vx_slice_ieq(vx_header_value(h), VX_SLICE("100-continue")))
            return FAULT(EXPECTATION_FAILED, "an expectation other than 100-continue");
    }
    req->expects_continue =
        req->framing == VX_BODY_CHUNKED || (req->framing == VX_BODY_LENGTH && req->body_bytes > 0);
    return NO_FAULT;
}
