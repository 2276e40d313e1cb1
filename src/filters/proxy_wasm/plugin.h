/* SPDX-License-Identifier: Apache-2.0 */
/* A Proxy-WASM plugin as a filter: its VMs, one for each worker, their failures and restarts. */
#ifndef VX_FILTERS_PROXY_WASM_PLUGIN_H
#define VX_FILTERS_PROXY_WASM_PLUGIN_H

#include "core/base/histogram.h"
#include "core/config/model.h"
#include "filters/proxy_wasm/hub.h"

#define VX_PWASM_SEAT_STATES(X)                                                                              \
    X(READY)   /* a VM is there */                                                                           \
    X(WAITING) /* it failed; a new one is asked for when the timer fires */                                  \
    X(ASKED)   /* the control thread has been asked for one */

enum vx_pwasm_seat_state {
#define X(name) VX_PWASM_SEAT_##name,
    VX_PWASM_SEAT_STATES(X)
#undef X
};

/* What of a seat two threads look at. */
struct vx_pwasm_seat_shared {
    _Atomic(struct vx_pwasm_vm *) delivered; /* by the control thread, until the worker takes it */
    _Atomic bool wanted;                     /* the worker has asked, the control thread has not answered */
    _Atomic bool refused;                    /* the answer: it did not start */
    _Atomic uint32_t isolated;               /* for the metrics page: 1 while it fails again and again */
    _Atomic uint64_t traps;
    struct vx_histogram duration; /* of callbacks that hold an exchange up */
};

/* A worker's place in a plugin; the worker's own but for `shared`. */
struct vx_pwasm_seat {
    struct vx_pwasm_plugin *plugin;
    uint32_t worker;
    enum vx_pwasm_seat_state state;
    struct vx_pwasm_vm *vm; /* NULL unless READY */
    struct vx_list dead;    /* VMs whose streams have not all closed */
    uint32_t entered;
    uint32_t failures;   /* one soon after the other */
    uint64_t started_ns; /* when the VM took its seat */
    struct vx_timer timer;
    struct vx_pwasm_seat_shared shared;
};

struct vx_pwasm_plugin {
    struct vx_filter filter; /* first: the port's face */
    struct vx_pwasm_plan plan;
    struct vx_pwasm_seat *seats;
    uint32_t seat_count;
    char *texts; /* what the plan's and the filter's slices lie in */
};

/* Takes the module over, and starts a VM for each worker that the hub has (one without a worker where it has none). NULL:
 * *why says what is wrong, and the module is unloaded. Control thread. */
struct vx_filter *vx_pwasm_plugin_new(struct vx_pwasm_hub *hub, const struct vx_config_filter *config,
                                      struct vx_wasm_module *module, struct vx_wasm_text *why);

/* Ends it; no worker is between enter and leave. Control thread. */
void vx_pwasm_plugin_free(struct vx_filter *f);

/* Starts the VMs that workers have asked for. Control thread. */
void vx_pwasm_plugin_tend(struct vx_filter *f);

#endif
