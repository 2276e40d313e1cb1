/* SPDX-License-Identifier: Apache-2.0 */
/* What filters may ask and do: the vx_filter_* functions of ports/filter.h. They note; filter_flow.c and filtering.c act. */
#include "core/base/decimal.h"
#include "core/exchange/filtering.h"
#include "core/http/grpc.h"

/* Something that one filter left for the others. */
struct vx_filter_note {
    struct vx_filter_note *next;
    struct vx_slice key, value;
};

static bool in_callback(const struct vx_filter_stream *s, enum vx_filter_direction d) {
    return s->phase != VX_PHASE_NONE && s->phase != VX_PHASE_LOG && s->phase_direction == (uint8_t)d;
}

/* Maps */

static bool holds_head(const struct vx_filter_stream *s, enum vx_filter_direction d) {
    return s->phase != VX_PHASE_LOG && s->lanes[d].state == VX_LANE_HEAD_HELD;
}

static bool holds_end(const struct vx_filter_stream *s, enum vx_filter_direction d) {
    const struct vx_filter_lane *lane = &s->lanes[d];
    bool held = lane->state == VX_LANE_END_HELD || (lane->state == VX_LANE_HEAD_HELD && lane->end);
    return held || (in_callback(s, d) && s->phase == VX_PHASE_END);
}

static struct vx_field_map *trailers_map(struct vx_filter_stream *s, enum vx_filter_direction d,
                                         bool *writable) {
    struct vx_filtering *f = s->chain;
    struct vx_filter_side *side = &f->sides[d];
    struct vx_field_map *map =
        &f->maps[d == VX_FILTER_REQUEST ? VX_FILTER_MAP_REQUEST_TRAILERS : VX_FILTER_MAP_RESPONSE_TRAILERS];
    *writable = holds_end(s, d);
    if (!side->trailers && !*writable)
        return NULL;
    map->headers = side->trailers ? side->trailers : &side->made;
    return map;
}

struct vx_field_map *vx_filter_map(struct vx_filter_stream *s, enum vx_filter_map which, bool *writable) {
    struct vx_field_map *map = &s->chain->maps[which];
    *writable = false;
    switch (which) {
    case VX_FILTER_MAP_REQUEST_TRAILERS:
        return trailers_map(s, VX_FILTER_REQUEST, writable);
    case VX_FILTER_MAP_RESPONSE_TRAILERS:
        return trailers_map(s, VX_FILTER_RESPONSE, writable);
    case VX_FILTER_MAP_REQUEST_HEADERS:
        *writable = holds_head(s, VX_FILTER_REQUEST);
        return map;
    case VX_FILTER_MAP_RESPONSE_HEADERS:
        *writable = holds_head(s, VX_FILTER_RESPONSE);
        break;
    }
    bool came = *writable || s->lanes[VX_FILTER_RESPONSE].state != VX_LANE_AWAITS || s->phase == VX_PHASE_LOG;
    return came && map->headers ? map : NULL;
}

/* Bodies */

/* What the filter has in its hands of the body; NULL: nothing. */
static struct vx_filter_bytes *body_of(struct vx_filter_stream *s, enum vx_filter_direction d) {
    struct vx_filter_lane *lane = &s->lanes[d];
    bool shown = in_callback(s, d) && (s->phase == VX_PHASE_BODY || s->phase == VX_PHASE_END);
    bool held = lane->state == VX_LANE_BODY_HELD || lane->state == VX_LANE_END_HELD ||
                (lane->state == VX_LANE_HEAD_HELD && s->filter->body_continues);
    return shown || held ? &lane->held : NULL;
}

bool vx_filter_body(struct vx_filter_stream *s, enum vx_filter_direction d, struct vx_slice *bytes) {
    const struct vx_filter_bytes *body = body_of(s, d);
    if (!body)
        return false;
    *bytes = vx_slice(body->ptr, body->len);
    return true;
}

