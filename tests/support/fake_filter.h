/* SPDX-License-Identifier: Apache-2.0 */
/* Filters without a VM, for tests of the chain: what each callback does is a table, and all filters of a test write into
 * one trace, so that the order of things shows. */
#ifndef VX_TESTS_SUPPORT_FAKE_FILTER_H
#define VX_TESTS_SUPPORT_FAKE_FILTER_H

#include "core/ports/filter.h"

enum fake_filter_event {
    FAKE_REQUEST_HEAD,
    FAKE_REQUEST_BODY,
    FAKE_REQUEST_END, /* the last on_body, or on_trailers */
    FAKE_RESPONSE_HEAD,
    FAKE_RESPONSE_BODY,
    FAKE_RESPONSE_END,
    FAKE_FILTER_EVENTS
};

struct fake_filter_trace {
    char text[2048];
    size_t len;
};

struct fake_filter {
    struct vx_filter base;
    struct fake_filter_trace *trace; /* NULL: none */
    char letter;                     /* its name in the trace */
    enum vx_filter_verdict verdicts[FAKE_FILTER_EVENTS];
    /* What it does in that callback, before the verdict; NULL: nothing. */
    void (*acts[FAKE_FILTER_EVENTS])(struct fake_filter *f, struct vx_filter_stream *s);
    void (*on_log)(struct fake_filter *f, struct vx_filter_stream *s);
    bool refuses;     /* open() gives NULL */
    bool has_pending; /* what may_resume() says */
    void *user;
    struct vx_filter_stream *stream; /* of the exchange that was opened last */
    unsigned opened, logged, closed, asked;
};

/* All callbacks, every verdict CONTINUE, 1000 bytes of body to hold. */
void fake_filter_init(struct fake_filter *f, struct fake_filter_trace *trace, char letter);

/* Fails the test unless the trace is `expected`, then empties it. One word a callback: the filter's letter, `>` for the
 * request and `<` for the response, `head`, the bytes of a body or `trailers`, and a full stop at the end of a message;
 * `log`, `close`. */
void fake_filter_expect(struct fake_filter_trace *trace, const char *expected);

#endif
