/* SPDX-License-Identifier: Apache-2.0 */
/* The filters' part in the life of an exchange: they are opened once its route is known, shown the request's head before a
 * backend is picked and the response's head before the client gets it, and closed at the end. What they decide (an
 * answer, a rejection, a failure) comes as an outcome, which vx_exchange_fail carries out.
 *
 * Framing is ours, whatever filters do: a body that some filter may edit is announced with the length that it has when all
 * of it has passed before the head leaves, and else without one. */
#include "core/exchange/filtering.h"

#include "core/base/decimal.h"
#include "core/exchange/grpc.h"

/* How much of a body may pass before its head leaves, if that is here already: a small one keeps a Content-Length. */
enum { PEEK_BYTES = 64 * 1024 };

/* Sources of our own answers: bytes in memory, or none at all. */

static enum vx_pull pull_reply(struct vx_stream *s, struct vx_slice *bytes) {
    const struct vx_filtering *f = s->user;
    *bytes = f->reply_rest;
    return bytes->len ? VX_PULL_BYTES : VX_PULL_END;
}

static void consume_reply(struct vx_stream *s, size_t bytes) {
    struct vx_filtering *f = s->user;
    f->reply_rest = vx_slice_skip(f->reply_rest, bytes);
}

static struct vx_headers *no_trailers(struct vx_stream *s) {
    (void)s;
    return NULL;
}

static void again_reply(struct vx_stream *s) {
    vx_filtering_signal(s->user);
}

static const struct vx_stream_ops reply_ops = {
    .pull = pull_reply,
    .consume = consume_reply,
    .trailers = no_trailers,
    .again = again_reply,
};

/* Whether a filter that has a part in this direction wants any of it, or may edit bodies. */
static bool any_wants(const struct vx_filtering *f, enum vx_filter_direction d, uint32_t wanted) {
    for (uint32_t i = 0; i < f->count; i++) {
        const struct vx_filter_stream *s = &f->streams[i];
        if (!s->gone && (d == VX_FILTER_REQUEST || s->saw_request) && s->filter->wants & wanted)
            return true;
    }
    return false;
}

static bool any_edits(const struct vx_filtering *f, enum vx_filter_direction d) {
    return f->sides[d].bodied && any_wants(f, d, VX_FILTER_EDITS_BODY);
}

/* Lets the filters have what is there of a body while one of them holds its head. False: `from` is broken. */
static bool feed_holder(struct vx_filtering *f, enum vx_filter_direction d) {
    const struct vx_filter_side *side = &f->sides[d];
    for (;;) {
        vx_filtering_settle(f);
        if (f->outcome.code != VX_ERR_NONE || side->at == f->count || !vx_filtering_may_read(f, d))
            return true;
        enum vx_pull result = vx_filtering_fill(f, d);
        if (result == VX_PULL_WAIT || result == VX_PULL_FAILED)
            return result == VX_PULL_WAIT;
    }
}

/* Lets pass what is here of a short body. False: `from` is broken. */
static bool peek(struct vx_filtering *f, enum vx_filter_direction d) {
    const struct vx_filter_side *side = &f->sides[d];
    for (;;) {
        vx_filtering_settle(f);
        if (f->outcome.code != VX_ERR_NONE || side->done || side->out.len >= PEEK_BYTES ||
            !vx_filtering_may_read(f, d))
            return true;
        enum vx_pull result = vx_filtering_fill(f, d);
        if (result == VX_PULL_WAIT || result == VX_PULL_FAILED)
            return result == VX_PULL_WAIT;
    }
}

/* Content-Length is to say what the framing says. False: no memory. */
static bool state_length(struct vx_headers *headers, struct vx_arena *arena, enum vx_framing framing,
                         uint64_t bytes) {
    vx_headers_remove(headers, VX_HEADER_CONTENT_LENGTH);
    if (framing != VX_BODY_LENGTH)
        return true;
    char *digits = vx_arena_alloc(arena, VX_DECIMAL_MAX_BYTES);
    return digits && vx_headers_add(headers, arena, VX_HEADER_CONTENT_LENGTH,
                                    vx_header_id_name(VX_HEADER_CONTENT_LENGTH), vx_decimal(bytes, digits));
}

