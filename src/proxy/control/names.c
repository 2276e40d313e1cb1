/* SPDX-License-Identifier: Apache-2.0 */
/* See names.h. */
#include "proxy/control/names.h"

#include <stdlib.h>
#include <string.h>

#include "proxy/telemetry/log.h"

struct vx_name {
    struct vx_name *next;
    struct vx_names *names;
    struct vx_resolver_watch *watch;
    struct vx_slice host; /* owned */
    struct vx_address *addresses;
    uint32_t count;
    bool answered;
    bool wanted; /* by the configuration that vx_names_forget looks at */
};

void vx_names_init(struct vx_names *names, struct vx_loop *loop, void (*changed)(void *user), void *user) {
    *names = (struct vx_names){.loop = loop, .changed = changed, .user = user};
}

static void on_answer(void *user, const struct vx_resolver_answer *answer, uint64_t now_ns) {
    (void)now_ns;
    struct vx_name *name = user;
    name->answered = true;
    if (answer->error) {
        vx_log(VX_LOG_WARN, "backend name %.*s: %s; %u known address(es) stay in use",
               VX_SLICE_ARG(name->host), answer->error, answer->count);
        if (name->count == answer->count)
            return;
    }
    struct vx_address *addresses = malloc((answer->count + 1) * sizeof *addresses);
    if (!addresses)
        return; /* the addresses known so far stay in use */
    if (answer->count)
        memcpy(addresses, answer->addresses, answer->count * sizeof *addresses);
    free(name->addresses);
    name->addresses = addresses;
    name->count = answer->count;
    name->names->changed(name->names->user);
}

static struct vx_name *find(const struct vx_names *names, struct vx_slice host) {
    for (struct vx_name *name = names->first; name; name = name->next)
        if (vx_slice_ieq(name->host, host))
            return name;
    return NULL;
}

static void drop(struct vx_name *name) {
    vx_resolver_unwatch(name->watch);
    free((char *)name->host.ptr);
    free(name->addresses);
    free(name);
}

static bool watch(struct vx_names *names, struct vx_slice host) {
    if (find(names, host))
        return true;
    struct vx_name *name = calloc(1, sizeof *name);
    char *copy = malloc(host.len + 1);
    if (!name || !copy) {
        free(name);
        free(copy);
        return false;
    }
    memcpy(copy, host.ptr, host.len);
    name->host = vx_slice(copy, host.len);
    name->names = names;
    name->watch = vx_resolver_watch(names->resolver, name->host, on_answer, name);
    if (!name->watch) {
        drop(name);
        return false;
    }
    name->next = names->first;
    names->first = name;
    return true;
}

/* Each host name among the backends of `config`. False: `visit` said so. */
static bool each_name(struct vx_names *names, const struct vx_config *config,
                      bool (*visit)(struct vx_names *names, struct vx_slice host)) {
    for (uint32_t r = 0; config && r < config->route_count; r++) {
        for (uint32_t b = 0; b < config->routes[r].backend_count; b++) {
            const struct vx_address *address = &config->routes[r].backends[b].address;
            if (address->kind == VX_ADDRESS_NAME && !visit(names, address->text))
                return false;
        }
    }
    return true;
}

static bool needs_resolver(struct vx_names *names, struct vx_slice host) {
    (void)host;
    return names->resolver != NULL;
}

bool vx_names_watch(struct vx_names *names, const struct vx_config *config, const char **why) {
    struct vx_resolver_options options = {0};
    if (!each_name(names, config, needs_resolver) &&
        !(names->resolver = vx_resolver_new(names->loop, &options, why)))
        return false;
    *why = "out of memory";
    return each_name(names, config, watch);
}

static bool mark(struct vx_names *names, struct vx_slice host) {
    struct vx_name *name = find(names, host);
    if (name)
        name->wanted = true;
    return true;
}

void vx_names_forget(struct vx_names *names, const struct vx_config *config) {
    for (struct vx_name *name = names->first; name; name = name->next)
        name->wanted = false;
    each_name(names, config, mark);
    struct vx_name **at = &names->first;
    while (*at) {
        struct vx_name *name = *at;
        if (name->wanted) {
            at = &name->next;
            continue;
        }
        *at = name->next;
        drop(name);
    }
}

const struct vx_address *vx_names_find(const struct vx_names *names, struct vx_slice host, uint32_t *count) {
    const struct vx_name *name = find(names, host);
    *count = name ? name->count : 0;
    return name ? name->addresses : NULL;
}

bool vx_names_settled(const struct vx_names *names) {
    for (const struct vx_name *name = names->first; name; name = name->next)
        if (!name->answered)
            return false;
    return true;
}

void vx_names_free(struct vx_names *names) {
    vx_names_forget(names, NULL);
    vx_resolver_free(names->resolver);
    names->resolver = NULL;
}
