/* SPDX-License-Identifier: Apache-2.0 */
/* The limit's step: what passes, what is refused and how, and a store that answers late. */
#include "core/config/rate_limit.h"
#include "core/exchange/internal.h"
#include "core/limit/limit.h"
#include "unit/core/exchange/fixture.h"

/* A store that does as it is told. */
struct told {
    struct vx_rate_store store;
    enum vx_rate_verdict verdict;
    uint64_t debt_ns;
    struct vx_rate_request *pending;
    unsigned prepared, asked, cancelled;
    uint32_t cost;
    char key[256];
    size_t key_len;
};

static struct told told;

static enum vx_rate_verdict take(struct vx_rate_store *self, struct vx_rate_request *r, uint64_t now_ns) {
    (void)self, (void)now_ns;
    told.asked++;
    assert_int_equal(told.prepared, told.asked);
    told.cost = r->cost;
    assert_true(r->key.len <= sizeof told.key);
    memcpy(told.key, r->key.ptr, r->key.len);
    told.key_len = r->key.len;
    r->debt_ns = told.debt_ns;
    if (told.verdict == VX_RATE_PENDING)
        told.pending = r;
    return told.verdict;
}

static void prepare(struct vx_rate_store *self, struct vx_rate_request *r) {
    (void)self;
    assert_int_equal(r->verdict, VX_RATE_PENDING);
    told.prepared++;
}

static void cancel(struct vx_rate_store *self, struct vx_rate_request *r) {
    (void)self;
    assert_ptr_equal(r, told.pending);
    told.pending = NULL;
    told.cancelled++;
}

static void decide(struct fixture *x, enum vx_rate_verdict verdict, uint64_t debt_ns) {
    struct vx_rate_request *r = told.pending;
    told.pending = NULL;
    r->verdict = verdict;
    r->debt_ns = debt_ns;
    r->decided(r, x->now_ns);
}

static struct vx_slice client_key = {"client_ip", 9};

/* Ten requests a second, five at once, by client, for both routes. */
static struct fixture *limited(void) {
    struct fixture *x = fixture_new();
    fixture_start(x);
    for (unsigned i = 0; i < 2; i++) {
        struct vx_config_rate_limit *limit = &x->routes[i].rate_limit;
        *limit = (struct vx_config_rate_limit){.enabled = true,
                                               .requests = 10,
                                               .per_ns = 1000000000,
                                               .burst = 5,
                                               .key_texts = &client_key,
                                               .key_count = 1,
                                               .cost_text = VX_SLICE("header:x-cost")};
        assert_true(vx_config_complete_limit(limit, VX_SLICE_NONE, &x->arena));
        x->made[i].limit = vx_limit_build(limit, &x->arena);
    }
    told =
        (struct told){.store = {.prepare = prepare, .take = take, .cancel = cancel}, .verdict = VX_RATE_PASS};
    x->proxy.rate_store = &told.store;
    return x;
}

static bool answered(const struct fixture *x, const char *field) {
    return strstr(x->f.fields, field) != NULL;
}

static void test_what_passes_goes_on_and_is_told(void **state) {
    (void)state;
    struct fixture *x = limited();
    told.debt_ns = 100000000;
    fixture_request(x, VX_METHOD_GET, "/api/x");
    fake_downstream_add_field(&x->f, "X-Cost", "3");
    fixture_begin(x);
    assert_int_equal(told.cost, 3);
    fake_upstream_answer(fixture_up(x), 200, "hello", x->now_ns);
    assert_int_equal(x->record.status, 200);
    assert_true(answered(x, "ratelimit-policy: \"default\";q=10;w=1\n"));
    assert_true(answered(x, "ratelimit: \"default\";r=4;t=1\n"));
    assert_false(answered(x, "retry-after"));
    fixture_free(x);
}

