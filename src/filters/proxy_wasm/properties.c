/* SPDX-License-Identifier: Apache-2.0 */
/* See properties.h. Numbers are 8 bytes little-endian, truth is one byte, times and durations are nanoseconds. */
#include "filters/proxy_wasm/properties.h"

#include "core/exchange/snapshot.h"
#include "core/http/grpc.h"
#include "filters/proxy_wasm/host.h"

enum { STATE_KEY_MAX = 512 };

/* A question: the path, and what it is asked about. */
struct question {
    struct vx_pwasm_vm *vm;
    struct vx_filter_stream *stream; /* NULL: asked in the root context */
    struct vx_filter_facts facts;    /* meaningful with a stream */
    struct vx_slice parts[VX_PWASM_PROPERTY_PARTS_MAX];
    uint32_t count;
};

struct row {
    const char *name;
    bool (*get)(const struct question *q, struct vx_pwasm_property *out); /* false: there is none */
    bool map;
};

uint32_t vx_pwasm_property_split(struct vx_slice path, struct vx_slice parts[VX_PWASM_PROPERTY_PARTS_MAX]) {
    uint32_t count = 0;
    if (path.len && path.ptr[path.len - 1] == '\0')
        path.len--;
    while (path.len) {
        const char *end = memchr(path.ptr, '\0', path.len);
        size_t len = end ? (size_t)(end - path.ptr) : path.len;
        if (count == VX_PWASM_PROPERTY_PARTS_MAX)
            return 0;
        parts[count++] = vx_slice(path.ptr, len);
        path = end ? vx_slice_skip(path, len + 1) : VX_SLICE_NONE;
    }
    return count;
}

/* Values */

static bool text(struct vx_pwasm_property *out, struct vx_slice s) {
    out->bytes = s;
    return true;
}

static bool text_if_any(struct vx_pwasm_property *out, struct vx_slice s) {
    return s.len && text(out, s);
}

static bool number(struct vx_pwasm_property *out, uint64_t n) {
    memcpy(out->room, &n, sizeof n);
    return text(out, vx_slice(out->room, sizeof n));
}

static bool truth(struct vx_pwasm_property *out, bool yes) {
    out->room[0] = (char)yes;
    return text(out, vx_slice(out->room, 1));
}

static bool address(struct vx_pwasm_property *out, const struct vx_address *a) {
    return text_if_any(out, vx_slice(out->room, vx_address_format(a, out->room)));
}

/* `map`, or the values of one of its fields, joined. */
static bool fields(const struct question *q, enum vx_filter_map which, struct vx_pwasm_property *out) {
    bool writable;
    struct vx_field_map *map = vx_filter_map(q->stream, which, &writable);
    if (!map)
        return false;
    if (q->count == 2) {
        out->map = map;
        return true;
    }
    struct vx_field field;
    bool found = false;
    for (uint32_t at = 0; vx_field_map_next(map, &at, &field);) {
        if (!vx_slice_ieq(field.name, q->parts[2]))
            continue;
        if (found) {
            const struct vx_slice parts[] = {out->bytes, VX_SLICE(","), field.value};
            field.value = vx_arena_join(map->arena, parts, 3);
            if (!field.value.ptr)
                return false;
        }
        out->bytes = field.value;
        found = true;
    }
    return found;
}

/* The first value of one field. */
static bool field(const struct question *q, enum vx_filter_map which, struct vx_slice name,
                  struct vx_pwasm_property *out) {
    bool writable;
    struct vx_field_map *map = vx_filter_map(q->stream, which, &writable);
    return map && vx_field_map_find(map, name, &out->bytes);
}

/* request */

static bool request_path(const struct question *q, struct vx_pwasm_property *out) {
    return field(q, VX_FILTER_MAP_REQUEST_HEADERS, VX_SLICE(":path"), out);
}

static bool request_url_path(const struct question *q, struct vx_pwasm_property *out) {
    return text(out, q->facts.request->path);
}

static bool request_host(const struct question *q, struct vx_pwasm_property *out) {
    return text(out, q->facts.request->authority);
}

static bool request_scheme(const struct question *q, struct vx_pwasm_property *out) {
    return text(out, q->facts.request->https ? VX_SLICE("https") : VX_SLICE("http"));
}

