/* SPDX-License-Identifier: Apache-2.0 */
/* See h1_write.h. */
#include "core/http/h1_write.h"

#define BIT(name) (UINT64_C(1) << VX_HEADER_##name)

/* Written from `how` alone. */
static const uint64_t ours = BIT(CONTENT_LENGTH) | BIT(TRANSFER_ENCODING) | BIT(CONNECTION) |
                             BIT(KEEP_ALIVE) | BIT(PROXY_CONNECTION) | BIT(UPGRADE);

enum { DECIMAL_MAX_BYTES = 20, CRLF_BYTES = 2 };

/* Bytes go to `at` while they fit before `end`; once they do not, `full` says so and nothing more is written. */
struct out {
    char *begin, *at, *end;
    bool full;
};

static struct out out_to(char *p, size_t room) {
    return (struct out){p, p, p + room, false};
}

static size_t written(const struct out *o) {
    return o->full ? 0 : (size_t)(o->at - o->begin);
}

/* Most pieces are short; for these a call costs more than the copy. */
static inline void copy(char *to, const char *from, size_t n) {
    struct sixteen {
        uint64_t low, high;
    } a, b;
    if (n > 2 * sizeof a) {
        memcpy(to, from, n);
    } else if (n >= sizeof a) {
        memcpy(&a, from, sizeof a);
        memcpy(&b, from + n - sizeof b, sizeof b);
        memcpy(to, &a, sizeof a);
        memcpy(to + n - sizeof b, &b, sizeof b);
    } else if (n >= 8) {
        uint64_t first = vx_load8(from), last = vx_load8(from + n - 8);
        memcpy(to, &first, 8);
        memcpy(to + n - 8, &last, 8);
    } else if (n >= 4) {
        uint32_t first = vx_load4(from), last = vx_load4(from + n - 4);
        memcpy(to, &first, 4);
        memcpy(to + n - 4, &last, 4);
    } else if (n) {
        char middle = from[n / 2], last = from[n - 1];
        to[0] = from[0];
        to[n / 2] = middle;
        to[n - 1] = last;
    }
}

/* Room for exactly `n` bytes, or NULL. */
static inline char *claim(struct out *o, size_t n) {
    char *at = o->at;
    if (__builtin_expect(n > (size_t)(o->end - at), 0)) {
        o->full = true;
        o->end = at;
        return NULL;
    }
    o->at = at + n;
    return at;
}

static inline void put(struct out *o, struct vx_slice s) {
    char *at = claim(o, s.len);
    if (at)
        copy(at, s.ptr, s.len);
}

/* `n` is a constant, and so the copy is a move or two. */
static inline __attribute__((always_inline)) void put_text(struct out *o, const char *text, size_t n) {
    char *at = claim(o, n);
    if (at)
        memcpy(at, text, n);
}

#define PUT(o, literal) put_text((o), (literal), sizeof(literal) - 1)

static void put_decimal(struct out *o, uint64_t n) {
    size_t digits = 1;
    for (uint64_t power = 10; digits < DECIMAL_MAX_BYTES && n >= power; power *= 10)
        digits++;
    char *at = claim(o, digits);
    for (; at && digits > 0; n /= 10)
        at[--digits] = (char)('0' + n % 10);
}

/* Three digits, as every status has (RFC 9110 §15). */
static void put_status(struct out *o, unsigned status) {
    char *at = claim(o, 3);
    if (!at)
        return;
    at[0] = (char)('0' + status / 100 % 10);
    at[1] = (char)('0' + status / 10 % 10);
    at[2] = (char)('0' + status % 10);
}

static bool is_sent(const struct vx_header *h, uint64_t but) {
    return !(h->flags & VX_HEADER_REMOVED) && !(but >> h->id & 1);
}

static inline void put_field(struct out *o, const struct vx_header *f) {
    char *at = claim(o, f->name_len + (size_t)f->value_len + 4);
    if (!at)
        return;
    copy(at, f->name, f->name_len);
    at += f->name_len;
    memcpy(at, ": ", 2);
    copy(at + 2, f->value, f->value_len);
    memcpy(at + 2 + f->value_len, "\r\n", 2);
}

/* The fields, but for those whose id is in `but`. A run of received fields that lie side by side is one copy. */
static void put_fields(struct out *out, const struct vx_headers *h, uint64_t but) {
    struct out o = *out; /* so that it stays in registers */
    const struct vx_header *f = h->items, *end = h->items + h->count;
    while (f < end) {
        if (!is_sent(f, but)) {
            f++;
        } else if (!(f->flags & VX_HEADER_RAW)) {
            put_field(&o, f++);
        } else {
            const char *from = f->name, *to = f->value + f->value_len;
            for (f++; f < end && f->name == to + CRLF_BYTES && (f->flags & VX_HEADER_RAW) && is_sent(f, but);
                 f++)
                to = f->value + f->value_len;
            put(&o, vx_slice(from, (size_t)(to - from)));
            PUT(&o, "\r\n");
        }
    }
    *out = o;
}

static size_t fields_max(const struct vx_headers *h) {
    size_t n = 0;
    for (uint16_t i = 0; i < h->count; i++) {
        const struct vx_header *f = &h->items[i];
        if (f->flags & VX_HEADER_REMOVED)
            continue;
        if (f->flags & VX_HEADER_RAW)
            n += (size_t)(f->value + f->value_len - f->name) + CRLF_BYTES;
        else
            n += f->name_len + (sizeof ": " - 1) + f->value_len + CRLF_BYTES;
    }
    return n;
}

