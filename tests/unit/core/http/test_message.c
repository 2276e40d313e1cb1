/* SPDX-License-Identifier: Apache-2.0 */
/* Names and ids, finding, adding and removing fields, and the stripping of hop-by-hop fields. */
#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/http/header_ids.h"
#include "core/http/message.h"
#include "support/http_check.h"

static enum vx_header_id id_of(const char *name, size_t len) {
    char *exact = malloc(len ? len : 1);
    assert_non_null(exact);
    memcpy(exact, name, len);
    enum vx_header_id id = vx_header_id_of(vx_slice(exact, len));
    free(exact);
    return id;
}

static void knows_its_names_in_any_case(void **state) {
    (void)state;
    for (int id = 1; id < VX_HEADER_COUNT; id++) {
        char name[64];
        struct vx_slice text = vx_header_id_name((enum vx_header_id)id);
        assert_true(text.len > 0 && text.len <= VX_HEADER_NAME_MAX);
        for (size_t i = 0; i < text.len; i++)
            name[i] = text.ptr[i];
        assert_int_equal(id_of(name, text.len), id);
        for (size_t i = 0; i < text.len; i++)
            name[i] = (char)toupper(text.ptr[i]);
        assert_int_equal(id_of(name, text.len), id);
        for (size_t i = 0; i < text.len; i++)
            name[i] = (char)(i % 2 ? toupper(text.ptr[i]) : text.ptr[i]);
        assert_int_equal(id_of(name, text.len), id);
    }
    assert_int_equal(vx_header_id_name(VX_HEADER_OTHER).len, 0);
    assert_int_equal(vx_header_id_name(VX_HEADER_COUNT).len, 0);
}

/* With any one byte changed it is another name, but for a letter's case where that does not count. */
static void change_each_byte(int id, bool any_case) {
    struct vx_slice text = vx_header_id_name((enum vx_header_id)id);
    char name[64];
    for (size_t i = 0; i < text.len; i++) {
        for (int c = 0; c < 256; c++) {
            memcpy(name, text.ptr, text.len);
            name[i] = (char)c;
            bool same = (any_case ? tolower(c) : c) == text.ptr[i];
            enum vx_header_id found =
                any_case ? id_of(name, text.len) : vx_header_id_of_lower(vx_slice(name, text.len));
            assert_int_equal(found == (enum vx_header_id)id, same);
        }
    }
}

/* Any one byte changed, taken out or put in makes it another name. */
static void knows_no_other_names(void **state) {
    (void)state;
    for (int id = 1; id < VX_HEADER_COUNT; id++) {
        struct vx_slice text = vx_header_id_name((enum vx_header_id)id);
        char name[64];
        change_each_byte(id, true);
        for (size_t i = 0; i < text.len; i++) {
            memcpy(name, text.ptr, i);
            memcpy(name + i, text.ptr + i + 1, text.len - i - 1);
            assert_int_not_equal(id_of(name, text.len - 1), id);
            memcpy(name, text.ptr, i);
            name[i] = 'x';
            memcpy(name + i + 1, text.ptr + i, text.len - i);
            assert_int_not_equal(id_of(name, text.len + 1), id);
        }
    }
    assert_int_equal(id_of("", 0), VX_HEADER_OTHER);
    char longer[300];
    memset(longer, 'h', sizeof longer);
    for (size_t len = 0; len < sizeof longer; len++)
        assert_int_equal(id_of(longer, len), VX_HEADER_OTHER);
}

/* Also any one byte changed, and a letter's case too. */
static void knows_its_names_in_lower_case_alone(void **state) {
    (void)state;
    for (int id = 1; id < VX_HEADER_COUNT; id++) {
        struct vx_slice text = vx_header_id_name((enum vx_header_id)id);
        change_each_byte(id, false);
        assert_int_not_equal(vx_header_id_of_lower(vx_slice(text.ptr, text.len - 1)), id);
    }
    assert_int_equal(vx_header_id_of_lower(VX_SLICE_NONE), VX_HEADER_OTHER);
}

static void add(struct vx_headers *h, const char *name, const char *value) {
    struct vx_slice text = vx_slice_of(name);
    assert_true(vx_headers_add(h, &vx_test_memory.arena, vx_header_id_of(text), text, vx_slice_of(value)));
}

static void finds_and_removes(void **state) {
    (void)state;
    struct vx_headers h = {0};
    add(&h, "Host", "a");
    add(&h, "X-One", "1");
    add(&h, "x-one", "2");
    add(&h, "Via", "b");
    add(&h, "via", "c");
    assert_ptr_equal(vx_headers_find(&h, VX_HEADER_HOST), &h.items[0]);
    assert_ptr_equal(vx_headers_find(&h, VX_HEADER_VIA), &h.items[3]);
    assert_null(vx_headers_find(&h, VX_HEADER_TE));
    assert_ptr_equal(vx_headers_find_name(&h, VX_SLICE("X-ONE")), &h.items[1]);
    assert_ptr_equal(vx_headers_find_name(&h, VX_SLICE("VIA")), &h.items[3]);
    assert_null(vx_headers_find_name(&h, VX_SLICE("x-two")));
    h.items[3].flags |= VX_HEADER_REMOVED;
    assert_ptr_equal(vx_headers_find(&h, VX_HEADER_VIA), &h.items[4]);
    assert_ptr_equal(vx_headers_find_name(&h, VX_SLICE("via")), &h.items[4]);
    vx_headers_remove(&h, VX_HEADER_VIA);
    assert_null(vx_headers_find(&h, VX_HEADER_VIA));
    assert_non_null(vx_headers_find(&h, VX_HEADER_HOST));
    vx_headers_remove_name(&h, VX_SLICE("X-One"));
    assert_null(vx_headers_find_name(&h, VX_SLICE("x-one")));
    vx_headers_remove_name(&h, VX_SLICE("HOST"));
    assert_null(vx_headers_find(&h, VX_HEADER_HOST));
    assert_int_equal(h.count, 5);
}

