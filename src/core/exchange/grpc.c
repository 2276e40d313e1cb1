/* SPDX-License-Identifier: Apache-2.0 */
/* See grpc.h. */
#include "core/exchange/grpc.h"

#include "core/http/grpc.h"

static struct vx_timer_wheel *wheel(const struct vx_exchange *x) {
    return x->proxy->wheel;
}

bool vx_exchange_grpc_forward(struct vx_exchange *x, uint64_t now_ns) {
    uint64_t deadline_ns = x->grpc->deadline_ns;
    struct vx_header *field = vx_headers_find(&x->forwarded.headers, VX_HEADER_GRPC_TIMEOUT);
    if (!deadline_ns || !field)
        return true;
    char *text = vx_arena_alloc(x->down->arena, VX_GRPC_TIMEOUT_MAX_BYTES);
    if (!text)
        return false;
    field->value = text;
    field->value_len = (uint32_t)vx_grpc_write_timeout(text, deadline_ns > now_ns ? deadline_ns - now_ns : 0);
    field->flags &= (uint8_t)~VX_HEADER_RAW;
    return true;
}

/* UNAVAILABLE is what a server says that cannot serve. All other codes are the application's, or the client's doing: a
 * deadline that a client sets short must not cost the backend its good name. */
static bool ends_as(struct vx_exchange *x, uint8_t status) {
    x->grpc->status = status;
    x->grpc->ended = true;
    return status == VX_GRPC_UNAVAILABLE;
}

bool vx_exchange_grpc_head(struct vx_exchange *x, const struct vx_response *response) {
    const struct vx_header *status = vx_headers_find(&response->headers, VX_HEADER_GRPC_STATUS);
    if (status)
        return ends_as(x, vx_grpc_read_status(vx_header_value(status)));
    if (response->status != 200)
        ends_as(x, vx_grpc_status_of_http(response->status)); /* which was judged by its status */
    return false;
}

bool vx_exchange_grpc_trailers(struct vx_exchange *x, const struct vx_headers *trailers) {
    if (x->grpc->ended)
        return x->grpc->status == VX_GRPC_UNAVAILABLE;
    const struct vx_header *status = trailers ? vx_headers_find(trailers, VX_HEADER_GRPC_STATUS) : NULL;
    if (status)
        return ends_as(x, vx_grpc_read_status(vx_header_value(status)));
    /* A backend that leaves its clients without a status has lost its way. */
    ends_as(x, VX_GRPC_UNKNOWN);
    return true;
}

/* The reason in words, with the short one that stands in the log. All of it is printable ASCII without `%`, so nothing
 * is to be escaped. */
static struct vx_slice message(struct vx_exchange *x, uint16_t status) {
    const struct vx_error_info *info = vx_error_info(x->error);
    if (x->error == VX_ERR_NONE)
        return vx_status_reason(status);
    struct vx_slice text = vx_slice_of(info->text);
    const struct vx_slice parts[] = {text, VX_SLICE(": "), vx_slice_of(info->word)};
    struct vx_slice whole = vx_arena_join(x->down->arena, parts, 3);
    return whole.ptr ? whole : text;
}

bool vx_exchange_grpc_reply(struct vx_exchange *x, struct vx_reply_content *content) {
    uint16_t count = (uint16_t)(content->field_count + 2);
    struct vx_reply_field *fields = vx_arena_alloc(x->down->arena, count * sizeof *fields);
    if (!fields)
        return false;
    uint8_t status =
        x->error == VX_ERR_DEADLINE ? VX_GRPC_DEADLINE_EXCEEDED : vx_grpc_status_of_http(content->status);
    ends_as(x, status);
    if (content->field_count)
        memcpy(fields, content->fields, content->field_count * sizeof *fields);
    fields[count - 2] = (struct vx_reply_field){
        .id = VX_HEADER_GRPC_STATUS,
        .name = vx_header_id_name(VX_HEADER_GRPC_STATUS),
        .value = vx_grpc_status_text(status),
    };
    fields[count - 1] = (struct vx_reply_field){
        .name = VX_SLICE("grpc-message"),
        .value = message(x, content->status),
    };
    *content = (struct vx_reply_content){
        .status = 200,
        .content_type = VX_SLICE("application/grpc"),
        .fields = fields,
        .field_count = count,
    };
    return true;
}

