/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a request is within its route's limit: the question to the store, the refusal, and what clients are told. */
#include "core/limit/limit.h"
#include "core/base/decimal.h"
#include "core/exchange/internal.h"
#include "core/limit/key.h"

enum { LIMIT_FIELDS = 3 };

static const uint64_t second_ns = 1000000000, ms_ns = 1000000;

/* What a refusal says while the store is away: nobody knows when it comes back. */
static const uint64_t blind_wait_ns = 1000000000;

static bool is_blind(const struct vx_exchange_limit *l) {
    return l->request.verdict == VX_RATE_PASS_BLIND || l->request.verdict == VX_RATE_REFUSE_BLIND;
}

/* --- What clients are told ---------------------------------------------------------------------------------------- */

/* Fills `fields` with what an answer of a limited route carries besides; returns how many. */
static unsigned limit_fields(const struct vx_exchange *x, struct vx_reply_field fields[LIMIT_FIELDS]) {
    const struct vx_exchange_limit *l = x->limit;
    bool refused = l->request.verdict == VX_RATE_REFUSE || l->request.verdict == VX_RATE_REFUSE_BLIND;
    unsigned n = 0;
    if (refused) {
        char digits[VX_DECIMAL_MAX_BYTES];
        struct vx_slice seconds = vx_decimal(vx_limit_whole(l->wait_ns, second_ns), digits);
        struct vx_slice value = vx_arena_copy(x->down->arena, seconds);
        if (value.ptr)
            fields[n++] = (struct vx_reply_field){VX_HEADER_OTHER, VX_SLICE("retry-after"), value};
    }
    struct vx_slice state = VX_SLICE_NONE;
    if (l->request.verdict == VX_RATE_PASS || l->request.verdict == VX_RATE_REFUSE)
        state = vx_limit_state(l->limit, l->request.debt_ns, refused ? l->wait_ns : l->request.debt_ns,
                               x->down->arena);
    if (state.ptr) {
        fields[n++] =
            (struct vx_reply_field){VX_HEADER_OTHER, VX_SLICE("ratelimit-policy"), l->limit->policy};
        fields[n++] = (struct vx_reply_field){VX_HEADER_OTHER, VX_SLICE("ratelimit"), state};
    }
    return n;
}

bool vx_exchange_limit_response(struct vx_exchange *x, struct vx_response *response) {
    struct vx_reply_field fields[LIMIT_FIELDS];
    unsigned count = x->limit ? limit_fields(x, fields) : 0;
    for (unsigned i = 0; i < count; i++)
        if (!vx_headers_add(&response->headers, x->down->arena, fields[i].id, fields[i].name,
                            fields[i].value))
            return false;
    return true;
}

void vx_exchange_limit_reply(struct vx_exchange *x, struct vx_reply_content *content) {
    struct vx_reply_field *fields =
        x->limit
            ? vx_arena_alloc(x->down->arena, (LIMIT_FIELDS + (size_t)content->field_count) * sizeof *fields)
            : NULL;
    if (!fields)
        return;
    for (unsigned i = 0; i < content->field_count; i++)
        fields[i] = content->fields[i];
    content->field_count += (uint16_t)limit_fields(x, fields + content->field_count);
    content->fields = fields;
}

/* `{"error":"Rate limit exceeded","retry_after_ms":1500}` */
static struct vx_slice refusal_body(struct vx_exchange *x) {
    struct vx_slice start = VX_SLICE("{\"error\":\"Rate limit exceeded\",\"retry_after_ms\":");
    char digits[VX_DECIMAL_MAX_BYTES];
    struct vx_slice wait_ms = vx_decimal(vx_limit_whole(x->limit->wait_ns, ms_ns), digits);
    const struct vx_slice parts[] = {start, wait_ms, VX_SLICE("}")};
    struct vx_slice body = vx_arena_join(x->down->arena, parts, 3);
    return body.ptr ? body : VX_SLICE("{\"error\":\"Rate limit exceeded\"}");
}

/* --- The decision ------------------------------------------------------------------------------------------------- */

static void refuse(struct vx_exchange *x, uint64_t now_ns) {
    struct vx_exchange_limit *l = x->limit;
    bool blind = is_blind(l);
    l->wait_ns =
        blind ? blind_wait_ns : vx_gcra_wait_ns(&l->request.limit, l->request.debt_ns, l->request.cost);
    struct vx_reply_content content = {
        .status = 429,
        .content_type = VX_SLICE("application/json"),
        .body = refusal_body(x),
    };
    if (!blind)
        vx_exchange_report_refusal(x, now_ns);
    vx_exchange_note(x, vx_error(VX_ERR_RATE_LIMITED, false, blind ? "the store is away" : NULL));
    vx_exchange_answer(x, &content, now_ns);
}

static void settle(struct vx_exchange *x, uint64_t now_ns) {
    switch (x->limit->request.verdict) {
    case VX_RATE_PASS:
    case VX_RATE_PASS_BLIND:
        vx_exchange_admitted(x, now_ns);
        break;
    case VX_RATE_REFUSE:
    case VX_RATE_REFUSE_BLIND:
        refuse(x, now_ns);
        break;
    case VX_RATE_PENDING:
        break;
    }
}

static void decided(struct vx_rate_request *request, uint64_t now_ns) {
    struct vx_exchange *x = VX_CONTAINER_OF(request, struct vx_exchange_limit, request)->exchange;
    x->state = VX_EXCHANGE_FORWARDING;
    settle(x, now_ns);
}

bool vx_exchange_limit_prepare(struct vx_exchange *x) {
    const struct vx_limit *limit = x->route ? x->route->limit : NULL;
    if (!limit)
        return true;
    struct vx_exchange_limit *l = vx_arena_alloc(x->down->arena, sizeof *l);
    struct vx_limit_subject subject = {
        .client = &x->client_address,
        .headers = &x->down->request->headers,
        .route = x->route->config->name,
    };
    struct vx_slice key = vx_limit_key(limit->config, &subject, x->down->arena);
    if (!l || !key.ptr)
        return false;
    *l = (struct vx_exchange_limit){
        .request = {.limit = limit->gcra,
                    .key = key,
                    .cost = vx_limit_cost(limit->config, subject.headers),
                    .decided = decided},
        .limit = limit,
        .store = x->proxy->rate_store,
        .exchange = x,
    };
    l->store->prepare(l->store, &l->request);
    x->limit = l;
    return true;
}

void vx_exchange_limit(struct vx_exchange *x, uint64_t now_ns) {
    struct vx_exchange_limit *l = x->limit;
    l->request.verdict = l->store->take(l->store, &l->request, now_ns);
    if (l->request.verdict == VX_RATE_PENDING)
        x->state = VX_EXCHANGE_LIMITING;
    else
        settle(x, now_ns);
}

void vx_exchange_limit_cancel(struct vx_exchange *x) {
    x->state = VX_EXCHANGE_FORWARDING;
    x->limit->store->cancel(x->limit->store, &x->limit->request);
}
