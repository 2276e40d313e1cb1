/* SPDX-License-Identifier: Apache-2.0 */
/* Bans as the control thread keeps them: reports from workers' gates, the lists that are told, the sweeper, reloads, what an
 * operator asks for, and a kernel that comes, fails and comes back. The kernel's list is one of the test's own. */
#include "proxy/control/bans.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/limit/client.h"
#include "proxy/engine.h"
#include "proxy/telemetry/log.h"

enum { WORKERS = 2, LISTED = 64 };

static const uint64_t second_ns = 1000000000;

/* A kernel that remembers. */
struct kernel {
    struct vx_ban_list list;
    bool works, on, freed;
    uint32_t applied;
    struct vx_ban bans[LISTED];
    uint32_t count;
};

static bool apply(struct vx_ban_list *self, const struct vx_config *config, char *why, size_t why_size) {
    struct kernel *k = (struct kernel *)self;
    k->applied++;
    why[0] = '\0';
    k->on = k->works && config;
    if (!config)
        k->count = 0;
    if (config && !k->works)
        snprintf(why, why_size, "it does not");
    return k->on || !config;
}

static void unblock(struct vx_ban_list *self, uint64_t client) {
    struct kernel *k = (struct kernel *)self;
    for (uint32_t i = 0; i < k->count; i++)
        if (k->bans[i].client == client)
            k->bans[i--] = k->bans[--k->count];
}

static bool block(struct vx_ban_list *self, const struct vx_ban *ban) {
    struct kernel *k = (struct kernel *)self;
    unblock(self, ban->client);
    if (!k->on || k->count == LISTED)
        return false;
    k->bans[k->count++] = *ban;
    return true;
}

static void each(struct vx_ban_list *self, void (*tell)(void *user, const struct vx_ban *ban), void *user) {
    struct kernel *k = (struct kernel *)self;
    struct vx_ban bans[LISTED];
    uint32_t count = k->count;
    memcpy(bans, k->bans, sizeof bans);
    for (uint32_t i = 0; i < count; i++)
        tell(user, &bans[i]);
}

static size_t drops(struct vx_ban_list *self, struct vx_ban_drops *rows) {
    if (!((struct kernel *)self)->on)
        return 0;
    rows[0] = (struct vx_ban_drops){"passed", 7};
    rows[1] = (struct vx_ban_drops){"banned", 5};
    return 2;
}

static const char *state(struct vx_ban_list *self) {
    return ((struct kernel *)self)->on ? "native" : "off";
}

static void free_kernel(struct vx_ban_list *self) {
    ((struct kernel *)self)->freed = true;
}

struct fixture {
    struct vx_engine engine;
    struct vx_metrics *metrics;
    struct kernel kernel;
    struct vx_bans *bans;
    struct vx_config config;
};

static struct fixture f;

static int setup(void **unused) {
    (void)unused;
    memset(&f, 0, sizeof f);
    vx_log_setup(VX_LOG_ERROR, VX_LOG_TEXT);
    f.kernel.works = true;
    f.kernel.list = (struct vx_ban_list){apply, block, unblock, each, drops, state, free_kernel};
    f.metrics = vx_metrics_new(WORKERS);
    if (!f.metrics || !vx_engine_init(&f.engine, 0))
        return -1;
    f.bans = vx_bans_new(f.engine.loop, f.metrics, WORKERS, &f.kernel.list);
    f.config.bans = (struct vx_config_bans){.enabled = true,
                                            .after = 3,
                                            .within_ns = 10 * second_ns,
                                            .duration_ns = 100 * second_ns,
                                            .max_duration_ns = 1000 * second_ns,
                                            .sweep_interval_ns = 10000000,
                                            .interface = VX_SLICE("eth0")};
    return f.bans ? 0 : -1;
}

static int teardown(void **unused) {
    (void)unused;
    vx_bans_free(f.bans);
    vx_engine_free(&f.engine);
    vx_metrics_free(f.metrics);
    return f.kernel.freed ? 0 : -1;
}

static struct vx_address address(const char *text) {
    struct vx_address a;
    assert_true(vx_address_parse_ip(vx_slice_of(text), &a));
    return a;
}

static void refuse(uint32_t worker, const char *who, unsigned times) {
    struct vx_address a = address(who);
    struct vx_ban_gate *gate = vx_bans_gate(f.bans, worker);
    for (unsigned i = 0; i < times; i++)
        gate->refused(gate, &a, f.engine.rt.now_ns);
    vx_loop_run_once(f.engine.loop, 0);
}

/* What every worker thinks, at that time. */
static bool banned_at(const char *who, uint64_t now_ns) {
    struct vx_address a = address(who);
    struct vx_ban_gate *gates[WORKERS] = {vx_bans_gate(f.bans, 0), vx_bans_gate(f.bans, 1)};
    bool first = gates[0]->is_banned(gates[0], &a, now_ns);
    assert_int_equal(gates[1]->is_banned(gates[1], &a, now_ns), first);
    return first;
}

static bool banned(const char *who) {
    return banned_at(who, f.engine.rt.now_ns);
}

