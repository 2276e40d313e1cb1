/* SPDX-License-Identifier: Apache-2.0 */
/* The HTTP/2 client in seeded worlds: requests of all kinds over a few connections, backends that answer, refuse, reset, leave,
 * end, fall silent and change their minds about streams. In each world every request comes to
 * exactly one end, bodies arrive byte for byte, and nothing is left. A failure prints the seed; `VX_SEED=N` runs that
 * world alone. */
#include "unit/proxy/http2/client_test.h"

#include <stdio.h>

enum { WORLDS = 400, STEPS = 120, BODY_MAX = 40000, SHOTS = 64 };

/* One request: a call with what it is to send and what it was sent. */
struct shot {
    struct call call;
    bool open, bodied;
    size_t body, pushed, got;
    uint32_t key;
    char name[12]; /* the key as a field of the request */
    bool over;     /* came to an end */
};

struct chaos {
    struct world *w;
    struct vx_random random;
    struct shot *shots;
};

static struct chaos *now;
static uint64_t seed; /* of the world that runs; 0: all went well */
static struct {
    unsigned whole, failed, refused, opened;
    size_t bytes;
} tally;

static uint32_t below(uint32_t n) {
    return vx_random_below(&now->random, n);
}

static char body_byte(uint32_t key, size_t at) {
    return (char)('a' + (key + at * 7) % 23);
}

static void end(struct shot *s) {
    assert_false(s->over);
    s->over = true;
    s->open = false;
    call_release(&s->call);
}

static void push_on(struct shot *s) {
    char bytes[4096];
    while (s->open && s->pushed < s->body) {
        size_t n = s->body - s->pushed < sizeof bytes ? s->body - s->pushed : sizeof bytes;
        for (size_t i = 0; i < n; i++)
            bytes[i] = body_byte(s->key, s->pushed + i);
        size_t taken = s->call.up->stream.ops->push(&s->call.up->stream, vx_slice(bytes, n));
        s->pushed += taken;
        if (taken < n)
            return;
    }
    if (s->open && s->bodied && s->pushed == s->body) {
        s->bodied = false;
        s->call.up->stream.ops->finish(&s->call.up->stream, NULL);
    }
}

static void pull_on(struct shot *s) {
    struct vx_slice bytes;
    for (;;) {
        switch (call_pull(&s->call, &bytes)) {
        case VX_PULL_BYTES:
            for (size_t i = 0; i < bytes.len; i++)
                assert_int_equal(bytes.ptr[i], body_byte(s->key, s->got + i));
            s->got += bytes.len;
            s->call.up->stream.ops->consume(&s->call.up->stream, bytes.len);
            break;
        case VX_PULL_WAIT:
            return;
        case VX_PULL_END:
            tally.whole++;
            tally.bytes += s->got;
            end(s);
            return;
        case VX_PULL_FAILED:
            end(s);
            return;
        }
    }
}

static void shot_readable(void *user, uint64_t now_ns) {
    (void)now_ns;
    pull_on(user);
}

static void shot_writable(void *user, uint64_t now_ns) {
    (void)now_ns;
    push_on(user);
}

static void shot_failed(void *user, uint64_t now_ns) {
    (void)now_ns;
    struct shot *s = user;
    tally.failed++;
    tally.refused += s->call.up->stream.error.code == VX_ERR_BACKEND_REFUSED;
    end(s);
}

static void shot_response(void *user, struct vx_response *response, uint64_t now_ns) {
    (void)now_ns;
    if (response->status >= 200)
        pull_on(user);
}

static const struct vx_stream_events shot_events = {shot_readable, shot_writable, shot_failed, shot_response};

