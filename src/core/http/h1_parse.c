/* SPDX-License-Identifier: Apache-2.0 */
/* See h1_parse.h. What the fields mean together (framing, connection) is read in h1_meaning.c.
 *
 * Invariants
 *   1. The result depends on the bytes only. Before a head is complete, only its first line and the scan can refuse it,
 *      and the first line speaks first: whoever gets all bytes at once checks in that order too.
 *   2. No byte is scanned twice before the head is complete, and the complete head is parsed once.
 *   3. Behind the scan, each CR is followed by LF, each LF stands behind CR, and a head ends in an empty line. So
 *      whatever looks at a line stops at its CR at the latest.
 */
#include "core/http/h1_parse.h"

#include "core/base/assert.h"
#include "core/http/bytes.h"
#include "core/http/h1_meaning.h"
#include "core/http/h1_scan.h"
#include "core/http/header_ids.h"
#include "core/http/trailers.h"
#include "core/http/uri.h"

enum { VERSION_BYTES = 8, SPARE_HEADERS = 16 }; /* spare: what is added on the way costs no second array */

static enum vx_h1_result refuse(struct vx_error *error, enum vx_error_code code, const char *detail) {
    *error = vx_error(code, false, detail);
    return VX_H1_ERROR;
}

/* RFC 9112 §2.3, eight bytes. NONE, BAD_REQUEST (no version) or BAD_VERSION. */
static inline enum vx_error_code read_version(const char *at, enum vx_http_version *out) {
    if (memcmp(at, "HTTP/1.", 7) == 0 && (at[7] == '1' || at[7] == '0')) {
        *out = at[7] == '1' ? VX_HTTP_11 : VX_HTTP_10;
        return VX_ERR_NONE;
    }
    bool version = memcmp(at, "HTTP/", 5) == 0 && vx_byte_is(at[5], VX_BYTE_DIGIT) && at[6] == '.' &&
                   vx_byte_is(at[7], VX_BYTE_DIGIT);
    return version ? VX_ERR_BAD_VERSION : VX_ERR_BAD_REQUEST;
}

/* RFC 9112 §3: method, target and version with one space between. The line ends before the CR at `cr`. Fills in the
 * method, target and version of `out`. */
static inline enum vx_h1_result read_request_line(const char *at, const char *cr,
                                                  const struct vx_h1_limits *limits, struct vx_request *out,
                                                  struct vx_request_target *target, struct vx_error *error) {
    size_t n = vx_bytes_token_len(at, cr);
    if (n == 0 || at[n] != ' ')
        return refuse(error, VX_ERR_BAD_REQUEST, "a request line that does not begin with a method");
    out->method_text = vx_slice(at, n);
    out->method = vx_method_of(out->method_text);
    at += n + 1;
    if (cr - at < 1 + VERSION_BYTES || cr[-VERSION_BYTES - 1] != ' ')
        return refuse(error, VX_ERR_BAD_REQUEST, "a request line that does not end in an HTTP version");
    out->target = vx_slice(at, (size_t)(cr - at) - VERSION_BYTES - 1);
    enum vx_error_code code = read_version(cr - VERSION_BYTES, &out->version);
    if (code == VX_ERR_BAD_REQUEST)
        return refuse(error, code, "a request line that does not end in an HTTP version");
    if (out->target.len > limits->uri_bytes)
        return refuse(error, VX_ERR_URI_TOO_LONG, "the request target is longer than allowed");
    if (code)
        return refuse(error, code, "an HTTP version other than 1.0 and 1.1");
    if (out->method == VX_METHOD_CONNECT)
        return refuse(error, VX_ERR_NOT_IMPLEMENTED, "CONNECT");
    if (vx_request_target_split(out->target, target))
        return refuse(error, VX_ERR_BAD_REQUEST, "a malformed request target");
    if (target->form == VX_TARGET_ASTERISK && out->method != VX_METHOD_OPTIONS)
        return refuse(error, VX_ERR_BAD_REQUEST, "the target `*` with a method other than OPTIONS");
    return VX_H1_DONE;
}

