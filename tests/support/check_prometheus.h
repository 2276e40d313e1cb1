/* SPDX-License-Identifier: Apache-2.0 */
/* A strict reader of a metrics page in Prometheus' text format 0.0.4, for tests of what we write. */
#ifndef VX_TESTS_SUPPORT_CHECK_PROMETHEUS_H
#define VX_TESTS_SUPPORT_CHECK_PROMETHEUS_H

#include <stdbool.h>
#include <stddef.h>

#include "core/base/slice.h"

struct prometheus_sample {
    struct vx_slice name, labels; /* labels: what stands between the braces */
    double value;
    struct vx_slice series; /* both, as they stand */
};

struct prometheus_page {
    struct prometheus_sample *samples; /* from malloc */
    size_t count, room;
    size_t line;     /* number of the line read last */
    const char *why; /* what is wrong with it */
};

/* Reads the page. False: a line breaks the format, a metric has no HELP and TYPE or stands in two places, a sample
 * occurs twice, or a histogram's buckets do not add up; `line` and `why` say so. Slices borrow from `text`. */
bool prometheus_read(struct prometheus_page *page, struct vx_slice text);
void prometheus_free(struct prometheus_page *page);

/* The sample whose name and labels are exactly `series`, e.g. `a_total{x="y"}`; NULL: none. */
const struct prometheus_sample *prometheus_find(const struct prometheus_page *page, const char *series);

/* Fails the test unless the page has the series with this value. */
void prometheus_check(const struct prometheus_page *page, const char *series, double value);

#endif
