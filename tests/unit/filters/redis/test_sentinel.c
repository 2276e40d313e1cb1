/* SPDX-License-Identifier: Apache-2.0 */
/* The master by the Sentinels' word, when one of them is silent, wrong or late. */
#include "unit/filters/redis/redis_test.h"

#define MASTER            "*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n"
#define NAMES(host, port) "*2\r\n$" host "\r\n$4\r\n" port "\r\n"

static struct world *start(void) {
    struct world *w = world_new("redis+sentinel://s1,s2:5000/mymaster", VX_STORE_FAILURE_DENY);
    assert_string_equal(world_link(w)->host, "s1");
    assert_int_equal(world_link(w)->to.port, 26379);
    assert_true(
        world_sent(world_link(w), "SENTINEL\r\n$23\r\nget-master-addr-by-name\r\n$8\r\nmymaster\r\n"));
    return w;
}

static void the_first_one_knows(void **state) {
    (void)state;
    struct world *w = start();
    struct asked a;
    assert_int_equal(world_ask(w, &a, "k"), VX_RATE_REFUSE_BLIND); /* nobody is known yet */
    world_say(w, world_link(w), NAMES("9\r\n127.0.0.1", "6390"));
    assert_int_equal(world_open_links(w), 1); /* the Sentinel is let go */
    assert_int_equal(world_link(w)->to.port, 6390);
    assert_true(world_sent(world_link(w), "ROLE"));
    world_say(w, world_link(w), MASTER LOADED);
    assert_true(vx_redis_store_is_up(w->store));
    assert_int_equal(world_ask(w, &a, "k"), VX_RATE_PENDING);
    world_say(w, world_link(w), ":1\r\n");
    assert_int_equal(a.request.verdict, VX_RATE_PASS);
    world_end(w);
}

static void one_after_the_other_until_one_knows(void **state) {
    (void)state;
    static const char *const useless[] = {"*-1\r\n",
                                          "-ERR unknown\r\n",
                                          "*1\r\n$1\r\na\r\n",
                                          "*2\r\n$1\r\na\r\n:5\r\n",
                                          "*2\r\n$1\r\n:\r\n$1\r\n5\r\n",
                                          "*2\r\n$1\r\na\r\n$6\r\n123456\r\n"};
    for (unsigned i = 0; i < sizeof useless / sizeof *useless; i++) {
        struct world *w = start();
        world_say(w, world_link(w), useless[i]);
        world_wait(w, 25);
        assert_string_equal(world_link(w)->host, "s2");
        assert_int_equal(world_link(w)->to.port, 5000);
        world_break(w, world_link(w));
        world_wait(w, 45);
        assert_string_equal(world_link(w)->host, "s1");
        world_wait(w, 101); /* silent */
        world_wait(w, 100);
        assert_string_equal(world_link(w)->host, "s2");
        world_say(w, world_link(w), NAMES("2\r\nm1", "6390"));
        assert_string_equal(world_link(w)->host, "m1");
        world_end(w);
    }
}

/* User and password of the URL are the master's; the Sentinels have their own. */
static void credentials_of_both(void **state) {
    (void)state;
    static const struct {
        const char *user, *auth;
    } rows[] = {{"asker", "*3\r\n$4\r\nAUTH\r\n$5\r\nasker\r\n$4\r\npa s\r\n"},
                {"", "*2\r\n$4\r\nAUTH\r\n$4\r\npa s\r\n"}};
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct world *w = world_with(&(struct vx_config_rate_store){
            .url = VX_SLICE("redis+sentinel://:secret@s1/mymaster/3"),
            .on_failure = VX_STORE_FAILURE_DENY,
            .sentinel_user = vx_slice_of(rows[i].user),
            .sentinel_password = VX_SLICE("pa s"),
        });
        assert_string_equal(world_link(w)->sent, rows[i].auth);
        world_sent(world_link(w), "");
        world_say(w, world_link(w), "+OK\r\n");
        assert_true(world_sent(world_link(w), "mymaster"));
        world_say(w, world_link(w), NAMES("2\r\nm1", "6390"));
        assert_string_equal(world_link(w)->host, "m1");
        assert_non_null(strstr(world_link(w)->sent, "AUTH\r\n$6\r\nsecret\r\n"));
        assert_null(strstr(world_link(w)->sent, "pa s"));
        world_say(w, world_link(w), "+OK\r\n+OK\r\n" MASTER LOADED);
        assert_true(vx_redis_store_is_up(w->store));
        assert_null(w->trouble);
        world_end(w);
    }
}

static void a_sentinel_that_refuses_is_told_of(void **state) {
    (void)state;
    struct world *w = start();
    world_say(w, world_link(w), "-NOAUTH Authentication required.\r\n");
    assert_string_equal(w->trouble, "a Sentinel wants a password: rate_limit.sentinel_password");
    world_end(w);
    w = start();
    world_say(w, world_link(w), "*-1\r\n");
    assert_string_equal(w->trouble, "a Sentinel does not know the master's name");
    world_end(w);
    w = world_with(&(struct vx_config_rate_store){.url = VX_SLICE("redis+sentinel://s1/mymaster"),
                                                  .sentinel_password = VX_SLICE("wrong")});
    world_say(w, world_link(w), "-WRONGPASS no\r\n");
    assert_string_equal(w->trouble, "a Sentinel refuses rate_limit.sentinel_username and sentinel_password");
    world_wait(w, 25);
    assert_int_equal(world_open_links(w), 1); /* it is asked again */
    world_end(w);
}

static void a_replica_is_no_master(void **state) {
    (void)state;
    struct world *w = start();
    world_say(w, world_link(w), NAMES("2\r\nm1", "6390"));
    world_say(w, world_link(w), "*5\r\n$5\r\nslave\r\n$1\r\nx\r\n:1\r\n$1\r\nx\r\n:2\r\n");
    assert_string_equal(w->trouble, "it is not the master");
    world_wait(w, 45);
    assert_string_equal(world_link(w)->host, "s2");
    world_end(w);
}

static void a_master_that_is_lost_is_asked_for_again(void **state) {
    (void)state;
    struct world *w = start();
    struct asked a;
    world_say(w, world_link(w), NAMES("2\r\nm1", "6390"));
    world_say(w, world_link(w), MASTER LOADED);
    world_ask(w, &a, "k");
    world_say(w, world_link(w), "-READONLY You can't write against a read only replica.\r\n");
    assert_int_equal(a.request.verdict, VX_RATE_REFUSE_BLIND);
    world_wait(w, 25);
    assert_string_equal(world_link(w)->host, "s2");
    world_say(w, world_link(w), NAMES("2\r\nm2", "6391"));
    world_wait(w, 25);
    assert_string_equal(world_link(w)->host, "m2");
    world_say(w, world_link(w), MASTER LOADED);
    assert_int_equal(world_ask(w, &a, "k"), VX_RATE_PENDING);
    world_say(w, world_link(w), ":1\r\n");
    world_break(w, world_link(w));
    assert_string_equal(world_link(w)->host, "s1"); /* at once: the master had worked */
    world_end(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_one_knows),    cmocka_unit_test(one_after_the_other_until_one_knows),
        cmocka_unit_test(credentials_of_both),    cmocka_unit_test(a_sentinel_that_refuses_is_told_of),
        cmocka_unit_test(a_replica_is_no_master), cmocka_unit_test(a_master_that_is_lost_is_asked_for_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
