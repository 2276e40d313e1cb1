/* SPDX-License-Identifier: Apache-2.0 */
/* What plugins share in one process: shared data and queues, metrics, the log, and who runs on which worker. */
#ifndef VX_FILTERS_PROXY_WASM_HUB_H
#define VX_FILTERS_PROXY_WASM_HUB_H

#include "filters/proxy_wasm/vm.h"

enum { VX_PWASM_WORKERS_MAX = 1024 };

/* One worker's VMs that take part now, where they sit, and when they may run. Touched on its thread only. */
struct vx_pwasm_crew {
    const struct vx_filter_worker *worker; /* NULL: none attached */
    struct vx_list vms;
    struct vx_list seats; /* struct vx_pwasm_seat, that have entered and not ended */
    struct vx_pwasm_turns turns;
};

struct vx_pwasm_hub {
    struct vx_pwasm_shared *shared;
    struct vx_pwasm_series *series;
    const struct vx_log_port *log;
    struct vx_pwasm_crew crews[VX_PWASM_WORKERS_MAX];
    uint32_t crew_count;
    _Atomic uint64_t serial;
};

/* False: no memory. Control thread. */
bool vx_pwasm_hub_init(struct vx_pwasm_hub *hub, const struct vx_log_port *log);

/* No VM is left. */
void vx_pwasm_hub_free(struct vx_pwasm_hub *hub);

/* The worker is there, or is no more: its thread does not run, and no VM takes part. Control thread. */
void vx_pwasm_hub_attach(struct vx_pwasm_hub *hub, uint32_t index, const struct vx_filter_worker *worker);
void vx_pwasm_hub_detach(struct vx_pwasm_hub *hub, uint32_t index);

/* A VM takes part on its worker from now on, or no longer. The worker's thread. */
void vx_pwasm_hub_join(struct vx_pwasm_hub *hub, struct vx_pwasm_vm *vm);
void vx_pwasm_hub_leave(struct vx_pwasm_vm *vm);

/* For what this VM does of its own accord. The worker's thread. */
void vx_pwasm_hub_ask(const struct vx_pwasm_vm *vm, struct vx_pwasm_turn *turn, uint64_t now_ns);

/* Puts an item into a queue and sends word of it to the worker whose VM listens. Any thread. */
enum vx_pwasm_status vx_pwasm_hub_enqueue(struct vx_pwasm_hub *hub, uint32_t id, struct vx_slice item);

/* Writes a line to the log. Any thread. */
void vx_pwasm_hub_log(const struct vx_pwasm_hub *hub, enum vx_log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
