/* SPDX-License-Identifier: Apache-2.0 */
/* The map: what is listed, what can be written, and that nothing gets in which could not be sent. */
#include "core/http/field_map.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/base/heap.h"
#include "support/http_check.h"

struct map_test {
    struct vx_field_map map;
    struct vx_request request;
    struct vx_response response;
    struct vx_headers trailers;
    struct vx_header items[16];
    struct vx_arena arena;
    struct vx_heap heap;
};

static void add(struct vx_headers *h, const char *name, const char *value) {
    struct vx_slice n = vx_slice_of(name);
    assert_true(vx_headers_add(h, NULL, vx_header_id_of(n), n, vx_slice_of(value)));
}

static struct map_test *new_test(void) {
    struct map_test *t = calloc(1, sizeof *t);
    assert_non_null(t);
    t->heap = vx_heap(malloc, free, 4096);
    vx_arena_init(&t->arena, NULL, 0, &t->heap.source);
    t->map.arena = &t->arena;
    return t;
}

static struct map_test *with_request(void) {
    static const char target[] = "/a/b?c=d";
    struct map_test *t = new_test();
    t->request = (struct vx_request){
        .method = VX_METHOD_GET,
        .method_text = VX_SLICE("GET"),
        .path = vx_slice(target, 4),
        .query = vx_slice(target + 5, 3),
        .authority = VX_SLICE("Example.org:80"),
        .host = VX_SLICE("example.org"),
        .headers = {.items = t->items, .capacity = 16},
    };
    struct vx_headers *h = &t->request.headers;
    add(h, "Host", "Example.org:80");
    add(h, "X-One", "1");
    add(h, "Connection", "upgrade");
    add(h, "Upgrade", "websocket");
    add(h, "x-one", "2");
    add(h, "Content-Length", "7");
    t->map.headers = h;
    t->map.request = &t->request;
    return t;
}

static void end_test(struct map_test *t) {
    vx_arena_reset(&t->arena);
    free(t);
}

/* Everything that is listed, as `name=value` with blanks between. */
static void check_list(struct map_test *t, const char *expected) {
    char text[1024];
    size_t len = 0;
    uint32_t at = 0;
    struct vx_field f;
    text[0] = '\0';
    while (vx_field_map_next(&t->map, &at, &f))
        len += (size_t)snprintf(text + len, sizeof text - len, "%s%.*s=%.*s", len ? " " : "",
                                VX_SLICE_ARG(f.name), VX_SLICE_ARG(f.value));
    assert_string_equal(text, expected);
}

static void check_value(struct map_test *t, const char *name, const char *expected) {
    struct vx_slice value;
    bool found = vx_field_map_find(&t->map, vx_slice_of(name), &value);
    assert_int_equal(found, expected != NULL);
    if (found && !vx_slice_eq(value, vx_slice_of(expected)))
        fail_msg("%s is `%.*s`, not `%s`", name, VX_SLICE_ARG(value), expected);
}

static enum vx_field_result replace(struct map_test *t, const char *name, const char *value) {
    return vx_field_map_replace(&t->map, vx_slice_of(name), vx_slice_of(value));
}

static enum vx_field_result put(struct map_test *t, const char *name, const char *value) {
    return vx_field_map_add(&t->map, vx_slice_of(name), vx_slice_of(value));
}

static void forget(struct map_test *t, const char *name) {
    assert_int_equal(vx_field_map_remove(&t->map, vx_slice_of(name)), VX_FIELD_DONE);
}

static void test_reading(void **state) {
    (void)state;
    struct map_test *t = with_request();
    check_list(t, ":authority=Example.org:80 :path=/a/b?c=d :method=GET :scheme=http X-One=1 x-one=2 "
                  "Content-Length=7");
    check_value(t, "host", "Example.org:80");
    check_value(t, ":path", "/a/b?c=d");
    check_value(t, "X-ONE", "1");
    check_value(t, "upgrade", NULL);
    check_value(t, ":status", NULL);
    check_value(t, "nothing", NULL);
    check_value(t, "", NULL);
    t->request.query = VX_SLICE("other"); /* no longer beside the path */
    check_value(t, ":path", "/a/b?other");
    struct vx_slice once, again; /* joined once, however often it is asked for */
    assert_true(vx_field_map_find(&t->map, VX_SLICE(":path"), &once));
    assert_true(vx_field_map_find(&t->map, VX_SLICE(":path"), &again));
    assert_ptr_equal(once.ptr, again.ptr);
    t->request.query = VX_SLICE_NONE;
    check_value(t, ":path", "/a/b");
    assert_false(t->map.changed);
    end_test(t);
}

