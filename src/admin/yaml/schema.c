/* SPDX-License-Identifier: Apache-2.0 */
/* The schema. Each table names the struct its rows fill (IN); a row of a number reads: key, field, default, lowest,
 * highest. docs/configuration.md tells the same to people, in the same order, and a test compares the two. */
#include "admin/yaml/schema.h"

#include <stddef.h>

#include "admin/yaml/finish.h"
#include "admin/yaml/finish_limit.h"
#include "core/config/check.h"
#include "core/config/rate_limit.h"
#include "core/config/rate_store.h"

/* clang-format off */
#define FIELD(f)    .offset = offsetof(IN, f), .bytes = sizeof(((IN *)0)->f)
#define AT(f)       (offsetof(IN, f) + 1)
#define COUNT_OF(a) (sizeof(a) / sizeof(*(a)))

#define NUMBER(t, key, f, def, lo, hi, ...) \
    {.name = key, .type = t, FIELD(f), .standard = def, .low = lo, .high = hi, __VA_ARGS__}
#define COUNT(...)    NUMBER(VX_YAML_COUNT, __VA_ARGS__, )
#define DURATION(...) NUMBER(VX_YAML_DURATION, __VA_ARGS__, )
#define SIZE(...)     NUMBER(VX_YAML_SIZE, __VA_ARGS__, )
#define PERCENT(...)  NUMBER(VX_YAML_PERCENT, __VA_ARGS__, )
#define FRACTION(...) NUMBER(VX_YAML_FRACTION, __VA_ARGS__, )

#define FLAG(key, f, def)      {.name = (key), .type = VX_YAML_FLAG, FIELD(f), .standard = (def)}
#define CHOICE(key, f, def, w) {.name = (key), .type = VX_YAML_CHOICE, FIELD(f), .standard = (def), .words = (w)}
#define CHECKED(key, w)        {.name = (key), .type = VX_YAML_CHOICE, .words = (w)} /* stored nowhere */
#define TEXT(key, f, how, ...) {.name = key, .type = VX_YAML_TEXT, FIELD(f), .check = how, __VA_ARGS__}
#define PATH(key, f, ...)      {.name = key, .type = VX_YAML_PATH, FIELD(f), __VA_ARGS__}
#define ADDRESS(key, f, ...)   {.name = key, .type = VX_YAML_ADDRESS, FIELD(f), __VA_ARGS__}
/* A mapping that fills the struct `f`; one whose rows are about this table's own struct. */
#define DATA(key, f)           {.name = (key), .type = VX_YAML_DATA, FIELD(f)} /* text, a mapping or a list */
#define GROUP(key, f, of, ...) {.name = key, .type = VX_YAML_GROUP, FIELD(f), .shape = &(of), __VA_ARGS__}
#define INLINE(key, of, ...)   {.name = key, .type = VX_YAML_GROUP, .shape = &(of), __VA_ARGS__}
#define LIST(key, f, n, of, hi, ...) \
    {.name = key, .type = VX_YAML_LIST_OF, .offset = offsetof(IN, f), .bytes = sizeof(*((IN *)0)->f), \
     .count = AT(n), .element = &(of), .high = hi, __VA_ARGS__}
#define SHAPE(text, rows, ...) {.noun = text, .keys = rows, .key_count = COUNT_OF(rows), __VA_ARGS__}
/* clang-format on */

/* --- listeners ------------------------------------------------------------------------------------------------- */

#define IN struct vx_config_certificate
static const struct vx_yaml_key certificate_keys[] = {
    PATH("cert", cert_path, .required = true, .place = AT(place)),
    PATH("key", key_path, .required = true, .place = AT(key_place)),
};
static const struct vx_yaml_shape certificate_shape = SHAPE("a certificate", certificate_keys, );
static const struct vx_yaml_key certificate = {
    .name = "certificates", .item = true, .type = VX_YAML_GROUP, .shape = &certificate_shape};
#undef IN

#define IN struct vx_yaml_listener_tls
static const struct vx_yaml_key listener_tls_keys[] = {
    PATH("cert", single.cert_path, .place = AT(single.place)),
    PATH("key", single.key_path, .place = AT(single.key_place)),
    LIST("certificates", certificates, certificate_count, certificate, "1000"),
    PATH("client_ca", client_ca_path),
};
static const struct vx_yaml_shape listener_tls_shape =
    SHAPE("a listener's tls", listener_tls_keys, .apart = true, .bytes = sizeof(IN),
          .finish = vx_yaml_finish_listener_tls);