bool vx_filter_splice(struct vx_filter_stream *s, enum vx_filter_direction d, size_t start, size_t remove,
                      struct vx_slice insert) {
    struct vx_filter_bytes *body = body_of(s, d);
    if (!body)
        return false;
    start = start < body->len ? start : body->len;
    remove = remove < body->len - start ? remove : body->len - start;
    size_t tail = body->len - start - remove;
    /* A piece that only passes may be larger than what may be held; editing must not make it larger still. */
    size_t limit = s->filter->body_bytes > body->len ? s->filter->body_bytes : body->len;
    if (insert.len > limit || start + tail > limit - insert.len)
        return false;
    if (insert.len > remove) {
        /* Makes the room, with whatever bytes: they are overwritten below. */
        size_t more = insert.len - remove, len = body->len;
        if (!vx_filter_bytes_add(s->chain, body, vx_slice(insert.ptr, more)))
            return false;
        body->len = len;
    }
    if (tail)
        memmove(body->ptr + start + insert.len, body->ptr + start + remove, tail);
    if (insert.len)
        memcpy(body->ptr + start, insert.ptr, insert.len);
    body->len = start + insert.len + tail;
    return true;
}

/* What becomes of the stream */

void vx_filter_continue(struct vx_filter_stream *s, enum vx_filter_direction d) {
    s->lanes[d].continued = true;
    if (!in_callback(s, d))
        vx_filtering_signal(s->chain);
}

void vx_filter_close(struct vx_filter_stream *s) {
    if (s->gone)
        return;
    vx_filtering_decide(s->chain, VX_ERR_FILTER_CLOSED, NULL);
    vx_filtering_signal(s->chain);
}

void vx_filter_fail(struct vx_filter_stream *s) {
    vx_filtering_lose(s, VX_ERR_FILTER_FAILED);
    vx_filtering_signal(s->chain);
}

void vx_filter_review(struct vx_filter_stream *s) {
    s->review = true;
    vx_filtering_signal(s->chain);
}

void vx_filter_reroute(struct vx_filter_stream *s) {
    s->chain->reroute = true;
}

/* Answers */

static bool add_fields(struct vx_field_map *map, const struct vx_filter_answer *answer) {
    for (uint32_t i = 0; i < answer->field_count; i++) {
        const struct vx_field *field = &answer->fields[i];
        if (field->name.len && field->name.ptr[0] == ':')
            continue;
        if (vx_slice_ieq(field->name, VX_SLICE("content-length")))
            continue;
        if (vx_field_map_add(map, field->name, field->value) != VX_FIELD_DONE)
            return false;
    }
    return true;
}

/* Percent-encodes what a grpc-message may not hold as it is (gRPC over HTTP/2, Status-Message). ptr NULL: no memory. */
static struct vx_slice grpc_message(struct vx_arena *arena, struct vx_slice text) {
    static const char digits[] = "0123456789ABCDEF";
    char *out = vx_arena_alloc(arena, text.len * 3 + 1);
    if (!out)
        return VX_SLICE_NONE;
    size_t n = 0;
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (c >= ' ' && c <= '~' && c != '%') {
            out[n++] = (char)c;
            continue;
        }
        out[n++] = '%';
        out[n++] = digits[c >> 4];
        out[n++] = digits[c & 15];
    }
    return vx_slice(out, n);
}

static bool add_grpc(struct vx_field_map *map, const struct vx_filter_answer *answer) {
    unsigned status =
        answer->grpc_status >= 0 ? (unsigned)answer->grpc_status : vx_grpc_status_of_http(answer->status);
    char digits[VX_DECIMAL_MAX_BYTES];
    struct vx_slice message = grpc_message(map->arena, answer->body);
    return message.ptr &&
           vx_field_map_replace(map, VX_SLICE("content-type"), VX_SLICE("application/grpc")) ==
               VX_FIELD_DONE &&
           vx_field_map_replace(map, VX_SLICE("grpc-status"), vx_decimal(status, digits)) == VX_FIELD_DONE &&
           vx_field_map_replace(map, VX_SLICE("grpc-message"), message) == VX_FIELD_DONE;
}

