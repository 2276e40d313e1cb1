/* SPDX-License-Identifier: Apache-2.0 */
/* The program's own log: levels, both formats, hostile text, the limit for repeated messages. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "proxy/telemetry/log.h"
#include "support/check_json.h"

enum { THREADS = 4, LINES = 200 };

static int real_stderr, reader;
static char output[1 << 20];
static struct json_object json;

/* stderr becomes a file that output_text() reads from where it last stopped. */
static int setup(void **state) {
    (void)state;
    char name[] = "/tmp/test_log_XXXXXX";
    int fd = mkstemp(name);
    assert_true(fd >= 0);
    reader = open(name, O_RDONLY);
    unlink(name);
    real_stderr = dup(STDERR_FILENO);
    dup2(fd, STDERR_FILENO);
    close(fd);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    dup2(real_stderr, STDERR_FILENO);
    close(real_stderr);
    close(reader);
    return 0;
}

static struct vx_slice output_text(void) {
    ssize_t n = read(reader, output, sizeof output);
    assert_true(n >= 0 && (size_t)n < sizeof output);
    return vx_slice(output, (size_t)n);
}

/* Reads exactly one JSON line. */
static void read_json_line(void) {
    struct vx_slice line = output_text();
    assert_true(line.len > 0 && line.ptr[line.len - 1] == '\n');
    line.len--;
    assert_true(json_read(&json, line));
    assert_int_equal(json.count, 3);
    assert_int_equal(json_value(&json, "time").len, 24);
}

static void json_lines(void **state) {
    (void)state;
    vx_log_setup(VX_LOG_INFO, VX_LOG_AUTO); /* a file is no terminal */
    vx_log(VX_LOG_WARN, "backend %s is %d \"slow\"\n", "a:1", 5);
    read_json_line();
    json_check(&json, "level", "warn");
    json_check(&json, "message", "backend a:1 is 5 \"slow\"");
}

static void text_lines(void **state) {
    (void)state;
    vx_log_setup(VX_LOG_INFO, VX_LOG_TEXT);
    vx_log(VX_LOG_INFO, "one\x1b[2J\ntwo");
    struct vx_slice line = output_text();
    assert_true(line.len > 25);
    assert_true(vx_slice_eq(vx_slice_skip(line, 24), VX_SLICE(" info  one?[2J?two\n")));
    vx_log(VX_LOG_ERROR, "x");
    line = output_text();
    assert_true(vx_slice_eq(vx_slice_skip(line, 24), VX_SLICE(" error x\n")));
}

static void levels(void **state) {
    (void)state;
    for (unsigned least = VX_LOG_DEBUG; least < VX_LOG_LEVEL_COUNT; least++) {
        vx_log_setup((enum vx_log_level)least, VX_LOG_TEXT);
        for (unsigned level = VX_LOG_DEBUG; level < VX_LOG_LEVEL_COUNT; level++) {
            vx_log((enum vx_log_level)level, "m");
            assert_int_equal(output_text().len > 0, level >= least);
        }
    }
    vx_log_setup(VX_LOG_INFO, VX_LOG_AUTO);
}

static void hostile_and_long(void **state) {
    (void)state;
    static char message[10000];
    vx_log_setup(VX_LOG_INFO, VX_LOG_JSON);
    memset(message, '\x01', sizeof message - 1);
    vx_log(VX_LOG_INFO, "%s", message);
    read_json_line();
    assert_int_equal(json_value(&json, "message").len, 2047);
    vx_log(VX_LOG_INFO, "%s", "\xff\"}\n{\"x\":1");
    read_json_line();
    json_check(&json, "message", "\u00ff\"}\n{\"x\":1");
}

static void keeps_errno(void **state) {
    (void)state;
    int null = dup(STDERR_FILENO);
    close(STDERR_FILENO); /* the write fails */
    errno = ENOSPC;
    vx_log(VX_LOG_ERROR, "nobody hears this");
    assert_int_equal(errno, ENOSPC);
    dup2(null, STDERR_FILENO);
    close(null);
}

static void repeated_messages(void **state) {
    (void)state;
    vx_log_setup(VX_LOG_INFO, VX_LOG_JSON);
    struct vx_log_limit limit = {0};
    for (int i = 0; i < 100; i++)
        vx_log_limited(&limit, 3600000, VX_LOG_WARN, "number %d", i);
    read_json_line();
    json_check(&json, "message", "number 0");
    atomic_store(&limit.next_ns, 1); /* the interval is over */
    vx_log_limited(&limit, 3600000, VX_LOG_WARN, "number %d", 100);
    read_json_line();
    json_check(&json, "message", "number 100 (and 99 more like this)");
    vx_log_limited(&limit, 3600000, VX_LOG_WARN, "number %d", 101);
    assert_int_equal(output_text().len, 0);
}

static void *chatter(void *limit) {
    for (int i = 0; i < LINES; i++) {
        vx_log(VX_LOG_INFO, "%s", "a line that must stay whole");
        vx_log_limited(limit, 3600000, VX_LOG_INFO, "once");
    }
    return NULL;
}

static void threads_do_not_mix_lines(void **state) {
    (void)state;
    struct vx_log_limit limit = {0};
    pthread_t threads[THREADS];
    vx_log_setup(VX_LOG_INFO, VX_LOG_JSON);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, chatter, &limit), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    struct vx_slice all = output_text();
    unsigned lines = 0, once = 0;
    while (all.len) {
        const char *end = memchr(all.ptr, '\n', all.len);
        assert_non_null(end);
        struct vx_slice line = vx_slice(all.ptr, (size_t)(end - all.ptr));
        assert_true(json_read(&json, line));
        if (vx_slice_eq(json_value(&json, "message"), VX_SLICE("once")))
            once++;
        else
            json_check(&json, "message", "a line that must stay whole");
        lines++;
        all = vx_slice_skip(all, line.len + 1);
    }
    assert_int_equal(once, 1);
    assert_int_equal(lines, THREADS * LINES + 1);
    assert_int_equal(atomic_load(&limit.held_back), THREADS * LINES - 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(json_lines, setup, teardown),
        cmocka_unit_test_setup_teardown(text_lines, setup, teardown),
        cmocka_unit_test_setup_teardown(levels, setup, teardown),
        cmocka_unit_test_setup_teardown(hostile_and_long, setup, teardown),
        cmocka_unit_test_setup_teardown(keeps_errno, setup, teardown),
        cmocka_unit_test_setup_teardown(repeated_messages, setup, teardown),
        cmocka_unit_test_setup_teardown(threads_do_not_mix_lines, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
