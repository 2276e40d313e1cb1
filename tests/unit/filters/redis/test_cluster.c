/* SPDX-License-Identifier: Apache-2.0 */
/* The map of a cluster, redirections, and nodes that come and go. */
#include "unit/filters/redis/redis_test.h"

/* Slots 0 to 8191 at n1, the rest at n2; a replica beside the first. */
#define MAP                                                                                                  \
    "*2\r\n*4\r\n:0\r\n:8191\r\n*3\r\n$2\r\nn1\r\n:7000\r\n$1\r\na\r\n*3\r\n$2\r\nr1\r\n:7001\r\n$"          \
    "1\r\nb\r\n"                                                                                             \
    "*3\r\n:8192\r\n:16383\r\n*3\r\n$2\r\nn2\r\n:7000\r\n$1\r\nc\r\n"

static struct vx_link *link_to(struct world *w, const char *host) {
    for (unsigned i = w->link_count; i-- > 0;)
        if (w->links[i].open && strcmp(w->links[i].host, host) == 0)
            return &w->links[i];
    return NULL;
}

/* n1 is configured, and tells the map. */
static struct world *start(void) {
    struct world *w = world_new("redis+cluster://n1:7000", VX_STORE_FAILURE_DENY);
    struct asked a;
    assert_int_equal(world_ask(w, &a, "k"), VX_RATE_REFUSE_BLIND); /* no map yet */
    world_greet(w);
    assert_true(world_sent(link_to(w, "n1"), "CLUSTER\r\n$5\r\nSLOTS\r\n"));
    world_say(w, link_to(w, "n1"), MAP);
    assert_null(link_to(w, "r1"));
    world_say(w, link_to(w, "n2"), LOADED);
    world_sent(link_to(w, "n2"), "");
    return w;
}

/* Asks keys until one goes to this node. */
static void ask_at(struct world *w, struct asked *a, const char *host) {
    char key[16];
    for (int i = 0; i < 100; i++) {
        snprintf(key, sizeof key, "%d", i);
        assert_int_equal(world_ask(w, a, key), VX_RATE_PENDING);
        if (strstr(link_to(w, host)->sent, "EVALSHA"))
            return;
        struct vx_link *other = link_to(w, strcmp(host, "n1") == 0 ? "n2" : "n1");
        world_sent(other, "");
        world_say(w, other, ":1\r\n");
    }
    fail_msg("no key of a hundred goes to %s", host);
}

static void each_key_has_its_node(void **state) {
    (void)state;
    struct world *w = start();
    struct asked a;
    ask_at(w, &a, "n1");
    world_say(w, link_to(w, "n1"), ":7\r\n");
    assert_int_equal(a.request.debt_ns, 7);
    ask_at(w, &a, "n2");
    world_say(w, link_to(w, "n2"), ":8\r\n");
    assert_int_equal(a.request.debt_ns, 8);
    world_end(w);
}

static void a_slot_that_has_moved(void **state) {
    (void)state;
    struct world *w = start();
    struct asked a;
    char error[64];
    ask_at(w, &a, "n1");
    unsigned slot = 0;
    snprintf(error, sizeof error, "-MOVED %u n3:7002\r\n", slot);
    world_say(w, link_to(w, "n1"), error);
    assert_true(
        world_sent(link_to(w, "n3"), "EVAL\r\n")); /* waits for the greeting, with the script's text */
    world_say(w, link_to(w, "n3"), LOADED ":9\r\n");
    assert_int_equal(a.request.verdict, VX_RATE_PASS);
    world_wait(w, 150); /* and the map is asked for anew */
    bool asked = false;
    for (unsigned i = 0; i < w->link_count; i++)
        asked = asked || strstr(w->links[i].sent, "SLOTS");
    assert_true(asked);
    world_end(w);
}

