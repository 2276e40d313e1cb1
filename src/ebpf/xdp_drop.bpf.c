/* SPDX-License-Identifier: Apache-2.0 */
/* The XDP program: decides before the network stack which packets of an interface are dropped.
 *
 * Order of looks, the cheapest refusal of the worst offender first:
 *
 *   1. the client is banned                BLOCKED_IPS     BANNED
 *   2. its prefix is spared or dropped     PREFIXES4, 6    passes at once, or PREFIX
 *   3. the IP header, then TCP, UDP, ICMP  -               MALFORMED
 *   4. it is a fragment                    -               FRAGMENT
 *   5. UDP from an amplifier's port        -               AMPLIFICATION
 *   6. rates of the client                 RATES           SYN_RATE, CONNECTION_RATE, UDP_RATE
 *
 * Each look is switched by a constant that the loader sets before the kernel verifies the program, so what is switched off
 * is no code in the program that runs. What is no IP, or cannot be read with `malformed` off, passes: the stack knows
 * better. Only headers of the kernel's user-space interface are used, so one object runs on all kernels. */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <stdbool.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "ebpf/xdp_drop.h"

char LICENSE[] SEC("license") = "Apache-2.0";

/* --- Switches ----------------------------------------------------------------------------------------------------- */

const volatile bool use_bans = true;
const volatile bool use_prefixes4, use_prefixes6;
const volatile bool drop_malformed, drop_fragments, drop_amplification;
const volatile struct vx_xdp_rate syn_rate, udp_rate, connection_rate;
const volatile __u8 amplification_ports[VX_XDP_PORT_BYTES]; /* a bit a port */

/* --- Time --------------------------------------------------------------------------------------------------------- */

/* CLOCK_MONOTONIC to within a tick. The kernel's helper for that costs as much as the look into BLOCKED_IPS; its count of
 * ticks is a single load, and goes up by one each time that clock has gone on by `tick_ns`. The loader sets the offset. */
const volatile __u64 tick_ns = 1;
__u64 clock_offset_ns, ticks_read;

static __always_inline __u64 clock_ns(void) {
    return bpf_jiffies64() * tick_ns + clock_offset_ns;
}

/* For the loader, by BPF_PROG_TEST_RUN: what the count is now. */
SEC("xdp")
int read_ticks(struct xdp_md *context) {
    (void)context;
    ticks_read = bpf_jiffies64();
    return XDP_PASS;
}

/* --- Maps --------------------------------------------------------------------------------------------------------- */

struct {
    __uint(type, BPF_MAP_TYPE_LRU_HASH);
    __uint(max_entries, 1); /* the loader says how many, as of the others */
    __type(key, __u64);
    __type(value, struct vx_xdp_ban);
} BLOCKED_IPS SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_LPM_TRIE);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, 1);
    __type(key, struct vx_xdp_prefix4);
    __type(value, __u32);
} PREFIXES4 SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_LPM_TRIE);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, 1);
    __type(key, struct vx_xdp_prefix6);
    __type(value, __u32);
} PREFIXES6 SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_LRU_HASH);
    __uint(max_entries, 1);
    __type(key, __u64);
    __type(value, struct vx_xdp_source);
} RATES SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, VX_XDP_VERDICT_COUNT);
    __type(key, __u32);
    __type(value, __u64);
} VERDICTS SEC(".maps");

/* --- The packet as it is taken apart ------------------------------------------------------------------------------ */

enum { TAGS_MAX = 2, EXTENSIONS_MAX = 6, IP_MORE_FRAGMENTS = 0x2000, IP_OFFSET = 0x1fff };

struct packet {
    void *at, *end; /* the next header, and where the frame ends */
    __u32 left;     /* bytes from `at` to the end of the IP packet, by its own length */
    __u64 client;
    __u8 protocol;
    bool fragment;    /* part of a packet */
    bool headless;    /* and not the part with the TCP or UDP header */
    bool contradicts; /* headers that cannot be right */
};

/* Whether `bytes` more bytes are there; the check that the verifier wants to see before each access. */
#define HAS(p, bytes) ((p)->at + (bytes) <= (p)->end)

#define IS_ON(rate) ((rate).interval_ns != 0)

static __always_inline bool malformed(void) {
    return drop_malformed;
}

