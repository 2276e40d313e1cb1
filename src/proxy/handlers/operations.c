/* SPDX-License-Identifier: Apache-2.0 */
/* See operations.h. Every answer is a complete one; only a metrics page may be larger than what a connection takes at
 * once, so it is kept until its last byte has been taken. Request bodies are not read: release() deals with them. */
#include "proxy/handlers/operations.h"

#include <stddef.h>

#include "core/base/assert.h"
#include "core/http/reply.h"

/* One request; lies in the downstream's arena. Exists from begin() to finish_request(). */
struct operations_request {
    struct vx_operations *operations;
    struct vx_downstream *down;
    struct vx_reply reply;
    struct vx_text page; /* a metrics page; empty for other answers */
    bool holds_page;
};

static void finish_request(struct operations_request *r) {
    struct vx_downstream *d = r->down;
    if (r->holds_page) {
        vx_text_free(&r->page);
        r->operations->pages--;
    }
    d->stream.ops->release(&d->stream);
}

static void on_readable(void *user, uint64_t now_ns) {
    (void)user;
    (void)now_ns;
}

static void on_writable(void *user, uint64_t now_ns) {
    (void)now_ns;
    struct operations_request *r = user;
    if (vx_reply_resume(&r->reply, r->down) == VX_REPLY_DONE)
        finish_request(r);
}

static void on_failed(void *user, uint64_t now_ns) {
    (void)now_ns;
    finish_request(user);
}

static const struct vx_stream_events events = {
    .on_readable = on_readable,
    .on_writable = on_writable,
    .on_failed = on_failed,
};

static void send(struct operations_request *r, const struct vx_reply_content *content) {
    if (vx_reply_start(&r->reply, r->down, content) != VX_REPLY_WAIT)
        finish_request(r);
}

static void send_json(struct operations_request *r, uint16_t status, struct vx_slice body) {
    if (vx_reply_json(&r->reply, r->down, status, body) != VX_REPLY_WAIT)
        finish_request(r);
}

static void send_metrics(struct operations_request *r) {
    struct vx_operations *o = r->operations;
    if (o->pages >= VX_OPERATIONS_PAGES_MAX) {
        send_json(r, 503,
                  VX_SLICE("{\"error\":\"Service Unavailable\",\"message\":\"Too many scrapes at once.\"}"));
        return;
    }
    o->pages++;
    r->holds_page = true;
    if (!o->source.metrics(o->source.user, &r->page)) {
        send_json(r, 503, VX_SLICE("{\"error\":\"Service Unavailable\",\"message\":\"Out of memory.\"}"));
        return;
    }
    send(r, &(struct vx_reply_content){
                .status = 200,
                .content_type = VX_SLICE("text/plain; version=0.0.4; charset=utf-8"),
                .body = vx_slice(r->page.data, r->page.len),
            });
}

static void send_healthz(struct operations_request *r) {
    send_json(r, 200, VX_SLICE("{\"status\":\"alive\"}"));
}

struct vx_slice vx_readiness_name(enum vx_readiness readiness) {
    static const struct vx_slice names[] = {
        [VX_STARTING] = VX_SLICE("starting"),
        [VX_READY] = VX_SLICE("ready"),
        [VX_DRAINING] = VX_SLICE("draining"),
    };
    return names[readiness];
}

static void send_readyz(struct operations_request *r) {
    switch (r->operations->source.readiness(r->operations->source.user)) {
    case VX_READY:
        send_json(r, 200, VX_SLICE("{\"status\":\"ready\"}"));
        break;
    case VX_DRAINING:
        send_json(r, 503, VX_SLICE("{\"error\":\"Service Unavailable\",\"status\":\"draining\"}"));
        break;
    case VX_STARTING:
    default:
        send_json(r, 503, VX_SLICE("{\"error\":\"Service Unavailable\",\"status\":\"starting\"}"));
        break;
    }
}

static const struct page {
    struct vx_slice path;
    void (*send)(struct operations_request *r);
} pages[] = {
    {VX_SLICE("/metrics"), send_metrics},
    {VX_SLICE("/healthz"), send_healthz},
    {VX_SLICE("/readyz"), send_readyz},
};

static const struct page *find_page(struct vx_slice path) {
    for (size_t i = 0; i < sizeof pages / sizeof pages[0]; i++)
        if (vx_slice_eq(pages[i].path, path))
            return &pages[i];
    return NULL;
}

static void send_method_not_allowed(struct operations_request *r) {
    struct vx_reply_field allow = {VX_HEADER_OTHER, VX_SLICE("allow"), VX_SLICE("GET, HEAD")};
    send(r, &(struct vx_reply_content){
                .status = 405,
                .content_type = VX_SLICE("application/json"),
                .body = VX_SLICE("{\"error\":\"Method Not Allowed\"}"),
                .fields = &allow,
                .field_count = 1,
            });
}

static void begin(struct vx_handler *self, struct vx_downstream *d, uint64_t now_ns) {
    (void)now_ns;
    d->stream.events = &events;
    struct operations_request *r = vx_arena_alloc(d->arena, sizeof *r);
    if (!r) {
        d->stream.ops->release(&d->stream);
        return;
    }
    *r = (struct operations_request){
        .operations = VX_CONTAINER_OF(self, struct vx_operations, handler),
        .down = d,
    };
    d->stream.user = r;
    const struct page *page = find_page(d->request->path);
    if (!page)
        send_json(
            r, 404,
            VX_SLICE("{\"error\":\"Not Found\",\"message\":\"Here are /metrics, /healthz and /readyz.\"}"));
    else if (d->request->method != VX_METHOD_GET && d->request->method != VX_METHOD_HEAD)
        send_method_not_allowed(r);
    else
        page->send(r);
}

void vx_operations_init(struct vx_operations *o, const struct vx_operations_source *source) {
    *o = (struct vx_operations){.handler = {.begin = begin}, .source = *source};
}