#undef IN

#define IN struct vx_config_listener
static const struct vx_yaml_key listener_keys[] = {
    ADDRESS("address", address, .required = true, .no_names = true, .place = AT(place)),
    INLINE("tls", listener_tls_shape, .present = AT(tls), .can_be_off = true),
    FLAG("proxy_protocol", proxy_protocol, "false"),
};
static const struct vx_yaml_shape listener_shape = SHAPE("a listener", listener_keys, );
static const struct vx_yaml_key listener = {
    .name = "listeners", .item = true, .type = VX_YAML_GROUP, .shape = &listener_shape};
#undef IN

/* --- routes ---------------------------------------------------------------------------------------------------- */

#define IN struct vx_config_match
static const struct vx_yaml_key match_keys[] = {
    TEXT("host", host, vx_config_check_host_pattern, .standard = "*"),
    TEXT("path", path, vx_config_check_path),
    TEXT("path_prefix", path_prefix, vx_config_check_path),
    TEXT("method", method, vx_config_check_method),
    {.name = "headers",
     .type = VX_YAML_CONDITIONS,
     .offset = offsetof(IN, headers),
     .count = AT(header_count),
     .high = "32"},
};
static const struct vx_yaml_shape match_shape = SHAPE("match", match_keys, .finish = vx_yaml_finish_match);
#undef IN

static const struct vx_yaml_key model = {.name = "ai_models",
                                         .item = true,
                                         .type = VX_YAML_TEXT,
                                         .bytes = sizeof(struct vx_slice),
                                         .check = vx_config_check_model};

#define IN struct vx_config_backend
static const struct vx_yaml_key backend_keys[] = {
    COUNT("id", id, NULL, "0", "4294967295"),
    ADDRESS("address", address, .required = true),
    LIST("ai_models", ai_models, ai_model_count, model, "1000"),
    COUNT("weight", weight, "1", "1", "65535"),
    COUNT("max_connections", max_connections, "0", "0", "1000000"),
};
static const struct vx_yaml_shape backend_shape =
    SHAPE("a backend", backend_keys, .place = AT(place), .finish = vx_yaml_finish_backend);
static const struct vx_yaml_key backend = {
    .name = "backends", .item = true, .type = VX_YAML_GROUP, .shape = &backend_shape};
#undef IN

#define IN struct vx_config_backend_tls
static const struct vx_yaml_key backend_tls_keys[] = {
    PATH("ca", ca_path),
    TEXT("server_name", server_name, vx_config_check_server_name),
    PATH("cert", cert_path),
    PATH("key", key_path),
};
static const struct vx_yaml_shape backend_tls_shape =
    SHAPE("a route's tls", backend_tls_keys, .place = AT(place));
#undef IN

static const struct vx_yaml_word protocols[] = {{"http1", false}, {"http2", true}, {NULL, 0}};

static const struct vx_yaml_word balances[] = {
    {"peak_ewma", VX_BALANCE_PEAK_EWMA},
    {"round_robin", VX_BALANCE_ROUND_ROBIN},
    {"least_request", VX_BALANCE_LEAST_REQUEST},
    {"random", VX_BALANCE_RANDOM},
    {NULL, 0},
};

static const struct vx_yaml_word redirect_codes[] = {{"301", 301}, {"302", 302}, {"303", 303},
                                                     {"307", 307}, {"308", 308}, {NULL, 0}};

#define IN struct vx_config_route
static const struct vx_yaml_key rewrite_keys[] = {
    TEXT("path_prefix", rewrite_path_prefix, vx_config_check_path),
    TEXT("host", rewrite_host, vx_config_check_authority),
};
static const struct vx_yaml_shape rewrite_shape = SHAPE("rewrite", rewrite_keys, );

static const struct vx_yaml_key redirect_keys[] = {
    TEXT("to", redirect_to, vx_config_check_location, .required = true),
    CHOICE("code", redirect_code, "302", redirect_codes),
};
static const struct vx_yaml_shape redirect_shape = SHAPE("redirect", redirect_keys, );

static const struct vx_yaml_key route_timeout_keys[] = {
    DURATION("connect", connect_timeout_ns, "5s", "1ms", "1h"),
    DURATION("response", response_timeout_ns, "60s", "1ms", "1d"),
    DURATION("idle", idle_timeout_ns, "60s", "1ms", "1d"),
};
static const struct vx_yaml_shape route_timeout_shape = SHAPE("a route's timeouts", route_timeout_keys, );

