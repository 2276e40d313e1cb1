/* SPDX-License-Identifier: Apache-2.0 */
/* What telemetry costs: counting a request, writing its line of the access log, and rendering a metrics page of ten
 * thousand routes. One JSON object a line: name, unit, and the median, lowest and highest of the rounds. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/micro.h"
#include "core/exchange/snapshot.h"
#include "proxy/telemetry/byte_ring.h"
#include "proxy/telemetry/log_line.h"
#include "proxy/telemetry/recorder.h"

enum { ROUNDS = 31, CALLS = 20000, ROUTES = 10000, WORKERS = 4, REQUESTS = 64, RING_BYTES = 1 << 20 };

/* The result of the work, so that no compiler leaves it out. */
static volatile uint64_t sink;

/* Requests that differ in path, status and duration, as a browser sends them. */
static struct vx_header fields[REQUESTS][2];
static char paths[REQUESTS][64];
static struct vx_request requests[REQUESTS];
static struct vx_exchange_record records[REQUESTS];
static struct vx_client_info client;
static struct vx_config_route config = {.name = {"main-routing-topology", 21}};
static struct vx_route route = {.config = &config};
static struct vx_target target;
static struct vx_metrics *metrics;

static struct vx_header header(enum vx_header_id id, struct vx_slice name, struct vx_slice value) {
    return (struct vx_header){
        .name = name.ptr,
        .name_len = (uint16_t)name.len,
        .value = value.ptr,
        .value_len = (uint32_t)value.len,
        .id = (uint8_t)id,
    };
}

static void make_records(void) {
    static const uint16_t statuses[] = {200, 200, 200, 304, 200, 404, 200, 200};
    route.metrics = vx_metrics_route(metrics, config.name);
    target.metrics = vx_metrics_backend(metrics, route.metrics, VX_SLICE("10.0.0.1:8080"));
    for (unsigned i = 0; i < REQUESTS; i++) {
        int len =
            snprintf(paths[i], sizeof paths[i], "/articles/2026/%u/a-title-of-some-words.html", i * 7919);
        fields[i][0] =
            header(VX_HEADER_USER_AGENT, VX_SLICE("User-Agent"),
                   VX_SLICE("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
                            "Chrome/140.0.0.0 Safari/537.36"));
        fields[i][1] =
            header(VX_HEADER_REFERER, VX_SLICE("Referer"), VX_SLICE("https://www.example.com/articles/"));
        requests[i] = (struct vx_request){
            .method = VX_METHOD_GET,
            .version = VX_HTTP_11,
            .method_text = VX_SLICE("GET"),
            .path = vx_slice(paths[i], (size_t)len),
            .host = VX_SLICE("www.example.com"),
            .headers = {.items = fields[i],
                        .present = UINT64_C(1) << VX_HEADER_USER_AGENT | UINT64_C(1) << VX_HEADER_REFERER,
                        .count = 2,
                        .capacity = 2},
        };
        records[i] = (struct vx_exchange_record){
            .request = &requests[i],
            .client = &client,
            .client_ip = VX_SLICE("203.0.113.77"),
            .route = &route,
            .backend = VX_SLICE("10.0.0.1:8080"),
            .target = &target,
            .status = statuses[i % 8],
            .attempts = 1,
            .started_ns = 1000000000,
            .ended_ns = 1000000000 + (uint64_t)i * i * 10007,
            .backend_ns = (uint64_t)i * i * 10000,
            .response_bytes = 512 + i * 100,
        };
    }
}

static void bench_record(void) {
    struct vx_worker_recorder recorder;
    double rounds[ROUNDS];
    vx_worker_recorder_init(&recorder, metrics, NULL, 0);
    struct vx_recorder *volatile port =
        &recorder.recorder; /* called through its table, as an exchange does */
    for (unsigned r = 0; r < ROUNDS; r++) {
        uint64_t start = micro_cpu_ns();
        for (unsigned i = 0; i < CALLS; i++)
            port->record(port, &records[i % REQUESTS]);
        rounds[r] = (double)(micro_cpu_ns() - start) / CALLS;
    }
    micro_report("record, access log off", "ns", rounds, ROUNDS);
}

/* The worker's share of a line: made and put into the ring. The ring is emptied here, outside the clock, so that
 * neither a second thread nor a file is measured. */
