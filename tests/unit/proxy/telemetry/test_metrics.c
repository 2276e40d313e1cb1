/* SPDX-License-Identifier: Apache-2.0 */
/* The registry: who holds counters how long, and what workers count into them. What is counted is read off the page. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/exchange/snapshot.h"
#include "proxy/telemetry/metrics.h"
#include "support/check_prometheus.h"

enum { WORKERS = 3 };

static struct vx_metrics *m;
static struct vx_text text;
static struct prometheus_page page;

static const struct vx_request get = {
    .method = VX_METHOD_GET, .version = VX_HTTP_11, .method_text = {"GET", 3}};

static int setup(void **state) {
    (void)state;
    m = vx_metrics_new(WORKERS);
    return m ? 0 : -1;
}

static void forget_page(void) {
    prometheus_free(&page);
    vx_text_free(&text);
}

static int teardown(void **state) {
    (void)state;
    forget_page();
    vx_metrics_free(m);
    return 0;
}

static void render(void) {
    forget_page();
    assert_true(vx_metrics_render(m, NULL, &text));
    if (!prometheus_read(&page, vx_slice(text.data, text.len))) {
        print_error("line %zu: %s\n", page.line, page.why);
        fail();
    }
}

static void record(uint32_t worker, const struct vx_route *route, uint16_t status, uint64_t ns) {
    struct vx_exchange_record r = {
        .request = &get,
        .route = route,
        .status = status,
        .started_ns = 1000,
        .ended_ns = 1000 + ns,
        .request_bytes = 10,
        .response_bytes = 100,
    };
    vx_metrics_record(m, worker, &r);
}

static void requests_by_code_and_protocol(void **state) {
    (void)state;
    struct vx_route route = {.metrics = vx_metrics_route(m, VX_SLICE("main"))};
    for (uint32_t worker = 0; worker < WORKERS; worker++) {
        record(worker, &route, 200, 1000000);
        record(worker, &route, 404, 1000000);
        record(worker, &route, 200, 1000000);
    }
    struct vx_request old = get;
    old.version = VX_HTTP_10;
    vx_metrics_record(m, 1, &(struct vx_exchange_record){.request = &old, .route = &route, .status = 200});
    render();
    prometheus_check(&page, "vortex_http_requests_total{route=\"main\",code=\"200\",protocol=\"http/1.1\"}",
                     6);
    prometheus_check(&page, "vortex_http_requests_total{route=\"main\",code=\"404\",protocol=\"http/1.1\"}",
                     3);
    prometheus_check(&page, "vortex_http_requests_total{route=\"main\",code=\"200\",protocol=\"http/1.0\"}",
                     1);
    prometheus_check(&page, "vortex_http_request_body_bytes_total{route=\"main\"}", 90);
    prometheus_check(&page, "vortex_http_response_bytes_total{route=\"main\"}", 900);
    prometheus_check(&page, "vortex_http_request_duration_seconds_count{route=\"main\"}", 10);
    vx_metrics_route_drop(m, route.metrics);
}

static void without_a_route(void **state) {
    (void)state;
    record(0, NULL, 404, 0);
    /* A head that could not be read. */
    const struct vx_request nothing = {0};
    vx_metrics_record(m, 0,
                      &(struct vx_exchange_record){
                          .request = &nothing, .error = VX_ERR_BAD_REQUEST, .status = 400, .started_ns = 5});
    vx_metrics_record(m, 0, &(struct vx_exchange_record){.error = VX_ERR_CLIENT_GONE});
    render();
    prometheus_check(&page, "vortex_http_requests_total{route=\"\",code=\"404\",protocol=\"http/1.1\"}", 1);
    prometheus_check(&page, "vortex_http_requests_total{route=\"\",code=\"400\",protocol=\"unknown\"}", 1);
    prometheus_check(&page, "vortex_http_requests_total{route=\"\",code=\"0\",protocol=\"unknown\"}", 1);
    prometheus_check(&page, "vortex_errors_total{reason=\"bad_request\"}", 1);
    prometheus_check(&page, "vortex_errors_total{reason=\"client_gone\"}", 1);
    prometheus_check(&page, "vortex_errors_total{reason=\"no_route\"}", 0);
}

