/* SPDX-License-Identifier: Apache-2.0 */
/* The message model every protocol version is mapped to: a request, a response, their header fields.
 * All slices are borrowed: they point into the receive block (or the exchange's arena, or static text) and
 * live as long as the exchange. */
#ifndef VX_CORE_HTTP_MESSAGE_H
#define VX_CORE_HTTP_MESSAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/arena.h"
#include "core/base/error.h"
#include "core/base/slice.h"

#define VX_METHOD_LIST(X) X(GET) X(HEAD) X(POST) X(PUT) X(DELETE) X(CONNECT) X(OPTIONS) X(TRACE) X(PATCH)

enum vx_method {
    VX_METHOD_OTHER, /* a valid token that is none of the below; its text is in method_text */
#define X(name) VX_METHOD_##name,
    VX_METHOD_LIST(X)
#undef X
};

enum vx_http_version { VX_HTTP_10, VX_HTTP_11, VX_HTTP_2, VX_HTTP_3 };

/* Fields the proxy itself looks at. The parser tags them once, so that nobody compares names again. */
#define VX_HEADER_LIST(X)                                                                                    \
    X(HOST, "host")                                                                                          \
    X(CONNECTION, "connection")                                                                              \
    X(CONTENT_LENGTH, "content-length")                                                                      \
    X(TRANSFER_ENCODING, "transfer-encoding")                                                                \
    X(TE, "te")                                                                                              \
    X(TRAILER, "trailer")                                                                                    \
    X(UPGRADE, "upgrade")                                                                                    \
    X(KEEP_ALIVE, "keep-alive")                                                                              \
    X(PROXY_CONNECTION, "proxy-connection")                                                                  \
    X(PROXY_AUTHENTICATE, "proxy-authenticate")                                                              \
    X(PROXY_AUTHORIZATION, "proxy-authorization")                                                            \
    X(HTTP2_SETTINGS, "http2-settings")                                                                      \
    X(EXPECT, "expect")                                                                                      \
    X(CONTENT_TYPE, "content-type")                                                                          \
    X(COOKIE, "cookie")                                                                                      \
    X(DATE, "date")                                                                                          \
    X(SERVER, "server")                                                                                      \
    X(LOCATION, "location")                                                                                  \
    X(VIA, "via")                                                                                            \
    X(USER_AGENT, "user-agent")                                                                              \
    X(REFERER, "referer")                                                                                    \
    X(X_FORWARDED_FOR, "x-forwarded-for")                                                                    \
    X(X_FORWARDED_PROTO, "x-forwarded-proto")                                                                \
    X(X_FORWARDED_HOST, "x-forwarded-host")                                                                  \
    X(FORWARDED, "forwarded")                                                                                \
    X(X_REAL_IP, "x-real-ip")                                                                                \
    X(X_REQUEST_ID, "x-request-id")                                                                          \
    X(X_AI_MODEL, "x-ai-model")                                                                              \
    X(TRACEPARENT, "traceparent")                                                                            \
    X(TRACESTATE, "tracestate")                                                                              \
    X(GRPC_TIMEOUT, "grpc-timeout")                                                                          \
    X(GRPC_STATUS, "grpc-status")

enum vx_header_id {
    VX_HEADER_OTHER,
#define X(name, text) VX_HEADER_##name,
    VX_HEADER_LIST(X)
#undef X
        VX_HEADER_COUNT
};
_Static_assert(VX_HEADER_COUNT <= 64, "vx_headers.present is one 64-bit word");

enum vx_header_flags {
    VX_HEADER_RAW = 1,     /* name..value lie as in a received head, CRLF behind; runs may be copied whole */
    VX_HEADER_REMOVED = 2, /* is not forwarded; kept so that indexes and slices stay */
};

struct vx_header {
    const char *name;
    const char *value;
    uint32_t value_len;
    uint16_t name_len;
    uint8_t id; /* enum vx_header_id */
    uint8_t flags;
};

struct vx_headers {
    struct vx_header *items; /* in order of arrival; room for `capacity` */
    uint64_t present;        /* bit 1<<id for each id that occurs (removed ones may still be set) */
    uint16_t count, capacity;
};

/* How the body of a message is delimited (RFC 9112 §6.3). */
enum vx_framing {
    VX_BODY_NONE,
    VX_BODY_LENGTH,      /* body_bytes says how much */
    VX_BODY_CHUNKED,     /* HTTP/1.1 chunked; HTTP/2 and 3: until the stream ends */
    VX_BODY_UNTIL_CLOSE, /* HTTP/1 responses only */
};

