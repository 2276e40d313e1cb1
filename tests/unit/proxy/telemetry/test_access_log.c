/* SPDX-License-Identifier: Apache-2.0 */
/* The access log from a worker's call to the file: nothing lost or mixed, drops counted, rotation, broken files. Each
 * wait here is for something that must happen and has a generous end; no time decides a result. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "proxy/telemetry/access_log.h"
#include "proxy/telemetry/log.h"
#include "proxy/telemetry/metrics.h"
#include "support/check_json.h"

enum { WORKERS = 3, LINES = 20000, PATIENCE_S = 60 };

static struct vx_metrics *metrics;
static struct vx_access_log *log_;
static char folder[64], path[96], other[96], why[256];
static struct json_object json;
static char *text; /* of the file read last, NUL-terminated */
static size_t text_len;

static int setup(void **state) {
    (void)state;
    vx_log_setup(VX_LOG_LEVEL_COUNT, VX_LOG_TEXT); /* warnings about lost lines are expected here */
    snprintf(folder, sizeof folder, "/tmp/test_access_log_XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/access.log", folder);
    snprintf(other, sizeof other, "%s/other.log", folder);
    metrics = vx_metrics_new(WORKERS);
    log_ = metrics ? vx_access_log_new(WORKERS, metrics) : NULL;
    text = NULL;
    text_len = 0;
    return log_ ? 0 : -1;
}

static int teardown(void **state) {
    (void)state;
    vx_access_log_free(log_);
    vx_metrics_free(metrics);
    free(text);
    unlink(path);
    unlink(other);
    rmdir(folder);
    return 0;
}

static void apply(const char *to, bool as_json) {
    struct vx_config_access_log config = {.enabled = true, .path = vx_slice_of(to), .json = as_json};
    if (!vx_access_log_apply(log_, &config, why, sizeof why)) {
        print_error("%s\n", why);
        fail();
    }
}

static void turn_off(void) {
    assert_true(vx_access_log_apply(log_, &(struct vx_config_access_log){0}, why, sizeof why));
}

static void write_line(uint32_t worker, unsigned number) {
    char target[32];
    int n = snprintf(target, sizeof target, "/%u/%u", worker, number);
    struct vx_request request = {
        .version = VX_HTTP_11, .method_text = VX_SLICE("GET"), .path = vx_slice(target, (size_t)n)};
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    struct vx_exchange_record record = {
        .request = &request,
        .status = 200,
        .ended_ns = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec,
    };
    vx_access_log_write(log_, worker, &record);
}

static uint64_t dropped(void) {
    return vx_metrics_total(metrics, VX_WORKER_ACCESS_LOG_DROPPED);
}

static void read_file(const char *name) {
    free(text);
    text = NULL;
    text_len = 0;
    int fd = open(name, O_RDONLY);
    if (fd < 0)
        return;
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    text = malloc((size_t)st.st_size + 1);
    assert_non_null(text);
    ssize_t n = read(fd, text, (size_t)st.st_size);
    assert_true(n >= 0);
    text_len = (size_t)n;
    text[text_len] = 0;
    close(fd);
}

static unsigned count_lines(void) {
    unsigned lines = 0;
    for (size_t i = 0; i < text_len; i++)
        lines += text[i] == '\n';
    return lines;
}

static void nap(void) {
    nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
}

/* Until the file has so many lines. */
static void await_lines(const char *name, unsigned lines) {
    time_t end = time(NULL) + PATIENCE_S;
    for (;;) {
        read_file(name);
        if (count_lines() >= lines)
            return;
        assert_true(time(NULL) < end);
        nap();
    }
}

/* The next line of the file read last, parsed; false at the end. */
static bool next_line(size_t *at) {
    if (*at >= text_len)
        return false;
    const char *end = memchr(text + *at, '\n', text_len - *at);
    assert_non_null(end); /* never half a line */
    assert_true(json_read(&json, vx_slice(text + *at, (size_t)(end - text) - *at)));
    *at = (size_t)(end - text) + 1;
    return true;
}

