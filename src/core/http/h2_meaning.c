/* SPDX-License-Identifier: Apache-2.0 */
/* See h2_meaning.h. As in h1_meaning.c every doubt is refused: an HTTP/2 message that says something else once it is
 * written down in HTTP/1 is how requests are smuggled through a proxy that speaks both. */
#include "core/http/h2_meaning.h"

#include "core/http/bytes.h"
#include "core/http/h1_meaning.h"
#include "core/http/trailers.h"
#include "core/http/uri.h"

#define BIT(name) (UINT64_C(1) << VX_HEADER_##name)

/* RFC 9113 §8.2.2. A message that has one of them is malformed. */
static const uint64_t of_a_connection =
    BIT(CONNECTION) | BIT(KEEP_ALIVE) | BIT(PROXY_CONNECTION) | BIT(TRANSFER_ENCODING) | BIT(UPGRADE);

static bool refuse(struct vx_error *error, enum vx_error_code code, const char *detail) {
    *error = vx_error(code, false, detail);
    return false;
}

/* The names that have an id are in lower case (vx_header_id_of_lower). */
static bool is_name(const struct vx_header *h) {
    return h->id != VX_HEADER_OTHER ||
           (h->name_len && vx_bytes_are_lower_token(h->name, h->name + h->name_len));
}

/* No control characters and no white space at either end (RFC 9113 §8.2.1). */
static bool is_value(struct vx_slice value) {
    const char *p = value.ptr, *end = value.ptr + value.len;
    if (value.len == 0)
        return true;
    bool bare = p[0] != ' ' && p[0] != '\t' && end[-1] != ' ' && end[-1] != '\t';
    return bare && vx_bytes_are_value(p, end);
}

/* NULL: every field may stand in a message of HTTP/2. */
static const char *object(const struct vx_headers *h) {
    for (uint16_t i = 0; i < h->count; i++) {
        const struct vx_header *f = &h->items[i];
        if (!is_name(f))
            return "a field name that is no token in lower case";
        if (!is_value(vx_header_value(f)))
            return "a field value with control characters or white space around it";
        if (of_a_connection >> f->id & 1)
            return "a field of a connection";
        if (f->id == VX_HEADER_TE && !vx_slice_ieq(vx_header_value(f), VX_SLICE("trailers")))
            return "a TE other than trailers";
    }
    return NULL;
}

static bool is_websocket(const struct vx_h2_pseudo *pseudo) {
    return vx_slice_ieq(pseudo->protocol, VX_SLICE("websocket"));
}

/* The method, and which pseudo fields belong to it (RFC 9113 §8.3.1, §8.5; RFC 8441 §4). */
static bool read_method(const struct vx_h2_pseudo *pseudo, struct vx_request *out, struct vx_error *error) {
    struct vx_slice method = pseudo->method;
    if (method.len == 0 || vx_bytes_token_len(method.ptr, method.ptr + method.len) < method.len)
        return refuse(error, VX_ERR_BAD_REQUEST, "no method, or one that is no token");
    out->method_text = method;
    out->method = vx_method_of(method);
    bool connect = out->method == VX_METHOD_CONNECT;
    if (pseudo->protocol.ptr && !connect)
        return refuse(error, VX_ERR_BAD_REQUEST, "a :protocol without CONNECT");
    if (connect && !pseudo->protocol.ptr)
        return refuse(error, VX_ERR_NOT_IMPLEMENTED, "CONNECT");
    if (connect && !is_websocket(pseudo))
        return refuse(error, VX_ERR_NOT_IMPLEMENTED,
                      "an extended CONNECT for another protocol than websocket");
    if (!vx_slice_ieq(pseudo->scheme, VX_SLICE("http")) && !vx_slice_ieq(pseudo->scheme, VX_SLICE("https")))
        return refuse(error, VX_ERR_BAD_REQUEST, "a scheme other than http and https");
    return true;
}

