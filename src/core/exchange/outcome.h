/* SPDX-License-Identifier: Apache-2.0 */
/* What an attempt that has failed says of its backend. */
#ifndef VX_CORE_EXCHANGE_OUTCOME_H
#define VX_CORE_EXCHANGE_OUTCOME_H

#include "core/ports/stream.h"
#include "core/routing/balance/pick.h"

/* Of an attempt that is over for `error`; its ticket ends with this. A connection that breaks, or does not come about, counts
 * once, however many requests it fails: for the first of them that has something to count with. */
static inline enum vx_backend_outcome vx_outcome_of(const struct vx_backend_ticket *ticket,
                                                    struct vx_upstream *up, const struct vx_error *error) {
    if (error->source != VX_BY_BACKEND || !vx_backend_ticket_may_fail(ticket))
        return VX_OUTCOME_NEUTRAL;
    bool counts = !up->stream.ops->counts || up->stream.ops->counts(&up->stream);
    return counts ? VX_OUTCOME_FAILURE : VX_OUTCOME_SHARED_FAILURE;
}

#endif