static void off_at_first(void **state) {
    (void)state;
    write_line(0, 1);
    turn_off();
    assert_true(vx_access_log_reopen(log_, why, sizeof why));
    assert_true(vx_access_log_stop(log_, 1000));
    assert_int_equal(dropped(), 0);
}

static void appears_by_itself(void **state) {
    (void)state;
    apply(path, true);
    time_t before = time(NULL);
    write_line(1, 42);
    await_lines(path, 1);
    size_t at = 0;
    assert_true(next_line(&at));
    json_check(&json, "path", "/1/42");
    /* The wall clock, from the monotonic one. */
    struct tm tm = {0};
    char written[32];
    struct vx_slice time_text = json_value(&json, "time");
    snprintf(written, sizeof written, "%.*s", VX_SLICE_ARG(time_text));
    assert_non_null(strptime(written, "%Y-%m-%dT%H:%M:%S", &tm));
    time_t then = timegm(&tm);
    assert_true(then >= before - 1 && then <= time(NULL) + 1);
}

static void *produce(void *number) {
    uint32_t worker = *(const uint32_t *)number;
    for (unsigned i = 0; i < LINES; i++)
        write_line(worker, i);
    return NULL;
}

/* All workers at once, faster than the file: what is written is whole and in order, and what is not is counted. */
static void every_line_is_there_or_counted(void **state) {
    (void)state;
    static const uint32_t numbers[WORKERS] = {0, 1, 2};
    pthread_t threads[WORKERS];
    apply(path, true);
    for (unsigned i = 0; i < WORKERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, produce, (void *)&numbers[i]), 0);
    for (unsigned i = 0; i < WORKERS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_true(vx_access_log_stop(log_, PATIENCE_S * 1000));
    read_file(path);
    unsigned next[WORKERS] = {0}, lines = 0;
    for (size_t at = 0; next_line(&at); lines++) {
        struct vx_slice target = json_value(&json, "path");
        char copy[32];
        snprintf(copy, sizeof copy, "%.*s", VX_SLICE_ARG(target));
        char *slash;
        unsigned long worker = strtoul(copy + 1, &slash, 10), number = strtoul(slash + 1, NULL, 10);
        assert_true(worker < WORKERS);
        assert_true(number >= next[worker]);
        next[worker] = (unsigned)number + 1;
    }
    assert_int_equal(lines + dropped(), WORKERS * LINES);
    assert_true(lines > 1000);
}

static void full_ring_drops_and_counts(void **state) {
    (void)state;
    /* A pipe whose reader does not read: first the pipe fills, then the ring. */
    assert_int_equal(mkfifo(path, 0600), 0);
    int reader = open(path, O_RDONLY | O_NONBLOCK);
    assert_true(reader >= 0);
    apply(path, true);
    unsigned written = 0;
    while (dropped() == 0) {
        write_line(0, written++);
        assert_true(written < 100000);
    }
    for (unsigned i = 0; i < 9; i++)
        write_line(0, written++); /* never blocks */
    uint64_t lost = dropped();
    assert_true(lost >= 1 && lost <= 10);
    /* The reader wakes up: everything but the dropped lines arrives. */
    unsigned lines = 0;
    time_t end = time(NULL) + PATIENCE_S;
    while (lines < written - lost) {
        static char some[65536];
        ssize_t n = read(reader, some, sizeof some);
        for (ssize_t i = 0; i < n; i++)
            lines += some[i] == '\n';
        assert_true(time(NULL) < end);
        if (n <= 0)
            nap();
    }
    assert_int_equal(lines, written - lost);
    assert_int_equal(dropped(), lost);
    close(reader);
}

static void end_does_not_wait_for_a_stuck_reader(void **state) {
    (void)state;
    assert_int_equal(mkfifo(path, 0600), 0);
    int reader = open(path, O_RDONLY | O_NONBLOCK);
    apply(path, true);
    unsigned written = 0;
    while (dropped() == 0)
        write_line(0, written++);
    assert_false(vx_access_log_stop(log_, 10));
    assert_true(dropped() > 1); /* what was left behind is counted, too */
    close(reader);
}

