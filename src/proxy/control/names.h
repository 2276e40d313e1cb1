/* SPDX-License-Identifier: Apache-2.0 */
/* The host names that backends are given by, watched through DNS: what they resolve to now, and a word when that
 * changes. Control thread. */
#ifndef VX_PROXY_CONTROL_NAMES_H
#define VX_PROXY_CONTROL_NAMES_H

#include "core/config/model.h"
#include "proxy/dns/resolver.h"

struct vx_name;

struct vx_names {
    struct vx_resolver *resolver; /* made with the first name */
    struct vx_loop *loop;
    struct vx_name *first;
    void (*changed)(void *user); /* some name's addresses differ from before */
    void *user;
};

void vx_names_init(struct vx_names *names, struct vx_loop *loop, void (*changed)(void *user), void *user);

/* Watches the names of `config`'s backends besides those watched already. False: no memory or no resolver; *why is static
 * text, and vx_names_forget with the configuration before takes back what was done. */
bool vx_names_watch(struct vx_names *names, const struct vx_config *config, const char **why);

/* Watches the names of no other backends than `config`'s (NULL: none). */
void vx_names_forget(struct vx_names *names, const struct vx_config *config);

/* What `host` resolves to; count 0: to nothing, or not answered yet. Valid until the loop runs again. */
const struct vx_address *vx_names_find(const struct vx_names *names, struct vx_slice host, uint32_t *count);

/* True once every watched name has been answered or has failed. */
bool vx_names_settled(const struct vx_names *names);

void vx_names_free(struct vx_names *names);

#endif
