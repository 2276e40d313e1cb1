/* SPDX-License-Identifier: Apache-2.0 */
/* What the XDP program costs for a packet, by the kernel's own clock (BPF_PROG_TEST_RUN with repeat: without driver and
 * without cache misses on the packet): dropped and let through, with bans alone and with every check on. 65,536 clients are
 * banned. Beside them an empty program, which shows what the measuring costs, and a bare look into the same map. Needs root. One JSON object a line: name, unit, and the median, lowest and highest of the rounds. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/micro.h"
#include "ebpf/xdp_internal.h"
#include "support/frame.h"

#include <xdp_drop.skel.h>

enum {
    ROUNDS = 21,
    REPEAT = 200000,
    BANNED = 65536,
    MOST = 500000000 /* packets a second: 2 ns apart, faster than any run */
};

enum { LOAD_NUMBER = BPF_LD | BPF_DW /* BPF_IMM */ };

#define BAD  "10.0.0.7" /* one of those that are banned */
#define GOOD "192.0.2.7"
#define US   "198.51.100.1"

static void fail(const char *what) {
    fprintf(stderr, "micro_xdp: %s\n", what);
    exit(1);
}

static struct vx_prefix prefix(const char *text) {
    struct vx_prefix p;
    if (!vx_prefix_parse(vx_slice_of(text), &p))
        fail("no prefix");
    return p;
}

static struct xdp_drop_bpf *load(const struct vx_config *config) {
    char why[512];
    struct xdp_drop_bpf *program = vx_xdp_program_load(config, BANNED, -1, -1, why, sizeof why);
    if (!program)
        fail(why);
    for (uint32_t i = 0; i < BANNED; i++) {
        uint64_t client = VX_XDP_IP4_MARK | (0x0a000000u + i);
        struct vx_xdp_ban ban = {.until_ns = UINT64_MAX};
        if (bpf_map_update_elem(bpf_map__fd(program->maps.BLOCKED_IPS), &client, &ban, BPF_ANY) != 0)
            fail("the map takes no ban");
    }
    return program;
}

/* The program must do `action` with the frame. */
static void measure_fd(const char *name, int program, const struct frame *frame, uint32_t action) {
    double rounds[ROUNDS];
    for (unsigned i = 0; i < ROUNDS; i++) {
        LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = frame->bytes, .data_size_in = (uint32_t)frame->length,
                    .repeat = REPEAT);
        if (bpf_prog_test_run_opts(program, &run) != 0)
            fail("BPF_PROG_TEST_RUN failed");
        if (run.retval != action)
            fail(name);
        rounds[i] = run.duration; /* of one run, in whole nanoseconds */
    }
    micro_report(name, "ns", rounds, ROUNDS);
}

static void measure(const char *name, const struct xdp_drop_bpf *program, const struct frame *frame,
                    uint32_t action) {
    measure_fd(name, bpf_program__fd(program->progs.xdp_drop), frame, action);
}

static void measure_instructions(const char *name, const struct bpf_insn *instructions, size_t count,
                                 const struct frame *frame) {
    int program = bpf_prog_load(BPF_PROG_TYPE_XDP, "reference", "Apache-2.0", instructions, count, NULL);
    if (program < 0)
        fail("a reference is not taken");
    measure_fd(name, program, frame, XDP_DROP);
    close(program);
}

