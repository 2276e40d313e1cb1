/* SPDX-License-Identifier: Apache-2.0 */
/* See diff.h. Written out field by field: the structs have padding and places, so they cannot be compared as bytes. A
 * test changes each field in turn and holds this file to it. */
#include "core/config/diff.h"

#include "core/config/names.h"

struct setting {
    const char *key;
    bool live;
};

static const struct setting settings[VX_SETTING_COUNT] = {
#define X(name, text, is_live) [VX_SETTING_##name] = {text, is_live},
    VX_CONFIG_SETTING_LIST(X)
#undef X
};

const char *vx_config_setting_key(enum vx_config_setting setting) {
    return settings[setting].key;
}

bool vx_config_setting_live(enum vx_config_setting setting) {
    return settings[setting].live;
}

/* --- Listeners ---------------------------------------------------------------------------------------------------- */

const struct vx_config_listener *vx_config_find_listener(const struct vx_config *config,
                                                         const struct vx_address *address) {
    for (uint32_t i = 0; i < config->listener_count; i++)
        if (vx_address_eq(&config->listeners[i].address, address))
            return &config->listeners[i];
    return NULL;
}

static bool listener_same(const struct vx_config_listener *a, const struct vx_config_listener *b) {
    if (!vx_address_eq(&a->address, &b->address) || a->tls != b->tls ||
        a->proxy_protocol != b->proxy_protocol || a->certificate_count != b->certificate_count ||
        !vx_slice_eq(a->client_ca_path, b->client_ca_path))
        return false;
    for (uint32_t i = 0; i < a->certificate_count; i++)
        if (!vx_slice_eq(a->certificates[i].cert_path, b->certificates[i].cert_path) ||
            !vx_slice_eq(a->certificates[i].key_path, b->certificates[i].key_path))
            return false;
    return true;
}

static void compare_listeners(const struct vx_config *before, const struct vx_config *after,
                              struct vx_config_diff *out) {
    for (uint32_t i = 0; i < after->listener_count; i++) {
        const struct vx_config_listener *now = &after->listeners[i];
        const struct vx_config_listener *old = vx_config_find_listener(before, &now->address);
        out->listeners_added += !old;
        out->listeners_changed += old && !listener_same(old, now);
    }
    for (uint32_t i = 0; i < before->listener_count; i++)
        out->listeners_removed += !vx_config_find_listener(after, &before->listeners[i].address);
}

/* --- Routes ------------------------------------------------------------------------------------------------------- */

static bool same_headers(const struct vx_config_match *a, const struct vx_config_match *b) {
    if (a->header_count != b->header_count)
        return false;
    for (uint32_t i = 0; i < a->header_count; i++)
        if (!vx_slice_eq(a->headers[i].name, b->headers[i].name) ||
            !vx_slice_eq(a->headers[i].value, b->headers[i].value))
            return false;
    return true;
}

static bool same_match(const struct vx_config_match *a, const struct vx_config_match *b) {
    return vx_slice_eq(a->host, b->host) && vx_slice_eq(a->path, b->path) &&
           vx_slice_eq(a->path_prefix, b->path_prefix) && vx_slice_eq(a->method, b->method) &&
           same_headers(a, b);
}

static bool same_backend(const struct vx_config_backend *a, const struct vx_config_backend *b) {
    if (a->id != b->id || !vx_address_eq(&a->address, &b->address) ||
        !vx_slice_eq(a->address_text, b->address_text) || a->weight != b->weight ||
        a->max_connections != b->max_connections || a->ai_model_count != b->ai_model_count)
        return false;
    for (uint32_t i = 0; i < a->ai_model_count; i++)
        if (!vx_slice_eq(a->ai_models[i], b->ai_models[i]))
            return false;
    return true;
}

