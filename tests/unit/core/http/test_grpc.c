/* SPDX-License-Identifier: Apache-2.0 */
/* What is a call, its time limit in both directions, and its statuses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/http/grpc.h"

static bool is_call(enum vx_http_version version, const char *type) {
    char first[1024];
    struct vx_arena arena;
    struct vx_request request = {.version = version};
    vx_arena_init(&arena, first, sizeof first, NULL);
    assert_true(vx_headers_add(&request.headers, &arena, VX_HEADER_CONTENT_TYPE, VX_SLICE("content-type"),
                               vx_slice_of(type)));
    return vx_grpc_is_call(&request);
}

static void knows_calls(void **state) {
    (void)state;
    assert_true(is_call(VX_HTTP_2, "application/grpc"));
    assert_true(is_call(VX_HTTP_3, "application/grpc+proto"));
    assert_true(is_call(VX_HTTP_2, "Application/gRPC; charset=x"));
    assert_false(is_call(VX_HTTP_11, "application/grpc"));
    assert_false(is_call(VX_HTTP_2, "application/grpc-web"));
    assert_false(is_call(VX_HTTP_2, "application/grp"));
    assert_false(vx_grpc_is_call(&(struct vx_request){.version = VX_HTTP_2}));
}

static void reads_timeouts(void **state) {
    (void)state;
    static const struct {
        const char *text;
        uint64_t ns;
    } good[] = {{"1n", 1},
                {"20u", 20000},
                {"3m", 3000000},
                {"5S", 5000000000u},
                {"2M", 120000000000u},
                {"1H", 3600000000000u},
                {"99999999S", UINT64_C(99999999000000000)},
                {"99999999H", UINT64_MAX}};
    static const char *const bad[] = {"", "S", "5", "5s", "-1S", "123456789S", "1.5S", " 1S", "1S "};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        uint64_t ns = 0;
        assert_true(vx_grpc_read_timeout(vx_slice_of(good[i].text), &ns));
        assert_int_equal(ns, good[i].ns);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        uint64_t ns;
        assert_false(vx_grpc_read_timeout(vx_slice_of(bad[i]), &ns));
    }
}

static void writes_timeouts(void **state) {
    (void)state;
    static const struct {
        uint64_t ns;
        const char *text;
    } samples[] = {{0, "1n"},
                   {99999999, "99999999n"},
                   {100000000, "100000u"},
                   {1500000000, "1500000u"},
                   {UINT64_C(100000000000), "100000m"}};
    for (size_t i = 0; i < sizeof samples / sizeof *samples; i++) {
        char out[VX_GRPC_TIMEOUT_MAX_BYTES];
        size_t n = vx_grpc_write_timeout(out, samples[i].ns);
        assert_true(vx_slice_eq(vx_slice(out, n), vx_slice_of(samples[i].text)));
    }
    /* Whatever is written is read as no more than it was, and not much less. */
    for (uint64_t ns = 1; ns < UINT64_MAX / 7; ns = ns * 7 + 3) {
        char out[VX_GRPC_TIMEOUT_MAX_BYTES];
        uint64_t again;
        size_t n = vx_grpc_write_timeout(out, ns);
        assert_true(vx_grpc_read_timeout(vx_slice(out, n), &again));
        assert_true(again <= ns && ns - again <= ns / 100000);
    }
}

static void reads_statuses(void **state) {
    (void)state;
    for (unsigned status = 0; status < VX_GRPC_STATUS_COUNT; status++)
        assert_int_equal(vx_grpc_read_status(vx_grpc_status_text((uint8_t)status)), status);
    assert_int_equal(vx_grpc_read_status(VX_SLICE("17")), VX_GRPC_UNKNOWN);
    assert_int_equal(vx_grpc_read_status(VX_SLICE("-1")), VX_GRPC_UNKNOWN);
    assert_int_equal(vx_grpc_read_status(VX_SLICE("")), VX_GRPC_UNKNOWN);
    assert_int_equal(vx_grpc_read_status(VX_SLICE("000")), VX_GRPC_UNKNOWN);
    assert_int_equal(vx_grpc_status_of_http(503), VX_GRPC_UNAVAILABLE);
    assert_int_equal(vx_grpc_status_of_http(404), VX_GRPC_UNIMPLEMENTED);
    assert_int_equal(vx_grpc_status_of_http(403), VX_GRPC_PERMISSION_DENIED);
    assert_int_equal(vx_grpc_status_of_http(418), VX_GRPC_UNKNOWN);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knows_calls),
        cmocka_unit_test(reads_timeouts),
        cmocka_unit_test(writes_timeouts),
        cmocka_unit_test(reads_statuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
