/* SPDX-License-Identifier: Apache-2.0 */
/* What the process page says of this very process. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "proxy/telemetry/process.h"

static void open_files_are_counted(void **state) {
    (void)state;
    uint64_t before = vx_process_stats_read().open_files;
    int fds[10];
    for (int i = 0; i < 10; i++)
        assert_true((fds[i] = open("/dev/null", O_RDONLY)) >= 0);
    assert_int_equal(vx_process_stats_read().open_files, before + 10);
    for (int i = 0; i < 10; i++)
        close(fds[i]);
    assert_int_equal(vx_process_stats_read().open_files, before);
}

static void memory_grows_when_touched(void **state) {
    (void)state;
    enum { BYTES = 32 * 1024 * 1024 };
    struct vx_process_stats before = vx_process_stats_read();
    char *p = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(p != MAP_FAILED);
    memset(p, 1, BYTES);
    struct vx_process_stats after = vx_process_stats_read();
    assert_true(after.virtual_bytes >= before.virtual_bytes + BYTES);
    assert_true(after.resident_bytes >= before.resident_bytes + BYTES / 2);
    munmap(p, BYTES);
}

static void time_passes(void **state) {
    (void)state;
    uint64_t before = vx_process_stats_read().cpu_ns;
    volatile unsigned spin = 0;
    while (vx_process_stats_read().cpu_ns < before + 1000000)
        spin++;
    /* It started between boot and now. */
    struct timespec up;
    clock_gettime(CLOCK_BOOTTIME, &up);
    uint64_t now = (uint64_t)time(NULL), started = vx_process_start_time_s();
    assert_true(started <= now + 1);
    assert_true(started + 2 >= now - (uint64_t)up.tv_sec);
}

static void file_limit(void **state) {
    (void)state;
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = 512;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_int_equal(vx_process_stats_read().max_files, 512);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(open_files_are_counted),
        cmocka_unit_test(memory_grows_when_touched),
        cmocka_unit_test(time_passes),
        cmocka_unit_test(file_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