/* Lets the loop's time pass until `done` or for long. */
static void run_until(bool (*done)(void)) {
    for (int i = 0; i < 1000 && !done(); i++)
        vx_loop_run_once(f.engine.loop, 10000000);
    assert_true(done());
}

static uint64_t value(enum vx_worker_value v) {
    vx_bans_measure(f.bans);
    return vx_metrics_total(f.metrics, v);
}

static void refusals_lead_to_a_ban(void **unused) {
    (void)unused;
    refuse(0, "192.0.2.1", 100);
    assert_false(banned("192.0.2.1")); /* they are off yet */
    vx_bans_apply(f.bans, &f.config);
    refuse(0, "192.0.2.1", 1);
    refuse(1, "192.0.2.1", 1);
    assert_false(banned("192.0.2.1"));
    refuse(0, "192.0.2.1", 1); /* of whichever worker */
    assert_true(banned("192.0.2.1"));
    assert_false(banned("192.0.2.2"));
    assert_false(banned_at("192.0.2.1", f.engine.rt.now_ns + 101 * second_ns));
    assert_int_equal(f.kernel.count, 1);
    assert_int_equal(value(VX_WORKER_BANS_ACTIVE), 1);
    assert_int_equal(value(VX_WORKER_BANS_POLICY), 1);
    assert_int_equal(value(VX_WORKER_XDP_BANNED), 5);
    assert_int_equal(value(VX_WORKER_XDP_PASSED), 7);
    assert_int_equal(value(VX_WORKER_XDP_NATIVE), 1);
    refuse(0, "127.0.0.1", 100);
    assert_false(banned("127.0.0.1"));
}

static bool none_left(void) {
    return f.kernel.count == 0 && value(VX_WORKER_BANS_ACTIVE) == 0;
}

static void sweeper_unblocks(void **unused) {
    (void)unused;
    f.config.bans.duration_ns = 20000000;
    vx_bans_apply(f.bans, &f.config);
    refuse(0, "192.0.2.1", 3);
    refuse(0, "2001:db8::1", 3);
    assert_int_equal(value(VX_WORKER_BANS_POLICY), 2);
    run_until(none_left);
    assert_false(banned("192.0.2.1"));
    assert_false(banned("2001:db8::1"));
}

static void reload(void **unused) {
    (void)unused;
    vx_bans_apply(f.bans, &f.config);
    refuse(0, "192.0.2.1", 3);
    refuse(0, "192.0.2.9", 3);
    struct vx_prefix never = {address("192.0.2.9"), 32};
    struct vx_config after = f.config;
    after.bans.after = 1;
    after.bans.never = &never;
    after.bans.never_count = 1;
    vx_bans_apply(f.bans, &after);
    assert_true(banned("192.0.2.1"));
    refuse(0, "192.0.2.3", 1);
    assert_true(banned("192.0.2.3"));
    for (int i = 0; i < 1000 && banned("192.0.2.9"); i++)
        vx_loop_run_once(f.engine.loop, 10000000);
    assert_false(banned("192.0.2.9"));
    after.bans.enabled = false;
    vx_bans_apply(f.bans, &after);
    assert_false(banned("192.0.2.1"));
    assert_true(none_left());
    assert_int_equal(value(VX_WORKER_XDP_NATIVE), 0);
    refuse(0, "192.0.2.1", 100);
    assert_false(banned("192.0.2.1"));
}

static void by_hand(void **unused) {
    (void)unused;
    char why[VX_BANS_WHY_BYTES], text[VX_ADDRESS_TEXT_MAX];
    struct vx_ban ban;
    assert_false(vx_bans_add(f.bans, VX_SLICE("192.0.2.1"), 0, why));
    assert_non_null(strstr(why, "bans are off"));
    vx_bans_apply(f.bans, &f.config);
    assert_true(vx_bans_add(f.bans, VX_SLICE("192.0.2.1"), 0, why));
    assert_true(vx_bans_add(f.bans, VX_SLICE("2001:db8::5"), 7 * second_ns, why));
    assert_true(vx_bans_add(f.bans, VX_SLICE("192.0.2.3"), UINT64_MAX, why));
    assert_true(banned("192.0.2.1") && banned("2001:db8::99") && banned("192.0.2.3"));
    uint32_t at = 0, seen = 0;
    while (vx_bans_next(f.bans, &at, &ban)) {
        size_t n = vx_client_format(ban.client, text);
        seen++;
        assert_true(ban.manual);
        if (n == strlen("2001:db8::/64"))
            assert_true(ban.until_ns <= f.engine.rt.now_ns + 7 * second_ns);
    }
    assert_int_equal(seen, 3);
    assert_true(vx_bans_remove(f.bans, VX_SLICE("2001:db8::/64"), why));
    assert_false(banned("2001:db8::99"));
    assert_false(vx_bans_remove(f.bans, VX_SLICE("192.0.2.77"), why));
    assert_non_null(strstr(why, "is not banned"));
    static const char *const wrong[][2] = {{"nonsense", "is no IP address"},
                                           {"192.0.2.0/24", "is no IP address"},
                                           {"", "is no IP address"},
                                           {"127.0.0.1", "is never banned"},
                                           {"::1", "is never banned"}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_false(vx_bans_add(f.bans, vx_slice_of(wrong[i][0]), 0, why));
        assert_non_null(strstr(why, wrong[i][1]));
    }
    assert_int_equal(value(VX_WORKER_BANS_MANUAL), 3);
}

