/* SPDX-License-Identifier: Apache-2.0 */
/* Questions and answers, and what becomes of questions that are not answered. */
#include "unit/filters/redis/redis_test.h"

static const char url[] = "redis://10.0.0.1:6379";

static void it_greets_and_asks(void **state) {
    (void)state;
    struct world *w = world_new("redis://us%65r:pass@10.0.0.1:7000/3", VX_STORE_FAILURE_DENY);
    struct asked a;
    assert_int_equal(world_link(w)->to.port, 7000);
    /* What is asked during the first greeting waits behind it. */
    assert_int_equal(world_ask(w, &a, "k"), VX_RATE_PENDING);
    const char *sent = world_link(w)->sent;
    const char *auth = strstr(sent, "AUTH\r\n$4\r\nuser\r\n$4\r\npass\r\n");
    const char *select = strstr(sent, "SELECT\r\n$1\r\n3\r\n"),
               *load = strstr(sent, "SCRIPT\r\n$4\r\nLOAD\r\n");
    const char *question = strstr(sent, "EVALSHA\r\n$40\r\n");
    assert_true(auth && auth < select && select < load && load < question);
    assert_non_null(
        strstr(question,
               "$39\r\nvortex:8254c329a92850f6d539dd376f4816ee\r\n$9\r\n100000000\r\n$9\r\n500000000\r\n"));
    world_say(w, world_link(w), "+OK\r\n+OK\r\n" LOADED);
    assert_true(vx_redis_store_is_up(w->store));
    w->now_ns += 5000000;
    world_say(w, world_link(w), ":100000000\r\n");
    assert_true(a.told);
    assert_int_equal(a.request.verdict, VX_RATE_PASS);
    assert_int_equal(a.request.debt_ns, 100000000);
    assert_int_equal(world_count(w, VX_REDIS_COUNT_ASKED), 1);
    assert_null(w->trouble);
    world_end(w);
}

static void a_refusal_is_remembered(void **state) {
    (void)state;
    struct world *w = world_new(url, VX_STORE_FAILURE_DENY);
    struct asked a, b;
    world_greet(w);
    assert_int_equal(world_ask(w, &a, "k"), VX_RATE_PENDING);
    world_say(w, world_link(w), ":-450000001\r\n"); /* a debt of 450 ms: 50 ms too much for one more */
    assert_int_equal(a.request.verdict, VX_RATE_REFUSE);
    assert_int_equal(a.request.debt_ns, 450000000);
    w->now_ns += 49999999;
    assert_int_equal(world_ask(w, &b, "k"), VX_RATE_REFUSE);
    assert_int_equal(b.request.debt_ns, 400000001);
    assert_int_equal(world_count(w, VX_REDIS_COUNT_LOCAL_REFUSAL), 1);
    w->now_ns += 1;
    assert_int_equal(world_ask(w, &b, "k"), VX_RATE_PENDING); /* its time has come: Redis is asked again */
    assert_int_equal(world_ask(w, &a, "other"), VX_RATE_PENDING);
    world_say(w, world_link(w), ":1\r\n:2\r\n");
    assert_int_equal(w->told, 3);
    world_end(w);
}

static void answers_come_in_order_and_in_pieces(void **state) {
    (void)state;
    struct world *w = world_new(url, VX_STORE_FAILURE_DENY);
    struct asked a[100];
    char key[16], text[16];
    world_greet(w);
    for (int i = 0; i < 100; i++) {
        snprintf(key, sizeof key, "k%d", i);
        assert_int_equal(world_ask(w, &a[i], key), VX_RATE_PENDING);
    }
    for (int i = 0; i < 100; i++) {
        int len = snprintf(text, sizeof text, ":%d\r\n", i);
        for (int at = 0; at < len; at++)
            world_link(w)->events->on_bytes(world_link(w)->user, vx_slice(text + at, 1), w->now_ns);
        assert_int_equal(a[i].request.debt_ns, i);
    }
    world_end(w);
}

static void a_forgotten_script_is_sent_whole(void **state) {
    (void)state;
    struct world *w = world_new(url, VX_STORE_FAILURE_DENY);
    struct asked a;
    world_greet(w);
    world_ask(w, &a, "k");
    world_sent(world_link(w), "");
    world_say(w, world_link(w), "-NOSCRIPT No matching script.\r\n");
    assert_false(a.told);
    assert_true(world_sent(world_link(w), "EVAL\r\n"));
    world_say(w, world_link(w), ":5\r\n");
    assert_int_equal(a.request.verdict, VX_RATE_PASS);
    /* A server that forgets each time is not asked for ever. */
    world_ask(w, &a, "k");
    for (int i = 0; i < 10 && !a.told; i++)
        world_say(w, world_link(w), "-NOSCRIPT No matching script.\r\n");
    assert_int_equal(a.request.verdict, VX_RATE_REFUSE_BLIND);
    world_end(w);
}

