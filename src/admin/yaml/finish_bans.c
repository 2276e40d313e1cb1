/* SPDX-License-Identifier: Apache-2.0 */
/* The rules within `bans`; see finish.h. */
#include "admin/yaml/fault.h"
#include "admin/yaml/finish.h"
#include "admin/yaml/read.h"

/* The place of a key's value, else of the mapping. */
static struct vx_place place_of(const struct vx_yaml_node *node, const char *key) {
    const struct vx_yaml_node *value = vx_yaml_find(node, key);
    return value ? value->place : node->place;
}

bool vx_yaml_finish_xdp(struct vx_yaml_reader *r, void *self, void *parent, const struct vx_yaml_node *node) {
    const struct vx_config_xdp *xdp = self;
    (void)parent;
    if (xdp->keep_attached && vx_slice_eq(xdp->pin, VX_SLICE("off")))
        return vx_yaml_fault(r->error, place_of(node, "keep_attached"),
                             "`keep_attached` needs `pin`: what stays must be found again; give a folder");
    if (xdp->amplification_port_count && !xdp->amplification)
        return vx_yaml_fault(r->error, place_of(node, "amplification_ports"),
                             "`amplification_ports` does nothing without `amplification: true`");
    return true;
}

bool vx_yaml_finish_bans(struct vx_yaml_reader *r, void *self, void *parent,
                         const struct vx_yaml_node *node) {
    struct vx_config_bans *bans = self;
    const struct vx_yaml_node *xdp = vx_yaml_find(node, "xdp");
    (void)parent;
    if (xdp && xdp->kind == VX_YAML_MAPPING && xdp->count && !bans->interface.len)
        return vx_yaml_fault(r->error, xdp->place,
                             "`xdp` does nothing without the `interface` to be watched; give one");
    if (bans->max_duration_ns >= bans->duration_ns)
        return true;
    if (vx_yaml_find(node, "max_duration"))
        return vx_yaml_fault(r->error, place_of(node, "max_duration"),
                             "`max_duration` must not be shorter than `duration`");
    bans->max_duration_ns = bans->duration_ns;
    return true;
}