static bool request_method(const struct question *q, struct vx_pwasm_property *out) {
    return text(out, q->facts.request->method_text);
}

static bool request_query(const struct question *q, struct vx_pwasm_property *out) {
    return text(out, q->facts.request->query);
}

static bool request_protocol(const struct question *q, struct vx_pwasm_property *out) {
    static const struct vx_slice names[] = {
        [VX_HTTP_10] = {"HTTP/1.0", 8},
        [VX_HTTP_11] = {"HTTP/1.1", 8},
        [VX_HTTP_2] = {"HTTP/2", 6},
        [VX_HTTP_3] = {"HTTP/3", 6},
    };
    return text(out, names[q->facts.request->version]);
}

static bool request_useragent(const struct question *q, struct vx_pwasm_property *out) {
    return field(q, VX_FILTER_MAP_REQUEST_HEADERS, VX_SLICE("user-agent"), out);
}

static bool request_referer(const struct question *q, struct vx_pwasm_property *out) {
    return field(q, VX_FILTER_MAP_REQUEST_HEADERS, VX_SLICE("referer"), out);
}

static bool request_id(const struct question *q, struct vx_pwasm_property *out) {
    return field(q, VX_FILTER_MAP_REQUEST_HEADERS, VX_SLICE("x-request-id"), out);
}

static bool request_time(const struct question *q, struct vx_pwasm_property *out) {
    uint64_t passed_ns = q->vm->now_ns - q->facts.started_ns;
    return number(out, vx_pwasm_vm_wall_ns(q->vm) - passed_ns);
}

static bool request_duration(const struct question *q, struct vx_pwasm_property *out) {
    return number(out, q->vm->now_ns - q->facts.started_ns);
}

/* As announced, where it is. */
static bool request_size(const struct question *q, struct vx_pwasm_property *out) {
    const struct vx_request *r = q->facts.request;
    return number(out, r->framing == VX_BODY_LENGTH ? r->body_bytes : q->facts.request_bytes);
}

static bool request_total_size(const struct question *q, struct vx_pwasm_property *out) {
    return number(out, q->facts.request_bytes + q->facts.request_head_bytes);
}

static bool request_headers_bytes(const struct question *q, struct vx_pwasm_property *out) {
    return number(out, q->facts.request_head_bytes);
}

static bool request_headers(const struct question *q, struct vx_pwasm_property *out) {
    return fields(q, VX_FILTER_MAP_REQUEST_HEADERS, out);
}

static const struct row request_rows[] = {
    {"path", request_path, false},
    {"url_path", request_url_path, false},
    {"host", request_host, false},
    {"scheme", request_scheme, false},
    {"method", request_method, false},
    {"query", request_query, false},
    {"protocol", request_protocol, false},
    {"useragent", request_useragent, false},
    {"referer", request_referer, false},
    {"id", request_id, false},
    {"time", request_time, false},
    {"duration", request_duration, false},
    {"size", request_size, false},
    {"total_size", request_total_size, false},
    {"headers_bytes", request_headers_bytes, false},
    {"headers", request_headers, true},
    {NULL, NULL, false},
};

/* response */

static bool response_code(const struct question *q, struct vx_pwasm_property *out) {
    return q->facts.response && number(out, q->facts.response->status);
}

static bool response_code_details(const struct question *q, struct vx_pwasm_property *out) {
    if (q->facts.error != VX_ERR_NONE)
        return text(out, vx_slice_of(vx_error_info(q->facts.error)->word));
    return q->facts.response && text(out, VX_SLICE("via_upstream"));
}