static void every_policy(void **state) {
    (void)state;
    static const struct {
        enum vx_store_failure policy;
        enum vx_rate_verdict verdict;
    } known[] = {{VX_STORE_FAILURE_LOCAL, VX_RATE_PASS},
                 {VX_STORE_FAILURE_ALLOW, VX_RATE_PASS_BLIND},
                 {VX_STORE_FAILURE_DENY, VX_RATE_REFUSE_BLIND}};
    static const char *const useless[] = {"-OOM command not allowed\r\n", "$2\r\nno\r\n", "*0\r\n",
                                          "$-1\r\n"};
    for (unsigned i = 0; i < 3; i++) {
        struct world *w = world_new(url, known[i].policy);
        struct asked a, b;
        world_greet(w);
        for (unsigned k = 0; k < 4; k++) {
            world_ask(w, &a, "k");
            world_say(w, world_link(w), useless[k]);
            assert_int_equal(a.request.verdict, known[i].verdict);
        }
        assert_int_equal(world_count(w, VX_REDIS_COUNT_ERROR), 4);
        world_ask(w, &a, "k");
        world_ask(w, &b, "l");
        world_break(w, world_link(w));
        assert_true(a.told && b.told);
        assert_int_equal(a.request.verdict, known[i].verdict);
        assert_int_equal(world_count(w, VX_REDIS_COUNT_LOST), 2);
        world_break(w, world_link(w)); /* the next attempt as well: now it is away */
        assert_int_equal(world_ask(w, &a, "k"), known[i].verdict);
        assert_int_equal(world_count(w, VX_REDIS_COUNT_AWAY), 1);
        assert_int_equal(w->local_asked, known[i].policy == VX_STORE_FAILURE_LOCAL ? 7 : 0);
        world_end(w);
    }
}

static void a_link_that_worked_is_made_anew_at_once(void **state) {
    (void)state;
    struct world *w = world_new(url, VX_STORE_FAILURE_DENY);
    struct asked a, b;
    world_greet(w);
    world_ask(w, &a, "k");
    world_say(w, world_link(w), ":1\r\n");
    world_break(w, world_link(w));
    assert_int_equal(w->link_count, 2);
    assert_string_equal(w->trouble, "it broke");
    assert_int_equal(world_ask(w, &b, "k"), VX_RATE_PENDING); /* it waits for the greeting */
    world_greet(w);
    assert_null(w->trouble);
    world_say(w, world_link(w), ":2\r\n");
    assert_int_equal(b.request.verdict, VX_RATE_PASS);
    world_end(w);
}

static void who_does_not_answer_is_left_alone_for_longer_and_longer(void **state) {
    (void)state;
    struct world *w = world_new(url, VX_STORE_FAILURE_DENY);
    struct asked a;
    world_greet(w);
    world_ask(w, &a, "k");
    world_wait(w, 99);
    assert_false(a.told);
    world_wait(w, 2);
    assert_true(a.told);
    assert_string_equal(w->trouble, "it did not answer within rate_limit.store_timeout");
    assert_int_equal(w->link_count, 1);                            /* frozen rather than gone: not at once */
    assert_int_equal(world_ask(w, &a, "k"), VX_RATE_REFUSE_BLIND); /* and nobody waits for it meanwhile */
    world_wait(w, 30 * SECOND_MS);
    assert_in_range(w->link_count, 12, 40); /* each attempt may take 100 ms, each pause 2 s at most */
    assert_int_equal(w->reports, 1);
    unsigned before = w->link_count;
    world_wait(w, 10 * SECOND_MS);
    assert_in_range(w->link_count - before, 4, 10);
    while (!world_link(w)->open)
        world_wait(w, 1);
    world_greet(w);
    assert_int_equal(world_ask(w, &a, "k"), VX_RATE_PENDING);
    world_say(w, world_link(w), ":1\r\n");
    world_end(w);
}

static void who_breaks_after_every_greeting_is_not_asked_in_a_circle(void **state) {
    (void)state;
    struct world *w = world_new(url, VX_STORE_FAILURE_DENY);
    for (int i = 0; i < 5000; i++) {
        if (world_link(w)->open) {
            world_greet(w);
            world_break(w, world_link(w));
        }
        world_wait(w, 1);
    }
    assert_in_range(w->link_count, 4, 20);
    world_end(w);
}

