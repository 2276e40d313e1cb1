/* SPDX-License-Identifier: Apache-2.0 */
/* The map of a cluster, redirections, and nodes that come and go. */
#include "filters/redis/internal.h"
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

/* Who has been asked for the map, within the time that it may take. */
static struct vx_link *asked_for_map(struct world *w) {
    for (int ms = 0; ms < 150; ms++) {
        for (unsigned i = 0; i < w->link_count; i++)
            if (w->links[i].open && strstr(w->links[i].sent, "SLOTS"))
                return &w->links[i];
        world_wait(w, 1);
    }
    fail_msg("nobody was asked for the map");
    return NULL;
}

/* A map in which one node has all slots. */
static void tell_map_of_one(struct world *w, const char *host) {
    char map[128];
    snprintf(map, sizeof map, "*1\r\n*3\r\n:0\r\n:16383\r\n*3\r\n$%zu\r\n%s\r\n:7000\r\n$1\r\na\r\n",
             strlen(host), host);
    struct vx_link *link = asked_for_map(w);
    world_sent(link, "");
    world_say(w, link, map);
}

/* Asks a key whose slot is at least `slot`, or else below it. */
static void ask_by_slot(struct world *w, struct asked *a, bool at_least, unsigned slot) {
    struct vx_redis_key digest;
    char key[16];
    int i = 0;
    do {
        snprintf(key, sizeof key, "%d", i++);
        vx_redis_key_make(&digest, vx_slice_of(key));
    } while ((vx_redis_slot(&digest) >= slot) != at_least);
    assert_int_equal(world_ask(w, a, key), VX_RATE_PENDING);
}

static void nodes_whose_addresses_are_left_are_freed(void **state) {
    (void)state;
    struct world *w = start();
    char before[16] = "n1", host[16], error[64];
    for (int i = 0; i < 40; i++) {
        struct asked a;
        ask_by_slot(w, &a, false, 8192);
        snprintf(host, sizeof host, "m%d", i);
        snprintf(error, sizeof error, "-MOVED 0 %s:7000\r\n", host);
        world_say(w, link_to(w, before), error);
        world_say(w, link_to(w, host), LOADED ":1\r\n");
        assert_int_equal(a.request.verdict, VX_RATE_PASS);
        tell_map_of_one(w, host);
        world_wait(w, 5);
        assert_int_equal(w->store->node_count, 1);
        assert_int_equal(world_open_links(w), 1);
        snprintf(before, sizeof before, "%s", host);
    }
    world_end(w);
}

/* n1 and n2 are replaced by m, as n2 tells, while n1 still has to answer two questions. */
static struct world *start_leaving(struct asked *first, struct asked *second) {
    struct world *w = start();
    struct asked moved;
    ask_by_slot(w, &moved, true, 8192);
    world_say(w, link_to(w, "n2"), "-MOVED 9000 m:7000\r\n");
    world_say(w, link_to(w, "m"), LOADED ":1\r\n");
    world_wait(w, 90);
    ask_by_slot(w, first, false, 8192);
    ask_by_slot(w, second, false, 8192);
    tell_map_of_one(w, "m");
    world_wait(w, 5);
    assert_null(link_to(w, "n2"));
    assert_int_equal(w->store->node_count, 2);
    return w;
}

static void a_node_that_is_left_answers_what_it_was_asked(void **state) {
    (void)state;
    struct asked first, second;
    struct world *w = start_leaving(&first, &second);
    vx_redis_store_port(w->store)->cancel(vx_redis_store_port(w->store), &second.request);
    world_say(w, link_to(w, "n1"), ":7\r\n");
    assert_int_equal(first.request.debt_ns, 7);
    world_say(w, link_to(w, "n1"), ":8\r\n");
    assert_false(second.told);
    world_wait(w, 105);
    assert_int_equal(w->store->node_count, 1);
    assert_null(link_to(w, "n1"));
    assert_int_equal(world_count(w, VX_REDIS_COUNT_LOST), 0);
    world_end(w);
}

static void a_node_that_is_left_and_silent_is_freed_too(void **state) {
    (void)state;
    struct asked first, second;
    struct world *w = start_leaving(&first, &second);
    world_wait(w, 100);
    tell_map_of_one(w, "m"); /* as a node was lost */
    world_wait(w, 5 * SECOND_MS);
    assert_int_equal(first.request.verdict, VX_RATE_REFUSE_BLIND);
    assert_int_equal(second.request.verdict, VX_RATE_REFUSE_BLIND);
    assert_int_equal(w->store->node_count, 1);
    assert_null(link_to(w, "n1"));
    world_end(w);
}

/* A map of `count` nodes from m00 on, or of every other one of them, which then has twice the slots. */
static void tell_map_of_many(struct world *w, unsigned count, bool every_other) {
    char map[4096];
    unsigned step = every_other ? 2 : 1, slots = VX_REDIS_SLOTS / count * step;
    int len = snprintf(map, sizeof map, "*%u\r\n", count / step);
    for (unsigned i = 0; i < count / step; i++)
        len += snprintf(map + len, sizeof map - (size_t)len,
                        "*3\r\n:%u\r\n:%u\r\n*2\r\n$3\r\nm%02u\r\n:7000\r\n", i * slots, (i + 1) * slots - 1,
                        i * step + step - 1);
    struct vx_link *link = asked_for_map(w);
    world_sent(link, "");
    world_say(w, link, map);
    for (unsigned i = 0; i < w->link_count; i++)
        if (w->links[i].open && world_sent(&w->links[i], "LOAD"))
            world_say(w, &w->links[i], LOADED);
    world_wait(w, 5);
}

static void keys_find_their_nodes_after_others_have_gone(void **state) {
    (void)state;
    struct world *w = world_new("redis+cluster://n0:7000", VX_STORE_FAILURE_DENY);
    struct asked a;
    char host[16];
    world_greet(w);
    tell_map_of_many(w, 16, false);
    assert_int_equal(w->store->node_count, 16);
    world_break(w, link_to(w, "m01"));
    tell_map_of_many(w, 16, true);
    assert_int_equal(w->store->node_count, 8);
    for (unsigned slot = 0; slot < VX_REDIS_SLOTS; slot += 2048) {
        struct vx_redis_key digest;
        ask_by_slot(w, &a, true, slot);
        vx_redis_key_make(&digest, a.request.key);
        snprintf(host, sizeof host, "m%02u", vx_redis_slot(&digest) / 2048 * 2 + 1);
        assert_true(world_sent(link_to(w, host), "EVALSHA"));
        world_say(w, link_to(w, host), ":1\r\n");
    }
    world_end(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_key_has_its_node),
        cmocka_unit_test(a_slot_that_has_moved),
        cmocka_unit_test(a_slot_that_is_moving),
        cmocka_unit_test(nonsense_is_an_error),
        cmocka_unit_test(a_node_that_is_lost_has_the_map_asked_for),
        cmocka_unit_test(a_useless_map_is_asked_for_again),
        cmocka_unit_test(nodes_whose_addresses_are_left_are_freed),
        cmocka_unit_test(a_node_that_is_left_answers_what_it_was_asked),
        cmocka_unit_test(a_node_that_is_left_and_silent_is_freed_too),
        cmocka_unit_test(keys_find_their_nodes_after_others_have_gone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
