/* SPDX-License-Identifier: Apache-2.0 */
/* See host_h2.h. One connection, and the requests on it as they arrive. */
#include "sim/host_h2.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void changed(struct sim *sim, struct wire *w);

static struct host_job *job_of(nghttp2_session *ng, int32_t stream) {
    return nghttp2_session_get_stream_user_data(ng, stream);
}

bool host_h2_is_idle(const struct host_h2 *c) {
    for (const struct host_job *job = c->jobs; job; job = job->next)
        if (!job->over)
            return false;
    return true;
}

void host_h2_cut(struct host_h2 *c, bool reset) {
    for (struct host_job *job = c->jobs; job; job = job->next)
        if (!job->over && job->e)
            job->e->excuse_502 = job->e->excuse_cut = true;
    c->sim->excuse_502 = true;
    if (reset)
        wire_reset(c->wire);
    else
        wire_close(c->wire);
}

void host_h2_reset(struct host_job *job, uint32_t code) {
    job->left_out = true;
    nghttp2_submit_rst_stream(job->c->ng, NGHTTP2_FLAG_NONE, job->stream, code);
}

void host_h2_go_away(struct host_h2 *c, int32_t last) {
    if (c->went_away)
        return;
    c->went_away = true;
    c->last = last;
    c->sim->excuse_502 |= !c->sim->scenario->nothing_done;
    nghttp2_submit_goaway(c->ng, NGHTTP2_FLAG_NONE, last, NGHTTP2_NO_ERROR, NULL, 0);
}

/* Requests */

/* Whether the backend will have nothing to do with it, and says so: then it is no delivery. */
static bool leaves_out(struct host_job *job) {
    struct host_h2 *c = job->c;
    if (c->went_away) {
        job->left_out = true;
    } else if (sim_chance(c->sim, c->sim->scenario->refuse_streams)) {
        c->sim->excuse_502 |= !c->sim->scenario->nothing_done;
        host_h2_reset(job, NGHTTP2_REFUSED_STREAM);
    } else if (sim_chance(c->sim, c->sim->scenario->goaway)) {
        host_h2_go_away(c, c->last);
        job->left_out = true;
    }
    return job->left_out;
}

static void check_request(const struct host_job *job, const struct exchange *e, bool ended) {
    struct sim *sim = job->c->sim;
    const struct message_text *head = &job->head.head;
    char path[64], target[96];
    const char *value;
    size_t len;
    uint64_t length;
    exchange_path(e, true, path, sizeof path);
    snprintf(target, sizeof target, "%s?q=%u", path, e->id);
    if (!message_field_is(head, ":method", e->method) || !message_field_is(head, ":path", target) ||
        !message_field_is(head, ":scheme", "http"))
        host_odd(sim, head, "another request than was sent");
    bool any_length = message_field(head, "content-length", 0, &value, &len);
    if (e->body == BODY_NONE && (any_length || !ended))
        host_odd(sim, head, "a body where none was sent");
    if (e->body == BODY_CHUNKED && any_length)
        host_odd(sim, head, "a length that nobody sent");
    if (e->body == BODY_LENGTH && (any_length || !sim->scenario->filters) &&
        (!message_number(head, "content-length", &length) || length != e->body_bytes))
        host_odd(sim, head, "a wrong Content-Length");
}

static void take_head(struct host_job *job, bool ended) {
    struct host_h2 *c = job->c;
    struct sim *sim = c->sim;
    if (leaves_out(job))
        return;
    c->last = job->stream;
    struct exchange *e = host_exchange_of(sim, c->wire->host, &job->head.head);
    host_check_fields(sim, e, &job->head.head);
    check_request(job, e, ended);
    job->plan = host_take_delivery(sim, c->wire, e);
    job->e = e;
    job->delivery = e->deliveries;
    if (job->plan.deed == DEED_CLOSE_AT_HEAD || host_is_down(sim, c->wire->host))
        host_h2_cut(c, job->plan.deed != DEED_CLOSE_AT_HEAD);
    else if (job->plan.deed == DEED_RESET_AT_HEAD)
        host_h2_reset(job, NGHTTP2_INTERNAL_ERROR);
    else if (job->plan.early && job->plan.deed != DEED_DEAF)
        sim_after(sim, job->plan.think_ns, host_h2_answer, job, 0);
    else if (e->expects && message_field_is(&job->head.head, "expect", "100-continue"))
        host_h2_interim(job, "100");
}

