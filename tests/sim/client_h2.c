/* SPDX-License-Identifier: Apache-2.0 */
/* Clients that speak HTTP/2, by nghttp2: one connection, a stream for each request, several at a time. What they get is
 * held against the same book (exchange.h) as the answers to HTTP/1 clients. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim/client.h"
#include "support/h2_session.h"

enum { ASKS_MAX = 8, FIELDS_MAX = 16 };

/* One request on its stream. */
struct ask {
    struct exchange *e;
    int32_t stream;
    uint64_t sent;       /* of its body */
    uint64_t got;        /* of its answer's */
    uint64_t reset_at;   /* bytes of the answer after which the client wants no more; UINT64_MAX: all of it */
    struct message head; /* its lines as HTTP/1 would have them, for message_field() */
    struct answer_plan plan;
    bool final, own, ended, framed, over;
};

struct h2_side {
    nghttp2_session *ng;
    struct client *c;
    struct ask asks[ASKS_MAX];
    uint32_t opened, over, at_once;
    bool leaves; /* the clean-up has been ordered */
};

static _Noreturn void odd(const struct ask *a, const char *what) {
    sim_fail(a->e->client->sim, "request %u (%s, over HTTP/2): %s in the answer:\n%s", a->e->id, a->e->method,
             what, a->head.head.bytes ? a->head.head.bytes : "(nothing)");
}

static struct ask *ask_of(nghttp2_session *ng, int32_t stream) {
    return nghttp2_session_get_stream_user_data(ng, stream);
}

/* Reading */

static int on_begin_headers(nghttp2_session *ng, const nghttp2_frame *frame, void *user) {
    (void)user;
    struct ask *a = ask_of(ng, frame->hd.stream_id);
    if (a && !a->final)
        a->head.head.len = 0;
    return 0;
}

static int on_header(nghttp2_session *ng, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
                     const uint8_t *value, size_t value_len, uint8_t flags, void *user) {
    (void)flags, (void)user;
    struct ask *a = ask_of(ng, frame->hd.stream_id);
    if (!a)
        return 0;
    message_add_field(a->final ? &a->head.trailers : &a->head.head, name, name_len, value, value_len);
    return 0;
}

static bool has(const struct ask *a, const char *name) {
    const char *value;
    size_t len;
    return message_field(&a->head.head, name, 0, &value, &len);
}

static void check_passed_on(struct ask *a, unsigned status) {
    const struct exchange *e = a->e;
    struct sim *sim = e->client->sim;
    const struct message_text *head = &a->head.head;
    uint64_t id, delivery, length;
    if (!message_number(head, "x-sim", &id) || id != e->id)
        odd(a, "the mark of another request");
    if (!message_number(head, "x-delivery", &delivery) || !delivery || delivery > e->deliveries)
        odd(a, "the mark of a delivery that never was");
    a->plan = exchange_plan(sim, e, (uint32_t)delivery);
    if (status != a->plan.status)
        odd(a, "another status than the backend's");
    if (!message_field_is(head, "via", exchange_via(&a->plan)))
        odd(a, "no Via, or a wrong one");
    if (message_number(head, "content-length", &length) && status != 304 && length != a->plan.body_bytes)
        odd(a, "a wrong Content-Length");
}

static void check_own(const struct ask *a, unsigned status) {
    struct sim *sim = a->e->client->sim;
    sim->own_answers++;
    if (!exchange_may_get(sim, a->e, status))
        odd(a, "an answer of the proxy without a reason");
    if (status == 308 ? !has(a, "location")
                      : !message_field_is(&a->head.head, "content-type", "application/json"))
        odd(a, "no Content-Type or Location");
}

static void take_head(struct ask *a) {
    uint64_t status;
    if (!message_number(&a->head.head, ":status", &status) || status < 100 || status > 599)
        odd(a, "a bad status");
    if (has(a, "connection") || has(a, "transfer-encoding") || has(a, "keep-alive") || status == 101)
        odd(a, "a field of a connection");
    if (status < 200) {
        if (status == 100 && !a->e->expects)
            odd(a, "a 100 that was not asked for");
        return;
    }
    a->final = a->e->head_seen = true;
    a->e->status = (uint16_t)status;
    a->own = !has(a, "x-sim");
    if (a->own)
        check_own(a, (unsigned)status);
    else
        check_passed_on(a, (unsigned)status);
}

