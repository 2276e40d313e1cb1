/* SPDX-License-Identifier: Apache-2.0 */
/* The XDP program on single packets, by BPF_PROG_TEST_RUN: each reason to drop, and beside each what must pass. Needs root
 * (CAP_BPF, CAP_NET_ADMIN), touches no interface. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/base/random.h"
#include "core/limit/client.h"
#include "ebpf/xdp_internal.h"
#include "support/frame.h"

#include <xdp_drop.skel.h>

#define US    "198.51.100.1"
#define US6   "2001:db8:ffff::1"
#define THEM  "192.0.2.7"
#define THEM6 "2001:db8:1:2::7"

static const char *const verdicts[] = {
#define X(name, word) word,
    VX_XDP_VERDICTS(X)
#undef X
};

static struct vx_prefix prefix(const char *text) {
    struct vx_prefix p;
    assert_true(vx_prefix_parse(vx_slice_of(text), &p));
    return p;
}

static uint64_t client(const char *text) {
    struct vx_address a;
    assert_true(vx_address_parse_ip(vx_slice_of(text), &a));
    return vx_client_of(&a);
}

static struct xdp_drop_bpf *load(const struct vx_config *config) {
    char why[512] = "";
    struct xdp_drop_bpf *program = vx_xdp_program_load(config, 1024, -1, -1, why, sizeof why);
    if (!program)
        fail_msg("%s; this test needs root", why);
    return program;
}

static uint64_t counted(const struct xdp_drop_bpf *program, uint32_t verdict) {
    static int cpus; /* reading it is reading a file */
    uint64_t values[1024] = {0}, sum = 0;
    if (!cpus)
        cpus = libbpf_num_possible_cpus();
    assert_in_range(cpus, 1, 1024);
    assert_int_equal(bpf_map_lookup_elem(bpf_map__fd(program->maps.VERDICTS), &verdict, values), 0);
    for (int cpu = 0; cpu < cpus; cpu++)
        sum += values[cpu];
    return sum;
}

/* What the program does with the frame: its verdict, which must be the counter that went up, and the kernel's action. */
static const char *judge(const struct xdp_drop_bpf *program, const struct frame *frame) {
    uint64_t before[VX_XDP_VERDICT_COUNT];
    for (uint32_t v = 0; v < VX_XDP_VERDICT_COUNT; v++)
        before[v] = counted(program, v);
    LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = frame->bytes, .data_size_in = (uint32_t)frame->length);
    if (bpf_prog_test_run_opts(bpf_program__fd(program->progs.xdp_drop), &run) != 0)
        fail_msg("BPF_PROG_TEST_RUN: %s", strerror(errno));
    const char *verdict = NULL;
    for (uint32_t v = 0; v < VX_XDP_VERDICT_COUNT; v++) {
        if (counted(program, v) == before[v])
            continue;
        assert_int_equal(counted(program, v), before[v] + 1);
        assert_null(verdict);
        verdict = verdicts[v];
        assert_int_equal(run.retval, v == VX_XDP_PASSED ? XDP_PASS : XDP_DROP);
    }
    assert_non_null(verdict);
    return verdict;
}

#define EXPECT(program, frame, word) assert_string_equal(judge(program, frame), word)

static struct vx_config everything(void) {
    return (struct vx_config){
        .bans = {.enabled = true,
                 .xdp = {.malformed = true, .fragments = true, .amplification = true, .syn_rate = 1000000}}};
}

static void ban(const struct xdp_drop_bpf *program, const char *who, int64_t for_ns) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    uint64_t key = client(who);
    int64_t until_ns = now.tv_sec * INT64_C(1000000000) + now.tv_nsec + for_ns;
    struct vx_xdp_ban value = {.until_ns = (uint64_t)until_ns};
    assert_int_equal(bpf_map_update_elem(bpf_map__fd(program->maps.BLOCKED_IPS), &key, &value, BPF_ANY), 0);
}

static const int64_t minute_ns = INT64_C(60000000000);

