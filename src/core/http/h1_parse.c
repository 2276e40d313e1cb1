/* SPDX-License-Identifier: Apache-2.0 */
/* See h1_parse.h. What the fields mean together (framing, connection) is read in h1_meaning.c.
 *
 * Invariants
 *   1. The result depends on the bytes only. Before a head is complete, only its first line and the scan can
 * refuse it, and the first line speaks first: whoever gets all bytes at once checks in that order too.
 *   2. No byte is scanned twice before the head is complete, and the complete head is parsed once.
 *   3. Behind the scan, each CR is followed by LF, each LF stands behind CR, and a head ends in an empty
 * line. So a search for CR from inside a line stays inside the head.
 */
#include "core/http/h1_parse.h"

#include "core/base/assert.h"
#include "core/http/bytes.h"
#include "core/http/h1_meaning.h"
#include "core/http/h1_scan.h"
#include "core/http/uri.h"

enum { VERSION_BYTES = 8, INITIAL_HEADERS = 32 };

static enum vx_h1_result refuse(struct vx_error *error, enum vx_error_code code, const char *detail) {
    *error = vx_error(code, false, detail);
    return VX_H1_ERROR;
}

/* RFC 9112 §2.3. NONE, BAD_REQUEST (no version) or BAD_VERSION. */
static enum vx_error_code read_version(const char *at, const char *end, enum vx_http_version *out) {
    if (end - at < VERSION_BYTES || memcmp(at, "HTTP/", 5) != 0 || !vx_byte_is(at[5], VX_BYTE_DIGIT) ||
        at[6] != '.' || !vx_byte_is(at[7], VX_BYTE_DIGIT))
        return VX_ERR_BAD_REQUEST;
    if (at[5] != '1' || at[7] > '1')
        return VX_ERR_BAD_VERSION;
    *out = at[7] == '1' ? VX_HTTP_11 : VX_HTTP_10;
    return VX_ERR_NONE;
}

struct request_line {
    struct vx_slice method_text, target_text;
    enum vx_method method;
    enum vx_http_version version;
    struct vx_target target;
    const char *next; /* behind the line's LF */
};

/* RFC 9112 §3: method, target and version with one space between. The line lies complete in [at, end). */
static enum vx_h1_result read_request_line(const char *at, const char *end, const struct vx_h1_limits *limits,
                                           struct request_line *out, struct vx_error *error) {
    size_t n = vx_bytes_token_len(at, end);
    if (n == 0 || at[n] != ' ')
        return refuse(error, VX_ERR_BAD_REQUEST, "a request line that does not begin with a method");
    out->method_text = vx_slice(at, n);
    out->method = vx_method_of(out->method_text);
    at += n + 1;
    const char *space = vx_bytes_find_either(at, end, ' ', '\r');
    out->target_text = vx_slice(at, (size_t)(space - at));
    if (*space != ' ')
        return refuse(error, VX_ERR_BAD_REQUEST, "a request line without HTTP version");
    if (out->target_text.len > limits->uri_bytes)
        return refuse(error, VX_ERR_URI_TOO_LONG, "the request target is longer than allowed");
    at = space + 1;
    enum vx_error_code code = read_version(at, end, &out->version);
    if (code == VX_ERR_BAD_REQUEST || at[VERSION_BYTES] != '\r')
        return refuse(error, VX_ERR_BAD_REQUEST, "a request line that does not end in an HTTP version");
    if (code)
        return refuse(error, code, "an HTTP version other than 1.0 and 1.1");
    out->next = at + VERSION_BYTES + 2;
    if (out->method == VX_METHOD_CONNECT)
        return refuse(error, VX_ERR_NOT_IMPLEMENTED, "CONNECT");
    if (vx_target_split(out->target_text, &out->target))
        return refuse(error, VX_ERR_BAD_REQUEST, "a malformed request target");
    if (out->target.form == VX_TARGET_ASTERISK && out->method != VX_METHOD_OPTIONS)
        return refuse(error, VX_ERR_BAD_REQUEST, "the target `*` with a method other than OPTIONS");
    return VX_H1_DONE;
}

struct status_line {
    uint16_t status;
    enum vx_http_version version;
    struct vx_slice reason;
    const char *next;
};

/* RFC 9112 §4. The space before an absent reason phrase may be absent too: many backends leave it out, and
 * nothing else can be meant. */