static void answer_over(struct ask *a) {
    struct exchange *e = a->e;
    if (!a->final)
        odd(a, "an end before the final head");
    bool none = exchange_is_head(e) || a->plan.status == 204 || a->plan.status == 304;
    if (!a->own && a->got != (none ? 0 : a->plan.body_bytes))
        sim_fail(e->client->sim, "request %u: its answer over HTTP/2 looks whole, but has %llu of %llu bytes",
                 e->id, (unsigned long long)a->got, (unsigned long long)a->plan.body_bytes);
    char want[32];
    snprintf(want, sizeof want, "%u", e->id);
    if (!a->own && a->plan.trailers && a->plan.framing == ANSWER_CHUNKED && !none &&
        !message_field_is(&a->head.trailers, "x-sum", want))
        odd(a, "no trailers");
    a->ended = e->answered = true;
}

static int on_frame(nghttp2_session *ng, const nghttp2_frame *frame, void *user) {
    struct h2_side *h = user;
    struct sim *sim = h->c->sim;
    if (frame->hd.type == NGHTTP2_GOAWAY && frame->goaway.error_code != NGHTTP2_NO_ERROR &&
        !sim->scenario->lost_memory)
        sim_fail(sim, "an HTTP/2 client was turned away with code %u", frame->goaway.error_code);
    if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA)
        return 0;
    struct ask *a = ask_of(ng, frame->hd.stream_id);
    if (!a)
        return 0;
    if (frame->hd.type == NGHTTP2_HEADERS && !a->final)
        take_head(a);
    if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM)
        answer_over(a);
    return 0;
}

static void give_window(struct sim *sim, void *actor, uint64_t arg) {
    (void)sim;
    struct client *c = actor;
    if (c->done || !c->h2)
        return;
    nghttp2_session_consume(c->h2->ng, (int32_t)(arg >> 32), (size_t)(arg & UINT32_MAX));
    client_h2_send(c);
}

static int on_data(nghttp2_session *ng, uint8_t flags, int32_t stream, const uint8_t *data, size_t len,
                   void *user) {
    (void)flags;
    struct h2_side *h = user;
    struct client *c = h->c;
    struct ask *a = ask_of(ng, stream);
    /* A client that stalls gives windows back late: nobody else may have to wait for that. */
    if (c->stalls)
        sim_after(c->sim, sim_between(c->sim, SIM_US(50), SIM_MS(30)), give_window, c,
                  (uint64_t)stream << 32 | len);
    else
        nghttp2_session_consume(ng, stream, len);
    if (!a)
        return 0;
    for (size_t i = 0; i < len && !a->own; i++)
        if (data[i] != sim_pattern(a->plan.key, a->got + i))
            sim_fail(c->sim, "request %u: byte %llu of its answer over HTTP/2 is wrong", a->e->id,
                     (unsigned long long)a->got + i);
    a->got += len;
    if (a->got >= a->reset_at && !a->ended) {
        a->reset_at = UINT64_MAX;
        a->e->client_at_fault = a->e->excuse_cut = true;
        nghttp2_submit_rst_stream(ng, NGHTTP2_FLAG_NONE, stream, NGHTTP2_CANCEL);
    }
    return 0;
}

static int on_close(nghttp2_session *ng, int32_t stream, uint32_t code, void *user) {
    struct h2_side *h = user;
    struct ask *a = ask_of(ng, stream);
    if (!a || a->over)
        return 0;
    a->over = true;
    h->over++;
    if (!a->ended) {
        a->e->cut = true;
        a->e->was_reset = true;
        /* Beyond the last stream of a GOAWAY nothing was looked at. */
        a->e->excuse_cut = a->e->excuse_cut || code == NGHTTP2_REFUSED_STREAM;
    }
    return 0;
}

/* Sending */

