/* SPDX-License-Identifier: Apache-2.0 */
/* The life of an exchange: route, limit, (filter), (gather), forward, (filter), respond, record.
 *
 * Invariants
 *   1. The client gets exactly one final head, the backend's or ours, or the connection is cut.
 *   2. `ticket` is open exactly while `up` is set: vx_exchange_drop_upstream ends both. So no active count can leak.
 *   3. The downstream is released last, once: the exchange lies in its arena.
 *   4. Any event may end the exchange; after a call that can, nothing of it is touched.
 *
 * state       event                              next        function
 * -           request, the store must be asked   LIMITING    vx_exchange_limit
 * -           request, route has filters         FILTERING   vx_filtering_begin
 * -           request, route found               FORWARDING  proceed, vx_exchange_attempt
 * -           request, its body names the model  GATHERING   proceed
 * -           no route, redirect                 REPLYING    begin, proceed
 * LIMITING    the store lets it pass             as from -   vx_exchange_admitted
 * LIMITING    the store refuses it               REPLYING    refuse
 * LIMITING    failed meanwhile                   REPLYING    vx_exchange_fail (the store is not heard any more)
 * FILTERING   head has passed the filters        as from -   vx_exchange_filtered
 * FILTERING   a filter holds it                  FILTERING   vx_filtering_event
 * FILTERING   rejected, answered, failed         HOLDING     vx_exchange_fail
 * GATHERING   body complete                      FORWARDING  vx_exchange_gather
 * GATHERING   body too large, broken             REPLYING    vx_exchange_fail
 * FORWARDING  interim head                       FORWARDING  on_response
 * FORWARDING  final head                         RESPONDING  on_response, vx_exchange_send_head
 * FORWARDING  final head, there are filters      HOLDING     vx_filtering_respond
 * FORWARDING  attempt failed, may retry          FORWARDING  vx_exchange_attempt_failed
 * FORWARDING  attempt failed for good            REPLYING    vx_exchange_fail
 * HOLDING     head has passed the filters        RESPONDING  vx_exchange_send_head
 * HOLDING     another answer takes its place     HOLDING     vx_exchange_fail, vx_filtering_reply
 * RESPONDING  body complete                      ENDED       vx_exchange_pump_response
 * RESPONDING  upstream broken                    ENDED       vx_exchange_fail (the response stays cut)
 * REPLYING    answer written                     ENDED       vx_exchange_answer, downstream_writable
 * any, with filters: an answer of ours           HOLDING     vx_exchange_answer (REPLYING is for exchanges without)
 * any         client gone                        ENDED       downstream_failed
 * any         a gRPC call's deadline has passed  as failed   vx_exchange_fail
 */
#include "core/exchange/exchange.h"

#include "core/exchange/filtering.h"
#include "core/exchange/grpc.h"
#include "core/routing/table.h"

static struct vx_exchange_record describe(const struct vx_exchange *x, uint64_t now_ns) {
    return (struct vx_exchange_record){
        .request = x->down->request,
        .client = x->down->client,
        .client_ip = x->client_ip,
        .route = x->route,
        .target = x->tunnel ? NULL : x->target,
        .backend = x->target ? x->target->name : VX_SLICE_NONE,
        .error = x->error,
        .error_detail = x->error_detail,
        .status = x->status,
        .attempts = x->attempts,
        .part = x->tunnel ? VX_RECORD_TUNNEL_ENDED : VX_RECORD_WHOLE,
        .tunnel = x->tunnel,
        .started_ns = x->down->started_ns,
        .ended_ns = now_ns,
        .backend_ns = x->backend_ns,
        .request_bytes = x->request_bytes,
        .response_bytes = x->down->sent_bytes,
    };
}

void vx_exchange_end(struct vx_exchange *x, uint64_t now_ns) {
    struct vx_proxy *proxy = x->proxy;
    VX_ASSERT(x->state != VX_EXCHANGE_ENDED);
    VX_ASSERT(!x->up);
    if (x->state == VX_EXCHANGE_LIMITING)
        vx_exchange_limit_cancel(x);
    if (x->filtering)
        vx_filtering_end(x, now_ns);
    struct vx_exchange_record record = describe(x, now_ns);
    if (x->grpc)
        vx_exchange_grpc_end(x, &record);
    proxy->recorder->record(proxy->recorder, &record);
    x->state = VX_EXCHANGE_ENDED;
    proxy->active--;
    if (x->snapshot)
        vx_snapshot_drop(x->snapshot, proxy->worker);
    x->down->stream.ops->release(&x->down->stream);
}

