/* SPDX-License-Identifier: Apache-2.0 */
/* The ban list in the kernel: loads xdp_drop.bpf.c with what the configuration asks for, attaches it to the interface and
 * keeps its maps. Control thread. */
#ifndef VX_EBPF_XDP_H
#define VX_EBPF_XDP_H

#include "core/config/model.h"
#include "core/ports/ban_list.h"

/* Not attached yet: its apply() does that, in the driver's own (native) mode or the kernel's generic one. A link holds the
 * program to the interface, so both go when this process does, unless `keep_attached` pins the link. The map with the bans
 * is pinned where that is possible, and the next process takes it over. `clients` bounds the bans. NULL: no memory. */
struct vx_ban_list *vx_xdp_new(uint32_t clients);

#endif
