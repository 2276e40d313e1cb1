/* SPDX-License-Identifier: Apache-2.0 */
/* The page as Prometheus reads it: line by line by a strict parser, with backends of a real snapshot, hostile names and
 * ten thousand routes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/exchange/snapshot.h"
#include "core/routing/balance/pick.h"
#include "core/routing/balance/set.h"
#include "proxy/telemetry/metrics.h"
#include "support/check_prometheus.h"
#include "support/file.h"

enum { WORKERS = 2, BACKENDS = 3, MANY_ROUTES = 10000 };

static struct vx_metrics *m;
static struct vx_text text;
static struct prometheus_page page;

static void *take(struct vx_chunk_source *self, size_t bytes) {
    (void)self;
    return aligned_alloc(64, (bytes + 63) & ~(size_t)63);
}

static void give(struct vx_chunk_source *self, void *chunk, size_t bytes) {
    (void)self;
    (void)bytes;
    free(chunk);
}

static struct vx_chunk_source memory = {take, give, 65536};

/* One route with three endpoints, of which the last two belong to one name. */
static struct vx_backend_registry registry;
static struct vx_arena arena;
static struct vx_config_route config;
static struct vx_config_backend backends[2];
static struct vx_target_shared shared[BACKENDS];
static struct vx_target targets[BACKENDS];
static struct vx_route route;
static struct vx_snapshot snapshot;

static int setup(void **state) {
    (void)state;
    m = vx_metrics_new(WORKERS);
    if (!m)
        return -1;
    vx_backend_registry_init(&registry, &memory, WORKERS);
    vx_arena_init(&arena, NULL, 0, &memory);
    backends[0] = (struct vx_config_backend){.id = 1, .address_text = VX_SLICE("10.0.0.1:80"), .weight = 1};
    backends[1] = (struct vx_config_backend){.id = 2, .address_text = VX_SLICE("name:80"), .weight = 1};
    config = (struct vx_config_route){
        .name = VX_SLICE("main"),
        .backends = backends,
        .backend_count = 2,
        .balance = VX_BALANCE_ROUND_ROBIN,
        .ewma_decay = 0.5,
        .breaker = {.failures = 1, .open_for_ns = 1000000000, .half_open_requests = 1},
        .health_check = {.enabled = true, .healthy = 1, .unhealthy = 1},
    };
    struct vx_backend_endpoint endpoints[BACKENDS];
    route = (struct vx_route){.config = &config, .targets = targets};
    route.metrics = vx_metrics_route(m, config.name);
    for (unsigned i = 0; i < BACKENDS; i++) {
        const struct vx_config_backend *backend = &backends[i > 0];
        endpoints[i] = (struct vx_backend_endpoint){
            .backend = backend,
            .address = {.kind = VX_ADDRESS_IP4, .port = 80, .ip = {10, 0, 0, (uint8_t)(i + 1)}},
        };
        atomic_init(&shared[i].connections_opened, 100 * (i + 1));
        targets[i] = (struct vx_target){
            .name = backend->address_text,
            .shared = &shared[i],
            .metrics = vx_metrics_backend(m, route.metrics, backend->address_text),
        };
    }
    route.set = vx_backend_set_build(&registry, &arena, &config, endpoints, BACKENDS, 1);
    snapshot = (struct vx_snapshot){.routes = &route, .route_count = 1, .version = 7};
    return route.set ? 0 : -1;
}

static void forget_page(void) {
    prometheus_free(&page);
    vx_text_free(&text);
}

static int teardown(void **state) {
    (void)state;
    forget_page();
    for (unsigned i = 0; i < BACKENDS; i++)
        vx_metrics_backend_drop(m, targets[i].metrics);
    vx_metrics_route_drop(m, route.metrics);
    vx_metrics_free(m);
    vx_backend_set_drop(&registry, route.set);
    vx_backend_registry_destroy(&registry);
    vx_arena_reset(&arena);
    return 0;
}

static void render(const struct vx_snapshot *s) {
    forget_page();
    assert_true(vx_metrics_render(m, s, &text));
    if (!prometheus_read(&page, vx_slice(text.data, text.len))) {
        print_error("line %zu: %s\n", page.line, page.why);
        fail();
    }
}

#define HISTOGRAM         "# HELP vortex_x h\n# TYPE vortex_x histogram\n"
#define BUCKET(le, count) "vortex_x_bucket{le=\"" le "\"} " count "\n"