void vx_exchange_note(struct vx_exchange *x, struct vx_error error) {
    if (x->error != VX_ERR_NONE)
        return;
    x->error = error.code;
    x->error_detail = error.detail;
}

/* The same through the filters, as a response like any other. */
static void answer_filtered(struct vx_exchange *x, const struct vx_reply_content *content, uint64_t now_ns) {
    struct vx_response *response = vx_reply_head(x->down->arena, content);
    if (response)
        vx_filtering_reply(x, response, content->body, now_ns);
    else
        vx_exchange_end(x, now_ns);
}

void vx_exchange_answer(struct vx_exchange *x, const struct vx_reply_content *content, uint64_t now_ns) {
    struct vx_reply_content whole = *content;
    if (x->state == VX_EXCHANGE_LIMITING)
        vx_exchange_limit_cancel(x);
    vx_exchange_limit_reply(x, &whole);
    if (x->grpc && !vx_exchange_grpc_reply(x, &whole)) {
        vx_exchange_end(x, now_ns);
        return;
    }
    if (x->filtering) {
        answer_filtered(x, &whole, now_ns);
        return;
    }
    x->state = VX_EXCHANGE_REPLYING;
    x->status = whole.status;
    enum vx_reply_progress progress = vx_reply_start(&x->reply, x->down, &whole);
    if (progress == VX_REPLY_NO_MEMORY) {
        x->status = 0;
        vx_exchange_note(x, vx_error(VX_ERR_OUT_OF_MEMORY, false, NULL));
    }
    if (progress != VX_REPLY_WAIT)
        vx_exchange_end(x, now_ns);
}

static void answer_error(struct vx_exchange *x, enum vx_error_code code, uint64_t now_ns) {
    const struct vx_error_info *info = vx_error_info(code);
    struct vx_slice message = info->status == 503
                                  ? VX_SLICE("Circuit breaker open or all backend nodes are offline.")
                                  : VX_SLICE_NONE;
    struct vx_slice body = vx_reply_error_body(x->down->arena, code, message);
    struct vx_reply_content content = {
        .status = info->status,
        .content_type = VX_SLICE("application/json"),
        .body = body.ptr ? body : VX_SLICE("{\"error\":\"Service Unavailable\"}"),
    };
    vx_exchange_answer(x, &content, now_ns);
}

void vx_exchange_fail(struct vx_exchange *x, struct vx_error error, uint64_t now_ns) {
    if (x->state == VX_EXCHANGE_HOLDING)
        x->error = VX_ERR_NONE; /* the answer that it was about will not go out, this one will */
    vx_exchange_note(x, error);
    if (x->up)
        vx_exchange_drop_upstream(x, vx_outcome_of(&x->ticket, x->up, &error), now_ns);
    if (error.code == VX_ERR_FILTER_ANSWERED && !x->status)
        vx_filtering_answer(x, now_ns);
    else if (x->status || !vx_error_info(error.code)->status)
        vx_exchange_end(x, now_ns);
    else
        answer_error(x, error.code, now_ns);
}

/* Downstream events */

static void downstream_readable(void *user, uint64_t now_ns) {
    struct vx_exchange *x = user;
    if (x->filtering)
        vx_filtering_event(x, now_ns);
    else if (x->state == VX_EXCHANGE_GATHERING)
        vx_exchange_gather(x, now_ns);
    else if (x->up)
        vx_exchange_pump_request(x, now_ns);
}

static void downstream_writable(void *user, uint64_t now_ns) {
    struct vx_exchange *x = user;
    if (x->state == VX_EXCHANGE_REPLYING) {
        if (vx_reply_resume(&x->reply, x->down) == VX_REPLY_DONE)
            vx_exchange_end(x, now_ns);
    } else if (x->state == VX_EXCHANGE_RESPONDING) {
        vx_exchange_pump_response(x, now_ns);
    }
}