/* Envoy's bits for what went wrong. */
static bool response_flags(const struct question *q, struct vx_pwasm_property *out) {
    enum {
        NO_HEALTHY_UPSTREAM = 1 << 1,
        UPSTREAM_REQUEST_TIMEOUT = 1 << 2,
        UPSTREAM_REMOTE_RESET = 1 << 4,
        UPSTREAM_CONNECTION_FAILURE = 1 << 5,
        UPSTREAM_CONNECTION_TERMINATION = 1 << 6,
        UPSTREAM_OVERFLOW = 1 << 7,
        NO_ROUTE_FOUND = 1 << 8,
        DOWNSTREAM_CONNECTION_TERMINATION = 1 << 14,
        STREAM_IDLE_TIMEOUT = 1 << 16,
        UPSTREAM_PROTOCOL_ERROR = 1 << 23,
    };
    static const uint32_t flags[VX_ERR_COUNT] = {
        [VX_ERR_NO_ROUTE] = NO_ROUTE_FOUND,
        [VX_ERR_NO_MODEL] = NO_ROUTE_FOUND,
        [VX_ERR_REQUEST_TIMEOUT] = STREAM_IDLE_TIMEOUT,
        [VX_ERR_CLIENT_GONE] = DOWNSTREAM_CONNECTION_TERMINATION,
        [VX_ERR_CLIENT_WRITE_TIMEOUT] = DOWNSTREAM_CONNECTION_TERMINATION,
        [VX_ERR_CONNECT_FAILED] = UPSTREAM_CONNECTION_FAILURE,
        [VX_ERR_CONNECT_TIMEOUT] = UPSTREAM_CONNECTION_FAILURE,
        [VX_ERR_TLS_FAILED] = UPSTREAM_CONNECTION_FAILURE,
        [VX_ERR_BACKEND_CLOSED] = UPSTREAM_CONNECTION_TERMINATION,
        [VX_ERR_BACKEND_RESET] = UPSTREAM_REMOTE_RESET,
        [VX_ERR_BACKEND_REFUSED] = UPSTREAM_REMOTE_RESET,
        [VX_ERR_BAD_RESPONSE] = UPSTREAM_PROTOCOL_ERROR,
        [VX_ERR_RESPONSE_TIMEOUT] = UPSTREAM_REQUEST_TIMEOUT,
        [VX_ERR_DEADLINE] = UPSTREAM_REQUEST_TIMEOUT,
        [VX_ERR_BODY_TIMEOUT] = STREAM_IDLE_TIMEOUT,
        [VX_ERR_WRITE_TIMEOUT] = STREAM_IDLE_TIMEOUT,
        [VX_ERR_BREAKER_OPEN] = UPSTREAM_OVERFLOW,
        [VX_ERR_QUEUE_FULL] = UPSTREAM_OVERFLOW,
        [VX_ERR_QUEUE_TIMEOUT] = UPSTREAM_OVERFLOW,
        [VX_ERR_NO_BACKEND] = NO_HEALTHY_UPSTREAM,
    };
    return number(out, flags[q->facts.error]);
}

static bool response_grpc_status(const struct question *q, struct vx_pwasm_property *out) {
    struct vx_slice name = VX_SLICE("grpc-status");
    if (!field(q, VX_FILTER_MAP_RESPONSE_TRAILERS, name, out) &&
        !field(q, VX_FILTER_MAP_RESPONSE_HEADERS, name, out))
        return false;
    return number(out, vx_grpc_read_status(out->bytes));
}

/* Names and values, as Envoy counts them. */
static bool response_headers_bytes(const struct question *q, struct vx_pwasm_property *out) {
    bool writable;
    struct vx_field_map *map = vx_filter_map(q->stream, VX_FILTER_MAP_RESPONSE_HEADERS, &writable);
    struct vx_field field;
    uint64_t bytes = 0;
    if (!map)
        return false;
    for (uint32_t at = 0; vx_field_map_next(map, &at, &field);)
        bytes += field.name.len + field.value.len;
    return number(out, bytes);
}

static bool response_size(const struct question *q, struct vx_pwasm_property *out) {
    return number(out, q->facts.response_bytes);
}

static bool response_headers(const struct question *q, struct vx_pwasm_property *out) {
    return fields(q, VX_FILTER_MAP_RESPONSE_HEADERS, out);
}

static bool response_trailers(const struct question *q, struct vx_pwasm_property *out) {
    return fields(q, VX_FILTER_MAP_RESPONSE_TRAILERS, out);
}

static bool response_backend_latency(const struct question *q, struct vx_pwasm_property *out) {
    return q->facts.backend_ns && number(out, q->facts.backend_ns);
}

