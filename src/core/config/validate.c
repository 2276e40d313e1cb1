/* SPDX-License-Identifier: Apache-2.0 */
/* Rules that hold between the values of a configuration, and once more the rules of single texts, because not every
 * source can point at a value as the YAML one does. The first breach is told. */
#include "core/base/decimal.h"
#include "core/base/error.h"
#include "core/config/check.h"
#include "core/config/model.h"
#include "core/config/names.h"
#include "core/config/rate_limit.h"
#include "core/config/rate_store.h"
#include "core/limit/gcra.h"
#include "core/routing/table.h"

static const struct vx_place file_start = {1, 1};

/* --- Writing the sentence ----------------------------------------------------------------------------------------- */

static void append(struct vx_config_error *error, size_t *at, struct vx_slice text) {
    size_t room = sizeof(error->text) - 1 - *at, n = text.len < room ? text.len : room;
    if (n)
        memcpy(error->text + *at, text.ptr, n);
    *at += n;
    error->text[*at] = '\0';
}

static bool write_fault(struct vx_config_error *error, struct vx_place place, const struct vx_slice *parts,
                        size_t count) {
    size_t at = 0;
    error->place = place;
    error->text[0] = '\0';
    for (size_t i = 0; i < count; i++)
        append(error, &at, parts[i]);
    return false;
}

/* The sentence is put together from slices; the core has no printf. Always false. */
#define FAULT(error, place, ...)                                                                             \
    write_fault(error, place, (const struct vx_slice[]){__VA_ARGS__},                                        \
                sizeof((const struct vx_slice[]){__VA_ARGS__}) / sizeof(struct vx_slice))
#define S(literal) VX_SLICE(literal)

struct digits {
    char text[VX_DECIMAL_MAX_BYTES];
};

static struct vx_slice decimal(uint32_t n, struct digits *out) {
    return vx_decimal(n, out->text);
}

static bool no_memory(struct vx_config_error *error) {
    return FAULT(error, file_start, S("not enough memory for this configuration"));
}

/* --- Listeners ---------------------------------------------------------------------------------------------------- */

static bool is_any(const struct vx_address *a) {
    static const uint8_t zero[16];
    return (a->kind == VX_ADDRESS_IP4 || a->kind == VX_ADDRESS_IP6) && memcmp(a->ip, zero, sizeof(zero)) == 0;
}

/* Whether connections to one of the two could land at the other. The kernel refuses to bind such a pair. */
static bool overlap(const struct vx_address *a, const struct vx_address *b) {
    return vx_address_eq(a, b) || (a->kind == b->kind && a->port == b->port && (is_any(a) || is_any(b)));
}

/* [::] takes IPv4 connections too, as long as no listener for IPv4 wants the port. */
static bool takes_ip4_too(const struct vx_address *any, const struct vx_address *other) {
    return any->kind == VX_ADDRESS_IP6 && is_any(any) && other->kind == VX_ADDRESS_IP4 &&
           any->port == other->port;
}

static bool check_listener(const struct vx_config_listener *l, struct vx_config_error *error) {
    if (l->address.kind == VX_ADDRESS_NONE || l->address.kind == VX_ADDRESS_NAME)
        return FAULT(error, l->place,
                     S("a listener's address must be an IP address with a port, or a UNIX socket"));
    if (l->tls && l->certificate_count == 0)
        return FAULT(error, l->place, S("a listener with tls needs a certificate"));
    return true;
}

static bool check_metrics(const struct vx_config *c, const struct vx_config_listener *l,
                          struct vx_config_error *error) {
    char listener[VX_ADDRESS_TEXT_MAX], metrics[VX_ADDRESS_TEXT_MAX];
    const struct vx_address *m = &c->metrics_address;
    if (m->kind == VX_ADDRESS_NONE ||
        (!overlap(&l->address, m) && !takes_ip4_too(&l->address, m) && !takes_ip4_too(m, &l->address)))
        return true;
    struct vx_place place = c->metrics_place.line ? c->metrics_place : l->place;
    struct vx_slice theirs = vx_slice(listener, vx_address_format(&l->address, listener));
    struct vx_slice ours = vx_slice(metrics, vx_address_format(m, metrics));
    return FAULT(error, place, S("the metrics on "), ours, S(" and the listener on "), theirs,
                 S(" collide; give one of them another address (`metrics.address`)"));
}

