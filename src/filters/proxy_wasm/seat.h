/* SPDX-License-Identifier: Apache-2.0 */
/* A worker's place in a plugin: the VM that runs there, its failures and restarts, its end. */
#ifndef VX_FILTERS_PROXY_WASM_SEAT_H
#define VX_FILTERS_PROXY_WASM_SEAT_H

#include "core/base/histogram.h"
#include "filters/proxy_wasm/hub.h"

#define VX_PWASM_SEAT_STATES(X)                                                                              \
    X(READY)   /* a VM is there */                                                                           \
    X(WAITING) /* it failed; a new one is asked for when the timer fires */                                  \
    X(ASKED)   /* the control thread has been asked for one */                                               \
    X(ENDING)  /* no stream comes any more; what is there comes to its end */                                \
    X(ENDED)   /* nothing is left */

enum vx_pwasm_seat_state {
#define X(name) VX_PWASM_SEAT_##name,
    VX_PWASM_SEAT_STATES(X)
#undef X
};

/* How the control thread wants it to end; a later one overrides. */
enum vx_pwasm_order { VX_PWASM_ORDER_NONE, VX_PWASM_ORDER_END, VX_PWASM_ORDER_CUT };

/* What of a seat two threads look at. */
struct vx_pwasm_seat_shared {
    _Atomic(struct vx_pwasm_vm *) delivered; /* by the control thread, until the worker takes it */
    _Atomic bool wanted;                     /* the worker has asked, the control thread has not answered */
    _Atomic bool refused;                    /* the answer: it did not start */
    _Atomic uint32_t order;                  /* enum vx_pwasm_order, from the control thread */
    _Atomic uint32_t messages;               /* that tell the worker of it, not yet heard */
    _Atomic bool ended;                      /* the worker's part of it; the control thread may free it */
    _Atomic uint32_t isolated;               /* for the metrics page: 1 while it fails again and again */
    _Atomic uint64_t traps;
    struct vx_histogram duration; /* of callbacks that hold an exchange up */
};

/* The worker's own but for `shared` and `told`. */
struct vx_pwasm_seat {
    struct vx_list link; /* in the crew, from when it has entered */
    const struct vx_pwasm_plan *plan;
    uint32_t worker;
    enum vx_pwasm_order told; /* the control thread's: what the worker has been told of */
    enum vx_pwasm_seat_state state;
    struct vx_pwasm_vm *vm;   /* NULL but in READY, and in ENDING until it is over */
    struct vx_list dead;      /* VMs whose streams have not all closed */
    struct vx_snapshot *home; /* the newest one that has the plugin, kept; NULL: not entered yet, or ended */
    uint32_t failures;        /* one soon after the other */
    uint64_t started_ns;      /* when the VM took its seat */
    struct vx_timer timer;
    struct vx_pwasm_turn end_turn; /* in ENDING, until the VM has been told of its end */
    struct vx_pwasm_seat_shared shared;
};

/* `vm` was started for it. Control thread. */
void vx_pwasm_seat_init(struct vx_pwasm_seat *seat, const struct vx_pwasm_plan *plan, uint32_t worker,
                        struct vx_pwasm_vm *vm);

/* The worker takes up a snapshot that has the plugin: its VM takes part from the first time on. Its thread. */
void vx_pwasm_seat_enter(struct vx_pwasm_seat *seat, struct vx_snapshot *snapshot, uint64_t now_ns);

/* How long it waits, from the last of its failures in a row to the next instance. */
uint64_t vx_pwasm_seat_back_off_ns(const struct vx_pwasm_seat *seat);

/* A stream of a dead VM has closed. The worker's thread. */
void vx_pwasm_seat_reap(struct vx_pwasm_seat *seat);

/* Starts the VM that the worker has asked for. False: it has not. Control thread, like all below. */
bool vx_pwasm_seat_start(struct vx_pwasm_seat *seat);

/* Tells the worker again of an order for which its inbox was full. */
void vx_pwasm_seat_tend(struct vx_pwasm_seat *seat);

/* No stream comes any more: it is to come to its end on its worker, soon. Where there is no worker, it does at once. */
void vx_pwasm_seat_order(struct vx_pwasm_seat *seat, enum vx_pwasm_order order);

/* Whether it has; tells the worker again where its inbox was full. */
bool vx_pwasm_seat_has_ended(struct vx_pwasm_seat *seat);

/* Whether it was ordered to, and has not. */
bool vx_pwasm_seat_is_ending(const struct vx_pwasm_seat *seat);

/* The worker's thread does not run, or knows nothing of the seat yet: it ends here and now. No stream is open. */
void vx_pwasm_seat_end_here(struct vx_pwasm_seat *seat);

/* It has ended. */
void vx_pwasm_seat_free(struct vx_pwasm_seat *seat);

#endif
