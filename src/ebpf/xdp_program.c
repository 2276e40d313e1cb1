/* SPDX-License-Identifier: Apache-2.0 */
/* From a configuration to a program in the kernel: constants, sizes of maps, prefixes. What is switched off is pruned by the
 * verifier, and its maps are not made. See xdp_internal.h. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "ebpf/xdp_internal.h"

#include <xdp_drop.skel.h>

enum {
    RATED_CLIENTS = 65536,
    LRU_SLACK = 4096, /* per-CPU free lists hold entries back */
};

/* Services that answer a short forged question with a long answer (CISA TA14-017A). DNS (53) and NTP (123) are left out: the
 * answers that this machine itself asks for come from there. */
static const uint16_t usual_amplifiers[] = {17,  19,   69,   111,  137,  161,  389,   520,
                                            751, 1434, 1900, 3283, 3702, 5353, 10001, 11211};

static struct vx_xdp_rate rate_of(uint32_t a_second) {
    if (!a_second)
        return (struct vx_xdp_rate){0, 0};
    uint64_t interval_ns = 1000000000u / a_second;
    return (struct vx_xdp_rate){interval_ns, interval_ns * (a_second - 1)};
}

static void choose_ports(uint8_t *bits, const struct vx_config_xdp *xdp) {
    const uint16_t *ports = xdp->amplification_port_count ? xdp->amplification_ports : usual_amplifiers;
    size_t count = xdp->amplification_port_count ? xdp->amplification_port_count
                                                 : sizeof usual_amplifiers / sizeof *usual_amplifiers;
    for (size_t i = 0; i < count; i++)
        bits[ports[i] / 8] |= (uint8_t)(1u << ports[i] % 8);
}

/* --- Prefixes ----------------------------------------------------------------------------------------------------- */

/* All prefixes of a configuration, one list after the other; of equal ones the last counts. */
struct prefix_list {
    const struct vx_prefix *first;
    uint32_t count;
    uint32_t kind;
};

enum { PREFIX_LISTS = 4 };

static void list_prefixes(const struct vx_config *config, struct prefix_list lists[PREFIX_LISTS]) {
    const struct vx_config_bans *bans = &config->bans;
    lists[0] = (struct prefix_list){bans->xdp.drop, bans->xdp.drop_count, VX_XDP_DROP};
    lists[1] = (struct prefix_list){bans->xdp.spare, bans->xdp.spare_count, VX_XDP_SPARE};
    lists[2] = (struct prefix_list){bans->never, bans->never_count, VX_XDP_SPARE};
    lists[3] = (struct prefix_list){config->trusted_proxies, config->trusted_proxy_count, VX_XDP_SPARE};
}

static uint32_t count_prefixes(const struct prefix_list lists[PREFIX_LISTS], enum vx_address_kind kind) {
    uint32_t n = 0;
    for (unsigned l = 0; l < PREFIX_LISTS; l++)
        for (uint32_t i = 0; i < lists[l].count; i++)
            n += lists[l].first[i].address.kind == kind;
    return n;
}

static bool put_prefix(const struct xdp_drop_bpf *skel, const struct vx_prefix *prefix, uint32_t kind) {
    if (prefix->address.kind == VX_ADDRESS_IP4) {
        struct vx_xdp_prefix4 key = {.bits = prefix->bits};
        memcpy(key.ip, prefix->address.ip, sizeof key.ip);
        return bpf_map_update_elem(bpf_map__fd(skel->maps.PREFIXES4), &key, &kind, BPF_ANY) == 0;
    }
    struct vx_xdp_prefix6 key = {.bits = prefix->bits};
    memcpy(key.ip, prefix->address.ip, sizeof key.ip);
    return bpf_map_update_elem(bpf_map__fd(skel->maps.PREFIXES6), &key, &kind, BPF_ANY) == 0;
}

static bool put_prefixes(const struct xdp_drop_bpf *skel, const struct prefix_list lists[PREFIX_LISTS]) {
    for (unsigned l = 0; l < PREFIX_LISTS; l++)
        for (uint32_t i = 0; i < lists[l].count; i++)
            if (!put_prefix(skel, &lists[l].first[i], lists[l].kind))
                return false;
    return true;
}

/* --- Time --------------------------------------------------------------------------------------------------------- */