static const struct row response_rows[] = {
    {"code", response_code, false},
    {"code_details", response_code_details, false},
    {"flags", response_flags, false},
    {"grpc_status", response_grpc_status, false},
    {"size", response_size, false},
    {"total_size", response_size, false},
    {"headers_bytes", response_headers_bytes, false},
    {"headers", response_headers, true},
    {"trailers", response_trailers, true},
    {"backend_latency", response_backend_latency, false},
    {NULL, NULL, false},
};

/* source, destination, connection, upstream */

/* A client behind a trusted proxy has told its address, but no port. */
static bool source_address(const struct question *q, struct vx_pwasm_property *out) {
    struct vx_slice ip = q->facts.client_ip;
    struct vx_address a;
    if (vx_slice_eq(ip, q->facts.client->remote_text) || !vx_address_parse_ip(ip, &a))
        return address(out, &q->facts.client->remote);
    return address(out, &a);
}

static bool source_port(const struct question *q, struct vx_pwasm_property *out) {
    bool direct = vx_slice_eq(q->facts.client_ip, q->facts.client->remote_text);
    return number(out, direct ? q->facts.client->remote.port : 0);
}

static bool destination_address(const struct question *q, struct vx_pwasm_property *out) {
    return address(out, &q->facts.client->local);
}

static bool destination_port(const struct question *q, struct vx_pwasm_property *out) {
    return number(out, q->facts.client->local.port);
}

static bool connection_id(const struct question *q, struct vx_pwasm_property *out) {
    return number(out, q->facts.client->id);
}

static bool connection_mtls(const struct question *q, struct vx_pwasm_property *out) {
    const struct vx_tls_session *tls = q->facts.client->tls;
    return truth(out, tls && tls->peer_certified);
}

static bool connection_server_name(const struct question *q, struct vx_pwasm_property *out) {
    return text(out, q->facts.client->server_name);
}

/* How the client's connection ended, where it did before the exchange. */
static bool connection_termination_details(const struct question *q, struct vx_pwasm_property *out) {
    bool ended = q->facts.error == VX_ERR_CLIENT_GONE || q->facts.error == VX_ERR_CLIENT_WRITE_TIMEOUT;
    return ended && q->facts.error_detail && text(out, vx_slice_of(q->facts.error_detail));
}

static bool upstream_address(const struct question *q, struct vx_pwasm_property *out) {
    return q->facts.target && address(out, &q->facts.target->address);
}

static bool upstream_port(const struct question *q, struct vx_pwasm_property *out) {
    return q->facts.target && number(out, q->facts.target->address.port);
}

static bool upstream_local_address(const struct question *q, struct vx_pwasm_property *out) {
    return address(out, &q->facts.carrier.local);
}

/* Empty: nothing has failed. */
static bool upstream_failure_reason(const struct question *q, struct vx_pwasm_property *out) {
    bool failed = q->facts.error == VX_ERR_CONNECT_FAILED || q->facts.error == VX_ERR_TLS_FAILED;
    const char *why = failed && q->facts.error_detail ? q->facts.error_detail : "";
    return q->facts.target && text(out, vx_slice_of(why));
}

static bool upstream_attempts(const struct question *q, struct vx_pwasm_property *out) {
    return number(out, q->facts.attempts);
}

static bool upstream_num_endpoints(const struct question *q, struct vx_pwasm_property *out) {
    const struct vx_route *route = q->facts.route;
    return q->facts.target && route && route->config && number(out, route->config->backend_count);
}

static const struct row source_rows[] = {
    {"address", source_address, false}, {"port", source_port, false}, {NULL, NULL, false}};
static const struct row destination_rows[] = {
    {"address", destination_address, false}, {"port", destination_port, false}, {NULL, NULL, false}};
static const struct row connection_rows[] = {
    {"id", connection_id, false},
    {"mtls", connection_mtls, false},
    {"requested_server_name", connection_server_name, false},
    {"termination_details", connection_termination_details, false},
    {NULL, NULL, false},
};
static const struct row upstream_rows[] = {
    {"address", upstream_address, false},
    {"port", upstream_port, false},
    {"local_address", upstream_local_address, false},
    {"transport_failure_reason", upstream_failure_reason, false},
    {"request_attempt_count", upstream_attempts, false},
    {"num_endpoints", upstream_num_endpoints, false},
    {NULL, NULL, false},
};