static void durations_fall_into_buckets(void **state) {
    (void)state;
    struct vx_route route = {.metrics = vx_metrics_route(m, VX_SLICE("main"))};
    record(0, &route, 200, 100000); /* on the bound: within it */
    record(0, &route, 200, 100001);
    record(1, &route, 200, 900000);
    record(1, &route, 200, 60000000000);
    record(2, &route, 200, 61000000000);
    render();
    static const struct {
        const char *le;
        double count;
    } wanted[] = {{"0.0001", 1}, {"0.0002", 2}, {"0.0005", 2}, {"0.001", 3},
                  {"30", 3},     {"60", 4},     {"+Inf", 5}};
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        char name[128];
        snprintf(name, sizeof name, "vortex_http_request_duration_seconds_bucket{route=\"main\",le=\"%s\"}",
                 wanted[i].le);
        prometheus_check(&page, name, wanted[i].count);
    }
    prometheus_check(&page, "vortex_http_request_duration_seconds_sum{route=\"main\"}", 121.001100001);
    vx_metrics_route_drop(m, route.metrics);
}

static void tunnels(void **state) {
    (void)state;
    struct vx_route route = {.metrics = vx_metrics_route(m, VX_SLICE("main"))};
    struct vx_target target = {.metrics = vx_metrics_backend(m, route.metrics, VX_SLICE("b:1"))};
    struct vx_exchange_record r = {
        .request = &get,
        .route = &route,
        .target = &target,
        .attempts = 1,
        .status = 101,
        .tunnel = true,
        .part = VX_RECORD_TUNNEL_BEGUN,
        .ended_ns = 5000,
    };
    vx_metrics_record(m, 0, &r);
    /* Its end comes when the route and its counters may be gone. */
    struct vx_route only_a_name = {0};
    r.route = &only_a_name;
    r.target = NULL;
    r.part = VX_RECORD_TUNNEL_ENDED;
    vx_metrics_record(m, 0, &r);
    r.error = VX_ERR_BACKEND_RESET;
    vx_metrics_record(m, 0, &r);
    render();
    prometheus_check(&page, "vortex_http_requests_total{route=\"main\",code=\"101\",protocol=\"http/1.1\"}",
                     1);
    prometheus_check(&page, "vortex_backend_requests_total{route=\"main\",backend=\"b:1\"}", 1);
    prometheus_check(&page, "vortex_errors_total{reason=\"backend_reset\"}", 1);
    assert_null(prometheus_find(&page, "vortex_http_request_duration_seconds_count{route=\"main\"}"));
    vx_metrics_backend_drop(m, target.metrics);
    vx_metrics_route_drop(m, route.metrics);
}

static void grpc_calls_by_status(void **state) {
    (void)state;
    struct vx_route route = {.metrics = vx_metrics_route(m, VX_SLICE("main"))};
    for (uint8_t i = 0; i < 5; i++) {
        struct vx_exchange_record r = {
            .request = &get, .route = &route, .status = 200, .grpc = true, .grpc_status = i < 3 ? 0 : 14};
        vx_metrics_record(m, i % WORKERS, &r);
    }
    record(0, &route, 200, 1);
    render();
    prometheus_check(&page, "vortex_grpc_responses_total{route=\"main\",grpc_status=\"0\"}", 3);
    prometheus_check(&page, "vortex_grpc_responses_total{route=\"main\",grpc_status=\"14\"}", 2);
    assert_null(prometheus_find(&page, "vortex_grpc_responses_total{route=\"main\",grpc_status=\"5\"}"));
    vx_metrics_route_drop(m, route.metrics);
}

static void retries_and_backends(void **state) {
    (void)state;
    struct vx_route route = {.metrics = vx_metrics_route(m, VX_SLICE("main"))};
    struct vx_target a = {.metrics = vx_metrics_backend(m, route.metrics, VX_SLICE("a:1"))};
    struct vx_target b = {.metrics = vx_metrics_backend(m, route.metrics, VX_SLICE("b:1"))};
    vx_metrics_retried(m, 2, &route, &a);
    vx_metrics_retried(m, 2, &route, &a);
    struct vx_exchange_record r = {
        .request = &get, .route = &route, .target = &b, .attempts = 3, .status = 200};
    vx_metrics_record(m, 2, &r);
    /* No attempt was made, whatever the target says. */
    r.attempts = 0;
    vx_metrics_record(m, 2, &r);
    /* Uncounted ones do no harm. */
    struct vx_target uncounted = {0};
    struct vx_route uncounted_route = {0};
    vx_metrics_retried(m, 0, &uncounted_route, &uncounted);
    vx_metrics_retried(m, 0, &uncounted_route, NULL);
    r.error = VX_ERR_RATE_LIMITED;
    vx_metrics_record(m, 1, &r);
    r.attempts = 1;
    r.target = &uncounted;
    r.route = &uncounted_route;
    vx_metrics_record(m, 0, &r);
    render();
    prometheus_check(&page, "vortex_retries_total{route=\"main\"}", 2);
    prometheus_check(&page, "vortex_rate_limited_total{route=\"main\"}", 1);
    prometheus_check(&page, "vortex_backend_requests_total{route=\"main\",backend=\"a:1\"}", 2);
    prometheus_check(&page, "vortex_backend_requests_total{route=\"main\",backend=\"b:1\"}", 1);
    vx_metrics_backend_drop(m, a.metrics);
    vx_metrics_backend_drop(m, b.metrics);
    vx_metrics_route_drop(m, route.metrics);
}

