/* SPDX-License-Identifier: Apache-2.0 */
/* Fields that decide about a message must not come behind it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/http/trailers.h"

static void only_what_may_come_late_stays(void **state) {
    (void)state;
    static const char *const names[] = {"Content-Length", "x-sum",       "Transfer-Encoding",
                                        "grpc-status",    "Host",        "Authorization",
                                        "Set-Cookie",     "grpc-message"};
    char first[2048];
    struct vx_arena arena;
    struct vx_headers h = {0};
    vx_arena_init(&arena, first, sizeof first, NULL);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct vx_slice name = vx_slice_of(names[i]);
        assert_true(vx_headers_add(&h, &arena, vx_header_id_of(name), name, VX_SLICE("1")));
    }
    vx_trailers_strip(&h);
    assert_int_equal(h.count, 3);
    assert_true(vx_slice_eq(vx_header_name(&h.items[0]), VX_SLICE("x-sum")));
    assert_true(vx_slice_eq(vx_header_name(&h.items[1]), VX_SLICE("grpc-status")));
    assert_true(vx_slice_eq(vx_header_name(&h.items[2]), VX_SLICE("grpc-message")));
    assert_false(vx_headers_has(&h, VX_HEADER_CONTENT_LENGTH));
    assert_true(vx_headers_has(&h, VX_HEADER_GRPC_STATUS));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_what_may_come_late_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
