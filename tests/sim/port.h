/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the two halves of the wire: wire.c (travel, the far end) and port.c (the proxy's end). */
#ifndef SIM_PORT_H
#define SIM_PORT_H

#include "sim/wire.h"

static inline size_t lane_len(const struct wire_lane *lane) {
    return lane->end - lane->start;
}

static inline size_t lane_room(const struct wire_lane *lane) {
    size_t len = lane_len(lane);
    return len < lane->capacity ? lane->capacity - len : 0;
}

void lane_put(struct wire_lane *lane, const char *bytes, size_t len);

/* wire.c */
struct wire *wire_new_dialed(struct sim *sim, const struct vx_address *address);
void wire_send_on(struct wire *w, bool up);             /* starts the next segment, if there is one */
void wire_tell_far(struct wire *w);                     /* calls the actor's changed() */
void wire_reset_far(struct wire *w, bool keep_arrived); /* a reset is on its way to the far end */
void wire_closed_by_proxy(struct wire *w, bool reset);

/* port.c: the kernel has news for the proxy. */
void wire_notify(struct wire *w);

#endif