static void upload_over(struct host_job *job) {
    struct exchange *e = job->e;
    struct sim *sim = job->c->sim;
    char want[32];
    job->upload_over = true;
    e->uploads++;
    if (job->got != (e->body == BODY_NONE ? 0 : e->body_bytes))
        sim_fail(sim, "request %u: its body came to %llu bytes instead of %llu", e->id,
                 (unsigned long long)job->got, (unsigned long long)e->body_bytes);
    snprintf(want, sizeof want, "%u", e->id);
    if (e->trailers && !message_field_is(&job->head.trailers, "x-sum", want))
        sim_fail(sim, "request %u: its trailer field did not arrive", e->id);
    if (!job->plan.early && job->plan.deed != DEED_DEAF)
        sim_after(sim, job->plan.think_ns, host_h2_answer, job, 0);
}

/* What nghttp2 tells. A connection that was cut in the middle of a call hears no more. */

static int on_begin_headers(nghttp2_session *ng, const nghttp2_frame *frame, void *user) {
    struct host_h2 *c = user;
    if (frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    struct host_job *job = calloc(1, sizeof *job);
    if (!job)
        abort();
    job->c = c;
    job->stream = frame->hd.stream_id;
    job->next = c->jobs;
    c->jobs = job;
    nghttp2_session_set_stream_user_data(ng, job->stream, job);
    return 0;
}

static int on_header(nghttp2_session *ng, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
                     const uint8_t *value, size_t value_len, uint8_t flags, void *user) {
    (void)flags, (void)user;
    struct host_job *job = job_of(ng, frame->hd.stream_id);
    if (job)
        message_add_field(job->e ? &job->head.trailers : &job->head.head, name, name_len, value, value_len);
    return 0;
}

static int on_frame(nghttp2_session *ng, const nghttp2_frame *frame, void *user) {
    const struct host_h2 *c = user;
    bool ended = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
    if (host_h2_is_gone(c) || (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA))
        return 0;
    struct host_job *job = job_of(ng, frame->hd.stream_id);
    if (!job)
        return 0;
    if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST)
        take_head(job, ended);
    if (ended && !job->left_out && !host_h2_is_gone(c))
        upload_over(job);
    return 0;
}

/* Who is deaf gives back the connection's window only: the other streams are not to suffer. */
static int on_data(nghttp2_session *ng, uint8_t flags, int32_t stream, const uint8_t *data, size_t len,
                   void *user) {
    (void)flags;
    struct host_h2 *c = user;
    struct host_job *job = job_of(ng, stream);
    if (job && job->plan.deed == DEED_DEAF)
        nghttp2_session_consume_connection(ng, len);
    else
        nghttp2_session_consume(ng, stream, len);
    if (!job || job->left_out || host_h2_is_gone(c))
        return 0;
    for (size_t i = 0; i < len; i++)
        if (data[i] != exchange_body_byte(job->e, job->got + i))
            sim_fail(c->sim, "request %u: byte %llu of its body is not what was sent", job->e->id,
                     (unsigned long long)job->got + i);
    job->got += len;
    if (job->plan.deed == DEED_RESET_IN_UPLOAD && job->got * 2 > job->e->body_bytes)
        host_h2_reset(job, NGHTTP2_CANCEL);
    return 0;
}

static int on_sent(nghttp2_session *ng, const nghttp2_frame *frame, void *user) {
    (void)user;
    struct host_job *job = job_of(ng, frame->hd.stream_id);
    bool can_end = frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA;
    if (job && can_end && frame->hd.flags & NGHTTP2_FLAG_END_STREAM)
        host_h2_after_answer(job);
    return 0;
}

static int on_close(nghttp2_session *ng, int32_t stream, uint32_t code, void *user) {
    (void)code, (void)user;
    struct host_job *job = job_of(ng, stream);
    if (job)
        job->over = true;
    return 0;
}

/* The connection */

void host_h2_send(struct host_h2 *c) {
    while (!host_h2_is_gone(c) && !c->wordless) {
        size_t left = outgoing_left(&c->out);
        if (left) {
            size_t taken = wire_write(c->wire, c->out.bytes + c->out.at, left);
            c->out.at += taken;
            if (taken < left)
                return;
            continue;
        }
        if (c->breaks) {
            host_h2_cut(c, sim_chance(c->sim, 300));
            return;
        }
        const uint8_t *bytes;
        nghttp2_ssize n = nghttp2_session_mem_send2(c->ng, &bytes);
        if (n < 0)
            abort();
        if (n > 0)
            outgoing_bytes(&c->out, (const char *)bytes, (size_t)n);
        else if (!c->breaks)
            return;
    }
}

static void read_later(struct sim *sim, void *actor, uint64_t arg) {
    (void)arg;
    struct host_h2 *c = actor;
    c->reading_later = false;
    if (!host_h2_is_gone(c))
        changed(sim, c->wire);
}

