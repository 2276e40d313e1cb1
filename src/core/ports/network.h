/* SPDX-License-Identifier: Apache-2.0 */
/* Streams of bytes to named places, for what speaks another protocol than HTTP: the store of rate limits on Redis. TLS is in
 * it where the configuration asks for it. The integration has it over the loop's transports, tests over nothing at all.
 *
 * As with every port, no call calls back; events come from the loop. */
#ifndef VX_CORE_PORTS_NETWORK_H
#define VX_CORE_PORTS_NETWORK_H

#include "core/base/address.h"

struct vx_link;

struct vx_link_events {
    void (*on_bytes)(void *user, struct vx_slice bytes, uint64_t now_ns); /* valid during the call */
    /* It is broken or could not be made; `why` is static text. No event follows, and close() is still due. */
    void (*on_broken)(void *user, const char *why, uint64_t now_ns);
};

struct vx_network {
    /* A link to `to` (IP4, IP6 or NAME; its text is copied), being made: bytes may be sent at once and wait. NULL: no
     * memory. */
    struct vx_link *(*open)(struct vx_network *self, const struct vx_address *to,
                            const struct vx_link_events *events, void *user);
    /* Takes all of `bytes`; they leave at the end of the round, together with what else is sent in it. */
    void (*send)(struct vx_link *link, struct vx_slice bytes);
    /* Ends it; no event follows. May be called from inside an event. */
    void (*close)(struct vx_link *link);
};

#endif
