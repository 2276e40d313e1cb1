/* SPDX-License-Identifier: Apache-2.0 */
/* See xdp.h. A change of the configuration loads a new program over the same map of bans and swaps it into the link, so no
 * packet passes unseen meanwhile. */
#include "ebpf/xdp.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ebpf/xdp_internal.h"

#include <xdp_drop.skel.h>

struct vx_xdp {
    struct vx_ban_list list;
    uint32_t clients;
    struct xdp_drop_bpf *program; /* NULL: not in effect */
    int link;                     /* -1 without a program */
    uint32_t interface;           /* index of the one it is attached to */
    bool native, keep;
    struct vx_xdp_pins pins;
    int cpus;
};

static int bans_of(const struct xdp_drop_bpf *program) {
    return bpf_map__fd(program->maps.BLOCKED_IPS);
}

static void close_if_open(int fd) {
    if (fd >= 0)
        close(fd);
}

/* --- Bans --------------------------------------------------------------------------------------------------------- */

static bool put_ban(int bans, const struct vx_ban *ban) {
    struct vx_xdp_ban value = {ban->until_ns, ban->strikes, ban->manual};
    return bpf_map_update_elem(bans, &ban->client, &value, BPF_ANY) == 0;
}

static bool block(struct vx_ban_list *self, const struct vx_ban *ban) {
    struct vx_xdp *x = (struct vx_xdp *)self;
    return x->program && put_ban(bans_of(x->program), ban);
}

static void unblock(struct vx_ban_list *self, uint64_t client) {
    struct vx_xdp *x = (struct vx_xdp *)self;
    if (x->program)
        bpf_map_delete_elem(bans_of(x->program), &client);
}

/* Calls `tell` for each entry of the map `fd`, which `tell` may take out. */
static void each_in(int fd, void (*tell)(void *user, const struct vx_ban *ban), void *user) {
    struct vx_xdp_ban value;
    uint64_t client, next;
    for (bool more = bpf_map_get_next_key(fd, NULL, &next) == 0; more;) {
        client = next;
        more = bpf_map_get_next_key(fd, &client, &next) == 0;
        if (bpf_map_lookup_elem(fd, &client, &value) == 0) {
            struct vx_ban ban = {client, value.until_ns, (uint8_t)value.strikes, value.manual != 0};
            tell(user, &ban);
        }
    }
}

static void each(struct vx_ban_list *self, void (*tell)(void *user, const struct vx_ban *ban), void *user) {
    const struct vx_xdp *x = (struct vx_xdp *)self;
    if (x->program)
        each_in(bans_of(x->program), tell, user);
}

static size_t drops(struct vx_ban_list *self, struct vx_ban_drops *rows) {
    static const char *const words[VX_XDP_VERDICT_COUNT] = {
#define X(name, word) word,
        VX_XDP_VERDICTS(X)
#undef X
    };
    _Static_assert((int)VX_XDP_VERDICT_COUNT <= VX_BAN_DROPS_MAX, "a row each");
    const struct vx_xdp *x = (struct vx_xdp *)self;
    uint64_t *values = x->program ? calloc((size_t)x->cpus, sizeof *values) : NULL;
    if (!values)
        return 0;
    for (uint32_t v = 0; v < VX_XDP_VERDICT_COUNT; v++) {
        rows[v] = (struct vx_ban_drops){.reason = words[v]};
        if (bpf_map_lookup_elem(bpf_map__fd(x->program->maps.VERDICTS), &v, values) == 0)
            for (int cpu = 0; cpu < x->cpus; cpu++)
                rows[v].packets += values[cpu];
    }
    free(values);
    return VX_XDP_VERDICT_COUNT;
}

/* --- Attaching ---------------------------------------------------------------------------------------------------- */

/* Whether the link still holds a program to that interface: it lets go when the interface goes. */
static bool link_is_on(int link, uint32_t interface) {
    struct bpf_link_info info = {0};
    uint32_t bytes = sizeof info;
    return bpf_obj_get_info_by_fd(link, &info, &bytes) == 0 && info.type == BPF_LINK_TYPE_XDP &&
           info.xdp.ifindex == interface;
}