static void tcp4(struct frame *f, const char *source) {
    frame_begin(f);
    frame_ip4(f, source, US);
    frame_tcp(f, FRAME_ACK, 40000, 1);
}

static void tcp6(struct frame *f, const char *source) {
    frame_begin(f);
    frame_ip6(f, source, US6);
    frame_tcp(f, FRAME_ACK, 40000, 1);
}

/* --- Bans and prefixes -------------------------------------------------------------------------------------------- */

static void banned_clients(void **state) {
    (void)state;
    struct vx_config config = {.bans.enabled = true};
    struct xdp_drop_bpf *program = load(&config);
    struct frame f;
    ban(program, THEM, minute_ns);
    ban(program, THEM6, minute_ns);
    ban(program, "192.0.2.8", -minute_ns);
    tcp4(&f, THEM);
    EXPECT(program, &f, "banned");
    tcp4(&f, "192.0.2.6");
    EXPECT(program, &f, "passed");
    tcp4(&f, "192.0.2.8"); /* over, though nobody has swept it out */
    EXPECT(program, &f, "passed");
    tcp6(&f, THEM6);
    EXPECT(program, &f, "banned");
    tcp6(&f, "2001:db8:1:2:ffff::1"); /* of the same /64 */
    EXPECT(program, &f, "banned");
    tcp6(&f, "2001:db8:1:3::7");
    EXPECT(program, &f, "passed");
    uint64_t key = client(THEM);
    assert_int_equal(bpf_map_delete_elem(bpf_map__fd(program->maps.BLOCKED_IPS), &key), 0);
    tcp4(&f, THEM);
    EXPECT(program, &f, "passed");
    xdp_drop_bpf__destroy(program);
}

static void vlan_tags(void **state) {
    (void)state;
    struct vx_config config = {.bans.enabled = true};
    struct xdp_drop_bpf *program = load(&config);
    ban(program, THEM, minute_ns);
    ban(program, THEM6, minute_ns);
    for (int ip6 = 0; ip6 < 2; ip6++) {
        for (int tags = 1; tags <= 3; tags++) {
            struct frame f;
            frame_begin(&f);
            for (int t = 0; t < tags; t++)
                frame_tag(&f, t + 1 < tags ? 0x88a8 : 0x8100);
            (ip6 ? frame_ip6 : frame_ip4)(&f, ip6 ? THEM6 : THEM, ip6 ? US6 : US);
            frame_udp(&f, 40000, 10);
            EXPECT(program, &f, tags <= 2 ? "banned" : "passed");
        }
    }
    xdp_drop_bpf__destroy(program);
}

static void prefixes(void **state) {
    (void)state;
    struct vx_prefix drop[] = {prefix("192.0.2.0/24"), prefix("203.0.113.7"), prefix("2001:db8:1::/48"),
                               prefix("198.18.0.0/15")};
    struct vx_prefix spare[] = {prefix("192.0.2.64/26"), prefix("2001:db8:1:9::/64"),
                                prefix("198.18.0.0/15")};
    struct vx_prefix never[] = {prefix("192.0.2.4/30")};
    struct vx_prefix trusted[] = {prefix("192.0.2.9")};
    struct vx_config config = everything();
    config.bans.xdp.drop = drop;
    config.bans.xdp.drop_count = sizeof drop / sizeof *drop;
    config.bans.xdp.spare = spare;
    config.bans.xdp.spare_count = sizeof spare / sizeof *spare;
    config.bans.never = never;
    config.bans.never_count = 1;
    config.trusted_proxies = trusted;
    config.trusted_proxy_count = 1;
    struct xdp_drop_bpf *program = load(&config);
    const struct {
        const char *source, *verdict;
    } cases[] = {
        {"192.0.2.1", "prefix"},       {"192.0.2.65", "passed"},      {"192.0.2.5", "passed"},
        {"192.0.2.9", "passed"},       {"192.0.2.10", "prefix"},      {"203.0.113.7", "prefix"},
        {"203.0.113.8", "passed"},     {"198.19.0.1", "passed"}, /* in both: spared */
        {"2001:db8:1:1::1", "prefix"}, {"2001:db8:1:9::1", "passed"}, {"2001:db8:2::1", "passed"},
    };
    struct frame f;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        (strchr(cases[i].source, ':') ? tcp6 : tcp4)(&f, cases[i].source);
        EXPECT(program, &f, cases[i].verdict);
    }
    /* Who is spared is not looked at any further. */
    frame_begin(&f);
    frame_ip4(&f, "192.0.2.65", US);
    frame_tcp(&f, FRAME_SYN | FRAME_FIN, 1, 1);
    EXPECT(program, &f, "passed");
    xdp_drop_bpf__destroy(program);
}

