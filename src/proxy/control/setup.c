/* SPDX-License-Identifier: Apache-2.0 */
/* See setup.h. */
#include "proxy/control/setup.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/hash.h"
#include "proxy/compose.h"

enum { FILE_PIECE_BYTES = 16384 };

static const struct vx_slice server_alpn[] = {{"h2", 2}, {"http/1.1", 8}};
static const struct vx_slice http1_alpn = {"http/1.1", 8}, http2_alpn = {"h2", 2};
static const struct vx_hash_key identity_key = {1, 2}; /* no secret: only equality counts */

static void out_of_memory(struct vx_config_error *error) {
    *error = (struct vx_config_error){{0, 0}, "out of memory"};
}

static bool load_servers(struct vx_setup *s, struct vx_tls_tickets *tickets, struct vx_config_error *error) {
    for (uint32_t i = 0; i < s->config->listener_count; i++) {
        const struct vx_config_listener *listener = &s->config->listeners[i];
        struct vx_tls_problem problem;
        if (!listener->tls)
            continue;
        s->servers[i] = vx_tls_server_new(listener, server_alpn, 2, tickets, &problem);
        if (s->servers[i])
            continue;
        error->place = listener->place;
        if (problem.certificate < listener->certificate_count) {
            const struct vx_config_certificate *certificate = &listener->certificates[problem.certificate];
            error->place = problem.key ? certificate->key_place : certificate->place;
        }
        snprintf(error->text, sizeof error->text, "%s", problem.text);
        return false;
    }
    return true;
}

static uint64_t mix(uint64_t hash, const void *bytes, size_t len) {
    return vx_hash_sip(&identity_key, vx_slice(bytes, len)) ^ (hash * 0x9e3779b97f4a7c15u + 1);
}

/* A file's name and contents; a file that cannot be read was reported before. */
static uint64_t mix_file(uint64_t hash, struct vx_slice path) {
    char name[4096], piece[FILE_PIECE_BYTES];
    hash = mix(hash, path.ptr, path.len);
    if (!path.len || path.len >= sizeof name)
        return hash;
    memcpy(name, path.ptr, path.len);
    name[path.len] = '\0';
    FILE *file = fopen(name, "rbe");
    if (!file)
        return hash;
    for (size_t n; (n = fread(piece, 1, sizeof piece, file)) > 0;)
        hash = mix(hash, piece, n);
    fclose(file);
    return hash;
}

static uint64_t identify(const struct vx_config_backend_tls *tls) {
    uint64_t hash = mix(1, tls->server_name.ptr, tls->server_name.len);
    hash = mix_file(hash, tls->ca_path);
    hash = mix_file(hash, tls->cert_path);
    hash = mix_file(hash, tls->key_path);
    return hash ? hash : 1;
}

/* What keeps the connections of one route from being used for another one to the same address. */
static uint64_t identify_route(const struct vx_config_route *route) {
    uint64_t hash = route->tls.enabled ? identify(&route->tls) : 0;
    return route->http2 ? mix(hash, &route->http2, sizeof route->http2) : hash;
}

static bool load_clients(struct vx_setup *s, struct vx_config_error *error) {
    for (uint32_t i = 0; i < s->config->route_count; i++) {
        const struct vx_config_route *route = &s->config->routes[i];
        const struct vx_config_backend_tls *tls = &route->tls;
        struct vx_tls_problem problem;
        s->client_identities[i] = identify_route(route);
        if (!tls->enabled)
            continue;
        for (uint32_t j = 0; j < i && !s->clients[i]; j++)
            if (s->clients[j] && s->client_identities[j] == s->client_identities[i])
                s->clients[i] = vx_tls_client_hold(s->clients[j]);
        if (!s->clients[i])
            s->clients[i] = vx_tls_client_new(tls, route->http2 ? &http2_alpn : &http1_alpn, 1, &problem);
        if (!s->clients[i]) {
            error->place = tls->place;
            snprintf(error->text, sizeof error->text, "%s", problem.text);
            return false;
        }
    }
    return true;
}

/* Filters */

static bool load_filter(struct vx_setup *s, uint32_t index, struct vx_slice binary,
                        struct vx_config_error *error) {
    struct vx_setup_filter *f = calloc(1, sizeof *f);
    if (!f) {
        out_of_memory(error);
        return false;
    }
    f->filter = s->engine->load(s->engine, &s->config->filters[index], binary, error);
    if (!f->filter) {
        free(f);
        return false;
    }
    f->holders = 1;
    f->pushed = binary.len > 0;
    s->loaded[index] = f;
    s->filters[index] = f->filter;
    return true;
}

static void drop_filters(struct vx_setup *s) {
    for (uint32_t i = 0; s->loaded && i < s->config->filter_count; i++) {
        struct vx_setup_filter *f = s->loaded[i];
        if (!f || --f->holders)
            continue;
        s->engine->drop(s->engine, f->filter);
        free(f);
    }
    free(s->loaded);
    free(s->filters);
    s->loaded = NULL;
    s->filters = NULL;
}