static bool read_path(const struct vx_h2_pseudo *pseudo, const struct vx_h1_limits *limits,
                      struct vx_arena *arena, struct vx_request *out, struct vx_error *error) {
    struct vx_request_target target;
    out->target = pseudo->path;
    if (out->target.len > limits->uri_bytes)
        return refuse(error, VX_ERR_URI_TOO_LONG, "the path is longer than allowed");
    if (vx_request_target_split(out->target, &target) || target.form == VX_TARGET_ABSOLUTE)
        return refuse(error, VX_ERR_BAD_REQUEST, "a malformed path");
    out->path = target.path;
    out->query = target.query;
    if (target.form == VX_TARGET_ASTERISK)
        return out->method == VX_METHOD_OPTIONS ||
               refuse(error, VX_ERR_BAD_REQUEST, "the path `*` with a method other than OPTIONS");
    enum vx_error_code code = vx_path_normalise(target.path, limits->merge_slashes, arena, &out->path);
    return !code || refuse(error, code, "a path that cannot be normalised");
}

static bool add(struct vx_request *out, struct vx_arena *arena, enum vx_header_id id, struct vx_slice value,
                struct vx_error *error) {
    return vx_headers_add(&out->headers, arena, id, vx_header_id_name(id), value) ||
           refuse(error, VX_ERR_OUT_OF_MEMORY, "the header array");
}

static bool same_port(struct vx_slice a, struct vx_slice b, bool https) {
    struct vx_slice usual = https ? VX_SLICE("443") : VX_SLICE("80");
    return vx_slice_eq(a.len ? a : usual, b.len ? b : usual);
}

/* :authority and Host (RFC 9113 §8.3.1). The model has both, alike. */
static bool read_host(const struct vx_h2_pseudo *pseudo, uint64_t repeated, struct vx_arena *arena,
                      struct vx_request *out, struct vx_error *error) {
    const struct vx_header *host = vx_headers_find(&out->headers, VX_HEADER_HOST);
    struct vx_slice port, host_port, name;
    if (repeated & BIT(HOST))
        return refuse(error, VX_ERR_BAD_HOST, "more than one Host");
    if (!pseudo->authority.ptr && !host)
        return refuse(error, VX_ERR_BAD_HOST, "neither :authority nor Host");
    out->authority = pseudo->authority.ptr ? pseudo->authority : vx_header_value(host);
    enum vx_error_code code = vx_host_normalise(out->authority, arena, &out->host, &port);
    if (code)
        return refuse(error, code, "a malformed authority");
    if (!host)
        return add(out, arena, VX_HEADER_HOST, out->authority, error);
    code = vx_host_normalise(vx_header_value(host), arena, &name, &host_port);
    if (code)
        return refuse(error, code, "a malformed Host");
    bool https = vx_slice_ieq(pseudo->scheme, VX_SLICE("https"));
    if (!vx_slice_eq(name, out->host) || !same_port(port, host_port, https))
        return refuse(error, VX_ERR_BAD_HOST, "Host differs from :authority");
    return true;
}

/* RFC 9113 §8.2.3: what compression had cut apart. */
static bool join_cookies(struct vx_headers *headers, struct vx_arena *arena, struct vx_error *error) {
    struct vx_header *first = NULL;
    size_t bytes = 0, at = 0;
    for (uint16_t i = 0; i < headers->count; i++)
        if (headers->items[i].id == VX_HEADER_COOKIE)
            bytes += headers->items[i].value_len + 2;
    char *out = vx_arena_alloc(arena, bytes);
    if (!out)
        return refuse(error, VX_ERR_OUT_OF_MEMORY, "a cookie");
    for (uint16_t i = 0; i < headers->count; i++) {
        struct vx_header *h = &headers->items[i];
        if (h->id != VX_HEADER_COOKIE)
            continue;
        if (first) {
            memcpy(out + at, "; ", 2);
            at += 2;
            h->flags |= VX_HEADER_REMOVED;
        } else {
            first = h;
        }
        if (h->value_len)
            memcpy(out + at, h->value, h->value_len);
        at += h->value_len;
    }
    if (first)
        *first = (struct vx_header){first->name, out, (uint32_t)at, first->name_len, first->id, 0};
    return true;
}