static bool check_pair(const struct vx_config_listener *first, const struct vx_config_listener *second,
                       struct vx_config_error *error) {
    char text[VX_ADDRESS_TEXT_MAX];
    struct digits line;
    if (!overlap(&first->address, &second->address))
        return true;
    struct vx_slice address = vx_slice(text, vx_address_format(&second->address, text));
    bool same = vx_address_eq(&first->address, &second->address);
    return FAULT(error, second->place, S("the listener on "), address,
                 same ? S(" is there already, in line ")
                      : S(" takes the same connections as the one in line "),
                 decimal(first->place.line, &line), S("; remove one of them"));
}

static bool check_listeners(const struct vx_config *c, struct vx_config_error *error) {
    if (c->listener_count == 0)
        return FAULT(error, file_start, S("`listeners` is empty; there must be at least one"));
    for (uint32_t i = 0; i < c->listener_count; i++) {
        const struct vx_config_listener *l = &c->listeners[i];
        if (!check_listener(l, error))
            return false;
        for (uint32_t k = 0; k < i; k++)
            if (!check_pair(&c->listeners[k], l, error))
                return false;
        if (!check_metrics(c, l, error))
            return false;
    }
    return true;
}

/* Whether two UNIX sockets of the file are one. */
static bool check_admin(const struct vx_config *c, struct vx_config_error *error) {
    const struct vx_address admin = {.kind = VX_ADDRESS_UNIX, .text = c->admin_socket};
    bool taken = vx_address_eq(&admin, &c->metrics_address);
    if (admin.text.len > VX_ADDRESS_UNIX_MAX_BYTES)
        return FAULT(error, c->admin_place,
                     S("`admin.socket` must be a path whose absolute form has at most 107 bytes"));
    for (uint32_t i = 0; i < c->listener_count; i++)
        taken = taken || vx_address_eq(&admin, &c->listeners[i].address);
    return !taken ||
           FAULT(error, c->admin_place,
                 S("`admin.socket` is the address of a listener or of the metrics; give it its own"));
}

/* --- One route ---------------------------------------------------------------------------------------------------- */

static bool check_text(struct vx_place place, const char *key, struct vx_slice text,
                       bool (*check)(struct vx_slice, const char **), struct vx_config_error *error) {
    const char *must;
    if (check(text, &must))
        return true;
    return FAULT(error, place, S("`"), vx_slice_of(key), S("` must be "), vx_slice_of(must));
}

static bool check_optional(struct vx_place place, const char *key, struct vx_slice text,
                           bool (*check)(struct vx_slice, const char **), struct vx_config_error *error) {
    return text.len == 0 || check_text(place, key, text, check, error);
}

/* A doubled slash in a path that is compared after slashes are merged can never match. */
static bool check_slashes(const struct vx_config *c, struct vx_place place, struct vx_slice path,
                          struct vx_config_error *error) {
    for (size_t i = 1; c->merge_slashes && i < path.len; i++)
        if (path.ptr[i] == '/' && path.ptr[i - 1] == '/')
            return FAULT(error, place, S("`"), path,
                         S("` can match nothing, as `normalize.merge_slashes` makes `//` a single `/`"));
    return true;
}

static bool check_match(const struct vx_config *c, const struct vx_config_route *r,
                        struct vx_config_error *error) {
    const struct vx_config_match *m = &r->match;
    if (m->path.len && m->path_prefix.len)
        return FAULT(error, r->place, S("`match` has either `path` or `path_prefix`, not both"));
    if (!check_optional(r->place, "host", m->host, vx_config_check_host_pattern, error) ||
        !check_optional(r->place, "path", m->path, vx_config_check_path, error) ||
        !check_optional(r->place, "path_prefix", m->path_prefix, vx_config_check_path, error) ||
        !check_optional(r->place, "method", m->method, vx_config_check_method, error) ||
        !check_slashes(c, r->place, m->path, error) || !check_slashes(c, r->place, m->path_prefix, error))
        return false;
    for (uint32_t i = 0; i < m->header_count; i++)
        if (!check_text(r->place, "headers", m->headers[i].name, vx_config_check_header_name, error) ||
            !check_text(r->place, "headers", m->headers[i].value, vx_config_check_header_value, error))
            return false;
    return true;
}

