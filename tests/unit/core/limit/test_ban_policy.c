/* SPDX-License-Identifier: Apache-2.0 */
/* The ban policy: when a ban begins, how long it is, what is forgotten, who is exempt; and its promises held against a plain
 * model with every refusal's time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdlib.h>

#include "core/base/random.h"
#include "core/limit/ban_policy.h"

enum { CLIENTS = 64 };

static const uint64_t second_ns = UINT64_C(1000000000);
/* Times begin somewhere: a monotonic clock that begins at 0 has no past. */
static const uint64_t start_ns = UINT64_C(100000000000000);

static struct vx_ban_settings usual(void) {
    return (struct vx_ban_settings){.after = 5,
                                    .within_ns = 10 * second_ns,
                                    .duration_ns = 60 * second_ns,
                                    .max_duration_ns = 600 * second_ns};
}

static void setup(struct vx_ban_policy *p, const struct vx_ban_settings *settings) {
    void *memory = calloc(1, vx_ban_policy_bytes(CLIENTS));
    assert_non_null(memory);
    vx_ban_policy_init(p, memory, CLIENTS, (struct vx_hash_key){1, 2});
    vx_ban_policy_configure(p, settings);
}

static uint64_t client(const char *text) {
    struct vx_address a;
    assert_true(vx_address_parse_ip(vx_slice_of(text), &a));
    return vx_client_of(&a);
}

/* Refuses until a ban begins, `after` times at most; its length, 0: none. */
static uint64_t provoke(struct vx_ban_policy *p, uint64_t who, uint64_t now_ns) {
    struct vx_ban ban = {0};
    for (uint32_t i = 0; i < p->settings.after; i++)
        if (vx_ban_policy_refused(p, who, now_ns, &ban))
            return ban.until_ns - now_ns;
    return 0;
}

static void sweep(struct vx_ban_policy *p, uint64_t now_ns, uint32_t expected) {
    struct vx_ban ban;
    uint32_t at = 0, n = 0;
    while (vx_ban_policy_sweep(p, &at, now_ns, &ban))
        n++;
    assert_int_equal(n, expected);
}

static void after_n_within(void **state) {
    (void)state;
    struct vx_ban_settings settings = usual();
    struct vx_ban_policy p;
    struct vx_ban ban;
    setup(&p, &settings);
    for (uint64_t i = 0; i < 4; i++)
        assert_false(vx_ban_policy_refused(&p, 7, start_ns + i * second_ns, &ban));
    assert_true(vx_ban_policy_refused(&p, 7, start_ns + 4 * second_ns, &ban));
    assert_true(ban.client == 7 && ban.until_ns == start_ns + 64 * second_ns && ban.strikes == 1 &&
                !ban.manual);
    assert_int_equal(p.bans, 1);
    /* What was under way when it began counts no more. */
    assert_false(vx_ban_policy_refused(&p, 7, start_ns + 5 * second_ns, &ban));
    /* Too slow for a ban. */
    for (uint64_t i = 0; i < 100; i++)
        assert_false(vx_ban_policy_refused(&p, 8, start_ns + i * 3 * second_ns, &ban));
    free(p.records);
}

static void doubles_up_to_a_cap(void **state) {
    (void)state;
    struct vx_ban_settings settings = usual();
    struct vx_ban_policy p;
    setup(&p, &settings);
    uint64_t now_ns = start_ns;
    static const uint64_t seconds[] = {60, 120, 240, 480, 600, 600};
    for (size_t i = 0; i < sizeof seconds / sizeof *seconds; i++) {
        assert_int_equal(provoke(&p, 7, now_ns), seconds[i] * second_ns);
        sweep(&p, now_ns + seconds[i] * second_ns - 1, 0);
        now_ns += seconds[i] * second_ns;
        sweep(&p, now_ns, 1);
    }
    /* Good for so long that all is forgotten. */
    assert_int_equal(provoke(&p, 7, now_ns + 600 * second_ns), 600 * second_ns);
    now_ns += 1200 * second_ns;
    sweep(&p, now_ns, 1);
    assert_int_equal(provoke(&p, 7, now_ns + 600 * second_ns + 1), 60 * second_ns);
    free(p.records);
}

