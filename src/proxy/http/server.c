/* SPDX-License-Identifier: Apache-2.0 */
/* See server.h. A TLS connection waits here as a `fresh` one until its handshake is done. */
#include "proxy/http/server.h"

#include <stdlib.h>

#include "proxy/http1/server.h"

struct fresh {
    struct vx_server_connection base;
    struct vx_transport *transport;
    struct vx_timer timer;
    struct vx_task reap;
};

void vx_http_server_init(struct vx_http_server *s, struct vx_runtime *rt, struct vx_handler *handler) {
    *s = (struct vx_http_server){.rt = rt, .handler = handler};
    vx_list_init(&s->connections);
}

void vx_server_connection_add(struct vx_http_server *s, struct vx_server_connection *c) {
    c->server = s;
    vx_list_init(&c->link);
    vx_list_push_back(&s->connections, &c->link);
    s->connection_count++;
    if (s->counted)
        s->counted(s->user, 1);
}

void vx_server_connection_remove(struct vx_server_connection *c) {
    vx_list_remove(&c->link);
    c->server->connection_count--;
    if (c->server->counted)
        c->server->counted(c->server->user, -1);
}

static void reap_fresh(struct vx_task *task, uint64_t now_ns) {
    (void)now_ns;
    free(VX_CONTAINER_OF(task, struct fresh, reap));
}

/* Ends the waiting; the memory goes at the end of the round because an event may still be on the stack. */
static struct vx_transport *detach(struct fresh *f) {
    struct vx_transport *transport = f->transport;
    f->transport = NULL;
    vx_timer_remove(&f->base.server->rt->wheel, &f->timer);
    vx_server_connection_remove(&f->base);
    vx_runtime_defer(f->base.server->rt, &f->reap);
    return transport;
}

static void drop(struct fresh *f) {
    struct vx_transport *transport = detach(f);
    transport->ops->close(transport, false);
}

/* Its first request may be on its way; the handshake has a time limit anyway. */
static void fresh_drain(struct vx_server_connection *c) {
    (void)c;
}

static void fresh_cut(struct vx_server_connection *c) {
    drop((struct fresh *)c);
}

static void handshake_timed_out(struct vx_timer *timer, uint64_t now_ns) {
    (void)now_ns;
    drop(VX_CONTAINER_OF(timer, struct fresh, timer));
}

static void start(struct vx_http_server *s, struct vx_transport *transport) {
    if (!vx_h1_server_start(s, transport))
        transport->ops->close(transport, true);
}

static void fresh_ready(struct vx_transport *transport, uint32_t ready, uint64_t now_ns) {
    (void)now_ns;
    struct fresh *f = transport->owner;
    if (ready & VX_FAILED) {
        drop(f);
    } else if (ready & VX_WRITABLE) {
        struct vx_http_server *s = f->base.server;
        start(s, detach(f));
    }
}

void vx_http_server_accept(struct vx_http_server *s, struct vx_transport *transport) {
    if (!s->covers) {
        start(s, transport);
        return;
    }
    struct fresh *f = calloc(1, sizeof *f);
    if (!f) {
        transport->ops->close(transport, true);
        return;
    }
    f->transport = transport;
    f->base.drain = fresh_drain;
    f->base.cut = fresh_cut;
    vx_task_init(&f->reap, reap_fresh);
    vx_timer_init(&f->timer, handshake_timed_out);
    vx_timer_set(&s->rt->wheel, &f->timer, s->rt->now_ns + s->timeouts.handshake_ns);
    transport->owner = f;
    transport->on_ready = fresh_ready;
    vx_server_connection_add(s, &f->base);
}

static void each(struct vx_http_server *s, bool cut) {
    struct vx_list *next;
    for (struct vx_list *at = s->connections.next; at != &s->connections; at = next) {
        next = at->next;
        struct vx_server_connection *c = VX_CONTAINER_OF(at, struct vx_server_connection, link);
        (cut ? c->cut : c->drain)(c);
    }
}

void vx_http_server_drain(struct vx_http_server *s) {
    s->draining = true;
    each(s, false);
}

void vx_http_server_close_all(struct vx_http_server *s) {
    s->draining = true;
    each(s, true);
}
