/* SPDX-License-Identifier: Apache-2.0 */
/* Large bodies that are moved from a client's connection to a backend's and back, with the time limits of both. */
#include "proxy/http1/server.h"
#include "support/server.h"
#include "unit/proxy/http1/client_test.h"

enum { BODY_BYTES = 1 << 20, PART_BYTES = 70000 };

struct upload {
    struct vx_handler handler;
    struct client_world *w;
    struct vx_http_server server;
    struct fake_transport *client, *backend;
    struct vx_downstream *down;
    struct call *call;
    unsigned readable, failed;
    char *part;
};

static void on_readable(void *user, uint64_t now_ns) {
    (void)now_ns;
    ((struct upload *)user)->readable++;
}

static void on_writable(void *user, uint64_t now_ns) {
    (void)user, (void)now_ns;
}

static void on_failed(void *user, uint64_t now_ns) {
    (void)now_ns;
    struct upload *u = user;
    struct vx_downstream *d = u->down;
    u->failed++;
    u->down = NULL;
    d->stream.ops->release(&d->stream);
}

static const struct vx_stream_events events = {
    .on_readable = on_readable, .on_writable = on_writable, .on_failed = on_failed};

static void begin(struct vx_handler *handler, struct vx_downstream *d, uint64_t now_ns) {
    (void)now_ns;
    struct upload *u = (struct upload *)handler;
    u->down = d;
    d->stream.events = &events;
    d->stream.user = u;
}

/* A client has sent the head of a large PUT, and a backend stands ready for it. */
static struct upload *start(void) {
    struct upload *u = calloc(1, sizeof *u);
    assert_non_null(u);
    u->w = client_start();
    struct fake_net *net = &u->w->net;
    net->moves = true;
    u->handler.begin = begin;
    u->part = calloc(1, PART_BYTES);
    fake_server_init(&u->server, net, &u->handler);
    u->client = fake_transport_new(net);
    vx_http_server_accept(&u->server, &u->client->base);
    fake_send(u->client, "PUT /p HTTP/1.1\r\nHost: a\r\nContent-Length: 1048576\r\n\r\n");
    assert_non_null(u->down);
    u->call = &u->w->call;
    call_post(u->call, &u->w->client, &u->w->b, BODY_BYTES);
    u->backend = fake_dialed(net);
    fake_connected(u->backend);
    return u;
}

static void end(struct upload *u) {
    vx_http_server_close_all(&u->server);
    fake_net_round(&u->w->net);
    client_end(u->w);
    free(u->part);
    free(u);
}

static int64_t move(struct upload *u) {
    return u->down->stream.ops->move(&u->down->stream, &u->call->up->stream);
}

static void test_a_moved_body_counts_as_sent(void **state) {
    (void)state;
    struct upload *u = start();
    fake_send_bytes(u->client, u->part, PART_BYTES);
    assert_int_equal(move(u), PART_BYTES);
    assert_true(u->call->up->sent);
    assert_int_equal(u->call->up->sent_ns, u->w->net.rt.now_ns);
    assert_int_equal(move(u), 0);
    assert_true(u->backend->moves == 0 && u->client->moves > 0);
    end(u);
}

/* The time of the connect stayed in force, so that a long upload broke. */
static void test_progress_of_a_moved_body_gives_the_backend_more_time(void **state) {
    (void)state;
    struct upload *u = start();
    for (unsigned i = 0; i < 6; i++) {
        fake_send_bytes(u->client, u->part, PART_BYTES);
        u->backend->room = PART_BYTES / 2;
        assert_int_equal(move(u), PART_BYTES);
        fake_net_advance(&u->w->net, FAKE_S(20));
        assert_int_equal(u->call->failed, 0);
        fake_give_room(u->backend, SIZE_MAX);
        assert_int_equal(move(u), 0);
    }
    end(u);
}