/* Frames a body that filters may edit: with its length where all of it has passed. */
static void reframe(const struct vx_filter_side *side, enum vx_framing *framing, uint64_t *bytes) {
    if (*framing != VX_BODY_LENGTH)
        return;
    if (side->done && !side->trailers)
        *bytes = side->out.len - side->sent;
    else
        *framing = VX_BODY_CHUNKED;
}

static void no_memory(struct vx_exchange *x, uint64_t now_ns) {
    vx_exchange_fail(x, vx_error(VX_ERR_OUT_OF_MEMORY, false, NULL), now_ns);
}

/* The request */

static bool frame_request(struct vx_exchange *x) {
    struct vx_filtering *f = x->filtering;
    struct vx_request *request = &x->forwarded;
    bool edits = any_edits(f, VX_FILTER_REQUEST);
    if (edits)
        reframe(&f->sides[VX_FILTER_REQUEST], &request->framing, &request->body_bytes);
    if (!edits && !f->maps[VX_FILTER_MAP_REQUEST_HEADERS].changed)
        return true;
    return state_length(&request->headers, x->down->arena, request->framing, request->body_bytes);
}

/* The head has passed all filters. */
static void request_passed(struct vx_exchange *x, uint64_t now_ns) {
    struct vx_filtering *f = x->filtering;
    struct vx_filter_side *side = &f->sides[VX_FILTER_REQUEST];
    /* A client that waits for 100-continue is to get it from the backend, so there is nothing to look at yet. */
    bool may_peek = any_edits(f, VX_FILTER_REQUEST) && !x->forwarded.expects_continue;
    if (may_peek && !peek(f, VX_FILTER_REQUEST)) {
        vx_exchange_fail(x, side->source.error, now_ns);
    } else if (f->outcome.code != VX_ERR_NONE) {
        vx_exchange_fail(x, f->outcome, now_ns);
    } else if (!frame_request(x)) {
        no_memory(x, now_ns);
    } else {
        bool reroute = f->reroute || f->maps[VX_FILTER_MAP_REQUEST_HEADERS].routing;
        x->state = VX_EXCHANGE_FORWARDING;
        vx_exchange_filtered(x, reroute, now_ns);
    }
}

/* FILTERING: whatever can go on does. */
static void request_event(struct vx_exchange *x, uint64_t now_ns) {
    struct vx_filtering *f = x->filtering;
    struct vx_filter_side *side = &f->sides[VX_FILTER_REQUEST];
    bool feeds = side->at < f->count && vx_filtering_may_read(f, VX_FILTER_REQUEST);
    if (feeds && f->outcome.code == VX_ERR_NONE)
        vx_exchange_let_the_client_send(x);
    if (!feed_holder(f, VX_FILTER_REQUEST))
        vx_exchange_fail(x, side->source.error, now_ns);
    else if (f->outcome.code != VX_ERR_NONE)
        vx_exchange_fail(x, f->outcome, now_ns);
    else if (side->at == f->count)
        request_passed(x, now_ns);
}

static void open_streams(struct vx_filtering *f, const struct vx_filter_chain *chain) {
    struct vx_exchange *x = f->exchange;
    for (uint32_t i = 0; i < chain->count; i++) {
        struct vx_filter_stream *s = &f->streams[i];
        s->chain = f;
        s->filter = chain->filters[i];
        f->count = i + 1;
        s->context = s->filter->ops->open(s->filter, x->proxy->worker, s, f->now_ns);
        if (!s->context && !vx_filtering_lose(s, VX_ERR_FILTER_FAILED))
            return;
    }
}

static bool has_no_body(const struct vx_request *request) {
    return request->framing == VX_BODY_NONE ||
           (request->framing == VX_BODY_LENGTH && request->body_bytes == 0);
}