static const struct vx_yaml_key pool_keys[] = {
    DURATION("idle", pool_idle_ns, "60s", "1ms", "1d"),
    COUNT("max_idle", pool_max_idle, "64", "0", "65535"),
    DURATION("max_age", pool_max_age_ns, "1h", "0", "30d"),
    COUNT("max_requests", pool_max_requests, "0", "0", "4294967295"),
};
static const struct vx_yaml_shape pool_shape = SHAPE("pool", pool_keys, );

static const struct vx_yaml_key queue_keys[] = {
    COUNT("length", queue_length, "1024", "0", "1000000"),
    DURATION("timeout", queue_timeout_ns, "5s", "1ms", "1h"),
};
static const struct vx_yaml_shape queue_shape = SHAPE("queue", queue_keys, );

static const struct vx_yaml_key retry_keys[] = {
    COUNT("attempts", retry_attempts, "2", "0", "10"),
    PERCENT("budget", retry_budget_percent, "20%", "0%", "100%"),
};
static const struct vx_yaml_shape retry_shape = SHAPE("retries", retry_keys, );
#undef IN

#define IN struct vx_config_breaker
static const struct vx_yaml_key breaker_keys[] = {
    COUNT("failures", failures, "5", "0", "1000"),
    PERCENT("failure_rate", failure_rate_percent, "50%", "0%", "100%"),
    DURATION("open_for", open_for_ns, "10s", "1ms", "1h"),
    COUNT("half_open_requests", half_open_requests, "3", "1", "1000"),
};
static const struct vx_yaml_shape breaker_shape = SHAPE("circuit_breaker", breaker_keys, );
#undef IN

#define IN struct vx_config_health_check
static const struct vx_yaml_key health_check_keys[] = {
    TEXT("path", path, vx_config_check_request_target, .standard = "/"),
    DURATION("interval", interval_ns, "5s", "10ms", "1h"),
    DURATION("timeout", timeout_ns, "2s", "1ms", "1h"),
    COUNT("healthy", healthy, "2", "1", "1000"),
    COUNT("unhealthy", unhealthy, "3", "1", "1000"),
};
static const struct vx_yaml_shape health_check_shape =
    SHAPE("health_check", health_check_keys, .finish = vx_yaml_finish_health_check);
#undef IN

static const struct vx_yaml_key limit_part = {.name = "key",
                                              .item = true,
                                              .type = VX_YAML_TEXT,
                                              .bytes = sizeof(struct vx_slice),
                                              .check = vx_config_check_limit_key};

#define IN struct vx_config_rate_limit
static const struct vx_yaml_key route_limit_keys[] = {
    COUNT("requests", requests, NULL, "1", "1000000000", .required = true),
    DURATION("per", per_ns, "1s", "1ms", "30d"),
    COUNT("burst", burst, NULL, "1", "1000000000"),
    LIST("key", key_texts, key_count, limit_part, "8", .lone = true, .standard = "client_ip"),
    TEXT("cost", cost_text, vx_config_check_limit_cost),
};
static const struct vx_yaml_shape route_limit_shape =
    SHAPE("a route's rate_limit", route_limit_keys, .place = AT(place));
#undef IN

static const struct vx_yaml_key filter_use = {.name = "filters",
                                              .item = true,
                                              .type = VX_YAML_TEXT,
                                              .bytes = sizeof(struct vx_slice),
                                              .offset = offsetof(struct vx_config_filter_use, name),
                                              .place = offsetof(struct vx_config_filter_use, place) + 1,
                                              .check = vx_config_check_name};

