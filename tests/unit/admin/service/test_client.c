/* SPDX-License-Identifier: Apache-2.0 */
/* The client against the service: what is asked at one end arrives at the other, and so do the answers. What lies between
 * them is carried by hand. */
#include "admin/service/client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "admin/service/service.h"
#include "core/base/heap.h"
#include "support/fake_admin.h"
#include "support/fake_downstream.h"
#include "support/fake_upstream.h"

static struct fake_admin admin;
static struct vx_admin_service service;
static struct fake_client http;
static struct vx_admin_client *client;
static struct vx_admin_port *port;
static struct vx_heap memory;
static const struct vx_target target;
static const uint64_t now_ns = 5;

/* What came back, copied. */
static struct vx_admin_call call;
static struct vx_admin_answer got;
static char text[256], bans[256];
static unsigned answers;

static void answered(struct vx_admin_call *of, const struct vx_admin_answer *answer) {
    assert_ptr_equal(of, &call);
    got = *answer;
    snprintf(text, sizeof text, "%.*s", VX_SLICE_ARG(answer->text));
    bans[0] = '\0';
    for (uint32_t i = 0; i < answer->ban_count; i++) {
        size_t n = strlen(bans);
        const struct vx_admin_ban *b = &answer->bans[i];
        snprintf(bans + n, sizeof bans - n, "%.*s %llu %u %d;", VX_SLICE_ARG(b->address),
                 (unsigned long long)b->remaining_ms, b->strikes, b->manual);
    }
    answers++;
}

static int setup(void **state) {
    (void)state;
    memory = vx_heap(malloc, free, 1024);
    fake_admin_init(&admin);
    vx_admin_service_init(&service, &admin.port);
    fake_client_init(&http);
    client = vx_admin_client_new(&http.port, &target, &memory.source, &now_ns);
    assert_non_null(client);
    port = vx_admin_client_port(client);
    call.answered = answered;
    answers = 0;
    return 0;
}

static int teardown(void **state) {
    (void)state;
    vx_admin_client_free(client);
    fake_client_free(&http);
    return 0;
}

/* Hands the fields that a fake kept as text to the answer. */
static void give_fields(struct fake_upstream *u, const char *fields) {
    static char copy[4096];
    snprintf(copy, sizeof copy, "%s", fields);
    for (char *at = copy; *at;) {
        char *colon = strstr(at, ": "), *end = strchr(at, '\n');
        assert_true(colon && end);
        *colon = *end = '\0';
        fake_upstream_add_field(u, at, colon + 2);
        at = end + 1;
    }
}

/* Carries the question that is under way to the service, and its answer back. */
static void carry(enum vx_admin_when when) {
    struct fake_downstream f;
    struct fake_upstream *u = fake_client_last(&http);
    assert_int_equal(when, VX_ADMIN_LATER);
    assert_true(u->finished);
    fake_downstream_init(&f, VX_METHOD_POST, u->path);
    f.request.version = VX_HTTP_2;
    fake_downstream_add_field(&f, "content-type", "application/grpc");
    fake_downstream_add_body(&f, vx_slice(u->body, u->body_len));
    fake_downstream_begin(&f, &service.server.handler, 0);
    fake_downstream_check_done(&f);
    give_fields(u, f.fields);
    give_fields(u, f.trailer_fields); /* an answer without a body may have them in its head */
    u->body_waits = true;
    fake_upstream_answer(u, 200, "", 8);
    u->body_waits = false;
    u->rest = fake_downstream_body(&f);
    u->up.stream.events->on_readable(u->up.stream.user, 8);
    assert_int_equal(answers, 1);
    fake_downstream_free(&f);
    answers = 0;
}