static bool same_backends(const struct vx_config_route *a, const struct vx_config_route *b) {
    if (a->backend_count != b->backend_count)
        return false;
    for (uint32_t i = 0; i < a->backend_count; i++)
        if (!same_backend(&a->backends[i], &b->backends[i]))
            return false;
    return true;
}

static bool same_tls(const struct vx_config_backend_tls *a, const struct vx_config_backend_tls *b) {
    return a->enabled == b->enabled && vx_slice_eq(a->ca_path, b->ca_path) &&
           vx_slice_eq(a->server_name, b->server_name) && vx_slice_eq(a->cert_path, b->cert_path) &&
           vx_slice_eq(a->key_path, b->key_path);
}

static bool same_checks(const struct vx_config_route *a, const struct vx_config_route *b) {
    const struct vx_config_breaker *p = &a->breaker, *q = &b->breaker;
    const struct vx_config_health_check *g = &a->health_check, *h = &b->health_check;
    return p->failures == q->failures && p->failure_rate_percent == q->failure_rate_percent &&
           p->open_for_ns == q->open_for_ns && p->half_open_requests == q->half_open_requests &&
           g->enabled == h->enabled && vx_slice_eq(g->path, h->path) && g->interval_ns == h->interval_ns &&
           g->timeout_ns == h->timeout_ns && g->healthy == h->healthy && g->unhealthy == h->unhealthy;
}

static bool same_target(const struct vx_config_route *a, const struct vx_config_route *b) {
    return a->http2 == b->http2 && a->balance == b->balance && a->ewma_decay == b->ewma_decay &&
           vx_slice_eq(a->rewrite_path_prefix, b->rewrite_path_prefix) &&
           vx_slice_eq(a->rewrite_host, b->rewrite_host) && vx_slice_eq(a->redirect_to, b->redirect_to) &&
           a->redirect_code == b->redirect_code;
}

static bool same_effort(const struct vx_config_route *a, const struct vx_config_route *b) {
    return a->connect_timeout_ns == b->connect_timeout_ns &&
           a->response_timeout_ns == b->response_timeout_ns && a->idle_timeout_ns == b->idle_timeout_ns &&
           a->pool_idle_ns == b->pool_idle_ns && a->pool_max_age_ns == b->pool_max_age_ns &&
           a->pool_max_requests == b->pool_max_requests && a->pool_max_idle == b->pool_max_idle &&
           a->queue_length == b->queue_length && a->queue_timeout_ns == b->queue_timeout_ns &&
           a->retry_attempts == b->retry_attempts && a->retry_budget_percent == b->retry_budget_percent;
}

static bool same_rate_limit(const struct vx_config_rate_limit *a, const struct vx_config_rate_limit *b) {
    if (a->enabled != b->enabled || a->requests != b->requests || a->per_ns != b->per_ns ||
        a->burst != b->burst || a->key_count != b->key_count || !vx_slice_eq(a->cost_text, b->cost_text) ||
        !vx_slice_eq(a->scope, b->scope))
        return false;
    for (uint32_t i = 0; i < a->key_count; i++)
        if (!vx_slice_eq(a->key_texts[i], b->key_texts[i]))
            return false;
    return true;
}

static bool same_uses(const struct vx_config_route *a, const struct vx_config_route *b) {
    if (a->filters_given != b->filters_given || a->filter_count != b->filter_count)
        return false;
    for (uint32_t i = 0; i < a->filter_count; i++)
        if (!vx_slice_eq(a->filters[i].name, b->filters[i].name))
            return false;
    return true;
}

static bool route_same(const struct vx_config_route *a, const struct vx_config_route *b) {
    return vx_slice_eq(a->name, b->name) && a->has_match == b->has_match &&
           (!a->has_match || same_match(&a->match, &b->match)) && same_backends(a, b) &&
           same_tls(&a->tls, &b->tls) && same_target(a, b) && same_effort(a, b) && same_checks(a, b) &&
           same_rate_limit(&a->rate_limit, &b->rate_limit) && same_uses(a, b);
}

