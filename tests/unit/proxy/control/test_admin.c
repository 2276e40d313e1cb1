/* SPDX-License-Identifier: Apache-2.0 */
/* What the control thread answers to an operator, and the socket that it answers on. */
#include "proxy/control/admin.h"

#include "control_test.h"

static struct vx_admin_answer answer;
static char later[VX_ADMIN_ROOM]; /* the text of an answer that came later */

static void answered(struct vx_admin_call *of, const struct vx_admin_answer *a) {
    (void)of;
    answer = *a;
    snprintf(later, sizeof later, "%.*s", VX_SLICE_ARG(a->text));
    answer.text = vx_slice_of(later);
}

static struct vx_admin_call call = {answered};

static void configure(struct control_world *w, const char *socket, const char *more) {
    char rest[512];
    snprintf(rest, sizeof rest, "admin: { socket: \"%s/%s\" }\n%s", w->folder, socket, more);
    control_configure(w, "a.sock", "m.sock", "127.0.0.1:9", rest);
}

static struct control_world *start(const char *more) {
    struct control_world *w = control_start();
    configure(w, "admin.sock", more);
    control_load_ok(w);
    memset(&answer, 0, sizeof answer);
    return w;
}

/* The answer comes after a while. */
static enum vx_admin_when await(struct control_world *w, enum vx_admin_when when) {
    assert_int_equal(when, VX_ADMIN_LATER);
    control_settle(w);
    return VX_ADMIN_NOW;
}

/* The answer is there, says this, and is forgotten. */
static void check(enum vx_admin_when when, enum vx_admin_outcome outcome, const char *text) {
    assert_int_equal(when, VX_ADMIN_NOW);
    char said[VX_ADMIN_ROOM + 1];
    snprintf(said, sizeof said, "%.*s", VX_SLICE_ARG(answer.text));
    if (answer.outcome != outcome || !strstr(said, text))
        fail_msg("%d: %s", (int)answer.outcome, said);
    memset(&answer, 0, sizeof answer);
}

static unsigned mode_of(const struct control_world *w, const char *name) {
    char path[160];
    struct stat info;
    snprintf(path, sizeof path, "%s/%s", w->folder, name);
    assert_int_equal(stat(path, &info), 0);
    return info.st_mode & 07777;
}

static void test_the_socket_is_private_and_moves(void **state) {
    (void)state;
    struct control_world *w = start("");
    assert_true(control_listens(w, "admin.sock"));
    assert_int_equal(mode_of(w, "admin.sock"), 0600);
    struct vx_listen_set *set = w->c.admin_site.set;
    control_load_ok(w);
    assert_ptr_equal(w->c.admin_site.set, set);
    configure(w, "other.sock", "");
    control_load_ok(w);
    assert_false(control_exists(w, "admin.sock"));
    assert_true(control_listens(w, "other.sock"));
    assert_int_equal(mode_of(w, "other.sock"), 0600);
    control_configure(w, "a.sock", "m.sock", "127.0.0.1:9", "");
    control_load_ok(w);
    assert_false(control_exists(w, "other.sock"));
    control_end(w);
}

static void test_a_stale_socket_is_replaced_a_live_one_is_not(void **state) {
    (void)state;
    struct control_world *w = start("");
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    struct vx_config_error error;
    int other = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(sa.sun_path, sizeof sa.sun_path, "%s/taken.sock", w->folder);
    assert_int_equal(bind(other, (struct sockaddr *)&sa, sizeof sa), 0);
    assert_int_equal(listen(other, 1), 0);
    configure(w, "taken.sock", "");
    assert_false(vx_control_load(&w->c, w->path, &error));
    assert_non_null(strstr(error.text, "the address is in use"));
    assert_int_equal(error.place.line, 8);
    assert_true(control_listens(w, "admin.sock"));
    close(other);
    control_load_ok(w);
    assert_true(control_listens(w, "taken.sock"));
    control_end(w);
}

static void test_stats(void **state) {
    (void)state;
    struct control_world *w = start("");
    struct vx_admin_port *port = &w->c.admin.port;
    w->c.readiness = VX_READY;
    assert_int_equal(port->stats(port, &call, &answer), VX_ADMIN_NOW);
    assert_int_equal(answer.stats.workers, CONTROL_WORKERS);
    assert_int_equal(answer.stats.config_version, 1);
    assert_int_equal(answer.stats.pid, getpid());
    assert_true(vx_slice_eq(answer.stats.state, VX_SLICE("ready")));
    assert_true(vx_slice_eq(answer.stats.config_path, vx_slice_of(w->path)));
    control_end(w);
}

