/* SPDX-License-Identifier: Apache-2.0 */
/* Opening listening sockets: one address belongs to one vortex, errors speak, stale UNIX sockets give way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
/* cmocka.h wants the three above. */
#include <cmocka.h>

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proxy/net/listener.h"
#include "proxy/net/sockaddr.h"

static char why[VX_LISTEN_WHY_MAX];
static const struct vx_listen_options plain;

static struct vx_address loopback(uint16_t port) {
    return (struct vx_address){.kind = VX_ADDRESS_IP4, .port = port, .ip = {127, 0, 0, 1}};
}

static struct vx_listen_set *open_ok(struct vx_address a, uint32_t count) {
    struct vx_listen_set *set = vx_listen_open(&a, count, &plain, why);
    if (!set)
        fail_msg("%s", why);
    return set;
}

static int connect_to(const struct vx_address *a) {
    union vx_sockaddr sa;
    socklen_t len = vx_sockaddr_of(a, &sa);
    int fd = socket(sa.any.sa_family, SOCK_STREAM, 0);
    if (connect(fd, &sa.any, len) == 0)
        return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

static void opens_one_socket_for_each_worker(void **state) {
    (void)state;
    struct vx_listen_set *set = open_ok(loopback(0), 4);
    assert_int_not_equal(set->address.port, 0);
    int fds[4], clients[64];
    for (int i = 0; i < 4; i++) {
        fds[i] = vx_listen_take(set);
        assert_true(fds[i] >= 0);
    }
    assert_int_equal(vx_listen_take(set), -1);
    /* The kernel spreads clients over all of them. */
    for (int i = 0; i < 64; i++)
        assert_true((clients[i] = connect_to(&set->address)) >= 0);
    int accepted = 0, busy = 0;
    for (int i = 0; i < 4; i++) {
        int fd, mine = 0;
        while ((fd = accept(fds[i], NULL, NULL)) >= 0) {
            int on = 0;
            socklen_t len = sizeof on;
            assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, &len), 0);
            assert_int_not_equal(on, 0);
            close(fd);
            mine++;
        }
        accepted += mine;
        busy += mine > 0;
    }
    assert_int_equal(accepted, 64);
    assert_true(busy > 1);
    for (int i = 0; i < 64; i++)
        close(clients[i]);
    for (int i = 0; i < 4; i++)
        close(fds[i]);
    vx_listen_close(set, true);
}

static void refuses_an_address_in_use(void **state) {
    (void)state;
    for (uint32_t count = 1; count <= 2; count++) {
        struct vx_listen_set *set = open_ok(loopback(0), count);
        struct vx_address same = loopback(set->address.port);
        assert_null(vx_listen_open(&same, 2, &plain, why));
        assert_non_null(strstr(why, "in use"));
        /* The wildcard covers it. */
        struct vx_address wild = {.kind = VX_ADDRESS_IP4, .port = same.port};
        assert_null(vx_listen_open(&wild, 2, &plain, why));
        /* The one that was there first still works. */
        int client = connect_to(&same);
        assert_true(client >= 0);
        close(client);
        vx_listen_close(set, true);
        vx_listen_close(open_ok(same, 2), true);
    }
}

static void reopens_beside_old_connections(void **state) {
    (void)state;
    struct vx_listen_set *set = open_ok(loopback(0), 2);
    struct vx_address same = loopback(set->address.port);
    int client = connect_to(&same), server = -1;
    for (int i = 0; i < 2 && server < 0; i++)
        server = accept(set->fds[i], NULL, NULL);
    assert_true(server >= 0);
    /* The server's end closes first and stays in TIME_WAIT. */
    close(server);
    close(client);
    vx_listen_close(set, true);
    vx_listen_close(open_ok(same, 2), true);
}

/* Many starters at one instant: exactly one gets the address, whatever their order. */
static void only_one_of_many_starters_passes(void **state) {
    (void)state;
    struct vx_listen_set *probe = open_ok(loopback(0), 1);
    struct vx_address a = loopback(probe->address.port);
    vx_listen_close(probe, true);
    for (int round = 0; round < 50; round++) {
        enum { STARTERS = 4 };
        int gate[2], hold[2], status, winners = 0;
        assert_int_equal(pipe(gate) | pipe(hold), 0);
        pid_t children[STARTERS];
        for (int i = 0; i < STARTERS; i++) {
            children[i] = fork();
            if (children[i] == 0) {
                char byte;
                close(gate[1]);
                close(hold[1]);
                if (read(gate[0], &byte, 1) != 0)
                    _exit(2);
                struct vx_listen_set *set = vx_listen_open(&a, 3, &plain, why);
                if (!set)
                    _exit(strstr(why, "in use") ? 1 : 2);
                /* Holds it until all have tried. */
                _exit(read(hold[0], &byte, 1) == 0 ? 0 : 2);
            }
        }
        close(gate[0]);
        close(gate[1]);
        for (int i = 0; i < STARTERS - 1; i++) {
            assert_true(wait(&status) > 0);
            assert_true(WIFEXITED(status));
            assert_int_equal(WEXITSTATUS(status), 1);
        }
        close(hold[0]);
        close(hold[1]);
        assert_true(wait(&status) > 0);
        winners += WIFEXITED(status) && WEXITSTATUS(status) == 0;
        assert_int_equal(winners, 1);
    }
}

