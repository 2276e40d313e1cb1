/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration as plain values, whatever it came from (YAML now, Kubernetes later). Built once, then
 * immutable; everything in it lives as long as the struct vx_config that owns the arena. Defaults are applied
 * and every rule of validate.c holds, so readers need not check again. Durations are ns, sizes are bytes; 0
 * means off or without limit where a comment says so. */
#ifndef VX_CORE_CONFIG_MODEL_H
#define VX_CORE_CONFIG_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/address.h"
#include "core/base/arena.h"
#include "core/base/slice.h"

struct vx_place {
    uint32_t line, column; /* from 1; 0: unknown */
};

struct vx_config_certificate {
    struct vx_slice cert_path, key_path; /* absolute */
    struct vx_place place, key_place;    /* of the two values, for errors found while loading them */
};

struct vx_config_listener {
    struct vx_address address;
    struct vx_place place;
    bool tls;
    struct vx_config_certificate *certificates; /* the first is the default without or with unknown SNI */
    uint32_t certificate_count;
    struct vx_slice client_ca_path; /* empty: no client certificates asked for; else they are required */
    bool proxy_protocol;
};

struct vx_config_header_match {
    struct vx_slice name, value; /* name in lower case; value compared exactly */
};

struct vx_config_match {
    struct vx_slice host; /* lower case; "*" any, "*.example.org" wildcard, else exact; empty: "*" */
    struct vx_slice path; /* exact; empty: not asked for */
    /* By whole segments, as in Envoy's path_separated_prefix and Kubernetes; empty: any. */
    struct vx_slice path_prefix;
    struct vx_slice method; /* empty: any */
    struct vx_config_header_match *headers;
    uint32_t header_count;
};

struct vx_config_backend {
    uint32_t id;
    struct vx_address address;
    struct vx_slice address_text; /* as written; the name in metrics and logs */
    struct vx_slice *ai_models;
    uint32_t ai_model_count;
    uint32_t weight;          /* >= 1 */
    uint32_t max_connections; /* 0: no limit */
    struct vx_place place;
};

enum vx_balance_kind {
    VX_BALANCE_PEAK_EWMA,
    VX_BALANCE_ROUND_ROBIN,
    VX_BALANCE_LEAST_REQUEST,
    VX_BALANCE_RANDOM
};

struct vx_config_backend_tls {
    bool enabled;
    struct vx_slice ca_path;             /* empty: the system's bundle */
    struct vx_slice server_name;         /* empty: the host part of the backend's address */
    struct vx_slice cert_path, key_path; /* ours, may be empty */
    struct vx_place place;
};

struct vx_config_breaker {
    uint32_t failures;             /* consecutive; 0: off */
    uint32_t failure_rate_percent; /* 0: off; judged over a sliding window once it has enough requests */
    uint64_t open_for_ns;
    uint32_t half_open_requests;
};

struct vx_config_health_check {
    bool enabled;
    struct vx_slice path;
    uint64_t interval_ns, timeout_ns;
    uint32_t healthy, unhealthy; /* results in a row */
};

struct vx_config_filter_limits {
    uint64_t memory_bytes;
    uint64_t time_ns;       /* of one callback */
    uint64_t start_time_ns; /* of starting and configuring it */
    uint32_t body_bytes;    /* held of one body */
    uint64_t end_time_ns;   /* that it may ask for when it is replaced */
    uint64_t pause_time_ns; /* for which it may hold a message up */
    bool of_plugins;        /* one is given that only Proxy-WASM plugins can come up against */
};

struct vx_config_filter {
    struct vx_slice name;
    struct vx_place place;
    struct vx_slice wasm_path; /* absolute */
    struct vx_place wasm_place;
    struct vx_slice config, vm_config; /* as the plugin gets them: text, or a mapping as JSON */
    struct vx_slice root_id, vm_id;    /* vm_id: empty: the name */
    bool fails_open;                   /* its failure does not end the exchange */
    bool body_continues;               /* a pause at the headers does not hold the body back from it */
    struct vx_config_filter_limits limits;
};

