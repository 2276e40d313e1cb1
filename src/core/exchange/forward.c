/* SPDX-License-Identifier: Apache-2.0 */
/* Attempts: pick a backend, send the request, and decide what a failed attempt means. */
#include "core/exchange/filtering.h"
#include "core/exchange/grpc.h"
#include "core/exchange/internal.h"

void vx_exchange_drop_upstream(struct vx_exchange *x, enum vx_backend_outcome outcome, uint64_t now_ns) {
    if (vx_backend_ticket_open(&x->ticket))
        vx_backend_ticket_end(&x->ticket, outcome, now_ns);
    if (x->filtering)
        vx_filtering_note_carrier(x);
    struct vx_upstream *up = x->up;
    x->up = NULL;
    up->stream.ops->release(&up->stream);
}

/* RFC 9110 §9.2.2: sending it twice has the effect of sending it once. */
static bool idempotent(enum vx_method method) {
    switch (method) {
    case VX_METHOD_GET:
    case VX_METHOD_HEAD:
    case VX_METHOD_OPTIONS:
    case VX_METHOD_TRACE:
    case VX_METHOD_PUT:
    case VX_METHOD_DELETE:
        return true;
    default:
        return false;
    }
}

/* Failures that another attempt may mend. A backend that is slow or talks nonsense is not asked twice: the request
 * may have been carried out, and waiting again would break the promise of `timeouts`. */
static bool mendable(enum vx_error_code code) {
    switch (code) {
    case VX_ERR_CONNECT_FAILED:
    case VX_ERR_CONNECT_TIMEOUT:
    case VX_ERR_TLS_FAILED:
    case VX_ERR_BACKEND_CLOSED:
    case VX_ERR_BACKEND_RESET:
    case VX_ERR_BACKEND_REFUSED:
    case VX_ERR_QUEUE_FULL:
    case VX_ERR_QUEUE_TIMEOUT:
        return true;
    default:
        return false;
    }
}

static bool may_send_again(const struct vx_exchange *x, const struct vx_error *error, bool sent) {
    return mendable(error->code) && !x->body_taken && !x->status &&
           (!sent || idempotent(x->forwarded.method));
}

/* The budget bounds the work that backends do twice; an attempt of which nothing was sent made them none. */
static bool take_budget(const struct vx_exchange *x, bool sent, uint64_t now_ns) {
    return !sent || vx_backend_set_take_retry(x->route->set, x->proxy->worker, now_ns);
}

static bool take_retry(struct vx_exchange *x, bool sent, uint64_t now_ns) {
    if (x->retries >= x->route->config->retry_attempts || x->attempts >= VX_EXCHANGE_TRIED_MAX ||
        !take_budget(x, sent, now_ns))
        return false;
    x->retries++;
    return true;
}

/* Of what a backend says that it has not begun, some retries are free, whatever `retries.attempts` says; not without end, for
 * a backend may say so each time. */
static bool take_unread_retry(struct vx_exchange *x) {
    enum { UNREAD_MAX = 3 };
    if (x->unread_retries >= UNREAD_MAX || x->attempts >= VX_EXCHANGE_TRIED_MAX)
        return false;
    x->unread_retries++;
    return true;
}

static bool pick(struct vx_exchange *x, uint64_t now_ns) {
    struct vx_pick_request request = {
        .view = x->view,
        .tried = x->tried,
        .tried_count = x->attempts,
        .worker = x->proxy->worker,
        .random = x->proxy->random,
        .now_ns = now_ns,
    };
    enum vx_pick_result result = vx_backend_pick(x->route->set, &request, &x->ticket);
    if (result == VX_PICKED) {
        x->tried[x->attempts] = x->ticket.index;
        x->target = &x->route->targets[x->ticket.index];
        x->attempts++;
        return true;
    }
    enum vx_error_code code = result == VX_PICK_BREAKER_OPEN ? VX_ERR_BREAKER_OPEN : VX_ERR_NO_BACKEND;
    vx_exchange_fail(x, vx_error(code, false, NULL), now_ns);
    return false;
}

/* Opens the upstream to the picked target. False with *error filled: the ticket is ended. */
static bool open_upstream(struct vx_exchange *x, bool fresh, struct vx_error *error, uint64_t now_ns) {
    struct vx_upstream_open open = {
        .target = x->target,
        .request = &x->forwarded,
        .arena = x->down->arena,
        .events = &vx_exchange_upstream_events,
        .user = x,
        .fresh = fresh,
    };
    x->gathered_sent = 0;
    x->request_done = false;
    x->state = VX_EXCHANGE_FORWARDING;
    x->keeps = x->target->http2 && !x->gathered_whole && !x->body_taken && !x->forwarded.upgrade &&
               x->forwarded.framing != VX_BODY_NONE;
    if (!x->grpc || vx_exchange_grpc_forward(x, now_ns))
        x->up = x->proxy->client->open(x->proxy->client, &open, error, now_ns);
    else
        *error = vx_error(VX_ERR_OUT_OF_MEMORY, false, NULL);
    if (x->up)
        return true;
    vx_backend_ticket_end(&x->ticket,
                          error->source == VX_BY_BACKEND ? VX_OUTCOME_FAILURE : VX_OUTCOME_NEUTRAL, now_ns);
    return false;
}

