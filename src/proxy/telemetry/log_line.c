/* SPDX-License-Identifier: Apache-2.0 */
/* See log_line.h. Written for speed: no bound is checked while a line grows, since the sum of all bounds fits. */
#include "proxy/telemetry/log_line.h"

#include "core/base/assert.h"
#include "core/exchange/snapshot.h"
#include "proxy/telemetry/text.h"

/* Six bytes for each byte of a value at worst; names and numbers in between take less than 1 KiB. */
_Static_assert(6 * (VX_LOG_IP_MAX + VX_LOG_METHOD_MAX + VX_LOG_HOST_MAX + VX_LOG_PATH_MAX +
                    3 * VX_LOG_NAME_MAX + VX_LOG_AGENT_MAX + VX_LOG_REFERER_MAX + VX_LOG_TLS_MAX) +
                       1024 <=
                   VX_LOG_LINE_MAX,
               "a line fits its buffer");

#define PUT(out, literal) ((char *)memcpy((out), (literal), sizeof(literal) - 1) + sizeof(literal) - 1)

/* Takes `s` in with one of the two escapes, cut after `max` bytes. */
static char *put_cut(char *out, struct vx_slice s, size_t max, char *(*escape)(char *, struct vx_slice)) {
    if (VX_LIKELY(s.len <= max))
        return escape(out, s);
    out = escape(out, vx_slice(s.ptr, max));
    return PUT(out, "...");
}

/* Path and query as received, or the target where the head was refused before they were known. */
static char *put_path(char *out, const struct vx_request *request, char *(*escape)(char *, struct vx_slice)) {
    if (request->path.len == 0)
        return put_cut(out, request->target, VX_LOG_PATH_MAX, escape);
    out = put_cut(out, request->path, VX_LOG_PATH_MAX, escape);
    if (!request->query.ptr || request->path.len >= VX_LOG_PATH_MAX)
        return out;
    *out++ = '?';
    return put_cut(out, request->query, VX_LOG_PATH_MAX - request->path.len, escape);
}

static struct vx_slice field_of(const struct vx_request *request, enum vx_header_id id) {
    const struct vx_header *h =
        vx_headers_has(&request->headers, id) ? vx_headers_find(&request->headers, id) : NULL;
    return h ? vx_header_value(h) : VX_SLICE_NONE;
}

static struct vx_slice protocol_of(const struct vx_request *request) {
    static const struct vx_slice names[] = {
        [VX_HTTP_10] = {"HTTP/1.0", 8},
        [VX_HTTP_11] = {"HTTP/1.1", 8},
        [VX_HTTP_2] = {"HTTP/2", 6},
        [VX_HTTP_3] = {"HTTP/3", 6},
    };
    /* A request line that could not be read leaves no method and a version that means nothing. */
    return request->method_text.len ? names[request->version] : VX_SLICE_NONE;
}

/* What is known of the request; an empty one where nothing is. */
static const struct vx_request *request_of(const struct vx_exchange_record *r) {
    static const struct vx_request none;
    return r->request ? r->request : &none;
}

static uint64_t duration_ns(const struct vx_exchange_record *r) {
    return r->ended_ns > r->started_ns ? r->ended_ns - r->started_ns : 0;
}

static char *put_bool(char *out, bool b) {
    return b ? PUT(out, "true") : PUT(out, "false");
}

/* The first half: who asked for what. */
static char *put_json_request(char *out, const struct vx_exchange_record *r,
                              const struct vx_request *request) {
    struct vx_slice protocol = protocol_of(request);
    out = PUT(out, "\",\"client_ip\":\"");
    out = put_cut(out, r->client_ip, VX_LOG_IP_MAX, vx_format_json);
    out = PUT(out, "\",\"method\":\"");
    out = put_cut(out, request->method_text, VX_LOG_METHOD_MAX, vx_format_json);
    out = PUT(out, "\",\"host\":\"");
    out =
        put_cut(out, request->host.len ? request->host : request->authority, VX_LOG_HOST_MAX, vx_format_json);
    out = PUT(out, "\",\"path\":\"");
    out = put_path(out, request, vx_format_json);
    out = PUT(out, "\",\"protocol\":\"");
    return vx_format_json(out, protocol);
}