static void ip6_with_and_without_ip4(void **state) {
    (void)state;
    struct vx_address any6 = {.kind = VX_ADDRESS_IP6};
    struct vx_listen_set *six = vx_listen_open(&any6, 1, &plain, why);
    assert_non_null(six);
    struct vx_address four = loopback(six->address.port);
    assert_int_equal(connect_to(&four), -1);
    struct vx_address any4 = {.kind = VX_ADDRESS_IP4, .port = six->address.port};
    struct vx_listen_set *beside = vx_listen_open(&any4, 1, &plain, why);
    assert_non_null(beside);
    vx_listen_close(beside, true);
    vx_listen_close(six, true);

    struct vx_listen_options dual = {.dual_stack = true};
    six = vx_listen_open(&any6, 1, &dual, why);
    assert_non_null(six);
    four.port = six->address.port;
    int client = connect_to(&four);
    assert_true(client >= 0);
    union vx_sockaddr sa;
    socklen_t len = sizeof sa;
    int fd = accept(six->fds[0], &sa.any, &len);
    struct vx_address seen;
    vx_sockaddr_to_address(&sa, &seen);
    assert_int_equal(seen.kind, VX_ADDRESS_IP4);
    assert_int_equal(seen.ip[0], 127);
    close(fd);
    close(client);
    vx_listen_close(six, true);
}

static void explains_what_is_wrong(void **state) {
    (void)state;
    struct vx_address elsewhere = {.kind = VX_ADDRESS_IP4, .port = 1, .ip = {192, 0, 2, 1}};
    assert_null(vx_listen_open(&elsewhere, 1, &plain, why));
    assert_non_null(strstr(why, "no such address"));
    struct vx_address nowhere = {.kind = VX_ADDRESS_UNIX, .text = VX_SLICE("/no/such/folder/sock")};
    assert_null(vx_listen_open(&nowhere, 1, &plain, why));
    assert_non_null(strstr(why, "folder"));
    char path[200];
    memset(path, 'x', sizeof path);
    struct vx_address longer = {.kind = VX_ADDRESS_UNIX, .text = {path, sizeof path}};
    assert_null(vx_listen_open(&longer, 1, &plain, why));
    assert_non_null(strstr(why, "107"));
}

static void a_unix_socket_is_shared_and_removed(void **state) {
    (void)state;
    char path[] = "/tmp/vx_listen_XXXXXX", sock[64];
    assert_non_null(mkdtemp(path));
    snprintf(sock, sizeof sock, "%s/s", path);
    struct vx_address a = {.kind = VX_ADDRESS_UNIX, .text = vx_slice_of(sock)};
    struct vx_listen_set *set = open_ok(a, 2);
    int client = connect_to(&a);
    assert_true(client >= 0);
    /* Another starter is refused, and the socket stays. */
    assert_null(vx_listen_open(&a, 2, &plain, why));
    assert_non_null(strstr(why, "in use"));
    int fd = accept(set->fds[1], NULL, NULL);
    assert_true(fd >= 0);
    close(fd);
    close(client);
    /* Left behind without a listener: it gives way. */
    vx_listen_close(set, false);
    assert_int_equal(access(sock, F_OK), 0);
    set = open_ok(a, 1);
    client = connect_to(&a);
    assert_true(client >= 0);
    close(client);
    /* A file that is not the one we made is not ours to remove. */
    unlink(sock);
    struct vx_listen_set *other = open_ok(a, 1);
    vx_listen_close(set, true);
    assert_int_equal(access(sock, F_OK), 0);
    vx_listen_close(other, true);
    assert_int_equal(access(sock, F_OK), -1);
    /* Nor is one that is no socket. */
    FILE *f = fopen(sock, "w");
    assert_non_null(f);
    fclose(f);
    assert_null(vx_listen_open(&a, 1, &plain, why));
    assert_int_equal(access(sock, F_OK), 0);
    unlink(sock);
    rmdir(path);
}

static void an_abstract_socket(void **state) {
    (void)state;
    struct vx_address a = {.kind = VX_ADDRESS_UNIX, .text = VX_SLICE("@vx_test_listen_set")};
    struct vx_listen_set *set = open_ok(a, 1);
    int client = connect_to(&a);
    assert_true(client >= 0);
    close(client);
    assert_null(vx_listen_open(&a, 1, &plain, why));
    vx_listen_close(set, true);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opens_one_socket_for_each_worker),
        cmocka_unit_test(refuses_an_address_in_use),
        cmocka_unit_test(reopens_beside_old_connections),
        cmocka_unit_test(only_one_of_many_starters_passes),
        cmocka_unit_test(ip6_with_and_without_ip4),
        cmocka_unit_test(explains_what_is_wrong),
        cmocka_unit_test(a_unix_socket_is_shared_and_removed),
        cmocka_unit_test(an_abstract_socket),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