static void shoot(struct shot *s, uint32_t key) {
    struct vx_error error;
    size_t body = below(3) ? 0 : 1 + below(BODY_MAX);
    memset(s, 0, sizeof *s);
    enum vx_framing framing = !body ? VX_BODY_NONE : below(2) ? VX_BODY_CHUNKED : VX_BODY_LENGTH;
    call_init(&s->call, body ? VX_METHOD_POST : VX_METHOD_GET, framing, body);
    int digits = snprintf(s->name, sizeof s->name, "%u", key);
    assert_true(vx_headers_add(&s->call.request.headers, &s->call.arena, VX_HEADER_OTHER, VX_SLICE("x-key"),
                               vx_slice(s->name, (size_t)digits)));
    s->key = key;
    s->body = body;
    s->bodied = true;
    struct vx_upstream_open open = {.target = &now->w->target,
                                    .request = &s->call.request,
                                    .arena = &s->call.arena,
                                    .events = &shot_events,
                                    .user = s,
                                    .fresh = below(20) == 0};
    struct vx_h2_client *client = &now->w->client;
    s->call.up = client->port.open(&client->port, &open, &error, now->w->net.rt.now_ns);
    s->open = s->call.up != NULL;
    s->over = !s->open;
    push_on(s);
}

/* --- Backends ----------------------------------------------------------------------------------------------------- */

static nghttp2_ssize chaos_body(nghttp2_session *ng, int32_t id, uint8_t *to, size_t length, uint32_t *flags,
                                nghttp2_data_source *source, void *user) {
    (void)ng, (void)id, (void)user;
    uint32_t key = (uint32_t)(uintptr_t)source->ptr;
    size_t n = 1 + key * 37 % 3000;
    assert_true(n <= length);
    for (size_t i = 0; i < n; i++)
        to[i] = (uint8_t)body_byte(key, i);
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (nghttp2_ssize)n;
}

/* Notes the request's key: the answer's body follows from it. */
static int chaos_header(nghttp2_session *ng, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
                        const uint8_t *value, size_t value_len, uint8_t flags, void *user) {
    (void)flags, (void)user;
    if (vx_slice_eq(vx_slice((const char *)name, name_len), VX_SLICE("x-key"))) {
        uintptr_t key = 0;
        for (size_t i = 0; i < value_len; i++)
            key = key * 10 + (uintptr_t)(value[i] - '0');
        nghttp2_session_set_stream_user_data(ng, frame->hd.stream_id, (void *)(key + 1));
    }
    return 0;
}

static void answer_some(struct peer *p) {
    for (int32_t id = 1; id <= p->last; id += 2) {
        uintptr_t key = (uintptr_t)nghttp2_session_get_stream_user_data(p->ng, id);
        if (!key || below(2))
            continue;
        nghttp2_session_set_stream_user_data(p->ng, id, NULL);
        nghttp2_nv fields[] = {h2_field(":status", below(8) ? "200" : "404")};
        nghttp2_data_provider2 provider = {{.ptr = (void *)(key - 1)}, chaos_body};
        uint32_t deed = below(10);
        if (deed == 0)
            nghttp2_submit_rst_stream(p->ng, 0, id, NGHTTP2_REFUSED_STREAM);
        else if (deed == 1)
            nghttp2_submit_rst_stream(p->ng, 0, id, NGHTTP2_INTERNAL_ERROR);
        else if (deed > 2)
            nghttp2_submit_response2(p->ng, id, fields, 1, below(3) ? &provider : NULL);
    }
}

static void misbehave(struct peer *p) {
    nghttp2_settings_entry limit = {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, below(6)};
    switch (below(40)) {
    case 0:
        nghttp2_submit_goaway(p->ng, 0, p->last ? p->last - 2 * (int32_t)below(2) : 0, NGHTTP2_NO_ERROR, NULL,
                              0);
        break;
    case 1:
        fake_fin(p->t);
        break;
    case 2:
        fake_break(p->t);
        break;
    case 3:
        fake_send(p->t, "garbage that is no frame at all, for sure");
        break;
    case 4:
    case 5:
        nghttp2_submit_settings(p->ng, 0, &limit, 1);
        break;
    default:
        break;
    }
}

