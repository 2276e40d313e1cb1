/* SPDX-License-Identifier: Apache-2.0 */
/* A Proxy-WASM plugin as a filter: a seat with a VM for each worker, and the callbacks of the chain. */
#ifndef VX_FILTERS_PROXY_WASM_PLUGIN_H
#define VX_FILTERS_PROXY_WASM_PLUGIN_H

#include "core/config/model.h"
#include "filters/proxy_wasm/seat.h"

struct vx_pwasm_plugin {
    struct vx_filter filter; /* first: the port's face */
    struct vx_pwasm_plan plan;
    struct vx_pwasm_seat *seats;
    uint32_t seat_count;
    uint32_t next_start; /* the worker whose turn it is to have a VM started, if it wants one */
    char *texts;         /* what the plan's and the filter's slices lie in */
};

/* Takes the module over, and starts a VM for each worker that the hub has (one without a worker where it has none). NULL:
 * *why says what is wrong, and the module is unloaded. Control thread. */
struct vx_filter *vx_pwasm_plugin_new(struct vx_pwasm_hub *hub, const struct vx_config_filter *config,
                                      struct vx_wasm_module *module, struct vx_wasm_text *why);

/* No stream of it will begin any more, on any worker or on one: it comes to its end there, in its own time or cut short.
 * Control thread, like all below. */
void vx_pwasm_plugin_order(struct vx_filter *f, enum vx_pwasm_order order);
void vx_pwasm_plugin_order_on(struct vx_filter *f, uint32_t worker, enum vx_pwasm_order order);

/* Whether it has, on all workers. */
bool vx_pwasm_plugin_has_ended(struct vx_filter *f);

/* On how many workers it has been told to, and has not. */
uint32_t vx_pwasm_plugin_ending(const struct vx_filter *f);

/* The worker's thread does not run (any more): what is there ends at once. */
void vx_pwasm_plugin_detach(struct vx_filter *f, uint32_t worker);

/* It has ended everywhere. */
void vx_pwasm_plugin_free(struct vx_filter *f);

/* Sees that workers hear of orders. */
void vx_pwasm_plugin_tend(struct vx_filter *f);

/* Starts a VM that a worker has asked for; the workers take turns. False: none has. */
bool vx_pwasm_plugin_start_one(struct vx_filter *f);

#endif
