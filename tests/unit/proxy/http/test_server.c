/* SPDX-License-Identifier: Apache-2.0 */
/* Where connections start: at once on a plain listener, after the handshake on a TLS one; all are counted and cut. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
/* cmocka.h wants the three above. */
#include <cmocka.h>

#include "core/http/reply.h"
#include "support/server.h"

struct world {
    struct vx_handler handler;
    struct fake_net net;
    struct vx_http_server server;
    int counted;
    unsigned comes, goes, begun;
    uint64_t client_id; /* of the last request */
    char word[32];
    struct vx_tls_info tls;
};

static void begin(struct vx_handler *handler, struct vx_downstream *d, uint64_t now_ns) {
    (void)now_ns;
    struct vx_reply reply;
    ((struct world *)handler)->begun++;
    ((struct world *)handler)->client_id = d->client->id;
    vx_reply_json(&reply, d, 200, VX_SLICE("{}"));
    d->stream.ops->release(&d->stream);
}

static void refused(struct vx_handler *handler, const struct vx_refusal *refusal, uint64_t now_ns) {
    (void)now_ns;
    const char *word = vx_error_info(refusal->error.code)->word;
    memcpy(((struct world *)handler)->word, word, strlen(word) + 1);
}

static void counted(void *user, int change) {
    struct world *w = user;
    w->counted += change;
    w->comes += change > 0;
    w->goes += change < 0;
}

static bool covers(const struct vx_transport *transport, struct vx_slice host) {
    (void)transport;
    return vx_slice_eq(host, VX_SLICE("a.example")) || vx_slice_eq(host, VX_SLICE("b.example"));
}

static struct world *start(bool tls) {
    struct world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    fake_net_init(&w->net);
    w->handler.begin = begin;
    w->handler.refused = refused;
    fake_server_init(&w->server, &w->net, &w->handler);
    w->server.timeouts.handshake_ns = FAKE_S(5);
    w->server.covers = tls ? covers : NULL;
    w->server.counted = counted;
    w->server.user = w;
    return w;
}

static struct fake_transport *accept_one(struct world *w, bool tls) {
    struct fake_transport *t = fake_transport_new(&w->net);
    if (tls) {
        w->tls = (struct vx_tls_info){.server_name = VX_SLICE("a.example"),
                                      .session.version = VX_SLICE("TLSv1.3")};
        t->base.writable = false;
        t->base.tls = &w->tls;
    }
    vx_http_server_accept(&w->server, &t->base);
    return t;
}

static void end(struct world *w) {
    vx_http_server_close_all(&w->server);
    fake_net_round(&w->net);
    assert_int_equal(w->counted, 0);
    assert_int_equal(w->server.connection_count, 0);
    fake_net_free(&w->net);
    free(w);
}

static void test_a_plain_connection_starts_at_once(void **state) {
    (void)state;
    struct world *w = start(false);
    struct fake_transport *t = accept_one(w, false);
    assert_int_equal(w->counted, 1);
    fake_send(t, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_int_equal(w->begun, 1);
    end(w);
}

static uint64_t asked_from(struct world *w, struct fake_transport *t) {
    w->client_id = 0;
    fake_send(t, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    return w->client_id;
}

static void test_each_connection_has_an_id_of_its_own(void **state) {
    (void)state;
    struct world *w = start(false);
    struct fake_transport *first = accept_one(w, false), *second = accept_one(w, false);
    uint64_t id = asked_from(w, first);
    assert_int_not_equal(id, 0);
    assert_int_not_equal(asked_from(w, second), id);
    assert_int_equal(asked_from(w, first), id);
    w->net.rt.worker = 1;
    w->net.rt.client_connections = 0;
    assert_int_not_equal(asked_from(w, accept_one(w, false)), id); /* another worker counts as well */
    end(w);
}

static void test_a_tls_connection_starts_after_its_handshake(void **state) {
    (void)state;
    struct world *w = start(true);
    struct fake_transport *t = accept_one(w, true);
    assert_int_equal(w->counted, 1); /* it counts against limits.connections from the start */
    fake_connected(t);
    assert_int_equal(w->counted, 1);
    fake_send(t, "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert_int_equal(w->begun, 1);
    end(w);
}

static void test_a_request_that_came_with_the_handshake_is_served(void **state) {
    (void)state;
    struct world *w = start(true);
    struct fake_transport *t = accept_one(w, true);
    fake_send(t, "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert_int_equal(w->begun, 0);
    fake_connected(t);
    assert_int_equal(w->begun, 1);
    end(w);
}

static void test_a_handshake_has_a_time_limit(void **state) {
    (void)state;
    struct world *w = start(true);
    struct fake_transport *t = accept_one(w, true);
    fake_net_advance(&w->net, FAKE_S(4));
    assert_false(t->closed);
    fake_net_advance(&w->net, FAKE_S(2));
    assert_true(t->closed);
    assert_int_equal(w->counted, 0);
    end(w);
}

static void test_a_failed_handshake_is_let_go(void **state) {
    (void)state;
    struct world *w = start(true);
    struct fake_transport *t = accept_one(w, true);
    fake_break(t);
    assert_true(t->closed);
    assert_int_equal(w->counted, 0);
    end(w);
}

static void test_a_name_of_another_certificate_is_misdirected(void **state) {
    (void)state;
    struct world *w = start(true);
    struct fake_transport *t = accept_one(w, true);
    fake_connected(t);
    fake_send(t, "GET / HTTP/1.1\r\nHost: b.example\r\n\r\n"); /* the same certificate speaks for it */
    assert_int_equal(w->begun, 1);
    fake_send(t, "GET / HTTP/1.1\r\nHost: c.example\r\n\r\n");
    assert_int_equal(w->begun, 1);
    assert_string_equal(w->word, "misdirected_request");
    end(w);
}

static void test_a_drain_waits_for_handshakes_and_a_cut_does_not(void **state) {
    (void)state;
    struct world *w = start(true);
    struct fake_transport *t = accept_one(w, true);
    vx_http_server_drain(&w->server);
    assert_false(t->closed);
    fake_connected(t);
    fake_send(t, "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert_non_null(strstr(fake_received(t), "Connection: close"));
    struct fake_transport *late = accept_one(w, true);
    vx_http_server_close_all(&w->server);
    assert_true(late->closed);
    assert_true(t->closed);
    end(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_plain_connection_starts_at_once),
        cmocka_unit_test(test_each_connection_has_an_id_of_its_own),
        cmocka_unit_test(test_a_tls_connection_starts_after_its_handshake),
        cmocka_unit_test(test_a_request_that_came_with_the_handshake_is_served),
        cmocka_unit_test(test_a_handshake_has_a_time_limit),
        cmocka_unit_test(test_a_failed_handshake_is_let_go),
        cmocka_unit_test(test_a_name_of_another_certificate_is_misdirected),
        cmocka_unit_test(test_a_drain_waits_for_handshakes_and_a_cut_does_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
