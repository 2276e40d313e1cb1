/* SPDX-License-Identifier: Apache-2.0 */
/* The HTTP server of one worker and listener: takes accepted transports, waits for the TLS handshake, starts the
 * connection of the negotiated protocol. All requests go to one handler. One worker's thread. */
#ifndef VX_PROXY_HTTP_SERVER_H
#define VX_PROXY_HTTP_SERVER_H

#include "core/config/model.h"
#include "core/http/h1_parse.h"
#include "core/ports/handler.h"
#include "proxy/http2/glitch.h"
#include "proxy/runtime/runtime.h"
#include "proxy/telemetry/text.h"

struct vx_http_server {
    struct vx_runtime *rt;
    struct vx_handler *handler;
    struct vx_h1_limits limits;
    struct vx_config_timeouts timeouts;
    uint64_t body_bytes;         /* of one request; 0: no limit */
    uint32_t concurrent_streams; /* of one HTTP/2 connection */
    uint32_t glitches_a_minute;  /* that an HTTP/2 connection may make; 0: no limit */
    /* Whether the certificate that the connection was made with speaks for `host`; NULL: a plain listener, otherwise
     * connections begin with a TLS handshake. */
    bool (*covers)(const struct vx_transport *transport, struct vx_slice host);
    /* A connection has come (+1) or gone (-1); NULL: nobody counts. */
    void (*counted)(void *user, int change);
    /* An HTTP/2 connection of this client's has made a glitch; `last`: it is ended for it. NULL: nobody counts. */
    void (*glitched)(void *user, const struct vx_client_info *client, enum vx_h2_glitch kind, bool last);
    void *user;
    struct vx_list connections; /* every open one */
    uint32_t connection_count;
    bool draining;
};

/* `rt` and `handler` outlive the server; the rest is set by the caller before the first accept and may be changed
 * between rounds (reload). */
void vx_http_server_init(struct vx_http_server *s, struct vx_runtime *rt, struct vx_handler *handler);

/* Takes over `transport`, fresh from accept. Closes it when there is no memory. */
void vx_http_server_accept(struct vx_http_server *s, struct vx_transport *transport);

/* Stops keep-alive: idle connections close now, the others with their response. */
void vx_http_server_drain(struct vx_http_server *s);

/* Cuts what is still open. The connections are gone after the next vx_runtime_run_tasks. */
void vx_http_server_close_all(struct vx_http_server *s);

/* Appends how many connections are in which state; of very many only some are looked at. */
void vx_http_server_dump(const struct vx_http_server *s, struct vx_text *out);

/* What every server connection begins with, so that the server can list, drain and count them. */
struct vx_server_connection {
    struct vx_list link;
    struct vx_http_server *server;
    void (*drain)(struct vx_server_connection *c); /* close when idle, else after the current response */
    void (*cut)(struct vx_server_connection *c);   /* close now */
    const char *(*state)(
        const struct vx_server_connection *c); /* protocol and what it is at, for dumps; static */
};

/* For connections: list and count it; take it off again. */
void vx_server_connection_add(struct vx_http_server *s, struct vx_server_connection *c);
void vx_server_connection_remove(struct vx_server_connection *c);

/* `to` takes the place of `from`: the same client goes on in another protocol. */
void vx_server_connection_replace(struct vx_server_connection *from, struct vx_server_connection *to);

enum { VX_SERVER_REMOTE_TEXT_MAX = 46 }; /* the longest IPv6 address */

/* Who is at the other end of `t`, with a new id. `text` holds what each request says of its client, written once; it
 * lives as long as the connection. */
void vx_server_describe_client(struct vx_client_info *client, char text[VX_SERVER_REMOTE_TEXT_MAX],
                               struct vx_runtime *rt, const struct vx_transport *t);

/* What a complete head may still be refused for: VX_ERR_NONE, BODY_TOO_LARGE or MISDIRECTED. */
enum vx_error_code vx_server_objection(const struct vx_http_server *s, const struct vx_transport *t,
                                       const struct vx_request *request);

/* The answer to a request that never became one: its head in *response, with its one field in *item; returns the body,
 * which lies in `arena`. Without memory the body is empty, and *response says so. */
struct vx_slice vx_server_refusal(const struct vx_error *error, struct vx_arena *arena,
                                  struct vx_response *response, struct vx_header *item);

/* Tells the handler, if it cares, of a request that never became one; `down` is what would have been its downstream, and
 * `response_bytes` what the client was answered. */
void vx_server_tell_refusal(const struct vx_http_server *s, const struct vx_downstream *down,
                            const struct vx_error *error, uint64_t response_bytes, uint64_t now_ns);

/* The Date that is added to a final response without one (RFC 9110 §6.6.1); ptr NULL: none. It may be renewed after this
 * round. */
static inline struct vx_slice vx_server_date(const struct vx_runtime *rt,
                                             const struct vx_response *response) {
    bool needed = response->status >= 200 && !vx_headers_find(&response->headers, VX_HEADER_DATE);
    return needed ? rt->date : VX_SLICE_NONE;
}

#endif