static bool same_store(const struct vx_config_rate_store *a, const struct vx_config_rate_store *b) {
    return a->on_failure == b->on_failure && a->timeout_ns == b->timeout_ns && vx_slice_eq(a->url, b->url) &&
           vx_slice_eq(a->sentinel_user, b->sentinel_user) &&
           vx_slice_eq(a->sentinel_password, b->sentinel_password) &&
           same_tls(&a->tls_settings, &b->tls_settings);
}

static bool compare_routes(const struct vx_config *before, const struct vx_config *after,
                           struct vx_arena *scratch, struct vx_config_diff *out) {
    struct vx_config_names names;
    uint32_t found = 0;
    if (!vx_config_names_build(&names, before, scratch))
        return false;
    for (uint32_t i = 0; i < after->route_count; i++) {
        const struct vx_config_route *old = vx_config_names_find(&names, after->routes[i].name);
        found += old != NULL;
        out->routes_added += !old;
        out->routes_changed += old && !route_same(old, &after->routes[i]);
    }
    out->routes_removed = before->route_count - found; /* names are unique */
    return true;
}

/* --- Settings ----------------------------------------------------------------------------------------------------- */

static bool same_prefixes(const struct vx_prefix *a, uint32_t a_count, const struct vx_prefix *b,
                          uint32_t b_count) {
    if (a_count != b_count)
        return false;
    for (uint32_t i = 0; i < a_count; i++)
        if (a[i].bits != b[i].bits || !vx_address_eq(&a[i].address, &b[i].address))
            return false;
    return true;
}

static bool same_ports(const struct vx_config_xdp *a, const struct vx_config_xdp *b) {
    if (a->amplification_port_count != b->amplification_port_count)
        return false;
    for (uint32_t i = 0; i < a->amplification_port_count; i++)
        if (a->amplification_ports[i] != b->amplification_ports[i])
            return false;
    return true;
}

static bool xdp_same(const struct vx_config_xdp *a, const struct vx_config_xdp *b) {
    return a->mode == b->mode && a->keep_attached == b->keep_attached && vx_slice_eq(a->pin, b->pin) &&
           same_prefixes(a->drop, a->drop_count, b->drop, b->drop_count) &&
           same_prefixes(a->spare, a->spare_count, b->spare, b->spare_count) &&
           a->malformed == b->malformed && a->fragments == b->fragments &&
           a->amplification == b->amplification && same_ports(a, b) && a->syn_rate == b->syn_rate &&
           a->udp_rate == b->udp_rate && a->connection_rate == b->connection_rate;
}

static bool same_bans(const struct vx_config_bans *a, const struct vx_config_bans *b) {
    return a->enabled == b->enabled && a->after == b->after && a->within_ns == b->within_ns &&
           a->duration_ns == b->duration_ns && a->max_duration_ns == b->max_duration_ns &&
           a->sweep_interval_ns == b->sweep_interval_ns &&
           same_prefixes(a->never, a->never_count, b->never, b->never_count) &&
           vx_slice_eq(a->interface, b->interface) && xdp_same(&a->xdp, &b->xdp);
}

static bool same_access_log(const struct vx_config_access_log *a, const struct vx_config_access_log *b) {
    return a->enabled == b->enabled && (!a->enabled || (vx_slice_eq(a->path, b->path) && a->json == b->json));
}

static bool same_timeouts(const struct vx_config_timeouts *a, const struct vx_config_timeouts *b) {
    return a->header_ns == b->header_ns && a->idle_ns == b->idle_ns && a->body_ns == b->body_ns &&
           a->write_ns == b->write_ns && a->handshake_ns == b->handshake_ns;
}

