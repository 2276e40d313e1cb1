/* SPDX-License-Identifier: Apache-2.0 */
/* The service in front of a port: messages as they lie on the wire (field numbers are a promise), refusals, answers that come
 * late, messages that are none. */
#include "admin/service/service.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "support/fake_admin.h"
#include "support/fake_downstream.h"

static struct fake_admin admin;
static struct vx_admin_service service;
static struct fake_downstream f;
static char frame[1024];

static int setup(void **state) {
    (void)state;
    fake_admin_init(&admin);
    vx_admin_service_init(&service, &admin.port);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    fake_downstream_free(&f);
    assert_int_equal(service.server.calls, 0);
    return 0;
}

static void ask(const char *method, struct vx_slice message) {
    static char path[128];
    fake_downstream_free(&f);
    snprintf(path, sizeof path, "/vortex.admin.AdminService/%s", method);
    fake_downstream_init(&f, VX_METHOD_POST, path);
    f.request.version = VX_HTTP_2;
    fake_downstream_add_field(&f, "content-type", "application/grpc");
    vx_grpc_write_prefix(frame, (uint32_t)message.len);
    if (message.len)
        memcpy(frame + VX_GRPC_PREFIX_BYTES, message.ptr, message.len);
    fake_downstream_add_body(&f, vx_slice(frame, VX_GRPC_PREFIX_BYTES + message.len));
    fake_downstream_begin(&f, &service.server.handler, 0);
}

static void check_message(struct vx_slice expected) {
    fake_downstream_check_done(&f);
    assert_string_equal(f.trailer_fields, "grpc-status: 0\n");
    struct vx_slice body = fake_downstream_body(&f);
    assert_true(body.len >= VX_GRPC_PREFIX_BYTES);
    assert_true(vx_slice_eq(vx_slice_skip(body, VX_GRPC_PREFIX_BYTES), expected));
}

static void reload(void **state) {
    (void)state;
    admin.answer.text = VX_SLICE("version 2");
    ask("ReloadConfig", VX_SLICE("\12\5a.yml"));
    assert_string_equal(admin.asked, "reload a.yml");
    check_message(VX_SLICE("\10\1\22\11version 2"));
    admin.answer.outcome = VX_ADMIN_REFUSED;
    admin.answer.text = VX_SLICE("a.yml:1:2: no\377");
    ask("ReloadConfig", VX_SLICE_NONE);
    assert_string_equal(admin.asked, "reload ");
    check_message(VX_SLICE("\22\16a.yml:1:2: no?"));
}

static void stats(void **state) {
    (void)state;
    admin.answer.stats = (struct vx_admin_stats){.active_connections = 300, .state = VX_SLICE("ready")};
    ask("GetStats", VX_SLICE_NONE);
    check_message(VX_SLICE("\10\254\2\72\5ready"));
}

static void update_plugin(void **state) {
    (void)state;
    ask("UpdateWasmPlugin", VX_SLICE("\12\4\0asm\22\4auth"));
    assert_string_equal(admin.asked, "update_plugin auth 4");
    check_message(VX_SLICE("\10\1"));
    ask("UpdateWasmPlugin", VX_SLICE("\12\4\0asm"));
    assert_string_equal(admin.asked, "update_plugin  4");
}

static void bans(void **state) {
    (void)state;
    const struct vx_admin_ban list[] = {{VX_SLICE("192.0.2.1"), 1000, 2, true},
                                        {VX_SLICE("2001:db8::/64"), 5, 1, false}};
    admin.answer.bans = list;
    admin.answer.ban_count = 2;
    ask("ListBans", VX_SLICE_NONE);
    check_message(VX_SLICE("\12\22\12\011192.0.2.1\20\350\7\30\2\40\1\12\23\12\0152001:db8::/64\20\5\30\1"));
    ask("AddBan", VX_SLICE("\12\011192.0.2.1\20\350\7"));
    assert_string_equal(admin.asked, "add_ban 192.0.2.1 1000");
    check_message(VX_SLICE("\10\1"));
    ask("RemoveBan", VX_SLICE("\12\011192.0.2.1"));
    assert_string_equal(admin.asked, "remove_ban 192.0.2.1");
    check_message(VX_SLICE("\10\1"));
}

static void refusal_without_a_field_for_it(void **state) {
    (void)state;
    admin.answer.outcome = VX_ADMIN_REFUSED;
    admin.answer.text = VX_SLICE("bans are off");
    ask("ListBans", VX_SLICE_NONE);
    fake_downstream_check_done(&f);
    assert_non_null(strstr(f.fields, "grpc-status: 9\ngrpc-message: bans are off\n"));
}

static void answer_comes_late(void **state) {
    (void)state;
    admin.later = true;
    ask("Dump", VX_SLICE_NONE);
    assert_int_equal(f.released, 0);
    admin.answer.text = VX_SLICE("all of it");
    fake_admin_answer(&admin);
    check_message(VX_SLICE("\12\11all of it"));
}

static void nobody_waits_any_more(void **state) {
    (void)state;
    admin.later = true;
    ask("Dump", VX_SLICE_NONE);
    f.down.stream.events->on_failed(f.down.stream.user, 0);
    assert_int_equal(f.released, 1);
    fake_admin_answer(&admin);
}

static void no_such_message(void **state) {
    (void)state;
    const struct vx_slice bad[] = {VX_SLICE("\12\5abc"), VX_SLICE("\377"), VX_SLICE("\12\377\377\377\377\17"),
                                   VX_SLICE("\0\0"), VX_SLICE("\13\14")};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ask("ReloadConfig", bad[i]);
        fake_downstream_check_done(&f);
        assert_non_null(strstr(f.fields, "grpc-status: 13\n"));
    }
    assert_int_equal(admin.questions, 0);
}

static void unknown_fields_are_skipped(void **state) {
    (void)state;
    ask("GetStats", VX_SLICE("\372\1\3xyz"));
    assert_string_equal(admin.asked, "stats");
    check_message(VX_SLICE_NONE);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(reload),
        TEST(stats),
        TEST(update_plugin),
        TEST(bans),
        TEST(refusal_without_a_field_for_it),
        TEST(answer_comes_late),
        TEST(nobody_waits_any_more),
        TEST(no_such_message),
        TEST(unknown_fields_are_skipped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