/* --- Malformed headers -------------------------------------------------------------------------------------------- */

/* Changes to a good TCP packet over IPv4, one byte each, that make it malformed. */
static void malformed_ip4(void **state) {
    (void)state;
    static const struct {
        const char *what;
        size_t at; /* in the IP packet */
        uint8_t value;
    } changes[] = {
        {"version 5", 0, 0x55},
        {"header of 4 words", 0, 0x44},
        {"header longer than packet", 0, 0x4f},
        {"total of 19", 3, 19},
        {"total beyond the frame", 2, 1},
        {"TTL 0", 8, 0},
        {"from loopback", 12, 127},
        {"from multicast", 12, 224},
        {"from the reserved block", 12, 250},
        {"TCP header of 4 words", 32, 0x40},
        {"TCP header beyond", 32, 0x60},
        {"no flags", 33, 0},
        {"SYN and FIN", 33, FRAME_SYN | FRAME_FIN},
        {"SYN and RST", 33, FRAME_SYN | FRAME_RST},
        {"FIN alone", 33, FRAME_FIN},
        {"Xmas", 33, 0x29},
    };
    struct vx_config config = {.bans = {.enabled = true, .xdp.malformed = true}},
                     off = {.bans.enabled = true};
    struct xdp_drop_bpf *program = load(&config), *without = load(&off);
    struct frame good, bad;
    tcp4(&good, THEM);
    EXPECT(program, &good, "passed");
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        bad = good;
        bad.bytes[14 + changes[i].at] = changes[i].value;
        if (strcmp(judge(program, &bad), "malformed") != 0)
            fail_msg("%s was let through", changes[i].what);
        EXPECT(without, &bad, "passed");
    }
    for (size_t length = 14; length < good.length; length++) {
        bad = good;
        bad.length = length;
        EXPECT(program, &bad, "malformed");
        EXPECT(without, &bad, "passed");
    }
    bad = good;
    memcpy(bad.bytes + 14 + 16, bad.bytes + 14 + 12, 4); /* LAND */
    EXPECT(program, &bad, "malformed");
    /* Frames shorter than Ethernet's least are padded: bytes behind the packet are fine. */
    bad = good;
    bad.length += 6;
    EXPECT(program, &bad, "passed");
    /* Options. */
    bad = good;
    bad.bytes[14 + 32] = 0x80;
    bad.length += 12;
    bad.bytes[14 + 3] = 52;
    EXPECT(program, &bad, "passed");
    xdp_drop_bpf__destroy(program);
    xdp_drop_bpf__destroy(without);
}

static void good_flags(void **state) {
    (void)state;
    static const uint8_t flags[] = {FRAME_SYN,
                                    FRAME_SYN | FRAME_ACK,
                                    FRAME_ACK,
                                    FRAME_ACK | FRAME_PSH,
                                    FRAME_FIN | FRAME_ACK,
                                    FRAME_RST,
                                    FRAME_RST | FRAME_ACK,
                                    FRAME_FIN | FRAME_ACK | FRAME_PSH,
                                    0xc0 | FRAME_SYN /* ECN */};
    struct vx_config config = everything();
    struct xdp_drop_bpf *program = load(&config);
    for (size_t i = 0; i < sizeof flags; i++) {
        struct frame f;
        frame_begin(&f);
        frame_ip4(&f, THEM, US);
        frame_tcp(&f, flags[i], 1, 1);
        EXPECT(program, &f, "passed");
    }
    xdp_drop_bpf__destroy(program);
}

