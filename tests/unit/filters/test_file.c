/* SPDX-License-Identifier: Apache-2.0 */
/* Reading files: what comes of whole, cut, large and missing ones. */
#include "filters/file.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char path[] = "/tmp/vortex-file-XXXXXX";

static int make_file(void **state) {
    (void)state;
    memcpy(path + sizeof path - 7, "XXXXXX", 6);
    int fd = mkstemp(path);
    if (fd < 0)
        return -1;
    bool written = write(fd, "content", 7) == 7;
    close(fd);
    return written ? 0 : -1;
}

static int remove_file(void **state) {
    (void)state;
    return unlink(path);
}

static void reads_a_file_of_at_most_the_limit(void **state) {
    (void)state;
    size_t bytes;
    char *data = vx_file_read(path, 7, &bytes);
    assert_non_null(data);
    assert_int_equal(bytes, 7);
    assert_memory_equal(data, "content", 7);
    free(data);
    assert_null(vx_file_read(path, 6, &bytes));
    assert_int_equal(errno, EFBIG);
}

static void says_why_there_is_nothing_to_read(void **state) {
    (void)state;
    size_t bytes;
    assert_null(vx_file_read("/nowhere/at/all", 7, &bytes));
    assert_int_equal(errno, ENOENT);
    assert_null(vx_file_read("/tmp", SIZE_MAX, &bytes));
    assert_int_equal(errno, EIO);
}

static void fills_exactly_or_not_at_all(void **state) {
    (void)state;
    char room[8];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_true(vx_file_fill(fd, room, 3));
    assert_true(vx_file_fill(fd, room + 3, 4));
    assert_memory_equal(room, "content", 7);
    assert_true(vx_file_fill(fd, room, 0));
    assert_false(vx_file_fill(fd, room, 1));
    close(fd);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_a_file_of_at_most_the_limit),
        cmocka_unit_test(says_why_there_is_nothing_to_read),
        cmocka_unit_test(fills_exactly_or_not_at_all),
    };
    return cmocka_run_group_tests(tests, make_file, remove_file);
}
