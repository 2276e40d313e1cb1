/* SPDX-License-Identifier: Apache-2.0 */
/* From a file into every worker's hands; and a refused file leaves everything as it was. */
#include "unit/proxy/control/control_test.h"

static void test_a_load_reaches_every_worker(void **state) {
    (void)state;
    struct control_world *w = control_start();
    control_configure(w, "a.sock", "m.sock", "127.0.0.1:9", "");
    control_load_ok(w);
    assert_int_equal(w->c.version, 1);
    for (uint32_t i = 0; i < CONTROL_WORKERS; i++)
        assert_ptr_equal(w->c.workers[i].proxy.snapshot, &w->c.generation->snapshot);
    assert_true(control_listens(w, "a.sock"));
    assert_true(control_listens(w, "m.sock"));
    control_end(w);
}

static void test_a_superseded_generation_is_freed_and_its_pools_stay(void **state) {
    (void)state;
    struct control_world *w = control_start();
    control_configure(w, "a.sock", "m.sock", "127.0.0.1:9", "");
    control_load_ok(w);
    uint32_t pool = w->c.generation->snapshot.routes[0].targets[0].pool;
    struct vx_target_shared *shared = w->c.generation->snapshot.routes[0].targets[0].shared;
    for (unsigned i = 0; i < 3; i++) {
        control_load_ok(w);
        assert_int_equal(w->c.generations_left, 1);
    }
    assert_int_equal(w->c.version, 4);
    assert_int_equal(w->c.generation->snapshot.routes[0].targets[0].pool, pool);
    assert_ptr_equal(w->c.generation->snapshot.routes[0].targets[0].shared, shared);
    control_end(w);
}

static void test_a_user_keeps_the_generation_it_began_with(void **state) {
    (void)state;
    struct control_world *w = control_start();
    control_configure(w, "a.sock", "m.sock", "127.0.0.1:9", "");
    control_load_ok(w);
    struct vx_snapshot *held = vx_snapshot_hold(&w->c.generation->snapshot, 1); /* an exchange on worker 1 */
    control_load_ok(w);
    assert_int_equal(w->c.generations_left, 2);
    vx_snapshot_drop(held, 1);
    control_settle(w);
    assert_int_equal(w->c.generations_left, 1);
    control_end(w);
}

static void test_listeners_and_page_follow_the_file(void **state) {
    (void)state;
    struct control_world *w = control_start();
    control_configure(w, "a.sock", "m.sock", "127.0.0.1:9", "");
    control_load_ok(w);
    control_configure(w, "b.sock", "n.sock", "127.0.0.1:9", "");
    control_load_ok(w);
    assert_false(control_listens(w, "a.sock"));
    assert_false(control_listens(w, "m.sock"));
    assert_true(control_listens(w, "b.sock"));
    assert_true(control_listens(w, "n.sock"));
    control_end(w);
}

/* All of it is refused for one reason after another; nothing of the new file may show. */
static void check_refused(struct control_world *w, const char *text) {
    struct vx_config_error error = {{0, 0}, ""};
    struct vx_generation *generation = w->c.generation;
    struct vx_setup *setup = w->c.setup;
    struct vx_listen_set *page = w->c.page.set;
    uint32_t listens = w->c.listen_count, count;
    assert_false(vx_control_load(&w->c, w->path, &error));
    if (!strstr(error.text, text))
        fail_msg("%s", error.text);
    control_settle(w);
    assert_ptr_equal(w->c.generation, generation);
    assert_ptr_equal(w->c.setup, setup);
    assert_ptr_equal(w->c.page.set, page);
    assert_int_equal(w->c.listen_count, listens);
    assert_int_equal(w->c.version, 1);
    assert_int_equal(w->c.generations_left, 1);
    assert_true(control_listens(w, "a.sock"));
    assert_true(control_listens(w, "m.sock"));
    assert_false(control_exists(w, "b.sock"));
    assert_false(control_exists(w, "n.sock"));
    assert_false(control_exists(w, "new.log"));
    vx_names_find(&w->c.names, VX_SLICE("used.invalid"), &count);
    struct vx_name *names = w->c.names.first;
    const char *why = NULL;
    assert_true(vx_names_watch(&w->c.names, setup->config, &why));
    assert_ptr_equal(w->c.names.first, names); /* the names in use are still watched, and no others */
    vx_names_forget(&w->c.names, setup->config);
    assert_ptr_equal(w->c.names.first, names);
}