#define IN struct vx_config_route
static const struct vx_yaml_key route_keys[] = {
    TEXT("name", name, vx_config_check_name),
    GROUP("match", match, match_shape, .present = AT(has_match)),
    LIST("backends", backends, backend_count, backend, "4096"),
    CHOICE("protocol", http2, "http1", protocols),
    GROUP("tls", tls, backend_tls_shape, .present = AT(tls.enabled), .can_be_off = true),
    CHOICE("balance", balance, "peak_ewma", balances),
    FRACTION("ewma_decay", ewma_decay, "0.5", "0", "1"),
    INLINE("rewrite", rewrite_shape),
    INLINE("redirect", redirect_shape),
    INLINE("timeouts", route_timeout_shape),
    INLINE("pool", pool_shape),
    INLINE("queue", queue_shape),
    INLINE("retries", retry_shape, .can_be_off = true),
    GROUP("circuit_breaker", breaker, breaker_shape, .can_be_off = true),
    GROUP("health_check", health_check, health_check_shape, .present = AT(health_check.enabled),
          .can_be_off = true),
    GROUP("rate_limit", rate_limit, route_limit_shape, .present = AT(rate_limit.enabled), .can_be_off = true),
    LIST("filters", filters, filter_count, filter_use, "32"),
};
static const struct vx_yaml_shape route_shape =
    SHAPE("a route", route_keys, .place = AT(place), .finish = vx_yaml_finish_route);
static const struct vx_yaml_key route = {
    .name = "routes", .item = true, .type = VX_YAML_GROUP, .shape = &route_shape};
#undef IN

/* --- filters --------------------------------------------------------------------------------------------------- */

#define IN struct vx_config_filter_limits
static const struct vx_yaml_key filter_limit_keys[] = {
    SIZE("memory", memory_bytes, "64MiB", "64KiB", "4GiB"),
    DURATION("time", time_ns, "10ms", "1ms", "1m"),
    DURATION("start_time", start_time_ns, "10s", "10ms", "10m"),
    DURATION("end_time", end_time_ns, "10s", "0", "10m", .present = AT(of_plugins)),
    DURATION("pause_time", pause_time_ns, "5m", "1ms", "1d", .present = AT(of_plugins)),
    SIZE("body", body_bytes, "1MiB", "0", "1GiB", .present = AT(of_plugins)),
};
static const struct vx_yaml_shape filter_limit_shape = SHAPE("a filter's limits", filter_limit_keys, );
#undef IN

#define IN struct vx_config_wasm
static const struct vx_yaml_word caches[] = {{"auto", 0}, {"off", 0}, {NULL, 0}};
static const struct vx_yaml_key wasm_keys[] = {
    COUNT("instances", instances, "1000", "1", "100000"),
    PATH("cache", cache_path, .standard = "auto", .words = caches, .use = VX_YAML_FOLDER),
};
static const struct vx_yaml_shape wasm_shape = SHAPE("wasm", wasm_keys, );
#undef IN

static const struct vx_yaml_word failures[] = {{"closed", false}, {"open", true}, {NULL, 0}};
static const struct vx_yaml_word pauses[] = {{"stop_all", false}, {"body_continues", true}, {NULL, 0}};

#define IN struct vx_config_filter
static const struct vx_yaml_key filter_keys[] = {
    TEXT("name", name, vx_config_check_name, .required = true),
    PATH("wasm", wasm_path, .required = true, .place = AT(wasm_place)),
    DATA("config", config),
    DATA("vm_config", vm_config),
    TEXT("root_id", root_id, vx_config_check_model),
    TEXT("vm_id", vm_id, vx_config_check_model),
    CHOICE("on_failure", fails_open, "closed", failures),
    CHOICE("on_headers_pause", body_continues, "stop_all", pauses),
    GROUP("limits", limits, filter_limit_shape),
};
static const struct vx_yaml_shape filter_shape = SHAPE("a filter", filter_keys, .place = AT(place));
static const struct vx_yaml_key filter = {
    .name = "filters", .item = true, .type = VX_YAML_GROUP, .shape = &filter_shape};
#undef IN

/* --- the rest of the file -------------------------------------------------------------------------------------- */

#define IN struct vx_config_access_log
static const struct vx_yaml_word log_paths[] = {{"stdout", 0}, {"stderr", 0}, {NULL, 0}};
static const struct vx_yaml_word log_formats[] = {{"json", true}, {"combined", false}, {NULL, 0}};
static const struct vx_yaml_key access_log_keys[] = {
    PATH("path", path, .standard = "stdout", .words = log_paths, .use = VX_YAML_WRITE_FILE),
    CHOICE("format", json, "json", log_formats),
};
static const struct vx_yaml_shape access_log_shape = SHAPE("access_log", access_log_keys, );
#undef IN

#define IN struct vx_config_timeouts
static const struct vx_yaml_key timeout_keys[] = {
    DURATION("header", header_ns, "10s", "1ms", "1d"),       DURATION("idle", idle_ns, "75s", "1ms", "1d"),
    DURATION("body", body_ns, "60s", "1ms", "1d"),           DURATION("write", write_ns, "60s", "1ms", "1d"),
    DURATION("handshake", handshake_ns, "10s", "1ms", "1h"),
};
static const struct vx_yaml_shape timeout_shape = SHAPE("timeouts", timeout_keys, );
#undef IN