static bool check_target(const struct vx_config_route *r, struct vx_config_error *error) {
    if (!r->redirect_to.len) {
        if (r->backend_count == 0)
            return FAULT(error, r->place, S("this route has no `backends`; give it some, or a `redirect`"));
        return check_optional(r->place, "rewrite.path_prefix", r->rewrite_path_prefix, vx_config_check_path,
                              error) &&
               check_optional(r->place, "rewrite.host", r->rewrite_host, vx_config_check_authority, error);
    }
    if (r->backend_count)
        return FAULT(error, r->place, S("a route has either `backends` or `redirect`, not both"));
    if (!r->has_match)
        return FAULT(error, r->place,
                     S("a route with `redirect` needs a `match`, as nothing else leads to it"));
    if (r->rewrite_path_prefix.len || r->rewrite_host.len)
        return FAULT(error, r->place, S("`rewrite` does nothing in a route with `redirect`; remove it"));
    uint16_t code = r->redirect_code;
    if (code != 301 && code != 302 && code != 303 && code != 307 && code != 308)
        return FAULT(error, r->place, S("the code of a redirect must be 301, 302, 303, 307 or 308"));
    return check_text(r->place, "redirect.to", r->redirect_to, vx_config_check_location, error);
}

static bool check_backends(const struct vx_config_route *r, struct vx_config_error *error) {
    struct digits id, line;
    for (uint32_t i = 0; i < r->backend_count; i++) {
        const struct vx_config_backend *b = &r->backends[i];
        if (b->address.kind == VX_ADDRESS_NONE)
            return FAULT(error, b->place, S("a backend needs an `address`"));
        if (b->weight == 0)
            return FAULT(error, b->place, S("`weight` must be at least 1"));
        for (uint32_t k = 0; k < i; k++)
            if (b->id == r->backends[k].id)
                return FAULT(error, b->place, S("two backends of this route have the id "),
                             decimal(b->id, &id), S(", the other one in line "),
                             decimal(r->backends[k].place.line, &line), S("; give each its own"));
        for (uint32_t k = 0; k < b->ai_model_count; k++)
            if (!check_text(b->place, "ai_models", b->ai_models[k], vx_config_check_model, error))
                return false;
        if (r->tls.enabled && b->address.kind == VX_ADDRESS_UNIX && !r->tls.server_name.len)
            return FAULT(error, r->tls.place,
                         S("`server_name` is needed in tls, as a UNIX socket has no name to verify"));
    }
    return true;
}

static bool check_tls(const struct vx_config_backend_tls *tls, struct vx_config_error *error) {
    if ((tls->cert_path.len != 0) != (tls->key_path.len != 0))
        return FAULT(error, tls->place,
                     S("`cert` and `key` of a route's tls belong together; give both or none"));
    return check_optional(tls->place, "server_name", tls->server_name, vx_config_check_server_name, error);
}

static bool check_health(const struct vx_config_route *r, struct vx_config_error *error) {
    const struct vx_config_health_check *h = &r->health_check;
    if (!h->enabled)
        return true;
    if (h->timeout_ns == 0 || h->timeout_ns > h->interval_ns || h->healthy == 0 || h->unhealthy == 0)
        return FAULT(
            error, r->place,
            S("a health check needs counts of at least 1 and a timeout not longer than its interval"));
    return check_text(r->place, "health_check.path", h->path, vx_config_check_request_target, error);
}

static bool check_policy(const struct vx_config_route *r, struct vx_config_error *error) {
    if (!(r->ewma_decay >= 0 && r->ewma_decay < 1))
        return FAULT(error, r->place, S("`ewma_decay` must be a number from 0 to below 1"));
    if (r->connect_timeout_ns == 0 || r->response_timeout_ns == 0 || r->idle_timeout_ns == 0)
        return FAULT(error, r->place, S("a route's timeouts must be longer than 0"));
    const struct vx_config_breaker *b = &r->breaker;
    if ((b->failures || b->failure_rate_percent) && (b->open_for_ns == 0 || b->half_open_requests == 0))
        return FAULT(error, r->place,
                     S("`open_for` and `half_open_requests` of a circuit breaker must not be 0"));
    return true;
}