static void the_parser_is_strict(void **state) {
    (void)state;
    static const char *const bad[] = {
        "vortex_x 1\n",
        "# HELP vortex_x h\nvortex_x 1\n",
        "# HELP vortex_x h\n# TYPE vortex_x counter\nvortex_x 1",
        "# HELP vortex_x h\n# TYPE vortex_x counter\nvortex_x 1\n\n",
        "# HELP vortex_x h\n# TYPE vortex_x counter\nvortex_x 1\nvortex_x 2\n",
        "# HELP vortex_x h\n# TYPE vortex_x counter\nvortex_x{a=\"1} 1\n",
        "# HELP vortex_x h\n# TYPE vortex_x counter\nvortex_x{a=\"1\"b=\"2\"} 1\n",
        "# HELP vortex_x h\n# TYPE vortex_x counter\nvortex_x{a=\"\\x\"} 1\n",
        "# HELP vortex_x h\n# TYPE vortex_x counter\nvortex_x one\n",
        "# HELP vortex_x h\n# TYPE vortex_x counter\nvortex_x  1\n",
        "# HELP vortex_x h\n# TYPE vortex_x counter\nvortex_y 1\n",
        "# HELP vortex_x h\n# TYPE vortex_x thing\nvortex_x 1\n",
        "# HELP x h\n# TYPE x counter\nx 1\n",
        HISTOGRAM BUCKET("1", "2") BUCKET("+Inf", "1"),
        HISTOGRAM BUCKET("2", "1") BUCKET("1", "1"),
        HISTOGRAM BUCKET("+Inf", "1") "vortex_x_count 2\n",
        HISTOGRAM BUCKET("+Inf", "1") "vortex_x_sum 1\n",
        HISTOGRAM BUCKET("1", "1") "vortex_x_sum 1\nvortex_x_count 1\n",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (prometheus_read(&page, vx_slice_of(bad[i]))) {
            print_error("accepted: %s\n", bad[i]);
            fail();
        }
        assert_non_null(page.why);
        prometheus_free(&page);
    }
}

static void without_a_snapshot(void **state) {
    (void)state;
    render(NULL);
    prometheus_check(&page, "vortex_config_version", 0);
    prometheus_check(&page, "vortex_workers", WORKERS);
    prometheus_check(&page, "vortex_build_info{version=\"" VX_VERSION "\"}", 1);
    assert_null(prometheus_find(&page, "vortex_backend_active_requests{route=\"main\",backend=\"name:80\"}"));
    assert_non_null(
        prometheus_find(&page, "vortex_backend_requests_total{route=\"main\",backend=\"name:80\"}"));
    const struct prometheus_sample *cpu = prometheus_find(&page, "vortex_process_cpu_seconds_total");
    assert_true(cpu && cpu->value > 0);
    const struct prometheus_sample *memory_used =
        prometheus_find(&page, "vortex_process_resident_memory_bytes");
    assert_true(memory_used && memory_used->value > 100000);
    const struct prometheus_sample *files = prometheus_find(&page, "vortex_process_open_fds");
    assert_true(files && files->value >= 1);
}

/* Endpoints of one name are shown as one: counts added up, the worst of the rest. */
static void backends_of_a_snapshot(void **state) {
    (void)state;
    struct vx_random random = {1};
    struct vx_backend_ticket tickets[BACKENDS];
    for (unsigned i = 0; i < BACKENDS; i++) {
        struct vx_pick_request pick = {.random = &random, .now_ns = 2000};
        assert_int_equal(vx_backend_pick(route.set, &pick, &tickets[i]), VX_PICKED);
    }
    bool seen[BACKENDS] = {false};
    for (unsigned i = 0; i < BACKENDS; i++) {
        assert_false(seen[tickets[i].index]); /* round robin: one each */
        seen[tickets[i].index] = true;
        vx_backend_ticket_sample(&tickets[i], 1000000 * (tickets[i].index + 1), 3000);
    }
    assert_true(vx_backend_set_checked(route.set, 1, false, 3000));
    render(&snapshot);
    prometheus_check(&page, "vortex_backend_active_requests{route=\"main\",backend=\"10.0.0.1:80\"}", 1);
    prometheus_check(&page, "vortex_backend_active_requests{route=\"main\",backend=\"name:80\"}", 2);
    prometheus_check(&page, "vortex_backend_connections_opened_total{route=\"main\",backend=\"10.0.0.1:80\"}",
                     100);
    prometheus_check(&page, "vortex_backend_connections_opened_total{route=\"main\",backend=\"name:80\"}",
                     500);
    prometheus_check(&page, "vortex_backend_ewma_seconds{route=\"main\",backend=\"10.0.0.1:80\"}", 0.001);
    prometheus_check(&page, "vortex_backend_ewma_seconds{route=\"main\",backend=\"name:80\"}", 0.003);
    prometheus_check(&page, "vortex_backend_breaker_state{route=\"main\",backend=\"name:80\"}", 0);
    prometheus_check(&page, "vortex_backend_healthy{route=\"main\",backend=\"name:80\"}", 1);
    prometheus_check(&page, "vortex_config_version", 7);

    for (unsigned i = 0; i < BACKENDS; i++)
        vx_backend_ticket_end(&tickets[i], tickets[i].index == 2 ? VX_OUTCOME_FAILURE : VX_OUTCOME_SUCCESS,
                              4000);
    assert_true(vx_backend_set_checked(route.set, 2, false, 4000));
    render(&snapshot);
    prometheus_check(&page, "vortex_backend_active_requests{route=\"main\",backend=\"name:80\"}", 0);
    prometheus_check(&page, "vortex_backend_breaker_state{route=\"main\",backend=\"10.0.0.1:80\"}", 0);
    prometheus_check(&page, "vortex_backend_breaker_state{route=\"main\",backend=\"name:80\"}", 2);
    prometheus_check(&page, "vortex_backend_healthy{route=\"main\",backend=\"name:80\"}", 0);

    config.health_check.enabled = false;
    render(&snapshot);
    assert_null(prometheus_find(&page, "vortex_backend_healthy{route=\"main\",backend=\"name:80\"}"));
}