static void duration_never_overflows(void **state) {
    (void)state;
    struct vx_ban_settings settings = {1, 1, second_ns, 365 * 86400 * second_ns, NULL};
    struct vx_ban_policy p;
    setup(&p, &settings);
    uint64_t now_ns = start_ns, before = 0;
    for (int i = 0; i < 300; i++) {
        uint64_t length = provoke(&p, 7, now_ns);
        assert_true(length >= before && length <= settings.max_duration_ns);
        before = length;
        now_ns += length;
        sweep(&p, now_ns, 1);
    }
    assert_true(before == settings.max_duration_ns);
    free(p.records);
}

static void exempt(void **state) {
    (void)state;
    struct vx_prefix never, spare, trusted;
    assert_true(vx_prefix_parse(VX_SLICE("10.0.0.0/8"), &never));
    assert_true(vx_prefix_parse(VX_SLICE("2001:db8::/32"), &spare));
    assert_true(vx_prefix_parse(VX_SLICE("192.0.2.9"), &trusted));
    struct vx_config config = {
        .trusted_proxies = &trusted,
        .trusted_proxy_count = 1,
        .bans = {.never = &never, .never_count = 1, .xdp = {.spare = &spare, .spare_count = 1}}};
    struct vx_ban_settings settings = usual();
    struct vx_ban_policy p;
    setup(&p, &settings);
    assert_true(provoke(&p, client("10.1.2.3"), start_ns) > 0);
    settings.exempt = &config;
    vx_ban_policy_configure(&p, &settings);
    static const char *const spared[] = {"10.9.9.9", "127.0.0.1",     "127.255.0.1",
                                         "::1",      "2001:db8:9::1", "192.0.2.9"};
    for (size_t i = 0; i < sizeof spared / sizeof *spared; i++) {
        struct vx_ban wish = {.client = client(spared[i]), .until_ns = UINT64_MAX};
        assert_int_equal(provoke(&p, client(spared[i]), start_ns), 0);
        assert_false(vx_ban_policy_add(&p, &wish, start_ns));
    }
    assert_true(provoke(&p, client("192.0.2.10"), start_ns) > 0);
    /* Banned before it was exempt: the next sweep ends that. */
    sweep(&p, start_ns + 1, 1);
    assert_int_equal(p.bans, 1);
    free(p.records);
}

static void by_hand(void **state) {
    (void)state;
    struct vx_ban_settings settings = usual();
    struct vx_ban_policy p;
    struct vx_ban ban,
        wish = {.client = 7, .until_ns = start_ns + 5 * second_ns, .strikes = 1, .manual = true};
    setup(&p, &settings);
    assert_true(vx_ban_policy_add(&p, &wish, start_ns));
    assert_true(vx_ban_policy_find(&p, 7, &ban) && ban.manual && ban.until_ns == wish.until_ns);
    assert_false(vx_ban_policy_find(&p, 8, &ban));
    wish.until_ns += second_ns;
    assert_true(vx_ban_policy_add(&p, &wish, start_ns));
    assert_int_equal(p.bans, 1);
    uint32_t at = 0;
    assert_true(vx_ban_policy_next(&p, &at, &ban) && ban.client == 7 && ban.until_ns == wish.until_ns);
    assert_false(vx_ban_policy_next(&p, &at, &ban));
    assert_true(vx_ban_policy_remove(&p, 7, start_ns + 1));
    assert_false(vx_ban_policy_remove(&p, 7, start_ns + 1));
    assert_false(vx_ban_policy_remove(&p, 99, start_ns));
    assert_int_equal(p.bans, 0);
    /* Begins anew. */
    assert_int_equal(provoke(&p, 7, start_ns + 2), 60 * second_ns);
    free(p.records);
}

/* Bans from before a restart bring their repetitions along. */
static void restored(void **state) {
    (void)state;
    struct vx_ban_settings settings = usual();
    struct vx_ban_policy p;
    struct vx_ban old = {.client = 7, .until_ns = start_ns + second_ns, .strikes = 3};
    setup(&p, &settings);
    assert_true(vx_ban_policy_add(&p, &old, start_ns));
    sweep(&p, start_ns + second_ns, 1);
    assert_int_equal(provoke(&p, 7, start_ns + 2 * second_ns), 480 * second_ns);
    free(p.records);
}

