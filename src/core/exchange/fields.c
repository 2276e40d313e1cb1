/* SPDX-License-Identifier: Apache-2.0 */
/* What the proxy changes in the heads it passes on: hop-by-hop fields (RFC 9110 §7.6.1), who the client is, Via
 * (§7.6.3), rewrites of path and host. */
#include "core/exchange/internal.h"

/* What is said of nearly every message, as the text of a head: fields that lie side by side are copied in one piece. */
#define SAID(scheme) "x-forwarded-proto: " scheme "\r\nvia: 1.1 vortex\r\n"
#define RAW_FIELD(name_id, text, at, name_bytes, value_bytes)                                                \
    {                                                                                                        \
        .name = (text) + (at), .value = (text) + (at) + (name_bytes) + 2, .value_len = (value_bytes),        \
        .name_len = (name_bytes), .id = VX_HEADER_##name_id, .flags = VX_HEADER_RAW                          \
    }
#define PROTO_FIELD(text, scheme)                                                                            \
    RAW_FIELD(X_FORWARDED_PROTO, text, 0, sizeof "x-forwarded-proto" - 1, sizeof(scheme) - 1)
#define VIA_FIELD(text, at) RAW_FIELD(VIA, text, at, sizeof "via" - 1, sizeof "1.1 vortex" - 1)

static const char said_http[] = SAID("http"), said_https[] = SAID("https"), said_10[] = "via: 1.0 vortex\r\n",
                  said_20[] = "via: 2.0 vortex\r\n", said_30[] = "via: 3.0 vortex\r\n";
static const struct vx_header proto_http = PROTO_FIELD(said_http, "http");
static const struct vx_header proto_https = PROTO_FIELD(said_https, "https");
static const struct vx_header via_http = VIA_FIELD(said_http, sizeof "x-forwarded-proto: http\r\n" - 1);
static const struct vx_header via_https = VIA_FIELD(said_https, sizeof "x-forwarded-proto: https\r\n" - 1);
static const struct vx_header via_10 = VIA_FIELD(said_10, 0);
static const struct vx_header via_20 = VIA_FIELD(said_20, 0);
static const struct vx_header via_30 = VIA_FIELD(said_30, 0);

static const struct vx_header *via_of(enum vx_http_version version, bool https) {
    switch (version) {
    case VX_HTTP_10:
        return &via_10;
    case VX_HTTP_2:
        return &via_20;
    case VX_HTTP_3:
        return &via_30;
    case VX_HTTP_11:
        break;
    }
    return https ? &via_https : &via_http;
}

static bool is_trusted(const struct vx_config *config, const struct vx_address *address) {
    for (uint32_t i = 0; i < config->trusted_proxy_count; i++)
        if (vx_prefix_contains(&config->trusted_proxies[i], address))
            return true;
    return false;
}

/* Takes the last element off a comma-separated list. */
static struct vx_slice pop_last(struct vx_slice *list) {
    size_t at = list->len;
    while (at > 0 && list->ptr[at - 1] != ',')
        at--;
    struct vx_slice last = vx_slice_trim(vx_slice_skip(*list, at));
    list->len = at > 0 ? at - 1 : 0;
    return last;
}

/* The first address from the right of X-Forwarded-For that is no trusted proxy: everything left of it is hearsay.
 * Several fields are one list (RFC 9110 §5.3), so the last field is read first. */
static void find_client(struct vx_exchange *x) {
    const struct vx_headers *headers = &x->forwarded.headers;
    for (uint16_t i = headers->count; i-- > 0;) {
        const struct vx_header *h = &headers->items[i];
        if (h->id != VX_HEADER_X_FORWARDED_FOR)
            continue;
        struct vx_slice list = vx_header_value(h);
        while (list.len) {
            struct vx_address address;
            struct vx_slice text = pop_last(&list);
            if (!vx_address_parse_ip(text, &address))
                return;
            x->client_ip = text;
            x->client_address = address;
            if (!is_trusted(x->snapshot->config, &address))
                return;
        }
    }
}

