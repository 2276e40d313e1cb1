/* SPDX-License-Identifier: Apache-2.0 */
/* A target's protocol decides which client gets its requests; both are retired, drained and destroyed together. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "proxy/http/clients.h"
#include "support/fake_transport.h"

static void nothing(void *user, uint64_t now_ns) {
    (void)user, (void)now_ns;
}

static void no_response(void *user, struct vx_response *response, uint64_t now_ns) {
    (void)user, (void)response, (void)now_ns;
}

static const struct vx_stream_events events = {nothing, nothing, nothing, no_response};

/* What a backend hears first when a request is sent to it. */
static void first_words(bool http2, const char *wanted) {
    struct fake_net net;
    struct vx_http_clients clients;
    struct vx_target_shared shared = {0};
    struct vx_target target = {.name = VX_SLICE("b:80"), .shared = &shared, .http2 = http2};
    struct vx_header items[4];
    struct vx_request request = {
        .method = VX_METHOD_GET,
        .method_text = VX_SLICE("GET"),
        .path = VX_SLICE("/"),
        .headers = {.items = items, .capacity = 4},
    };
    char first[8192];
    struct vx_arena arena;
    struct vx_error error;
    vx_arena_init(&arena, first, sizeof first, NULL);
    fake_net_init(&net);
    vx_http_clients_init(&clients, &net.rt);
    struct vx_upstream_open open = {
        .target = &target, .request = &request, .arena = &arena, .events = &events};
    struct vx_upstream *up = clients.port.open(&clients.port, &open, &error, net.rt.now_ns);
    assert_non_null(up);
    up->stream.ops->finish(&up->stream, NULL);
    fake_connected(fake_dialed(&net));
    fake_net_round(&net);
    assert_memory_equal(fake_dialed(&net)->out, wanted, strlen(wanted));
    up->stream.ops->release(&up->stream);
    vx_http_clients_retire(&clients, &(uint64_t){0}, 1);
    vx_http_clients_drain(&clients);
    vx_http_clients_destroy(&clients);
    assert_int_equal(atomic_load(&shared.connections), 0);
    fake_net_free(&net);
}

static void the_target_decides(void **state) {
    (void)state;
    first_words(false, "GET / HTTP/1.1\r\n");
    first_words(true, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_target_decides),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
