/* SPDX-License-Identifier: Apache-2.0 */
/* From the message model to HTTP/2's fields: lower case, nothing of a connection, bounded room. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka.h wants the three above. */
#include <cmocka.h>

#include "proxy/http2/fields.h"

struct world {
    char memory[8192];
    struct vx_arena arena;
    struct vx_headers headers;
    struct vx_h2_fields fields;
};

static void start(struct world *w, size_t room) {
    *w = (struct world){.headers = {.count = 0}};
    vx_arena_init(&w->arena, w->memory, sizeof w->memory, NULL);
    vx_h2_fields_init(&w->fields, &w->arena, room);
}

static void add(struct world *w, const char *name, const char *value) {
    struct vx_slice n = vx_slice_of(name);
    assert_true(vx_headers_add(&w->headers, &w->arena, vx_header_id_of(n), n, vx_slice_of(value)));
}

static void assert_field(const struct world *w, size_t at, const char *name, const char *value) {
    const nghttp2_nv *nv = &w->fields.items[at];
    assert_true(vx_slice_eq(vx_slice((const char *)nv->name, nv->namelen), vx_slice_of(name)));
    assert_true(vx_slice_eq(vx_slice((const char *)nv->value, nv->valuelen), vx_slice_of(value)));
}

static void test_names_become_lower_case(void **state) {
    (void)state;
    struct world w;
    start(&w, 8);
    add(&w, "Content-Type", "a");
    add(&w, "X-Mixed-CASE", "B");
    add(&w, "x-low", "");
    vx_h2_fields_add_headers(&w.fields, &w.headers);
    assert_int_equal(w.fields.count, 3);
    assert_field(&w, 0, "content-type", "a");
    assert_field(&w, 1, "x-mixed-case", "B");
    assert_field(&w, 2, "x-low", "");
}

static void test_what_is_the_connections_own_stays_behind(void **state) {
    (void)state;
    struct world w;
    start(&w, 16);
    static const char *const own[] = {"Connection", "Keep-Alive", "Proxy-Connection", "Transfer-Encoding",
                                      "Upgrade",    "Host",       "Content-Length",   "HTTP2-Settings"};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        add(&w, own[i], "x");
    add(&w, "Via", "1.1 a");
    add(&w, "Gone", "x");
    vx_headers_remove_name(&w.headers, VX_SLICE("gone"));
    vx_h2_fields_add_headers(&w.fields, &w.headers);
    assert_int_equal(w.fields.count, 1);
    assert_field(&w, 0, "via", "1.1 a");
}

static void test_lengths(void **state) {
    (void)state;
    struct world w;
    start(&w, 2);
    vx_h2_fields_add_length(&w.fields, 0);
    vx_h2_fields_add_length(&w.fields, UINT64_MAX);
    assert_field(&w, 0, "content-length", "0");
    assert_field(&w, 1, "content-length", "18446744073709551615");
}

static void test_want_of_memory_is_noted(void **state) {
    (void)state;
    struct world w;
    start(&w, 1);
    vx_h2_fields_add(&w.fields, VX_SLICE("a"), VX_SLICE("1"));
    assert_false(w.fields.no_memory);
    vx_h2_fields_add(&w.fields, VX_SLICE("b"), VX_SLICE("2"));
    assert_true(w.fields.no_memory);
    start(&w, 100000);
    assert_true(w.fields.no_memory);
    assert_int_equal(w.fields.capacity, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_become_lower_case),
        cmocka_unit_test(test_what_is_the_connections_own_stays_behind),
        cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_want_of_memory_is_noted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