/* r0 = XDP_DROP, and the same after a look-up of BAD that finds it. */
static void measure_references(const struct xdp_drop_bpf *program, const struct frame *frame) {
    const uint64_t bad = VX_XDP_IP4_MARK | 0x0a000007;
    const struct bpf_insn finish[] = {{.code = BPF_ALU64 | BPF_MOV, .imm = XDP_DROP},
                                      {.code = BPF_JMP | BPF_EXIT}};
    const struct bpf_insn look_up[] = {
        {.code = LOAD_NUMBER, .dst_reg = 1, .imm = (int32_t)bad},
        {.imm = (int32_t)(bad >> 32)},
        {.code = BPF_STX | BPF_MEM | BPF_DW, .dst_reg = 10, .src_reg = 1, .off = -8},
        {.code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = 2, .src_reg = 10},
        {.code = BPF_ALU64 /* BPF_ADD */, .dst_reg = 2, .imm = -8},
        {.code = LOAD_NUMBER,
         .dst_reg = 1,
         .src_reg = BPF_PSEUDO_MAP_FD,
         .imm = bpf_map__fd(program->maps.BLOCKED_IPS)},
        {.imm = 0},
        {.code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_map_lookup_elem},
        {.code = BPF_JMP | BPF_JEQ, .dst_reg = 0, .off = 1},
        finish[0],
        finish[1],
    };
    measure_instructions("xdp_reference_empty", finish, sizeof finish / sizeof *finish, frame);
    measure_instructions("xdp_reference_look_up", look_up, sizeof look_up / sizeof *look_up, frame);
}

static void tcp(struct frame *f, const char *source, uint8_t flags) {
    frame_begin(f);
    frame_ip4(f, source, US);
    frame_tcp(f, flags, 40000, 1);
    frame_payload(f, 400);
}

static void udp(struct frame *f) {
    frame_begin(f);
    frame_ip4(f, GOOD, US);
    frame_udp(f, 40000, 400);
}

static void tcp6(struct frame *f) {
    frame_begin(f);
    frame_ip6(f, "2001:db8::7", "2001:db8:1::1");
    frame_tcp(f, FRAME_ACK, 40000, 1);
    frame_payload(f, 400);
}

/* Packets that are counted: with a burst so large that all of them pass. */
static void measure_rated(const char *name, const struct vx_config *config, const struct frame *frame) {
    char why[512];
    struct vx_config unlimited = *config;
    unlimited.bans.xdp.syn_rate = unlimited.bans.xdp.udp_rate = unlimited.bans.xdp.connection_rate = MOST;
    struct xdp_drop_bpf *program = vx_xdp_program_load(&unlimited, BANNED, -1, -1, why, sizeof why);
    if (!program)
        fail(why);
    measure(name, program, frame, XDP_PASS);
    xdp_drop_bpf__destroy(program);
}

int main(void) {
    struct vx_prefix drop[] = {prefix("203.0.113.0/24"), prefix("198.18.0.0/15"),
                               prefix("2001:db8:bad::/48")};
    struct vx_prefix spare[] = {prefix("172.16.0.0/12"), prefix("192.168.0.0/16"), prefix("fd00::/8")};
    struct vx_config bans = {.bans.enabled = true}, all = bans;
    all.bans.xdp = (struct vx_config_xdp){.drop = drop,
                                          .drop_count = 3,
                                          .spare = spare,
                                          .spare_count = 3,
                                          .malformed = true,
                                          .fragments = true,
                                          .amplification = true,
                                          .syn_rate = 1000000,
                                          .udp_rate = 1000000,
                                          .connection_rate = 1000000};
    struct xdp_drop_bpf *small = load(&bans), *large = load(&all);
    struct frame f;
    tcp(&f, BAD, FRAME_ACK);
    measure_references(small, &f);
    measure("xdp_drop_banned", small, &f, XDP_DROP);
    measure("xdp_drop_banned_all_checks", large, &f, XDP_DROP);
    tcp(&f, GOOD, FRAME_ACK);
    measure("xdp_pass", small, &f, XDP_PASS);
    measure("xdp_pass_all_checks", large, &f, XDP_PASS);
    tcp6(&f);
    measure("xdp_pass_all_checks_ip6", large, &f, XDP_PASS);
    tcp(&f, GOOD, FRAME_SYN | FRAME_FIN);
    measure("xdp_drop_malformed", large, &f, XDP_DROP);
    udp(&f);
    measure_rated("xdp_pass_all_checks_udp", &all, &f);
    tcp(&f, GOOD, FRAME_SYN);
    measure_rated("xdp_pass_all_checks_syn", &all, &f);
    xdp_drop_bpf__destroy(small);
    xdp_drop_bpf__destroy(large);
    return 0;
}