static void more_codes_than_places(void **state) {
    (void)state;
    struct vx_route route = {.metrics = vx_metrics_route(m, VX_SLICE("odd"))};
    for (uint16_t status = 200; status < 300; status++)
        record(0, &route, status, 0);
    for (uint16_t status = 200; status < 300; status++)
        record(0, &route, status, 0);
    render();
    double sum = 0;
    unsigned series = 0;
    for (size_t i = 0; i < page.count; i++)
        if (vx_slice_eq(page.samples[i].name, VX_SLICE("vortex_http_requests_total"))) {
            sum += page.samples[i].value;
            series++;
        }
    assert_true(sum == 200);
    assert_int_equal(series, 32);
    prometheus_check(&page, "vortex_http_requests_total{route=\"odd\",code=\"200\",protocol=\"http/1.1\"}",
                     2);
    prometheus_check(&page, "vortex_http_requests_total{route=\"odd\",code=\"other\",protocol=\"other\"}",
                     138);
    vx_metrics_route_drop(m, route.metrics);
}

static void counters_outlive_holders(void **state) {
    (void)state;
    const char *const series =
        "vortex_http_requests_total{route=\"kept\",code=\"200\",protocol=\"http/1.1\"}";
    struct vx_route old = {.metrics = vx_metrics_route(m, VX_SLICE("kept"))};
    record(0, &old, 200, 0);
    /* A reload: the new snapshot takes hold before the old one lets go. */
    struct vx_route new = {.metrics = vx_metrics_route(m, VX_SLICE("kept"))};
    assert_ptr_equal(new.metrics, old.metrics);
    vx_metrics_route_drop(m, old.metrics);
    record(0, &new, 200, 0);
    render();
    prometheus_check(&page, series, 2);
    vx_metrics_route_drop(m, new.metrics);
    render();
    assert_null(prometheus_find(&page, series));
    /* The same name anew begins at zero. */
    new.metrics = vx_metrics_route(m, VX_SLICE("kept"));
    record(0, &new, 200, 0);
    render();
    prometheus_check(&page, series, 1);
    vx_metrics_route_drop(m, new.metrics);
    vx_metrics_route_drop(m, NULL);
}

static void backends_hold_their_route(void **state) {
    (void)state;
    struct vx_route_metrics *one = vx_metrics_route(m, VX_SLICE("one"));
    struct vx_route_metrics *two = vx_metrics_route(m, VX_SLICE("two"));
    struct vx_backend_metrics *a = vx_metrics_backend(m, one, VX_SLICE("same:1"));
    struct vx_backend_metrics *b = vx_metrics_backend(m, two, VX_SLICE("same:1"));
    assert_ptr_not_equal(a, b);
    assert_ptr_equal(vx_metrics_backend(m, one, VX_SLICE("same:1")), a);
    vx_metrics_route_drop(m, one);
    render();
    prometheus_check(&page, "vortex_retries_total{route=\"one\"}", 0);
    prometheus_check(&page, "vortex_backend_requests_total{route=\"one\",backend=\"same:1\"}", 0);
    vx_metrics_backend_drop(m, a);
    vx_metrics_backend_drop(m, a);
    vx_metrics_backend_drop(m, NULL);
    assert_null(vx_metrics_backend(m, NULL, VX_SLICE("same:1")));
    render();
    assert_null(prometheus_find(&page, "vortex_retries_total{route=\"one\"}"));
    prometheus_check(&page, "vortex_backend_requests_total{route=\"two\",backend=\"same:1\"}", 0);
    vx_metrics_route_drop(m, two);
    vx_metrics_backend_drop(m, b);
}