/* Whether anything behind the IP header's addresses matters. */
static __always_inline bool looks_deeper(void) {
    return drop_malformed || drop_fragments || drop_amplification || IS_ON(syn_rate) || IS_ON(udp_rate) ||
           IS_ON(connection_rate);
}

/* Moves behind the Ethernet header and up to two VLAN tags. The EtherType, 0: cut short. */
static __always_inline __u16 read_ethernet(struct packet *p) {
    struct ethhdr *ethernet = p->at;
    if (!HAS(p, sizeof *ethernet))
        return 0;
    __u16 type = ethernet->h_proto;
    p->at += sizeof *ethernet;
    for (int i = 0; i < TAGS_MAX; i++) {
        if (type != bpf_htons(ETH_P_8021Q) && type != bpf_htons(ETH_P_8021AD))
            break;
        if (!HAS(p, 4))
            return 0;
        type = *(__u16 *)(p->at + 2);
        p->at += 4;
    }
    return bpf_ntohs(type);
}

/* --- By client ---------------------------------------------------------------------------------------------------- */

static __always_inline bool is_banned(const struct packet *p) {
    const struct vx_xdp_ban *ban = bpf_map_lookup_elem(&BLOCKED_IPS, &p->client);
    return ban && ban->until_ns > clock_ns();
}

/* True: the packet is beyond the rate. Not atomic between CPUs: packets of one client at the same instant on several of
 * them may count as one. */
static __always_inline bool is_beyond(__u64 *at_ns, __u64 now_ns, const volatile struct vx_xdp_rate *rate) {
    __u64 at = *at_ns > now_ns ? *at_ns : now_ns;
    if (at - now_ns > rate->tolerance_ns)
        return true;
    *at_ns = at + rate->interval_ns;
    return false;
}

static __always_inline struct vx_xdp_source *find_source(const struct packet *p) {
    static const struct vx_xdp_source fresh;
    struct vx_xdp_source *source = bpf_map_lookup_elem(&RATES, &p->client);
    if (source)
        return source;
    bpf_map_update_elem(&RATES, &p->client, &fresh, BPF_NOEXIST);
    return bpf_map_lookup_elem(&RATES, &p->client);
}

static __always_inline enum vx_xdp_verdict judge_syn(const struct packet *p, const struct tcphdr *tcp) {
    struct vx_xdp_source *source = find_source(p);
    if (!source)
        return VX_XDP_PASSED;
    __u64 now_ns = clock_ns();
    if (IS_ON(syn_rate) && is_beyond(&source->syn_at_ns, now_ns, &syn_rate))
        return VX_XDP_SYN_RATE;
    if (!IS_ON(connection_rate))
        return VX_XDP_PASSED;
    __u64 syn = (__u64)tcp->source << 32 | tcp->seq;
    if (syn != source->last_syn && is_beyond(&source->connection_at_ns, now_ns, &connection_rate))
        return VX_XDP_CONNECTION_RATE;
    source->last_syn = syn;
    return VX_XDP_PASSED;
}

/* --- By protocol -------------------------------------------------------------------------------------------------- */

/* Combinations that no stack sends: nothing at all, an end without ACK, an end or a reset with a beginning. */
static __always_inline bool flags_contradict(const struct tcphdr *tcp) {
    if (tcp->syn)
        return tcp->fin || tcp->rst;
    return !tcp->ack && !tcp->rst;
}

static __always_inline enum vx_xdp_verdict judge_tcp(const struct packet *p) {
    const struct tcphdr *tcp = p->at;
    bool whole = p->left >= sizeof *tcp && HAS(p, sizeof *tcp);
    if (!whole)
        return malformed() ? VX_XDP_MALFORMED : VX_XDP_PASSED;
    if (malformed() && (tcp->doff < 5 || tcp->doff * 4U > p->left || flags_contradict(tcp)))
        return VX_XDP_MALFORMED;
    if ((IS_ON(syn_rate) || IS_ON(connection_rate)) && tcp->syn && !tcp->ack)
        return judge_syn(p, tcp);
    return VX_XDP_PASSED;
}