static void bench_line(const char *name, size_t (*format)(char *, const struct vx_exchange_record *,
                                                          const struct vx_timestamp *)) {
    static char line[VX_LOG_LINE_MAX];
    static struct vx_byte_ring ring;
    struct vx_timestamp at = {0};
    double rounds[ROUNDS];
    char *data = malloc(RING_BYTES);
    if (!data)
        abort();
    vx_byte_ring_init(&ring, data, RING_BYTES);
    uint64_t wall = 1795399552123000000, lines = 0, bytes = 0;
    for (unsigned r = 0; r < ROUNDS; r++) {
        uint64_t spent = 0;
        for (unsigned batch = 0; batch < CALLS / 1000; batch++) {
            uint64_t start = micro_cpu_ns();
            for (unsigned i = 0; i < 1000; i++) {
                uint64_t used;
                vx_timestamp_set(&at, wall += 10000);
                size_t len = format(line, &records[i % REQUESTS], &at);
                if (!vx_byte_ring_put(&ring, vx_slice(line, len), &used))
                    abort();
                bytes += len;
                lines++;
            }
            spent += micro_cpu_ns() - start;
            struct vx_slice runs[2];
            vx_byte_ring_take(&ring, vx_byte_ring_peek(&ring, runs));
        }
        rounds[r] = (double)spent / CALLS;
    }
    sink = bytes;
    micro_report(name, "ns", rounds, ROUNDS);
    fprintf(stderr, "%s: %llu bytes a line\n", name, (unsigned long long)(bytes / lines));
    free(data);
}

/* The whole call with the writer thread at work on a file, lines coming as fast as the loop goes round; the share of
 * lines dropped tells how far the writer falls behind. */
static void bench_access_log(void) {
    struct vx_access_log *log = vx_access_log_new(WORKERS, metrics);
    struct vx_config_access_log to_null = {.enabled = true, .path = VX_SLICE("/dev/null"), .json = true};
    char why[128];
    double rounds[ROUNDS];
    if (!log || !vx_access_log_apply(log, &to_null, why, sizeof why))
        abort();
    for (unsigned r = 0; r < ROUNDS; r++) {
        uint64_t start = micro_cpu_ns();
        for (unsigned i = 0; i < CALLS; i++)
            vx_access_log_write(log, 0, &records[i % REQUESTS]);
        rounds[r] = (double)(micro_cpu_ns() - start) / CALLS;
    }
    micro_report("access log line, writer running", "ns", rounds, ROUNDS);
    fprintf(stderr, "access log: %llu of %u lines dropped\n",
            (unsigned long long)vx_metrics_total(metrics, VX_WORKER_ACCESS_LOG_DROPPED), ROUNDS * CALLS);
    vx_access_log_free(log);
}

static void bench_page(void) {
    double rounds[ROUNDS];
    size_t bytes = 0;
    for (unsigned i = 0; i < ROUTES; i++) {
        char name[32];
        snprintf(name, sizeof name, "route-%u", i);
        struct vx_route many = {.config = &config, .metrics = vx_metrics_route(metrics, vx_slice_of(name))};
        struct vx_target to = {.metrics =
                                   vx_metrics_backend(metrics, many.metrics, VX_SLICE("10.0.0.1:8080"))};
        for (uint32_t worker = 0; worker < WORKERS; worker++) {
            struct vx_exchange_record record = records[i % REQUESTS];
            record.route = &many;
            record.target = &to;
            vx_metrics_record(metrics, worker, &record);
        }
    }
    for (unsigned r = 0; r < ROUNDS; r++) {
        struct vx_text page = {0};
        uint64_t start = micro_cpu_ns();
        if (!vx_metrics_render(metrics, NULL, &page))
            abort();
        rounds[r] = (double)(micro_cpu_ns() - start) / 1e6;
        bytes = page.len;
        vx_text_free(&page);
    }
    micro_report("metrics page of 10000 routes, 4 workers", "ms", rounds, ROUNDS);
    fprintf(stderr, "metrics page: %zu bytes\n", bytes);
}

int main(void) {
    metrics = vx_metrics_new(WORKERS);
    if (!metrics)
        return 1;
    make_records();
    bench_record();
    bench_line("access log line, JSON", vx_log_line_json);
    bench_line("access log line, combined", vx_log_line_combined);
    bench_access_log();
    bench_page();
    vx_metrics_free(metrics);
    return 0;
}