static int on_sent(nghttp2_session *ng, const nghttp2_frame *frame, void *user) {
    (void)user;
    struct ask *a = ask_of(ng, frame->hd.stream_id);
    if (!a || (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA))
        return 0;
    a->e->sent_any = true;
    a->framed = a->framed || frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
    return 0;
}

static nghttp2_ssize read_body(nghttp2_session *ng, int32_t stream, uint8_t *to, size_t room, uint32_t *flags,
                               nghttp2_data_source *source, void *user) {
    struct h2_side *h = user;
    struct ask *a = source->ptr;
    uint64_t left = a->e->body_bytes - a->sent;
    size_t n = 1 + sim_below(h->c->sim, 16384);
    n = n < room ? n : room;
    n = n < left ? n : left;
    for (size_t i = 0; i < n; i++)
        to[i] = exchange_body_byte(a->e, a->sent + i);
    a->sent += n;
    if (a->sent < a->e->body_bytes)
        return (nghttp2_ssize)n;
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (a->e->trailers) {
        char value[32];
        snprintf(value, sizeof value, "%u", a->e->id);
        nghttp2_nv sum = h2_field("x-sum", value);
        *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
        nghttp2_submit_trailer(ng, stream, &sum, 1);
    }
    return (nghttp2_ssize)n;
}

static void ask(struct h2_side *h) {
    struct client *c = h->c;
    struct ask *a = &h->asks[h->opened];
    struct exchange *e = a->e;
    char path[64], target[96], id[32], length[32];
    nghttp2_nv nv[FIELDS_MAX];
    size_t count = 0;
    exchange_path(e, false, path, sizeof path);
    snprintf(target, sizeof target, "%s?q=%u", path, e->id);
    snprintf(id, sizeof id, "%u", e->id);
    snprintf(length, sizeof length, "%llu", (unsigned long long)e->body_bytes);
    nv[count++] = h2_field(":method", e->method);
    nv[count++] = h2_field(":scheme", "http");
    nv[count++] = h2_field(":authority", "sim.example");
    nv[count++] = h2_field(":path", target);
    nv[count++] = h2_field("x-sim", id);
    nv[count++] = h2_field("x-forwarded-for", "1.2.3.4");
    nv[count++] = h2_field("x-real-ip", "1.2.3.4");
    if (e->body == BODY_LENGTH)
        nv[count++] = h2_field("content-length", length);
    if (e->expects)
        nv[count++] = h2_field("expect", "100-continue");
    if (e->model && e->model_in_body)
        nv[count++] = h2_field("content-type", "application/json");
    else if (e->json_without_model)
        nv[count++] = h2_field("content-type", "application/vnd.api+json");
    else if (e->model)
        nv[count++] = h2_field("x-ai-model", e->model);
    nghttp2_data_provider2 body = {.source = {.ptr = a}, .read_callback = read_body};
    bool has_body = e->body == BODY_CHUNKED || e->body_bytes > 0;
    a->stream = nghttp2_submit_request2(h->ng, NULL, nv, count, has_body ? &body : NULL, a);
    a->reset_at = sim_chance(c->sim, c->sim->scenario->vanish) ? 1 + sim_below(c->sim, 3000) : UINT64_MAX;
    if (a->stream < 0)
        abort();
    h->opened++;
    c->built++;
}

/* Puts the next frame into `out` when that is empty. */
static void refill(struct client *c) {
    struct h2_side *h = c->h2;
    const uint8_t *bytes;
    while (h->opened < c->count && h->opened - h->over < h->at_once &&
           nghttp2_session_check_request_allowed(h->ng))
        ask(h);
    nghttp2_ssize n = nghttp2_session_mem_send2(h->ng, &bytes);
    if (n < 0)
        abort();
    if (n > 0)
        outgoing_bytes(&c->out, (const char *)bytes, (size_t)n);
}

static void note_whole(const struct client *c) {
    for (uint32_t i = 0; i < c->h2->opened; i++)
        if (c->h2->asks[i].framed)
            c->h2->asks[i].e->sent_whole = true;
}