static uint64_t to_ns(const struct timespec *t) {
    return (uint64_t)t->tv_sec * 1000000000u + (uint64_t)t->tv_nsec;
}

static uint64_t tick_ns(void) {
    struct timespec t;
    return clock_getres(CLOCK_MONOTONIC_COARSE, &t) == 0 ? to_ns(&t) : 0;
}

/* Has the program's clock show CLOCK_MONOTONIC. */
static bool set_clock(const struct xdp_drop_bpf *skel) {
    char frame[64] = {0};
    struct timespec now;
    LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = frame, .data_size_in = sizeof frame);
    if (bpf_prog_test_run_opts(bpf_program__fd(skel->progs.read_ticks), &run) != 0 ||
        clock_gettime(CLOCK_MONOTONIC_COARSE, &now) != 0)
        return false;
    skel->bss->clock_offset_ns = to_ns(&now) - skel->bss->ticks_read * skel->rodata->tick_ns;
    return true;
}

/* --- Loading ------------------------------------------------------------------------------------------------------ */

uint32_t vx_xdp_ban_entries(uint32_t clients) {
    return clients + clients / 4 + LRU_SLACK;
}

/* A map that the program does not look at is not made. */
static bool size_map(struct bpf_map *map, uint32_t entries) {
    return entries ? bpf_map__set_max_entries(map, entries) == 0 : bpf_map__set_autocreate(map, false) == 0;
}

static bool prepare(struct xdp_drop_bpf *skel, const struct vx_config *config,
                    const struct prefix_list lists[PREFIX_LISTS], uint32_t clients, int bans_fd,
                    int verdicts_fd) {
    const struct vx_config_xdp *xdp = &config->bans.xdp;
    uint32_t ip4 = count_prefixes(lists, VX_ADDRESS_IP4), ip6 = count_prefixes(lists, VX_ADDRESS_IP6);
    bool rates = xdp->syn_rate || xdp->udp_rate || xdp->connection_rate;
    skel->rodata->tick_ns = tick_ns();
    skel->rodata->use_prefixes4 = ip4 != 0;
    skel->rodata->use_prefixes6 = ip6 != 0;
    skel->rodata->drop_malformed = xdp->malformed;
    skel->rodata->drop_fragments = xdp->fragments;
    skel->rodata->drop_amplification = xdp->amplification;
    skel->rodata->syn_rate = rate_of(xdp->syn_rate);
    skel->rodata->udp_rate = rate_of(xdp->udp_rate);
    skel->rodata->connection_rate = rate_of(xdp->connection_rate);
    choose_ports(skel->rodata->amplification_ports, xdp);
    return size_map(skel->maps.PREFIXES4, ip4) && size_map(skel->maps.PREFIXES6, ip6) &&
           size_map(skel->maps.RATES, rates ? RATED_CLIENTS : 0) &&
           (bans_fd >= 0 ? bpf_map__reuse_fd(skel->maps.BLOCKED_IPS, bans_fd) == 0
                         : size_map(skel->maps.BLOCKED_IPS, vx_xdp_ban_entries(clients))) &&
           (verdicts_fd < 0 || bpf_map__reuse_fd(skel->maps.VERDICTS, verdicts_fd) == 0);
}

static const char *advice(int error) {
    return error == EPERM ? " (it takes CAP_BPF and CAP_NET_ADMIN)" : "";
}

struct xdp_drop_bpf *vx_xdp_program_load(const struct vx_config *config, uint32_t clients, int bans_fd,
                                         int verdicts_fd, char *why, size_t why_size) {
    struct prefix_list lists[PREFIX_LISTS];
    list_prefixes(config, lists);
    /* What it would print goes into `why`, as far as it means anything to an operator. */
    libbpf_set_print(NULL);
    struct xdp_drop_bpf *skel = xdp_drop_bpf__open();
    if (!skel || !prepare(skel, config, lists, clients, bans_fd, verdicts_fd) ||
        xdp_drop_bpf__load(skel) != 0 || !put_prefixes(skel, lists) || !set_clock(skel)) {
        int error = errno;
        xdp_drop_bpf__destroy(skel);
        snprintf(why, why_size, "the kernel does not take the program: %s%s", strerror(error), advice(error));
        return NULL;
    }
    return skel;
}