/* Never more than there is memory for; a ban is not lost to newcomers. */
static void full(void **state) {
    (void)state;
    struct vx_ban_settings settings = usual();
    struct vx_ban_policy p;
    struct vx_ban ban;
    setup(&p, &settings);
    uint32_t begun = 0;
    for (uint64_t who = 1; who <= 20u * CLIENTS; who++)
        begun += provoke(&p, who, start_ns) > 0;
    assert_int_equal(begun, CLIENTS);
    assert_int_equal(p.bans, CLIENTS);
    assert_true(p.overlooked > 0);
    for (uint64_t who = 1; who <= 20u * CLIENTS; who++)
        begun -= vx_ban_policy_find(&p, who, &ban);
    assert_int_equal(begun, 0);
    sweep(&p, start_ns + 60 * second_ns, CLIENTS);
    /* Those that were banned once make room for others. */
    assert_true(provoke(&p, 100000, start_ns + 61 * second_ns) > 0);
    free(p.records);
}

static void other_window(void **state) {
    (void)state;
    struct vx_ban_settings settings = usual();
    struct vx_ban_policy p;
    struct vx_ban ban;
    setup(&p, &settings);
    for (int i = 0; i < 4; i++)
        assert_false(vx_ban_policy_refused(&p, 7, start_ns, &ban));
    settings.after = 4;
    vx_ban_policy_configure(&p, &settings);
    assert_true(vx_ban_policy_refused(&p, 7, start_ns, &ban));
    settings.within_ns /= 2;
    for (int i = 0; i < 3; i++)
        assert_false(vx_ban_policy_refused(&p, 8, start_ns, &ban));
    vx_ban_policy_configure(&p, &settings);
    assert_false(vx_ban_policy_refused(&p, 8, start_ns, &ban));
    free(p.records);
}

/* The promise: a ban means `after` refusals within `within`, and as many within 7/8 of it always lead to one. */
enum { HISTORY = 64 };

struct model {
    uint64_t times[HISTORY]; /* of refusals since the last ban, newest last */
    uint32_t count;
};

static void note(struct model *m, uint64_t now_ns) {
    if (m->count == HISTORY)
        memmove(m->times, m->times + 1, --m->count * sizeof *m->times);
    m->times[m->count++] = now_ns;
}

static uint32_t within(const struct model *m, uint64_t now_ns, uint64_t ns) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < m->count; i++)
        n += now_ns - m->times[i] < ns;
    return n;
}

static void keeps_its_promise(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 50; seed++) {
        struct vx_random random = {seed};
        struct vx_ban_settings s = {.after = 1 + vx_random_below(&random, 20),
                                    .within_ns = 1000 + vx_random_below(&random, 100000),
                                    .duration_ns = 1 + vx_random_below(&random, 50000)};
        s.max_duration_ns = s.duration_ns * (1 + vx_random_below(&random, 10));
        struct vx_ban_policy p;
        struct model models[4] = {0};
        setup(&p, &s);
        uint64_t now_ns = start_ns;
        for (int step = 0; step < 5000; step++) {
            struct vx_ban ban, old;
            now_ns += vx_random_below(&random, (uint32_t)(s.within_ns / s.after) * 2 + 2);
            uint32_t at = 0;
            while (vx_ban_policy_sweep(&p, &at, now_ns, &old))
                assert_true(old.until_ns <= now_ns);
            uint32_t who = vx_random_below(&random, 4);
            bool banned = vx_ban_policy_find(&p, who + 1, &old);
            assert_true(!banned || old.until_ns > now_ns);
            if (!banned)
                note(&models[who], now_ns);
            bool begins = vx_ban_policy_refused(&p, who + 1, now_ns, &ban);
            assert_false(begins && banned);
            if (begins && within(&models[who], now_ns, s.within_ns) < s.after)
                fail_msg("seed %llu: banned too soon", (unsigned long long)seed);
            if (!begins && !banned && within(&models[who], now_ns, s.within_ns / VX_BAN_SLOTS * 7) >= s.after)
                fail_msg("seed %llu: not banned", (unsigned long long)seed);
            if (begins) {
                uint64_t length = ban.until_ns - now_ns;
                assert_true(length >= s.duration_ns && length <= s.max_duration_ns);
                models[who].count = 0;
            }
        }
        free(p.records);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(after_n_within),
        cmocka_unit_test(doubles_up_to_a_cap),
        cmocka_unit_test(duration_never_overflows),
        cmocka_unit_test(exempt),
        cmocka_unit_test(by_hand),
        cmocka_unit_test(restored),
        cmocka_unit_test(full),
        cmocka_unit_test(other_window),
        cmocka_unit_test(keeps_its_promise),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