static void new_file_frees_a_stuck_log(void **state) {
    (void)state;
    assert_int_equal(mkfifo(path, 0600), 0);
    int reader = open(path, O_RDONLY | O_NONBLOCK);
    apply(path, true);
    for (unsigned i = 0; dropped() == 0; i++)
        write_line(0, i);
    apply(other, true);
    time_t end = time(NULL) + PATIENCE_S;
    do {
        write_line(1, 1);
        read_file(other);
        assert_true(time(NULL) < end);
    } while (count_lines() == 0);
    close(reader);
}

static void broken_pipe_is_survived(void **state) {
    (void)state;
    assert_int_equal(mkfifo(path, 0600), 0);
    int reader = open(path, O_RDONLY | O_NONBLOCK);
    apply(path, true);
    close(reader);
    time_t end = time(NULL) + PATIENCE_S;
    write_line(0, 1);
    while (dropped() == 0) {
        assert_true(time(NULL) < end);
        nap();
    }
    assert_int_equal(dropped(), 1);
    /* And the log goes on when the file is good again. Lines queued before the change are still the old one's. */
    apply(other, true);
    do {
        write_line(0, 2);
        nap();
        read_file(other);
        assert_true(time(NULL) < end);
    } while (count_lines() == 0);
}

/* A write that fails inside a line leaves half of it behind; the next line must not be glued to it. */
static void half_a_line_spoils_no_other(void **state) {
    (void)state;
    enum { AFTER = 10, PIPE_BYTES = 65536, PIPE_PAGE = 4096 };
    assert_int_equal(mkfifo(path, 0600), 0);
    int reader = open(path, O_RDONLY | O_NONBLOCK);
    assert_int_equal(fcntl(reader, F_SETPIPE_SZ, PIPE_BYTES), PIPE_BYTES);
    apply(path, true);
    for (unsigned i = 0; dropped() == 0; i++)
        write_line(0, i);
    uint64_t lost = dropped();
    time_t end = time(NULL) + PATIENCE_S;
    for (int held = 0; held < PIPE_BYTES - PIPE_PAGE; nap()) {
        assert_int_equal(ioctl(reader, FIONREAD, &held), 0);
        assert_true(time(NULL) < end);
    }
    close(reader);
    while (dropped() == lost) {
        assert_true(time(NULL) < end);
        nap();
    }
    /* What the pipe holds is still there for the next reader. */
    reader = open(path, O_RDONLY | O_NONBLOCK);
    for (unsigned i = 0; i < AFTER; i++)
        write_line(1, i);
    text = calloc(1, 1 << 20);
    assert_non_null(text);
    unsigned whole = 0, broken = 0, seen = 0;
    while (whole < AFTER) {
        ssize_t n = read(reader, text + text_len, (1 << 20) - text_len);
        if (n > 0)
            text_len += (size_t)n;
        else
            nap();
        assert_true(time(NULL) < end);
        const char *line_end;
        while ((line_end = memchr(text + seen, '\n', text_len - seen))) {
            struct vx_slice line = vx_slice(text + seen, (size_t)(line_end - text) - seen);
            seen += (unsigned)line.len + 1;
            if (!json_read(&json, line))
                broken++;
            else if (vx_slice_starts_with(json_value(&json, "path"), VX_SLICE("/1/")))
                whole++;
        }
    }
    assert_int_equal(broken, 1);
    close(reader);
}

static void full_disk(void **state) {
    (void)state;
    if (access("/dev/full", W_OK) != 0)
        fail_msg("/dev/full is needed");
    apply("/dev/full", true);
    write_line(0, 1);
    write_line(0, 2);
    time_t end = time(NULL) + PATIENCE_S;
    while (dropped() < 2) {
        assert_true(time(NULL) < end);
        nap();
    }
    assert_int_equal(dropped(), 2);
}

