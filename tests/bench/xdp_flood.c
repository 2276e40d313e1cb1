/* SPDX-License-Identifier: Apache-2.0 */
/* A flood of one packet, made inside the kernel: BPF_PROG_TEST_RUN with live frames puts it onto a veth interface's other
 * end as fast as a driver would. For a namespace of the caller's own; bounded in time and count.
 *
 *   xdp_flood --interface NAME --mac AA:BB:.. --source IP --target IP --port N --seconds S [--rate PACKETS]
 *
 * Sends TCP SYNs, so many a second, or as many as it can. Prints how many it has sent. */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <getopt.h>
#include <linux/bpf.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    FRAME_BYTES = 60,
    PORT_AT = 34,
    URGENT_AT = 52,
    BATCH = 64,
    CALL_FRAMES = 500000,
    SECONDS_MAX = 60,
    RATE_MIN = 1000,
    RATE_MAX = 10000000
};

static const uint64_t ns_per_s = 1000000000, pace_ns = 1000000;

/* BPF_W, BPF_ADD and BPF_K are 0 and stand here for the reader only. */
enum { LOAD_WORD = BPF_LDX | BPF_MEM /* BPF_W */, ADD_NUMBER = BPF_ALU64 /* BPF_ADD, BPF_K */ };

struct options {
    const char *interface, *mac, *source, *target;
    unsigned port, seconds, rate; /* rate 0: as many as it can */
};

static _Noreturn void fail(const char *what) {
    fprintf(stderr, "xdp_flood: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t clock_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * ns_per_s + (uint64_t)t.tv_nsec;
}

static uint32_t add_words(uint32_t sum, const uint8_t *bytes, size_t count) {
    for (size_t i = 0; i < count; i += 2)
        sum += (uint32_t)(bytes[i] << 8 | bytes[i + 1]);
    return sum;
}

static void put_checksum(uint8_t *at, uint32_t sum) {
    sum = (sum & 0xffff) + (sum >> 16);
    sum = ~((sum & 0xffff) + (sum >> 16));
    at[0] = (uint8_t)(sum >> 8);
    at[1] = (uint8_t)sum;
}

/* Ethernet, IPv4 and a TCP SYN; the stack must find nothing wrong with it. */
static void make_frame(uint8_t frame[FRAME_BYTES], const struct options *o) {
    static const uint8_t ip[20] = {0x45, 0, 0, 40, 0, 1, 0x40, 0, 64, 6},
                         tcp[20] = {[12] = 0x50, 2, 4, [18] = 0xff, 0xff};
    unsigned mac[6];
    memset(frame, 0, FRAME_BYTES);
    for (unsigned i = 0; i < 6; i++) {
        mac[i] = (unsigned)strtoul(o->mac + (size_t)3 * i, NULL, 16);
        frame[i] = (uint8_t)mac[i];
    }
    frame[6] = 2;
    frame[12] = 8;
    memcpy(frame + 14, ip, sizeof ip);
    memcpy(frame + 34, tcp, sizeof tcp);
    if (inet_pton(AF_INET, o->source, frame + 26) != 1 || inet_pton(AF_INET, o->target, frame + 30) != 1)
        fail("no address");
    frame[36] = (uint8_t)(o->port >> 8);
    frame[37] = (uint8_t)o->port;
    put_checksum(frame + 24, add_words(0, frame + 14, 20));
    put_checksum(frame + 50, add_words(add_words(6 + 20, frame + 26, 8), frame + 34, 20));
}

/* Gives the frame a source port by chance, and its complement as the urgent pointer, so that the checksum stays right; then
 * it leaves by the interface that it is said to have come from. What comes from any other goes its way. */
static int load_sender(unsigned interface) {
    const struct bpf_insn send[] = {
        {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = XDP_PASS},
        {.code = LOAD_WORD, .dst_reg = 6, .src_reg = 1, .off = offsetof(struct xdp_md, ingress_ifindex)},
        {.code = BPF_JMP | BPF_JNE | BPF_K, .dst_reg = 6, .imm = (int)interface, .off = 10},
        {.code = LOAD_WORD, .dst_reg = 6, .src_reg = 1, .off = offsetof(struct xdp_md, data)},
        {.code = LOAD_WORD, .dst_reg = 7, .src_reg = 1, .off = offsetof(struct xdp_md, data_end)},
        {.code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = 8, .src_reg = 6},
        {.code = ADD_NUMBER, .dst_reg = 8, .imm = FRAME_BYTES},
        {.code = BPF_JMP | BPF_JGT | BPF_X, .dst_reg = 8, .src_reg = 7, .off = 4},
        {.code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_get_prandom_u32},
        {.code = BPF_STX | BPF_MEM | BPF_H, .dst_reg = 6, .src_reg = 0, .off = PORT_AT},
        {.code = BPF_ALU64 | BPF_XOR | BPF_K, .dst_reg = 0, .imm = 0xffff},
        {.code = BPF_STX | BPF_MEM | BPF_H, .dst_reg = 6, .src_reg = 0, .off = URGENT_AT},
        {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = XDP_TX},
        {.code = BPF_JMP | BPF_EXIT},
    };
    int fd = bpf_prog_load(BPF_PROG_TYPE_XDP, "flood", "Apache-2.0", send, sizeof send / sizeof *send, NULL);
    if (fd < 0)
        fail("the program is not taken");
    return fd;
}

static void send_frames(int program, uint8_t frame[FRAME_BYTES], unsigned interface, unsigned count) {
    struct xdp_md context = {.data_end = FRAME_BYTES, .ingress_ifindex = interface};
    LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = frame, .data_size_in = FRAME_BYTES, .ctx_in = &context,
                .ctx_size_in = sizeof context, .repeat = (int)count, .flags = BPF_F_TEST_XDP_LIVE_FRAMES,
                .batch_size = BATCH);
    if (bpf_prog_test_run_opts(program, &run) != 0 && errno != EINTR)
        fail("frames are not sent");
}