static void a_slot_that_is_moving(void **state) {
    (void)state;
    struct world *w = start();
    struct asked a;
    ask_at(w, &a, "n1");
    world_say(w, link_to(w, "n1"), "-ASK 12 n2:7000\r\n");
    const char *asking = strstr(link_to(w, "n2")->sent, "ASKING\r\n");
    assert_true(asking && strstr(asking, "EVAL\r\n"));
    world_say(w, link_to(w, "n2"), "+OK\r\n:3\r\n");
    assert_int_equal(a.request.debt_ns, 3);
    /* Round and round is no answer. */
    ask_at(w, &a, "n1");
    for (int i = 0; i < 10 && !a.told; i++) {
        world_say(w, link_to(w, "n1"), "-ASK 12 n2:7000\r\n");
        if (!a.told)
            world_say(w, link_to(w, "n2"), "+OK\r\n-ASK 12 n1:7000\r\n");
        if (!a.told)
            world_say(w, link_to(w, "n1"), "+OK\r\n");
    }
    assert_int_equal(a.request.verdict, VX_RATE_REFUSE_BLIND);
    world_end(w);
}

static void nonsense_is_an_error(void **state) {
    (void)state;
    static const char *const nonsense[] = {
        "-MOVED\r\n",        "-MOVED 1\r\n",          "-MOVED 1 n2\r\n",    "-MOVED x n2:7000\r\n",
        "-MOVED 1 n2:x\r\n", "-MOVED 16384 n2:1\r\n", "-MOVED 1 n2:0\r\n",  "-MOVED 1 n2:99999\r\n",
        "-MOVED 1 :\r\n",    "-MOVED 1 a b:1\r\n",    "-CLUSTERDOWN x\r\n", "-ASK 1 -:1\r\n"};
    for (unsigned i = 0; i < sizeof nonsense / sizeof *nonsense; i++) {
        struct world *w = start();
        struct asked a;
        ask_at(w, &a, "n1");
        world_say(w, link_to(w, "n1"), nonsense[i]);
        assert_int_equal(a.request.verdict, VX_RATE_REFUSE_BLIND);
        assert_int_equal(world_count(w, VX_REDIS_COUNT_ERROR), 1);
        world_end(w);
    }
}

static void a_node_that_is_lost_has_the_map_asked_for(void **state) {
    (void)state;
    struct world *w = start();
    struct asked a;
    ask_at(w, &a, "n2");
    world_say(w, link_to(w, "n2"), ":1\r\n");
    world_break(w, link_to(w, "n2"));
    world_break(w, link_to(w, "n2"));
    world_wait(w, 150);
    assert_true(world_sent(link_to(w, "n1"), "SLOTS"));
    /* Its replica has taken over. */
    world_say(w, link_to(w, "n1"),
              "*2\r\n*3\r\n:0\r\n:8191\r\n*3\r\n$2\r\nn1\r\n:7000\r\n$1\r\na\r\n"
              "*3\r\n:8192\r\n:16383\r\n*3\r\n$2\r\nr2\r\n:7001\r\n$1\r\nc\r\n");
    world_say(w, link_to(w, "r2"), LOADED);
    assert_null(link_to(w, "n2"));
    world_wait(w, 5 * SECOND_MS);
    assert_null(link_to(w, "n2"));
    world_end(w);
}

static void a_useless_map_is_asked_for_again(void **state) {
    (void)state;
    static const char *const useless[] = {"-ERR cluster support disabled\r\n", "*0\r\n", "*1\r\n:5\r\n",
                                          "*1\r\n*3\r\n:0\r\n:99999\r\n*2\r\n$2\r\nn1\r\n:7000\r\n",
                                          "*1\r\n*3\r\n:0\r\n:5\r\n*1\r\n$2\r\nn1\r\n"};
    for (unsigned i = 0; i < sizeof useless / sizeof *useless; i++) {
        struct world *w = world_new("redis+cluster://n1:7000", VX_STORE_FAILURE_DENY);
        world_greet(w);
        world_sent(world_link(w), "");
        world_say(w, world_link(w), useless[i]);
        world_wait(w, 1200);
        struct vx_link *n1 = link_to(w, "n1");
        if (n1 && !strstr(n1->sent, "SLOTS"))
            world_say(w, n1, LOADED); /* it was let go of, and has been greeted again */
        assert_true(n1 && world_sent(n1, "SLOTS"));
        world_say(w, n1, MAP);
        assert_non_null(link_to(w, "n2"));
        world_end(w);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_key_has_its_node),
        cmocka_unit_test(a_slot_that_has_moved),
        cmocka_unit_test(a_slot_that_is_moving),
        cmocka_unit_test(nonsense_is_an_error),
        cmocka_unit_test(a_node_that_is_lost_has_the_map_asked_for),
        cmocka_unit_test(a_useless_map_is_asked_for_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