static void test_fields(void **state) {
    (void)state;
    struct map_test *t = with_request();
    assert_int_equal(put(t, "X-New", " v "), VX_FIELD_DONE);
    check_value(t, "x-new", "v");
    assert_int_equal(replace(t, "x-ONE", "3"), VX_FIELD_DONE);
    forget(t, "content-length");
    forget(t, "absent");
    assert_int_equal(replace(t, "x-absent", ""), VX_FIELD_DONE);
    check_list(t,
               ":authority=Example.org:80 :path=/a/b?c=d :method=GET :scheme=http X-One=3 x-new=v x-absent=");
    assert_true(t->map.changed && t->map.routing);
    /* The message as it came is another list. */
    assert_ptr_not_equal(t->request.headers.items, t->items);
    assert_int_equal(t->items[1].value[0], '1');
    end_test(t);
}

static void test_fields_of_the_connection_stay(void **state) {
    (void)state;
    struct map_test *t = with_request();
    static const char *const names[] = {"Connection", "upgrade", "TRANSFER-ENCODING",
                                        "te",         "expect",  "keep-alive"};
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
        assert_int_equal(put(t, names[i], "x"), VX_FIELD_DONE);
        assert_int_equal(replace(t, names[i], "y"), VX_FIELD_DONE);
        forget(t, names[i]);
    }
    struct vx_header *upgrade = vx_headers_find(&t->request.headers, VX_HEADER_UPGRADE);
    assert_non_null(upgrade);
    assert_memory_equal(upgrade->value, "websocket", 9);
    assert_null(vx_headers_find(&t->request.headers, VX_HEADER_TRANSFER_ENCODING));
    end_test(t);
}

static void test_pseudo_fields(void **state) {
    (void)state;
    struct map_test *t = with_request();
    assert_int_equal(replace(t, ":path", "/x/../%61?q"), VX_FIELD_DONE);
    assert_memory_equal(t->request.path.ptr, "/a", 2);
    check_value(t, ":path", "/a?q");
    assert_int_equal(replace(t, ":authority", "Other.Example:81"), VX_FIELD_DONE);
    assert_memory_equal(t->request.host.ptr, "other.example", 13);
    assert_int_equal(t->request.host.len, 13);
    assert_int_equal(put(t, "Host", "third"), VX_FIELD_DONE);
    check_value(t, ":authority", "third");
    const struct vx_header *host = vx_headers_find(&t->request.headers, VX_HEADER_HOST);
    assert_memory_equal(host->value, "third", 5);
    assert_int_equal(replace(t, ":method", "PUT"), VX_FIELD_DONE);
    assert_int_equal(t->request.method, VX_METHOD_PUT);
    assert_int_equal(replace(t, ":scheme", "https"), VX_FIELD_DONE);
    assert_true(t->request.https);
    forget(t, ":path");
    check_value(t, ":path", "/a?q");
    end_test(t);
}

static void test_what_is_refused(void **state) {
    (void)state;
    static const char *const bad[][2] = {
        {"a b", "x"},          {"", "x"},
        {"a:", "x"},           {":unknown", "x"},
        {":status", "200"},    {"x", "a\rb"},
        {"x", "a\nb"},         {":path", "x"},
        {":path", ""},         {":path", "/../.."},
        {":path", "/a b"},     {":path", "/a#b"},
        {":path", "*"},        {":path", "http://a/b"},
        {":authority", ""},    {":authority", "a b"},
        {":authority", "a@b"}, {":method", ""},
        {":method", "G T"},    {":method", "CONNECT"},
        {":scheme", "ftp"},    {":authority", "a\r\nb"},
    };
    for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct map_test *t = with_request();
        if (replace(t, bad[i][0], bad[i][1]) != VX_FIELD_BAD || put(t, bad[i][0], bad[i][1]) != VX_FIELD_BAD)
            fail_msg("`%s: %s` was taken", bad[i][0], bad[i][1]);
        check_list(t, ":authority=Example.org:80 :path=/a/b?c=d :method=GET :scheme=http X-One=1 x-one=2 "
                      "Content-Length=7");
        end_test(t);
    }
    struct map_test *t = with_request();
    assert_int_equal(vx_field_map_replace(&t->map, VX_SLICE("x-one"), VX_SLICE("a\0b")), VX_FIELD_BAD);
    end_test(t);
}