static int new_link(int program, uint32_t interface, bool native) {
    LIBBPF_OPTS(bpf_link_create_opts, options, .flags = native ? XDP_FLAGS_DRV_MODE : XDP_FLAGS_SKB_MODE);
    return bpf_link_create(program, (int)interface, BPF_XDP, &options);
}

static bool is_native(uint32_t interface) {
    LIBBPF_OPTS(bpf_xdp_query_opts, query);
    return bpf_xdp_query((int)interface, 0, &query) == 0 && query.attach_mode == XDP_ATTACHED_DRV;
}

/* Puts `program` into the link that there is already, this process's or one that an earlier one left. The link, or -1: there
 * is none, or none that is as wished. */
static int take_over(struct vx_xdp *x, int program, uint32_t interface, enum vx_xdp_wish wish,
                     const char *pinned) {
    bool own = x->link >= 0 && x->interface == interface;
    int link = own ? x->link : vx_xdp_pin_open(pinned);
    bool as_wished = wish == VX_XDP_AUTO || (wish == VX_XDP_NATIVE) == is_native(interface);
    if (link < 0 || (as_wished && link_is_on(link, interface) && bpf_link_update(link, program, NULL) == 0))
        return link;
    unlink(pinned);
    close(link);
    if (own)
        x->link = -1;
    return -1;
}

/* -1: errno. */
static int attach(struct vx_xdp *x, int program, uint32_t interface, enum vx_xdp_wish wish,
                  const char *pinned) {
    int link = take_over(x, program, interface, wish, pinned);
    if (link < 0 && wish != VX_XDP_GENERIC)
        link = new_link(program, interface, true);
    bool in_vain = errno == EBUSY || errno == EEXIST || errno == EPERM;
    if (link < 0 && (wish == VX_XDP_GENERIC || (wish == VX_XDP_AUTO && !in_vain)))
        link = new_link(program, interface, false);
    return link;
}

static const char *why_not_attached(int error) {
    switch (error) {
    case EBUSY:
    case EEXIST:
        return "another XDP program is on it";
    case EPERM:
        return "not allowed (it takes CAP_NET_ADMIN)";
    case EOPNOTSUPP:
        return "its driver cannot do that; `mode: generic` would";
    default:
        return strerror(error);
    }
}

static void detach(struct vx_xdp *x, bool unpin) {
    if (unpin && *x->pins.bans) {
        unlink(x->pins.link);
        unlink(x->pins.bans);
    }
    close_if_open(x->link);
    x->link = -1;
    xdp_drop_bpf__destroy(x->program);
    x->program = NULL;
}

/* --- A new configuration ------------------------------------------------------------------------------------------ */

static void copy_ban(void *user, const struct vx_ban *ban) {
    put_ban(*(const int *)user, ban);
}

/* Whether a map that an earlier process pinned can be this program's own. */
static bool fits(int fd, uint32_t clients) {
    struct bpf_map_info info = {0};
    uint32_t bytes = sizeof info;
    return bpf_obj_get_info_by_fd(fd, &info, &bytes) == 0 && info.type == BPF_MAP_TYPE_LRU_HASH &&
           info.key_size == sizeof(uint64_t) && info.value_size == sizeof(struct vx_xdp_ban) &&
           info.max_entries == vx_xdp_ban_entries(clients);
}

/* The new program over the bans that there are: its own before, else the pinned ones. */
static struct xdp_drop_bpf *load(const struct vx_xdp *x, const struct vx_config *config,
                                 const struct vx_xdp_pins *pins, char *why, size_t why_size) {
    if (x->program)
        return vx_xdp_program_load(config, x->clients, bans_of(x->program),
                                   bpf_map__fd(x->program->maps.VERDICTS), why, why_size);
    int left = vx_xdp_pin_open(pins->bans);
    bool reuse = left >= 0 && fits(left, x->clients);
    struct xdp_drop_bpf *program =
        vx_xdp_program_load(config, x->clients, reuse ? left : -1, -1, why, why_size);
    if (program && left >= 0 && !reuse) {
        int bans = bans_of(program);
        each_in(left, copy_ban, &bans);
    }
    close_if_open(left);
    return program;
}