void vx_filtering_begin(struct vx_exchange *x, uint64_t now_ns) {
    const struct vx_filter_chain *chain = x->route->chain;
    struct vx_arena *arena = x->down->arena;
    struct vx_filtering *f = vx_arena_alloc(arena, sizeof *f);
    size_t bytes = chain->count * sizeof *f->streams;
    struct vx_filter_stream *streams = vx_arena_alloc(arena, bytes);
    if (!f || !streams) {
        no_memory(x, now_ns);
        return;
    }
    memset(streams, 0, bytes);
    *f = (struct vx_filtering){.exchange = x, .streams = streams, .now_ns = now_ns};
    f->reply = (struct vx_stream){.ops = &reply_ops, .user = f};
    vx_timer_init(&f->pause_timer, vx_filtering_pause_over);
    for (unsigned d = 0; d < 2; d++)
        f->sides[d].source = (struct vx_stream){.ops = &vx_filter_source_ops, .user = f};
    for (unsigned m = 0; m < 4; m++)
        f->maps[m].arena = arena;
    struct vx_field_map *map = &f->maps[VX_FILTER_MAP_REQUEST_HEADERS];
    map->headers = &x->forwarded.headers;
    map->request = &x->forwarded;
    map->merge_slashes = x->snapshot->config->merge_slashes;
    x->filtering = f;
    x->state = VX_EXCHANGE_FILTERING;
    open_streams(f, chain);
    struct vx_filter_side *side = &f->sides[VX_FILTER_REQUEST];
    side->from = &x->down->stream;
    side->end_at_head = has_no_body(&x->forwarded);
    side->bodied = !side->end_at_head &&
                   any_wants(f, VX_FILTER_REQUEST, VX_FILTER_REQUEST_BODY | VX_FILTER_REQUEST_TRAILERS);
    vx_filtering_pass_head(f, VX_FILTER_REQUEST);
    request_event(x, now_ns);
}

/* The response */

static bool client_takes_body(const struct vx_exchange *x, uint16_t status) {
    return x->down->request->method != VX_METHOD_HEAD && status != 204 && status != 304;
}

/* Filters may have changed the status or the method, and with it whether there is to be a body. */
static void match_body(struct vx_exchange *x) {
    struct vx_filtering *f = x->filtering;
    struct vx_filter_side *side = &f->sides[VX_FILTER_RESPONSE];
    struct vx_response *response = f->response;
    bool takes = client_takes_body(x, response->status);
    if (!takes && !side->end_at_head) {
        f->reply_rest = VX_SLICE_NONE;
        side->from = &f->reply;
        side->bodied = false;
    } else if (takes && side->end_at_head) {
        response->framing = VX_BODY_LENGTH;
        response->body_bytes = 0;
    }
}

/* What a HEAD or a 304 says of a length is about another response: one whose body filters might have edited has none that
 * is known before (RFC 9110 §8.6). */
static void forget_length(const struct vx_filtering *f, struct vx_response *response) {
    if (!any_wants(f, VX_FILTER_RESPONSE, VX_FILTER_RESPONSE_BODY | VX_FILTER_RESPONSE_TRAILERS) ||
        !any_wants(f, VX_FILTER_RESPONSE, VX_FILTER_EDITS_BODY))
        return;
    vx_headers_remove(&response->headers, VX_HEADER_CONTENT_LENGTH);
    response->framing = VX_BODY_NONE;
}

static bool frame_response(struct vx_exchange *x) {
    struct vx_filtering *f = x->filtering;
    struct vx_response *response = f->response;
    bool edits = any_edits(f, VX_FILTER_RESPONSE);
    if (edits)
        reframe(&f->sides[VX_FILTER_RESPONSE], &response->framing, &response->body_bytes);
    if (!client_takes_body(x, response->status)) {
        forget_length(f, response);
        return true;
    }
    if (!edits && !f->maps[VX_FILTER_MAP_RESPONSE_HEADERS].changed)
        return true;
    return state_length(&response->headers, x->down->arena, response->framing, response->body_bytes);
}

