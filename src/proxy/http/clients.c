/* SPDX-License-Identifier: Apache-2.0 */
/* See clients.h. */
#include "proxy/http/clients.h"

static struct vx_upstream *open_request(struct vx_http_client *port, const struct vx_upstream_open *open,
                                        struct vx_error *error, uint64_t now_ns) {
    struct vx_http_clients *clients = (struct vx_http_clients *)port;
    struct vx_http_client *client = open->target->http2 ? &clients->h2.port : &clients->h1.port;
    return client->open(client, open, error, now_ns);
}

void vx_http_clients_init(struct vx_http_clients *clients, struct vx_runtime *rt) {
    clients->port.open = open_request;
    vx_places_init(&clients->places, rt->worker);
    vx_h1_client_init(&clients->h1, rt, &clients->places);
    vx_h2_client_init(&clients->h2, rt, &clients->places);
}

void vx_http_clients_retire(struct vx_http_clients *clients, const uint64_t *keep, uint32_t count) {
    vx_h1_client_retire(&clients->h1, keep, count);
    vx_h2_client_retire(&clients->h2, keep, count);
}

void vx_http_clients_spare(struct vx_http_clients *clients) {
    vx_h1_client_spare(&clients->h1);
    vx_h2_client_spare(&clients->h2);
}

void vx_http_clients_drain(struct vx_http_clients *clients) {
    clients->h1.draining = true;
    vx_h2_client_drain(&clients->h2);
}

void vx_http_clients_destroy(struct vx_http_clients *clients) {
    vx_h1_client_destroy(&clients->h1);
    vx_h2_client_destroy(&clients->h2);
}

void vx_http_clients_dump(const struct vx_http_clients *clients, const struct vx_target *target,
                          struct vx_text *out) {
    if (target->http2)
        vx_h2_client_dump(&clients->h2, target, out);
    else
        vx_h1_client_dump(&clients->h1, target, out);
}