/* Pins what is to stay, and unpins a link that is not. */
static void pin(const struct vx_xdp *x, char *why, size_t why_size) {
    if (!*x->pins.bans)
        return;
    if (!vx_xdp_pin_put(x->pins.bans, bans_of(x->program)))
        snprintf(why, why_size, "bans will not outlive a restart: %s cannot be pinned: %s", x->pins.bans,
                 strerror(errno));
    if (!x->keep)
        unlink(x->pins.link);
    else if (!vx_xdp_pin_put(x->pins.link, x->link))
        snprintf(why, why_size, "the program will not stay attached: %s cannot be pinned: %s", x->pins.link,
                 strerror(errno));
}

static void find_pins(struct vx_xdp_pins *pins, const struct vx_config *config, const char *interface,
                      char *why, size_t why_size) {
    char folder[VX_XDP_PATH_BYTES], reason[512];
    struct vx_slice configured = config->bans.xdp.pin;
    *pins = (struct vx_xdp_pins){"", ""};
    if (vx_slice_eq(configured, VX_SLICE("off")))
        return;
    snprintf(folder, sizeof folder, "%.*s", VX_SLICE_ARG(configured));
    if (!vx_xdp_pins_find(pins, folder, interface, reason, sizeof reason))
        snprintf(why, why_size, "bans will not outlive a restart: %s", reason);
}

static bool put_in_effect(struct vx_xdp *x, const struct vx_config *config, char *why, size_t why_size) {
    char name[IF_NAMESIZE];
    snprintf(name, sizeof name, "%.*s", VX_SLICE_ARG(config->bans.interface));
    uint32_t interface = if_nametoindex(name);
    if (!interface) {
        snprintf(why, why_size, "there is no network interface %s", name);
        return false;
    }
    struct vx_xdp_pins pins;
    find_pins(&pins, config, name, why, why_size);
    struct xdp_drop_bpf *program = load(x, config, &pins, why, why_size);
    if (!program)
        return false;
    int link =
        attach(x, bpf_program__fd(program->progs.xdp_drop), interface, config->bans.xdp.mode, pins.link);
    if (link < 0) {
        snprintf(why, why_size, "XDP cannot be attached to %s: %s", name, why_not_attached(errno));
        xdp_drop_bpf__destroy(program);
        return false;
    }
    if (x->link != link)
        detach(x, strcmp(x->pins.bans, pins.bans) != 0);
    else
        xdp_drop_bpf__destroy(x->program);
    x->program = program;
    x->link = link;
    x->interface = interface;
    x->native = is_native(interface);
    x->keep = config->bans.xdp.keep_attached;
    x->pins = pins;
    pin(x, why, why_size);
    return true;
}

static bool apply(struct vx_ban_list *self, const struct vx_config *config, char *why, size_t why_size) {
    struct vx_xdp *x = (struct vx_xdp *)self;
    why[0] = '\0';
    if (config && config->bans.enabled && config->bans.interface.len)
        return put_in_effect(x, config, why, why_size);
    detach(x, true);
    return true;
}

static const char *state(struct vx_ban_list *self) {
    struct vx_xdp *x = (struct vx_xdp *)self;
    if (x->program && !link_is_on(x->link, x->interface))
        detach(x, false);
    return !x->program ? "off" : x->native ? "native" : "generic";
}

static void free_list(struct vx_ban_list *self) {
    detach((struct vx_xdp *)self, false);
    free(self);
}

struct vx_ban_list *vx_xdp_new(uint32_t clients) {
    struct vx_xdp *x = calloc(1, sizeof *x);
    if (!x)
        return NULL;
    *x = (struct vx_xdp){
        .list = {.apply = apply,
                 .block = block,
                 .unblock = unblock,
                 .each = each,
                 .drops = drops,
                 .state = state,
                 .free = free_list},
        .clients = clients,
        .link = -1,
        .cpus = libbpf_num_possible_cpus(),
    };
    if (x->cpus < 1)
        x->cpus = 1;
    return &x->list;
}