static void test_what_is_too_much_is_refused(void **state) {
    (void)state;
    struct fixture *x = limited();
    told.verdict = VX_RATE_REFUSE;
    told.debt_ns = 1500000001; /* 500 ms are the burst's worth, so with one more request 1.1 s remain */
    fixture_request(x, VX_METHOD_GET, "/api/x");
    fixture_begin(x);
    fake_downstream_check_done(&x->f);
    assert_int_equal(x->client.count, 0);
    assert_int_equal(x->f.response.status, 429);
    assert_true(vx_slice_eq(fake_downstream_body(&x->f),
                            VX_SLICE("{\"error\":\"Rate limit exceeded\",\"retry_after_ms\":1101}")));
    assert_true(answered(x, "content-type: application/json\n"));
    assert_true(answered(x, "retry-after: 2\n"));
    assert_true(answered(x, "ratelimit: \"default\";r=0;t=2\n"));
    assert_int_equal(x->record.error, VX_ERR_RATE_LIMITED);
    assert_null(x->record.error_detail);
    fixture_free(x);
}

static void test_our_own_answers_tell_the_limit_too(void **state) {
    (void)state;
    struct fixture *x = limited();
    fixture_request(x, VX_METHOD_GET, "/old");
    fixture_begin(x);
    assert_int_equal(x->f.response.status, 308);
    assert_true(answered(x, "location: https://new.example/\n"));
    assert_true(answered(x, "ratelimit: \"default\";r=5;t=0\n"));
    fixture_free(x);
}

static void test_who_goes_nowhere_is_not_counted(void **state) {
    (void)state;
    struct fixture *x = limited();
    fixture_request(x, VX_METHOD_GET, "/nowhere");
    fixture_begin(x);
    assert_int_equal(x->f.response.status, 404);
    assert_int_equal(told.asked, 0);
    assert_false(answered(x, "ratelimit"));
    fixture_free(x);
}

static void test_a_store_may_answer_late(void **state) {
    (void)state;
    struct fixture *x = limited();
    told.verdict = VX_RATE_PENDING;
    fixture_request(x, VX_METHOD_POST, "/api/x");
    fake_downstream_add_body(&x->f, VX_SLICE("body"));
    fixture_begin(x);
    assert_int_equal(x->client.count, 0);
    x->f.down.stream.events->on_readable(x->f.down.stream.user, x->now_ns);
    x->f.down.stream.events->on_writable(x->f.down.stream.user, x->now_ns);
    assert_int_equal(x->client.count, 0);
    decide(x, VX_RATE_PASS, 0);
    assert_int_equal(x->client.count, 1);
    assert_true(fixture_up(x)->finished);
    fake_upstream_answer(fixture_up(x), 200, "late", x->now_ns);
    assert_int_equal(x->record.status, 200);
    fixture_free(x);
}

static void test_a_late_refusal(void **state) {
    (void)state;
    struct fixture *x = limited();
    told.verdict = VX_RATE_PENDING;
    fixture_request(x, VX_METHOD_GET, "/api/x");
    fixture_begin(x);
    decide(x, VX_RATE_REFUSE, 500000000);
    assert_int_equal(x->f.response.status, 429);
    assert_true(answered(x, "retry-after: 1\n"));
    fixture_free(x);
}

static void test_a_client_that_goes_first_is_not_told(void **state) {
    (void)state;
    struct fixture *x = limited();
    told.verdict = VX_RATE_PENDING;
    fixture_request(x, VX_METHOD_GET, "/api/x");
    fixture_begin(x);
    x->f.down.stream.error = vx_error(VX_ERR_CLIENT_GONE, false, NULL);
    x->f.down.stream.events->on_failed(x->f.down.stream.user, x->now_ns);
    assert_int_equal(told.cancelled, 1);
    assert_int_equal(x->record.error, VX_ERR_CLIENT_GONE);
    fixture_free(x);
}

