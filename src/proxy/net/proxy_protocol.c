/* SPDX-License-Identifier: Apache-2.0 */
/* See proxy_protocol.h. Section numbers are those of HAProxy's doc/proxy-protocol.txt.
 *
 * The header is looked at with MSG_PEEK and taken from the socket only when it is whole, and then exactly: what
 * follows (a request, a ClientHello) stays in the kernel for the next reader, so nothing has to be handed on. A client
 * that sends it byte by byte costs a look for each byte, up to VX_PROXY_HEADER_MAX and the time limit. */
#include "proxy/net/proxy_protocol.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "core/base/assert.h"

enum { V2_HEAD_BYTES = 16, V2_IP4_BYTES = 12, V2_IP6_BYTES = 36, V2_UNIX_BYTES = 216, V1_PREFIX_BYTES = 6 };

static const char v2_signature[12] = "\r\n\r\n\0\r\nQUIT\n";

/* A decimal port without leading zeros (§2.1). */
static bool parse_port(struct vx_slice s, uint16_t *port) {
    uint32_t value = 0;
    if (s.len == 0 || s.len > 5 || (s.ptr[0] == '0' && s.len > 1))
        return false;
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] < '0' || s.ptr[i] > '9')
            return false;
        value = value * 10 + (uint32_t)(s.ptr[i] - '0');
    }
    *port = (uint16_t)value;
    return value <= 65535;
}

/* The text up to the next space, which is taken off too; the last one ends with the line. */
static struct vx_slice take_word(struct vx_slice *line) {
    const char *space = line->len ? memchr(line->ptr, ' ', line->len) : NULL;
    struct vx_slice word = {line->ptr, space ? (size_t)(space - line->ptr) : line->len};
    *line = vx_slice_skip(*line, word.len + (space != NULL));
    return word;
}

static bool parse_v1_address(struct vx_slice text, bool ip6, struct vx_address *out) {
    bool has_colon = text.len && memchr(text.ptr, ':', text.len);
    return has_colon == ip6 && vx_address_parse_ip(text, out);
}

/* The rest of a line after "PROXY ", without CRLF. */
static bool parse_v1_line(struct vx_slice line, struct vx_proxy_header *out) {
    struct vx_slice family = take_word(&line);
    if (vx_slice_eq(family, VX_SLICE("UNKNOWN")))
        return true;
    bool ip6 = vx_slice_eq(family, VX_SLICE("TCP6"));
    if (!ip6 && !vx_slice_eq(family, VX_SLICE("TCP4")))
        return false;
    struct vx_slice source = take_word(&line), destination = take_word(&line);
    struct vx_slice source_port = take_word(&line);
    struct vx_proxy_header h;
    if (!parse_v1_address(source, ip6, &h.source) || !parse_v1_address(destination, ip6, &h.destination) ||
        !parse_port(source_port, &h.source.port) || !parse_port(line, &h.destination.port))
        return false;
    *out = h;
    return true;
}

/* §2.1: one line of ASCII. */
static int parse_v1(const char *bytes, size_t len, struct vx_proxy_header *out) {
    size_t seen = len < VX_PROXY_V1_MAX ? len : VX_PROXY_V1_MAX;
    const char *cr = memchr(bytes, '\r', seen);
    size_t text = cr ? (size_t)(cr - bytes) : seen;
    if (memchr(bytes, '\n', text) || memchr(bytes, '\0', text))
        return -1;
    if (!cr)
        return len < VX_PROXY_V1_MAX ? 0 : -1;
    if (text + 1 == seen)
        return seen < VX_PROXY_V1_MAX ? 0 : -1;
    if (cr[1] != '\n')
        return -1;
    if (!parse_v1_line(vx_slice(bytes + V1_PREFIX_BYTES, text - V1_PREFIX_BYTES), out))
        return -1;
    return (int)text + 2;
}

static struct vx_address address_of(enum vx_address_kind kind, const char *ip, const char *port) {
    struct vx_address a = {.kind = (uint8_t)kind};
    memcpy(a.ip, ip, kind == VX_ADDRESS_IP4 ? 4 : 16);
    a.port = (uint16_t)((unsigned char)port[0] << 8 | (unsigned char)port[1]);
    vx_address_unmap(&a);
    return a;
}

/* §2.2: the addresses of a PROXY command. False: fewer bytes than the family needs, or a reserved value. */
static bool parse_v2_addresses(unsigned family, unsigned protocol, struct vx_slice body,
                               struct vx_proxy_header *out) {
    static const uint8_t need[] = {0, V2_IP4_BYTES, V2_IP6_BYTES, V2_UNIX_BYTES};
    if (family >= sizeof need || protocol > 2 || body.len < need[family])
        return false;
    /* UNSPEC and datagrams say nothing of this stream; a UNIX peer's path is no client address either. */
    if (protocol != 1)
        return true;
    if (family == 1) {
        out->source = address_of(VX_ADDRESS_IP4, body.ptr, body.ptr + 8);
        out->destination = address_of(VX_ADDRESS_IP4, body.ptr + 4, body.ptr + 10);
    } else if (family == 2) {
        out->source = address_of(VX_ADDRESS_IP6, body.ptr, body.ptr + 32);
        out->destination = address_of(VX_ADDRESS_IP6, body.ptr + 16, body.ptr + 34);
    }
    return true;
}

