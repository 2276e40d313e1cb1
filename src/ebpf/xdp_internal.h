/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the parts of the loader: xdp.c (the ban list, attaching), xdp_program.c (from a configuration to a loaded
 * program), xdp_pin.c (what outlives the process). */
#ifndef VX_EBPF_XDP_INTERNAL_H
#define VX_EBPF_XDP_INTERNAL_H

#include "ebpf/xdp.h"
#include "ebpf/xdp_drop.h"

struct xdp_drop_bpf; /* the skeleton that bpftool makes of xdp_drop.bpf.c */

enum { VX_XDP_PATH_BYTES = 256 };

/* Files in a bpffs. Empty paths: nothing is pinned. */
struct vx_xdp_pins {
    char bans[VX_XDP_PATH_BYTES], link[VX_XDP_PATH_BYTES];
};

/* xdp_program.c */

/* Loads the program for `config` with `bans_fd` and `verdicts_fd` as its maps of those names (-1: new ones, that of bans with
 * room for `clients`) and the prefixes filled in. NULL: `why` says why not. */
struct xdp_drop_bpf *vx_xdp_program_load(const struct vx_config *config, uint32_t clients, int bans_fd,
                                         int verdicts_fd, char *why, size_t why_size);

/* The kernel's map for `clients` bans has so many entries: its LRU lists give up some before they are all used. */
uint32_t vx_xdp_ban_entries(uint32_t clients);

/* xdp_pin.c */

/* Makes the folder for `interface`, mounting the bpffs if need be. False: `why` says why nothing can be pinned, the paths are
 * empty. */
bool vx_xdp_pins_find(struct vx_xdp_pins *pins, const char *folder, const char *interface, char *why,
                      size_t why_size);

/* The pinned object, or -1. */
int vx_xdp_pin_open(const char *path);

/* Pins `fd` in place of what may be there. False: errno. */
bool vx_xdp_pin_put(const char *path, int fd);

#endif