static void bad_greetings(void **state) {
    (void)state;
    static const char *const bad[] = {"-WRONGPASS invalid username-password pair\r\n", "!nonsense\r\n",
                                      LOADED ":1\r\n"};
    for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct world *w = world_new(url, VX_STORE_FAILURE_DENY);
        world_say(w, world_link(w), bad[i]);
        assert_int_equal(world_open_links(w), 0);
        assert_non_null(w->trouble);
        world_wait(w, 25);
        assert_int_equal(w->link_count, 2);
        world_end(w);
    }
}

/* Says pieces until the link is gone, which must be soon. */
static void say_until_lost(struct world *w, const char *begin, const char *piece, size_t bytes_max) {
    struct vx_link *link = world_link(w);
    size_t said = 0;
    for (const char *text = begin; link->open; text = piece) {
        world_say(w, link, text);
        said += strlen(text);
        assert_in_range(said, 0, bytes_max);
    }
}

static void a_reply_that_is_too_large_ends_the_link(void **state) {
    (void)state;
    static char piece[1001];
    memset(piece, 'x', sizeof piece - 1);
    static const char *const begins[] = {"*2147483647\r\n", "*1\r\n*1\r\n*1\r\n*2147483647\r\n", "*8000\r\n",
                                         "$2147483647\r\n"};
    for (unsigned i = 0; i < sizeof begins / sizeof *begins; i++) {
        struct world *w = world_new(url, VX_STORE_FAILURE_DENY);
        struct asked a;
        world_greet(w);
        world_ask(w, &a, "k");
        say_until_lost(w, begins[i], i == 2 ? ":1\r\n" : piece, 70 * 1000);
        assert_int_equal(a.request.verdict, VX_RATE_REFUSE_BLIND);
        assert_string_equal(w->trouble, "its reply is larger than any that was asked for");
        world_end(w);
    }
}

static void bytes_that_nobody_waits_for_end_the_link(void **state) {
    (void)state;
    struct world *w = world_new(url, VX_STORE_FAILURE_DENY);
    world_greet(w);
    world_say(w, world_link(w), "$1");
    assert_string_equal(w->trouble, "it sent a reply to nothing");
    world_end(w);
}

static void no_memory_for_a_link(void **state) {
    (void)state;
    struct world *w = world_new(url, VX_STORE_FAILURE_DENY);
    struct asked a;
    w->no_links = true;
    world_break(w, world_link(w));
    world_wait(w, SECOND_MS);
    assert_int_equal(world_ask(w, &a, "k"), VX_RATE_REFUSE_BLIND);
    w->no_links = false;
    world_wait(w, 3 * SECOND_MS);
    assert_true(w->link_count > 1);
    world_end(w);
}

static void who_leaves_is_not_told(void **state) {
    (void)state;
    struct world *w = world_new(url, VX_STORE_FAILURE_DENY);
    struct vx_rate_store *port = vx_redis_store_port(w->store);
    struct asked a, b, c;
    world_greet(w);
    world_ask(w, &a, "a");
    world_ask(w, &b, "b");
    world_ask(w, &c, "c");
    port->cancel(port, &a.request);
    port->cancel(port, &c.request);
    world_say(w, world_link(w), ":1\r\n:2\r\n");
    assert_int_equal(w->told, 1);
    assert_int_equal(b.request.debt_ns, 2);
    world_break(w, world_link(w)); /* c's answer is lost */
    assert_int_equal(w->told, 1);
    world_end(w);
}

static void the_end_decides_what_is_pending(void **state) {
    (void)state;
    struct world *w = world_new(url, VX_STORE_FAILURE_ALLOW);
    struct asked a;
    world_greet(w);
    world_ask(w, &a, "a");
    vx_redis_store_free(w->store, w->now_ns);
    assert_int_equal(a.request.verdict, VX_RATE_PASS_BLIND);
    w->store = NULL;
    world_end(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_greets_and_asks),
        cmocka_unit_test(a_refusal_is_remembered),
        cmocka_unit_test(answers_come_in_order_and_in_pieces),
        cmocka_unit_test(a_forgotten_script_is_sent_whole),
        cmocka_unit_test(every_policy),
        cmocka_unit_test(a_link_that_worked_is_made_anew_at_once),
        cmocka_unit_test(who_does_not_answer_is_left_alone_for_longer_and_longer),
        cmocka_unit_test(who_breaks_after_every_greeting_is_not_asked_in_a_circle),
        cmocka_unit_test(bad_greetings),
        cmocka_unit_test(no_memory_for_a_link),
        cmocka_unit_test(a_reply_that_is_too_large_ends_the_link),
        cmocka_unit_test(bytes_that_nobody_waits_for_end_the_link),
        cmocka_unit_test(who_leaves_is_not_told),
        cmocka_unit_test(the_end_decides_what_is_pending),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