static void test_a_refused_reload_changes_nothing(void **state) {
    (void)state;
    struct control_world *w = control_start();
    char rest[512];
    snprintf(rest, sizeof rest, "access_log: { path: \"%s/old.log\" }\n", w->folder);
    control_configure(w, "a.sock", "m.sock", "used.invalid:80", rest);
    control_load_ok(w);
    assert_true(control_exists(w, "old.log"));

    control_write(w, "vortex.yaml", "listeners: nonsense\n");
    check_refused(w, "");

    /* The page's address is taken. */
    int other = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    snprintf(sa.sun_path, sizeof sa.sun_path, "%s/taken.sock", w->folder);
    assert_int_equal(bind(other, (struct sockaddr *)&sa, sizeof sa), 0);
    assert_int_equal(listen(other, 1), 0);
    snprintf(rest, sizeof rest, "access_log: { path: \"%s/new.log\" }\n", w->folder);
    control_configure(w, "b.sock", "taken.sock", "next.invalid:80", rest);
    check_refused(w, "the address is in use");

    /* The listener's is. */
    control_configure(w, "taken.sock", "n.sock", "next.invalid:80", rest);
    check_refused(w, "the address is in use");
    close(other);

    /* The last step: the access log cannot be opened, being a socket. */
    snprintf(rest, sizeof rest, "access_log: { path: \"%s/taken.sock\" }\n", w->folder);
    control_configure(w, "b.sock", "n.sock", "next.invalid:80", rest);
    check_refused(w, "access_log: ");

    /* And what was refused four times can still be had. */
    control_configure(w, "b.sock", "n.sock", "next.invalid:80", "");
    control_load_ok(w);
    assert_true(control_listens(w, "b.sock"));
    assert_true(control_listens(w, "n.sock"));
    control_end(w);
}

static void nothing(void *arg, uint64_t now_ns) {
    (void)arg, (void)now_ns;
}

static void fill_inbox(struct vx_loop *loop) {
    while (vx_loop_post(loop, nothing, NULL))
        ;
}

/* Neither do workers go on with what they have, nor is a generation left over that nobody uses any more. */
static void test_full_inboxes_keep_nothing_back(void **state) {
    (void)state;
    struct control_world *w = control_start();
    struct vx_config_error error;
    control_configure(w, "a.sock", "m.sock", "127.0.0.1:9", "");
    control_load_ok(w);
    for (unsigned i = 0; i < 2; i++) {
        for (uint32_t worker = 0; worker < CONTROL_WORKERS; worker++)
            fill_inbox(w->c.workers[worker].engine.loop);
        assert_true(vx_control_load(&w->c, w->path, &error));
        fill_inbox(w->c.engine.loop);
        control_settle(w);
        for (uint32_t worker = 0; worker < CONTROL_WORKERS; worker++)
            assert_ptr_equal(w->c.workers[worker].proxy.snapshot, &w->c.generation->snapshot);
        assert_int_equal(w->c.generations_left, 1);
    }
    control_end(w);
}

static void test_a_rebuild_takes_the_setup_in_use(void **state) {
    (void)state;
    struct control_world *w = control_start();
    control_configure(w, "a.sock", "m.sock", "127.0.0.1:9", "");
    control_load_ok(w);
    struct vx_setup *setup = w->c.setup;
    vx_control_rebuild(&w->c);
    control_settle(w);
    assert_ptr_equal(w->c.setup, setup);
    assert_int_equal(w->c.version, 2);
    assert_int_equal(w->c.generations_left, 1);
    assert_true(control_listens(w, "a.sock"));
    control_end(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_load_reaches_every_worker),
        cmocka_unit_test(test_a_superseded_generation_is_freed_and_its_pools_stay),
        cmocka_unit_test(test_a_user_keeps_the_generation_it_began_with),
        cmocka_unit_test(test_listeners_and_page_follow_the_file),
        cmocka_unit_test(test_a_refused_reload_changes_nothing),
        cmocka_unit_test(test_full_inboxes_keep_nothing_back),
        cmocka_unit_test(test_a_rebuild_takes_the_setup_in_use),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