/* RFC 9112 §4. The space before an absent reason phrase may be absent too: many backends leave it out, and nothing
 * else can be meant. Fills in the status, version and reason of `out`. */
static inline enum vx_h1_result read_status_line(const char *at, const char *cr, struct vx_response *out,
                                                 struct vx_error *error) {
    if (cr - at < VERSION_BYTES || read_version(at, &out->version))
        return refuse(error, VX_ERR_BAD_RESPONSE,
                      "a status line that does not begin with HTTP/1.0 or HTTP/1.1");
    at += VERSION_BYTES;
    bool digits = cr - at >= 4 && at[0] == ' ' && vx_byte_is(at[1], VX_BYTE_DIGIT) &&
                  vx_byte_is(at[2], VX_BYTE_DIGIT) && vx_byte_is(at[3], VX_BYTE_DIGIT);
    if (!digits || at[1] == '0' || (cr - at > 4 && at[4] != ' '))
        return refuse(error, VX_ERR_BAD_RESPONSE, "a status line without status");
    out->status = (uint16_t)((at[1] - '0') * 100 + (at[2] - '0') * 10 + (at[3] - '0'));
    out->reason = cr - at > 5 ? vx_slice(at + 5, (size_t)(cr - at - 5)) : VX_SLICE("");
    return VX_H1_DONE;
}

static const char *bad_name_reason(const char *at, size_t name_len) {
    bool blank = at[name_len] == ' ' || at[name_len] == '\t';
    if (name_len == 0)
        return blank ? "a line that begins with white space" : "a field line without name";
    return blank ? "white space before a colon" : "a field name that is no token";
}

/* Whether a byte of a scanned line but its CR is SP or HTAB: it holds nothing else that is as low. */
static bool is_blank(char c) {
    return (unsigned char)c <= ' ' && c != '\r';
}

/* The `count` field lines from `at` (RFC 9112 §5); `lines` gives out the end of the first next. *repeated is like
 * out->present, for ids that occurred more than once. */
static enum vx_h1_result read_fields(const char *at, uint32_t count, struct vx_h1_lines *lines,
                                     const struct vx_h1_limits *limits, struct vx_arena *arena,
                                     struct vx_headers *out, uint64_t *repeated, struct vx_error *error) {
    const char *readable = lines->bytes.ptr + lines->bytes.len;
    uint64_t present = 0, again = 0;
    if (count > limits->headers)
        return refuse(error, VX_ERR_HEADERS_TOO_LARGE, "more fields than allowed");
    uint32_t capacity = count + SPARE_HEADERS < UINT16_MAX ? count + SPARE_HEADERS : UINT16_MAX;
    *out =
        (struct vx_headers){vx_arena_alloc(arena, capacity * sizeof *out->items), 0, 0, (uint16_t)capacity};
    if (!out->items)
        return refuse(error, VX_ERR_OUT_OF_MEMORY, "the header array");
    struct vx_header *f = out->items;
    for (const struct vx_header *end = f + count; f < end; f++) {
        const char *cr = vx_h1_lines_next(lines);
        size_t name_len = vx_bytes_token_len(at, readable);
        if (name_len == 0 || at[name_len] != ':')
            return refuse(error, VX_ERR_BAD_REQUEST, bad_name_reason(at, name_len));
        if (name_len > UINT16_MAX)
            return refuse(error, VX_ERR_HEADERS_TOO_LARGE, "a field name above 65535 bytes");
        const char *value = at + name_len + 1;
        value += *value == ' ';
        while (VX_UNLIKELY(is_blank(*value)))
            value++;
        f->name = at;
        at = cr + 2;
        while (cr > value && is_blank(cr[-1]))
            cr--;
        enum vx_header_id id = vx_header_id_of_token(f->name, name_len);
        f->value = value;
        f->value_len = (uint32_t)(cr - value);
        f->name_len = (uint16_t)name_len;
        f->id = (uint8_t)id;
        f->flags = VX_HEADER_RAW;
        again |= present & UINT64_C(1) << id;
        present |= UINT64_C(1) << id;
    }
    out->count = (uint16_t)count;
    out->present = present;
    *repeated = again;
    return VX_H1_DONE;
}

