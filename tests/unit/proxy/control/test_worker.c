/* SPDX-License-Identifier: Apache-2.0 */
/* Workers as threads: requests, a reload under way, a drain that waits, a stop that cuts. */
#include "unit/proxy/control/control_test.h"

static struct control_world *run(void) {
    struct control_world *w = control_start();
    control_configure(w, "a.sock", "m.sock", "127.0.0.1:9", "");
    for (uint32_t i = 0; i < CONTROL_WORKERS; i++)
        assert_true(vx_worker_start(&w->c.workers[i]));
    control_load_ok(w);
    return w;
}

static void say(int fd, const char *text) {
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* Reads one answer, whose body ends with `}`; "" at the end of the connection. */
static const char *hear(int fd) {
    static char text[4096];
    size_t len = 0;
    text[0] = '\0';
    while (len < sizeof text - 1 && !strchr(text, '}')) {
        ssize_t n = recv(fd, text + len, sizeof text - 1 - len, 0);
        if (n <= 0)
            return n < 0 ? "reset" : "";
        len += (size_t)n;
        text[len] = '\0';
    }
    return text;
}

#define GET "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

static void test_requests_are_served_and_counted(void **state) {
    (void)state;
    struct control_world *w = run();
    int fd = control_connect(w, "a.sock");
    assert_true(fd >= 0);
    say(fd, GET);
    assert_non_null(
        strstr(hear(fd), "HTTP/1.1 502 ")); /* nobody listens on port 9; later its breaker opens: 503 */
    assert_int_equal(atomic_load(&w->c.budget.open), 1);
    close(fd);
    control_end(w);
}

static void test_reloads_under_way_lose_nothing(void **state) {
    (void)state;
    struct control_world *w = run();
    int kept = control_connect(w, "a.sock");
    assert_true(kept >= 0);
    for (unsigned i = 0; i < 20; i++) {
        struct vx_config_error error;
        int fd = control_connect(w, "a.sock");
        assert_true(fd >= 0);
        say(fd, "GET / HTTP/1.1\r\n");
        control_configure(w, "a.sock", i % 2 ? "m.sock" : "n.sock", i % 3 ? "127.0.0.1:9" : "127.0.0.1:10",
                          "");
        assert_true(vx_control_load(&w->c, w->path, &error));
        say(kept, GET);
        assert_non_null(strstr(hear(kept), "HTTP/1.1 50"));
        say(fd, "Host: a\r\n\r\n");
        assert_non_null(strstr(hear(fd), "HTTP/1.1 50"));
        close(fd);
        vx_loop_run_once(w->c.engine.loop, 0);
    }
    close(kept);
    control_end(w);
}

static void test_a_drain_waits_for_the_requests_under_way(void **state) {
    (void)state;
    struct control_world *w = run();
    int fd = control_connect(w, "a.sock");
    assert_true(fd >= 0);
    say(fd, GET);
    hear(fd);
    say(fd, "GET / HTTP/1.1\r\n"); /* half a head */
    while (atomic_load(&w->c.budget.open) != 1)
        vx_loop_run_once(w->c.engine.loop, 1000000);
    for (uint32_t i = 0; i < CONTROL_WORKERS; i++)
        vx_worker_drain(&w->c.workers[i]);
    while (control_listens(w, "a.sock"))
        vx_loop_run_once(w->c.engine.loop, 1000000);
    say(fd, "Host: a\r\n\r\n");
    assert_non_null(strstr(hear(fd), "Connection: close"));
    close(fd);
    while (atomic_load(&w->drained) < CONTROL_WORKERS)
        vx_loop_run_once(w->c.engine.loop, 1000000);
    control_end(w);
}

static void test_a_stop_cuts_what_is_left(void **state) {
    (void)state;
    struct control_world *w = run();
    int fd = control_connect(w, "a.sock");
    say(fd, GET);
    hear(fd);
    say(fd, "GET / HTT");
    control_end(w);
    assert_true(recv(fd, (char[8]){0}, 8, 0) <= 0);
    close(fd);
}

static void test_a_worker_that_never_ran_lets_go_of_what_it_was_handed(void **state) {
    (void)state;
    struct control_world *w = control_start();
    struct vx_config_error error;
    control_configure(w, "a.sock", "m.sock", "127.0.0.1:9", "");
    assert_true(vx_control_load(&w->c, w->path, &error));
    control_end(w); /* asserts that no generation is left */
}

static void test_the_limit_on_connections_holds_the_next_ones_back(void **state) {
    (void)state;
    struct control_world *w = control_start();
    control_configure(w, "a.sock", "m.sock", "127.0.0.1:9", "limits: { connections: 1 }\n");
    assert_true(vx_worker_start(&w->c.workers[0]));
    w->c.workers[1].paused = true; /* one worker only, so that the count is exact */
    control_load_ok(w);
    int first = control_connect(w, "a.sock");
    say(first, GET);
    assert_non_null(strstr(hear(first), "502"));
    int second = control_connect(w, "a.sock"); /* in the backlog */
    say(second, GET);
    /* A listener that a reload opens while accepting is paused is paused, too. */
    while (vx_metrics_total(w->c.metrics, VX_WORKER_ACCEPT_PAUSES) == 0)
        vx_loop_run_once(w->c.engine.loop, 1000000);
    assert_int_equal(atomic_load(&w->c.budget.open), 1);
    close(first);
    assert_non_null(strstr(hear(second), "HTTP/1.1 50"));
    close(second);
    control_end(w);
}

/* What a worker without a thread does not do by itself. */
static void tick(struct vx_worker *worker) {
    vx_timer_set(&worker->engine.rt.wheel, &worker->tick, worker->engine.rt.now_ns);
    for (unsigned i = 0; i < 5; i++)
        vx_loop_run_once(worker->engine.loop, 1000000);
}

static void nothing(void *arg, uint64_t now_ns) {
    (void)arg, (void)now_ns;
}

/* It went on with the configuration before. */
static void test_a_full_inbox_keeps_no_configuration_back(void **state) {
    (void)state;
    struct control_world *w = control_start();
    struct vx_worker *worker = &w->c.workers[0];
    struct vx_config_error error;
    control_configure(w, "a.sock", "m.sock", "127.0.0.1:9", "");
    control_load_ok(w);
    while (vx_loop_post(worker->engine.loop, nothing, NULL))
        ;
    for (unsigned i = 0; i < 2; i++) {
        control_configure(w, i ? "b.sock" : "c.sock", "m.sock", "127.0.0.1:9", "");
        assert_true(vx_control_load(&w->c, w->path, &error));
    }
    vx_loop_run_once(worker->engine.loop, 0);
    assert_int_equal(worker->proxy.snapshot->version, 3);
    control_settle(w);
    int fd = control_connect(w, "b.sock");
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(control_connect(w, "c.sock"), -1);
    control_end(w);
}

static void test_nor_word_of_a_free_place(void **state) {
    (void)state;
    struct control_world *w = control_start();
    struct vx_places *places = &w->c.workers[0].engine.clients.places;
    struct vx_engine *other = &w->c.workers[1].engine;
    while (vx_loop_post(other->loop, nothing, NULL))
        ;
    for (unsigned i = 0; i < 2; i++)
        places->tell(places, 1);
    places->ask(places);
    vx_loop_run_once(other->loop, 0);
    assert_int_equal(other->clients.places.heard, 1);
    control_end(w);
}

static uint32_t count_sites(const struct vx_worker *w) {
    uint32_t n = 0;
    for (const struct vx_worker_site *s = w->sites; s; s = s->next)
        n++;
    return n;
}

/* They stayed until the worker ended: one more for each reload that moved a listener. */
static void test_a_closed_listener_goes_with_its_last_connection(void **state) {
    (void)state;
    struct control_world *w = control_start();
    struct vx_worker *worker = &w->c.workers[0];
    control_configure(w, "a.sock", "m.sock", "127.0.0.1:9", "");
    control_load_ok(w);
    int fd = control_connect(w, "a.sock");
    w->c.workers[1].paused = true;
    for (unsigned i = 0; i < 100 && atomic_load(&w->c.budget.open) == 0; i++)
        vx_loop_run_once(worker->engine.loop, 1000000);
    assert_int_equal(atomic_load(&w->c.budget.open), 1);
    say(fd, "GET / HTTP/1.1\r\n"); /* half a head: it is not closed by the drain of its listener */
    vx_loop_run_once(worker->engine.loop, 1000000);
    control_configure(w, "b.sock", "m.sock", "127.0.0.1:9", "");
    control_load_ok(w);
    assert_int_equal(count_sites(worker), 2);
    close(fd);
    for (unsigned i = 0; i < 1000 && atomic_load(&w->c.budget.open); i++)
        vx_loop_run_once(worker->engine.loop, 1000000);
    assert_int_equal(atomic_load(&w->c.budget.open), 0);
    tick(worker);
    assert_int_equal(count_sites(worker), 1);
    control_end(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests_are_served_and_counted),
        cmocka_unit_test(test_reloads_under_way_lose_nothing),
        cmocka_unit_test(test_a_drain_waits_for_the_requests_under_way),
        cmocka_unit_test(test_a_stop_cuts_what_is_left),
        cmocka_unit_test(test_a_worker_that_never_ran_lets_go_of_what_it_was_handed),
        cmocka_unit_test(test_a_full_inbox_keeps_no_configuration_back),
        cmocka_unit_test(test_nor_word_of_a_free_place),
        cmocka_unit_test(test_a_closed_listener_goes_with_its_last_connection),
        cmocka_unit_test(test_the_limit_on_connections_holds_the_next_ones_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
