/* SPDX-License-Identifier: Apache-2.0 */
/* What the program in the kernel (xdp_drop.bpf.c) and its loader (xdp.c) agree on. */
#ifndef VX_EBPF_XDP_DROP_H
#define VX_EBPF_XDP_DROP_H

#include <linux/types.h>

/* What becomes of a packet: name, word in metrics. The first passes, all others are dropped. */
#define VX_XDP_VERDICTS(X)                                                                                   \
    X(PASSED, "passed")                                                                                      \
    X(BANNED, "banned")                                                                                      \
    X(PREFIX, "prefix")                                                                                      \
    X(MALFORMED, "malformed")                                                                                \
    X(FRAGMENT, "fragment")                                                                                  \
    X(AMPLIFICATION, "amplification")                                                                        \
    X(SYN_RATE, "syn_rate")                                                                                  \
    X(UDP_RATE, "udp_rate")                                                                                  \
    X(CONNECTION_RATE, "connection_rate")

enum vx_xdp_verdict {
#define X(name, word) VX_XDP_##name,
    VX_XDP_VERDICTS(X)
#undef X
        VX_XDP_VERDICT_COUNT
};

/* BLOCKED_IPS: a client as core/limit/client.h has it (an IPv4 address below 32 set bits, or the upper half of an IPv6
 * one) and its ban. The map may be older than the program, so this layout is never changed, only given a new pin. */
#define VX_XDP_IP4_MARK (0xffffffffULL << 32)

struct vx_xdp_ban {
    __u64 until_ns; /* CLOCK_MONOTONIC */
    __u32 strikes;
    __u32 manual;
};

/* PREFIXES4 and PREFIXES6: LPM tries; the value says what becomes of the source. */
enum { VX_XDP_SPARE = 1, VX_XDP_DROP = 2 };

struct vx_xdp_prefix4 {
    __u32 bits;
    __u8 ip[4];
};

struct vx_xdp_prefix6 {
    __u32 bits;
    __u8 ip[16];
};

/* A rate as GCRA wants it: `tolerance_ns` of the theoretical arrival time before now make a burst. 0: no limit. */
struct vx_xdp_rate {
    __u64 interval_ns, tolerance_ns;
};

/* RATES: theoretical arrival times of one client, and what its last SYN was, as a repeated one begins nothing new. */
struct vx_xdp_source {
    __u64 syn_at_ns, udp_at_ns, connection_at_ns;
    __u64 last_syn;
};

enum { VX_XDP_PORT_BYTES = 65536 / 8 };

#endif
