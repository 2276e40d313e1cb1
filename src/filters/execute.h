/* SPDX-License-Identifier: Apache-2.0 */
/* The simplest filter there is: a module that exports `execute: () -> i32`. Each request runs it in a sandbox of its own,
 * made for it and thrown away after it. 200 lets the request pass, 400 to 599 is the answer that the client gets,
 * anything else is a failure. It may import what Proxy-WASM plugins import, to read and edit the request's head. */
#ifndef VX_FILTERS_EXECUTE_H
#define VX_FILTERS_EXECUTE_H

#include "core/base/histogram.h"
#include "filters/proxy_wasm/hub.h"

/* What of a seat the metrics page and dumps look at. */
struct vx_execute_shared {
    _Atomic uint32_t running; /* sandboxes that a request is in: 1 or 0 */
    _Atomic uint32_t over;    /* those whose request is over, in a store that has room for another one */
    _Atomic uint64_t traps;
    _Atomic uint32_t isolated; /* 1 while it fails again and again and is not run */
    struct vx_histogram duration;
};

struct vx_execute_run; /* one exchange */

/* A worker's place. */
struct vx_execute_seat {
    struct vx_execute *filter;
    struct vx_pwasm_vm vm; /* what host functions find; its sandbox is the running one */
    struct vx_execute_run *free;
    uint32_t failures; /* in a row */
    uint64_t again_ns; /* while isolated: when it is tried again */
    struct vx_execute_shared shared;
};

struct vx_execute {
    struct vx_filter filter; /* first: the port's face */
    struct vx_pwasm_plan plan;
    bool initialises; /* there is an `_initialize` to be called first */
    bool slim;        /* it has neither memory nor table */
    struct vx_execute_seat *seats;
    uint32_t seat_count;
    char *name;
};

/* Whether a loaded module is one: it exports `execute` and is no Proxy-WASM plugin. */
bool vx_execute_is(const struct vx_wasm_module *module);

/* Takes the module over, and makes a sandbox once to see that it can be made. NULL: *why says what is wrong, and the module
 * is unloaded. Control thread, as the next one. */
struct vx_filter *vx_execute_new(struct vx_pwasm_hub *hub, const struct vx_config_filter *config,
                                 struct vx_wasm_module *module, struct vx_wasm_text *why);

/* No exchange has it any more. */
void vx_execute_free(struct vx_filter *f);

#endif