/* The second half: what became of it. */
static char *put_json_answer(char *out, const struct vx_exchange_record *r,
                             const struct vx_request *request) {
    out = PUT(out, "\",\"status\":");
    out += vx_format_u64(out, r->status);
    if (r->grpc) {
        out = PUT(out, ",\"grpc_status\":");
        out += vx_format_u64(out, r->grpc_status);
    }
    out = PUT(out, ",\"reason\":\"");
    out = vx_format_json(out, vx_slice_of(vx_error_info(r->error)->word));
    out = PUT(out, "\",\"detail\":\"");
    out = put_cut(out, vx_slice_of(r->error_detail), VX_LOG_NAME_MAX, vx_format_json);
    out = PUT(out, "\",\"route\":\"");
    out = put_cut(out, r->route ? r->route->config->name : VX_SLICE_NONE, VX_LOG_NAME_MAX, vx_format_json);
    out = PUT(out, "\",\"backend\":\"");
    out = put_cut(out, r->backend, VX_LOG_NAME_MAX, vx_format_json);
    out = PUT(out, "\",\"attempts\":");
    out += vx_format_u64(out, r->attempts);
    out = PUT(out, ",\"duration_ms\":");
    out += vx_format_ms(out, duration_ns(r));
    out = PUT(out, ",\"backend_ms\":");
    out += vx_format_ms(out, r->backend_ns);
    out = PUT(out, ",\"request_bytes\":");
    out += vx_format_u64(out, r->request_bytes);
    out = PUT(out, ",\"response_bytes\":");
    out += vx_format_u64(out, r->response_bytes);
    out = PUT(out, ",\"user_agent\":\"");
    out = put_cut(out, field_of(request, VX_HEADER_USER_AGENT), VX_LOG_AGENT_MAX, vx_format_json);
    out = PUT(out, "\",\"referer\":\"");
    out = put_cut(out, field_of(request, VX_HEADER_REFERER), VX_LOG_REFERER_MAX, vx_format_json);
    out = PUT(out, "\",\"tls\":\"");
    const struct vx_tls_session *tls = r->client ? r->client->tls : NULL;
    out = put_cut(out, tls ? tls->version : VX_SLICE_NONE, VX_LOG_TLS_MAX, vx_format_json);
    out = PUT(out, "\",\"tunnel\":");
    return put_bool(out, r->tunnel);
}

size_t vx_log_line_json(char *out, const struct vx_exchange_record *record, const struct vx_timestamp *at) {
    const struct vx_request *request = request_of(record);
    char *end = PUT(out, "{\"time\":\"");
    memcpy(end, at->rfc3339, sizeof at->rfc3339);
    end = put_json_request(end + sizeof at->rfc3339, record, request);
    end = put_json_answer(end, record, request);
    end = PUT(end, "}\n");
    return (size_t)(end - out);
}

/* A value in quotes; `-` where there is none, as nginx writes it. */
static char *put_quoted(char *out, struct vx_slice s, size_t max) {
    *out++ = '"';
    out = s.len ? put_cut(out, s, max, vx_format_combined) : PUT(out, "-");
    *out++ = '"';
    return out;
}

static char *put_request_line(char *out, const struct vx_request *request) {
    struct vx_slice protocol = protocol_of(request);
    if (protocol.len == 0)
        return put_quoted(out, request->target, VX_LOG_PATH_MAX);
    *out++ = '"';
    out = put_cut(out, request->method_text, VX_LOG_METHOD_MAX, vx_format_combined);
    *out++ = ' ';
    out = put_path(out, request, vx_format_combined);
    *out++ = ' ';
    memcpy(out, protocol.ptr, protocol.len);
    out += protocol.len;
    *out++ = '"';
    return out;
}

size_t vx_log_line_combined(char *out, const struct vx_exchange_record *record,
                            const struct vx_timestamp *at) {
    const struct vx_request *request = request_of(record);
    char *end = record->client_ip.len ? put_cut(out, record->client_ip, VX_LOG_IP_MAX, vx_format_combined)
                                      : PUT(out, "-");
    end = PUT(end, " - - [");
    memcpy(end, at->clf, sizeof at->clf);
    end = PUT(end + sizeof at->clf, "] ");
    end = put_request_line(end, request);
    *end++ = ' ';
    *end++ = (char)('0' + record->status / 100 % 10);
    *end++ = (char)('0' + record->status / 10 % 10);
    *end++ = (char)('0' + record->status % 10);
    *end++ = ' ';
    end += vx_format_u64(end, record->response_bytes);
    *end++ = ' ';
    end = put_quoted(end, field_of(request, VX_HEADER_REFERER), VX_LOG_REFERER_MAX);
    *end++ = ' ';
    end = put_quoted(end, field_of(request, VX_HEADER_USER_AGENT), VX_LOG_AGENT_MAX);
    *end++ = '\n';
    return (size_t)(end - out);
}
