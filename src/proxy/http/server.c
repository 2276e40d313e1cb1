/* SPDX-License-Identifier: Apache-2.0 */
/* See server.h. A TLS connection waits here as a `fresh` one until its handshake is done. */
#include "proxy/http/server.h"

#include <stdlib.h>

#include "core/http/reply.h"
#include "proxy/http1/server.h"
#include "proxy/http2/server.h"

struct fresh {
    struct vx_server_connection base;
    struct vx_transport *transport;
    struct vx_timer timer;
    struct vx_task reap;
};

void vx_http_server_init(struct vx_http_server *s, struct vx_runtime *rt, struct vx_handler *handler) {
    enum { STREAMS = 128, GLITCHES = 1000 };
    *s = (struct vx_http_server){
        .rt = rt, .handler = handler, .concurrent_streams = STREAMS, .glitches_a_minute = GLITCHES};
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

void vx_server_connection_replace(struct vx_server_connection *from, struct vx_server_connection *to) {
    to->server = from->server;
    vx_list_init(&to->link);
    vx_list_insert_before(&from->link, &to->link);
    vx_list_remove(&from->link);
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

static const char *fresh_state(const struct vx_server_connection *c) {
    (void)c;
    return "tls handshake";
}

static void handshake_timed_out(struct vx_timer *timer, uint64_t now_ns) {
    (void)now_ns;
    drop(VX_CONTAINER_OF(timer, struct fresh, timer));
}

static void start(struct vx_http_server *s, struct vx_transport *transport) {
    bool http2 = transport->tls && vx_slice_eq(transport->tls->alpn, VX_SLICE("h2"));
    bool started =
        http2 ? vx_h2_server_start(s, transport, NULL, VX_SLICE_NONE) : vx_h1_server_start(s, transport);
    if (!started)
        transport->ops->close(transport, true);
}

static void fresh_ready(struct vx_transport *transport, uint32_t ready, uint64_t now_ns) {
    (void)now_ns;
    struct fresh *f = transport->owner;
    if (ready & VX_FAILED) {
        drop(f);
    } else if (ready & VX_WRITABLE) {
        /* In this order, so that it counts as a connection all the time. */
        start(f->base.server, transport);
        detach(f);
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
    f->base.state = fresh_state;
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

void vx_server_describe_client(struct vx_client_info *client, char text[VX_SERVER_REMOTE_TEXT_MAX],
                               struct vx_runtime *rt, const struct vx_transport *t) {
    /* Each worker counts for itself, so that none waits for another. */
    enum { WORKER_SHIFT = 48 };
    client->id = (uint64_t)rt->worker << WORKER_SHIFT | ++rt->client_connections;
    client->remote = t->remote;
    client->local = t->local;
    bool ip = t->remote.kind == VX_ADDRESS_IP4 || t->remote.kind == VX_ADDRESS_IP6;
    client->remote_text = VX_SLICE("unix:");
    if (ip) {
        char written[VX_ADDRESS_TEXT_MAX];
        size_t len = vx_address_format_ip(&t->remote, written);
        memcpy(text, written, len);
        client->remote_text = vx_slice(text, len);
    }
    if (!t->tls)
        return;
    client->https = true;
    client->server_name = t->tls->server_name;
    client->tls = &t->tls->session;
}

enum vx_error_code vx_server_objection(const struct vx_http_server *s, const struct vx_transport *t,
                                       const struct vx_request *request) {
    const struct vx_tls_info *tls = t->tls;
    if (s->body_bytes && request->framing == VX_BODY_LENGTH && request->body_bytes > s->body_bytes)
        return VX_ERR_BODY_TOO_LARGE;
    /* RFC 9110 §7.4: a name that another certificate speaks for came through a session that proved the first. */
    if (tls && s->covers && tls->server_name.len && request->host.len &&
        !vx_slice_eq(tls->server_name, request->host) && !s->covers(t, request->host))
        return VX_ERR_MISDIRECTED;
    return VX_ERR_NONE;
}

struct vx_slice vx_server_refusal(const struct vx_error *error, struct vx_arena *arena,
                                  struct vx_response *response, struct vx_header *item) {
    const struct vx_error_info *info = vx_error_info(error->code);
    struct vx_slice body = vx_reply_error_body(arena, error->code, VX_SLICE_NONE);
    struct vx_slice type = VX_SLICE("application/json");
    struct vx_slice name = vx_header_id_name(VX_HEADER_CONTENT_TYPE);
    *item = (struct vx_header){.name = name.ptr,
                               .name_len = (uint16_t)name.len,
                               .value = type.ptr,
                               .value_len = (uint32_t)type.len,
                               .id = VX_HEADER_CONTENT_TYPE};
    *response = (struct vx_response){.status = info->status,
                                     .version = VX_HTTP_11,
                                     .framing = VX_BODY_LENGTH,
                                     .body_bytes = body.len,
                                     .headers = {.items = item, .count = 1, .capacity = 1}};
    return body;
}

void vx_server_tell_refusal(const struct vx_http_server *s, const struct vx_downstream *down,
                            const struct vx_error *error, uint64_t response_bytes, uint64_t now_ns) {
    struct vx_refusal refusal = {
        .client = down->client,
        .request = down->request,
        .error = *error,
        .started_ns = down->started_ns,
        .response_bytes = response_bytes,
    };
    if (s->handler->refused)
        s->handler->refused(s->handler, &refusal, now_ns);
}