static void response_passed(struct vx_exchange *x, uint64_t now_ns) {
    struct vx_filtering *f = x->filtering;
    struct vx_filter_side *side = &f->sides[VX_FILTER_RESPONSE];
    if (f->response->upgrade)
        f->response->status = 101; /* whatever filters made of it: the backend has granted an upgrade */
    else
        match_body(x);
    if (any_edits(f, VX_FILTER_RESPONSE) && f->response->framing == VX_BODY_LENGTH &&
        !peek(f, VX_FILTER_RESPONSE)) {
        vx_exchange_fail(x, side->source.error, now_ns);
    } else if (f->outcome.code != VX_ERR_NONE) {
        vx_exchange_fail(x, f->outcome, now_ns);
    } else if (!frame_response(x)) {
        no_memory(x, now_ns);
    } else {
        vx_exchange_send_head(x, f->response, now_ns);
    }
}

void vx_filtering_response_event(struct vx_exchange *x, uint64_t now_ns) {
    struct vx_filtering *f = x->filtering;
    struct vx_filter_side *side = &f->sides[VX_FILTER_RESPONSE];
    f->now_ns = now_ns;
    if (!feed_holder(f, VX_FILTER_RESPONSE))
        vx_exchange_fail(x, side->source.error, now_ns);
    else if (f->outcome.code != VX_ERR_NONE)
        vx_exchange_fail(x, f->outcome, now_ns);
    else if (side->at == f->count)
        response_passed(x, now_ns);
}

/* Whether nothing comes behind the head. What answers a HEAD has no body, whatever its fields say. */
static bool ends_at_head(const struct vx_exchange *x, const struct vx_response *response) {
    enum vx_method method = x->up ? x->forwarded.method : x->down->request->method;
    return method == VX_METHOD_HEAD || response->status == 204 || response->status == 304 ||
           response->status == 101 || response->framing == VX_BODY_NONE ||
           (response->framing == VX_BODY_LENGTH && response->body_bytes == 0);
}

/* The filters that have seen another head have nothing to do with this one: it begins behind them. */
static uint32_t next_step(struct vx_filtering *f) {
    const struct vx_filter_side *side = &f->sides[VX_FILTER_RESPONSE];
    uint32_t step = side->at;
    if (step < f->count && f->streams[f->count - 1 - step].lanes[VX_FILTER_RESPONSE].state != VX_LANE_AWAITS)
        step++;
    for (uint32_t i = 0; i < step; i++)
        f->streams[f->count - 1 - i].lanes[VX_FILTER_RESPONSE].state = VX_LANE_OVER;
    return step;
}

void vx_filtering_respond(struct vx_exchange *x, struct vx_response *response, struct vx_stream *from,
                          uint64_t now_ns) {
    struct vx_filtering *f = x->filtering;
    struct vx_filter_side *side = &f->sides[VX_FILTER_RESPONSE];
    uint32_t first = next_step(f);
    f->now_ns = now_ns;
    f->outcome = vx_error(VX_ERR_NONE, false, NULL);
    f->response = response;
    *side = (struct vx_filter_side){
        .source = side->source,
        .from = from,
        .out = {.ptr = side->out.ptr, .room = side->out.room},
        .first = first,
        .at = first,
        .end_at_head = ends_at_head(x, response),
    };
    side->bodied = !side->end_at_head &&
                   any_wants(f, VX_FILTER_RESPONSE, VX_FILTER_RESPONSE_BODY | VX_FILTER_RESPONSE_TRAILERS);
    f->maps[VX_FILTER_MAP_RESPONSE_HEADERS] =
        (struct vx_field_map){.headers = &response->headers, .response = response, .arena = x->down->arena};
    f->maps[VX_FILTER_MAP_RESPONSE_TRAILERS] = (struct vx_field_map){.arena = x->down->arena};
    x->state = VX_EXCHANGE_HOLDING;
    vx_filtering_pass_head(f, VX_FILTER_RESPONSE);
    vx_filtering_response_event(x, now_ns);
}