static void downstream_failed(void *user, uint64_t now_ns) {
    struct vx_exchange *x = user;
    /* Who leaves with all of the answer, while its backend has still to say that this was the end (the last frame of HTTP/2 may be
     * an empty one), has not given it up. */
    if (!x->down->whole)
        vx_exchange_note(x, x->down->stream.error);
    if (x->up)
        vx_exchange_drop_upstream(x, VX_OUTCOME_NEUTRAL, now_ns);
    vx_exchange_end(x, now_ns);
}

static const struct vx_stream_events downstream_events = {
    .on_readable = downstream_readable,
    .on_writable = downstream_writable,
    .on_failed = downstream_failed,
};

/* Upstream events */

static void upstream_readable(void *user, uint64_t now_ns) {
    struct vx_exchange *x = user;
    if (x->state == VX_EXCHANGE_RESPONDING)
        vx_exchange_pump_response(x, now_ns);
    else if (x->state == VX_EXCHANGE_HOLDING)
        vx_filtering_response_event(x, now_ns);
}

static void upstream_writable(void *user, uint64_t now_ns) {
    vx_exchange_pump_request(user, now_ns);
}

static void upstream_failed(void *user, uint64_t now_ns) {
    struct vx_exchange *x = user;
    if (x->state == VX_EXCHANGE_FORWARDING)
        vx_exchange_attempt_failed(x, x->up->stream.error, now_ns);
    else if (!vx_filtering_has_response(x))
        vx_exchange_fail(x, x->up->stream.error, now_ns);
}

/* What of a 5xx says that the backend cannot work: 500 is an application's bug at one path, which must not take the
 * whole backend out; 501 and 505 speak about the request. */
static bool counts_as_failure(uint16_t status) {
    return status >= 502 && status <= 504;
}

/* The names that a log line needs, copied out of the snapshot. False: no memory. */
static bool copy_names(struct vx_exchange *x) {
    struct vx_arena *arena = x->down->arena;
    struct vx_route *route = vx_arena_alloc(arena, sizeof *route);
    struct vx_config_route *config = vx_arena_alloc(arena, sizeof *config);
    struct vx_target *target = vx_arena_alloc(arena, sizeof *target);
    if (!route || !config || !target)
        return false;
    *config = (struct vx_config_route){.name = vx_arena_copy(arena, x->route->config->name)};
    *route = (struct vx_route){.config = config, .index = x->route->index};
    *target = (struct vx_target){.name = vx_arena_copy(arena, x->target->name)};
    x->route = route;
    x->target = target;
    return true;
}

/* A tunnel lets go of its snapshot: old configurations must not live as long as somebody's WebSocket. */
static void become_tunnel(struct vx_exchange *x, uint64_t now_ns) {
    if (x->filtering)
        vx_filtering_end(x, now_ns);
    x->tunnel = true;
    x->request_done = false;
    struct vx_exchange_record record = describe(x, now_ns);
    record.part = VX_RECORD_TUNNEL_BEGUN;
    record.target = x->target;
    x->proxy->recorder->record(x->proxy->recorder, &record);
    vx_backend_ticket_detach(&x->ticket);
    if (!copy_names(x))
        return;
    vx_snapshot_drop(x->snapshot, x->proxy->worker);
    x->snapshot = NULL;
}

void vx_exchange_send_head(struct vx_exchange *x, struct vx_response *response, uint64_t now_ns) {
    x->state = VX_EXCHANGE_RESPONDING;
    x->status = response->status;
    /* An answer that sends the client elsewhere, or away, tells it to stop sending. */
    response->early = x->up && !x->request_done && response->status < 300;
    x->down->ops->respond(x->down, response);
    if (response->status == 101) {
        become_tunnel(x, now_ns);
        if (!vx_exchange_pump_request(x, now_ns))
            return;
    }
    vx_exchange_pump_response(x, now_ns);
}