static void malformed_ip6(void **state) {
    (void)state;
    static const struct {
        const char *what;
        size_t at;
        uint8_t value;
    } changes[] = {
        {"version 4", 0, 0x40},
        {"payload beyond the frame", 5, 21},
        {"payload shorter than TCP", 5, 19},
        {"hop limit 0", 7, 0},
        {"from multicast", 8, 0xff},
        {"SYN and FIN", 53, FRAME_SYN | FRAME_FIN},
        {"extension header beyond", 6, 0},
    };
    struct vx_config config = {.bans = {.enabled = true, .xdp.malformed = true}},
                     off = {.bans.enabled = true};
    struct xdp_drop_bpf *program = load(&config), *without = load(&off);
    struct frame good, bad;
    tcp6(&good, THEM6);
    good.bytes[14 + 41] = 200; /* of the source port; the length, if it were an extension header */
    EXPECT(program, &good, "passed");
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        bad = good;
        bad.bytes[14 + changes[i].at] = changes[i].value;
        if (strcmp(judge(program, &bad), "malformed") != 0)
            fail_msg("%s was let through", changes[i].what);
        EXPECT(without, &bad, "passed");
    }
    tcp6(&bad, "::1");
    EXPECT(program, &bad, "malformed");
    tcp6(&bad, US6);
    EXPECT(program, &bad, "malformed");
    for (size_t length = 14; length < good.length; length++) {
        bad = good;
        bad.length = length;
        EXPECT(program, &bad, "malformed");
    }
    xdp_drop_bpf__destroy(program);
    xdp_drop_bpf__destroy(without);
}

static void other_protocols(void **state) {
    (void)state;
    struct vx_config config = everything();
    struct xdp_drop_bpf *program = load(&config);
    struct frame f;
    frame_begin(&f); /* ARP */
    f.bytes[12] = 0x08;
    f.bytes[13] = 0x06;
    f.length += 28;
    EXPECT(program, &f, "passed");
    frame_begin(&f);
    frame_ip4(&f, THEM, US);
    frame_icmp(&f, 8);
    EXPECT(program, &f, "passed");
    frame_begin(&f);
    frame_ip4(&f, THEM, US);
    frame_icmp(&f, 7);
    EXPECT(program, &f, "malformed");
    frame_begin(&f);
    frame_ip6(&f, THEM6, US6);
    frame_icmp(&f, 24);
    EXPECT(program, &f, "passed");
    frame_begin(&f);
    frame_ip4(&f, THEM, US);
    f.bytes[f.next] = 47; /* GRE */
    frame_payload(&f, 4);
    EXPECT(program, &f, "passed");
    xdp_drop_bpf__destroy(program);
}

static void udp_headers(void **state) {
    (void)state;
    struct vx_config config = {.bans = {.enabled = true, .xdp.malformed = true}};
    struct xdp_drop_bpf *program = load(&config);
    struct frame f;
    frame_begin(&f);
    frame_ip4(&f, THEM, US);
    frame_udp(&f, 40000, 10);
    EXPECT(program, &f, "passed");
    f.bytes[14 + 25] = 7; /* shorter than its header */
    EXPECT(program, &f, "malformed");
    f.bytes[14 + 25] = 19; /* longer than the packet */
    EXPECT(program, &f, "malformed");
    xdp_drop_bpf__destroy(program);
}

/* --- Fragments and extension headers ------------------------------------------------------------------------------ */