#define BIT(name) (UINT64_C(1) << VX_HEADER_##name)

/* What the fields say about body and connection. Few heads have more than one of those that do. */
static inline struct vx_h1_fault read_meaning(const struct vx_headers *h, uint64_t repeated,
                                              enum vx_http_version version, enum vx_framing *framing,
                                              uint64_t *body_bytes, bool *keep_alive, bool *upgrade) {
    struct vx_h1_fault fault = {VX_ERR_NONE, NULL};
    *framing = VX_BODY_NONE;
    *body_bytes = 0;
    *keep_alive = version != VX_HTTP_10;
    *upgrade = false;
    if (h->present & (BIT(CONTENT_LENGTH) | BIT(TRANSFER_ENCODING)))
        fault = vx_h1_read_framing(h, repeated, version, framing, body_bytes);
    if (!fault.code && (h->present & BIT(CONNECTION)))
        fault = vx_h1_read_connection(h, version, keep_alive, upgrade);
    return fault;
}

enum head_kind { REQUEST_HEAD, RESPONSE_HEAD, TRAILER_SECTION };

static enum vx_h1_result check_first_line(enum head_kind kind, const char *at, const char *cr,
                                          const struct vx_h1_limits *limits, struct vx_error *error) {
    struct vx_request request;
    struct vx_response response;
    struct vx_request_target target;
    if (kind == REQUEST_HEAD)
        return read_request_line(at, cr, limits, &request, &target, error);
    return kind == RESPONSE_HEAD ? read_status_line(at, cr, &response, error) : VX_H1_DONE;
}

/* A head that is not complete: says why it will be refused, or that more is to come. The first line is checked as soon
 * as it is complete, so that who speaks another protocol is told at once. `from` is where this call's scan began. */
static enum vx_h1_result judge_part(struct vx_h1_parser *p, enum head_kind kind,
                                    const struct vx_h1_limits *limits, struct vx_slice bytes, size_t start,
                                    size_t from, bool bad, struct vx_error *error) {
    if (!p->line_checked) {
        const char *lf = memchr(bytes.ptr + from, '\n', p->scanned - from);
        if (lf && check_first_line(kind, bytes.ptr + start, lf - 1, limits, error) == VX_H1_ERROR)
            return VX_H1_ERROR;
        p->line_checked = lf != NULL;
    }
    if (bad)
        return refuse(error, VX_ERR_BAD_REQUEST, vx_h1_scan_reason(bytes, p->scanned));
    if (bytes.len < limits->header_bytes)
        return VX_H1_MORE;
    if (kind == REQUEST_HEAD && !p->line_checked)
        return refuse(error, VX_ERR_URI_TOO_LONG, "a request line longer than a whole head may be");
    return refuse(error, VX_ERR_HEADERS_TOO_LARGE, "more header bytes than allowed");
}

/* Scans on. DONE: the head ends at p->scanned, and `lines` knows its lines from `start` on, where its first begins. */
static inline enum vx_h1_result scan_head(struct vx_h1_parser *p, enum head_kind kind,
                                          const struct vx_h1_limits *limits, struct vx_slice bytes,
                                          size_t start, struct vx_h1_lines *lines, struct vx_error *error) {
    struct vx_slice within = bytes;
    if (within.len > limits->header_bytes)
        within.len = limits->header_bytes;
    size_t from = p->scanned > start ? p->scanned : start;
    enum vx_h1_scan found = vx_h1_scan(within, from, lines);
    p->scanned = (uint32_t)lines->at;
    if (found != VX_H1_SCAN_END)
        return judge_part(p, kind, limits, bytes, start, from, found == VX_H1_SCAN_BAD, error);
    if (from > start)
        vx_h1_scan(within, start, lines);
    return VX_H1_DONE;
}