static bool check_rate_limit(const struct vx_config_rate_limit *l, struct vx_config_error *error) {
    struct digits burst;
    if (!l->enabled)
        return true;
    if (!l->requests || !l->per_ns || !l->burst)
        return FAULT(error, l->place, S("`requests`, `per` and `burst` of a rate_limit must not be 0"));
    struct vx_gcra g = vx_gcra(l->requests, l->per_ns, l->burst);
    if (g.interval_ns > VX_GCRA_CAPACITY_MAX_NS / g.burst)
        return FAULT(error, l->place, S("a burst of "), decimal(g.burst, &burst),
                     S(" at this rate takes more than 104 days to earn; make `burst` smaller"));
    for (uint32_t i = 0; i < l->key_count; i++)
        if (!check_text(l->place, "key", l->key_texts[i], vx_config_check_limit_key, error))
            return false;
    if (l->key_count > VX_LIMIT_PARTS_MAX)
        return FAULT(error, l->place, S("`key` of a rate_limit has at most 8 parts"));
    return check_optional(l->place, "cost", l->cost_text, vx_config_check_limit_cost, error);
}

static bool check_rate_store(const struct vx_config_rate_store *s, struct vx_config_error *error) {
    if (!s->present)
        return true;
    return check_text(s->place, "rate_limit.store", s->url, vx_config_check_store, error) &&
           check_optional(s->place, "rate_limit.sentinel_username", s->sentinel_user, vx_config_check_model,
                          error) &&
           check_optional(s->place, "rate_limit.sentinel_password", s->sentinel_password,
                          vx_config_check_model, error) &&
           check_tls(&s->tls_settings, error);
}

static bool check_route(const struct vx_config *c, const struct vx_config_route *r,
                        struct vx_config_error *error) {
    return check_text(r->place, "name", r->name, vx_config_check_name, error) &&
           (!r->has_match || check_match(c, r, error)) && check_target(r, error) &&
           check_backends(r, error) && check_tls(&r->tls, error) && check_policy(r, error) &&
           check_health(r, error) && check_rate_limit(&r->rate_limit, error);
}

/* --- Filters ------------------------------------------------------------------------------------------------------ */

static const struct vx_config_filter *find_filter(const struct vx_config *c, uint32_t count,
                                                  struct vx_slice name) {
    for (uint32_t i = 0; i < count; i++)
        if (vx_slice_eq(c->filters[i].name, name))
            return &c->filters[i];
    return NULL;
}

static bool check_filters(const struct vx_config *c, struct vx_config_error *error) {
    struct digits line;
    for (uint32_t i = 0; i < c->filter_count; i++) {
        const struct vx_config_filter *f = &c->filters[i];
        const struct vx_config_filter *twin = find_filter(c, i, f->name);
        if (!check_text(f->place, "name", f->name, vx_config_check_name, error))
            return false;
        if (twin)
            return FAULT(error, f->place, S("two filters are named `"), f->name,
                         S("`, the other one in line "), decimal(twin->place.line, &line),
                         S("; give each a `name` of its own"));
        if (!f->limits.memory_bytes || !f->limits.time_ns || !f->limits.start_time_ns ||
            !f->limits.pause_time_ns)
            return FAULT(error, f->place, S("a filter's `limits` of memory and time must not be 0"));
    }
    return true;
}

static bool check_filter_uses(const struct vx_config *c, const struct vx_config_route *r,
                              struct vx_config_error *error) {
    struct digits most;
    struct vx_place place = r->filters_given && r->filter_count ? r->filters[0].place : r->place;
    if ((r->filters_given ? r->filter_count : c->filter_count) > VX_CONFIG_FILTERS_MAX)
        return FAULT(error, place, S("a request may pass at most "), decimal(VX_CONFIG_FILTERS_MAX, &most),
                     S(" filters; give the route a shorter list of `filters`"));
    for (uint32_t i = 0; i < r->filter_count; i++) {
        const struct vx_config_filter_use *use = &r->filters[i];
        if (!find_filter(c, c->filter_count, use->name))
            return FAULT(error, use->place, S("there is no filter named `"), use->name,
                         S("`; `filters` of the whole file lists those there are"));
        for (uint32_t k = 0; k < i; k++)
            if (vx_slice_eq(r->filters[k].name, use->name))
                return FAULT(error, use->place, S("the filter `"), use->name,
                             S("` stands twice in this route; keep one"));
    }
    return true;
}