static enum vx_h1_result read_status_line(const char *at, const char *end, struct status_line *out,
                                          struct vx_error *error) {
    if (read_version(at, end, &out->version))
        return refuse(error, VX_ERR_BAD_RESPONSE,
                      "a status line that does not begin with HTTP/1.0 or HTTP/1.1");
    at += VERSION_BYTES;
    const char *cr = vx_bytes_find(at, end, '\r');
    bool digits = cr - at >= 4 && at[0] == ' ' && vx_byte_is(at[1], VX_BYTE_DIGIT) &&
                  vx_byte_is(at[2], VX_BYTE_DIGIT) && vx_byte_is(at[3], VX_BYTE_DIGIT);
    if (!digits || at[1] == '0' || (cr - at > 4 && at[4] != ' '))
        return refuse(error, VX_ERR_BAD_RESPONSE, "a status line without status");
    out->status = (uint16_t)((at[1] - '0') * 100 + (at[2] - '0') * 10 + (at[3] - '0'));
    out->reason = cr - at > 5 ? vx_slice(at + 5, (size_t)(cr - at - 5)) : VX_SLICE("");
    out->next = cr + 2;
    return VX_H1_DONE;
}

static const char *bad_name_reason(const char *at, size_t name_len) {
    bool blank = at[name_len] == ' ' || at[name_len] == '\t';
    if (name_len == 0)
        return blank ? "a line that begins with white space" : "a field line without name";
    return blank ? "white space before a colon" : "a field name that is no token";
}

struct fields {
    struct vx_headers headers;
    uint64_t repeated; /* like headers.present, for ids that occurred more than once */
};

/* The field lines from `at` up to the empty line at `stop` (RFC 9112 §5). Bytes up to `end` may be read. */
static enum vx_h1_result read_fields(const char *at, const char *stop, const char *end,
                                     const struct vx_h1_limits *limits, struct vx_arena *arena,
                                     struct fields *out, struct vx_error *error) {
    struct vx_headers *h = &out->headers;
    out->repeated = 0;
    *h = (struct vx_headers){.items = vx_arena_alloc(arena, INITIAL_HEADERS * sizeof *h->items),
                             .capacity = INITIAL_HEADERS};
    if (!h->items)
        return refuse(error, VX_ERR_OUT_OF_MEMORY, "the header array");
    while (at < stop) {
        size_t name_len = vx_bytes_token_len(at, end);
        if (name_len == 0 || at[name_len] != ':')
            return refuse(error, VX_ERR_BAD_REQUEST, bad_name_reason(at, name_len));
        if (h->count == limits->headers || name_len > UINT16_MAX)
            return refuse(error, VX_ERR_HEADERS_TOO_LARGE, "more fields than allowed");
        const char *value = at + name_len + 1;
        while (*value == ' ' || *value == '\t')
            value++;
        const char *cr = vx_bytes_find(value, end, '\r');
        const char *value_end = cr;
        while (value_end > value && (value_end[-1] == ' ' || value_end[-1] == '\t'))
            value_end--;
        struct vx_slice name = vx_slice(at, name_len);
        enum vx_header_id id = vx_header_id_of(name);
        out->repeated |= h->present & UINT64_C(1) << id;
        if (!vx_headers_add(h, arena, id, name, vx_slice(value, (size_t)(value_end - value))))
            return refuse(error, VX_ERR_OUT_OF_MEMORY, "the header array");
        h->items[h->count - 1].flags = VX_HEADER_RAW;
        at = cr + 2;
    }
    return VX_H1_DONE;
}

enum head_kind { REQUEST_HEAD, RESPONSE_HEAD, TRAILER_SECTION };

static enum vx_h1_result check_first_line(enum head_kind kind, const char *at, const char *end,
                                          const struct vx_h1_limits *limits, struct vx_error *error) {
    struct request_line request;
    struct status_line status;
    if (kind == REQUEST_HEAD)
        return read_request_line(at, end, limits, &request, error);
    return kind == RESPONSE_HEAD ? read_status_line(at, end, &status, error) : VX_H1_DONE;
}

/* Scans on. DONE: the head ends at p->scanned. The first line is checked as soon as it is complete, so that
 * who speaks another protocol is told at once; `start` is where it begins. */