static __always_inline enum vx_xdp_verdict judge_udp(const struct packet *p) {
    const struct udphdr *udp = p->at;
    bool whole = p->left >= sizeof *udp && HAS(p, sizeof *udp);
    if (!whole)
        return malformed() ? VX_XDP_MALFORMED : VX_XDP_PASSED;
    /* A first fragment is shorter than its datagram says. */
    if (malformed() && (bpf_ntohs(udp->len) < sizeof *udp || (!p->fragment && bpf_ntohs(udp->len) > p->left)))
        return VX_XDP_MALFORMED;
    if (drop_amplification) {
        __u16 port = bpf_ntohs(udp->source);
        if (amplification_ports[port / 8] & (1 << port % 8))
            return VX_XDP_AMPLIFICATION;
    }
    if (IS_ON(udp_rate)) {
        struct vx_xdp_source *source = find_source(p);
        if (source && is_beyond(&source->udp_at_ns, clock_ns(), &udp_rate))
            return VX_XDP_UDP_RATE;
    }
    return VX_XDP_PASSED;
}

static __always_inline enum vx_xdp_verdict judge_payload(const struct packet *p) {
    if (malformed() && p->contradicts)
        return VX_XDP_MALFORMED;
    if (drop_fragments && p->fragment)
        return VX_XDP_FRAGMENT;
    if (p->headless || p->contradicts)
        return VX_XDP_PASSED;
    if (p->protocol == IPPROTO_TCP)
        return judge_tcp(p);
    if (p->protocol == IPPROTO_UDP)
        return judge_udp(p);
    if (malformed() && (p->protocol == IPPROTO_ICMP || p->protocol == IPPROTO_ICMPV6) && p->left < 8)
        return VX_XDP_MALFORMED;
    return VX_XDP_PASSED;
}

/* --- IPv4 --------------------------------------------------------------------------------------------------------- */

/* Loopback, multicast, the reserved block and broadcast never send; nor does anybody send to itself over a wire. */
static __always_inline bool is_forged4(const struct iphdr *ip) {
    __u32 source = bpf_ntohl(ip->saddr);
    return source >> 24 == 127 || source >> 28 == 0xe || source >> 28 == 0xf || ip->saddr == ip->daddr;
}

/* Moves behind the header. */
static __always_inline void read_ip4(struct packet *p, const struct iphdr *ip) {
    __u32 head = ip->ihl * 4U, total = bpf_ntohs(ip->tot_len);
    __u16 fragment = bpf_ntohs(ip->frag_off);
    p->contradicts = ip->version != 4 || head < sizeof *ip || total < head || p->at + total > p->end;
    if (malformed() && (ip->ttl == 0 || is_forged4(ip)))
        p->contradicts = true;
    p->fragment = fragment & (IP_MORE_FRAGMENTS | IP_OFFSET);
    p->headless = fragment & IP_OFFSET;
    p->protocol = ip->protocol;
    p->left = total - head;
    p->at += head;
}

static __always_inline enum vx_xdp_verdict judge_ip4(struct packet *p) {
    const struct iphdr *ip = p->at;
    if (!HAS(p, sizeof *ip))
        return malformed() ? VX_XDP_MALFORMED : VX_XDP_PASSED;
    p->client = VX_XDP_IP4_MARK | bpf_ntohl(ip->saddr);
    if (use_bans && is_banned(p))
        return VX_XDP_BANNED;
    if (use_prefixes4) {
        struct vx_xdp_prefix4 key = {.bits = 32};
        __builtin_memcpy(key.ip, &ip->saddr, sizeof key.ip);
        const __u32 *kind = bpf_map_lookup_elem(&PREFIXES4, &key);
        if (kind)
            return *kind == VX_XDP_DROP ? VX_XDP_PREFIX : VX_XDP_PASSED;
    }
    if (!looks_deeper())
        return VX_XDP_PASSED;
    read_ip4(p, ip);
    return judge_payload(p);
}

/* --- IPv6 --------------------------------------------------------------------------------------------------------- */

static __always_inline bool is_forged6(const struct ipv6hdr *ip) {
    const __be32 *source = ip->saddr.s6_addr32, *target = ip->daddr.s6_addr32;
    bool multicast = ip->saddr.s6_addr[0] == 0xff;
    bool loopback = !source[0] && !source[1] && !source[2] && source[3] == bpf_htonl(1);
    bool same =
        source[0] == target[0] && source[1] == target[1] && source[2] == target[2] && source[3] == target[3];
    return multicast || loopback || same;
}

struct extension {
    __u8 next, length;
    __u16 offset_and_flags; /* of a fragment header */
};

/* How long an extension header of each protocol is: so many bytes, and so many more for each unit of its length field; 0:
 * the protocol is none (RFC 8200 §4, RFC 4302 §2.2). A table, not a switch, or the verifier would follow each combination of
 * protocols by itself. */
