/* SPDX-License-Identifier: Apache-2.0 */
/* See finish.h. */
#include "admin/yaml/finish.h"

#include "admin/yaml/fault.h"
#include "admin/yaml/read.h"

static bool missing(struct vx_yaml_reader *r, const struct vx_yaml_node *node, const char *key,
                    const char *noun) {
    return vx_yaml_fault(r->error, node->place, "`%s` is missing in %s", key, noun);
}

bool vx_yaml_finish_listener_tls(struct vx_yaml_reader *r, void *self, void *parent,
                                 const struct vx_yaml_node *node) {
    const struct vx_yaml_listener_tls *tls = self;
    struct vx_config_listener *listener = parent;
    bool single = tls->single.cert_path.len || tls->single.key_path.len;
    listener->client_ca_path = tls->client_ca_path;
    if (single && tls->certificate_count)
        return vx_yaml_fault(r->error, node->place,
                             "a listener's tls has either `cert` and `key` or `certificates`, not both");
    if (!single && !tls->certificate_count)
        return vx_yaml_fault(r->error, node->place,
                             "a listener's tls needs `cert` and `key`, or a list of them as `certificates`");
    if (!single) {
        listener->certificates = tls->certificates;
        listener->certificate_count = tls->certificate_count;
        return true;
    }
    if (!tls->single.cert_path.len)
        return missing(r, node, "cert", "a listener's tls");
    if (!tls->single.key_path.len)
        return missing(r, node, "key", "a listener's tls");
    listener->certificates = vx_arena_alloc(r->arena, sizeof(*listener->certificates));
    if (!listener->certificates)
        return vx_yaml_no_memory(r->error);
    listener->certificates[0] = tls->single;
    listener->certificate_count = 1;
    return true;
}

bool vx_yaml_finish_match(struct vx_yaml_reader *r, void *self, void *parent,
                          const struct vx_yaml_node *node) {
    struct vx_config_match *match = self;
    (void)parent;
    if (match->path.len && match->path_prefix.len)
        return vx_yaml_fault(r->error, vx_yaml_find(node, "path_prefix")->place,
                             "`match` has either `path` or `path_prefix`, not both");
    match->host = vx_yaml_lower(r, match->host);
    if (!match->host.ptr)
        return vx_yaml_no_memory(r->error);
    if (match->host.ptr[match->host.len - 1] == '.')
        match->host.len--;
    return true;
}

bool vx_yaml_finish_backend(struct vx_yaml_reader *r, void *self, void *parent,
                            const struct vx_yaml_node *node) {
    struct vx_config_backend *backend = self;
    (void)parent;
    backend->address_text = vx_arena_copy(r->arena, vx_yaml_find(node, "address")->text);
    return backend->address_text.ptr || vx_yaml_no_memory(r->error);
}

bool vx_yaml_finish_health_check(struct vx_yaml_reader *r, void *self, void *parent,
                                 const struct vx_yaml_node *node) {
    struct vx_config_health_check *check = self;
    const struct vx_yaml_node *timeout = vx_yaml_find(node, "timeout");
    (void)parent;
    if (check->timeout_ns <= check->interval_ns)
        return true;
    if (timeout)
        return vx_yaml_fault(r->error, timeout->place, "`timeout` must not be longer than `interval`");
    check->timeout_ns = check->interval_ns;
    return true;
}

bool vx_yaml_finish_limits(struct vx_yaml_reader *r, void *self, void *parent,
                           const struct vx_yaml_node *node) {
    struct vx_config_limits *limits = self;
    const struct vx_yaml_node *uri = vx_yaml_find(node, "uri_bytes");
    (void)parent;
    if (limits->uri_bytes <= limits->header_bytes)
        return true;
    if (uri)
        return vx_yaml_fault(r->error, uri->place, "`uri_bytes` must not be more than `header_bytes`");
    limits->uri_bytes = limits->header_bytes;
    return true;
}

/* Host and path: a name that does not change when the order of the file does, as state and metrics hang on it. */
static bool name_by_match(struct vx_yaml_reader *r, struct vx_config_route *route) {
    const struct vx_config_match *match = &route->match;
    struct vx_slice path = match->path.len ? match->path : match->path_prefix;
    if (!path.len)
        path = VX_SLICE("/");
    const struct vx_slice parts[] = {match->host, path};
    route->name = vx_arena_join(r->arena, parts, 2);
    return route->name.ptr || vx_yaml_no_memory(r->error);
}

bool vx_yaml_finish_route(struct vx_yaml_reader *r, void *self, void *parent,
                          const struct vx_yaml_node *node) {
    struct vx_config_route *route = self;
    const struct vx_yaml_node *backends = vx_yaml_find(node, "backends");
    uint32_t position = 0;
    (void)parent;
    route->filters_given = vx_yaml_find(node, "filters") != NULL;
    for (const struct vx_yaml_item *item = backends ? backends->items : NULL; item;
         item = item->next, position++)
        if (!vx_yaml_find(item->value, "id"))
            route->backends[position].id = position + 1;
    if (route->name.len)
        return true;
    if (!route->has_match)
        return missing(r, node, "name", "a route without `match`");
    return name_by_match(r, route);
}
