/* SPDX-License-Identifier: Apache-2.0 */
/* See finish_limit.h. */
#include "admin/yaml/finish_limit.h"

#include "admin/yaml/fault.h"
#include "admin/yaml/read.h"
#include "core/config/rate_limit.h"
#include "core/config/rate_store.h"

/* Keys that say how much is let through mean nothing without `requests`. */
static bool refuse_stray(struct vx_yaml_reader *r, const struct vx_yaml_node *node) {
    static const char *const keys[] = {"per", "burst", "key", "cost"};
    for (unsigned i = 0; i < sizeof keys / sizeof *keys; i++) {
        const struct vx_yaml_node *value = vx_yaml_find(node, keys[i]);
        if (value)
            return vx_yaml_fault(r->error, value->place,
                                 "`%s` of a rate_limit does nothing without `requests`", keys[i]);
    }
    return true;
}

/* Credentials that nobody would be shown, or that are only half there. */
static bool check_sentinel_login(struct vx_yaml_reader *r, const struct vx_config_rate_store *store,
                                 const struct vx_yaml_node *node) {
    const struct vx_yaml_node *user = vx_yaml_find(node, "sentinel_username");
    const struct vx_yaml_node *password = vx_yaml_find(node, "sentinel_password");
    if ((user || password) && store->kind != VX_RATE_STORE_SENTINEL)
        return vx_yaml_fault(r->error, user ? user->place : password->place,
                             "`%s` needs a `store` that begins with `redis+sentinel` or `rediss+sentinel`",
                             user ? "sentinel_username" : "sentinel_password");
    if (password && !store->sentinel_password.len)
        return vx_yaml_fault(r->error, password->place,
                             "`sentinel_password` must not be empty; leave it out where Sentinels want none");
    return !user || password ||
           vx_yaml_fault(r->error, user->place, "`sentinel_username` needs a `sentinel_password`");
}

bool vx_yaml_finish_default_limit(struct vx_yaml_reader *r, void *self, void *parent,
                                  const struct vx_yaml_node *node) {
    struct vx_config *config = self;
    struct vx_config_rate_limit *limit = &config->default_limit;
    struct vx_config_rate_store *store = &config->rate_store;
    const struct vx_yaml_node *tls = vx_yaml_find(node, "tls");
    (void)parent;
    if (!vx_config_complete_store(store, r->arena))
        return vx_yaml_no_memory(r->error);
    if (tls && !store->tls)
        return vx_yaml_fault(r->error, tls->place,
                             "`tls` of the rate_limit's store needs a URL that begins with `rediss`");
    if (!check_sentinel_login(r, store, node))
        return false;
    if (!limit->requests)
        return refuse_stray(r, node);
    limit->enabled = true;
    limit->place = node->place;
    return vx_config_complete_limit(limit, VX_SLICE_NONE, r->arena) || vx_yaml_no_memory(r->error);
}

bool vx_yaml_finish_limits_of_routes(struct vx_yaml_reader *r, void *self, void *parent,
                                     const struct vx_yaml_node *node) {
    struct vx_config *config = self;
    (void)parent, (void)node;
    for (uint32_t i = 0; i < config->route_count; i++) {
        struct vx_config_route *route = &config->routes[i];
        bool off = !route->rate_limit.enabled && !route->rate_limit.per_ns;
        if (route->rate_limit.enabled) {
            if (!vx_config_complete_limit(&route->rate_limit, route->name, r->arena))
                return vx_yaml_no_memory(r->error);
        } else if (!off) {
            route->rate_limit = config->default_limit;
        }
    }
    return true;
}
