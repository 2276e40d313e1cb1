/* SPDX-License-Identifier: Apache-2.0 */
/* What changes in the heads that pass: hop-by-hop fields, identity, Host, path, Upgrade. */
#include "unit/core/exchange/fixture.h"

/* Sends the prepared request, answers it, and gives the fields that the backend got. */
static const char *forwarded(struct fixture *x) {
    fixture_begin(x);
    if (!fixture_up(x)->released)
        fake_upstream_answer(fixture_up(x), 200, "", x->now_ns);
    return fixture_up(x)->fields;
}

static unsigned count(const char *text, const char *what) {
    unsigned n = 0;
    for (const char *at = text; (at = strcasestr(at, what)); at++)
        n++;
    return n;
}

static void test_hop_by_hop_fields_stay_on_their_hop(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    fixture_start(x);
    fixture_request(x, VX_METHOD_GET, "/api");
    fake_downstream_add_field(&x->f, "Connection", "close, X-Mine, X-Forwarded-For, Host");
    fake_downstream_add_field(&x->f, "X-Mine", "1");
    fake_downstream_add_field(&x->f, "Keep-Alive", "timeout=5");
    fake_downstream_add_field(&x->f, "Proxy-Connection", "close");
    fake_downstream_add_field(&x->f, "Upgrade", "websocket"); /* without Connection: upgrade */
    const char *got = forwarded(x);
    assert_int_equal(count(got, "x-mine"), 0);
    assert_int_equal(count(got, "connection"), 0);
    assert_int_equal(count(got, "keep-alive"), 0);
    assert_int_equal(count(got, "upgrade"), 0);
    /* Naming them in Connection takes nothing away that we or the backend decide by. */
    assert_int_equal(count(got, "x-forwarded-for: 192.0.2.1\n"), 1);
    assert_int_equal(count(got, "host: example.org\n"), 2); /* Host and X-Forwarded-Host */
    assert_int_equal(count(got, "via: 1.1 vortex\n"), 1);
    fixture_free(x);
}

static void test_an_expectation_of_http_1_0_is_not_passed_on(void **state) {
    (void)state;
    for (int old = 0; old < 2; old++) {
        struct fixture *x = fixture_new();
        fixture_start(x);
        fixture_request(x, VX_METHOD_GET, "/api");
        x->f.request.version = old ? VX_HTTP_10 : VX_HTTP_11;
        fake_downstream_add_field(&x->f, "Expect", "100-continue");
        assert_int_equal(count(forwarded(x), "expect"), old ? 0 : 1);
        fixture_free(x);
    }
}

static void test_claims_of_a_stranger_are_replaced(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    fixture_start(x);
    fixture_request(x, VX_METHOD_GET, "/api");
    fake_downstream_add_field(&x->f, "X-Forwarded-For", "1.1.1.1");
    fake_downstream_add_field(&x->f, "X-Forwarded-Proto", "https");
    fake_downstream_add_field(&x->f, "X-Forwarded-Host", "evil");
    fake_downstream_add_field(&x->f, "Forwarded", "for=1.1.1.1");
    fake_downstream_add_field(&x->f, "X-Real-IP", "1.1.1.1");
    const char *got = forwarded(x);
    assert_int_equal(count(got, "1.1.1.1"), 0);
    assert_int_equal(count(got, "evil"), 0);
    assert_int_equal(count(got, "x-forwarded-proto: http\n"), 1);
    assert_string_equal(x->client_ip, "192.0.2.1");
    fixture_free(x);
}

static void test_a_trusted_proxy_is_believed_up_to_the_first_stranger(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    x->trusted = (struct vx_prefix){.address = {.kind = VX_ADDRESS_IP4, .ip = {192, 0, 2, 0}}, .bits = 24};
    x->config.trusted_proxies = &x->trusted;
    x->config.trusted_proxy_count = 1;
    fixture_start(x);
    fixture_request(x, VX_METHOD_GET, "/api");
    fake_downstream_add_field(&x->f, "X-Forwarded-For", "9.9.9.9, 8.8.8.8");
    fake_downstream_add_field(&x->f, "X-Forwarded-For", "192.0.2.7");
    fake_downstream_add_field(&x->f, "X-Forwarded-Proto", "https");
    const char *got = forwarded(x);
    assert_int_equal(count(got, "x-forwarded-for: 9.9.9.9, 8.8.8.8, 192.0.2.7, 192.0.2.1\n"), 1);
    assert_int_equal(count(got, "x-forwarded-for"), 1);
    assert_int_equal(count(got, "x-forwarded-proto: https\n"), 1);
    assert_string_equal(x->client_ip, "8.8.8.8");
    fixture_free(x);
}

static void check_path(const char *prefix, const char *path, const char *expected) {
    struct fixture *x = fixture_new();
    x->routes[0].rewrite_path_prefix = vx_slice_of(prefix);
    fixture_start(x);
    fixture_request(x, VX_METHOD_GET, path);
    forwarded(x);
    assert_string_equal(fixture_up(x)->path, expected);
    fixture_free(x);
}