/* The trailers that end a call whose answer has begun when its time is over. NULL: no memory. */
static struct vx_headers *deadline_trailers(struct vx_exchange *x) {
    struct vx_arena *arena = x->down->arena;
    struct vx_headers *fields = vx_arena_alloc(arena, sizeof *fields);
    if (!fields)
        return NULL;
    *fields = (struct vx_headers){0};
    if (!vx_headers_add(fields, arena, VX_HEADER_GRPC_STATUS, vx_header_id_name(VX_HEADER_GRPC_STATUS),
                        vx_grpc_status_text(VX_GRPC_DEADLINE_EXCEEDED)) ||
        !vx_headers_add(fields, arena, VX_HEADER_OTHER, VX_SLICE("grpc-message"), message(x, 0)))
        return NULL;
    return fields;
}

/* A call in its answer ends by trailers, as its server would have ended it: a client takes a stream that is reset for a fault
 * of the connection's. Wherever it ends: what came of a message that is not complete is nothing to a client, and a status other
 * than OK says so. Where the head has promised a length, finish() cannot keep it, and the stream is reset as ever. */
static void deadline_passed(struct vx_timer *timer, uint64_t now_ns) {
    struct vx_exchange *x = VX_CONTAINER_OF(timer, struct vx_exchange_grpc, timer)->exchange;
    struct vx_error error = vx_error(VX_ERR_DEADLINE, false, NULL);
    if (x->state == VX_EXCHANGE_RESPONDING) {
        vx_exchange_note(x, error);
        struct vx_headers *trailers = deadline_trailers(x);
        ends_as(x, VX_GRPC_DEADLINE_EXCEEDED);
        if (trailers)
            x->down->stream.ops->finish(&x->down->stream, trailers);
    }
    vx_exchange_fail(x, error, now_ns);
}

bool vx_exchange_grpc_begin(struct vx_exchange *x) {
    const struct vx_request *request = x->down->request;
    if (!vx_grpc_is_call(request))
        return true;
    struct vx_exchange_grpc *g = vx_arena_alloc(x->down->arena, sizeof *g);
    if (!g)
        return false;
    *g = (struct vx_exchange_grpc){.exchange = x};
    vx_timer_init(&g->timer, deadline_passed);
    x->grpc = g;
    const struct vx_header *timeout = vx_headers_find(&request->headers, VX_HEADER_GRPC_TIMEOUT);
    uint64_t ns;
    if (!timeout || !vx_grpc_read_timeout(vx_header_value(timeout), &ns) ||
        ns > UINT64_MAX - x->down->started_ns)
        return true;
    g->deadline_ns = x->down->started_ns + ns;
    vx_timer_set(wheel(x), &g->timer, g->deadline_ns);
    return true;
}

/* What cut the call short, as a status: what the client will make of the broken stream is much the same. */
static uint8_t cut_as(enum vx_error_code code) {
    if (code == VX_ERR_DEADLINE)
        return VX_GRPC_DEADLINE_EXCEEDED;
    return code == VX_ERR_CLIENT_GONE ? VX_GRPC_CANCELLED
                                      : vx_grpc_status_of_http(vx_error_info(code)->status);
}

void vx_exchange_grpc_end(struct vx_exchange *x, struct vx_exchange_record *record) {
    vx_timer_remove(wheel(x), &x->grpc->timer);
    record->grpc = true;
    record->grpc_status = x->grpc->ended ? x->grpc->status : cut_as(x->error);
}