static void hostile_names(void **state) {
    (void)state;
    struct vx_route_metrics *odd = vx_metrics_route(m, VX_SLICE("a\"b\\c\nd}{é"));
    struct vx_backend_metrics *backend = vx_metrics_backend(m, odd, VX_SLICE("unix:/x\",y=\"z"));
    render(&snapshot);
    prometheus_check(&page, "vortex_retries_total{route=\"a\\\"b\\\\c\\nd}{é\"}", 0);
    prometheus_check(
        &page, "vortex_backend_requests_total{route=\"a\\\"b\\\\c\\nd}{é\",backend=\"unix:/x\\\",y=\\\"z\"}",
        0);
    vx_metrics_backend_drop(m, backend);
    vx_metrics_route_drop(m, odd);
}

/* Whoever reads a metric at night finds it in docs/operations.md. */
static void every_metric_is_documented(void **state) {
    (void)state;
    size_t bytes;
    char *docs = vx_test_read_file("docs/operations.md", &bytes);
    render(&snapshot);
    unsigned checked = 0;
    for (const char *at = text.data; (at = strstr(at, "# TYPE ")); checked++) {
        char quoted[128];
        at += strlen("# TYPE ");
        snprintf(quoted, sizeof quoted, "| `%.*s` |", (int)strcspn(at, " "), at);
        if (!strstr(docs, quoted)) {
            print_error("docs/operations.md lacks %s\n", quoted);
            fail();
        }
    }
    assert_true(checked > 25);
    free(docs);
}

static void ten_thousand_routes(void **state) {
    (void)state;
    static struct vx_route_metrics *many[MANY_ROUTES];
    static struct vx_backend_metrics *of_many[MANY_ROUTES];
    const struct vx_request get = {.version = VX_HTTP_11, .method_text = VX_SLICE("GET")};
    for (unsigned i = 0; i < MANY_ROUTES; i++) {
        char name[32];
        snprintf(name, sizeof name, "route-%u", i);
        many[i] = vx_metrics_route(m, vx_slice_of(name));
        assert_non_null(many[i]);
        of_many[i] = vx_metrics_backend(m, many[i], VX_SLICE("10.0.0.1:80"));
        assert_non_null(of_many[i]);
        struct vx_route counted = {.metrics = many[i]};
        struct vx_target target = {.metrics = of_many[i]};
        struct vx_exchange_record r = {.request = &get,
                                       .route = &counted,
                                       .target = &target,
                                       .attempts = 1,
                                       .status = 200,
                                       .ended_ns = 1000 * i};
        for (unsigned n = 0; n <= i % 3; n++)
            vx_metrics_record(m, n % WORKERS, &r);
    }
    render(&snapshot);
    double requests = 0, attempts = 0;
    for (size_t i = 0; i < page.count; i++) {
        if (vx_slice_eq(page.samples[i].name, VX_SLICE("vortex_http_requests_total")))
            requests += page.samples[i].value;
        if (vx_slice_eq(page.samples[i].name, VX_SLICE("vortex_backend_requests_total")))
            attempts += page.samples[i].value;
    }
    assert_true(requests == 1 + 3333.0 * (1 + 2 + 3));
    assert_true(attempts == requests);
    for (unsigned i = 0; i < MANY_ROUTES; i += 997) {
        char series[128];
        snprintf(series, sizeof series,
                 "vortex_http_requests_total{route=\"route-%u\",code=\"200\",protocol=\"http/1.1\"}", i);
        prometheus_check(&page, series, i % 3 + 1);
    }
    for (unsigned i = 0; i < MANY_ROUTES; i++) {
        vx_metrics_backend_drop(m, of_many[i]);
        vx_metrics_route_drop(m, many[i]);
    }
    render(&snapshot);
    assert_null(prometheus_find(&page, "vortex_retries_total{route=\"route-17\"}"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_parser_is_strict),
        cmocka_unit_test_setup_teardown(without_a_snapshot, setup, teardown),
        cmocka_unit_test_setup_teardown(backends_of_a_snapshot, setup, teardown),
        cmocka_unit_test_setup_teardown(hostile_names, setup, teardown),
        cmocka_unit_test_setup_teardown(every_metric_is_documented, setup, teardown),
        cmocka_unit_test_setup_teardown(ten_thousand_routes, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