static const struct {
    __u8 bytes, unit;
} extensions[256] = {
    [IPPROTO_HOPOPTS] = {8, 8}, [IPPROTO_ROUTING] = {8, 8},  [IPPROTO_DSTOPTS] = {8, 8},
    [IPPROTO_MH] = {8, 8},      [IPPROTO_FRAGMENT] = {8, 0}, [IPPROTO_AH] = {8, 4},
};

/* Bytes into the frame at which the extension headers end at most, for the verifier. */
enum { OFFSET_MASK = 0x3fff };

/* Moves *offset, which leads from `frame` to the next header, over one extension header; false: there was none, or it does not
 * fit. */
static __always_inline bool skip_extension(struct packet *p, const void *frame, __u32 *offset) {
    const struct extension *e = frame + *offset;
    __u32 bytes = extensions[p->protocol].bytes;
    if ((void *)e + 8 > p->end || bytes == 0 || p->headless)
        return false;
    bytes += e->length * (__u32)extensions[p->protocol].unit;
    if (bytes > p->left) {
        p->contradicts = true;
        return false;
    }
    if (p->protocol == IPPROTO_FRAGMENT) {
        p->fragment = true;
        p->headless = bpf_ntohs(e->offset_and_flags) & 0xfff8;
    }
    p->protocol = e->next;
    p->left -= bytes;
    *offset = (*offset + bytes) & OFFSET_MASK;
    /* Or the compiler would keep a pointer instead, whose ranges no two paths have in common. */
    barrier_var(*offset);
    return true;
}

static __always_inline void read_ip6(struct packet *p, const struct ipv6hdr *ip) {
    p->protocol = ip->nexthdr;
    p->left = bpf_ntohs(ip->payload_len);
    p->at += sizeof *ip;
    p->contradicts = ip->version != 6 || p->at + p->left > p->end;
    if (malformed() && (ip->hop_limit == 0 || is_forged6(ip)))
        p->contradicts = true;
    __u32 offset = 0;
    for (int i = 0; i < EXTENSIONS_MAX; i++)
        if (!skip_extension(p, ip + 1, &offset))
            break;
    p->at += offset;
    /* More of them than anybody has a use for, or cut short: what follows cannot be read. */
    if (!p->headless && extensions[p->protocol].bytes)
        p->contradicts = true;
}

static __always_inline enum vx_xdp_verdict judge_ip6(struct packet *p) {
    const struct ipv6hdr *ip = p->at;
    if (!HAS(p, sizeof *ip))
        return malformed() ? VX_XDP_MALFORMED : VX_XDP_PASSED;
    p->client = (__u64)bpf_ntohl(ip->saddr.s6_addr32[0]) << 32 | bpf_ntohl(ip->saddr.s6_addr32[1]);
    if (use_bans && is_banned(p))
        return VX_XDP_BANNED;
    if (use_prefixes6) {
        struct vx_xdp_prefix6 key = {.bits = 128};
        __builtin_memcpy(key.ip, &ip->saddr, sizeof key.ip);
        const __u32 *kind = bpf_map_lookup_elem(&PREFIXES6, &key);
        if (kind)
            return *kind == VX_XDP_DROP ? VX_XDP_PREFIX : VX_XDP_PASSED;
    }
    if (!looks_deeper())
        return VX_XDP_PASSED;
    read_ip6(p, ip);
    return judge_payload(p);
}

/* --- The program -------------------------------------------------------------------------------------------------- */

static __always_inline enum vx_xdp_verdict judge(struct packet *p) {
    switch (read_ethernet(p)) {
    case ETH_P_IP:
        return judge_ip4(p);
    case ETH_P_IPV6:
        return judge_ip6(p);
    case 0:
        return malformed() ? VX_XDP_MALFORMED : VX_XDP_PASSED;
    default:
        return VX_XDP_PASSED;
    }
}

SEC("xdp")
int xdp_drop(struct xdp_md *context) {
    struct packet p = {.at = (void *)(long)context->data, .end = (void *)(long)context->data_end};
    __u32 verdict = judge(&p);
    __u64 *count = bpf_map_lookup_elem(&VERDICTS, &verdict);
    if (count)
        (*count)++;
    return verdict == VX_XDP_PASSED ? XDP_PASS : XDP_DROP;
}