static bool load_filters(struct vx_setup *s, struct vx_config_error *error) {
    if (s->config->filter_count && !s->engine) {
        *error =
            (struct vx_config_error){s->config->filters[0].place, "there is nothing here to run filters"};
        return false;
    }
    if (s->engine)
        s->engine->configure(s->engine, &s->config->wasm);
    for (uint32_t i = 0; i < s->config->filter_count; i++)
        if (!load_filter(s, i, VX_SLICE_NONE, error))
            return false;
    return true;
}

/* The Redis of rate limits. */
static bool load_store(struct vx_setup *s, struct vx_config_error *error) {
    const struct vx_config_rate_store *store = &s->config->rate_store;
    struct vx_tls_problem problem;
    if (store->kind == VX_RATE_STORE_MEMORY)
        return true;
    uint64_t hash = mix(identify(&store->tls_settings), store->url.ptr, store->url.len);
    hash = mix(hash, &store->timeout_ns, sizeof store->timeout_ns);
    hash = mix(hash, &store->on_failure, sizeof store->on_failure);
    hash = mix(hash, store->sentinel_user.ptr, store->sentinel_user.len);
    hash = mix(hash, store->sentinel_password.ptr, store->sentinel_password.len);
    s->store_identity = hash ? hash : 1;
    if (!store->tls)
        return true;
    s->store_tls = vx_tls_client_new(&store->tls_settings, NULL, 0, &problem);
    if (!s->store_tls) {
        error->place = store->tls_settings.place.line ? store->tls_settings.place : store->place;
        snprintf(error->text, sizeof error->text, "%s", problem.text);
    }
    return s->store_tls != NULL;
}

/* Setups */

static bool make_filter_room(struct vx_setup *s) {
    s->filters = calloc(s->config->filter_count + 1, sizeof *s->filters);
    s->loaded = calloc(s->config->filter_count + 1, sizeof *s->loaded);
    return s->filters && s->loaded;
}

struct vx_setup *vx_setup_load(const char *path, struct vx_tls_tickets *tickets,
                               struct vx_filter_engine *filters, struct vx_config_error *error) {
    struct vx_config *config = vx_compose_config_source()->load(path, error);
    if (!config)
        return NULL;
    struct vx_setup *s = calloc(1, sizeof *s);
    if (!s) {
        vx_compose_config_source()->free(config);
        out_of_memory(error);
        return NULL;
    }
    s->config = config;
    s->holders = s->keepers = s->sharers = 1;
    s->origin = s;
    s->engine = filters;
    s->servers = calloc(config->listener_count + 1, sizeof *s->servers);
    s->clients = calloc(config->route_count + 1, sizeof *s->clients);
    s->client_identities = calloc(config->route_count + 1, sizeof *s->client_identities);
    bool memory = s->servers && s->clients && s->client_identities && make_filter_room(s);
    if (!memory)
        out_of_memory(error);
    if (memory && load_servers(s, tickets, error) && load_clients(s, error) && load_store(s, error) &&
        load_filters(s, error))
        return s;
    vx_setup_drop(s);
    return NULL;
}

struct vx_setup *vx_setup_with_filter(struct vx_setup *from, uint32_t index, struct vx_slice binary,
                                      struct vx_config_error *error) {
    struct vx_setup *s = malloc(sizeof *s);
    if (!s) {
        out_of_memory(error);
        return NULL;
    }
    *s = *from;
    s->holders = s->keepers = 1;
    s->sharers = 0;
    s->origin->sharers++;
    bool memory = make_filter_room(s);
    if (!memory)
        out_of_memory(error);
    if (memory && load_filter(s, index, binary, error)) {
        for (uint32_t i = 0; i < s->config->filter_count; i++) {
            if (i == index)
                continue;
            s->loaded[i] = from->loaded[i];
            s->loaded[i]->holders++;
            s->filters[i] = from->filters[i];
        }
        return s;
    }
    vx_setup_drop(s);
    return NULL;
}

struct vx_setup *vx_setup_hold(struct vx_setup *s) {
    s->holders++;
    return s;
}

/* The origin's configuration and certificates: no setup has them any more. */
static void free_origin(struct vx_setup *s) {
    for (uint32_t i = 0; s->servers && i < s->config->listener_count; i++)
        if (s->servers[i])
            vx_tls_server_drop(s->servers[i]);
    for (uint32_t i = 0; s->clients && i < s->config->route_count; i++)
        if (s->clients[i])
            vx_tls_client_drop(s->clients[i]);
    if (s->store_tls)
        vx_tls_client_drop(s->store_tls);
    free(s->servers);
    free(s->clients);
    free(s->client_identities);
    vx_compose_config_source()->free(s->config);
    free(s);
}

void vx_setup_drop(struct vx_setup *s) {
    if (!s || --s->holders)
        return;
    drop_filters(s);
    vx_setup_release(s);
}

struct vx_setup *vx_setup_keep(struct vx_setup *s) {
    s->keepers++;
    return s;
}

void vx_setup_release(struct vx_setup *s) {
    if (--s->keepers)
        return;
    struct vx_setup *origin = s->origin;
    if (s != origin)
        free(s);
    if (--origin->sharers == 0)
        free_origin(origin);
}