static void test_paths_are_rewritten(void **state) {
    (void)state;
    check_path("/v2", "/api/x", "/v2/x");
    check_path("/v2/", "/api/x", "/v2/x");
    check_path("/", "/api", "/");
    check_path("/", "/api/x", "/x");
    check_path("", "/api/x", "/x");
    check_path("", "/api", "/");
    check_path("/v2", "/api", "/v2");
}

static void test_host_is_rewritten_once(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    x->routes[0].rewrite_host = VX_SLICE("inner");
    fixture_start(x);
    fixture_request(x, VX_METHOD_GET, "/api");
    const char *got = forwarded(x);
    assert_int_equal(count(got, "host: inner\n"), 1);
    assert_int_equal(count(got, "x-forwarded-host: example.org\n"), 1);
    assert_int_equal(count(got, "host: example.org\n"), 1);
    fixture_free(x);
}

static void test_http10_without_host_gets_one(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    fixture_start(x);
    fixture_request(x, VX_METHOD_GET, "/api");
    x->f.request.headers.count = 0;
    x->f.request.headers.present = 0;
    x->f.request.version = VX_HTTP_10;
    x->f.request.authority = x->f.request.host = VX_SLICE_NONE;
    const char *got = forwarded(x);
    assert_int_equal(count(got, "host: b0:80\n"), 1);
    assert_int_equal(count(got, "via: 1.0 vortex\n"), 1);
    fixture_free(x);
}

static void check_upgrade(const char *value, bool passes) {
    struct fixture *x = fixture_new();
    fixture_start(x);
    fixture_request(x, VX_METHOD_GET, "/api");
    fake_downstream_add_field(&x->f, "Connection", "Upgrade, HTTP2-Settings");
    fake_downstream_add_field(&x->f, "HTTP2-Settings", "AAMAAABkAAQAAP__");
    fake_downstream_add_field(&x->f, "Upgrade", value);
    x->f.request.upgrade = true;
    const char *got = forwarded(x);
    assert_int_equal(count(got, "upgrade:"), passes);
    assert_int_equal(count(got, "http2-settings"), 0);
    fixture_free(x);
}

/* h2c would carry requests past us, in whatever company it comes (it was taken out only where it came alone). */
static void test_h2c_is_never_asked_for(void **state) {
    (void)state;
    check_upgrade("websocket", true);
    check_upgrade("h2c", false);
    check_upgrade("H2C", false);
    check_upgrade("websocket, h2c", false);
    check_upgrade("h2c,websocket", false);
    check_upgrade("h2c/1", false);
    check_upgrade("h2cx", true);
}

static void test_a_response_loses_its_hop_by_hop_fields(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    fixture_start(x);
    fixture_request(x, VX_METHOD_GET, "/api");
    fixture_begin(x);
    struct fake_upstream *u = fixture_up(x);
    fake_upstream_add_field(u, "Connection", "X-Mine");
    fake_upstream_add_field(u, "X-Mine", "1");
    fake_upstream_add_field(u, "Upgrade", "h2c");
    fake_upstream_add_field(u, "Keep-Alive", "timeout=5");
    fake_upstream_add_field(u, "X-Theirs", "2");
    fake_upstream_answer(u, 200, "", x->now_ns);
    assert_int_equal(count(x->f.fields, "x-mine"), 0);
    assert_int_equal(count(x->f.fields, "upgrade"), 0);
    assert_int_equal(count(x->f.fields, "keep-alive"), 0);
    assert_int_equal(count(x->f.fields, "x-theirs: 2\n"), 1);
    assert_int_equal(count(x->f.fields, "via: 1.1 vortex\n"), 1);
    fixture_free(x);
}

static void test_via_tells_the_version_of_the_hop(void **state) {
    (void)state;
    struct fixture *x = fixture_new();
    fixture_start(x);
    fixture_request(x, VX_METHOD_GET, "/api");
    x->f.request.version = VX_HTTP_2;
    fixture_begin(x);
    assert_int_equal(count(fixture_up(x)->fields, "via: 2.0 vortex\n"), 1);
    fake_upstream_answer(fixture_up(x), 200, "", x->now_ns);
    assert_int_equal(count(x->f.fields, "via: 1.1 vortex\n"), 1);
    fixture_free(x);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hop_by_hop_fields_stay_on_their_hop),
        cmocka_unit_test(test_an_expectation_of_http_1_0_is_not_passed_on),
        cmocka_unit_test(test_claims_of_a_stranger_are_replaced),
        cmocka_unit_test(test_a_trusted_proxy_is_believed_up_to_the_first_stranger),
        cmocka_unit_test(test_paths_are_rewritten),
        cmocka_unit_test(test_host_is_rewritten_once),
        cmocka_unit_test(test_http10_without_host_gets_one),
        cmocka_unit_test(test_h2c_is_never_asked_for),
        cmocka_unit_test(test_a_response_loses_its_hop_by_hop_fields),
        cmocka_unit_test(test_via_tells_the_version_of_the_hop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