static void fragments(void **state) {
    (void)state;
    struct vx_config config = {.bans = {.enabled = true, .xdp.fragments = true}};
    struct vx_config checked = {.bans = {.enabled = true, .xdp.malformed = true}};
    struct xdp_drop_bpf *program = load(&config), *checks = load(&checked);
    struct frame whole, f;
    frame_begin(&whole);
    frame_ip4(&whole, THEM, US);
    frame_udp(&whole, 40000, 16);
    EXPECT(program, &whole, "passed");
    f = whole;
    f.bytes[14 + 6] = 0x40; /* must not be fragmented */
    EXPECT(program, &f, "passed");
    f.bytes[14 + 6] = 0x20; /* the first, its datagram longer than it */
    f.bytes[14 + 25] = 200;
    EXPECT(program, &f, "fragment");
    EXPECT(checks, &f, "passed");
    f = whole;
    f.bytes[14 + 7] = 3; /* the last: no UDP header in it */
    f.bytes[14 + 25] = 0;
    EXPECT(program, &f, "fragment");
    EXPECT(checks, &f, "passed");
    for (int offset = 0; offset < 2; offset++) {
        frame_begin(&f);
        frame_ip6(&f, THEM6, US6);
        frame_extension(&f, 44, 8)[3] = offset ? 0x08 : 1;
        frame_udp(&f, 40000, 16);
        EXPECT(program, &f, "fragment");
        EXPECT(checks, &f, "passed");
    }
    xdp_drop_bpf__destroy(program);
    xdp_drop_bpf__destroy(checks);
}

static void extension_headers(void **state) {
    (void)state;
    struct vx_config config = {.bans = {.enabled = true, .xdp = {.malformed = true, .amplification = true}}};
    struct xdp_drop_bpf *program = load(&config);
    static const uint8_t kinds[] = {0, 60, 43, 51, 60, 60, 60};
    for (size_t count = 0; count <= sizeof kinds; count++) {
        struct frame f;
        frame_begin(&f);
        frame_ip6(&f, THEM6, US6);
        for (size_t i = 0; i < count; i++)
            frame_extension(&f, kinds[i], 8 * (1 + i % 3));
        frame_udp(&f, 1900, 8);
        /* Behind as many as are followed, the UDP header is found; behind more, nobody has anything to say. */
        EXPECT(program, &f, count <= 6 ? "amplification" : "malformed");
    }
    xdp_drop_bpf__destroy(program);
}

/* --- Floods ------------------------------------------------------------------------------------------------------- */

static void amplification(void **state) {
    (void)state;
    struct vx_config config = {.bans = {.enabled = true, .xdp.amplification = true}};
    uint16_t ports[] = {53, 65535};
    struct vx_config chosen = config;
    chosen.bans.xdp.amplification_ports = ports;
    chosen.bans.xdp.amplification_port_count = 2;
    struct xdp_drop_bpf *usual = load(&config), *own = load(&chosen);
    static const struct {
        uint16_t port;
        const char *usual, *own;
    } cases[] = {
        {19, "amplification", "passed"},
        {1900, "amplification", "passed"},
        {11211, "amplification", "passed"},
        {53, "passed", "amplification"},
        {123, "passed", "passed"},
        {65535, "passed", "amplification"},
        {0, "passed", "passed"},
        {40000, "passed", "passed"},
    };
    struct frame f;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        frame_begin(&f);
        frame_ip4(&f, THEM, US);
        frame_udp(&f, cases[i].port, 400);
        EXPECT(usual, &f, cases[i].usual);
        EXPECT(own, &f, cases[i].own);
    }
    frame_begin(&f);
    frame_ip4(&f, THEM, US);
    frame_tcp(&f, FRAME_ACK, 1900, 1);
    EXPECT(usual, &f, "passed");
    /* The first fragment has the header; another one has other bytes in its place. */
    for (int first = 0; first < 2; first++) {
        frame_begin(&f);
        frame_ip6(&f, THEM6, US6);
        frame_extension(&f, 44, 8)[3] = first ? 1 : 0x08;
        frame_udp(&f, 1900, 400);
        EXPECT(usual, &f, first ? "amplification" : "passed");
    }
    xdp_drop_bpf__destroy(usual);
    xdp_drop_bpf__destroy(own);
}