/* Two authorities are the same when host and port are, the scheme's own port being the one that is not written. */
static bool same_port(struct vx_slice a, struct vx_slice b, bool https) {
    struct vx_slice usual = https ? VX_SLICE("443") : VX_SLICE("80");
    return vx_slice_eq(a.len ? a : usual, b.len ? b : usual);
}

/* Host and the target's authority (RFC 9112 §3.2). */
static enum vx_h1_result read_host(const struct vx_request_target *target, uint64_t repeated,
                                   struct vx_arena *arena, struct vx_request *out, struct vx_error *error) {
    struct vx_slice target_host, target_port, port;
    bool absolute = target->form == VX_TARGET_ABSOLUTE;
    enum vx_error_code code = VX_ERR_NONE;
    out->authority = out->host = VX_SLICE_NONE;
    if (absolute) {
        code = vx_host_normalise(target->authority, arena, &target_host, &target_port);
        if (code)
            return refuse(error, code, "a malformed authority in the request target");
        out->authority = target->authority;
        out->host = target_host;
    }
    const struct vx_header *host = vx_headers_find(&out->headers, VX_HEADER_HOST);
    if (!host && out->version == VX_HTTP_11)
        return refuse(error, VX_ERR_BAD_HOST, "no Host");
    if (!host)
        return VX_H1_DONE;
    if (repeated >> VX_HEADER_HOST & 1)
        return refuse(error, VX_ERR_BAD_HOST, "more than one Host");
    out->authority = vx_header_value(host);
    code = vx_host_normalise(out->authority, arena, &out->host, &port);
    if (code)
        return refuse(error, code, "a malformed Host");
    if (absolute && (!vx_slice_eq(out->host, target_host) || !same_port(port, target_port, target->https)))
        return refuse(error, VX_ERR_BAD_HOST, "Host differs from the authority of the request target");
    return VX_H1_DONE;
}

static enum vx_h1_result read_path(const struct vx_request_target *target, const struct vx_h1_limits *limits,
                                   struct vx_arena *arena, struct vx_request *out, struct vx_error *error) {
    out->query = target->query;
    out->path = target->path;
    if (target->form == VX_TARGET_ASTERISK)
        return VX_H1_DONE;
    if (out->path.len == 0) {
        /* RFC 9112 §3.2.1 and, for OPTIONS, §3.2.4: what stands for the empty path of an absolute-form. */
        bool asterisk = out->method == VX_METHOD_OPTIONS && !out->query.ptr;
        out->path = asterisk ? VX_SLICE("*") : VX_SLICE("/");
        return VX_H1_DONE;
    }
    enum vx_error_code code = vx_path_normalise(out->path, limits->merge_slashes, arena, &out->path);
    return code ? refuse(error, code, "a path that cannot be normalised") : VX_H1_DONE;
}

/* The complete head at `at`. Two of its lines are no fields: the first, and the empty one. */
static enum vx_h1_result read_request(const char *at, struct vx_h1_lines *lines,
                                      const struct vx_h1_limits *limits, struct vx_arena *arena,
                                      struct vx_request *out, struct vx_error *error) {
    struct vx_request_target target;
    uint64_t repeated;
    const char *cr = vx_h1_lines_next(lines);
    if (read_request_line(at, cr, limits, out, &target, error) == VX_H1_ERROR ||
        read_fields(cr + 2, lines->total - 2, lines, limits, arena, &out->headers, &repeated, error) ==
            VX_H1_ERROR)
        return VX_H1_ERROR;
    struct vx_h1_fault fault = read_meaning(&out->headers, repeated, out->version, &out->framing,
                                            &out->body_bytes, &out->keep_alive, &out->upgrade);
    if (fault.code)
        return refuse(error, fault.code, fault.detail);
    if (read_host(&target, repeated, arena, out, error) == VX_H1_ERROR ||
        read_path(&target, limits, arena, out, error) == VX_H1_ERROR)
        return VX_H1_ERROR;
    fault = vx_h1_read_expect(out);
    return fault.code ? refuse(error, fault.code, fault.detail) : VX_H1_DONE;
}

