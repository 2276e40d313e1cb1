/* SPDX-License-Identifier: Apache-2.0 */
/* See timestamp.h. The calendar is computed here instead of by gmtime_r, which takes a lock inside libc. */
#include "proxy/telemetry/timestamp.h"

#include <string.h>

static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                   "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
/* 1970-01-01 was a Thursday. */
static const char weekdays[7][4] = {"Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"};

struct date {
    unsigned year, month, day;
};

/* Days since 1970-01-01 to the Gregorian calendar, counting years from March (Hinnant, "chrono-compatible
 * low-level date algorithms"). */
static struct date date_of(uint64_t days) {
    uint64_t shifted = days + 719468;
    uint64_t era = shifted / 146097;
    unsigned day_of_era = (unsigned)(shifted % 146097);
    unsigned year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    unsigned day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    unsigned shifted_month = (5 * day_of_year + 2) / 153;
    unsigned month = shifted_month < 10 ? shifted_month + 3 : shifted_month - 9;
    return (struct date){
        .year = (unsigned)(era * 400) + year_of_era + (month <= 2),
        .month = month,
        .day = day_of_year - (153 * shifted_month + 2) / 5 + 1,
    };
}

static void put(char *out, unsigned n, unsigned digits) {
    while (digits > 0) {
        out[--digits] = (char)('0' + n % 10);
        n /= 10;
    }
}

static void set_second(struct vx_timestamp *t, uint64_t second) {
    struct date date = date_of(second / 86400);
    unsigned in_day = (unsigned)(second % 86400);
    unsigned hour = in_day / 3600, minute = in_day / 60 % 60;
    char *r = t->rfc3339;
    memcpy(r, "0000-00-00T00:00:00.000Z", VX_TIMESTAMP_RFC3339_BYTES);
    put(r, date.year, 4);
    put(r + 5, date.month, 2);
    put(r + 8, date.day, 2);
    put(r + 11, hour, 2);
    put(r + 14, minute, 2);
    put(r + 17, in_day % 60, 2);
    char *c = t->clf;
    memcpy(c, "00/Jan/0000:00:00:00 +0000", VX_TIMESTAMP_CLF_BYTES);
    put(c, date.day, 2);
    memcpy(c + 3, months[date.month - 1], 3);
    put(c + 7, date.year, 4);
    memcpy(c + 12, r + 11, 8);
    char *h = t->http;
    memcpy(h, "Thu, 00 Jan 0000 00:00:00 GMT", VX_TIMESTAMP_HTTP_BYTES);
    memcpy(h, weekdays[second / 86400 % 7], 3);
    put(h + 5, date.day, 2);
    memcpy(h + 8, months[date.month - 1], 3);
    put(h + 12, date.year, 4);
    memcpy(h + 17, r + 11, 8);
    t->second = second;
}

void vx_timestamp_set(struct vx_timestamp *t, uint64_t wall_ns) {
    uint64_t second = wall_ns / 1000000000;
    if (second != t->second || t->rfc3339[0] == 0)
        set_second(t, second);
    put(t->rfc3339 + 20, (unsigned)(wall_ns / 1000000 % 1000), 3);
}