static void rotation(void **state) {
    (void)state;
    apply(path, true);
    write_line(0, 1);
    await_lines(path, 1);
    assert_int_equal(rename(path, other), 0);
    write_line(0, 2);
    await_lines(other, 2); /* still the same file */
    assert_true(vx_access_log_reopen(log_, why, sizeof why));
    /* What is queued at that moment may go to either file, later lines go to the new one. */
    time_t end = time(NULL) + PATIENCE_S;
    do {
        write_line(0, 3);
        nap();
        read_file(path);
        assert_true(time(NULL) < end);
    } while (count_lines() == 0);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0640 & ~umask(0));
    assert_int_equal(dropped(), 0);
}

static void a_failed_reopen_keeps_the_old_file(void **state) {
    (void)state;
    apply(path, true);
    assert_int_equal(rename(path, other), 0);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_false(vx_access_log_reopen(log_, why, sizeof why));
    assert_non_null(strstr(why, path));
    write_line(0, 1);
    await_lines(other, 1);
    /* The same at a reload. */
    struct vx_config_access_log config = {.enabled = true, .path = vx_slice_of(path), .json = true};
    assert_false(vx_access_log_apply(log_, &config, why, sizeof why));
    write_line(0, 2);
    await_lines(other, 2);
    rmdir(path);
}

static void a_pipe_without_a_reader_is_refused(void **state) {
    (void)state;
    assert_int_equal(mkfifo(path, 0600), 0);
    struct vx_config_access_log config = {.enabled = true, .path = vx_slice_of(path), .json = true};
    assert_false(vx_access_log_apply(log_, &config, why, sizeof why));
    assert_non_null(strstr(why, strerror(ENXIO)));
}

static void on_off_and_another_format(void **state) {
    (void)state;
    apply(path, true);
    write_line(0, 1);
    await_lines(path, 1);
    turn_off();
    write_line(0, 2);
    apply(path, false);
    write_line(0, 3);
    await_lines(path, 2);
    assert_non_null(strstr(text, "\"GET /0/3 HTTP/1.1\" 200 0 \"-\" \"-\"\n"));
    assert_null(strstr(text, "/0/2"));
    turn_off();
    assert_true(vx_access_log_stop(log_, PATIENCE_S * 1000));
    assert_true(vx_access_log_stop(log_, 0)); /* once more does no harm */
}

static void standard_output(void **state) {
    (void)state;
    int real = dup(STDOUT_FILENO);
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    fflush(stdout);
    dup2(fd, STDOUT_FILENO);
    apply("stdout", true);
    assert_true(vx_access_log_reopen(log_, why, sizeof why)); /* leaves it alone */
    write_line(0, 1);
    assert_true(vx_access_log_stop(log_, PATIENCE_S * 1000));
    dup2(real, STDOUT_FILENO);
    close(real);
    read_file(path);
    assert_int_equal(count_lines(), 1);
    /* A descriptor of its own: closing the log leaves stdout open. */
    assert_int_equal(fcntl(STDOUT_FILENO, F_GETFD), 0);
    assert_int_equal(access("stdout", F_OK), -1);
    close(fd);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(off_at_first, setup, teardown),
        cmocka_unit_test_setup_teardown(appears_by_itself, setup, teardown),
        cmocka_unit_test_setup_teardown(every_line_is_there_or_counted, setup, teardown),
        cmocka_unit_test_setup_teardown(full_ring_drops_and_counts, setup, teardown),
        cmocka_unit_test_setup_teardown(end_does_not_wait_for_a_stuck_reader, setup, teardown),
        cmocka_unit_test_setup_teardown(new_file_frees_a_stuck_log, setup, teardown),
        cmocka_unit_test_setup_teardown(broken_pipe_is_survived, setup, teardown),
        cmocka_unit_test_setup_teardown(half_a_line_spoils_no_other, setup, teardown),
        cmocka_unit_test_setup_teardown(full_disk, setup, teardown),
        cmocka_unit_test_setup_teardown(rotation, setup, teardown),
        cmocka_unit_test_setup_teardown(a_failed_reopen_keeps_the_old_file, setup, teardown),
        cmocka_unit_test_setup_teardown(a_pipe_without_a_reader_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(on_off_and_another_format, setup, teardown),
        cmocka_unit_test_setup_teardown(standard_output, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
