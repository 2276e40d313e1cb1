/* SPDX-License-Identifier: Apache-2.0 */
/* Metrics that plugins define: one series for each name in the whole process, which all VMs of all workers count into.
 * They stay until the process ends, as counters should. */
#ifndef VX_FILTERS_PROXY_WASM_SERIES_H
#define VX_FILTERS_PROXY_WASM_SERIES_H

#include <stdbool.h>
#include <stdint.h>

#include "core/ports/metrics_source.h"
#include "filters/proxy_wasm/abi.h"

struct vx_pwasm_series;

enum { VX_PWASM_SERIES_MAX = 4096, VX_PWASM_SERIES_NAME_MAX = 256 };

/* NULL: no memory. Control thread, like free. */
struct vx_pwasm_series *vx_pwasm_series_new(void);
void vx_pwasm_series_free(struct vx_pwasm_series *s);

/* The rest: any thread. */

/* The series of this name, made if there is none. BAD_ARGUMENT: no such type, no name, or the name is one of another
 * type's; INTERNAL_FAILURE: no memory or too many. Ids begin at 1. */
enum vx_pwasm_status vx_pwasm_series_define(struct vx_pwasm_series *s, uint32_t type, struct vx_slice name,
                                            uint32_t *id);

/* A counter grows by a positive `delta`, a gauge moves either way. NOT_FOUND, BAD_ARGUMENT. */
enum vx_pwasm_status vx_pwasm_series_increment(struct vx_pwasm_series *s, uint32_t id, int64_t delta);

/* A gauge is set, a counter grows by `value`, a histogram counts it. NOT_FOUND. */
enum vx_pwasm_status vx_pwasm_series_record(struct vx_pwasm_series *s, uint32_t id, uint64_t value);

/* NOT_FOUND; BAD_ARGUMENT: a histogram has no one value. */
enum vx_pwasm_status vx_pwasm_series_get(struct vx_pwasm_series *s, uint32_t id, uint64_t *value);

void vx_pwasm_series_render(struct vx_pwasm_series *s, struct vx_text_sink *sink);

#endif