#define IN struct vx_config_limits
static const struct vx_yaml_key limit_keys[] = {
    SIZE("header_bytes", header_bytes, "64KiB", "1KiB", "1MiB"),
    COUNT("headers", headers, "128", "1", "4096"),
    SIZE("uri_bytes", uri_bytes, "8KiB", "64", "1MiB"),
    SIZE("body_bytes", body_bytes, "0", "0", "1048576GiB"),
    SIZE("buffered_body", buffered_body_bytes, "1MiB", "0", "1GiB"),
    COUNT("connections", connections, "0", "0", "100000000"),
    COUNT("concurrent_streams", concurrent_streams, "128", "1", "65535"),
    COUNT("glitches", glitches_a_minute, "1000", "0", "1000000"),
};
static const struct vx_yaml_shape limit_shape = SHAPE("limits", limit_keys, .finish = vx_yaml_finish_limits);
#undef IN

#define IN struct vx_config
static const struct vx_yaml_word store_failures[] = {{"local", VX_STORE_FAILURE_LOCAL},
                                                     {"allow", VX_STORE_FAILURE_ALLOW},
                                                     {"deny", VX_STORE_FAILURE_DENY},
                                                     {NULL, 0}};
static const struct vx_yaml_key default_limit_keys[] = {
    TEXT("store", rate_store.url, vx_config_check_store, .standard = "memory", .place = AT(rate_store.place)),
    GROUP("tls", rate_store.tls_settings, backend_tls_shape, .present = AT(rate_store.tls_settings.enabled)),
    TEXT("sentinel_username", rate_store.sentinel_user, vx_config_check_model),
    TEXT("sentinel_password", rate_store.sentinel_password, vx_config_check_model),
    CHOICE("on_store_failure", rate_store.on_failure, "local", store_failures),
    DURATION("store_timeout", rate_store.timeout_ns, "100ms", "1ms", "1m"),
    SIZE("memory", rate_store.memory_bytes, "32MiB", "64KiB", "64GiB"),
    COUNT("requests", default_limit.requests, NULL, "1", "1000000000"),
    DURATION("per", default_limit.per_ns, "1s", "1ms", "30d"),
    COUNT("burst", default_limit.burst, NULL, "1", "1000000000"),
    LIST("key", default_limit.key_texts, default_limit.key_count, limit_part, "8", .lone = true,
         .standard = "client_ip"),
    TEXT("cost", default_limit.cost_text, vx_config_check_limit_cost),
};
static const struct vx_yaml_shape default_limit_shape =
    SHAPE("rate_limit", default_limit_keys, .finish = vx_yaml_finish_default_limit);
#undef IN

/* clang-format off */
#define PREFIX(key) {.name = (key), .item = true, .type = VX_YAML_PREFIX, .bytes = sizeof(struct vx_prefix)}
/* clang-format on */
static const struct vx_yaml_key prefix = PREFIX("trusted_proxies"), never = PREFIX("never"),
                                drop = PREFIX("drop"), spare = PREFIX("spare");

static const struct vx_yaml_key port = {.name = "amplification_ports",
                                        .item = true,
                                        .type = VX_YAML_COUNT,
                                        .bytes = sizeof(uint16_t),
                                        .low = "1",
                                        .high = "65535"};

#define IN struct vx_config_xdp
static const struct vx_yaml_word xdp_modes[] = {
    {"auto", VX_XDP_AUTO}, {"native", VX_XDP_NATIVE}, {"generic", VX_XDP_GENERIC}, {NULL, 0}};
static const struct vx_yaml_key xdp_keys[] = {
    CHOICE("mode", mode, "auto", xdp_modes),
    FLAG("keep_attached", keep_attached, "false"),
    TEXT("pin", pin, vx_config_check_pin, .standard = "/sys/fs/bpf/vortex"),
    LIST("drop", drop, drop_count, drop, "100000"),
    LIST("spare", spare, spare_count, spare, "100000"),
    FLAG("malformed", malformed, "false"),
    FLAG("fragments", fragments, "false"),
    FLAG("amplification", amplification, "false"),
    LIST("amplification_ports", amplification_ports, amplification_port_count, port, "1000"),
    COUNT("syn_rate", syn_rate, "0", "0", "1000000"),
    COUNT("udp_rate", udp_rate, "0", "0", "1000000"),
    COUNT("connection_rate", connection_rate, "0", "0", "1000000"),
};
static const struct vx_yaml_shape xdp_shape = SHAPE("xdp", xdp_keys, .finish = vx_yaml_finish_xdp);
#undef IN

