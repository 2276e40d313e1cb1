/* SPDX-License-Identifier: Apache-2.0 */
/* See message.h. Names are told apart once, by a perfect hash of length, first and last letter. */
#include "core/http/message.h"

#include "core/http/bytes.h"
#include "core/http/header_ids.h"

enum { INITIAL_HEADERS = 32 };

const uint8_t vx_header_slots[VX_HEADER_SLOTS] = {
    [VX_HEADER_SLOT(4, 'h', 't')] = VX_HEADER_HOST,
    [VX_HEADER_SLOT(10, 'c', 'n')] = VX_HEADER_CONNECTION,
    [VX_HEADER_SLOT(14, 'c', 'h')] = VX_HEADER_CONTENT_LENGTH,
    [VX_HEADER_SLOT(17, 't', 'g')] = VX_HEADER_TRANSFER_ENCODING,
    [VX_HEADER_SLOT(2, 't', 'e')] = VX_HEADER_TE,
    [VX_HEADER_SLOT(7, 't', 'r')] = VX_HEADER_TRAILER,
    [VX_HEADER_SLOT(7, 'u', 'e')] = VX_HEADER_UPGRADE,
    [VX_HEADER_SLOT(10, 'k', 'e')] = VX_HEADER_KEEP_ALIVE,
    [VX_HEADER_SLOT(16, 'p', 'n')] = VX_HEADER_PROXY_CONNECTION,
    [VX_HEADER_SLOT(18, 'p', 'e')] = VX_HEADER_PROXY_AUTHENTICATE,
    [VX_HEADER_SLOT(19, 'p', 'n')] = VX_HEADER_PROXY_AUTHORIZATION,
    [VX_HEADER_SLOT(14, 'h', 's')] = VX_HEADER_HTTP2_SETTINGS,
    [VX_HEADER_SLOT(6, 'e', 't')] = VX_HEADER_EXPECT,
    [VX_HEADER_SLOT(12, 'c', 'e')] = VX_HEADER_CONTENT_TYPE,
    [VX_HEADER_SLOT(6, 'c', 'e')] = VX_HEADER_COOKIE,
    [VX_HEADER_SLOT(4, 'd', 'e')] = VX_HEADER_DATE,
    [VX_HEADER_SLOT(6, 's', 'r')] = VX_HEADER_SERVER,
    [VX_HEADER_SLOT(8, 'l', 'n')] = VX_HEADER_LOCATION,
    [VX_HEADER_SLOT(3, 'v', 'a')] = VX_HEADER_VIA,
    [VX_HEADER_SLOT(10, 'u', 't')] = VX_HEADER_USER_AGENT,
    [VX_HEADER_SLOT(7, 'r', 'r')] = VX_HEADER_REFERER,
    [VX_HEADER_SLOT(15, 'x', 'r')] = VX_HEADER_X_FORWARDED_FOR,
    [VX_HEADER_SLOT(17, 'x', 'o')] = VX_HEADER_X_FORWARDED_PROTO,
    [VX_HEADER_SLOT(16, 'x', 't')] = VX_HEADER_X_FORWARDED_HOST,
    [VX_HEADER_SLOT(9, 'f', 'd')] = VX_HEADER_FORWARDED,
    [VX_HEADER_SLOT(9, 'x', 'p')] = VX_HEADER_X_REAL_IP,
    [VX_HEADER_SLOT(12, 'x', 'd')] = VX_HEADER_X_REQUEST_ID,
    [VX_HEADER_SLOT(10, 'x', 'l')] = VX_HEADER_X_AI_MODEL,
    [VX_HEADER_SLOT(11, 't', 't')] = VX_HEADER_TRACEPARENT,
    [VX_HEADER_SLOT(10, 't', 'e')] = VX_HEADER_TRACESTATE,
    [VX_HEADER_SLOT(12, 'g', 't')] = VX_HEADER_GRPC_TIMEOUT,
    [VX_HEADER_SLOT(11, 'g', 's')] = VX_HEADER_GRPC_STATUS,
};

#define ENTRY(text)                                                                                          \
    { sizeof(text) - 1, text }

const struct vx_header_name vx_header_names[VX_HEADER_COUNT] = {
#define X(name, text) [VX_HEADER_##name] = ENTRY(text),
    VX_HEADER_LIST(X)
#undef X
};

enum vx_header_id vx_header_id_of(struct vx_slice name) {
    /* What is no token may differ from one of our names by a bit that the fast comparison does not look at. */
    if (name.len == 0 || name.len > VX_HEADER_NAME_MAX ||
        vx_bytes_token_len(name.ptr, name.ptr + name.len) < name.len)
        return VX_HEADER_OTHER;
    return vx_header_id_of_token(name.ptr, name.len);
}

enum vx_header_id vx_header_id_of_lower(struct vx_slice name) {
    return name.len ? vx_header_id_matching(name.ptr, name.len, 0) : VX_HEADER_OTHER;
}

struct vx_slice vx_header_id_name(enum vx_header_id id) {
    const struct vx_header_name *name = &vx_header_names[id < VX_HEADER_COUNT ? id : VX_HEADER_OTHER];
    return vx_slice(name->text, name->len);
}