/* A body without a type is text, as Envoy has it. */
static bool add_type(struct vx_field_map *map, struct vx_slice body) {
    return !body.len || vx_headers_find(map->headers, VX_HEADER_CONTENT_TYPE) ||
           vx_field_map_add(map, VX_SLICE("content-type"), VX_SLICE("text/plain")) == VX_FIELD_DONE;
}

bool vx_filter_answer(struct vx_filter_stream *s, const struct vx_filter_answer *answer) {
    struct vx_filtering *f = s->chain;
    struct vx_arena *arena = f->exchange->down->arena;
    if (s->gone || f->outcome.code != VX_ERR_NONE)
        return true;
    if (answer->status < 200 || answer->status > 599)
        return false;
    struct vx_response *response = vx_arena_alloc(arena, sizeof *response);
    bool grpc = f->exchange->grpc != NULL;
    struct vx_slice body = grpc ? VX_SLICE("") : vx_arena_copy(arena, answer->body);
    if (!response || !body.ptr)
        return false;
    *response = (struct vx_response){
        .status = grpc ? 200 : answer->status, .version = VX_HTTP_11, .keep_alive = true};
    struct vx_field_map map = {.headers = &response->headers, .response = response, .arena = arena};
    if (!add_fields(&map, answer) || !(grpc ? add_grpc(&map, answer) : add_type(&map, body)))
        return false;
    f->answer = response;
    f->answer_body = body;
    vx_filtering_decide(f, VX_ERR_FILTER_ANSWERED, NULL);
    vx_filtering_signal(f);
    return true;
}

/* What is known */

void vx_filter_facts(const struct vx_filter_stream *s, struct vx_filter_facts *facts) {
    const struct vx_filtering *f = s->chain;
    const struct vx_exchange *x = f->exchange;
    const struct vx_stream *up = x->up ? &x->up->stream : NULL;
    *facts = (struct vx_filter_facts){
        .request = &x->forwarded,
        .response = f->response,
        .client = x->down->client,
        .client_ip = x->client_ip,
        .snapshot = x->snapshot,
        .route = x->route,
        .target = x->target,
        .started_ns = x->down->started_ns,
        .request_head_bytes = x->down->head_bytes,
        .request_bytes = x->request_bytes,
        .response_bytes = x->down->sent_bytes,
        .backend_ns = x->backend_ns,
        .attempts = x->attempts,
        .error = x->error,
        .error_detail = x->error_detail,
    };
    if (!up)
        facts->carrier = f->carrier;
    else if (up->ops->describe)
        up->ops->describe(up, &facts->carrier);
}

static struct vx_filter_note *find_note(const struct vx_filtering *f, struct vx_slice key) {
    struct vx_filter_note *note = f->notes;
    while (note && !vx_slice_eq(note->key, key))
        note = note->next;
    return note;
}

bool vx_filter_state_get(const struct vx_filter_stream *s, struct vx_slice key, struct vx_slice *value) {
    const struct vx_filter_note *note = find_note(s->chain, key);
    if (note)
        *value = note->value;
    return note != NULL;
}

bool vx_filter_state_set(struct vx_filter_stream *s, struct vx_slice key, struct vx_slice value) {
    struct vx_filtering *f = s->chain;
    struct vx_arena *arena = f->exchange->down->arena;
    size_t room = VX_FIELD_MAP_BYTES_MAX - f->note_bytes;
    if (key.len > room || value.len > room - key.len)
        return false;
    struct vx_slice copy = vx_arena_copy(arena, value);
    struct vx_filter_note *note = find_note(f, key);
    if (copy.ptr && !note) {
        note = vx_arena_alloc(arena, sizeof *note);
        struct vx_slice name = vx_arena_copy(arena, key);
        if (!note || !name.ptr)
            return false;
        *note = (struct vx_filter_note){.next = f->notes, .key = name};
        f->notes = note;
    }
    if (!copy.ptr)
        return false;
    note->value = copy;
    f->note_bytes += key.len + value.len;
    return true;
}
