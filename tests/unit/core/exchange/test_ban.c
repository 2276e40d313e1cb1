/* SPDX-License-Identifier: Apache-2.0 */
/* Bans in an exchange: who is turned away and how, and which refusals are reported. */
#include "core/config/rate_limit.h"
#include "core/limit/limit.h"
#include "unit/core/exchange/fixture.h"

/* A gate that bans one address. */
struct told_gate {
    struct vx_ban_gate gate;
    struct vx_address banned, refused;
    unsigned reports;
};

static struct told_gate gate;

static bool is_banned(struct vx_ban_gate *self, const struct vx_address *client, uint64_t now_ns) {
    (void)self, (void)now_ns;
    return gate.banned.kind == client->kind && memcmp(gate.banned.ip, client->ip, sizeof client->ip) == 0;
}

static void refused(struct vx_ban_gate *self, const struct vx_address *client, uint64_t now_ns) {
    (void)self, (void)now_ns;
    gate.reports++;
    gate.refused = *client;
}

static struct vx_address address(const char *text) {
    struct vx_address a;
    assert_true(vx_address_parse_ip(vx_slice_of(text), &a));
    return a;
}

static struct fixture *guarded(const char *banned) {
    struct fixture *x = fixture_new();
    gate = (struct told_gate){.gate = {is_banned, refused}, .banned = address(banned)};
    x->trusted = (struct vx_prefix){address("192.0.2.0"), 24};
    x->config.trusted_proxies = &x->trusted;
    fixture_start(x);
    x->proxy.bans = &gate.gate;
    fixture_request(x, VX_METHOD_GET, "/api");
    return x;
}

/* The connection was open before the ban: it is cut, like a new one would be. */
static void banned_peer(void **state) {
    (void)state;
    struct fixture *x = guarded("192.0.2.1");
    fixture_begin(x);
    assert_false(x->f.responded);
    assert_int_equal(x->record.status, 0);
    assert_int_equal(x->record.error, VX_ERR_BANNED);
    fixture_free(x);
}

/* The connection is the trusted proxy's, and others' too. */
static void banned_behind_a_proxy(void **state) {
    (void)state;
    struct fixture *x = guarded("203.0.113.5");
    x->config.trusted_proxy_count = 1;
    fake_downstream_add_field(&x->f, "X-Forwarded-For", "203.0.113.5");
    fixture_begin(x);
    assert_int_equal(x->f.response.status, 403);
    assert_int_equal(x->record.status, 403);
    assert_int_equal(x->record.error, VX_ERR_BANNED);
    fixture_free(x);
}

/* What somebody says who is not trusted bans nobody. */
static void others_are_served(void **state) {
    (void)state;
    struct fixture *x = guarded("203.0.113.5");
    fake_downstream_add_field(&x->f, "X-Forwarded-For", "203.0.113.5");
    fixture_begin(x);
    assert_non_null(fixture_up(x));
    x->f.down.stream.events->on_failed(x->f.down.stream.user, x->now_ns);
    fixture_free(x);
}

static enum vx_rate_verdict verdict;

static enum vx_rate_verdict take(struct vx_rate_store *self, struct vx_rate_request *r, uint64_t now_ns) {
    (void)self, (void)now_ns;
    r->debt_ns = UINT64_C(1000000000);
    return verdict;
}

static void prepare(struct vx_rate_store *self, struct vx_rate_request *request) {
    (void)self, (void)request;
}

static void reported(const char *key, enum vx_rate_verdict answer, unsigned reports) {
    static struct vx_rate_store store = {.prepare = prepare, .take = take};
    struct vx_slice text = vx_slice_of(key);
    struct fixture *x = guarded("203.0.113.5");
    struct vx_config_rate_limit *limit = &x->routes[0].rate_limit;
    *limit = (struct vx_config_rate_limit){.enabled = true,
                                           .requests = 10,
                                           .per_ns = 1000000000,
                                           .burst = 5,
                                           .key_texts = &text,
                                           .key_count = 1};
    assert_true(vx_config_complete_limit(limit, VX_SLICE_NONE, &x->arena));
    x->made[0].limit = vx_limit_build(limit, &x->arena);
    x->proxy.rate_store = &store;
    verdict = answer;
    fixture_begin(x);
    assert_int_equal(x->f.response.status, 429);
    assert_int_equal(gate.reports, reports);
    assert_true(!reports || memcmp(gate.refused.ip, x->f.client.remote.ip, 16) == 0);
    fixture_free(x);
}

static void refusals(void **state) {
    (void)state;
    reported("client_ip", VX_RATE_REFUSE, 1);
    reported("client_ip", VX_RATE_REFUSE_BLIND, 0); /* the store is away: nobody's fault */
    reported("header:x-key", VX_RATE_REFUSE, 0);
    reported("route", VX_RATE_REFUSE, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(banned_peer),
        cmocka_unit_test(banned_behind_a_proxy),
        cmocka_unit_test(others_are_served),
        cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