/* What a peer may send, a filter may write, and nothing else: whatever writes. */
static void test_values_are_those_of_the_parser(void **state) {
    (void)state;
    struct map_test *t = with_request();
    for (int c = 0; c < 256; c++) {
        char head[64], value[] = {'a', (char)c, 'b'};
        int n = snprintf(head, sizeof head, "GET / HTTP/1.1\r\nHost: a\r\nV: a%cb\r\n\r\n", c);
        char *parsed =
            vx_test_parse(VX_TEST_REQUEST, vx_slice(head, (size_t)n), &vx_test_limits, VX_TEST_WHOLE);
        enum vx_field_result want = strncmp(parsed, "GET ", 4) == 0 ? VX_FIELD_DONE : VX_FIELD_BAD;
        free(parsed);
        struct vx_field field = {VX_SLICE("x-new"), vx_slice(value, sizeof value)};
        assert_int_equal(vx_field_map_add(&t->map, field.name, field.value), want);
        assert_int_equal(vx_field_map_replace(&t->map, VX_SLICE("x-one"), field.value), want);
        assert_int_equal(vx_field_map_assign(&t->map, &field, 1), want);
    }
    end_test(t);
}

static void test_responses(void **state) {
    (void)state;
    struct map_test *t = new_test();
    t->response.status = 404;
    t->response.reason = VX_SLICE("Gone fishing");
    t->map.response = &t->response;
    t->map.headers = &t->response.headers;
    check_list(t, ":status=404");
    assert_int_equal(replace(t, ":status", "200"), VX_FIELD_DONE);
    assert_int_equal(t->response.status, 200);
    assert_null(t->response.reason.ptr);
    static const char *const bad[] = {"", "20", "2000", "100", "199", "600", "abc", "2x0"};
    for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(replace(t, ":status", bad[i]), VX_FIELD_BAD);
    assert_int_equal(replace(t, ":path", "/"), VX_FIELD_BAD);
    assert_int_equal(t->response.status, 200);
    assert_false(t->map.routing);
    end_test(t);
}

static void test_trailers(void **state) {
    (void)state;
    struct map_test *t = new_test();
    t->map.headers = &t->trailers;
    assert_int_equal(put(t, "X-Sum", "1"), VX_FIELD_DONE);
    assert_int_equal(put(t, ":status", "200"), VX_FIELD_BAD);
    check_list(t, "x-sum=1");
    end_test(t);
}

static void test_assign(void **state) {
    (void)state;
    struct map_test *t = with_request();
    struct vx_field fields[] = {{VX_SLICE(":path"), VX_SLICE("/new")},
                                {VX_SLICE("A"), VX_SLICE("1")},
                                {VX_SLICE("a"), VX_SLICE("2")},
                                {VX_SLICE("connection"), VX_SLICE("close")}};
    assert_int_equal(vx_field_map_assign(&t->map, fields, 4), VX_FIELD_DONE);
    check_list(t, ":authority=Example.org:80 :path=/new :method=GET :scheme=http a=1 a=2");
    assert_non_null(vx_headers_find(&t->request.headers, VX_HEADER_UPGRADE));
    fields[0].value = VX_SLICE("/newer");
    fields[2].value = VX_SLICE("\n"); /* all or nothing */
    fields[1].value = VX_SLICE("3");
    assert_int_equal(vx_field_map_assign(&t->map, fields, 4), VX_FIELD_BAD);
    check_list(t, ":authority=Example.org:80 :path=/new :method=GET :scheme=http a=1 a=2");
    assert_int_equal(vx_field_map_assign(&t->map, NULL, 0), VX_FIELD_DONE);
    check_list(t, ":authority=Example.org:80 :path=/new :method=GET :scheme=http");
    assert_int_equal(vx_field_map_assign(&t->map, fields, VX_FIELD_MAP_PAIRS_MAX + 1), VX_FIELD_BAD);
    end_test(t);
}

static void test_bounds(void **state) {
    (void)state;
    struct map_test *t = new_test();
    t->map.headers = &t->trailers;
    static char large[VX_FIELD_MAP_BYTES_MAX];
    memset(large, 'x', sizeof large);
    assert_int_equal(vx_field_map_add(&t->map, VX_SLICE("a"), vx_slice(large, sizeof large)),
                     VX_FIELD_NO_MEMORY);
    assert_int_equal(vx_field_map_add(&t->map, VX_SLICE("a"), vx_slice(large, sizeof large - 10)),
                     VX_FIELD_DONE);
    assert_int_equal(put(t, "b", "1234567890"), VX_FIELD_NO_MEMORY);
    assert_int_equal(put(t, "b", "12345678"), VX_FIELD_DONE);
    end_test(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reading),
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_fields_of_the_connection_stay),
        cmocka_unit_test(test_pseudo_fields),
        cmocka_unit_test(test_what_is_refused),
        cmocka_unit_test(test_values_are_those_of_the_parser),
        cmocka_unit_test(test_responses),
        cmocka_unit_test(test_trailers),
        cmocka_unit_test(test_assign),
        cmocka_unit_test(test_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