/* A kernel that runs a program as its only one waits some 25 ms for others to be done with it at the end of each call. It
 * need not where an interface has that program all the time: here loopback, whose packets it lets through. */
static void keep_in_use(int program) {
    LIBBPF_OPTS(bpf_link_create_opts, generic, .flags = XDP_FLAGS_SKB_MODE);
    if (bpf_link_create(program, (int)if_nametoindex("lo"), BPF_XDP, &generic) < 0)
        fail("the program is not taken by lo");
}

static void pause_until(uint64_t ns) {
    struct timespec t = {.tv_sec = (time_t)(ns / ns_per_s), .tv_nsec = (long)(ns % ns_per_s)};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
}

/* With a rate, every millisecond what has become due since the last time; else in long calls one after the other. */
static uint64_t flood(const struct options *o) {
    uint8_t frame[FRAME_BYTES];
    unsigned interface = if_nametoindex(o->interface), count = CALL_FRAMES;
    int program = load_sender(interface);
    uint64_t begin_ns = clock_ns(), end_ns = begin_ns + o->seconds * ns_per_s, now_ns = begin_ns, sent = 0;
    make_frame(frame, o);
    keep_in_use(program);
    for (; now_ns < end_ns; now_ns = clock_ns(), sent += count) {
        if (o->rate) {
            pause_until(now_ns + pace_ns);
            uint64_t due = (clock_ns() - begin_ns) * o->rate / ns_per_s - sent;
            count = due < CALL_FRAMES ? (unsigned)due : CALL_FRAMES;
        }
        send_frames(program, frame, interface, count);
    }
    return sent;
}

static bool set_option(struct options *o, int letter, const char *text) {
    switch (letter) {
    case 'i':
        o->interface = text;
        return true;
    case 'm':
        o->mac = text;
        return true;
    case 's':
        o->source = text;
        return true;
    case 't':
        o->target = text;
        return true;
    case 'p':
        o->port = (unsigned)strtoul(text, NULL, 10);
        return true;
    case 'd':
        o->seconds = (unsigned)strtoul(text, NULL, 10);
        return true;
    case 'r':
        o->rate = (unsigned)strtoul(text, NULL, 10);
        return true;
    default:
        return false;
    }
}

int main(int argc, char **argv) {
    static const struct option known[] = {
        {"interface", required_argument, NULL, 'i'}, {"mac", required_argument, NULL, 'm'},
        {"source", required_argument, NULL, 's'},    {"target", required_argument, NULL, 't'},
        {"port", required_argument, NULL, 'p'},      {"seconds", required_argument, NULL, 'd'},
        {"rate", required_argument, NULL, 'r'},      {NULL, 0, NULL, 0},
    };
    struct options o = {0};
    for (int found = getopt_long(argc, argv, "", known, NULL); found != -1;
         found = getopt_long(argc, argv, "", known, NULL))
        if (!set_option(&o, found, optarg))
            return 2;
    bool rate_fits = !o.rate || (o.rate >= RATE_MIN && o.rate <= RATE_MAX);
    if (!o.interface || !o.mac || strlen(o.mac) != 17 || !o.source || !o.target || !o.port || !o.seconds ||
        o.seconds > SECONDS_MAX || !rate_fits || strcmp(o.interface, "lo") == 0) {
        fprintf(stderr, "xdp_flood: --interface (not lo), --mac, --source, --target, --port and --seconds (1 "
                        "to 60) are needed, "
                        "--rate is 1000 to 10000000 or 0\n");
        return 2;
    }
    printf("%llu\n", (unsigned long long)flood(&o));
    return 0;
}