void client_h2_send(struct client *c) {
    while (!c->done && !c->mute && !c->wire->gone) {
        if (outgoing_left(&c->out) == 0) {
            note_whole(c);
            refill(c);
        }
        size_t left = outgoing_left(&c->out);
        if (left == 0)
            return;
        size_t taken = wire_write(c->wire, c->out.bytes + c->out.at, left);
        c->out.at += taken;
        c->sent += taken;
        if (taken < left)
            return;
    }
}

/* Its life */

static void excuse(struct client *c) {
    for (uint32_t i = 0; i < c->count; i++) {
        struct exchange *e = c->h2->asks[i].e;
        if (!e->answered)
            e->client_at_fault = e->excuse_cut = e->excuse_408 = true;
    }
}

static void leave(struct sim *sim, void *actor, uint64_t arg) {
    (void)sim, (void)arg;
    struct client *c = actor;
    if (!c->done)
        client_leave(c, false);
}

/* All is answered, or will not be: the proxy wants no more streams, or none are left. */
static bool has_all(const struct client *c) {
    const struct h2_side *h = c->h2;
    return h->over == h->opened && (h->opened == c->count || !nghttp2_session_check_request_allowed(h->ng));
}

static void lost(struct client *c, bool reset) {
    for (uint32_t i = 0; i < c->h2->opened; i++)
        if (!c->h2->asks[i].over)
            c->h2->asks[i].e->was_reset = c->h2->asks[i].e->was_reset || reset;
    client_leave(c, false);
}

void client_h2_changed(struct sim *sim, struct wire *w) {
    struct client *c = w->actor;
    char bytes[16384];
    client_h2_send(c);
    while (!c->done && !c->mute) {
        ssize_t n = wire_read(w, bytes, c->stalls ? 1 + sim_below(sim, 3000) : sizeof bytes);
        if (n == -1)
            break;
        if (n <= 0) {
            lost(c, n < 0);
            return;
        }
        c->got += (uint64_t)n;
        sim->bytes_down += (uint64_t)n;
        if (nghttp2_session_mem_recv2(c->h2->ng, (const uint8_t *)bytes, (size_t)n) != n)
            sim_fail(sim, "an HTTP/2 client got what is no HTTP/2");
        if (c->sent + c->got >= c->vanish_at) {
            excuse(c);
            client_leave(c, c->vanish_resets);
            return;
        }
        client_h2_send(c);
    }
    if (!c->done && has_all(c) && !c->h2->leaves) {
        c->h2->leaves = true;
        sim_after(sim, sim_between(sim, 0, SIM_MS(5)), leave, c, 0);
    }
}

/* What only HTTP/1 has is not asked for here. */
void client_h2_adapt(struct exchange *e) {
    e->http2 = e->keeps_alive = true;
    e->http10 = e->upgrades = false;
    e->tunnel_up = e->tunnel_down = 0;
    e->flaw = FLAW_NONE;
}

void client_h2_init(struct client *c) {
    struct sim *sim = c->sim;
    struct h2_side *h = calloc(1, sizeof *h);
    if (!h)
        abort();
    h->ng = h2_session_new(
        &(struct h2_session_kind){
            .keeps_windows = true,
            .on_begin_headers = on_begin_headers,
            .on_header = on_header,
            .on_data = on_data,
            .on_frame = on_frame,
            .on_sent = on_sent,
            .on_close = on_close,
        },
        h);
    h->c = c;
    h->at_once = 1 + sim_below(sim, CLIENT_H2_AT_ONCE_MAX);
    for (uint32_t i = 0; i < c->count; i++)
        h->asks[i].e = exchange_at(sim, c->first + i);
    /* Tiny windows only where they are given back at once: both together would take minutes. */
    uint32_t least = c->stalls ? 16384 : 100;
    nghttp2_settings_entry window = {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, least + sim_below(sim, 49152)};
    nghttp2_submit_settings(h->ng, NGHTTP2_FLAG_NONE, &window, sim_chance(sim, 300));
    c->h2 = h;
}

void client_h2_free(struct client *c) {
    if (!c->h2)
        return;
    for (uint32_t i = 0; i < ASKS_MAX; i++)
        message_free(&c->h2->asks[i].head);
    nghttp2_session_del(c->h2->ng);
    free(c->h2);
    c->h2 = NULL;
}