static void talk(struct peer *p) {
    const uint8_t *bytes;
    fake_net_round(&now->w->net);
    if (p->t->closed)
        return;
    size_t n = p->t->out_len - p->read;
    if (n && nghttp2_session_mem_recv2(p->ng, (const uint8_t *)p->t->out + p->read, n) < 0)
        fake_break(p->t);
    p->read += n;
    if (p->t->closed || p->t->broken)
        return;
    answer_some(p);
    for (nghttp2_ssize sent; (sent = nghttp2_session_mem_send2(p->ng, &bytes)) > 0 && !p->t->closed;)
        fake_send_bytes(p->t, (const char *)bytes, (size_t)sent);
    if (!p->t->closed)
        misbehave(p);
    fake_net_round(&now->w->net);
}

/* The connections that were dialed and whose end nobody is yet. */
static void meet(struct world *w, unsigned *met) {
    for (; *met < w->net.count; (*met)++) {
        struct fake_transport *t = w->net.all[*met];
        struct peer *p = w->peers;
        while (p < w->peers + PEERS && p->ng && !p->t->closed)
            p++;
        if (p == w->peers + PEERS || below(6) == 0) {
            fake_refuse(t);
            continue;
        }
        if (p->ng)
            nghttp2_session_del(p->ng);
        *p = (struct peer){.t = t};
        p->ng = h2_session_new(&(struct h2_session_kind){.server = true,
                                                         .on_header = chaos_header,
                                                         .on_data = peer_on_data,
                                                         .on_frame = peer_on_frame},
                               p);
        nghttp2_settings_entry limit = {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 1 + below(8)};
        nghttp2_submit_settings(p->ng, 0, &limit, 1);
        fake_connected(t);
    }
}

static void step(unsigned *met, unsigned *shot) {
    struct world *w = now->w;
    if (*shot < SHOTS && below(2)) {
        shoot(&now->shots[*shot], *shot);
        (*shot)++;
    }
    struct shot *s = &now->shots[below(SHOTS)];
    if (s->open && below(30) == 0)
        end(s);
    if (w->net.count < FAKE_TRANSPORTS)
        meet(w, met);
    for (unsigned i = 0; i < PEERS; i++)
        if (w->peers[i].ng && !w->peers[i].t->closed && below(4))
            talk(&w->peers[i]);
    fake_net_advance(&w->net, FAKE_MS(below(20)));
}

static void run_world(uint64_t number) {
    unsigned met = 0, shot = 0;
    struct chaos chaos = {.w = world_start(), .random = {number}};
    chaos.shots = calloc(SHOTS, sizeof *chaos.shots);
    assert_non_null(chaos.shots);
    now = &chaos;
    chaos.w->target.max_connections = below(2) ? 1 + below(3) : 0;
    chaos.w->target.max_requests = below(3) ? 0 : 1 + below(5);
    chaos.w->target.queue_length = 20;
    for (unsigned i = 0; i < STEPS; i++)
        step(&met, &shot);
    /* Whatever was left hanging meets its time limit. */
    fake_net_advance(&chaos.w->net, FAKE_S(65));
    for (unsigned i = 0; i < shot; i++)
        assert_true(chaos.shots[i].over);
    tally.opened += (unsigned)atomic_load(&chaos.w->shared.connections_opened);
    world_end(chaos.w);
    free(chaos.shots);
}

static void every_request_comes_to_one_end(void **state) {
    (void)state;
    const char *only = getenv("VX_SEED");
    seed = only ? strtoull(only, NULL, 10) : 1;
    uint64_t last = only ? seed : WORLDS;
    for (; seed <= last; seed++)
        run_world(seed);
    /* Enough of everything has happened, or the worlds say nothing. */
    if (!only)
        assert_true(tally.whole > 5000 && tally.bytes > 3000000 && tally.failed > 1000 &&
                    tally.refused > 300 && tally.opened > 1000);
    seed = 0;
}

/* A failure leaves the seed. */
static int tell_seed(void **state) {
    (void)state;
    if (seed)
        print_error("the world that failed: VX_SEED=%llu\n", (unsigned long long)seed);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(every_request_comes_to_one_end, tell_seed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