static bool add(struct vx_exchange *x, enum vx_header_id id, struct vx_slice value) {
    return vx_headers_add(&x->forwarded.headers, x->down->arena, id, vx_header_id_name(id), value);
}

/* Every element of X-Forwarded-For in order, with the peer behind them, as one field: readers commonly look at one
 * only. Nothing to keep: just the peer. ptr NULL: no memory. */
static struct vx_slice forwarded_list(struct vx_exchange *x, struct vx_slice peer) {
    struct vx_headers *headers = &x->forwarded.headers;
    size_t bytes = peer.len;
    for (uint16_t i = 0; i < headers->count; i++)
        if (headers->items[i].id == VX_HEADER_X_FORWARDED_FOR &&
            !(headers->items[i].flags & VX_HEADER_REMOVED))
            bytes += headers->items[i].value_len + 2;
    if (bytes == peer.len)
        return peer;
    char *out = vx_arena_alloc(x->down->arena, bytes);
    if (!out)
        return VX_SLICE_NONE;
    size_t n = 0;
    for (uint16_t i = 0; i < headers->count; i++) {
        const struct vx_header *h = &headers->items[i];
        if (h->id != VX_HEADER_X_FORWARDED_FOR || h->flags & VX_HEADER_REMOVED || !h->value_len)
            continue;
        memcpy(out + n, h->value, h->value_len);
        n += h->value_len;
        out[n++] = ',';
        out[n++] = ' ';
    }
    memcpy(out + n, peer.ptr, peer.len);
    vx_headers_remove(headers, VX_HEADER_X_FORWARDED_FOR);
    return vx_slice(out, n + peer.len);
}

#define BIT(name) (UINT64_C(1) << VX_HEADER_##name)

/* What says who the client is. */
static const uint64_t claims =
    BIT(X_FORWARDED_FOR) | BIT(X_FORWARDED_PROTO) | BIT(X_FORWARDED_HOST) | BIT(FORWARDED) | BIT(X_REAL_IP);

/* Says who the client is. What a peer that is not trusted says about that is replaced. */
static bool edit_identity(struct vx_exchange *x, struct vx_slice peer, bool trusted) {
    struct vx_headers *headers = &x->forwarded.headers;
    if (!trusted)
        vx_headers_remove_ids(headers, claims);
    bool keep_proto = trusted && vx_headers_find(headers, VX_HEADER_X_FORWARDED_PROTO);
    bool keep_host = trusted && vx_headers_find(headers, VX_HEADER_X_FORWARDED_HOST);
    struct vx_slice list = trusted ? forwarded_list(x, peer) : peer;
    return list.ptr && add(x, VX_HEADER_X_FORWARDED_FOR, list) &&
           (keep_host || !x->forwarded.authority.len ||
            add(x, VX_HEADER_X_FORWARDED_HOST, x->forwarded.authority)) &&
           (keep_proto ||
            vx_headers_append(headers, x->down->arena, x->forwarded.https ? &proto_https : &proto_http));
}

static bool edit_host(struct vx_exchange *x) {
    struct vx_slice host = x->route->config->rewrite_host;
    struct vx_headers *headers = &x->forwarded.headers;
    if (!host.len) {
        if (vx_headers_find(headers, VX_HEADER_HOST))
            return true;
        /* An HTTP/1.0 client may leave it out, we may not (RFC 9112 §3.2). The target is not chosen yet, so the route's
         * first backend lends its name. */
        host = x->forwarded.authority.len ? x->forwarded.authority : x->route->targets[0].name;
    }
    vx_headers_remove(headers, VX_HEADER_HOST);
    x->forwarded.authority = host;
    return add(x, VX_HEADER_HOST, host);
}

