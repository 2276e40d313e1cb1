/* SPDX-License-Identifier: Apache-2.0 */
/* The recorder port: metrics always, a line where one is due. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/exchange/snapshot.h"
#include "proxy/telemetry/recorder.h"
#include "support/check_prometheus.h"

static char path[] = "/tmp/test_recorder_XXXXXX";

static const struct vx_request request = {.version = VX_HTTP_11, .method_text = {"GET", 3}, .path = {"/", 1}};

static void check_counts(struct vx_metrics *m, double requests, double retries) {
    struct vx_text text = {0};
    struct prometheus_page page;
    assert_true(vx_metrics_render(m, NULL, &text));
    assert_true(prometheus_read(&page, vx_slice(text.data, text.len)));
    prometheus_check(&page, "vortex_http_requests_total{route=\"main\",code=\"200\",protocol=\"http/1.1\"}",
                     requests);
    prometheus_check(&page, "vortex_retries_total{route=\"main\"}", retries);
    prometheus_free(&page);
    vx_text_free(&text);
}

static unsigned lines_in_file(void) {
    unsigned lines = 0;
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    for (int c; (c = getc(f)) != EOF;)
        lines += c == '\n';
    fclose(f);
    return lines;
}

static void counts_and_logs(void **state) {
    (void)state;
    struct vx_metrics *m = vx_metrics_new(2);
    struct vx_access_log *log = vx_access_log_new(2, m);
    struct vx_config_access_log config = {.enabled = true, .path = vx_slice_of(path), .json = true};
    char why[128];
    assert_true(vx_access_log_apply(log, &config, why, sizeof why));
    struct vx_worker_recorder with_log, without_log;
    vx_worker_recorder_init(&with_log, m, log, 0);
    vx_worker_recorder_init(&without_log, m, NULL, 1);

    struct vx_config_route route_config = {.name = VX_SLICE("main")};
    struct vx_route route = {.config = &route_config, .metrics = vx_metrics_route(m, VX_SLICE("main"))};
    struct vx_exchange_record record = {.request = &request, .route = &route, .status = 200, .ended_ns = 1};
    with_log.recorder.record(&with_log.recorder, &record);
    without_log.recorder.record(&without_log.recorder, &record);
    with_log.recorder.retried(&with_log.recorder, &route, NULL);
    check_counts(m, 2, 1);

    /* A tunnel is counted when it begins and logged when it ends. */
    record.part = VX_RECORD_TUNNEL_BEGUN;
    with_log.recorder.record(&with_log.recorder, &record);
    check_counts(m, 3, 1);
    record.part = VX_RECORD_TUNNEL_ENDED;
    with_log.recorder.record(&with_log.recorder, &record);
    check_counts(m, 3, 1);

    vx_access_log_free(log);
    assert_int_equal(lines_in_file(), 2);
    vx_metrics_route_drop(m, route.metrics);
    vx_metrics_free(m);
}

int main(void) {
    int fd = mkstemp(path);
    if (fd < 0)
        return 1;
    close(fd);
    const struct CMUnitTest tests[] = {cmocka_unit_test(counts_and_logs)};
    int result = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    return result;
}