/* What `connection` and `upstream` have of their TLS sessions. */

static const struct {
    const char *name;
    enum vx_certificate whose;
    enum vx_certificate_fact fact;
} certificate_rows[] = {
    {"subject_local_certificate", VX_CERTIFICATE_LOCAL, VX_CERTIFICATE_SUBJECT},
    {"subject_peer_certificate", VX_CERTIFICATE_PEER, VX_CERTIFICATE_SUBJECT},
    {"dns_san_local_certificate", VX_CERTIFICATE_LOCAL, VX_CERTIFICATE_DNS_NAME},
    {"dns_san_peer_certificate", VX_CERTIFICATE_PEER, VX_CERTIFICATE_DNS_NAME},
    {"uri_san_local_certificate", VX_CERTIFICATE_LOCAL, VX_CERTIFICATE_URI},
    {"uri_san_peer_certificate", VX_CERTIFICATE_PEER, VX_CERTIFICATE_URI},
    {"sha256_peer_certificate_digest", VX_CERTIFICATE_PEER, VX_CERTIFICATE_SHA256},
};

/* As in Envoy the subject of a certificate that was not shown is empty, while its other facts are not there. */
static bool find_in_session(const struct vx_tls_session *tls, struct vx_slice name,
                            struct vx_pwasm_property *out) {
    if (!tls)
        return false;
    if (vx_slice_eq(name, VX_SLICE("tls_version")))
        return text(out, tls->version);
    for (size_t i = 0; i < sizeof certificate_rows / sizeof certificate_rows[0]; i++)
        if (vx_slice_eq(name, vx_slice_of(certificate_rows[i].name)))
            return tls->ops->tell(tls, certificate_rows[i].whose, certificate_rows[i].fact, &out->bytes) ||
                   (certificate_rows[i].fact == VX_CERTIFICATE_SUBJECT && text(out, VX_SLICE("")));
    return false;
}

static const struct vx_tls_session *of_client(const struct question *q) {
    return q->facts.client->tls;
}

static const struct vx_tls_session *of_backend(const struct question *q) {
    return q->facts.carrier.tls;
}

/* What Envoy calls a cluster is the backends of a route here, so both names are the route's. */
static bool route_name(const struct question *q, struct vx_pwasm_property *out) {
    return q->facts.route && q->facts.route->config && text(out, q->facts.route->config->name);
}

/* 1: from clients to backends. */
static bool listener_direction(const struct question *q, struct vx_pwasm_property *out) {
    (void)q;
    return number(out, 1);
}

static const struct row xds_rows[] = {
    {"route_name", route_name, false},
    {"cluster_name", route_name, false},
    {"listener_direction", listener_direction, false},
    {NULL, NULL, false},
};

/* What Envoy knows outside of its groups. */
static const struct row bare_rows[] = {{"connection_id", connection_id, false}, {NULL, NULL, false}};

/* The plugin itself; the only ones there are without an exchange. */

static bool plugin_name(const struct question *q, struct vx_pwasm_property *out) {
    return text(out, q->vm->plan->name);
}

static bool plugin_root_id(const struct question *q, struct vx_pwasm_property *out) {
    return text(out, q->vm->plan->root_id);
}

static bool plugin_vm_id(const struct question *q, struct vx_pwasm_property *out) {
    return text(out, vx_pwasm_plan_vm_id(q->vm->plan));
}

static const struct row plugin_rows[] = {
    {"plugin_name", plugin_name, false},
    {"plugin_root_id", plugin_root_id, false},
    {"plugin_vm_id", plugin_vm_id, false},
    {NULL, NULL, false},
};

static const struct {
    const char *name;
    const struct row *rows;
    const struct vx_tls_session *(*session)(const struct question *q); /* NULL: it is about none */
} groups[] = {
    {"request", request_rows, NULL},
    {"response", response_rows, NULL},
    {"source", source_rows, NULL},
    {"destination", destination_rows, NULL},
    {"upstream", upstream_rows, of_backend},
    {"connection", connection_rows, of_client},
    {"xds", xds_rows, NULL},
};