/* §2.2: a binary header; what follows the addresses are TLVs, which are skipped. */
static int parse_v2(const char *bytes, size_t len, struct vx_proxy_header *out) {
    if (len < V2_HEAD_BYTES)
        return 0;
    unsigned char command = (unsigned char)bytes[12], family = (unsigned char)bytes[13];
    size_t body = (size_t)((unsigned char)bytes[14] << 8 | (unsigned char)bytes[15]);
    if (command >> 4 != 2 || (command & 15) > 1 || body > VX_PROXY_HEADER_MAX - V2_HEAD_BYTES)
        return -1;
    if (len < V2_HEAD_BYTES + body)
        return 0;
    bool local = (command & 15) == 0;
    if (!local && !parse_v2_addresses(family >> 4, family & 15, vx_slice(bytes + V2_HEAD_BYTES, body), out))
        return -1;
    return (int)(V2_HEAD_BYTES + body);
}

int vx_proxy_protocol_parse(const char *bytes, size_t len, struct vx_proxy_header *out) {
    *out = (struct vx_proxy_header){.source.kind = VX_ADDRESS_NONE};
    if (len == 0)
        return 0;
    if (memcmp(bytes, v2_signature, len < sizeof v2_signature ? len : sizeof v2_signature) == 0)
        return parse_v2(bytes, len, out);
    if (memcmp(bytes, "PROXY ", len < V1_PREFIX_BYTES ? len : V1_PREFIX_BYTES) == 0)
        return len < V1_PREFIX_BYTES ? 0 : parse_v1(bytes, len, out);
    return -1;
}

struct vx_proxy_await {
    struct vx_tcp *tcp;
    struct vx_transport *transport;
    struct vx_timer timer;
    void (*done)(void *user, struct vx_proxy_await *a, struct vx_transport *t, uint64_t now_ns);
    void *user;
};

static void finish(struct vx_proxy_await *a, bool ok, uint64_t now_ns) {
    struct vx_transport *t = a->transport;
    vx_timer_remove(&vx_loop_runtime(a->tcp->loop)->wheel, &a->timer);
    if (!ok) {
        t->ops->close(t, true);
        t = NULL;
    }
    a->done(a->user, a, t, now_ns);
    free(a);
}

static void take_addresses(struct vx_transport *t, const struct vx_proxy_header *h) {
    if (h->source.kind == VX_ADDRESS_NONE)
        return;
    t->remote = h->source;
    t->local = h->destination;
}

static void on_ready(struct vx_transport *t, uint32_t ready, uint64_t now_ns) {
    struct vx_proxy_await *a = t->owner;
    if (ready & VX_FAILED) {
        finish(a, false, now_ns);
        return;
    }
    if (!(ready & (VX_READABLE | VX_PEER_SHUT)))
        return;
    char bytes[VX_PROXY_HEADER_MAX];
    int fd = vx_tcp_fd(t);
    ssize_t n = recv(fd, bytes, sizeof bytes, MSG_PEEK);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        t->readable = false;
        return;
    }
    struct vx_proxy_header header;
    int taken = n > 0 ? vx_proxy_protocol_parse(bytes, (size_t)n, &header) : -1;
    if (taken == 0 && !t->peer_shut) {
        /* The bytes stay where they are; the next ones make an edge. */
        t->readable = false;
        return;
    }
    if (taken <= 0 || recv(fd, bytes, (size_t)taken, 0) != taken) {
        finish(a, false, now_ns);
        return;
    }
    take_addresses(t, &header);
    t->readable = true;
    finish(a, true, now_ns);
}

static void on_timeout(struct vx_timer *timer, uint64_t now_ns) {
    finish(VX_CONTAINER_OF(timer, struct vx_proxy_await, timer), false, now_ns);
}

struct vx_proxy_await *vx_proxy_await_start(struct vx_tcp *tcp, struct vx_transport *t, uint64_t timeout_ns,
                                            void (*done)(void *user, struct vx_proxy_await *a,
                                                         struct vx_transport *t, uint64_t now_ns),
                                            void *user) {
    struct vx_runtime *rt = vx_loop_runtime(tcp->loop);
    struct vx_proxy_await *a = malloc(sizeof *a);
    if (!a) {
        t->ops->close(t, true);
        return NULL;
    }
    *a = (struct vx_proxy_await){.tcp = tcp, .transport = t, .done = done, .user = user};
    vx_timer_init(&a->timer, on_timeout);
    vx_timer_set(&rt->wheel, &a->timer, rt->now_ns + timeout_ns);
    t->owner = a;
    t->on_ready = on_ready;
    return a;
}

void vx_proxy_await_cancel(struct vx_proxy_await *a) {
    vx_timer_remove(&vx_loop_runtime(a->tcp->loop)->wheel, &a->timer);
    a->transport->ops->close(a->transport, true);
    free(a);
}