static bool same_limits(const struct vx_config_limits *a, const struct vx_config_limits *b) {
    return a->header_bytes == b->header_bytes && a->headers == b->headers && a->uri_bytes == b->uri_bytes &&
           a->body_bytes == b->body_bytes && a->buffered_body_bytes == b->buffered_body_bytes &&
           a->connections == b->connections && a->concurrent_streams == b->concurrent_streams &&
           a->glitches_a_minute == b->glitches_a_minute;
}

static bool same_filter(const struct vx_config_filter *a, const struct vx_config_filter *b) {
    const struct vx_config_filter_limits *p = &a->limits, *q = &b->limits;
    return vx_slice_eq(a->name, b->name) && vx_slice_eq(a->wasm_path, b->wasm_path) &&
           vx_slice_eq(a->config, b->config) && vx_slice_eq(a->vm_config, b->vm_config) &&
           vx_slice_eq(a->root_id, b->root_id) && vx_slice_eq(a->vm_id, b->vm_id) &&
           a->fails_open == b->fails_open && a->body_continues == b->body_continues &&
           p->memory_bytes == q->memory_bytes && p->time_ns == q->time_ns &&
           p->start_time_ns == q->start_time_ns && p->end_time_ns == q->end_time_ns &&
           p->pause_time_ns == q->pause_time_ns && p->body_bytes == q->body_bytes &&
           p->of_plugins == q->of_plugins;
}

static bool same_filters(const struct vx_config *a, const struct vx_config *b) {
    if (a->filter_count != b->filter_count)
        return false;
    for (uint32_t i = 0; i < a->filter_count; i++)
        if (!same_filter(&a->filters[i], &b->filters[i]))
            return false;
    return true;
}

static bool same_wasm(const struct vx_config_wasm *a, const struct vx_config_wasm *b) {
    return a->instances == b->instances && vx_slice_eq(a->cache_path, b->cache_path);
}

static uint32_t compare_settings(const struct vx_config *a, const struct vx_config *b) {
    const bool same[VX_SETTING_COUNT] = {
        [VX_SETTING_WORKERS] = a->workers == b->workers,
        [VX_SETTING_TRUSTED_PROXIES] = same_prefixes(a->trusted_proxies, a->trusted_proxy_count,
                                                     b->trusted_proxies, b->trusted_proxy_count),
        [VX_SETTING_BANS] = same_bans(&a->bans, &b->bans),
        [VX_SETTING_METRICS] = vx_address_eq(&a->metrics_address, &b->metrics_address),
        [VX_SETTING_ADMIN] = vx_slice_eq(a->admin_socket, b->admin_socket),
        [VX_SETTING_ACCESS_LOG] = same_access_log(&a->access_log, &b->access_log),
        [VX_SETTING_SHUTDOWN] = a->drain_ns == b->drain_ns,
        [VX_SETTING_TIMEOUTS] = same_timeouts(&a->timeouts, &b->timeouts),
        [VX_SETTING_LIMITS] = same_limits(&a->limits, &b->limits),
        [VX_SETTING_FILTERS] = same_filters(a, b),
        [VX_SETTING_WASM] = same_wasm(&a->wasm, &b->wasm),
        [VX_SETTING_NORMALIZE] = a->merge_slashes == b->merge_slashes,
        [VX_SETTING_RATE_LIMIT] = same_rate_limit(&a->default_limit, &b->default_limit) &&
                                  same_store(&a->rate_store, &b->rate_store),
        [VX_SETTING_RATE_LIMIT_MEMORY] = a->rate_store.memory_bytes == b->rate_store.memory_bytes,
    };
    uint32_t differ = 0;
    for (uint32_t i = 0; i < VX_SETTING_COUNT; i++)
        differ |= (uint32_t)!same[i] << i;
    return differ;
}

bool vx_config_diff(const struct vx_config *before, const struct vx_config *after, struct vx_arena *scratch,
                    struct vx_config_diff *out) {
    *out = (struct vx_config_diff){.settings = compare_settings(before, after)};
    compare_listeners(before, after, out);
    return compare_routes(before, after, scratch, out);
}
