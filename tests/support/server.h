/* SPDX-License-Identifier: Apache-2.0 */
/* A server of clients over a fake net, with limits small enough to come up against. */
#ifndef VX_TESTS_SUPPORT_SERVER_H
#define VX_TESTS_SUPPORT_SERVER_H

#include "proxy/http/server.h"
#include "support/fake_transport.h"

static inline void fake_server_init(struct vx_http_server *s, struct fake_net *net,
                                    struct vx_handler *handler) {
    vx_http_server_init(s, &net->rt, handler);
    s->limits = (struct vx_h1_limits){.header_bytes = 4096, .headers = 16, .uri_bytes = 1000};
    s->timeouts = (struct vx_config_timeouts){
        .header_ns = FAKE_S(10), .idle_ns = FAKE_S(75), .body_ns = FAKE_S(60), .write_ns = FAKE_S(30)};
}

#endif