struct vx_header *vx_headers_find(const struct vx_headers *h, enum vx_header_id id) {
    if (!vx_headers_has(h, id))
        return NULL;
    for (uint16_t i = 0; i < h->count; i++)
        if (h->items[i].id == id && !(h->items[i].flags & VX_HEADER_REMOVED))
            return &h->items[i];
    return NULL;
}

static bool is_named(const struct vx_header *h, enum vx_header_id id, struct vx_slice name) {
    return h->id == id && (id != VX_HEADER_OTHER || vx_slice_ieq(vx_header_name(h), name));
}

struct vx_header *vx_headers_find_name(const struct vx_headers *h, struct vx_slice name) {
    enum vx_header_id id = vx_header_id_of(name);
    if (!vx_headers_has(h, id))
        return NULL;
    for (uint16_t i = 0; i < h->count; i++)
        if (is_named(&h->items[i], id, name) && !(h->items[i].flags & VX_HEADER_REMOVED))
            return &h->items[i];
    return NULL;
}

bool vx_headers_reserve(struct vx_headers *h, struct vx_arena *arena, size_t room) {
    if (room <= h->capacity)
        return true;
    if (room > UINT16_MAX)
        return false;
    size_t capacity = h->capacity ? h->capacity * (size_t)2 : INITIAL_HEADERS;
    if (capacity < room)
        capacity = room;
    if (capacity > UINT16_MAX)
        capacity = UINT16_MAX;
    struct vx_header *items = vx_arena_alloc(arena, capacity * sizeof *items);
    if (!items)
        return false;
    if (h->count)
        memcpy(items, h->items, h->count * sizeof *items);
    h->items = items;
    h->capacity = (uint16_t)capacity;
    return true;
}

void vx_headers_remove_ids(struct vx_headers *h, uint64_t ids) {
    if (!(h->present & ids))
        return;
    for (uint16_t i = 0; i < h->count; i++)
        if (ids >> h->items[i].id & 1)
            h->items[i].flags |= VX_HEADER_REMOVED;
}

void vx_headers_remove_name(struct vx_headers *h, struct vx_slice name) {
    enum vx_header_id id = vx_header_id_of(name);
    if (!vx_headers_has(h, id))
        return;
    for (uint16_t i = 0; i < h->count; i++)
        if (is_named(&h->items[i], id, name))
            h->items[i].flags |= VX_HEADER_REMOVED;
}

#define BIT(name) (UINT64_C(1) << VX_HEADER_##name)

/* A peer may name any field in Connection. These carry what the proxy or the backend decides by; letting a
 * client take them out of a request would let it hide its address or unframe the message. */
static const uint64_t not_by_connection = BIT(HOST) | BIT(CONTENT_LENGTH) | BIT(CONTENT_TYPE) | BIT(VIA) |
                                          BIT(FORWARDED) | BIT(X_FORWARDED_FOR) | BIT(X_FORWARDED_PROTO) |
                                          BIT(X_FORWARDED_HOST) | BIT(X_REAL_IP) | BIT(TE);

static const uint64_t hop_by_hop = BIT(CONNECTION) | BIT(KEEP_ALIVE) | BIT(PROXY_CONNECTION) |
                                   BIT(TRANSFER_ENCODING) | BIT(UPGRADE) | BIT(HTTP2_SETTINGS) | BIT(TE);

static void remove_named_by(struct vx_headers *h, struct vx_slice list) {
    for (int left = VX_CONNECTION_OPTIONS_MAX; list.len && left > 0; left--) {
        const char *comma = memchr(list.ptr, ',', list.len);
        size_t len = comma ? (size_t)(comma - list.ptr) : list.len;
        struct vx_slice name = vx_slice_trim(vx_slice(list.ptr, len));
        if (name.len && !(not_by_connection >> vx_header_id_of(name) & 1))
            vx_headers_remove_name(h, name);
        list = vx_slice_skip(list, comma ? len + 1 : len);
    }
}

/* `TE: trailers`, alone or among codings, says that whoever asks takes trailers; gRPC needs that to arrive.
 */
static bool takes_trailers(struct vx_slice value) {
    return vx_slice_ieq(vx_slice_trim(value), VX_SLICE("trailers"));
}

void vx_headers_strip_hop_by_hop(struct vx_headers *h) {
    if (!(h->present & hop_by_hop))
        return;
    for (uint16_t i = 0; i < h->count; i++) {
        struct vx_header *f = &h->items[i];
        if (!(hop_by_hop >> f->id & 1) || (f->flags & VX_HEADER_REMOVED))
            continue;
        if (f->id == VX_HEADER_CONNECTION)
            remove_named_by(h, vx_header_value(f));
        if (f->id != VX_HEADER_TE || !takes_trailers(vx_header_value(f)))
            f->flags |= VX_HEADER_REMOVED;
    }
}

struct vx_slice vx_request_path_and_query(const struct vx_request *r, struct vx_arena *arena) {
    if (!r->query.ptr)
        return r->path;
    if (r->query.ptr == r->path.ptr + r->path.len + 1)
        return vx_slice(r->path.ptr, r->path.len + 1 + r->query.len);
    const struct vx_slice parts[] = {r->path, VX_SLICE("?"), r->query};
    return vx_arena_join(arena, parts, 3);
}