struct vx_request {
    enum vx_method method;
    enum vx_http_version version;
    enum vx_framing framing;
    bool keep_alive;       /* HTTP/1: the client lets the connection live (RFC 9112 §9.3) */
    bool expects_continue; /* Expect: 100-continue */
    bool upgrade;          /* Connection: upgrade together with an Upgrade field */
    bool https;            /* arrived over TLS */
    uint64_t body_bytes;   /* for VX_BODY_LENGTH */
    struct vx_slice method_text;
    struct vx_slice target;    /* as it came: origin-form, absolute-form or `*` */
    struct vx_slice path;      /* normalised path, without the query; begins with `/` (or is `*`) */
    struct vx_slice query;     /* after `?`, without it; ptr NULL when there is no `?` */
    struct vx_slice authority; /* Host or :authority as it came */
    struct vx_slice host;      /* authority in lower case, without port and trailing dot */
    struct vx_headers headers;
};

struct vx_response {
    uint16_t status;
    enum vx_http_version version;
    enum vx_framing framing;
    bool keep_alive; /* HTTP/1: the backend lets the connection live */
    bool upgrade;    /* 101 that accepts the requested upgrade */
    bool early;      /* the request's body goes on being read, so that it may yet end in good order */
    uint64_t body_bytes;
    struct vx_slice reason; /* HTTP/1 reason phrase, may be empty */
    struct vx_headers headers;
};

static inline struct vx_slice vx_header_name(const struct vx_header *h) {
    return vx_slice(h->name, h->name_len);
}

static inline struct vx_slice vx_header_value(const struct vx_header *h) {
    return vx_slice(h->value, h->value_len);
}

static inline bool vx_headers_has(const struct vx_headers *h, enum vx_header_id id) {
    return h->present >> id & 1;
}

/* The first field with this id that is not removed, or NULL. */
struct vx_header *vx_headers_find(const struct vx_headers *h, enum vx_header_id id);

/* The same for any name, compared without case; for names from the configuration. */
struct vx_header *vx_headers_find_name(const struct vx_headers *h, struct vx_slice name);

/* Makes the array hold at least `room` fields, in `arena`. False: no memory, or `room` above 65535 (nothing changed). */
bool vx_headers_reserve(struct vx_headers *h, struct vx_arena *arena, size_t room);

/* Appends a copy of `field`, whose text is borrowed. The array grows in `arena` when it is full.
 * False: no memory (nothing changed). */
static inline bool vx_headers_append(struct vx_headers *h, struct vx_arena *arena,
                                     const struct vx_header *field) {
    if (__builtin_expect(h->count == h->capacity, 0) && !vx_headers_reserve(h, arena, h->count + (size_t)1))
        return false;
    h->items[h->count++] = *field;
    h->present |= UINT64_C(1) << field->id;
    return true;
}

/* The same for a field that is made of its parts. False also for a name above 65535 bytes. */
static inline bool vx_headers_add(struct vx_headers *h, struct vx_arena *arena, enum vx_header_id id,
                                  struct vx_slice name, struct vx_slice value) {
    struct vx_header field = {
        .name = name.ptr,
        .value = value.ptr,
        .value_len = (uint32_t)value.len,
        .name_len = (uint16_t)name.len,
        .id = (uint8_t)id,
    };
    return name.len <= UINT16_MAX && value.len <= UINT32_MAX && vx_headers_append(h, arena, &field);
}

/* Marks every field removed whose id is among `ids`, a bit 1<<id for each. */
void vx_headers_remove_ids(struct vx_headers *h, uint64_t ids);

/* Marks every field with this id (or name) removed. */
static inline void vx_headers_remove(struct vx_headers *h, enum vx_header_id id) {
    vx_headers_remove_ids(h, UINT64_C(1) << id);
}
void vx_headers_remove_name(struct vx_headers *h, struct vx_slice name);

/* The id for a name in any case, VX_HEADER_OTHER when it is none of ours. */
enum vx_header_id vx_header_id_of(struct vx_slice name);

/* The same for a name as HTTP/2 has them: one that is not in lower case is none of ours. */
enum vx_header_id vx_header_id_of_lower(struct vx_slice name);

/* The lower-case text of an id; empty for VX_HEADER_OTHER. */
struct vx_slice vx_header_id_name(enum vx_header_id id);

/* Members of Connection that are looked at; the HTTP/1 parser refuses more. It bounds the work of stripping. */
enum { VX_CONNECTION_OPTIONS_MAX = 64 };

/* Removes the hop-by-hop fields (RFC 9110 §7.6.1): Connection and all it names, Keep-Alive, Proxy-Connection,
 * TE (unless `trailers`), Transfer-Encoding, Upgrade, HTTP2-Settings. Trailer stays: trailers are forwarded.
 * Connection cannot take out Host, Content-Length, Content-Type, Via, X-Real-IP, Forwarded, X-Forwarded-*. */
void vx_headers_strip_hop_by_hop(struct vx_headers *h);

/* Path and query as one: as they came where they lie side by side, else joined in `arena`. ptr is NULL when there is no
 * memory. */
struct vx_slice vx_request_path_and_query(const struct vx_request *r, struct vx_arena *arena);

enum vx_method vx_method_of(struct vx_slice text);

/* The standard reason phrase of a status, "Unknown" when there is none. */
struct vx_slice vx_status_reason(uint16_t status);

#endif