static void test_reload(void **state) {
    (void)state;
    struct control_world *w = start("");
    struct vx_admin_port *port = &w->c.admin.port;
    check(await(w, port->reload(port, VX_SLICE_NONE, &call, &answer)), VX_ADMIN_DONE, "version 2");
    char other[192];
    snprintf(other, sizeof other, "%s/other.yaml", w->folder);
    control_write(w, "other.yaml", "listeners: nonsense\n");
    check(await(w, port->reload(port, vx_slice_of(other), &call, &answer)), VX_ADMIN_REFUSED,
          "/other.yaml:1:12: `listeners`");
    assert_string_equal(w->c.path, w->path);
    check(await(w, port->reload(port, VX_SLICE("/nowhere.yaml"), &call, &answer)), VX_ADMIN_REFUSED,
          "cannot open the file");
    char command[512];
    snprintf(command, sizeof command, "cp %s %s", w->path, other);
    assert_int_equal(system(command), 0);
    check(await(w, port->reload(port, vx_slice_of(other), &call, &answer)), VX_ADMIN_DONE, "version 3");
    assert_string_equal(w->c.path, other);
    w->c.readiness = VX_DRAINING;
    check(await(w, port->reload(port, VX_SLICE_NONE, &call, &answer)), VX_ADMIN_REFUSED, "draining");
    static char long_path[VX_CONTROL_PATH_BYTES + 1];
    memset(long_path, 'x', sizeof long_path);
    check(port->reload(port, vx_slice(long_path, sizeof long_path), &call, &answer), VX_ADMIN_REFUSED,
          "too long");
    control_settle(w);
    control_end(w);
}

static void test_plugins_that_are_not_there(void **state) {
    (void)state;
    struct control_world *w = start("");
    struct vx_admin_port *port = &w->c.admin.port;
    check(await(w, port->update_plugin(port, VX_SLICE_NONE, VX_SLICE("x"), &call, &answer)), VX_ADMIN_REFUSED,
          "has no `filters`");
    control_end(w);
}

static void test_bans(void **state) {
    (void)state;
    struct control_world *w = start("bans: { after: 5 }\n");
    struct vx_admin_port *port = &w->c.admin.port;
    check(port->add_ban(port, VX_SLICE("192.0.2.1"), 5000, &call, &answer), VX_ADMIN_DONE,
          "192.0.2.1 is banned");
    check(port->add_ban(port, VX_SLICE("nobody"), 5000, &call, &answer), VX_ADMIN_REFUSED, "");
    check(port->add_ban(port, VX_SLICE("192.0.2.1"), UINT64_MAX, &call, &answer), VX_ADMIN_REFUSED,
          "too long");
    assert_int_equal(port->list_bans(port, &call, &answer), VX_ADMIN_NOW);
    assert_int_equal(answer.ban_count, 1);
    assert_true(vx_slice_eq(answer.bans[0].address, VX_SLICE("192.0.2.1")));
    assert_true(answer.bans[0].manual && answer.bans[0].remaining_ms <= 5000);
    check(port->remove_ban(port, VX_SLICE("192.0.2.1"), &call, &answer), VX_ADMIN_DONE, "no more");
    check(port->remove_ban(port, VX_SLICE("192.0.2.1"), &call, &answer), VX_ADMIN_REFUSED, "is not banned");
    control_end(w);

    w = start("");
    port = &w->c.admin.port;
    check(port->list_bans(port, &call, &answer), VX_ADMIN_REFUSED, "bans are off");
    check(port->add_ban(port, VX_SLICE("192.0.2.1"), 0, &call, &answer), VX_ADMIN_REFUSED, "bans are off");
    check(port->remove_ban(port, VX_SLICE("192.0.2.1"), &call, &answer), VX_ADMIN_REFUSED, "bans are off");
    control_end(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_socket_is_private_and_moves),
        cmocka_unit_test(test_a_stale_socket_is_replaced_a_live_one_is_not),
        cmocka_unit_test(test_stats),
        cmocka_unit_test(test_reload),
        cmocka_unit_test(test_plugins_that_are_not_there),
        cmocka_unit_test(test_bans),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