/* Methods are case-sensitive (RFC 9110 §9.1). */
enum vx_method vx_method_of(struct vx_slice text) {
    switch (text.len) {
    case 3:
        if (memcmp(text.ptr, "GET", 3) == 0)
            return VX_METHOD_GET;
        return memcmp(text.ptr, "PUT", 3) == 0 ? VX_METHOD_PUT : VX_METHOD_OTHER;
    case 4:
        if (memcmp(text.ptr, "POST", 4) == 0)
            return VX_METHOD_POST;
        return memcmp(text.ptr, "HEAD", 4) == 0 ? VX_METHOD_HEAD : VX_METHOD_OTHER;
    case 5:
        if (memcmp(text.ptr, "PATCH", 5) == 0)
            return VX_METHOD_PATCH;
        return memcmp(text.ptr, "TRACE", 5) == 0 ? VX_METHOD_TRACE : VX_METHOD_OTHER;
    case 6:
        return memcmp(text.ptr, "DELETE", 6) == 0 ? VX_METHOD_DELETE : VX_METHOD_OTHER;
    case 7:
        if (memcmp(text.ptr, "OPTIONS", 7) == 0)
            return VX_METHOD_OPTIONS;
        return memcmp(text.ptr, "CONNECT", 7) == 0 ? VX_METHOD_CONNECT : VX_METHOD_OTHER;
    default:
        return VX_METHOD_OTHER;
    }
}

/* The IANA registry of status codes, of November 2026. */
#define STATUS_LIST(X)                                                                                       \
    X(100, "Continue")                                                                                       \
    X(101, "Switching Protocols")                                                                            \
    X(102, "Processing")                                                                                     \
    X(103, "Early Hints")                                                                                    \
    X(200, "OK")                                                                                             \
    X(201, "Created")                                                                                        \
    X(202, "Accepted")                                                                                       \
    X(203, "Non-Authoritative Information")                                                                  \
    X(204, "No Content")                                                                                     \
    X(205, "Reset Content")                                                                                  \
    X(206, "Partial Content")                                                                                \
    X(207, "Multi-Status")                                                                                   \
    X(208, "Already Reported")                                                                               \
    X(226, "IM Used")                                                                                        \
    X(300, "Multiple Choices")                                                                               \
    X(301, "Moved Permanently")                                                                              \
    X(302, "Found")                                                                                          \
    X(303, "See Other")                                                                                      \
    X(304, "Not Modified")                                                                                   \
    X(305, "Use Proxy")                                                                                      \
    X(307, "Temporary Redirect")                                                                             \
    X(308, "Permanent Redirect")                                                                             \
    X(400, "Bad Request")                                                                                    \
    X(401, "Unauthorized")                                                                                   \
    X(402, "Payment Required")                                                                               \
    X(403, "Forbidden")                                                                                      \
    X(404, "Not Found")                                                                                      \
    X(405, "Method Not Allowed")                                                                             \
    X(406, "Not Acceptable")                                                                                 \
    X(407, "Proxy Authentication Required")                                                                  \
    X(408, "Request Timeout")                                                                                \
    X(409, "Conflict")                                                                                       \
    X(410, "Gone")                                                                                           \
    X(411, "Length Required")                                                                                \
    X(412, "Precondition Failed")                                                                            \
    X(413, "Content Too Large")                                                                              \
    X(414, "URI Too Long")                                                                                   \
    X(415, "Unsupported Media Type")                                                                         \
    X(416, "Range Not Satisfiable")                                                                          \
    X(417, "Expectation Failed")                                                                             \
    X(421, "Misdirected Request")                                                                            \
    X(422, "Unprocessable Content")                                                                          \
    X(423, "Locked")                                                                                         \
    X(424, "Failed Dependency")                                                                              \
    X(425, "Too Early")                                                                                      \
    X(426, "Upgrade Required")                                                                               \
    X(428, "Precondition Required")                                                                          \
    X(429, "Too Many Requests")                                                                              \
    X(431, "Request Header Fields Too Large")                                                                \
    X(451, "Unavailable For Legal Reasons")                                                                  \
    X(500, "Internal Server Error")                                                                          \
    X(501, "Not Implemented")                                                                                \
    X(502, "Bad Gateway")                                                                                    \
    X(503, "Service Unavailable")                                                                            \
    X(504, "Gateway Timeout")                                                                                \
    X(505, "HTTP Version Not Supported")                                                                     \
    X(506, "Variant Also Negotiates")                                                                        \
    X(507, "Insufficient Storage")                                                                           \
    X(508, "Loop Detected")                                                                                  \
    X(511, "Network Authentication Required")

struct vx_slice vx_status_reason(uint16_t status) {
    switch (status) {
#define X(code, text)                                                                                        \
    case code:                                                                                               \
        return VX_SLICE(text);
        STATUS_LIST(X)
#undef X
    default:
        return VX_SLICE("Unknown");
    }
}