static void worker_values(void **state) {
    (void)state;
    vx_metrics_add(vx_metrics_worker(m, 0), VX_WORKER_CONNECTIONS_ACTIVE, 5);
    vx_metrics_add(vx_metrics_worker(m, 1), VX_WORKER_CONNECTIONS_ACTIVE, -2); /* opened by the other */
    vx_metrics_add(vx_metrics_worker(m, 2), VX_WORKER_CONNECTIONS, 7);
    vx_metrics_add(vx_metrics_worker(m, WORKERS), VX_WORKER_ACCESS_LOG_DROPPED, 4);
    vx_metrics_set(vx_metrics_worker(m, 1), VX_WORKER_MEMORY_BLOCKS, 4096);
    vx_metrics_set(vx_metrics_worker(m, 1), VX_WORKER_MEMORY_BLOCKS, 8192);
    assert_int_equal(vx_metrics_total(m, VX_WORKER_CONNECTIONS_ACTIVE), 3);
    render();
    prometheus_check(&page, "vortex_connections_active", 3);
    prometheus_check(&page, "vortex_connections_total", 7);
    prometheus_check(&page, "vortex_access_log_dropped_total", 4);
    prometheus_check(&page, "vortex_memory_bytes{kind=\"blocks\"}", 8192);
    prometheus_check(&page, "vortex_memory_bytes{kind=\"arenas\"}", 0);
}

static void reloads(void **state) {
    (void)state;
    render();
    prometheus_check(&page, "vortex_config_last_reload_successful", 1);
    vx_metrics_reloaded(m, true, 1795399552500000000);
    vx_metrics_reloaded(m, false, 1795399553000000000);
    vx_metrics_reloaded(m, false, 1795399554000000000);
    render();
    prometheus_check(&page, "vortex_config_reloads_total{result=\"success\"}", 1);
    prometheus_check(&page, "vortex_config_reloads_total{result=\"failure\"}", 2);
    prometheus_check(&page, "vortex_config_last_reload_successful", 0);
    prometheus_check(&page, "vortex_config_last_reload_success_timestamp_seconds", 1795399552.5);
}

enum { ROUNDS = 20000 };

static struct vx_route shared_route;

static void *work(void *number) {
    for (int i = 0; i < ROUNDS; i++) {
        record(*(const uint32_t *)number, &shared_route, i % 2 ? 200 : 404, 1000000);
        vx_metrics_add(vx_metrics_worker(m, *(const uint32_t *)number), VX_WORKER_CONNECTIONS, 1);
    }
    return NULL;
}

/* Pages are rendered while the workers count: each is consistent (the parser checks the histograms), and no count is
 * lost. */
static void read_while_written(void **state) {
    (void)state;
    static const uint32_t numbers[WORKERS] = {0, 1, 2};
    pthread_t threads[WORKERS];
    shared_route.metrics = vx_metrics_route(m, VX_SLICE("busy"));
    for (unsigned i = 0; i < WORKERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, work, (void *)&numbers[i]), 0);
    for (int i = 0; i < 50; i++)
        render();
    for (unsigned i = 0; i < WORKERS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    render();
    prometheus_check(&page, "vortex_http_requests_total{route=\"busy\",code=\"200\",protocol=\"http/1.1\"}",
                     WORKERS * (ROUNDS / 2.0));
    prometheus_check(&page, "vortex_http_request_duration_seconds_count{route=\"busy\"}", WORKERS * ROUNDS);
    prometheus_check(&page, "vortex_connections_total", WORKERS * ROUNDS);
    vx_metrics_route_drop(m, shared_route.metrics);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(requests_by_code_and_protocol, setup, teardown),
        cmocka_unit_test_setup_teardown(without_a_route, setup, teardown),
        cmocka_unit_test_setup_teardown(durations_fall_into_buckets, setup, teardown),
        cmocka_unit_test_setup_teardown(tunnels, setup, teardown),
        cmocka_unit_test_setup_teardown(grpc_calls_by_status, setup, teardown),
        cmocka_unit_test_setup_teardown(retries_and_backends, setup, teardown),
        cmocka_unit_test_setup_teardown(more_codes_than_places, setup, teardown),
        cmocka_unit_test_setup_teardown(counters_outlive_holders, setup, teardown),
        cmocka_unit_test_setup_teardown(backends_hold_their_route, setup, teardown),
        cmocka_unit_test_setup_teardown(worker_values, setup, teardown),
        cmocka_unit_test_setup_teardown(reloads, setup, teardown),
        cmocka_unit_test_setup_teardown(read_while_written, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