static bool edit_path(struct vx_exchange *x) {
    const struct vx_config_route *config = x->route->config;
    if (!config->rewrite_path_prefix.ptr)
        return true;
    struct vx_slice path = x->forwarded.path;
    struct vx_slice matched = config->match.path.len ? config->match.path : config->match.path_prefix;
    struct vx_slice rest = vx_slice_skip(path, matched.len < path.len ? matched.len : path.len);
    struct vx_slice prefix = config->rewrite_path_prefix;
    bool ends_in_slash = prefix.len && prefix.ptr[prefix.len - 1] == '/';
    bool begins_with_slash = rest.len && rest.ptr[0] == '/';
    if (ends_in_slash && begins_with_slash)
        rest = vx_slice_skip(rest, 1);
    bool slash = !ends_in_slash && !begins_with_slash && (rest.len || prefix.len == 0);
    const struct vx_slice parts[] = {prefix, slash ? VX_SLICE("/") : VX_SLICE_NONE, rest};
    x->forwarded.path = vx_arena_join(x->down->arena, parts, 3);
    return x->forwarded.path.ptr != NULL;
}

/* Whether a protocol list (RFC 9110 §7.8) has h2c among its members, with a version or not. */
static bool offers_h2c(struct vx_slice list) {
    while (list.len) {
        struct vx_slice protocol = pop_last(&list);
        for (size_t i = 0; i < protocol.len; i++)
            if (protocol.ptr[i] == '/')
                protocol.len = i;
        if (vx_slice_ieq(protocol, VX_SLICE("h2c")))
            return true;
    }
    return false;
}

/* The Upgrade field stays where an upgrade is asked for or granted: the connections write it anew on their hop. h2c is never
 * asked for on a client's behalf: it would carry requests past us. */
static void strip_but_upgrade(struct vx_headers *headers, bool *upgrade) {
    struct vx_header *wanted = vx_headers_find(headers, VX_HEADER_UPGRADE);
    if (wanted && offers_h2c(vx_header_value(wanted)))
        wanted = NULL;
    vx_headers_strip_hop_by_hop(headers);
    if (wanted)
        wanted->flags &= (uint8_t)~VX_HEADER_REMOVED;
    *upgrade = wanted != NULL;
}

/* Hop-by-hop fields go. */
static void strip(struct vx_headers *headers, bool *upgrade) {
    if (VX_UNLIKELY(*upgrade))
        strip_but_upgrade(headers, upgrade);
    else
        vx_headers_strip_hop_by_hop(headers);
}

void vx_exchange_identify(struct vx_exchange *x) {
    const struct vx_config *config = x->snapshot->config;
    x->forwarded = *x->down->request;
    x->client_ip = x->down->client->remote_text;
    x->client_address = x->down->client->remote;
    x->peer_trusted = config->trusted_proxy_count && is_trusted(config, &x->down->client->remote);
    if (x->peer_trusted)
        find_client(x);
}

bool vx_exchange_edit_request(struct vx_exchange *x) {
    if (!x->route || !(x->route->set || x->route->chain))
        return true;
    strip(&x->forwarded.headers, &x->forwarded.upgrade);
    if (x->forwarded.version ==
        VX_HTTP_10) /* ignored (RFC 9110 §10.1.1), so not to be told to an HTTP/1.1 backend */
        vx_headers_remove(&x->forwarded.headers, VX_HEADER_EXPECT);
    return edit_identity(x, x->down->client->remote_text, x->peer_trusted);
}

bool vx_exchange_edit_target(struct vx_exchange *x) {
    return edit_host(x) && edit_path(x) &&
           vx_headers_append(&x->forwarded.headers, x->down->arena,
                             via_of(x->forwarded.version, x->forwarded.https));
}

bool vx_exchange_edit_response(struct vx_exchange *x, struct vx_response *response) {
    strip(&response->headers, &response->upgrade);
    return vx_headers_append(&response->headers, x->down->arena, via_of(response->version, false));
}