static void grows_and_keeps_what_was_there(void **state) {
    (void)state;
    enum { MANY = UINT16_MAX };
    struct vx_headers h = {0};
    for (int i = 0; i < MANY; i++)
        assert_true(vx_headers_add(&h, &vx_test_memory.arena, VX_HEADER_OTHER, VX_SLICE("n"),
                                   vx_slice("v", (size_t)i % 2)));
    for (int i = 0; i < MANY; i++)
        assert_int_equal(h.items[i].value_len, i % 2);
    assert_false(vx_headers_add(&h, &vx_test_memory.arena, VX_HEADER_OTHER, VX_SLICE("n"), VX_SLICE("v")));
    assert_int_equal(h.count, MANY);

    char room[64];
    struct vx_arena none;
    struct vx_headers small = {0};
    vx_arena_init(&none, room, sizeof room, NULL);
    assert_false(vx_headers_add(&small, &none, VX_HEADER_OTHER, VX_SLICE("n"), VX_SLICE("v")));
    assert_int_equal(small.count, 0);
    assert_false(vx_headers_add(&small, &vx_test_memory.arena, VX_HEADER_OTHER, vx_slice("n", UINT16_MAX + 1),
                                VX_SLICE("v")));
}

static void strips_hop_by_hop(void **state) {
    (void)state;
    struct vx_headers h = {0};
    add(&h, "Host", "a");
    add(&h, "Connection", "close, X-Hop,, Host , content-length");
    add(&h, "Keep-Alive", "timeout=5");
    add(&h, "Proxy-Connection", "x");
    add(&h, "TE", "gzip");
    add(&h, "Transfer-Encoding", "chunked");
    add(&h, "Upgrade", "h2c");
    add(&h, "HTTP2-Settings", "x");
    add(&h, "x-hop", "1");
    add(&h, "Trailer", "x");
    add(&h, "connection", "X-Late, X-Forwarded-For, te");
    add(&h, "X-Late", "2");
    add(&h, "X-Forwarded-For", "192.0.2.1");
    add(&h, "TE", " trailers ");
    add(&h, "Content-Length", "5");
    add(&h, "Accept", "*/*");
    vx_headers_strip_hop_by_hop(&h);
    static const char *const kept[] = {"Host", "Trailer",        "X-Forwarded-For",
                                       "TE",   "Content-Length", "Accept"};
    size_t k = 0;
    for (uint16_t i = 0; i < h.count; i++) {
        if (h.items[i].flags & VX_HEADER_REMOVED)
            continue;
        assert_true(k < sizeof kept / sizeof *kept);
        assert_true(vx_slice_eq(vx_header_name(&h.items[i]), vx_slice_of(kept[k++])));
    }
    assert_int_equal(k, sizeof kept / sizeof *kept);
}

static void methods(void **state) {
    (void)state;
#define X(name) assert_int_equal(vx_method_of(VX_SLICE(#name)), VX_METHOD_##name);
    VX_METHOD_LIST(X)
#undef X
    static const char *const others[] = {"",     "get",   "GETT",   "GE",    "PURGE",
                                         "HEAT", "POSTS", "OPTION", "PATCI", "TRACK"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        assert_int_equal(vx_method_of(vx_slice_of(others[i])), VX_METHOD_OTHER);
}

static void reasons(void **state) {
    (void)state;
    assert_true(vx_slice_eq(vx_status_reason(200), VX_SLICE("OK")));
    assert_true(vx_slice_eq(vx_status_reason(418), VX_SLICE("Unknown")));
    assert_true(vx_slice_eq(vx_status_reason(0), VX_SLICE("Unknown")));
    assert_true(vx_slice_eq(vx_status_reason(599), VX_SLICE("Unknown")));
    for (int code = 1; code < VX_ERR_COUNT; code++) {
        const struct vx_error_info *info = vx_error_info((enum vx_error_code)code);
        if (info->status)
            assert_false(vx_slice_eq(vx_status_reason(info->status), VX_SLICE("Unknown")));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knows_its_names_in_any_case),
        cmocka_unit_test(knows_no_other_names),
        cmocka_unit_test(knows_its_names_in_lower_case_alone),
        cmocka_unit_test(finds_and_removes),
        cmocka_unit_test(grows_and_keeps_what_was_there),
        cmocka_unit_test(strips_hop_by_hop),
        cmocka_unit_test(methods),
        cmocka_unit_test(reasons),
    };
    return cmocka_run_group_tests(tests, vx_test_memory_begin, vx_test_memory_end);
}
