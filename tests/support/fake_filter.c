/* SPDX-License-Identifier: Apache-2.0 */
/* See fake_filter.h. */
#include "support/fake_filter.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static void note(struct fake_filter *f, const char *what) {
    struct fake_filter_trace *t = f->trace;
    if (!t)
        return;
    int n = snprintf(t->text + t->len, sizeof t->text - t->len, "%s%c%s", t->len ? " " : "", f->letter, what);
    assert_true(n > 0 && (size_t)n < sizeof t->text - t->len);
    t->len += (size_t)n;
}

static enum vx_filter_verdict act(struct fake_filter *f, enum fake_filter_event event) {
    assert_true(f->opened > f->closed);
    if (f->acts[event])
        f->acts[event](f, f->stream);
    return f->verdicts[event];
}

static void *open_stream(struct vx_filter *base, uint32_t worker, struct vx_filter_stream *stream,
                         uint64_t now_ns) {
    struct fake_filter *f = (struct fake_filter *)base;
    (void)worker, (void)now_ns;
    if (f->refuses)
        return NULL;
    f->stream = stream;
    f->opened++;
    return f;
}

static enum vx_filter_verdict on_headers(void *context, enum vx_filter_direction d, bool end,
                                         uint64_t now_ns) {
    char text[16];
    (void)now_ns;
    snprintf(text, sizeof text, "%chead%s", d == VX_FILTER_REQUEST ? '>' : '<', end ? "." : "");
    note(context, text);
    return act(context, d == VX_FILTER_REQUEST ? FAKE_REQUEST_HEAD : FAKE_RESPONSE_HEAD);
}

static enum vx_filter_verdict on_body(void *context, enum vx_filter_direction d, size_t bytes, bool end,
                                      uint64_t now_ns) {
    struct fake_filter *f = context;
    struct vx_slice body;
    char text[32];
    (void)now_ns;
    assert_true(vx_filter_body(f->stream, d, &body));
    assert_int_equal(body.len, bytes);
    snprintf(text, sizeof text, "%c%zu%s", d == VX_FILTER_REQUEST ? '>' : '<', bytes, end ? "." : "");
    note(f, text);
    if (d == VX_FILTER_REQUEST)
        return act(f, end ? FAKE_REQUEST_END : FAKE_REQUEST_BODY);
    return act(f, end ? FAKE_RESPONSE_END : FAKE_RESPONSE_BODY);
}

static enum vx_filter_verdict on_trailers(void *context, enum vx_filter_direction d, uint64_t now_ns) {
    (void)now_ns;
    note(context, d == VX_FILTER_REQUEST ? ">trailers." : "<trailers.");
    return act(context, d == VX_FILTER_REQUEST ? FAKE_REQUEST_END : FAKE_RESPONSE_END);
}

static bool may_resume(void *context) {
    struct fake_filter *f = context;
    f->asked++;
    return f->has_pending;
}

static void log_stream(void *context, uint64_t now_ns) {
    struct fake_filter *f = context;
    (void)now_ns;
    f->logged++;
    note(f, " log");
    if (f->on_log)
        f->on_log(f, f->stream);
}

static void close_stream(void *context, uint64_t now_ns) {
    struct fake_filter *f = context;
    (void)now_ns;
    f->closed++;
    note(f, " close");
}

static void enter(struct vx_filter *base, uint32_t worker, struct vx_snapshot *snapshot, uint64_t now_ns) {
    (void)base, (void)worker, (void)snapshot, (void)now_ns;
}

static const struct vx_filter_ops ops = {
    .open = open_stream,
    .on_headers = on_headers,
    .on_body = on_body,
    .on_trailers = on_trailers,
    .may_resume = may_resume,
    .log = log_stream,
    .close = close_stream,
    .enter = enter,
};

void fake_filter_init(struct fake_filter *f, struct fake_filter_trace *trace, char letter) {
    *f = (struct fake_filter){.trace = trace, .letter = letter};
    f->base = (struct vx_filter){.ops = &ops, .wants = VX_FILTER_WANTS_ALL, .body_bytes = 1000};
    f->base.name = vx_slice(&f->letter, 1);
}

void fake_filter_expect(struct fake_filter_trace *trace, const char *expected) {
    trace->text[trace->len] = '\0';
    assert_string_equal(trace->text, expected);
    trace->len = 0;
}
