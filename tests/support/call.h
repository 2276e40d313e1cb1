/* SPDX-License-Identifier: Apache-2.0 */
/* One request through the port of an HTTP client, over the network in memory, and what its user was told. */
#ifndef VX_TESTS_SUPPORT_CALL_H
#define VX_TESTS_SUPPORT_CALL_H

#include "core/ports/http_client.h"
#include "support/fake_transport.h"

struct call {
    struct vx_request request;
    struct vx_header items[8];
    struct vx_arena arena;
    char first[16384];      /* of the arena */
    struct vx_upstream *up; /* NULL: released */
    unsigned readable, writable, failed, responses, interims;
    uint16_t status;
    struct vx_error failure;
    bool was_sent; /* when it failed */
    bool counts;   /* its failure counts against the backend */
    bool releases_on_response;
};

/* They take their notes in the struct call that is their user. */
extern const struct vx_stream_events call_events;

/* Prepares a request for /p. */
void call_init(struct call *c, enum vx_method method, enum vx_framing framing, uint64_t bytes);

/* Opens it. False: *error says why. */
bool call_open_at(struct call *c, struct vx_http_client *client, const struct vx_target *target, bool fresh,
                  uint64_t now_ns, struct vx_error *error);

void call_release(struct call *c);
enum vx_pull call_pull(struct call *c, struct vx_slice *bytes);

/* Reads the body up to its end, which has to be there; its length. */
size_t call_drink(struct call *c);

/* A backend at 10.0.0.1:80 with two places for requests that wait, and all time limits set. */
struct vx_target call_target(struct vx_target_shared *shared, uint32_t pool);

#endif
