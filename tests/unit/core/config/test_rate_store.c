/* SPDX-License-Identifier: Apache-2.0 */
/* URLs of the store: what they say, and what is wrong with others. */
#include "core/config/rate_store.h"

#include "config_test.h"

static char memory[16384];
static struct vx_arena arena;

static struct vx_config_rate_store read(const char *url) {
    struct vx_config_rate_store store = {.url = vx_slice_of(url)};
    const char *must;
    vx_arena_init(&arena, memory, sizeof memory, NULL);
    if (!vx_config_check_store(store.url, &must))
        fail_msg("%s: must be %s", url, must);
    assert_true(vx_config_complete_store(&store, &arena));
    return store;
}

static void assert_text(struct vx_slice s, const char *text) {
    if (!vx_slice_eq(s, vx_slice_of(text)))
        fail_msg("`%.*s` is not `%s`", VX_SLICE_ARG(s), text);
}

static void single_servers(void **state) {
    (void)state;
    assert_int_equal(read("memory").kind, VX_RATE_STORE_MEMORY);
    struct vx_config_rate_store s = read("redis://127.0.0.1");
    assert_int_equal(s.kind, VX_RATE_STORE_REDIS);
    assert_int_equal(s.hosts[0].port, 6379);
    assert_int_equal(s.host_count, 1);
    assert_false(s.tls || s.password.len || s.database);
    s = read("rediss://us%3Aer:p%40%2F%25@cache.internal:7000/15");
    assert_true(s.tls);
    assert_text(s.user, "us:er");
    assert_text(s.password, "p@/%");
    assert_text(s.hosts[0].text, "cache.internal");
    assert_int_equal(s.hosts[0].port, 7000);
    assert_int_equal(s.database, 15);
    s = read("redis://:secret@[2001:db8::1]/");
    assert_int_equal(s.hosts[0].kind, VX_ADDRESS_IP6);
    assert_int_equal(s.hosts[0].port, 6379);
    assert_text(s.password, "secret");
    assert_int_equal(s.user.len, 0);
}

static void several_servers(void **state) {
    (void)state;
    struct vx_config_rate_store s = read("redis+sentinel://:pw@a,b:5000,10.0.0.3/my%20master/2");
    assert_int_equal(s.kind, VX_RATE_STORE_SENTINEL);
    assert_int_equal(s.host_count, 3);
    assert_text(s.hosts[0].text, "a");
    assert_int_equal(s.hosts[0].port, 26379);
    assert_int_equal(s.hosts[1].port, 5000);
    assert_int_equal(s.hosts[2].kind, VX_ADDRESS_IP4);
    assert_text(s.master, "my%20master"); /* names of masters are letters, digits and `.-_` */
    assert_int_equal(s.database, 2);
    s = read("rediss+cluster://n1:7000,n2");
    assert_int_equal(s.kind, VX_RATE_STORE_CLUSTER);
    assert_true(s.tls);
    assert_int_equal(s.hosts[1].port, 6379);
    assert_int_equal(read("redis+cluster://n1/").host_count, 1);
}

static void what_is_refused(void **state) {
    (void)state;
    static const char *const bad[][2] = {
        {"", "`memory` or a URL"},
        {"disk", "`memory` or a URL"},
        {"http://a", "`memory` or a URL"},
        {"redis:/a", "`memory` or a URL"},
        {"redis://", "a URL with one host"},
        {"redis://a,b", "a URL with one host"},
        {"redis://a b", "a URL with one host"},
        {"redis://a:0", "a URL with one host"},
        {"redis://a:99999", "a URL with one host"},
        {"redis://unix:", "a URL with one host"},
        {"redis://a/x", "number of a database"},
        {"redis://a/65536", "number of a database"},
        {"redis://a/1/2", "number of a database"},
        {"redis://user@a", "a password behind the user"},
        {"redis://user:@a", "a password behind the user"},
        {"redis://:p%4@a", "a password behind the user"},
        {"redis://:p%zz@a", "a password behind the user"},
        {"redis+sentinel://a", "names the master"},
        {"redis+sentinel://a/", "names the master"},
        {"redis+sentinel://a/m/x", "number of a database"},
        {"redis+sentinel://a,,b/m", "up to 64 hosts"},
        {"redis+cluster://a,", "up to 64 hosts"},
        {"redis+cluster://a/1", "without a database"},
    };
    const char *must;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_false(vx_config_check_store(vx_slice_of(bad[i][0]), &must));
        if (!strstr(must, bad[i][1]))
            fail_msg("%s: `%s` does not say `%s`", bad[i][0], must, bad[i][1]);
    }
}

static void no_memory(void **state) {
    (void)state;
    struct vx_config_rate_store store = {.url = VX_SLICE("redis://:p@a")};
    vx_arena_init(&arena, memory, 0, NULL);
    assert_false(vx_config_complete_store(&store, &arena));
    vx_arena_init(&arena, memory, 8, NULL);
    assert_false(vx_config_complete_store(&store, &arena));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(single_servers),
        cmocka_unit_test(several_servers),
        cmocka_unit_test(what_is_refused),
        cmocka_unit_test(no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
