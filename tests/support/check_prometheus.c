/* SPDX-License-Identifier: Apache-2.0 */
/* See check_prometheus.h. */
#include "support/check_prometheus.h"

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { FAMILIES = 256, NAME_MAX_BYTES = 128 };

struct family {
    struct vx_slice name;
    bool histogram;
};

struct reading {
    struct prometheus_page *page;
    struct family families[FAMILIES];
    size_t family_count;
    struct vx_slice helped; /* the metric the last HELP line was for */
    /* The histogram series being read. */
    struct vx_slice series;
    double below, last_bound;
    bool has_infinity;
};

static bool bad(struct reading *r, const char *why) {
    r->page->why = why;
    return false;
}

static bool is_name(struct vx_slice s) {
    if (s.len == 0 || s.len > NAME_MAX_BYTES || isdigit((unsigned char)s.ptr[0]))
        return false;
    for (size_t i = 0; i < s.len; i++)
        if (!isalnum((unsigned char)s.ptr[i]) && s.ptr[i] != '_')
            return false;
    return true;
}

/* Cuts `s` at the first `c`: the part before it, and *rest after it. False: there is none. */
static bool cut(struct vx_slice s, char c, struct vx_slice *before, struct vx_slice *rest) {
    const char *at = s.len ? memchr(s.ptr, c, s.len) : NULL;
    if (!at)
        return false;
    *before = vx_slice(s.ptr, (size_t)(at - s.ptr));
    *rest = vx_slice_skip(s, before->len + 1);
    return true;
}

static bool read_comment(struct reading *r, struct vx_slice line) {
    bool help = vx_slice_starts_with(line, VX_SLICE("# HELP "));
    if (!help && !vx_slice_starts_with(line, VX_SLICE("# TYPE ")))
        return bad(r, "a comment that is neither HELP nor TYPE");
    struct vx_slice name, rest;
    if (!cut(vx_slice_skip(line, 7), ' ', &name, &rest) || !is_name(name) || rest.len == 0)
        return bad(r, "no metric name or nothing behind it");
    if (!vx_slice_starts_with(name, VX_SLICE("vortex_")))
        return bad(r, "the name does not begin with vortex_");
    if (help) {
        r->helped = name;
        return true;
    }
    if (!vx_slice_eq(name, r->helped))
        return bad(r, "TYPE without HELP before it");
    for (size_t i = 0; i < r->family_count; i++)
        if (vx_slice_eq(r->families[i].name, name))
            return bad(r, "the metric stands in two places");
    bool histogram = vx_slice_eq(rest, VX_SLICE("histogram"));
    if (!histogram && !vx_slice_eq(rest, VX_SLICE("counter")) && !vx_slice_eq(rest, VX_SLICE("gauge")))
        return bad(r, "an unknown type");
    if (r->family_count == FAMILIES)
        return bad(r, "too many metrics for this test");
    r->families[r->family_count++] = (struct family){name, histogram};
    return true;
}

/* One name="value"; *rest is what follows it. */
static bool read_label(struct vx_slice s, struct vx_slice *name, struct vx_slice *value,
                       struct vx_slice *rest) {
    if (!cut(s, '=', name, &s) || !is_name(*name) || s.len == 0 || s.ptr[0] != '"')
        return false;
    size_t i = 1;
    for (; i < s.len && s.ptr[i] != '"'; i++)
        if (s.ptr[i] == '\\' && (++i == s.len || !strchr("\\\"n", s.ptr[i])))
            return false;
    if (i >= s.len)
        return false;
    *value = vx_slice(s.ptr + 1, i - 1);
    *rest = vx_slice_skip(s, i + 1);
    return true;
}

/* Checks all labels; *le is the bucket's bound (ptr NULL: none) and *others the labels before it. */
static bool read_labels(struct vx_slice s, struct vx_slice *le, struct vx_slice *others) {
    *le = VX_SLICE_NONE;
    *others = s;
    for (struct vx_slice at = s; at.len;) {
        struct vx_slice name, value, rest;
        if (!read_label(at, &name, &value, &rest))
            return false;
        if (vx_slice_eq(name, VX_SLICE("le"))) {
            *le = value;
            *others = vx_slice(s.ptr, (size_t)(at.ptr - s.ptr));
            if (others->len)
                others->len--;
        }
        if (rest.len && (rest.ptr[0] != ',' || rest.len == 1))
            return false;
        at = rest.len ? vx_slice_skip(rest, 1) : rest;
    }
    return true;
}

static bool read_value(struct vx_slice s, double *value) {
    char text[64];
    if (s.len == 0 || s.len >= sizeof text || isspace((unsigned char)s.ptr[0]))
        return false;
    memcpy(text, s.ptr, s.len);
    text[s.len] = 0;
    char *end;
    *value = strtod(text, &end);
    return *end == 0 && *value >= 0;
}

static bool check_bucket(struct reading *r, const struct prometheus_sample *sample, struct vx_slice le,
                         struct vx_slice others) {
    double bound;
    if (!le.ptr || !read_value(le, &bound))
        return bad(r, "a bucket without a bound");
    if (!r->series.ptr || !vx_slice_eq(r->series, others)) {
        if (r->series.ptr)
            return bad(r, "a histogram without its sum and count");
        r->series = others;
        r->below = 0;
        r->last_bound = -1;
        r->has_infinity = false;
    }
    if (bound <= r->last_bound || sample->value < r->below)
        return bad(r, "buckets do not rise");
    r->last_bound = bound;
    r->below = sample->value;
    r->has_infinity = vx_slice_eq(le, VX_SLICE("+Inf"));
    return true;
}

