/* SPDX-License-Identifier: Apache-2.0 */
/* A valid configuration as values, for tests to change one thing in. */
#ifndef VX_TEST_CONFIG_TEST_H
#define VX_TEST_CONFIG_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core/config/model.h"

struct sample {
    struct vx_config config;
    struct vx_config_listener listeners[2];
    struct vx_config_certificate certificates[2];
    struct vx_config_route routes[3];
    struct vx_config_backend backends[2];
    struct vx_config_header_match headers[1];
    struct vx_slice models[2];
    struct vx_prefix proxies[1];
    struct vx_slice limit_keys[2];
    struct vx_config_filter filters[2];
    struct vx_config_filter_use uses[2];
    char memory[64 * 1024];
    struct vx_arena scratch;
};

static inline struct vx_address address(const char *text) {
    struct vx_address a;
    const char *why;
    if (!vx_address_parse(vx_slice_of(text), &a, &why))
        fail_msg("%s is no address", text);
    return a;
}

static inline struct vx_config_route sample_route(const char *name, uint32_t line) {
    return (struct vx_config_route){
        .name = vx_slice_of(name),
        .place = {line, 3},
        .ewma_decay = 0.5,
        .redirect_code = 302,
        .connect_timeout_ns = 1,
        .response_timeout_ns = 1,
        .idle_timeout_ns = 1,
        .breaker = {5, 50, 1, 3},
        .health_check =
            {.path = VX_SLICE("/"), .interval_ns = 5, .timeout_ns = 2, .healthy = 2, .unhealthy = 3},
    };
}

static inline void fill_routes(struct sample *s) {
    s->routes[0] = sample_route("main", 20);
    s->routes[0].has_match = true;
    s->routes[0].match = (struct vx_config_match){.host = VX_SLICE("*"),
                                                  .path_prefix = VX_SLICE("/api"),
                                                  .method = VX_SLICE("GET"),
                                                  .headers = s->headers,
                                                  .header_count = 1};
    s->routes[0].backends = s->backends;
    s->routes[0].backend_count = 2;
    s->limit_keys[0] = VX_SLICE("client_ip");
    s->limit_keys[1] = VX_SLICE("header:x-api-key");
    s->routes[0].rate_limit = (struct vx_config_rate_limit){.requests = 10,
                                                            .per_ns = 1000,
                                                            .burst = 5,
                                                            .key_texts = s->limit_keys,
                                                            .key_count = 2,
                                                            .place = {29, 5}};
    s->routes[1] = sample_route("moved", 30);
    s->routes[1].has_match = true;
    s->routes[1].match.host = VX_SLICE("old.example.org");
    s->routes[1].redirect_to = VX_SLICE("https://example.org/");
    s->routes[2] = sample_route("group", 40);
    s->routes[2].backends = s->backends;
    s->routes[2].backend_count = 1;
}

static inline void fill_sample(struct sample *s) {
    memset(s, 0, sizeof(*s));
    s->certificates[0] =
        (struct vx_config_certificate){VX_SLICE("/c.pem"), VX_SLICE("/k.pem"), {11, 5}, {11, 20}};
    s->certificates[1] =
        (struct vx_config_certificate){VX_SLICE("/d.pem"), VX_SLICE("/l.pem"), {12, 5}, {12, 20}};
    s->listeners[0] = (struct vx_config_listener){.address = address("0.0.0.0:8080"), .place = {10, 5}};
    s->listeners[1] = (struct vx_config_listener){.address = address("0.0.0.0:8443"),
                                                  .place = {11, 5},
                                                  .tls = true,
                                                  .certificates = s->certificates,
                                                  .certificate_count = 2};
    s->headers[0] = (struct vx_config_header_match){VX_SLICE("x-a"), VX_SLICE("b")};
    s->models[0] = VX_SLICE("gpt-4");
    s->models[1] = VX_SLICE("claude-3-opus");
    for (uint32_t i = 0; i < 2; i++)
        s->backends[i] =
            (struct vx_config_backend){.id = i + 1,
                                       .address = address(i ? "b.example:9002" : "127.0.0.1:9001"),
                                       .address_text = VX_SLICE("text"),
                                       .ai_models = s->models,
                                       .ai_model_count = 2,
                                       .weight = 1,
                                       .place = {22 + i, 7}};
    fill_routes(s);
    vx_prefix_parse(VX_SLICE("10.0.0.0/8"), &s->proxies[0]);
    for (uint32_t i = 0; i < 2; i++) {
        s->filters[i] = (struct vx_config_filter){.name = i ? VX_SLICE("rewrite") : VX_SLICE("auth"),
                                                  .place = {60 + i, 5},
                                                  .wasm_path = VX_SLICE("/f.wasm"),
                                                  .limits = {.memory_bytes = 1,
                                                             .time_ns = 1,
                                                             .start_time_ns = 1,
                                                             .body_bytes = 1,
                                                             .end_time_ns = 1,
                                                             .pause_time_ns = 1}};
        s->uses[i] = (struct vx_config_filter_use){i ? VX_SLICE("auth") : VX_SLICE("rewrite"), {28, 15 + i}};
    }
    s->routes[0].filters_given = true;
    s->routes[0].filters = s->uses;
    s->routes[0].filter_count = 2;
    s->config = (struct vx_config){
        .path = VX_SLICE("/etc/vortex.yaml"),
        .listeners = s->listeners,
        .listener_count = 2,
        .routes = s->routes,
        .route_count = 3,
        .filters = s->filters,
        .filter_count = 2,
        .trusted_proxies = s->proxies,
        .trusted_proxy_count = 1,
        .metrics_address = address("127.0.0.1:9091"),
        .metrics_place = {50, 10},
        .access_log = {.enabled = true, .path = VX_SLICE("stdout"), .json = true},
        .drain_ns = 1,
        .timeouts = {1, 1, 1, 1, 1},
        .limits = {.header_bytes = 65536, .headers = 128, .uri_bytes = 8192, .concurrent_streams = 128},
    };
    vx_arena_init(&s->scratch, s->memory, sizeof(s->memory), NULL);
}

#endif