#define IN struct vx_config_bans
static const struct vx_yaml_key ban_keys[] = {
    COUNT("after", after, "5", "1", "10000"),
    DURATION("within", within_ns, "10s", "10ms", "1d"),
    DURATION("duration", duration_ns, "60s", "10ms", "30d"),
    DURATION("max_duration", max_duration_ns, "1h", "10ms", "365d"),
    TEXT("interface", interface, vx_config_check_interface),
    DURATION("sweep_interval", sweep_interval_ns, "5s", "10ms", "1h"),
    LIST("never", never, never_count, never, "10000"),
    GROUP("xdp", xdp, xdp_shape),
};
static const struct vx_yaml_shape ban_shape = SHAPE("bans", ban_keys, .finish = vx_yaml_finish_bans);
#undef IN

#define IN struct vx_config
static const struct vx_yaml_key metrics_keys[] = {
    ADDRESS("address", metrics_address, .standard = "127.0.0.1:9091", .no_names = true,
            .place = AT(metrics_place)),
};
static const struct vx_yaml_shape metrics_shape = SHAPE("metrics", metrics_keys, );

static const struct vx_yaml_key admin_keys[] = {
    PATH("socket", admin_socket, .required = true, .use = VX_YAML_WRITE_FILE, .place = AT(admin_place)),
};
static const struct vx_yaml_shape admin_shape = SHAPE("admin", admin_keys, );

static const struct vx_yaml_key shutdown_keys[] = {DURATION("drain", drain_ns, "30s", "0", "1d")};
static const struct vx_yaml_shape shutdown_shape = SHAPE("shutdown", shutdown_keys, );

static const struct vx_yaml_key normalize_keys[] = {FLAG("merge_slashes", merge_slashes, "false")};
static const struct vx_yaml_shape normalize_shape = SHAPE("normalize", normalize_keys, );

static const struct vx_yaml_word automatic[] = {{"auto", 0}, {NULL, 0}};
static const struct vx_yaml_key root_keys[] = {
    COUNT("workers", workers, "auto", "1", "1024", .words = automatic),
    LIST("listeners", listeners, listener_count, listener, "256", .required = true),
    LIST("routes", routes, route_count, route, "100000", .required = true),
    LIST("filters", filters, filter_count, filter, "256"),
    GROUP("wasm", wasm, wasm_shape),
    LIST("trusted_proxies", trusted_proxies, trusted_proxy_count, prefix, "1000"),
    GROUP("bans", bans, ban_shape, .present = AT(bans.enabled), .can_be_off = true),
    INLINE("metrics", metrics_shape, .can_be_off = true),
    INLINE("admin", admin_shape, .can_be_off = true),
    GROUP("access_log", access_log, access_log_shape, .present = AT(access_log.enabled), .can_be_off = true),
    INLINE("shutdown", shutdown_shape),
    GROUP("timeouts", timeouts, timeout_shape),
    GROUP("limits", limits, limit_shape),
    INLINE("normalize", normalize_shape),
    INLINE("rate_limit", default_limit_shape, .present = AT(rate_store.present), .can_be_off = true),
};
const struct vx_yaml_shape vx_yaml_root =
    SHAPE("the file", root_keys, .finish = vx_yaml_finish_limits_of_routes);
#undef IN

/* --- what this version does not have ---------------------------------------------------------------------------- */

static const struct vx_yaml_unbuilt unbuilt[] = {
    {&listener_shape, "http3", NULL, NULL},
    {&vx_yaml_root, "tracing", NULL, NULL},
    {&vx_yaml_root, "kubernetes", NULL, "watch"},
};

const struct vx_yaml_unbuilt *vx_yaml_find_unbuilt(const struct vx_yaml_shape *shape, struct vx_slice key) {
    for (size_t i = 0; i < COUNT_OF(unbuilt); i++)
        if (unbuilt[i].shape == shape && vx_slice_eq(key, vx_slice_of(unbuilt[i].key)))
            return &unbuilt[i];
    return NULL;
}