/* As if the client had sent packets for an hour to come: the clock decides nothing here. */
static void use_up(const struct xdp_drop_bpf *program, const char *who) {
    const uint64_t hour_ns = UINT64_C(3600000000000);
    int fd = bpf_map__fd(program->maps.RATES);
    uint64_t key = client(who);
    struct vx_xdp_source source;
    assert_int_equal(bpf_map_lookup_elem(fd, &key, &source), 0);
    source.syn_at_ns += source.syn_at_ns ? hour_ns : 0;
    source.udp_at_ns += source.udp_at_ns ? hour_ns : 0;
    source.connection_at_ns += source.connection_at_ns ? hour_ns : 0;
    assert_int_equal(bpf_map_update_elem(fd, &key, &source, BPF_EXIST), 0);
}

static void syn_rate(void **state) {
    (void)state;
    struct vx_config config = {.bans = {.enabled = true, .xdp.syn_rate = 1}};
    struct xdp_drop_bpf *program = load(&config);
    struct frame f;
    frame_begin(&f);
    frame_ip4(&f, THEM, US);
    frame_tcp(&f, FRAME_SYN, 1, 1);
    EXPECT(program, &f, "passed");
    use_up(program, THEM);
    EXPECT(program, &f, "syn_rate");
    f.bytes[14 + 33] = FRAME_SYN | FRAME_ACK; /* an answer to our own */
    EXPECT(program, &f, "passed");
    f.bytes[14 + 33] = FRAME_ACK;
    EXPECT(program, &f, "passed");
    f.bytes[14 + 33] = FRAME_SYN;
    f.bytes[14 + 15]++; /* another client */
    EXPECT(program, &f, "passed");
    xdp_drop_bpf__destroy(program);
}

static void burst_is_exact(void **state) {
    (void)state;
    /* 70,000 a second are no whole number of nanoseconds; a run of 7 shall not take a second. */
    static const uint32_t rates[] = {7, 3, 70000};
    for (size_t i = 0; i < sizeof rates / sizeof *rates; i++) {
        struct vx_config config = {.bans = {.enabled = true, .xdp.udp_rate = rates[i]}};
        struct xdp_drop_bpf *program = load(&config);
        assert_int_equal(program->rodata->udp_rate.tolerance_ns,
                         (rates[i] - 1) * (UINT64_C(1000000000) / rates[i]));
        struct frame f;
        frame_begin(&f);
        frame_ip6(&f, THEM6, US6);
        frame_udp(&f, 40000, 10);
        for (uint32_t n = 0; n < 10 && n < rates[i]; n++)
            EXPECT(program, &f, "passed");
        xdp_drop_bpf__destroy(program);
    }
}

static void udp_rate(void **state) {
    (void)state;
    struct vx_config config = {.bans = {.enabled = true, .xdp.udp_rate = 1}};
    struct xdp_drop_bpf *program = load(&config);
    struct frame f;
    frame_begin(&f);
    frame_ip6(&f, THEM6, US6);
    frame_udp(&f, 40000, 10);
    EXPECT(program, &f, "passed");
    use_up(program, THEM6);
    EXPECT(program, &f, "udp_rate");
    frame_begin(&f);
    frame_ip6(&f, "2001:db8:1:2::99", US6); /* the same /64 */
    frame_udp(&f, 40001, 10);
    EXPECT(program, &f, "udp_rate");
    frame_begin(&f);
    frame_ip6(&f, THEM6, US6);
    frame_tcp(&f, FRAME_SYN, 1, 1);
    EXPECT(program, &f, "passed");
    xdp_drop_bpf__destroy(program);
}

static void connection_rate(void **state) {
    (void)state;
    struct vx_config config = {.bans = {.enabled = true, .xdp.connection_rate = 1}};
    struct xdp_drop_bpf *program = load(&config);
    struct frame f;
    frame_begin(&f);
    frame_ip4(&f, THEM, US);
    frame_tcp(&f, FRAME_SYN, 1000, 77);
    EXPECT(program, &f, "passed");
    use_up(program, THEM);
    EXPECT(program, &f, "passed"); /* repeated: the same connection */
    f.bytes[14 + 27]++;
    EXPECT(program, &f, "connection_rate"); /* another sequence number: a new one */
    xdp_drop_bpf__destroy(program);
}

