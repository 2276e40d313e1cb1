/* SPDX-License-Identifier: Apache-2.0 */
/* Metrics that plugins define: statuses, and how they look on the page. */
#include "filters/proxy_wasm/series.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/assert.h"

struct page {
    struct vx_text_sink sink;
    char text[16384];
    size_t len;
};

static void put(struct vx_text_sink *self, struct vx_slice text) {
    struct page *p = VX_CONTAINER_OF(self, struct page, sink);
    assert_true(p->len + text.len < sizeof p->text);
    memcpy(p->text + p->len, text.ptr, text.len);
    p->len += text.len;
    p->text[p->len] = '\0';
}

static void expect_line(const struct page *p, const char *line) {
    if (!strstr(p->text, line))
        fail_msg("`%s` is not on the page:\n%s", line, p->text);
}

static void test_statuses(void **state) {
    (void)state;
    struct vx_pwasm_series *s = vx_pwasm_series_new();
    uint32_t counter, gauge, histogram, id;
    uint64_t value;
    assert_int_equal(vx_pwasm_series_define(s, 3, VX_SLICE("x"), &id), VX_PWASM_BAD_ARGUMENT);
    assert_int_equal(vx_pwasm_series_define(s, 0, VX_SLICE(""), &id), VX_PWASM_BAD_ARGUMENT);
    assert_int_equal(vx_pwasm_series_define(s, VX_PWASM_COUNTER, VX_SLICE("c"), &counter), VX_PWASM_OK);
    assert_int_equal(vx_pwasm_series_define(s, VX_PWASM_GAUGE, VX_SLICE("g"), &gauge), VX_PWASM_OK);
    assert_int_equal(vx_pwasm_series_define(s, VX_PWASM_HISTOGRAM, VX_SLICE("h"), &histogram), VX_PWASM_OK);
    assert_int_equal(vx_pwasm_series_define(s, VX_PWASM_COUNTER, VX_SLICE("c"), &id), VX_PWASM_OK);
    assert_int_equal(id, counter);
    assert_int_equal(vx_pwasm_series_define(s, VX_PWASM_GAUGE, VX_SLICE("c"), &id), VX_PWASM_BAD_ARGUMENT);
    assert_int_equal(vx_pwasm_series_increment(s, counter, 0), VX_PWASM_BAD_ARGUMENT);
    assert_int_equal(vx_pwasm_series_increment(s, counter, -1), VX_PWASM_BAD_ARGUMENT);
    assert_int_equal(vx_pwasm_series_increment(s, counter, 2), VX_PWASM_OK);
    assert_int_equal(vx_pwasm_series_record(s, counter, 5), VX_PWASM_OK);
    assert_int_equal(vx_pwasm_series_get(s, counter, &value), VX_PWASM_OK);
    assert_int_equal(value, 7);
    assert_int_equal(vx_pwasm_series_record(s, gauge, 10), VX_PWASM_OK);
    assert_int_equal(vx_pwasm_series_increment(s, gauge, -40), VX_PWASM_OK);
    assert_int_equal(vx_pwasm_series_get(s, gauge, &value), VX_PWASM_OK);
    assert_true(value == UINT64_MAX - 29);
    assert_int_equal(vx_pwasm_series_increment(s, histogram, 1), VX_PWASM_BAD_ARGUMENT);
    assert_int_equal(vx_pwasm_series_get(s, histogram, &value), VX_PWASM_BAD_ARGUMENT);
    assert_int_equal(vx_pwasm_series_record(s, histogram, 1), VX_PWASM_OK);
    for (uint32_t bad = histogram + 1; bad; bad = bad == UINT32_MAX ? 0 : UINT32_MAX) {
        assert_int_equal(vx_pwasm_series_increment(s, bad, 1), VX_PWASM_NOT_FOUND);
        assert_int_equal(vx_pwasm_series_record(s, bad, 1), VX_PWASM_NOT_FOUND);
        assert_int_equal(vx_pwasm_series_get(s, bad, &value), VX_PWASM_NOT_FOUND);
    }
    assert_int_equal(vx_pwasm_series_get(s, 0, &value), VX_PWASM_NOT_FOUND);
    vx_pwasm_series_free(s);
}

static void test_page(void **state) {
    (void)state;
    static struct page p = {.sink.put = put};
    struct vx_pwasm_series *s = vx_pwasm_series_new();
    uint32_t id, same;
    assert_int_equal(vx_pwasm_series_define(s, VX_PWASM_COUNTER, VX_SLICE("my.requests-total"), &id),
                     VX_PWASM_OK);
    vx_pwasm_series_record(s, id, 3);
    assert_int_equal(vx_pwasm_series_define(s, VX_PWASM_COUNTER, VX_SLICE("my_requests_total"), &same),
                     VX_PWASM_OK);
    assert_int_equal(id, same); /* they would be one line */
    vx_pwasm_series_define(s, VX_PWASM_GAUGE, VX_SLICE("vortex_workers"), &id);
    vx_pwasm_series_define(s, VX_PWASM_GAUGE, VX_SLICE("9lives"), &id);
    vx_pwasm_series_define(s, VX_PWASM_HISTOGRAM, VX_SLICE("sizes"), &id);
    vx_pwasm_series_record(s, id, 7);
    vx_pwasm_series_record(s, id, 70);
    vx_pwasm_series_record(s, id, UINT64_C(1) << 40);
    vx_pwasm_series_render(s, &p.sink);
    expect_line(&p, "# TYPE my_requests_total counter\nmy_requests_total 3\n");
    expect_line(&p, "# TYPE plugin_vortex_workers gauge\n");
    expect_line(&p, "\nplugin_9lives 0\n");
    expect_line(&p, "sizes_bucket{le=\"5\"} 0\nsizes_bucket{le=\"10\"} 1\n");
    expect_line(&p, "sizes_bucket{le=\"100\"} 2\n");
    expect_line(&p, "sizes_bucket{le=\"+Inf\"} 3\nsizes_sum 1099511627853\nsizes_count 3\n");
    vx_pwasm_series_free(s);
}

static void test_number_is_bounded(void **state) {
    (void)state;
    struct vx_pwasm_series *s = vx_pwasm_series_new();
    char name[32];
    uint32_t id;
    for (int i = 0; i < VX_PWASM_SERIES_MAX; i++) {
        size_t n = (size_t)snprintf(name, sizeof name, "s%d", i);
        assert_int_equal(vx_pwasm_series_define(s, VX_PWASM_GAUGE, vx_slice(name, n), &id), VX_PWASM_OK);
    }
    assert_int_equal(vx_pwasm_series_define(s, VX_PWASM_GAUGE, VX_SLICE("more"), &id),
                     VX_PWASM_INTERNAL_FAILURE);
    assert_int_equal(vx_pwasm_series_define(s, VX_PWASM_GAUGE, VX_SLICE("s0"), &id), VX_PWASM_OK);
    vx_pwasm_series_free(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_statuses),
        cmocka_unit_test(test_page),
        cmocka_unit_test(test_number_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
