/* SPDX-License-Identifier: Apache-2.0 */
/* A stream as a filter sees it, without an exchange: the vx_filter_* functions of core/ports/filter.h over plain memory,
 * for programs that test or measure the host of filters alone. It has definitions: one file of a program includes it, and
 * the linker then leaves out the ones of the exchange. */
#ifndef VX_TESTS_SUPPORT_FAKE_FILTER_STREAM_H
#define VX_TESTS_SUPPORT_FAKE_FILTER_STREAM_H

#include <stdlib.h>

#include "core/ports/filter.h"

enum { FAKE_ARENA_BYTES = 64 * 1024, FAKE_BODY_BYTES = 4096, FAKE_STATES = 8 };

struct fake_state {
    char key[64], value[64];
    size_t key_len, value_len;
};

struct vx_filter_stream {
    struct vx_arena arena;
    char memory[FAKE_ARENA_BYTES];
    struct vx_request request;
    struct vx_response response;
    struct vx_headers trailers;
    struct vx_client_info client;
    const struct vx_route *route;   /* NULL: none */
    const struct vx_target *target; /* NULL: none was picked */
    struct vx_carrier carrier;
    enum vx_error_code error;
    const char *error_detail;
    struct vx_field_map maps[4];
    bool has_map[4], writable[4];
    char body[2][FAKE_BODY_BYTES];
    size_t body_len[2];
    bool has_body[2];
    unsigned continued[2], closed, failed, reviewed, rerouted, answers;
    uint16_t answer_status;
    int32_t answer_grpc;
    uint32_t answer_fields;
    char answer_body[256];
    struct fake_state states[FAKE_STATES];
    unsigned state_count;
};

static inline void fake_add(struct vx_filter_stream *s, struct vx_headers *headers, const char *name,
                            const char *value) {
    vx_headers_add(headers, &s->arena, vx_header_id_of(vx_slice_of(name)), vx_slice_of(name),
                   vx_slice_of(value));
}

/* A request that is shown with its head held, and no response yet. */
static inline void fake_filter_stream_init(struct vx_filter_stream *s) {
    memset(s, 0, sizeof *s);
    vx_arena_init(&s->arena, s->memory, sizeof s->memory, NULL);
    s->request = (struct vx_request){
        .method = VX_METHOD_GET,
        .method_text = VX_SLICE("GET"),
        .version = VX_HTTP_11,
        .path = VX_SLICE("/some/path"),
        .query = VX_SLICE("a=b"),
        .authority = VX_SLICE("example.org"),
        .host = VX_SLICE("example.org"),
    };
    s->client.id = 77;
    s->client.remote_text = VX_SLICE("10.1.2.3");
    vx_address_parse_ip(s->client.remote_text, &s->client.remote);
    s->client.remote.port = 4711;
    fake_add(s, &s->request.headers, "host", "example.org");
    fake_add(s, &s->request.headers, "User-Agent", "test/1");
    fake_add(s, &s->request.headers, "X-Twice", "one");
    fake_add(s, &s->request.headers, "x-twice", "two");
    struct vx_field_map map = {.arena = &s->arena};
    for (int i = 0; i < 4; i++)
        s->maps[i] = map;
    s->maps[0].headers = &s->request.headers;
    s->maps[0].request = &s->request;
    s->maps[1].headers = s->maps[3].headers = &s->trailers;
    s->maps[2].headers = &s->response.headers;
    s->maps[2].response = &s->response;
    s->has_map[0] = s->writable[0] = true;
}

struct vx_field_map *vx_filter_map(struct vx_filter_stream *s, enum vx_filter_map map, bool *writable) {
    *writable = s->writable[map];
    return s->has_map[map] ? &s->maps[map] : NULL;
}

bool vx_filter_body(struct vx_filter_stream *s, enum vx_filter_direction d, struct vx_slice *bytes) {
    *bytes = vx_slice(s->body[d], s->body_len[d]);
    return s->has_body[d];
}

bool vx_filter_splice(struct vx_filter_stream *s, enum vx_filter_direction d, size_t start, size_t remove,
                      struct vx_slice insert) {
    size_t len = s->body_len[d];
    start = start < len ? start : len;
    remove = remove < len - start ? remove : len - start;
    if (!s->has_body[d] || len - remove + insert.len > FAKE_BODY_BYTES)
        return false;
    memmove(s->body[d] + start + insert.len, s->body[d] + start + remove, len - start - remove);
    if (insert.len)
        memcpy(s->body[d] + start, insert.ptr, insert.len);
    s->body_len[d] = len - remove + insert.len;
    return true;
}

void vx_filter_continue(struct vx_filter_stream *s, enum vx_filter_direction d) {
    s->continued[d]++;
}

bool vx_filter_answer(struct vx_filter_stream *s, const struct vx_filter_answer *answer) {
    if (s->answers++)
        return true;
    s->answer_status = answer->status;
    s->answer_grpc = answer->grpc_status;
    s->answer_fields = answer->field_count;
    size_t n = answer->body.len < sizeof s->answer_body - 1 ? answer->body.len : sizeof s->answer_body - 1;
    if (n)
        memcpy(s->answer_body, answer->body.ptr, n);
    s->answer_body[n] = '\0';
    return true;
}

void vx_filter_close(struct vx_filter_stream *s) {
    s->closed++;
}

void vx_filter_fail(struct vx_filter_stream *s) {
    s->failed++;
}

void vx_filter_review(struct vx_filter_stream *s) {
    s->reviewed++;
}

void vx_filter_reroute(struct vx_filter_stream *s) {
    s->rerouted++;
}

void vx_filter_facts(const struct vx_filter_stream *s, struct vx_filter_facts *facts) {
    *facts = (struct vx_filter_facts){
        .request = &s->request,
        .response = s->has_map[2] ? &s->response : NULL,
        .client = &s->client,
        .client_ip = s->client.remote_text,
        .route = s->route,
        .target = s->target,
        .carrier = s->carrier,
        .error = s->error,
        .error_detail = s->error_detail,
        .request_head_bytes = 100,
        .request_bytes = 7,
    };
}

bool vx_filter_state_get(const struct vx_filter_stream *s, struct vx_slice key, struct vx_slice *value) {
    for (unsigned i = 0; i < s->state_count; i++)
        if (vx_slice_eq(key, vx_slice(s->states[i].key, s->states[i].key_len))) {
            *value = vx_slice(s->states[i].value, s->states[i].value_len);
            return true;
        }
    return false;
}

bool vx_filter_state_set(struct vx_filter_stream *s, struct vx_slice key, struct vx_slice value) {
    if (s->state_count == FAKE_STATES || key.len > 64 || value.len > 64)
        return false;
    struct fake_state *state = &s->states[s->state_count++];
    memcpy(state->key, key.ptr, key.len);
    if (value.len)
        memcpy(state->value, value.ptr, value.len);
    state->key_len = key.len;
    state->value_len = value.len;
    return true;
}

#endif