struct ending {
    bool content_length, chunked;
    uint64_t body_bytes;
    enum vx_h1_connection connection;
    struct vx_slice upgrade;
};

/* Framing, Connection and the empty line: an upper bound of what put_ending writes. */
static size_t ending_max(const struct ending *e) {
    static const char all[] = "Content-Length: \r\n"
                              "Connection: upgrade, keep-alive, te\r\n"
                              "Upgrade: \r\n"
                              "\r\n";
    return sizeof all + DECIMAL_MAX_BYTES + e->upgrade.len + sizeof "Transfer-Encoding: chunked\r\n";
}

static void put_ending(struct out *o, const struct vx_headers *h, const struct ending *e) {
    if (e->content_length) {
        PUT(o, "Content-Length: ");
        put_decimal(o, e->body_bytes);
        PUT(o, "\r\n");
    } else if (e->chunked) {
        PUT(o, "Transfer-Encoding: chunked\r\n");
    }
    if (e->upgrade.ptr) {
        PUT(o, "Upgrade: ");
        put(o, e->upgrade);
        PUT(o, "\r\nConnection: upgrade");
    } else if (e->connection == VX_H1_CONNECTION_CLOSE) {
        PUT(o, "Connection: close");
    } else if (e->connection == VX_H1_CONNECTION_KEEP_ALIVE) {
        PUT(o, "Connection: keep-alive");
    }
    bool begun = e->upgrade.ptr || e->connection != VX_H1_CONNECTION_DEFAULT;
    if (vx_headers_find(h, VX_HEADER_TE)) {
        if (begun)
            PUT(o, ", te");
        else
            PUT(o, "Connection: te");
        begun = true;
    }
    if (begun)
        PUT(o, "\r\n");
    PUT(o, "\r\n");
}

static struct ending ending_of_request(const struct vx_h1_request_write *how) {
    return (struct ending){
        .content_length = how->framing == VX_BODY_LENGTH,
        .chunked = how->framing == VX_BODY_CHUNKED,
        .body_bytes = how->body_bytes,
        .connection = how->connection,
        .upgrade = how->upgrade,
    };
}

static struct ending ending_of_response(const struct vx_h1_response_write *how) {
    return (struct ending){
        .content_length =
            how->framing == VX_BODY_LENGTH || (how->framing == VX_BODY_NONE && how->declare_length),
        .chunked = how->framing == VX_BODY_CHUNKED,
        .body_bytes = how->body_bytes,
        .connection = how->connection,
        .upgrade = how->upgrade,
    };
}

size_t vx_h1_request_head_max(const struct vx_request *req, const struct vx_h1_request_write *how) {
    struct ending ending = ending_of_request(how);
    size_t target = how->target.ptr ? how->target.len : req->path.len + 1 + req->query.len;
    return req->method_text.len + target + sizeof "  HTTP/1.1\r\n" + fields_max(&req->headers) +
           ending_max(&ending);
}

size_t vx_h1_write_request_head(char *p, size_t room, const struct vx_request *req,
                                const struct vx_h1_request_write *how) {
    struct out o = out_to(p, room);
    struct ending ending = ending_of_request(how);
    put(&o, req->method_text);
    PUT(&o, " ");
    if (how->target.ptr) {
        put(&o, how->target);
    } else {
        put(&o, req->path);
        if (req->query.ptr) {
            PUT(&o, "?");
            put(&o, req->query);
        }
    }
    PUT(&o, " HTTP/1.1\r\n");
    put_fields(&o, &req->headers, ours);
    put_ending(&o, &req->headers, &ending);
    return written(&o);
}

static struct vx_slice reason_of(const struct vx_response *resp) {
    return resp->reason.ptr ? resp->reason : vx_status_reason(resp->status);
}

size_t vx_h1_response_head_max(const struct vx_response *resp, const struct vx_h1_response_write *how) {
    struct ending ending = ending_of_response(how);
    return sizeof "HTTP/1.1 200 \r\n" + reason_of(resp).len + fields_max(&resp->headers) +
           sizeof "Date: \r\n" + how->date.len + ending_max(&ending);
}

size_t vx_h1_write_response_head(char *p, size_t room, const struct vx_response *resp,
                                 const struct vx_h1_response_write *how) {
    struct out o = out_to(p, room);
    struct ending ending = ending_of_response(how);
    PUT(&o, "HTTP/1.1 ");
    put_status(&o, resp->status);
    PUT(&o, " ");
    put(&o, reason_of(resp));
    PUT(&o, "\r\n");
    put_fields(&o, &resp->headers, ours);
    if (how->date.ptr) {
        PUT(&o, "Date: ");
        put(&o, how->date);
        PUT(&o, "\r\n");
    }
    put_ending(&o, &resp->headers, &ending);
    return written(&o);
}

size_t vx_h1_last_chunk_max(const struct vx_headers *trailers) {
    return sizeof "0\r\n\r\n" + (trailers ? fields_max(trailers) : 0);
}

size_t vx_h1_write_last_chunk(char *p, size_t room, const struct vx_headers *trailers) {
    struct out o = out_to(p, room);
    PUT(&o, "0\r\n");
    if (trailers)
        put_fields(&o, trailers, 0);
    PUT(&o, "\r\n");
    return written(&o);
}
