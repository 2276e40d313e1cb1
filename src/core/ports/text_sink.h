/* SPDX-License-Identifier: Apache-2.0 */
/* Where an adapter writes what it says of itself: its part of the metrics page, or of a dump (`vortex stats --verbose`). */
#ifndef VX_CORE_PORTS_TEXT_SINK_H
#define VX_CORE_PORTS_TEXT_SINK_H

#include "core/base/slice.h"

struct vx_text_sink {
    void (*put)(struct vx_text_sink *self, struct vx_slice text);
};

#endif
