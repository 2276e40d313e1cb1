/* SPDX-License-Identifier: Apache-2.0 */
/* Dumps: every part is there, a worker that is stuck is left out, nothing is lost when the program ends meanwhile. */
#include "proxy/control/dump.h"

#include "control_test.h"

static char text[16384];
static enum vx_admin_outcome outcome;
static unsigned answers;

static void answered(struct vx_admin_call *call, const struct vx_admin_answer *answer) {
    (void)call;
    outcome = answer->outcome;
    snprintf(text, sizeof text, "%.*s", VX_SLICE_ARG(answer->text));
    answers++;
}

static struct vx_admin_call call = {answered};

static struct control_world *start(void) {
    struct control_world *w = control_start();
    control_configure(w, "a.sock", "m.sock", "127.0.0.1:9", "");
    control_load_ok(w);
    answers = 0;
    return w;
}

static void begin(struct control_world *w) {
    const char *why = NULL;
    assert_true(vx_dump_start(&w->c, &call, &why));
}

static void has(const char *part) {
    if (!strstr(text, part))
        fail_msg("`%s` is not in\n%s", part, text);
}

static void test_every_part(void **state) {
    (void)state;
    struct control_world *w = start();
    int client = control_connect(w, "a.sock");
    control_settle(w);
    begin(w);
    assert_int_equal(answers, 0);
    control_settle(w);
    assert_int_equal(answers, 1);
    assert_int_equal(outcome, VX_ADMIN_DONE);
    has("configuration: version 1 of /tmp/vortex-control-");
    has("snapshot: version 1, current, used by 3 and kept by 3 of 3 threads\n");
    has("route r:\n  backend 127.0.0.1:9 (127.0.0.1:9): EWMA 0.000 ms, 0 active, breaker closed, health "
        "unknown");
    has("rate limits in memory: 4096 places, of 4096 looked at 0 hold a key in debt; 0 keys placed, 0 "
        "forgotten "
        "too early\n");
    has("control thread:\n  loop: ");
    has("worker 0:\n  cpu -1, snapshot version 1 with 1 users, 0 exchanges\n");
    has("worker 1:\n");
    has(": accepting, 1 connections, 1 HTTP/1 ");
    assert_int_equal(w->c.admin.dumps.count, 0);
    close(client);
    control_settle(w);
    control_end(w);
}

static void test_a_stuck_worker_is_left_out(void **state) {
    (void)state;
    struct control_world *w = start();
    begin(w);
    vx_loop_run_once(w->c.workers[0].engine.loop, 0);
    vx_loop_run_once(w->c.engine.loop, 0);
    assert_int_equal(answers, 0);
    vx_timer_wheel_run(&w->c.engine.rt.wheel, w->c.engine.rt.now_ns + UINT64_C(3000000000));
    assert_int_equal(answers, 1);
    has("worker 0:\n  cpu");
    has("worker 1:\n  has not answered yet\n");
    assert_int_equal(w->c.admin.dumps.count, 1); /* it will still write its part */
    control_settle(w);
    assert_int_equal(w->c.admin.dumps.count, 0);
    assert_int_equal(answers, 1);
    control_end(w);
}

static void nothing(void *arg, uint64_t now_ns) {
    (void)arg, (void)now_ns;
}

static void test_a_full_inbox(void **state) {
    (void)state;
    struct control_world *w = start();
    while (vx_loop_post(w->c.workers[1].engine.loop, nothing, NULL))
        ;
    begin(w);
    control_settle(w);
    assert_int_equal(answers, 1);
    has("worker 1:\n  could not be asked: its inbox is full\n");
    control_end(w);
}

static void test_not_too_many(void **state) {
    (void)state;
    struct control_world *w = start();
    const char *why = NULL;
    for (unsigned i = 0; i < VX_DUMPS_MAX; i++)
        begin(w);
    assert_false(vx_dump_start(&w->c, &call, &why));
    assert_string_equal(why, "too many dumps are under way");
    control_settle(w);
    assert_int_equal(answers, VX_DUMPS_MAX);
    control_end(w);
}

static void test_the_end_comes_first(void **state) {
    (void)state;
    struct control_world *w = start();
    begin(w);
    control_end(w); /* ends the dumps, as end_service() does */
    assert_int_equal(answers, 1);
    assert_int_equal(outcome, VX_ADMIN_REFUSED);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_part),          cmocka_unit_test(test_a_stuck_worker_is_left_out),
        cmocka_unit_test(test_a_full_inbox),        cmocka_unit_test(test_not_too_many),
        cmocka_unit_test(test_the_end_comes_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