enum vx_limit_part_kind { VX_LIMIT_BY_CLIENT, VX_LIMIT_BY_HEADER, VX_LIMIT_BY_ROUTE };

struct vx_config_limit_part {
    enum vx_limit_part_kind kind;
    struct vx_slice header; /* lower case; of VX_LIMIT_BY_HEADER */
};

enum { VX_LIMIT_PARTS_MAX = 8 };

struct vx_config_rate_limit {
    bool enabled;
    uint64_t requests, per_ns; /* per_ns 0 and not enabled: switched off, whatever the default limit is */
    uint32_t burst;
    struct vx_slice *key_texts; /* the parts as written */
    uint32_t key_count;
    struct vx_config_limit_part *parts; /* one for each of key_texts; what requests are counted by */
    struct vx_slice cost_text;          /* as written */
    struct vx_slice cost_header;        /* lower case; says what a request costs. Empty: all cost 1 */
    struct vx_slice scope; /* limits of one scope count together: the route's name, empty for the default */
    struct vx_place place;
};

/* Of the engine that runs filters; a restart applies them. */
struct vx_config_wasm {
    uint32_t instances;         /* sandboxes that can be alive at once */
    struct vx_slice cache_path; /* folder for compiled modules; "auto": the user's own, "off": none */
};

/* A filter named in a route's list. */
struct vx_config_filter_use {
    struct vx_slice name;
    struct vx_place place;
};

struct vx_config_route {
    struct vx_slice name;
    struct vx_place place;
    bool has_match; /* false: a named group for plugins, takes no client traffic */
    struct vx_config_match match;
    struct vx_config_backend *backends;
    uint32_t backend_count; /* 0 only with a redirect */
    bool http2; /* what the backends speak: h2 with tls, else h2c with prior knowledge; false: HTTP/1.1 */
    struct vx_config_backend_tls tls;
    enum vx_balance_kind balance;
    double ewma_decay; /* alpha, 0 <= alpha < 1 */
    /* ptr NULL: not rewritten; replaces the matched prefix (or exact path). */
    struct vx_slice rewrite_path_prefix;
    struct vx_slice rewrite_host; /* empty: as the client sent it */
    struct vx_slice redirect_to;  /* empty: no redirect */
    uint16_t redirect_code;
    uint64_t connect_timeout_ns, response_timeout_ns, idle_timeout_ns;
    uint64_t pool_idle_ns;
    uint64_t pool_max_age_ns;   /* 0: no limit */
    uint32_t pool_max_requests; /* per connection; 0: no limit */
    uint32_t pool_max_idle;     /* per backend and worker */
    uint32_t queue_length;      /* waiting requests per backend and worker when max_connections is reached */
    uint64_t queue_timeout_ns;
    uint32_t retry_attempts;       /* beyond the first */
    uint32_t retry_budget_percent; /* of the requests; a small constant floor is always allowed */
    struct vx_config_breaker breaker;
    struct vx_config_health_check health_check;
    struct vx_config_rate_limit rate_limit; /* its own or the default one */
    bool filters_given;                     /* else all of the configuration's, in their order */
    struct vx_config_filter_use *filters;
    uint32_t filter_count;
};

struct vx_config_timeouts {
    uint64_t header_ns, idle_ns, body_ns, write_ns, handshake_ns;
};

struct vx_config_limits {
    uint32_t header_bytes, headers, uri_bytes;
    uint64_t body_bytes; /* 0: no limit */
    uint32_t buffered_body_bytes;
    uint32_t connections;        /* 0: no limit but the file table */
    uint32_t concurrent_streams; /* of an HTTP/2 connection */
    uint32_t glitches_a_minute;  /* of an HTTP/2 connection (proxy/http2/glitch.h); 0: no limit */
};

struct vx_config_access_log {
    bool enabled;
    struct vx_slice path; /* "stdout", "stderr" or a file */
    bool json;            /* else one line in nginx's combined format */
};