static enum vx_h1_result scan_head(struct vx_h1_parser *p, enum head_kind kind,
                                   const struct vx_h1_limits *limits, struct vx_slice bytes, size_t start,
                                   struct vx_error *error) {
    struct vx_slice within = bytes;
    if (within.len > limits->header_bytes)
        within.len = limits->header_bytes;
    size_t from = p->scanned > start ? p->scanned : start;
    size_t at = from;
    enum vx_h1_scan found = vx_h1_scan(within, &at);
    p->scanned = (uint32_t)at;
    if (found == VX_H1_SCAN_END)
        return VX_H1_DONE;
    if (!p->line_checked) {
        const char *lf = memchr(bytes.ptr + from, '\n', at - from);
        if (lf &&
            check_first_line(kind, bytes.ptr + start, bytes.ptr + bytes.len, limits, error) == VX_H1_ERROR)
            return VX_H1_ERROR;
        p->line_checked = lf != NULL;
    }
    if (found == VX_H1_SCAN_BAD)
        return refuse(error, VX_ERR_BAD_REQUEST, vx_h1_scan_reason(bytes, at));
    if (bytes.len < limits->header_bytes)
        return VX_H1_MORE;
    if (kind == REQUEST_HEAD && !p->line_checked)
        return refuse(error, VX_ERR_URI_TOO_LONG, "a request line longer than a whole head may be");
    return refuse(error, VX_ERR_HEADERS_TOO_LARGE, "more header bytes than allowed");
}

/* Two authorities are the same when host and port are, the scheme's own port being the one that is not
 * written. */
static bool same_port(struct vx_slice a, struct vx_slice b, bool https) {
    struct vx_slice usual = https ? VX_SLICE("443") : VX_SLICE("80");
    return vx_slice_eq(a.len ? a : usual, b.len ? b : usual);
}

/* Host and the target's authority (RFC 9112 §3.2). */
static enum vx_h1_result read_host(const struct request_line *line, const struct fields *fields,
                                   struct vx_arena *arena, struct vx_request *out, struct vx_error *error) {
    struct vx_slice target_host, target_port, port;
    out->authority = out->host = VX_SLICE_NONE;
    enum vx_error_code code = VX_ERR_NONE;
    if (line->target.form == VX_TARGET_ABSOLUTE) {
        code = vx_host_normalise(line->target.authority, arena, &target_host, &target_port);
        if (code)
            return refuse(error, code, "a malformed authority in the request target");
        out->authority = line->target.authority;
        out->host = target_host;
    }
    const struct vx_header *host = vx_headers_find(&fields->headers, VX_HEADER_HOST);
    if (!host && line->version == VX_HTTP_11)
        return refuse(error, VX_ERR_BAD_HOST, "no Host");
    if (!host)
        return VX_H1_DONE;
    if (fields->repeated >> VX_HEADER_HOST & 1)
        return refuse(error, VX_ERR_BAD_HOST, "more than one Host");
    out->authority = vx_header_value(host);
    code = vx_host_normalise(out->authority, arena, &out->host, &port);
    if (code)
        return refuse(error, code, "a malformed Host");
    if (line->target.form == VX_TARGET_ABSOLUTE &&
        (!vx_slice_eq(out->host, target_host) || !same_port(port, target_port, line->target.https)))
        return refuse(error, VX_ERR_BAD_HOST, "Host differs from the authority of the request target");
    return VX_H1_DONE;
}

static enum vx_h1_result read_path(const struct request_line *line, const struct vx_h1_limits *limits,
                                   struct vx_arena *arena, struct vx_request *out, struct vx_error *error) {
    out->query = line->target.query;
    out->path = line->target.path;
    if (line->target.form == VX_TARGET_ASTERISK)
        return VX_H1_DONE;
    if (out->path.len == 0) {
        /* RFC 9112 §3.2.1 and, for OPTIONS, §3.2.4: what stands for an empty path of an absolute-form. */
        bool asterisk = out->method == VX_METHOD_OPTIONS && !out->query.ptr;
        out->path = asterisk ? VX_SLICE("*") : VX_SLICE("/");
        return VX_H1_DONE;
    }
    enum vx_error_code code = vx_path_normalise(out->path, limits->merge_slashes, arena, &out->path);
    return code ? refuse(error, code, "a path that cannot be normalised") : VX_H1_DONE;
}

