/* SPDX-License-Identifier: Apache-2.0 */
/* What TLS costs the server's side, without sockets: both ends run here over a wire of memory, and only the CPU time
 * spent inside the server's transport counts. One JSON object a line: name, unit, and the median, lowest and highest
 * of the rounds. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/micro.h"
#include "proxy/runtime/slab.h"
#include "proxy/tls/client.h"
#include "proxy/tls/server.h"
#include "proxy/tls/worker.h"
#include "support/tls.h"

enum {
    ROUNDS = 21,
    HANDSHAKES = 40,
    EXCHANGES = 2000,
    BULK_WRITES = 100,
    BULK_BYTES = 64 * 1024,
    WIRE_BYTES = 1 << 20
};

/* One end of the wire: what the other end wrote waits in `bytes`. */
struct wire {
    struct vx_transport base;
    struct wire *peer;
    size_t start, end;
    char *bytes;
};

static ssize_t wire_read(struct vx_transport *t, char *to, size_t room) {
    struct wire *w = (struct wire *)t;
    size_t n = w->end - w->start < room ? w->end - w->start : room;
    memcpy(to, w->bytes + w->start, n);
    w->start += n;
    if (w->start == w->end) {
        w->start = w->end = 0;
        t->readable = false;
    }
    return n ? (ssize_t)n : VX_IO_AGAIN;
}

static ssize_t wire_write(struct vx_transport *t, const struct vx_slice *slices, unsigned count) {
    struct wire *to = ((struct wire *)t)->peer;
    size_t taken = 0;
    for (unsigned i = 0; i < count; i++) {
        if (to->end + slices[i].len > WIRE_BYTES)
            abort();
        memcpy(to->bytes + to->end, slices[i].ptr, slices[i].len);
        to->end += slices[i].len;
        taken += slices[i].len;
    }
    to->base.readable = true;
    return (ssize_t)taken;
}

static void wire_shut(struct vx_transport *t) {
    (void)t;
}

static void wire_close(struct vx_transport *t, bool reset) {
    (void)t, (void)reset;
}

static const struct vx_transport_ops wire_ops = {wire_read, wire_write, NULL, wire_shut, wire_close};

static struct {
    struct vx_runtime rt;
    struct vx_slab blocks;
    struct vx_tls_worker *worker;
    struct vx_tls_client *client;
    struct wire ends[2]; /* 0: the server's */
    struct vx_transport *server, *client_end;
    uint64_t server_ns;
} bench;

static void on_ready(struct vx_transport *t, uint32_t ready, uint64_t now_ns) {
    (void)now_ns;
    if (ready & VX_FAILED) {
        fprintf(stderr, "handshake: %s\n", t->error.detail);
        exit(1);
    }
}

/* Lets the server's transport do what the wire has for it, on the server's clock. */
static void tick(int end) {
    uint64_t before = micro_cpu_ns();
    bench.ends[end].base.on_ready(&bench.ends[end].base, VX_READABLE | VX_WRITABLE, 1);
    vx_runtime_run_tasks(&bench.rt);
    if (end == 0)
        bench.server_ns += micro_cpu_ns() - before;
}

/* `port`: a client that has a session for it resumes. */
static void connect_both(struct vx_tls_server *server, uint16_t port) {
    for (int i = 0; i < 2; i++) {
        struct wire *w = &bench.ends[i];
        w->base = (struct vx_transport){.ops = &wire_ops, .writable = true, .remote = {.port = port}};
        w->peer = &bench.ends[1 - i];
        w->start = w->end = 0;
    }
    bench.client_end =
        vx_tls_client_wrap(bench.client, bench.worker, &bench.ends[1].base, VX_SLICE("bench.test"));
    bench.client_end->on_ready = on_ready;
    uint64_t before = micro_cpu_ns();
    bench.server = vx_tls_server_wrap(server, bench.worker, &bench.ends[0].base);
    bench.server->on_ready = on_ready;
    bench.server_ns += micro_cpu_ns() - before;
    vx_runtime_run_tasks(&bench.rt);
    while (!bench.server->tls || !bench.client_end->tls) {
        tick(0);
        tick(1);
    }
}

static void write_all(struct vx_transport *t, const char *bytes, size_t len) {
    struct vx_slice s = {bytes, len};
    if (t->ops->write(t, &s, 1) != (ssize_t)len) {
        fprintf(stderr, "short write\n");
        exit(1);
    }
}

static void read_all(struct vx_transport *t, size_t len) {
    static char to[20000];
    while (len > 0) {
        ssize_t n = t->ops->read(t, to, sizeof to);
        if (n <= 0) {
            fprintf(stderr, "short read\n");
            exit(1);
        }
        len -= (size_t)n;
    }
}

static void close_both(void) {
    uint64_t before = micro_cpu_ns();
    bench.server->ops->close(bench.server, false);
    vx_runtime_run_tasks(&bench.rt);
    bench.server_ns += micro_cpu_ns() - before;
    bench.client_end->ops->close(bench.client_end, false);
    vx_runtime_run_tasks(&bench.rt);
}