static bool read_framing(uint64_t repeated, bool ended, struct vx_request *out, struct vx_error *error) {
    struct vx_h1_fault fault =
        vx_h1_read_framing(&out->headers, repeated, out->version, &out->framing, &out->body_bytes);
    if (fault.code)
        return refuse(error, fault.code, fault.detail);
    if (ended && out->body_bytes)
        return refuse(error, VX_ERR_BAD_FRAMING, "a Content-Length without a body");
    if (!ended && out->framing == VX_BODY_NONE)
        out->framing = VX_BODY_CHUNKED;
    fault = vx_h1_read_expect(out);
    return !fault.code || refuse(error, fault.code, fault.detail);
}

/* What extended CONNECT asks for, in the words of HTTP/1.1. Its body is the tunnel, which begins with the answer. */
static bool become_upgrade(struct vx_arena *arena, struct vx_request *out, struct vx_error *error) {
    if (vx_headers_has(&out->headers, VX_HEADER_CONTENT_LENGTH) ||
        vx_headers_has(&out->headers, VX_HEADER_EXPECT))
        return refuse(error, VX_ERR_BAD_REQUEST, "an extended CONNECT that announces a body");
    out->method = VX_METHOD_GET;
    out->method_text = VX_SLICE("GET");
    out->framing = VX_BODY_NONE;
    out->upgrade = true;
    return add(out, arena, VX_HEADER_UPGRADE, VX_SLICE("websocket"), error);
}

bool vx_h2_read_request(const struct vx_h2_pseudo *pseudo, uint64_t repeated, bool ended,
                        const struct vx_h1_limits *limits, struct vx_arena *arena, struct vx_request *out,
                        struct vx_error *error) {
    struct vx_headers headers = out->headers;
    const char *objection = object(&headers);
    *out = (struct vx_request){.version = VX_HTTP_2, .keep_alive = true, .headers = headers};
    if (objection)
        return refuse(error, VX_ERR_BAD_REQUEST, objection);
    if (!read_method(pseudo, out, error) || !read_path(pseudo, limits, arena, out, error) ||
        !read_host(pseudo, repeated, arena, out, error) || !read_framing(repeated, ended, out, error))
        return false;
    if (repeated & BIT(COOKIE) && !join_cookies(&out->headers, arena, error))
        return false;
    return !pseudo->protocol.ptr || become_upgrade(arena, out, error);
}

/* RFC 9110 §6.4.1. */
static bool has_no_body(uint16_t status, enum vx_method request_method) {
    return status < 200 || status == 204 || status == 304 || request_method == VX_METHOD_HEAD;
}

bool vx_h2_read_response(enum vx_method request_method, uint64_t repeated, bool ended,
                         struct vx_response *out, struct vx_error *error) {
    const char *objection = object(&out->headers);
    out->version = VX_HTTP_2;
    out->keep_alive = true;
    out->upgrade = false;
    out->reason = VX_SLICE_NONE;
    if (objection)
        return refuse(error, VX_ERR_BAD_RESPONSE, objection);
    if (out->status < 100 || out->status > 599 || out->status == 101)
        return refuse(error, VX_ERR_BAD_RESPONSE, "a status that no response of HTTP/2 has");
    struct vx_h1_fault fault =
        vx_h1_read_framing(&out->headers, repeated, VX_HTTP_2, &out->framing, &out->body_bytes);
    if (fault.code)
        return refuse(error, VX_ERR_BAD_RESPONSE, fault.detail);
    if (out->status < 200 && ended)
        return refuse(error, VX_ERR_BAD_RESPONSE, "an interim response that ends the stream");
    if (has_no_body(out->status, request_method)) {
        out->framing = VX_BODY_NONE;
        return true;
    }
    if (ended && out->body_bytes)
        return refuse(error, VX_ERR_BAD_RESPONSE, "a Content-Length without a body");
    if (ended)
        out->framing = VX_BODY_LENGTH;
    else if (out->framing == VX_BODY_NONE)
        out->framing = VX_BODY_CHUNKED;
    return true;
}

bool vx_h2_read_trailers(struct vx_headers *trailers, const char **detail) {
    *detail = object(trailers);
    if (*detail)
        return false;
    vx_trailers_strip(trailers);
    return true;
}