/* What the final head says of the backend. */
static void judge(struct vx_exchange *x, const struct vx_response *response, uint64_t now_ns) {
    bool failure = counts_as_failure(response->status) || (x->grpc && vx_exchange_grpc_head(x, response));
    /* A backend may answer before it was asked; that says nothing about how long an answer takes. */
    x->backend_ns = x->up->sent_ns ? now_ns - x->up->sent_ns : 0;
    if (!failure && x->up->sent_ns)
        vx_backend_ticket_sample(&x->ticket, x->backend_ns, now_ns);
    vx_backend_ticket_settle(&x->ticket, failure ? VX_OUTCOME_FAILURE : VX_OUTCOME_SUCCESS, now_ns);
}

static void on_response(void *user, struct vx_response *response, uint64_t now_ns) {
    struct vx_exchange *x = user;
    bool interim = response->status < 200 && response->status != 101;
    if (!vx_exchange_edit_response(x, response) || !(interim || vx_exchange_limit_response(x, response))) {
        vx_exchange_fail(x, vx_error(VX_ERR_OUT_OF_MEMORY, false, NULL), now_ns);
        return;
    }
    if (response->status == 101 && !response->upgrade) {
        vx_exchange_fail(x, vx_error(VX_ERR_BAD_RESPONSE, false, "101 to h2c, which was not asked for"),
                         now_ns);
        return;
    }
    if (interim) {
        if (response->status != 100 || x->forwarded.expects_continue)
            x->down->ops->respond(x->down, response);
        return;
    }
    judge(x, response, now_ns);
    if (x->filtering)
        vx_filtering_respond(x, response, &x->up->stream, now_ns);
    else
        vx_exchange_send_head(x, response, now_ns);
}

const struct vx_stream_events vx_exchange_upstream_events = {
    .on_readable = upstream_readable,
    .on_writable = upstream_writable,
    .on_failed = upstream_failed,
    .on_response = on_response,
};

/* The beginning */

static void redirect(struct vx_exchange *x, uint64_t now_ns) {
    const struct vx_config_route *config = x->route->config;
    struct vx_reply_field location = {
        .id = VX_HEADER_LOCATION,
        .name = VX_SLICE("location"),
        .value = config->redirect_to,
    };
    struct vx_reply_content content = {
        .status = config->redirect_code, .fields = &location, .field_count = 1};
    vx_exchange_answer(x, &content, now_ns);
}

/* Whether the body has to be read first. A type with JSON syntax is `application/json` or ends in `+json`. */
static bool body_names_model(const struct vx_request *request) {
    struct vx_header *type = vx_headers_find(&request->headers, VX_HEADER_CONTENT_TYPE);
    if (!type || request->framing == VX_BODY_NONE || request->upgrade)
        return false;
    struct vx_slice value = vx_header_value(type);
    for (size_t i = 0; i < value.len; i++)
        if (value.ptr[i] == ';')
            value.len = i;
    value = vx_slice_trim(value);
    struct vx_slice suffix = VX_SLICE("+json");
    return vx_slice_ieq(value, VX_SLICE("application/json")) ||
           (value.len > suffix.len && vx_slice_ieq(vx_slice_skip(value, value.len - suffix.len), suffix));
}

static void choose_backends(struct vx_exchange *x, uint64_t now_ns) {
    const struct vx_request *request = &x->forwarded;
    if (!vx_backend_set_has_models(x->route->set)) {
        vx_exchange_attempt(x, false, now_ns);
        return;
    }
    struct vx_header *model = vx_headers_find(&request->headers, VX_HEADER_X_AI_MODEL);
    if (model) {
        vx_exchange_choose_model(x, vx_header_value(model), now_ns);
    } else if (body_names_model(request)) {
        x->state = VX_EXCHANGE_GATHERING;
        vx_exchange_gather(x, now_ns);
    } else {
        vx_exchange_attempt(x, false, now_ns);
    }
}

/* Where it is to go is settled. */
static void proceed(struct vx_exchange *x, uint64_t now_ns) {
    if (!x->route->set)
        redirect(x, now_ns);
    else if (!vx_exchange_edit_target(x))
        vx_exchange_fail(x, vx_error(VX_ERR_OUT_OF_MEMORY, false, NULL), now_ns);
    else
        choose_backends(x, now_ns);
}