enum vx_rate_store_kind {
    VX_RATE_STORE_MEMORY,
    VX_RATE_STORE_REDIS,
    VX_RATE_STORE_SENTINEL,
    VX_RATE_STORE_CLUSTER
};

/* What happens to requests of limited routes while the store does not answer. */
enum vx_store_failure { VX_STORE_FAILURE_LOCAL, VX_STORE_FAILURE_ALLOW, VX_STORE_FAILURE_DENY };

struct vx_config_rate_store {
    bool present;          /* there is a `rate_limit` in the file */
    uint64_t memory_bytes; /* of the table in memory, which `local` uses too */
    enum vx_store_failure on_failure;
    uint64_t timeout_ns; /* of one answer */
    struct vx_slice url; /* as written; what follows from it is below */
    enum vx_rate_store_kind kind;
    bool tls;
    struct vx_slice user, password,
        master; /* user empty: the default one; password empty: none is asked for */
    struct vx_slice sentinel_user,
        sentinel_password;    /* the Sentinels' own, as user and password are the master's */
    struct vx_address *hosts; /* the Redis, its sentinels, or some nodes of its cluster */
    uint32_t host_count;
    uint32_t database;
    struct vx_config_backend_tls tls_settings;
    struct vx_place place;
};

enum vx_xdp_wish { VX_XDP_AUTO, VX_XDP_NATIVE, VX_XDP_GENERIC };

/* What the kernel drops before the network stack, beside banned clients. Rates are packets or connections a second of one
 * client; 0: off. */
struct vx_config_xdp {
    enum vx_xdp_wish mode;
    bool keep_attached;     /* also when the program ends */
    struct vx_slice pin;    /* folder in a bpffs, or "off" */
    struct vx_prefix *drop; /* of drop and spare the longest prefix counts, of equal ones `spare` */
    uint32_t drop_count;
    struct vx_prefix *spare;
    uint32_t spare_count;
    bool malformed, fragments, amplification;
    uint16_t *amplification_ports; /* none: a list of the usual ones */
    uint32_t amplification_port_count;
    uint32_t syn_rate, udp_rate, connection_rate;
};

struct vx_config_bans {
    bool enabled;
    uint32_t after; /* refusals */
    uint64_t within_ns, duration_ns, max_duration_ns, sweep_interval_ns;
    struct vx_prefix *never;
    uint32_t never_count;
    struct vx_slice interface; /* empty: without the kernel */
    struct vx_config_xdp xdp;
};

struct vx_config {
    struct vx_arena arena;
    struct vx_slice path; /* of the file it came from */
    uint32_t workers;     /* 0: one per CPU core */
    struct vx_config_listener *listeners;
    uint32_t listener_count;
    struct vx_config_route *routes;
    uint32_t route_count;
    struct vx_config_filter *filters;
    uint32_t filter_count;
    struct vx_config_wasm wasm;
    struct vx_prefix *trusted_proxies;
    uint32_t trusted_proxy_count;
    struct vx_config_bans bans;
    struct vx_address metrics_address; /* kind NONE: off */
    struct vx_place metrics_place;
    struct vx_slice admin_socket; /* path of the UNIX socket, absolute; empty: off */
    struct vx_place admin_place;
    struct vx_config_access_log access_log;
    uint64_t drain_ns;
    struct vx_config_timeouts timeouts;
    struct vx_config_limits limits;
    struct vx_config_rate_limit default_limit;
    struct vx_config_rate_store rate_store;
    bool merge_slashes; /* doubled slashes in paths become one */
};

/* Filters that one exchange may pass. */
enum { VX_CONFIG_FILTERS_MAX = 32 };

struct vx_config_error {
    struct vx_place place;
    char text[512]; /* what is wrong and what would be right, NUL-terminated */
};

/* Rules that hold between values, wherever they came from: listener addresses differ, route names are unique,
 * weights and ids make sense, ... False: *error says what and where. `scratch` gives some 32 bytes a route
 * for the time of the call and may be reset after it. Pure; any thread. */
bool vx_config_validate(const struct vx_config *config, struct vx_arena *scratch,
                        struct vx_config_error *error);

#endif