static void every_question(void **state) {
    (void)state;
    struct vx_admin_answer unused;
    admin.answer.text = VX_SLICE("done");
    carry(port->reload(port, VX_SLICE("/etc/v.yaml"), &call, &unused));
    assert_string_equal(admin.asked, "reload /etc/v.yaml");
    assert_int_equal(got.outcome, VX_ADMIN_DONE);
    assert_string_equal(text, "done");
    carry(port->update_plugin(port, VX_SLICE("auth"), VX_SLICE("\0asm"), &call, &unused));
    assert_string_equal(admin.asked, "update_plugin auth 4");
    carry(port->add_ban(port, VX_SLICE("192.0.2.1"), 1500, &call, &unused));
    assert_string_equal(admin.asked, "add_ban 192.0.2.1 1500");
    carry(port->remove_ban(port, VX_SLICE("192.0.2.1"), &call, &unused));
    assert_string_equal(admin.asked, "remove_ban 192.0.2.1");
    assert_int_equal(got.outcome, VX_ADMIN_DONE);
    carry(port->dump(port, &call, &unused));
    assert_string_equal(admin.asked, "dump");
    assert_string_equal(text, "done");
}

static void stats(void **state) {
    (void)state;
    struct vx_admin_answer unused;
    admin.answer.stats = (struct vx_admin_stats){.active_connections = 1,
                                                 .workers = 2,
                                                 .pid = 3,
                                                 .connections_total = 4,
                                                 .uptime_seconds = 5,
                                                 .config_version = 6};
    carry(port->stats(port, &call, &unused));
    assert_int_equal(got.stats.active_connections, 1);
    assert_int_equal(got.stats.workers, 2);
    assert_int_equal(got.stats.pid, 3);
    assert_int_equal(got.stats.connections_total, 4);
    assert_int_equal(got.stats.uptime_seconds, 5);
    assert_int_equal(got.stats.config_version, 6);
}

static void bans_come_back(void **state) {
    (void)state;
    struct vx_admin_answer unused;
    const struct vx_admin_ban list[] = {{VX_SLICE("192.0.2.1"), 1000, 2, true},
                                        {VX_SLICE("2001:db8::/64"), 5, 1, false}};
    admin.answer.bans = list;
    admin.answer.ban_count = 2;
    carry(port->list_bans(port, &call, &unused));
    assert_string_equal(bans, "192.0.2.1 1000 2 1;2001:db8::/64 5 1 0;");
}

static void refusals(void **state) {
    (void)state;
    struct vx_admin_answer unused;
    admin.answer.outcome = VX_ADMIN_REFUSED;
    admin.answer.text = VX_SLICE("v.yaml:1:1: no");
    carry(port->reload(port, VX_SLICE_NONE, &call, &unused));
    assert_int_equal(got.outcome, VX_ADMIN_REFUSED);
    assert_string_equal(text, "v.yaml:1:1: no");
    admin.answer.text = VX_SLICE("bans are off");
    carry(port->list_bans(port, &call, &unused));
    assert_int_equal(got.outcome, VX_ADMIN_REFUSED);
    assert_string_equal(text, "bans are off");
}

static void failures(void **state) {
    (void)state;
    struct vx_admin_answer now;
    memset(&now, 0, sizeof now);
    assert_int_equal(port->dump(port, &call, &now), VX_ADMIN_LATER);
    fake_upstream_fail(fake_client_last(&http), VX_ERR_BACKEND_CLOSED, 8);
    assert_int_equal(answers, 1);
    assert_int_equal(got.outcome, VX_ADMIN_FAILED);
    http.refuse = 1;
    http.with = VX_ERR_CONNECT_FAILED;
    assert_int_equal(port->dump(port, &call, &now), VX_ADMIN_NOW);
    assert_int_equal(now.outcome, VX_ADMIN_FAILED);
    assert_int_equal(port->stats(port, &call, &now), VX_ADMIN_LATER); /* forgotten by the teardown */
}

static void no_such_answer(void **state) {
    (void)state;
    struct vx_admin_answer unused;
    assert_int_equal(port->dump(port, &call, &unused), VX_ADMIN_LATER);
    struct fake_upstream *u = fake_client_last(&http);
    fake_upstream_add_field(u, "grpc-status", "0");
    u->body_waits = true;
    fake_upstream_answer(u, 200, "", 8);
    u->body_waits = false;
    u->rest = VX_SLICE("\0\0\0\0\1\377");
    u->up.stream.events->on_readable(u->up.stream.user, 8);
    assert_int_equal(got.outcome, VX_ADMIN_FAILED);
    assert_string_equal(text, "the answer cannot be read");
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(every_question), TEST(stats),    TEST(bans_come_back),
        TEST(refusals),       TEST(failures), TEST(no_such_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