void vx_exchange_attempt(struct vx_exchange *x, bool fresh, uint64_t now_ns) {
    for (;;) {
        if (!pick(x, now_ns))
            return;
        struct vx_error error;
        if (open_upstream(x, fresh, &error, now_ns)) {
            vx_exchange_pump_request(x, now_ns);
            return;
        }
        if (!may_send_again(x, &error, false) || !take_retry(x, false, now_ns)) {
            vx_exchange_fail(x, error, now_ns);
            return;
        }
        x->proxy->recorder->retried(x->proxy->recorder, x->route, x->target);
    }
}

/* A connection that its backend had given up says nothing about the backend: the same one is asked again on a fresh
 * connection, whatever `retries.attempts` says. */
static void ask_again(struct vx_exchange *x, uint64_t now_ns) {
    struct vx_error error;
    struct vx_upstream *stale = x->up;
    x->up = NULL;
    stale->stream.ops->release(&stale->stream);
    if (open_upstream(x, true, &error, now_ns)) {
        vx_exchange_pump_request(x, now_ns);
    } else if (may_send_again(x, &error, false) && take_retry(x, false, now_ns)) {
        x->proxy->recorder->retried(x->proxy->recorder, x->route, x->target);
        vx_exchange_attempt(x, false, now_ns);
    } else {
        vx_exchange_fail(x, error, now_ns);
    }
}

static bool connection_ended(const struct vx_error *error) {
    return error->code == VX_ERR_BACKEND_CLOSED || error->code == VX_ERR_BACKEND_RESET;
}

/* Whether the connection had been given up before it could carry the request. */
static bool was_stale(const struct vx_exchange *x, const struct vx_error *error) {
    return x->up->reused && x->up->received_bytes == 0 && connection_ended(error);
}

/* Whether a backend of HTTP/2 has had the request, or could have had it, and has certainly not begun with it: it refused the
 * stream, left it out when it went away, or the connection ended before the head was out (RFC 9113 §8.7). */
static bool was_unread(const struct vx_exchange *x, const struct vx_error *error) {
    return x->target->http2 && error->retryable &&
           (connection_ended(error) || error->code == VX_ERR_BACKEND_REFUSED);
}

/* How a failed attempt speaks against its backend. One request counts once where what it is refused is free. */
static enum vx_backend_outcome outcome_of(const struct vx_exchange *x, const struct vx_error *error) {
    bool again = false;
    for (uint16_t i = 0; i + 1 < x->attempts; i++)
        again |= x->tried[i] == x->tried[x->attempts - 1];
    return again && was_unread(x, error) ? VX_OUTCOME_NEUTRAL : vx_outcome_of(&x->ticket, x->up, error);
}

enum remedy { GIVE_UP, SAME_BACKEND, ANOTHER_BACKEND };

static enum remedy find_remedy(struct vx_exchange *x, const struct vx_error *error, bool sent,
                               uint64_t now_ns) {
    if (!may_send_again(x, error, sent))
        return GIVE_UP;
    /* Who goes away from a connection takes another one; who refuses has too much to do. */
    if (was_unread(x, error) && take_unread_retry(x))
        return connection_ended(error) ? SAME_BACKEND : ANOTHER_BACKEND;
    if (was_stale(x, error) && !x->stale_retried && take_budget(x, sent, now_ns)) {
        x->stale_retried = true;
        return SAME_BACKEND;
    }
    return take_retry(x, sent, now_ns) ? ANOTHER_BACKEND : GIVE_UP;
}

void vx_exchange_attempt_failed(struct vx_exchange *x, struct vx_error error, uint64_t now_ns) {
    bool sent = x->up->sent && !error.retryable;
    /* A move that breaks may have lost bytes between the two sockets. */
    x->body_taken = x->body_taken || (sent && vx_exchange_is_bulk(x));
    enum remedy remedy = find_remedy(x, &error, sent, now_ns);
    if (remedy == SAME_BACKEND) {
        ask_again(x, now_ns);
        return;
    }
    vx_exchange_drop_upstream(x, outcome_of(x, &error), now_ns);
    if (remedy == GIVE_UP) {
        vx_exchange_fail(x, error, now_ns);
        return;
    }
    x->proxy->recorder->retried(x->proxy->recorder, x->route, x->target);
    vx_exchange_attempt(x, false, now_ns);
}