/* Names the route that takes the request. */
static inline void find_route(struct vx_exchange *x, const struct vx_request *request) {
    uint32_t index = vx_route_table_find(x->snapshot->table, request);
    x->route = index != VX_ROUTE_NONE ? &x->snapshot->routes[index] : NULL;
}

void vx_exchange_admitted(struct vx_exchange *x, uint64_t now_ns) {
    if (x->route->chain)
        vx_filtering_begin(x, now_ns);
    else
        proceed(x, now_ns);
}

void vx_exchange_filtered(struct vx_exchange *x, bool reroute, uint64_t now_ns) {
    if (reroute)
        find_route(x, &x->forwarded);
    if (x->route)
        proceed(x, now_ns);
    else
        vx_exchange_fail(x, vx_error(VX_ERR_NO_ROUTE, false, NULL), now_ns);
}

/* The record of a request that no exchange was made of. */
static void record_unbegun(struct vx_proxy *proxy, const struct vx_refusal *refusal, uint16_t status,
                           uint64_t now_ns) {
    struct vx_exchange_record record = {
        .request = refusal->request,
        .client = refusal->client,
        .client_ip = refusal->client->remote_text,
        .error = refusal->error.code,
        .error_detail = refusal->error.detail,
        .status = status,
        .started_ns = refusal->started_ns,
        .ended_ns = now_ns,
        .response_bytes = refusal->response_bytes,
    };
    proxy->recorder->record(proxy->recorder, &record);
}

static void begin(struct vx_handler *handler, struct vx_downstream *down, uint64_t now_ns) {
    struct vx_proxy *proxy = (struct vx_proxy *)handler;
    struct vx_exchange *x = vx_arena_alloc(down->arena, sizeof *x);
    if (!x) {
        struct vx_refusal refusal = {
            .client = down->client,
            .request = down->request,
            .error = vx_error(VX_ERR_OUT_OF_MEMORY, false, NULL),
            .started_ns = down->started_ns,
        };
        record_unbegun(proxy, &refusal, 0, now_ns);
        down->stream.ops->release(&down->stream);
        return;
    }
    memset(x, 0, offsetof(struct vx_exchange, forwarded));
    x->proxy = proxy;
    x->down = down;
    x->snapshot = vx_snapshot_hold(proxy->snapshot, proxy->worker);
    x->state = VX_EXCHANGE_FORWARDING;
    down->stream.events = &downstream_events;
    down->stream.user = x;
    proxy->active++;
    find_route(x, down->request);
    /* Also a request that goes nowhere has a client to name in the log. */
    vx_exchange_identify(x);
    if (!vx_exchange_limit_prepare(x) || !vx_exchange_edit_request(x) || !vx_exchange_grpc_begin(x))
        vx_exchange_fail(x, vx_error(VX_ERR_OUT_OF_MEMORY, false, NULL), now_ns);
    else if (vx_exchange_is_banned(x, now_ns))
        vx_exchange_turn_away(x, now_ns);
    else if (!x->route)
        vx_exchange_fail(x, vx_error(VX_ERR_NO_ROUTE, false, NULL), now_ns);
    else if (x->route->limit)
        vx_exchange_limit(x, now_ns);
    else
        vx_exchange_admitted(x, now_ns);
}

static void refused(struct vx_handler *handler, const struct vx_refusal *refusal, uint64_t now_ns) {
    record_unbegun((struct vx_proxy *)handler, refusal, vx_error_info(refusal->error.code)->status, now_ns);
}

void vx_proxy_init(struct vx_proxy *proxy, struct vx_http_client *client, struct vx_recorder *recorder,
                   struct vx_random *random, struct vx_timer_wheel *wheel, uint32_t worker) {
    *proxy = (struct vx_proxy){
        .handler = {.begin = begin, .refused = refused},
        .client = client,
        .recorder = recorder,
        .random = random,
        .wheel = wheel,
        .worker = worker,
    };
}

void vx_proxy_adopt(struct vx_proxy *proxy, struct vx_snapshot *snapshot) {
    struct vx_snapshot *before = proxy->snapshot;
    proxy->snapshot = vx_snapshot_hold(snapshot, proxy->worker);
    if (before)
        vx_snapshot_drop(before, proxy->worker);
}