void vx_filtering_reply(struct vx_exchange *x, struct vx_response *response, struct vx_slice body,
                        uint64_t now_ns) {
    struct vx_filtering *f = x->filtering;
    bool none = response->status == 204 || response->status == 304;
    if (none || response->status == 205)
        body = VX_SLICE_NONE;
    response->framing = none ? VX_BODY_NONE : VX_BODY_LENGTH;
    response->body_bytes = body.len;
    f->reply_rest = x->down->request->method == VX_METHOD_HEAD ? VX_SLICE_NONE : body;
    /* Nobody waits for the rest of the request. */
    for (uint32_t i = 0; i < f->count; i++)
        f->streams[i].lanes[VX_FILTER_REQUEST].state = VX_LANE_OVER;
    vx_filtering_respond(x, response, &f->reply, now_ns);
}

void vx_filtering_answer(struct vx_exchange *x, uint64_t now_ns) {
    const struct vx_filtering *f = x->filtering;
    if (x->grpc)
        vx_exchange_grpc_head(x, f->answer);
    vx_filtering_reply(x, f->answer, f->answer_body, now_ns);
}

/* Both */

struct vx_stream *vx_filtering_source(struct vx_exchange *x, enum vx_filter_direction d, uint64_t now_ns) {
    struct vx_filter_side *side = &x->filtering->sides[d];
    x->filtering->now_ns = now_ns;
    return side->bodied ? &side->source : side->from;
}

void vx_filtering_event(struct vx_exchange *x, uint64_t now_ns) {
    struct vx_filtering *f = x->filtering;
    f->now_ns = now_ns;
    vx_filtering_settle(f);
    if (f->outcome.code != VX_ERR_NONE) {
        vx_exchange_fail(x, f->outcome, now_ns);
        return;
    }
    if (x->state == VX_EXCHANGE_FILTERING)
        request_event(x, now_ns);
    else if (x->state == VX_EXCHANGE_GATHERING)
        vx_exchange_gather(x, now_ns);
    else if (x->up && !vx_exchange_pump_request(x, now_ns))
        return;
    else if (x->state == VX_EXCHANGE_HOLDING)
        vx_filtering_response_event(x, now_ns);
    else if (x->state == VX_EXCHANGE_RESPONDING)
        vx_exchange_pump_response(x, now_ns);
}

static void drop_carrier(struct vx_filtering *f) {
    if (f->carrier.tls)
        f->carrier.tls->ops->drop(f->carrier.tls);
    f->carrier = (struct vx_carrier){.tls = NULL};
}

void vx_filtering_note_carrier(struct vx_exchange *x) {
    const struct vx_stream *s = &x->up->stream;
    struct vx_carrier *carrier = &x->filtering->carrier;
    drop_carrier(x->filtering);
    if (s->ops->describe && s->ops->describe(s, carrier) && carrier->tls)
        carrier->tls->ops->hold(carrier->tls);
}

void vx_filtering_end(struct vx_exchange *x, uint64_t now_ns) {
    struct vx_filtering *f = x->filtering;
    x->filtering = NULL;
    vx_timer_remove(x->proxy->wheel, &f->pause_timer);
    for (uint32_t i = 0; i < f->count; i++) {
        struct vx_filter_stream *s = &f->streams[i];
        s->phase = VX_PHASE_LOG;
        if (s->context && !s->gone)
            s->filter->ops->log(s->context, now_ns);
    }
    for (uint32_t i = 0; i < f->count; i++)
        if (f->streams[i].context)
            f->streams[i].filter->ops->close(f->streams[i].context, now_ns);
    drop_carrier(f);
}

bool vx_filtering_has_response(const struct vx_exchange *x) {
    return x->filtering && x->filtering->sides[VX_FILTER_RESPONSE].read;
}