static enum vx_h1_result read_request(struct vx_slice head, const char *end,
                                      const struct vx_h1_limits *limits, struct vx_arena *arena,
                                      struct vx_request *out, struct vx_error *error) {
    struct request_line line;
    struct fields fields;
    if (read_request_line(head.ptr, end, limits, &line, error) == VX_H1_ERROR)
        return VX_H1_ERROR;
    const char *stop = head.ptr + head.len - 2;
    if (read_fields(line.next, stop, end, limits, arena, &fields, error) == VX_H1_ERROR)
        return VX_H1_ERROR;
    out->method = line.method;
    out->method_text = line.method_text;
    out->target = line.target_text;
    out->version = line.version;
    out->headers = fields.headers;
    struct vx_h1_fault fault =
        vx_h1_read_framing(&fields.headers, fields.repeated, line.version, &out->framing, &out->body_bytes);
    if (!fault.code)
        fault = vx_h1_read_connection(&fields.headers, line.version, &out->keep_alive, &out->upgrade);
    if (fault.code)
        return refuse(error, fault.code, fault.detail);
    if (read_host(&line, &fields, arena, out, error) == VX_H1_ERROR ||
        read_path(&line, limits, arena, out, error) == VX_H1_ERROR)
        return VX_H1_ERROR;
    fault = vx_h1_read_expect(out);
    return fault.code ? refuse(error, fault.code, fault.detail) : VX_H1_DONE;
}

enum vx_h1_result vx_h1_parse_request(struct vx_h1_parser *p, const struct vx_h1_limits *limits,
                                      struct vx_slice bytes, struct vx_arena *arena, struct vx_request *out,
                                      size_t *head_bytes, struct vx_error *error) {
    if (bytes.len == 0)
        return VX_H1_MORE;
    size_t start = bytes.len >= 2 && bytes.ptr[0] == '\r' && bytes.ptr[1] == '\n' ? 2 : 0;
    enum vx_h1_result result = scan_head(p, REQUEST_HEAD, limits, bytes, start, error);
    if (result != VX_H1_DONE)
        return result;
    *head_bytes = p->scanned;
    struct vx_slice head = vx_slice(bytes.ptr + start, p->scanned - start);
    return read_request(head, bytes.ptr + bytes.len, limits, arena, out, error);
}

/* A backend's fault has one code whatever it is; the detail tells the rest. */
static enum vx_h1_result blame_backend(struct vx_error *error) {
    if (error->code != VX_ERR_OUT_OF_MEMORY)
        *error = vx_error(VX_ERR_BAD_RESPONSE, false, error->detail);
    return VX_H1_ERROR;
}

/* RFC 9112 §6.3, whose rules decide in this order. */
static void decide_response_body(enum vx_method request_method, struct vx_response *out) {
    bool bodyless = out->status < 200 || out->status == 204;
    bool framed = out->framing == VX_BODY_CHUNKED || out->body_bytes > 0;
    if (bodyless && framed)
        out->keep_alive =
            false; /* it must not have been framed (§6.1, RFC 9110 §8.6): what follows is a guess */
    if (bodyless || out->status == 304 || request_method == VX_METHOD_HEAD)
        out->framing = VX_BODY_NONE;
    else if (out->framing == VX_BODY_NONE)
        out->framing = VX_BODY_UNTIL_CLOSE;
    if (out->framing == VX_BODY_UNTIL_CLOSE)
        out->keep_alive = false;
}

static enum vx_h1_result read_response(struct vx_slice head, const char *end,
                                       const struct vx_h1_limits *limits, struct vx_arena *arena,
                                       enum vx_method request_method, struct vx_response *out,
                                       struct vx_error *error) {
    struct status_line line;
    struct fields fields;
    if (read_status_line(head.ptr, end, &line, error) == VX_H1_ERROR)
        return VX_H1_ERROR;
    const char *stop = head.ptr + head.len - 2;
    if (read_fields(line.next, stop, end, limits, arena, &fields, error) == VX_H1_ERROR)
        return VX_H1_ERROR;
    out->status = line.status;
    out->version = line.version;
    out->reason = line.reason;
    out->headers = fields.headers;
    bool upgrade = false;
    struct vx_h1_fault fault =
        vx_h1_read_framing(&fields.headers, fields.repeated, line.version, &out->framing, &out->body_bytes);
    if (!fault.code)
        fault = vx_h1_read_connection(&fields.headers, line.version, &out->keep_alive, &upgrade);
    if (fault.code)
        return refuse(error, fault.code, fault.detail);
    out->upgrade = upgrade && line.status == 101;
    decide_response_body(request_method, out);
    return VX_H1_DONE;
}