/* --- Routes among each other -------------------------------------------------------------------------------------- */

static bool check_names(const struct vx_config *c, struct vx_arena *scratch, struct vx_config_error *error) {
    struct vx_config_names names;
    struct digits line;
    if (!vx_config_names_build(&names, c, scratch))
        return no_memory(error);
    for (uint32_t i = 1; i < c->route_count; i++) {
        const struct vx_config_route *a = &c->routes[names.order[i - 1]], *b = &c->routes[names.order[i]];
        if (vx_slice_eq(a->name, b->name))
            return FAULT(error, b->place, S("two routes are named `"), b->name,
                         S("`, the other one in line "), decimal(a->place.line, &line),
                         S("; give each a `name` of its own"));
    }
    return true;
}

static bool check_matches(const struct vx_config *c, struct vx_arena *scratch,
                          struct vx_config_error *error) {
    struct vx_route_entry *entries = vx_arena_alloc(scratch, sizeof(*entries) * c->route_count);
    struct vx_route_duplicate twins = {VX_ROUTE_NONE, VX_ROUTE_NONE};
    struct digits line;
    uint32_t count = 0;
    if (!entries)
        return no_memory(error);
    for (uint32_t i = 0; i < c->route_count; i++)
        if (c->routes[i].has_match)
            entries[count++] = (struct vx_route_entry){.match = &c->routes[i].match, .index = i};
    if (count == 0)
        return FAULT(error, c->routes[0].place,
                     S("no route has a `match`, so none would take requests; give one "
                       "`match: {}` to take all"));
    if (!vx_route_table_build(scratch, entries, count, &twins))
        return no_memory(error);
    if (twins.first == VX_ROUTE_NONE)
        return true;
    const struct vx_config_route *first = &c->routes[twins.first], *second = &c->routes[twins.second];
    return FAULT(error, second->place, S("route `"), second->name, S("` matches exactly what `"), first->name,
                 S("` in line "), decimal(first->place.line, &line),
                 S(" does, so it would never be used; change one"));
}

static bool check_routes(const struct vx_config *c, struct vx_arena *scratch, struct vx_config_error *error) {
    if (c->route_count == 0)
        return FAULT(error, file_start, S("`routes` is empty; there must be at least one"));
    for (uint32_t i = 0; i < c->route_count; i++)
        if (!check_route(c, &c->routes[i], error) || !check_filter_uses(c, &c->routes[i], error))
            return false;
    return check_names(c, scratch, error) && check_matches(c, scratch, error);
}

static bool check_limits(const struct vx_config *c, struct vx_config_error *error) {
    const struct vx_config_limits *l = &c->limits;
    const struct vx_config_timeouts *t = &c->timeouts;
    if (l->uri_bytes > l->header_bytes)
        return FAULT(error, file_start, S("`limits.uri_bytes` must not be more than `header_bytes`"));
    if (l->header_bytes == 0 || l->headers == 0 || l->uri_bytes == 0)
        return FAULT(error, file_start, S("`limits` of a request's head must not be 0"));
    if (!t->header_ns || !t->idle_ns || !t->body_ns || !t->write_ns || !t->handshake_ns)
        return FAULT(error, file_start, S("`timeouts` must be longer than 0"));
    return true;
}

static bool check_bans(const struct vx_config *c, struct vx_config_error *error) {
    const struct vx_config_bans *b = &c->bans;
    if (!b->enabled)
        return true;
    if (!b->after || !b->within_ns || !b->duration_ns || !b->sweep_interval_ns)
        return FAULT(error, file_start,
                     S("`after`, `within`, `duration` and `sweep_interval` of `bans` must not be 0"));
    if (b->max_duration_ns < b->duration_ns)
        return FAULT(error, file_start, S("`bans.max_duration` must not be shorter than `bans.duration`"));
    return check_optional(file_start, "bans.interface", b->interface, vx_config_check_interface, error);
}

bool vx_config_validate(const struct vx_config *config, struct vx_arena *scratch,
                        struct vx_config_error *error) {
    return check_listeners(config, error) && check_admin(config, error) && check_limits(config, error) &&
           check_filters(config, error) && check_bans(config, error) &&
           check_rate_limit(&config->default_limit, error) && check_rate_store(&config->rate_store, error) &&
           check_routes(config, scratch, error);
}