enum vx_h1_result vx_h1_parse_request(struct vx_h1_parser *p, const struct vx_h1_limits *limits,
                                      struct vx_slice bytes, struct vx_arena *arena, struct vx_request *out,
                                      size_t *head_bytes, struct vx_error *error) {
    struct vx_h1_lines lines;
    if (bytes.len == 0)
        return VX_H1_MORE;
    size_t start = bytes.len >= 2 && bytes.ptr[0] == '\r' && bytes.ptr[1] == '\n' ? 2 : 0;
    enum vx_h1_result result = scan_head(p, REQUEST_HEAD, limits, bytes, start, &lines, error);
    if (result != VX_H1_DONE)
        return result;
    *head_bytes = p->scanned;
    return read_request(bytes.ptr + start, &lines, limits, arena, out, error);
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
    /* It must not have been framed (§6.1, RFC 9110 §8.6): what follows is a guess. */
    if (bodyless && framed)
        out->keep_alive = false;
    if (bodyless || out->status == 304 || request_method == VX_METHOD_HEAD)
        out->framing = VX_BODY_NONE;
    else if (out->framing == VX_BODY_NONE)
        out->framing = VX_BODY_UNTIL_CLOSE;
    if (out->framing == VX_BODY_UNTIL_CLOSE)
        out->keep_alive = false;
}

static enum vx_h1_result read_response(const char *at, struct vx_h1_lines *lines,
                                       const struct vx_h1_limits *limits, struct vx_arena *arena,
                                       enum vx_method request_method, struct vx_response *out,
                                       struct vx_error *error) {
    uint64_t repeated;
    const char *cr = vx_h1_lines_next(lines);
    if (read_status_line(at, cr, out, error) == VX_H1_ERROR ||
        read_fields(cr + 2, lines->total - 2, lines, limits, arena, &out->headers, &repeated, error) ==
            VX_H1_ERROR)
        return VX_H1_ERROR;
    bool upgrade;
    struct vx_h1_fault fault = read_meaning(&out->headers, repeated, out->version, &out->framing,
                                            &out->body_bytes, &out->keep_alive, &upgrade);
    if (fault.code)
        return refuse(error, fault.code, fault.detail);
    out->upgrade = upgrade && out->status == 101;
    decide_response_body(request_method, out);
    return VX_H1_DONE;
}

enum vx_h1_result vx_h1_parse_response(struct vx_h1_parser *p, const struct vx_h1_limits *limits,
                                       struct vx_slice bytes, struct vx_arena *arena,
                                       enum vx_method request_method, struct vx_response *out,
                                       size_t *head_bytes, struct vx_error *error) {
    struct vx_h1_lines lines;
    if (bytes.len == 0)
        return VX_H1_MORE;
    enum vx_h1_result result = scan_head(p, RESPONSE_HEAD, limits, bytes, 0, &lines, error);
    if (result == VX_H1_DONE) {
        *head_bytes = p->scanned;
        result = read_response(bytes.ptr, &lines, limits, arena, request_method, out, error);
    }
    return result == VX_H1_ERROR ? blame_backend(error) : result;
}

enum vx_h1_result vx_h1_parse_trailers(struct vx_h1_parser *p, const struct vx_h1_limits *limits,
                                       struct vx_slice bytes, struct vx_arena *arena,
                                       enum vx_error_source from, struct vx_headers *out, size_t *consumed,
                                       struct vx_error *error) {
    struct vx_h1_lines lines;
    uint64_t repeated;
    if (bytes.len == 0)
        return VX_H1_MORE;
    enum vx_h1_result result = scan_head(p, TRAILER_SECTION, limits, bytes, 0, &lines, error);
    if (result == VX_H1_DONE) {
        *consumed = p->scanned;
        result = read_fields(bytes.ptr, lines.total - 1, &lines, limits, arena, out, &repeated, error);
    }
    if (result == VX_H1_DONE)
        vx_trailers_strip(out);
    return result == VX_H1_ERROR && from == VX_BY_BACKEND ? blame_backend(error) : result;
}