static const struct row *find_row(const struct row *rows, struct vx_slice name) {
    for (; rows->name; rows++)
        if (vx_slice_eq(name, vx_slice_of(rows->name)))
            return rows;
    return NULL;
}

/* Values left by plugins */

/* `wasm.` and the path. False: it is too long for one. */
static bool state_key(struct vx_slice path, char room[STATE_KEY_MAX], struct vx_slice *key) {
    if (path.len && path.ptr[path.len - 1] == '\0')
        path.len--;
    if (!path.len || path.len + 5 > STATE_KEY_MAX)
        return false;
    memcpy(room, "wasm.", 5);
    memcpy(room + 5, path.ptr, path.len);
    *key = vx_slice(room, path.len + 5);
    return true;
}

enum vx_pwasm_status vx_pwasm_property_set(struct vx_pwasm_vm *vm, struct vx_slice path,
                                           struct vx_slice value) {
    char room[STATE_KEY_MAX];
    struct vx_slice key;
    struct vx_filter_stream *stream = vx_pwasm_stream(vm);
    if (!stream || !state_key(path, room, &key))
        return VX_PWASM_NOT_FOUND;
    return vx_filter_state_set(stream, key, value) ? VX_PWASM_OK : VX_PWASM_INTERNAL_FAILURE;
}

static bool find_state(const struct question *q, struct vx_slice path, struct vx_pwasm_property *out) {
    char room[STATE_KEY_MAX];
    struct vx_slice key;
    if (q->count == 2 && vx_slice_eq(q->parts[0], VX_SLICE("filter_state")))
        return vx_filter_state_get(q->stream, q->parts[1], &out->bytes);
    return state_key(path, room, &key) && vx_filter_state_get(q->stream, key, &out->bytes);
}

/* One of the groups, with a name in it: `request.path`; `.name` may follow where that is a map. */
static enum vx_pwasm_status find_in_groups(const struct question *q, struct vx_pwasm_property *out) {
    for (size_t i = 0; i < sizeof groups / sizeof groups[0]; i++) {
        if (!vx_slice_eq(q->parts[0], vx_slice_of(groups[i].name)))
            continue;
        if (q->count == 1)
            return VX_PWASM_SERIALIZATION_FAILURE;
        const struct row *row = find_row(groups[i].rows, q->parts[1]);
        /* Only of a map can a part be asked for. */
        if (q->count > 2 && !(q->count == 3 && row && row->map))
            return VX_PWASM_NOT_FOUND;
        bool found = row ? row->get(q, out)
                         : groups[i].session && find_in_session(groups[i].session(q), q->parts[1], out);
        return found ? VX_PWASM_OK : VX_PWASM_NOT_FOUND;
    }
    return VX_PWASM_NOT_FOUND;
}

enum vx_pwasm_status vx_pwasm_property_find(struct vx_pwasm_vm *vm, struct vx_slice path,
                                            struct vx_pwasm_property *out) {
    struct question q = {.vm = vm, .stream = vx_pwasm_stream(vm)};
    out->map = NULL;
    out->bytes = VX_SLICE_NONE;
    q.count = vx_pwasm_property_split(path, q.parts);
    if (!q.count)
        return VX_PWASM_NOT_FOUND;
    const struct row *row = q.count == 1 ? find_row(plugin_rows, q.parts[0]) : NULL;
    if (!row && !q.stream)
        return VX_PWASM_NOT_FOUND;
    if (q.stream)
        vx_filter_facts(q.stream, &q.facts);
    if (!row && q.count == 1)
        row = find_row(bare_rows, q.parts[0]);
    if (!row && q.count == 1)
        row = find_row(xds_rows, q.parts[0]); /* older plugins ask for these without `xds` */
    if (row)
        return row->get(&q, out) ? VX_PWASM_OK : VX_PWASM_NOT_FOUND;
    enum vx_pwasm_status status = find_in_groups(&q, out);
    if (status == VX_PWASM_NOT_FOUND && find_state(&q, path, out))
        status = VX_PWASM_OK;
    return status;
}