enum vx_h1_result vx_h1_parse_response(struct vx_h1_parser *p, const struct vx_h1_limits *limits,
                                       struct vx_slice bytes, struct vx_arena *arena,
                                       enum vx_method request_method, struct vx_response *out,
                                       size_t *head_bytes, struct vx_error *error) {
    if (bytes.len == 0)
        return VX_H1_MORE;
    enum vx_h1_result result = scan_head(p, RESPONSE_HEAD, limits, bytes, 0, error);
    if (result == VX_H1_DONE) {
        *head_bytes = p->scanned;
        struct vx_slice head = vx_slice(bytes.ptr, p->scanned);
        result = read_response(head, bytes.ptr + bytes.len, limits, arena, request_method, out, error);
    }
    return result == VX_H1_ERROR ? blame_backend(error) : result;
}

#define BIT(name) (UINT64_C(1) << VX_HEADER_##name)

/* What would frame, route or authorise the message after the fact (RFC 9110 §6.5.1). */
static const uint64_t not_in_trailers =
    BIT(HOST) | BIT(CONNECTION) | BIT(CONTENT_LENGTH) | BIT(TRANSFER_ENCODING) | BIT(TE) | BIT(TRAILER) |
    BIT(UPGRADE) | BIT(KEEP_ALIVE) | BIT(PROXY_CONNECTION) | BIT(PROXY_AUTHENTICATE) |
    BIT(PROXY_AUTHORIZATION) | BIT(HTTP2_SETTINGS) | BIT(EXPECT) | BIT(CONTENT_TYPE) | BIT(COOKIE) |
    BIT(LOCATION) | BIT(X_FORWARDED_FOR) | BIT(X_FORWARDED_PROTO) | BIT(X_FORWARDED_HOST) | BIT(FORWARDED) |
    BIT(X_REAL_IP) | BIT(X_AI_MODEL);

static const struct vx_slice other_not_in_trailers[] = {
    VX_SLICE("authorization"), VX_SLICE("www-authenticate"),
    VX_SLICE("set-cookie"),    VX_SLICE("content-encoding"),
    VX_SLICE("content-range"), VX_SLICE("cache-control"),
    VX_SLICE("range"),         VX_SLICE("age"),
    VX_SLICE("vary"),          VX_SLICE("max-forwards"),
};

static bool belongs_in_trailers(const struct vx_header *h) {
    if (not_in_trailers >> h->id & 1)
        return false;
    if (h->id != VX_HEADER_OTHER)
        return true;
    for (size_t i = 0; i < sizeof other_not_in_trailers / sizeof *other_not_in_trailers; i++)
        if (vx_slice_ieq(vx_header_name(h), other_not_in_trailers[i]))
            return false;
    return true;
}

static void drop_forbidden(struct vx_headers *h) {
    uint16_t kept = 0;
    h->present = 0;
    for (uint16_t i = 0; i < h->count; i++) {
        if (!belongs_in_trailers(&h->items[i]))
            continue;
        h->items[kept++] = h->items[i];
        h->present |= UINT64_C(1) << h->items[i].id;
    }
    h->count = kept;
}

enum vx_h1_result vx_h1_parse_trailers(struct vx_h1_parser *p, const struct vx_h1_limits *limits,
                                       struct vx_slice bytes, struct vx_arena *arena,
                                       enum vx_error_source from, struct vx_headers *out, size_t *consumed,
                                       struct vx_error *error) {
    if (bytes.len == 0)
        return VX_H1_MORE;
    enum vx_h1_result result = scan_head(p, TRAILER_SECTION, limits, bytes, 0, error);
    if (result == VX_H1_DONE) {
        struct fields fields;
        const char *stop = bytes.ptr + p->scanned - 2;
        *consumed = p->scanned;
        result = read_fields(bytes.ptr, stop, bytes.ptr + bytes.len, limits, arena, &fields, error);
        if (result == VX_H1_DONE) {
            drop_forbidden(&fields.headers);
            *out = fields.headers;
        }
    }
    return result == VX_H1_ERROR && from == VX_BY_BACKEND ? blame_backend(error) : result;
}
