/* SPDX-License-Identifier: Apache-2.0 */
/* See commands.h. */
#include "proxy/commands.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "proxy/compose.h"
#include "proxy/compose_filters.h"
#include "proxy/control/control.h"
#include "proxy/control/setup.h"
#include "proxy/engine.h"
#include "proxy/handlers/echo.h"
#include "proxy/net/signals.h"
#include "proxy/telemetry/log.h"

int vx_command_run(const char *path) {
    return vx_control_run(path);
}

int vx_command_check(const char *path) {
    struct vx_config_error error = {{0, 0}, "out of memory"};
    struct vx_tls_tickets *tickets = vx_tls_tickets_new(0);
    struct vx_filter_engine *filters = vx_compose_filters();
    struct vx_setup *setup = tickets && filters ? vx_setup_load(path, tickets, filters, &error) : NULL;
    if (tickets)
        vx_tls_tickets_drop(tickets);
    bool fine = setup != NULL;
    if (setup)
        vx_setup_drop(setup);
    vx_compose_filters_free(filters);
    if (fine) {
        printf("%s: ok\n", path);
        return 0;
    }
    char text[1024];
    vx_compose_config_source()->explain(path, &error, text, sizeof text);
    fprintf(stderr, "%s\n", text);
    return 2;
}

bool vx_command_parse_port(const char *text, uint16_t *port) {
    uint32_t value = 0;
    for (const char *at = text; *at; at++) {
        if (*at < '0' || *at > '9' || value > UINT16_MAX)
            return false;
        value = value * 10 + (uint32_t)(*at - '0');
    }
    *port = (uint16_t)value;
    return value > 0 && value <= UINT16_MAX;
}

static void stop_echo(void *user, int number, uint64_t now_ns) {
    (void)number;
    (void)now_ns;
    vx_loop_stop(user);
}

static bool serve_echo(struct vx_engine *engine, struct vx_site *site, struct vx_echo *echo, uint16_t port) {
    char why[VX_LISTEN_WHY_MAX];
    struct vx_address address = {.kind = VX_ADDRESS_IP4, .port = port, .ip = {127, 0, 0, 1}};
    struct vx_listen_options options = {0};
    struct vx_listen_set *set = vx_listen_open(&address, 1, &options, why);
    if (!set) {
        fprintf(stderr, "vortex echo: %s\n", why);
        return false;
    }
    vx_echo_init(echo, &engine->rt.wheel, port);
    vx_http_server_init(&site->server, &engine->rt, &echo->handler);
    site->server.limits = (struct vx_h1_limits){.header_bytes = 65536, .headers = 256, .uri_bytes = 32768};
    uint64_t minute_ns = UINT64_C(60000000000);
    site->server.timeouts =
        (struct vx_config_timeouts){minute_ns, 5 * minute_ns, minute_ns, minute_ns, minute_ns};
    bool started = vx_site_start(site, engine, vx_listen_take(set), &address, false);
    vx_listen_close(set, false);
    return started;
}

int vx_command_echo(uint16_t port) {
    struct vx_engine engine;
    struct vx_site site = {0};
    struct vx_echo echo;
    vx_tcp_raise_file_limit();
    if (!vx_engine_init(&engine, 0)) {
        fprintf(stderr, "vortex echo: %s\n", strerror(errno));
        return 1;
    }
    static const int numbers[] = {SIGINT, SIGTERM};
    struct vx_signals signals = {0};
    bool started = vx_signals_start(&signals, engine.loop, numbers, 2, stop_echo, engine.loop) &&
                   serve_echo(&engine, &site, &echo, port);
    if (started) {
        vx_log(VX_LOG_INFO, "ready: echo backend on 127.0.0.1:%u", port);
        vx_loop_run(engine.loop);
        vx_listener_free(site.listener);
        vx_http_server_close_all(&site.server);
        vx_runtime_run_tasks(&engine.rt);
    }
    vx_signals_stop(&signals);
    vx_engine_free(&engine);
    return started ? 0 : 1;
}