static bool check_histogram(struct reading *r, const struct prometheus_sample *sample, struct vx_slice suffix,
                            struct vx_slice le, struct vx_slice others) {
    if (vx_slice_eq(suffix, VX_SLICE("_bucket")))
        return check_bucket(r, sample, le, others);
    if (!r->has_infinity || !vx_slice_eq(r->series, sample->labels))
        return bad(r, "a histogram's sum or count without its buckets");
    if (vx_slice_eq(suffix, VX_SLICE("_sum")))
        return true;
    if (!vx_slice_eq(suffix, VX_SLICE("_count")))
        return bad(r, "an unknown suffix in a histogram");
    if (sample->value != r->below)
        return bad(r, "count and the last bucket differ");
    r->series = VX_SLICE_NONE;
    return true;
}

static bool add_sample(struct reading *r, const struct prometheus_sample *sample) {
    struct prometheus_page *page = r->page;
    if (page->count == page->room) {
        page->room = page->room ? page->room * 2 : 1024;
        struct prometheus_sample *grown = realloc(page->samples, page->room * sizeof *grown);
        assert_non_null(grown);
        page->samples = grown;
    }
    page->samples[page->count++] = *sample;
    return true;
}

/* Takes the labels off the front of *rest, which may have none. */
static bool cut_labels(struct vx_slice *rest, struct vx_slice *labels) {
    if (rest->len == 0 || rest->ptr[0] != '{')
        return true;
    /* Label values may hold a brace, so the end is the last one. */
    const char *close = memrchr(rest->ptr, '}', rest->len);
    if (!close)
        return false;
    *labels = vx_slice(rest->ptr + 1, (size_t)(close - rest->ptr) - 1);
    *rest = vx_slice_skip(*rest, labels->len + 2);
    return true;
}

/* Whether the sample may stand beneath the TYPE line that was read last. */
static bool check_family(struct reading *r, const struct prometheus_sample *sample, struct vx_slice le,
                         struct vx_slice others) {
    const struct family *family = r->family_count ? &r->families[r->family_count - 1] : NULL;
    if (!family || !vx_slice_starts_with(sample->name, family->name))
        return bad(r, "a sample outside its metric");
    struct vx_slice suffix = vx_slice_skip(sample->name, family->name.len);
    if (family->histogram)
        return check_histogram(r, sample, suffix, le, others);
    return suffix.len == 0 || bad(r, "a sample outside its metric");
}

static bool read_sample(struct reading *r, struct vx_slice line) {
    struct prometheus_sample sample = {0};
    size_t name_len = 0;
    while (name_len < line.len && line.ptr[name_len] != '{' && line.ptr[name_len] != ' ')
        name_len++;
    sample.name = vx_slice(line.ptr, name_len);
    struct vx_slice rest = vx_slice_skip(line, name_len), le, others;
    if (!is_name(sample.name) || !cut_labels(&rest, &sample.labels) ||
        !read_labels(sample.labels, &le, &others))
        return bad(r, "a bad name or label");
    sample.series = vx_slice(line.ptr, line.len - rest.len);
    if (rest.len < 2 || rest.ptr[0] != ' ' || !read_value(vx_slice_skip(rest, 1), &sample.value))
        return bad(r, "a bad value");
    return check_family(r, &sample, le, others) && add_sample(r, &sample);
}

static int compare_series(const void *a, const void *b) {
    const struct prometheus_sample *x = a, *y = b;
    size_t xn = x->series.len, yn = y->series.len;
    int order = memcmp(x->series.ptr, y->series.ptr, xn < yn ? xn : yn);
    return order ? order : (xn > yn) - (xn < yn);
}

static bool read_line(struct reading *r, struct vx_slice line) {
    if (line.len == 0)
        return bad(r, "an empty line");
    if (line.ptr[0] != '#')
        return read_sample(r, line);
    if (r->series.ptr)
        return bad(r, "a histogram without its sum and count");
    return read_comment(r, line);
}

bool prometheus_read(struct prometheus_page *page, struct vx_slice text) {
    *page = (struct prometheus_page){0};
    struct reading r = {.page = page};
    struct vx_slice line;
    while (cut(text, '\n', &line, &text)) {
        page->line++;
        if (!read_line(&r, line))
            return false;
    }
    if (text.len)
        return bad(&r, "the last line has no line feed");
    if (r.series.ptr)
        return bad(&r, "a histogram without its sum and count");
    if (page->count == 0)
        return true;
    qsort(page->samples, page->count, sizeof *page->samples, compare_series);
    for (size_t i = 1; i < page->count; i++)
        if (compare_series(&page->samples[i - 1], &page->samples[i]) == 0)
            return bad(&r, "a series occurs twice");
    return true;
}

void prometheus_free(struct prometheus_page *page) {
    free(page->samples);
    *page = (struct prometheus_page){0};
}

const struct prometheus_sample *prometheus_find(const struct prometheus_page *page, const char *series) {
    for (size_t i = 0; i < page->count; i++)
        if (vx_slice_eq(page->samples[i].series, vx_slice_of(series)))
            return &page->samples[i];
    return NULL;
}

void prometheus_check(const struct prometheus_page *page, const char *series, double value) {
    const struct prometheus_sample *sample = prometheus_find(page, series);
    if (!sample) {
        print_error("no series %s\n", series);
        fail();
    } else if (sample->value != value) {
        print_error("%s is %g, not %g\n", series, sample->value, value);
        fail();
    }
}