static void changed(struct sim *sim, struct wire *w) {
    struct host_h2 *c = w->actor;
    char bytes[16384];
    host_h2_send(c);
    while (!host_h2_is_gone(c) && !c->reading_later) {
        ssize_t n = wire_read(w, bytes, c->lazy ? 1 + sim_below(sim, 700) : sizeof bytes);
        if (n == -1)
            return;
        if (n <= 0) {
            wire_close(w);
            return;
        }
        sim->bytes_up += (uint64_t)n;
        if (nghttp2_session_mem_recv2(c->ng, (const uint8_t *)bytes, (size_t)n) != n)
            sim_fail(sim, "a backend of HTTP/2 got what is no HTTP/2");
        host_h2_send(c);
        if (c->lazy) {
            c->reading_later = true;
            sim_after(sim, sim_between(sim, SIM_US(10), SIM_US(400)), read_later, c, 0);
        }
    }
}

/* A misdeed of the proxy's that nghttp2 answers by itself. One stream too many may be an error only where the limit was
 * another one on the last connection. */
static int on_invalid(nghttp2_session *ng, const nghttp2_frame *frame, int error, void *user) {
    const struct host_h2 *c = user;
    struct host_job *job = job_of(ng, frame->hd.stream_id);
    if (error == NGHTTP2_ERR_REFUSED_STREAM && c->sim->scenario->refuse_streams) {
        c->sim->excuse_502 |= !c->sim->scenario->nothing_done;
        if (job)
            job->left_out = true;
        return 0;
    }
    sim_fail(c->sim, "a backend of HTTP/2 got a frame of type %u that is wrong: %s", frame->hd.type,
             nghttp2_strerror(error));
}

/* nghttp2's own limits go by the real clock, and the one for glitches counts a body that still comes for a stream behind a GOAWAY
 * frame by frame: who meets them says no more on this connection, and the other streams wait in vain. */
static const struct h2_session_kind session_kind = {
    .server = true,
    .keeps_windows = true,
    .unlimited = true,
    .on_begin_headers = on_begin_headers,
    .on_header = on_header,
    .on_data = on_data,
    .on_frame = on_frame,
    .on_invalid = on_invalid,
    .on_sent = on_sent,
    .on_close = on_close,
};

static uint32_t stream_limit(struct sim *sim, const struct host *h) {
    struct vx_random r = sim_random_for(sim, UINT64_C(1) << 52 | h->route << 8 | h->index, 0);
    return 1 + (sim->scenario->refuse_streams ? sim_below(sim, 8) : vx_random_below(&r, 8));
}

/* As a listener that closes does to what waits in its backlog. No request may have come. */
static void reset_wordless(struct sim *sim, void *actor, uint64_t arg) {
    (void)arg;
    struct host_h2 *c = actor;
    if (c->jobs)
        sim_fail(sim, "a request was sent to a backend of HTTP/2 that had not said a word");
    if (!host_h2_is_gone(c))
        wire_reset(c->wire);
}

/* Never many in a row: a backend that does nothing else cannot be told from one that is not there. */
static bool is_wordless(struct sim *sim) {
    enum { BETWEEN = 6 };
    if (++sim->since_wordless < BETWEEN || !sim_chance(sim, sim->scenario->wordless))
        return false;
    sim->since_wordless = 0;
    return true;
}

void host_h2_accept(struct sim *sim, struct wire *w) {
    struct host_h2 *c = calloc(1, sizeof *c);
    if (!c)
        abort();
    c->sim = sim;
    c->wire = w;
    c->lazy = sim_chance(sim, sim->scenario->slow_backend / 2);
    c->ng = h2_session_new(&session_kind, c);
    c->next = w->host->h2_conns;
    w->host->h2_conns = c;
    w->actor = c;
    w->changed = changed;
    nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, stream_limit(sim, w->host)},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 16384 + sim_below(sim, 49152)},
    };
    nghttp2_submit_settings(c->ng, NGHTTP2_FLAG_NONE, settings, 1 + sim_chance(sim, 500));
    c->wordless = is_wordless(sim);
    if (c->wordless)
        sim_after(sim, sim_between(sim, 0, SIM_MS(2)), reset_wordless, c, 0);
    else
        host_h2_send(c);
}

void host_h2_free(struct host *h) {
    while (h->h2_conns) {
        struct host_h2 *c = h->h2_conns;
        h->h2_conns = c->next;
        nghttp2_session_del(c->ng);
        while (c->jobs) {
            struct host_job *job = c->jobs;
            c->jobs = job->next;
            message_free(&job->head);
            free(job);
        }
        outgoing_free(&c->out);
        free(c);
    }
}