/* Handshake, the first bytes with the tickets, and the end. */
static void handshakes(const char *name, struct vx_tls_server *server, bool resumed) {
    double us[ROUNDS], rate[ROUNDS];
    char text[64];
    static uint16_t port = 1;
    for (int r = 0; r < ROUNDS; r++) {
        bench.server_ns = 0;
        for (int i = 0; i < HANDSHAKES; i++) {
            connect_both(server, resumed ? 0 : port++);
            if (i > 0 && bench.server->tls->resumed != resumed)
                exit(1);
            uint64_t before = micro_cpu_ns();
            write_all(bench.server, "x", 1);
            bench.server_ns += micro_cpu_ns() - before;
            tick(1);
            read_all(bench.client_end, 1);
            close_both();
        }
        us[r] = (double)bench.server_ns / HANDSHAKES / 1000;
        rate[r] = 1e6 / us[r];
    }
    snprintf(text, sizeof text, "tls_handshake_%s", name);
    micro_report(text, "us", us, ROUNDS);
    snprintf(text, sizeof text, "tls_handshakes_%s_per_cpu_second", name);
    micro_report(text, "1/s", rate, ROUNDS);
}

static void bulk(struct vx_tls_server *server) {
    static char bytes[BULK_BYTES];
    double out[ROUNDS], in[ROUNDS];
    connect_both(server, 0);
    for (int r = 0; r < ROUNDS; r++) {
        uint64_t out_ns = 0, in_ns = 0;
        for (int i = 0; i < BULK_WRITES; i++) {
            uint64_t t0 = micro_cpu_ns();
            write_all(bench.server, bytes, sizeof bytes);
            out_ns += micro_cpu_ns() - t0;
            read_all(bench.client_end, sizeof bytes);
            write_all(bench.client_end, bytes, sizeof bytes);
            t0 = micro_cpu_ns();
            read_all(bench.server, sizeof bytes);
            in_ns += micro_cpu_ns() - t0;
        }
        out[r] = (double)BULK_BYTES * BULK_WRITES / (double)out_ns;
        in[r] = (double)BULK_BYTES * BULK_WRITES / (double)in_ns;
    }
    micro_report("tls_bulk_write", "GB/s", out, ROUNDS);
    micro_report("tls_bulk_read", "GB/s", in, ROUNDS);
    close_both();
}

/* One small keep-alive request: 100 bytes in, 300 out. */
static void small(struct vx_tls_server *server) {
    static char bytes[300];
    double ns[ROUNDS];
    connect_both(server, 0);
    for (int r = 0; r < ROUNDS; r++) {
        uint64_t spent = 0;
        for (int i = 0; i < EXCHANGES; i++) {
            write_all(bench.client_end, bytes, 100);
            uint64_t t0 = micro_cpu_ns();
            read_all(bench.server, 100);
            write_all(bench.server, bytes, 300);
            spent += micro_cpu_ns() - t0;
            read_all(bench.client_end, 300);
        }
        ns[r] = (double)spent / EXCHANGES;
    }
    micro_report("tls_small_exchange", "ns", ns, ROUNDS);
    close_both();
}

static struct vx_tls_server *make_server(struct vx_config_certificate *certificate,
                                         struct vx_tls_tickets *tickets) {
    static const struct vx_slice alpn = {"http/1.1", 8};
    struct vx_config_listener l = {.tls = true, .certificates = certificate, .certificate_count = 1};
    struct vx_tls_problem problem;
    struct vx_tls_server *s = vx_tls_server_new(&l, &alpn, 1, tickets, &problem);
    if (!s) {
        fprintf(stderr, "%s\n", problem.text);
        exit(1);
    }
    return s;
}

int main(void) {
    struct vx_test_certs certs;
    struct vx_tls_problem problem;
    vx_test_certs_start(&certs, "Bench CA");
    struct vx_config_certificate ec = vx_test_cert(&certs, "ec", "bench.test");
    certs.rsa = true;
    struct vx_config_certificate rsa = vx_test_cert(&certs, "rsa", "bench.test");
    struct vx_tls_tickets *tickets = vx_tls_tickets_new(0);
    struct vx_tls_server *ec_server = make_server(&ec, tickets), *rsa_server = make_server(&rsa, tickets);
    struct vx_config_backend_tls trust = {.enabled = true, .ca_path = vx_slice_of(certs.paths[0])};
    bench.client = vx_tls_client_new(&trust, NULL, 0, &problem);
    if (!bench.client || !vx_slab_init(&bench.blocks, VX_SLAB_BLOCK_BYTES, 1 << 22))
        return 1;
    bench.rt.blocks = &bench.blocks.source;
    vx_list_init(&bench.rt.tasks);
    vx_list_init(&bench.rt.later);
    bench.worker = vx_tls_worker_new(&bench.rt);
    for (int i = 0; i < 2; i++)
        bench.ends[i].bytes = malloc(WIRE_BYTES);
    handshakes("p256", ec_server, false);
    handshakes("rsa2048", rsa_server, false);
    handshakes("resumed", ec_server, true);
    small(ec_server);
    bulk(ec_server);
    for (int i = 0; i < 2; i++)
        free(bench.ends[i].bytes);
    vx_tls_client_drop(bench.client);
    vx_tls_server_drop(ec_server);
    vx_tls_server_drop(rsa_server);
    vx_tls_tickets_drop(tickets);
    vx_tls_worker_free(bench.worker);
    vx_slab_free(&bench.blocks);
    vx_test_certs_end(&certs);
    return 0;
}