/* As a gRPC call's deadline does. */
static void test_an_answer_of_ours_comes_before_the_stores(void **state) {
    (void)state;
    struct fixture *x = limited();
    told.verdict = VX_RATE_PENDING;
    fixture_request(x, VX_METHOD_GET, "/api/x");
    fixture_begin(x);
    vx_exchange_fail(x->f.down.stream.user, vx_error(VX_ERR_RESPONSE_TIMEOUT, false, NULL), x->now_ns);
    assert_int_equal(told.cancelled, 1);
    assert_int_equal(x->f.response.status, 504);
    assert_false(answered(x, "ratelimit"));
    fixture_free(x);
}

static void test_a_store_that_is_away(void **state) {
    (void)state;
    struct fixture *x = limited();
    told.verdict = VX_RATE_REFUSE_BLIND;
    fixture_request(x, VX_METHOD_GET, "/api/x");
    fixture_begin(x);
    assert_int_equal(x->f.response.status, 429);
    assert_true(vx_slice_eq(fake_downstream_body(&x->f),
                            VX_SLICE("{\"error\":\"Rate limit exceeded\",\"retry_after_ms\":1000}")));
    assert_true(answered(x, "retry-after: 1\n"));
    assert_false(answered(x, "ratelimit"));
    assert_string_equal(x->record.error_detail, "the store is away");
    fixture_free(x);

    x = limited();
    told.verdict = VX_RATE_PASS_BLIND;
    fixture_request(x, VX_METHOD_GET, "/api/x");
    fixture_begin(x);
    fake_upstream_answer(fixture_up(x), 200, "hello", x->now_ns);
    assert_int_equal(x->f.response.status, 200);
    assert_false(answered(x, "ratelimit"));
    fixture_free(x);
}

/* The key that a request with this X-Forwarded-For is counted by. */
static struct told counted_by(const char *forwarded_for, bool trusted) {
    struct fixture *x = limited();
    if (trusted) {
        vx_prefix_parse(VX_SLICE("192.0.2.0/24"), &x->trusted);
        x->config.trusted_proxies = &x->trusted;
        x->config.trusted_proxy_count = 1;
    }
    told.verdict = VX_RATE_REFUSE;
    fixture_request(x, VX_METHOD_GET, "/api/x");
    if (forwarded_for)
        fake_downstream_add_field(&x->f, "X-Forwarded-For", forwarded_for);
    fixture_begin(x);
    fixture_free(x);
    return told;
}

static bool same_key(struct told a, struct told b) {
    return a.key_len == b.key_len && memcmp(a.key, b.key, a.key_len) == 0;
}

static void test_only_trusted_proxies_say_who_the_client_is(void **state) {
    (void)state;
    struct told peer = counted_by(NULL, false);
    assert_true(same_key(peer, counted_by("203.0.113.9", false)));
    assert_false(same_key(peer, counted_by("203.0.113.9", true)));
    assert_true(same_key(counted_by("203.0.113.9", true), counted_by("10.1.1.1, 203.0.113.9", true)));
    assert_true(same_key(peer, counted_by("nonsense", true)));
}

static void test_no_memory(void **state) {
    (void)state;
    struct fixture *x = limited();
    fixture_request(x, VX_METHOD_GET, "/old");
    x->f.out_of_memory = true;
    fixture_begin(x);
    x->records = x->records ? x->records : 1; /* there may not even be memory for the exchange */
    assert_int_equal(told.asked, 0);
    fixture_free(x);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_passes_goes_on_and_is_told),
        cmocka_unit_test(test_what_is_too_much_is_refused),
        cmocka_unit_test(test_our_own_answers_tell_the_limit_too),
        cmocka_unit_test(test_who_goes_nowhere_is_not_counted),
        cmocka_unit_test(test_a_store_may_answer_late),
        cmocka_unit_test(test_a_late_refusal),
        cmocka_unit_test(test_a_client_that_goes_first_is_not_told),
        cmocka_unit_test(test_an_answer_of_ours_comes_before_the_stores),
        cmocka_unit_test(test_a_store_that_is_away),
        cmocka_unit_test(test_only_trusted_proxies_say_who_the_client_is),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