/* The kernel knows bans from before: they are taken over, but for those that are over or exempt now. */
static void restart(void **unused) {
    (void)unused;
    struct vx_address a = address("192.0.2.1"), b = address("192.0.2.2"), c = address("127.0.0.9");
    uint64_t now_ns = f.engine.rt.now_ns;
    f.kernel.bans[0] = (struct vx_ban){vx_client_of(&a), now_ns + 50 * second_ns, 2, false};
    f.kernel.bans[1] = (struct vx_ban){vx_client_of(&b), now_ns - 1, 1, false};
    f.kernel.bans[2] = (struct vx_ban){vx_client_of(&c), now_ns + 50 * second_ns, 1, false};
    f.kernel.count = 3;
    vx_bans_apply(f.bans, &f.config);
    assert_true(banned("192.0.2.1"));
    assert_false(banned("192.0.2.2") || banned("127.0.0.9"));
    assert_int_equal(f.kernel.count, 1);
    assert_int_equal(f.kernel.bans[0].strikes, 2);
}

static void kernel_that_fails(void **unused) {
    (void)unused;
    f.kernel.works = false;
    vx_bans_apply(f.bans, &f.config);
    refuse(0, "192.0.2.1", 3);
    assert_true(banned("192.0.2.1"));
    assert_int_equal(f.kernel.count, 0);
    assert_int_equal(value(VX_WORKER_XDP_NATIVE), 0);
    f.kernel.works = true;
    vx_bans_apply(f.bans, &f.config);
    assert_int_equal(f.kernel.count, 1); /* told what it missed */
    assert_int_equal(value(VX_WORKER_XDP_NATIVE), 1);
}

/* Bans that ended while the kernel was away do not come back with it. */
static void kernel_that_was_away(void **unused) {
    (void)unused;
    char why[VX_BANS_WHY_BYTES];
    vx_bans_apply(f.bans, &f.config);
    refuse(0, "192.0.2.1", 3);
    refuse(0, "192.0.2.2", 3);
    assert_int_equal(f.kernel.count, 2);
    f.kernel.works = f.kernel.on = false; /* its map stays */
    vx_bans_apply(f.bans, &f.config);
    struct vx_ban left[2] = {f.kernel.bans[0], f.kernel.bans[1]};
    assert_true(vx_bans_remove(f.bans, VX_SLICE("192.0.2.1"), why));
    memcpy(f.kernel.bans, left, sizeof left);
    f.kernel.count = 2;
    f.kernel.works = true;
    vx_bans_apply(f.bans, &f.config);
    assert_false(banned("192.0.2.1"));
    assert_true(banned("192.0.2.2"));
    assert_int_equal(f.kernel.count, 1);
}

struct flood {
    struct vx_ban_gate *gate;
    unsigned first;
};

static void *report(void *arg) {
    const struct flood *flood = arg;
    for (unsigned i = 0; i < 20000; i++) {
        struct vx_address a = address("198.51.100.0");
        a.ip[3] = (uint8_t)(flood->first + i % 10);
        flood->gate->refused(flood->gate, &a, 0);
    }
    return NULL;
}

/* Every refusal is counted or counted as lost, and a full ring loses no wake-up. */
static void workers_report_at_once(void **unused) {
    (void)unused;
    pthread_t threads[WORKERS];
    struct flood floods[WORKERS];
    vx_bans_apply(f.bans, &f.config);
    for (uint32_t w = 0; w < WORKERS; w++) {
        floods[w] = (struct flood){vx_bans_gate(f.bans, w), w * 10};
        assert_int_equal(pthread_create(&threads[w], NULL, report, &floods[w]), 0);
    }
    for (int i = 0; i < 100; i++)
        vx_loop_run_once(f.engine.loop, 0);
    for (uint32_t w = 0; w < WORKERS; w++)
        pthread_join(threads[w], NULL);
    for (int i = 0; i < 10; i++)
        vx_loop_run_once(f.engine.loop, 0);
    assert_int_equal(value(VX_WORKER_BANS_ACTIVE), 10 * WORKERS);
}

/* Refusals that are still on their way when all ends. */
static void ends_with_reports_under_way(void **unused) {
    (void)unused;
    struct vx_address a = address("192.0.2.1");
    struct vx_ban_gate *gate = vx_bans_gate(f.bans, 1);
    vx_bans_apply(f.bans, &f.config);
    gate->refused(gate, &a, 0);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(refusals_lead_to_a_ban),
        TEST(sweeper_unblocks),
        TEST(reload),
        TEST(by_hand),
        TEST(restart),
        TEST(kernel_that_fails),
        TEST(kernel_that_was_away),
        TEST(workers_report_at_once),
        TEST(ends_with_reports_under_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
