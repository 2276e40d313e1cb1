/* SPDX-License-Identifier: Apache-2.0 */
/* A request that the handler of a server under test holds: what its stream tells is counted, and the test answers it. */
#ifndef VX_TESTS_SUPPORT_HELD_H
#define VX_TESTS_SUPPORT_HELD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/http/reply.h"

struct held {
    struct vx_downstream *down; /* NULL: let go */
    unsigned readable, writable, failed;
    enum vx_error_code failure;
    bool had_all;        /* the client, when it failed: vx_downstream.whole */
    uint64_t sent_bytes; /* of the last answer */
    struct vx_reply reply;
};

static inline void held_on_readable(void *user, uint64_t now_ns) {
    (void)now_ns;
    ((struct held *)user)->readable++;
}

static inline void held_on_writable(void *user, uint64_t now_ns) {
    (void)now_ns;
    ((struct held *)user)->writable++;
}

static inline void let_go(struct held *h) {
    struct vx_downstream *d = h->down;
    h->down = NULL;
    d->stream.ops->release(&d->stream);
}

static inline void held_on_failed(void *user, uint64_t now_ns) {
    (void)now_ns;
    struct held *h = user;
    h->failed++;
    h->failure = h->down->stream.error.code;
    h->had_all = h->down->whole;
    let_go(h);
}

static inline void hold(struct held *h, struct vx_downstream *d) {
    static const struct vx_stream_events events = {
        .on_readable = held_on_readable, .on_writable = held_on_writable, .on_failed = held_on_failed};
    assert_null(h->down);
    h->down = d;
    d->stream.events = &events;
    d->stream.user = h;
}

static inline void answer(struct held *h, const char *text) {
    struct vx_reply_content content = {.status = 200, .body = vx_slice_of(text)};
    assert_int_equal(vx_reply_start(&h->reply, h->down, &content), VX_REPLY_DONE);
    h->sent_bytes = h->down->sent_bytes;
    let_go(h);
}

#endif