/* Frames of any kind, cut and with bytes changed: each gets one verdict, and the same one again. */
static void any_frame_has_a_verdict(void **state) {
    (void)state;
    struct vx_config config = {
        .bans = {.enabled = true, .xdp = {.malformed = true, .fragments = true, .amplification = true}}};
    struct xdp_drop_bpf *program = load(&config);
    struct vx_random random = {11};
    static const uint8_t extensions[] = {0, 43, 44, 51, 60};
    for (int i = 0; i < 2000; i++) {
        struct frame f;
        frame_begin(&f);
        for (uint32_t tags = vx_random_below(&random, 4); tags > 0; tags--)
            frame_tag(&f, 0x8100);
        bool ip6 = vx_random_below(&random, 2);
        (ip6 ? frame_ip6 : frame_ip4)(&f, ip6 ? THEM6 : THEM, ip6 ? US6 : US);
        for (uint32_t n = ip6 ? vx_random_below(&random, 8) : 0; n > 0; n--)
            frame_extension(&f, extensions[vx_random_below(&random, 5)],
                            8 * (1 + (size_t)vx_random_below(&random, 4)));
        if (vx_random_below(&random, 2))
            frame_tcp(&f, (uint8_t)vx_random_next(&random), 1, 1);
        else
            frame_udp(&f, (uint16_t)vx_random_next(&random), vx_random_below(&random, 40));
        for (uint32_t n = vx_random_below(&random, 4); n > 0; n--)
            f.bytes[vx_random_below(&random, (uint32_t)f.length)] = (uint8_t)vx_random_next(&random);
        f.length -= vx_random_below(&random, (uint32_t)f.length - 13);
        const char *verdict = judge(program, &f);
        if (strcmp(judge(program, &f), verdict) != 0)
            fail_msg("frame %d: another verdict the second time", i);
    }
    xdp_drop_bpf__destroy(program);
}

/* Maps that nothing looks at are not made, and what is switched off is no code. */
static void smallest_program(void **state) {
    (void)state;
    struct vx_config none = {.bans.enabled = true}, all = everything();
    struct xdp_drop_bpf *small = load(&none), *large = load(&all);
    assert_true(bpf_map__fd(small->maps.RATES) < 0 && bpf_map__fd(small->maps.PREFIXES4) < 0);
    assert_true(bpf_map__fd(large->maps.RATES) >= 0);
    struct bpf_prog_info a = {0}, b = {0};
    uint32_t bytes = sizeof a;
    assert_int_equal(bpf_obj_get_info_by_fd(bpf_program__fd(small->progs.xdp_drop), &a, &bytes), 0);
    assert_int_equal(bpf_obj_get_info_by_fd(bpf_program__fd(large->progs.xdp_drop), &b, &bytes), 0);
    print_message("translated: %u bytes with bans alone, %u with everything\n", a.xlated_prog_len,
                  b.xlated_prog_len);
    assert_true(a.xlated_prog_len * 3 < b.xlated_prog_len);
    xdp_drop_bpf__destroy(small);
    xdp_drop_bpf__destroy(large);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(banned_clients),   cmocka_unit_test(vlan_tags),
        cmocka_unit_test(prefixes),         cmocka_unit_test(malformed_ip4),
        cmocka_unit_test(good_flags),       cmocka_unit_test(malformed_ip6),
        cmocka_unit_test(other_protocols),  cmocka_unit_test(udp_headers),
        cmocka_unit_test(fragments),        cmocka_unit_test(extension_headers),
        cmocka_unit_test(amplification),    cmocka_unit_test(syn_rate),
        cmocka_unit_test(burst_is_exact),   cmocka_unit_test(udp_rate),
        cmocka_unit_test(connection_rate),  cmocka_unit_test(any_frame_has_a_verdict),
        cmocka_unit_test(smallest_program),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
