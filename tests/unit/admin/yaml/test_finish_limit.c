/* SPDX-License-Identifier: Apache-2.0 */
/* Rate limits in the file: which one a route gets, and what is refused. */
#include "yaml_test.h"

#define TWO_ROUTES                                                                                           \
    LISTENER "routes:\n- {name: a, match: {path: /a}, backends: [{address: '127.0.0.1:9001'}] %s}\n"         \
             "- {name: b, match: {path: /b}, backends: [{address: '127.0.0.1:9001'}]}\n"

static void a_route_takes_the_default_or_its_own(void **state) {
    (void)state;
    struct vx_config *c = must_read(
        fill("rate_limit: {requests: 1000, per: 1m, burst: 200, key: [client_ip, route]}\n" TWO_ROUTES, "%s",
             ", rate_limit: {requests: 5, key: 'header:X-Key', cost: 'header:X-Cost'}"));
    const struct vx_config_rate_limit *own = &c->routes[0].rate_limit, *shared = &c->routes[1].rate_limit;
    assert_true(own->enabled && shared->enabled);
    assert_int_equal(own->requests, 5);
    assert_int_equal(own->burst, 5);
    assert_int_equal(own->per_ns, 1000000000);
    assert_int_equal(own->key_count, 1);
    assert_slice(own->parts[0].header, "x-key");
    assert_slice(own->cost_header, "x-cost");
    assert_slice(own->scope, "a");
    assert_int_equal(shared->requests, 1000);
    assert_int_equal(shared->per_ns, 60000000000);
    assert_int_equal(shared->burst, 200);
    assert_int_equal(shared->key_count, 2);
    assert_int_equal(shared->parts[1].kind, VX_LIMIT_BY_ROUTE);
    assert_int_equal(shared->scope.len + shared->cost_header.len, 0);
    assert_int_equal(c->rate_store.memory_bytes, 32 << 20);
    assert_true(c->rate_store.present);
    vx_config_free(c);
}

static void limits_can_be_off(void **state) {
    (void)state;
    struct vx_config *c =
        must_read(fill("rate_limit: {requests: 1000, memory: 1MiB}\n" TWO_ROUTES, "%s", ", rate_limit: off"));
    assert_false(c->routes[0].rate_limit.enabled);
    assert_true(c->routes[1].rate_limit.enabled);
    assert_int_equal(c->rate_store.memory_bytes, 1 << 20);
    vx_config_free(c);
    c = must_read(fill("rate_limit: off\n" TWO_ROUTES, "%s", ", rate_limit: {requests: 2}"));
    assert_true(c->routes[0].rate_limit.enabled);
    assert_false(c->routes[1].rate_limit.enabled || c->rate_store.present);
    vx_config_free(c);
    c = must_read(fill("rate_limit: {store: memory}\n" TWO_ROUTES, "%s", ""));
    assert_false(c->routes[0].rate_limit.enabled || c->routes[1].rate_limit.enabled);
    vx_config_free(c);
}

static void sentinels_have_credentials_of_their_own(void **state) {
    (void)state;
    struct vx_config *c =
        must_read(fill(IN_FILE, "%s",
                       "rate_limit: {store: 'redis+sentinel://u:p@a/m', sentinel_username: 'v w', "
                       "sentinel_password: '%41@:/', requests: 1}"));
    assert_slice(c->rate_store.user, "u");
    assert_slice(c->rate_store.password, "p");
    assert_slice(c->rate_store.sentinel_user, "v w");
    assert_slice(c->rate_store.sentinel_password, "%41@:/"); /* as it stands: it is in no URL */
    vx_config_free(c);
}

static void what_is_refused(void **state) {
    (void)state;
    static const char *const bad[][2] = {
        {"rate_limit: {per: @@1s}", "`per` of a rate_limit does nothing without `requests`"},
        {"rate_limit: {burst: @@1}", "`burst` of a rate_limit does nothing without `requests`"},
        {"rate_limit: {key: @@route}", "`key` of a rate_limit does nothing without `requests`"},
        {"rate_limit: {cost: @@'header:a'}", "`cost` of a rate_limit does nothing without `requests`"},
        {"rate_limit: {requests: @@0}", "from 1 to 1000000000"},
        {"rate_limit: {requests: 1, per: @@0}", "from 1ms to 30d"},
        {"rate_limit: {requests: 1, per: @@1}", "which lacks its unit"},
        {"rate_limit: {requests: 1, key: @@ip}", "must be `client_ip`, `route` or a header"},
        {"rate_limit: {requests: 1, key: [route, @@'header:']}", "must be `client_ip`, `route` or a header"},
        {"rate_limit: {requests: 1, key: @@{a: b}}", "`key` must be a list"},
        {"rate_limit: {requests: 1, cost: @@tokens}", "must be a header as"},
        {"rate_limit: {requests: 1, memory: @@1KiB}", "from 64KiB to 64GiB"},
        {"rate_limit: {store: @@disk}", "must be"},
        {"rate_limit: {store: 'redis://a', sentinel_password: @@x}",
         "`sentinel_password` needs a `store` that begins"},
        {"rate_limit: {sentinel_username: @@x, sentinel_password: y}", "`sentinel_username` needs a `store`"},
        {"rate_limit: {store: 'redis+sentinel://a/m', sentinel_username: @@x}",
         "needs a `sentinel_password`"},
        {"rate_limit: {store: 'redis+sentinel://a/m', sentinel_password: @@''}", "must not be empty"},
        {"rate_limit: @@{requests: 1, per: 30d, burst: 100}", "takes more than 104 days to earn"},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        must_refuse(fill(IN_FILE, "%s", bad[i][0]), bad[i][1]);
    must_refuse(fill(IN_ROUTE, "%s", "rate_limit: @@{burst: 1}"),
                "`requests` is missing in a route's rate_limit");
    must_refuse(fill(IN_ROUTE, "%s", "rate_limit: {requests: 1, @@store: memory}"), "unknown key `store`");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_route_takes_the_default_or_its_own),
        cmocka_unit_test(limits_can_be_off),
        cmocka_unit_test(sentinels_have_credentials_of_their_own),
        cmocka_unit_test(what_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
