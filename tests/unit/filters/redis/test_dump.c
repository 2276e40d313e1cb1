/* SPDX-License-Identifier: Apache-2.0 */
/* What a store says of itself, in each topology and when it is away. */
#include "unit/filters/redis/redis_test.h"

struct page {
    struct vx_text_sink sink;
    char text[4096];
};

static void put(struct vx_text_sink *self, struct vx_slice text) {
    struct page *p = VX_CONTAINER_OF(self, struct page, sink);
    size_t len = strlen(p->text);
    assert_true(len + text.len < sizeof p->text);
    memcpy(p->text + len, text.ptr, text.len);
}

/* Whether the dump has all these parts, in this order. */
static void must_say(struct world *w, const char *const *parts) {
    struct page page = {.sink.put = put};
    vx_redis_store_dump(w->store, &page.sink);
    const char *at = page.text;
    for (; *parts; parts++) {
        at = strstr(at, *parts);
        if (!at)
            fail_msg("`%s` is not there in\n%s", *parts, page.text);
    }
}

static void one_server(void **state) {
    (void)state;
    struct world *w = world_new("redis://10.0.0.1:6379", VX_STORE_FAILURE_ALLOW);
    struct asked a, b;
    world_greet(w);
    world_ask(w, &a, "a");
    world_ask(w, &b, "b");
    must_say(w, (const char *const[]){
                    "rate limits: one Redis, connected, on_store_failure allow, last trouble: none\n",
                    "2 asked, 0 refused here, 0 lost, 0 answered by an error, 0 not sent\n",
                    "node 10.0.0.1:6379: READY, 2 commands in flight, 0 failures in a row\n", NULL});
    world_wait(w, 105);
    must_say(w, (const char *const[]){"away, on_store_failure allow, last trouble: it did not answer within",
                                      "2 lost", "CLOSED, 0 commands in flight, 1 failures", NULL});
    world_end(w);
}

static void sentinels(void **state) {
    (void)state;
    struct world *w = world_new("redis+sentinel://s1,s2/mymaster", VX_STORE_FAILURE_DENY);
    world_say(w, world_link(w), "*2\r\n$2\r\nm1\r\n$4\r\n6390\r\n");
    must_say(w, (const char *const[]){"Redis behind Sentinels, away",
                                      "master m1:6390: GREETING, 2 commands in flight",
                                      "Sentinel s1:26379: CLOSED, 0 commands", NULL});
    world_end(w);
}

static void a_cluster(void **state) {
    (void)state;
    struct world *w = world_new("redis+cluster://n1:7000", VX_STORE_FAILURE_LOCAL);
    world_greet(w);
    world_say(w, world_link(w), "*1\r\n*3\r\n:0\r\n:9999\r\n*2\r\n$2\r\nn2\r\n:7000\r\n");
    must_say(w,
             (const char *const[]){
                 "a Redis cluster, connected, on_store_failure local",
                 "node n1:7000: READY, 0 commands in flight, 0 failures in a row, 0 slots, to be "
                 "let go\n",
                 "node n2:7000: GREETING, 1 commands in flight, 0 failures in a row, 10000 slots\n", NULL});
    world_end(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_server),
        cmocka_unit_test(sentinels),
        cmocka_unit_test(a_cluster),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
