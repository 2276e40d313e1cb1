/* SPDX-License-Identifier: Apache-2.0 */
/* Times as text, against libc's calendar. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "proxy/telemetry/timestamp.h"

static void check(struct vx_timestamp *t, uint64_t second, unsigned ms) {
    time_t wall = (time_t)second;
    struct tm tm;
    char wanted[64], millis[16];
    assert_non_null(gmtime_r(&wall, &tm));
    vx_timestamp_set(t, second * 1000000000 + ms * 1000000ull + 999999);
    strftime(wanted, sizeof wanted, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(millis, sizeof millis, ".%03uZ", ms);
    assert_memory_equal(t->rfc3339, wanted, 19);
    assert_memory_equal(t->rfc3339 + 19, millis, 5);
    strftime(wanted, sizeof wanted, "%d/%b/%Y:%H:%M:%S +0000", &tm);
    assert_memory_equal(t->clf, wanted, VX_TIMESTAMP_CLF_BYTES);
    strftime(wanted, sizeof wanted, "%a, %d %b %Y %H:%M:%S GMT", &tm);
    assert_memory_equal(t->http, wanted, VX_TIMESTAMP_HTTP_BYTES);
}

static void known_times(void **state) {
    (void)state;
    struct vx_timestamp t = {0};
    vx_timestamp_set(&t, 0);
    assert_memory_equal(t.rfc3339, "1970-01-01T00:00:00.000Z", VX_TIMESTAMP_RFC3339_BYTES);
    assert_memory_equal(t.clf, "01/Jan/1970:00:00:00 +0000", VX_TIMESTAMP_CLF_BYTES);
    vx_timestamp_set(&t, 1795399552123000000);
    assert_memory_equal(t.rfc3339, "2026-11-23T02:05:52.123Z", VX_TIMESTAMP_RFC3339_BYTES);
    assert_memory_equal(t.http, "Mon, 23 Nov 2026 02:05:52 GMT", VX_TIMESTAMP_HTTP_BYTES);
}

static void every_day_of_500_years(void **state) {
    (void)state;
    struct vx_timestamp t = {0};
    for (uint64_t day = 0; day < 366 * 500; day++) {
        check(&t, day * 86400, 0);
        check(&t, day * 86400 + 86399, 999);
    }
}

static void within_one_second_and_back(void **state) {
    (void)state;
    struct vx_timestamp t = {0};
    check(&t, 1000000000, 1);
    check(&t, 1000000000, 20);
    check(&t, 1000000001, 300);
    check(&t, 1000000000, 999);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_times),
        cmocka_unit_test(every_day_of_500_years),
        cmocka_unit_test(within_one_second_and_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