static void test_a_backend_that_stops_reading_a_moved_body(void **state) {
    (void)state;
    struct upload *u = start();
    fake_send_bytes(u->client, u->part, PART_BYTES);
    u->backend->room = 1000;
    assert_int_equal(move(u), PART_BYTES);
    assert_int_equal(move(u), 0);
    fake_net_advance(&u->w->net, FAKE_S(31));
    assert_int_equal(u->call->failure.code, VX_ERR_WRITE_TIMEOUT);
    assert_int_equal(u->readable, 0); /* the client is not to blame */
    end(u);
}

/* The limit was armed anew each time it had passed. */
static void test_a_client_that_stops_sending_a_moved_body(void **state) {
    (void)state;
    struct upload *u = start();
    struct vx_slice bytes;
    assert_int_equal(move(u), 0);
    fake_net_advance(&u->w->net, FAKE_S(59));
    assert_int_equal(u->readable, 0);
    fake_send_bytes(u->client, u->part, PART_BYTES);
    assert_int_equal(u->readable, 1);
    assert_int_equal(move(u), PART_BYTES);
    assert_int_equal(move(u), 0); /* what came began the time anew */
    fake_net_advance(&u->w->net, FAKE_S(59));
    assert_int_equal(u->readable, 1);
    fake_net_advance(&u->w->net, FAKE_S(2));
    assert_int_equal(u->readable, 2);
    assert_int_equal(move(u), -1);
    assert_int_equal(u->down->stream.ops->pull(&u->down->stream, &bytes), VX_PULL_FAILED);
    assert_int_equal(u->down->stream.error.code, VX_ERR_REQUEST_TIMEOUT);
    end(u);
}

static void test_the_last_part_of_a_body_is_copied(void **state) {
    (void)state;
    struct upload *u = start();
    struct vx_slice bytes;
    int64_t left = BODY_BYTES;
    while (left >= 65536) {
        fake_send_bytes(u->client, u->part, left < PART_BYTES ? (size_t)left : PART_BYTES);
        int64_t n = move(u);
        assert_true(n > 0);
        left -= n;
    }
    if (left)
        fake_send_bytes(u->client, u->part, (size_t)left);
    while (left) {
        assert_int_equal(move(u), -1);
        assert_int_equal(u->down->stream.ops->pull(&u->down->stream, &bytes), VX_PULL_BYTES);
        u->down->stream.ops->consume(&u->down->stream, bytes.len);
        left -= (int64_t)bytes.len;
    }
    assert_int_equal(u->down->stream.ops->pull(&u->down->stream, &bytes), VX_PULL_END);
    end(u);
}

static void test_a_response_is_moved_back(void **state) {
    (void)state;
    struct upload *u = start();
    fake_send(u->backend, "HTTP/1.1 200 OK\r\nContent-Length: 70000\r\n\r\n");
    assert_int_equal(u->call->status, 200);
    struct vx_response response = {
        .status = 200, .version = VX_HTTP_11, .framing = VX_BODY_LENGTH, .body_bytes = PART_BYTES};
    u->down->ops->respond(u->down, &response);
    fake_send_bytes(u->backend, u->part, PART_BYTES);
    assert_int_equal(u->call->up->stream.ops->move(&u->call->up->stream, &u->down->stream), PART_BYTES);
    u->down->stream.ops->finish(&u->down->stream, NULL);
    assert_int_equal(u->call->up->received_bytes,
                     PART_BYTES + strlen("HTTP/1.1 200 OK\r\nContent-Length: 70000\r\n\r\n"));
    struct vx_slice bytes;
    assert_int_equal(call_pull(u->call, &bytes), VX_PULL_END);
    assert_true(u->client->out_len > PART_BYTES);
    end(u);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_moved_body_counts_as_sent),
        cmocka_unit_test(test_progress_of_a_moved_body_gives_the_backend_more_time),
        cmocka_unit_test(test_a_backend_that_stops_reading_a_moved_body),
        cmocka_unit_test(test_a_client_that_stops_sending_a_moved_body),
        cmocka_unit_test(test_the_last_part_of_a_body_is_copied),
        cmocka_unit_test(test_a_response_is_moved_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
