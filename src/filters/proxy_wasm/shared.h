/* SPDX-License-Identifier: Apache-2.0 */
/* What plugins of one scope share over all workers: values with compare-and-swap, and queues. A scope is a `vm_id`; it
 * lasts as long as a plugin that belongs to it is loaded. A lock guards all of it, held for the time of one copy. */
#ifndef VX_FILTERS_PROXY_WASM_SHARED_H
#define VX_FILTERS_PROXY_WASM_SHARED_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/slice.h"
#include "filters/proxy_wasm/abi.h"

struct vx_pwasm_shared;
struct vx_pwasm_scope;

enum {
    VX_PWASM_SCOPE_BYTES_MAX = 64 * 1024 * 1024, /* of keys, values and queued items together */
    VX_PWASM_QUEUES_MAX = 1024,                  /* in the whole process at a time */
};

/* A copy that the caller frees with free(). `data` is NULL when it is empty. */
struct vx_pwasm_value {
    char *data;
    size_t len;
    uint32_t cas;
};

/* Who is told that there is something in a queue. */
struct vx_pwasm_listener {
    uint64_t vm; /* its serial; 0: nobody */
    uint32_t worker;
};

/* NULL: no memory. Control thread, like free. */
struct vx_pwasm_shared *vx_pwasm_shared_new(void);
void vx_pwasm_shared_free(struct vx_pwasm_shared *s);

/* The scope of this name, with one hold more. NULL: no memory. Control thread, like drop. */
struct vx_pwasm_scope *vx_pwasm_scope_hold(struct vx_pwasm_shared *s, struct vx_slice name);
void vx_pwasm_scope_drop(struct vx_pwasm_scope *scope);

/* The rest: any thread. */

/* NOT_FOUND; INTERNAL_FAILURE: no memory. A value's cas is never 0. */
enum vx_pwasm_status vx_pwasm_shared_get(struct vx_pwasm_scope *scope, struct vx_slice key,
                                         struct vx_pwasm_value *value);

/* `cas` 0 sets in any case; else it must be the present one, if there is a value. CAS_MISMATCH; INTERNAL_FAILURE: no
 * memory, or the scope is full. */
enum vx_pwasm_status vx_pwasm_shared_set(struct vx_pwasm_scope *scope, struct vx_slice key,
                                         struct vx_slice value, uint32_t cas);

/* The scope's queue of this name, made if there is none; `listener` takes the place of the one before. False: no memory,
 * or too many queues. Ids begin at 1, and none is given a second time: who keeps one for longer than its scope lasts
 * reaches nobody else's queue. */
bool vx_pwasm_queue_register(struct vx_pwasm_scope *scope, struct vx_slice name,
                             struct vx_pwasm_listener listener, uint32_t *id);

/* The queue of that name in the scope called `scope_name`, whoever's it is. False: there is none. */
bool vx_pwasm_queue_find(struct vx_pwasm_shared *s, struct vx_slice scope_name, struct vx_slice name,
                         uint32_t *id);

/* NOT_FOUND; INTERNAL_FAILURE: no memory, or the scope is full. *tell: whom to tell of it; nobody if a word is on its
 * way already. If it cannot be sent, vx_pwasm_queue_untold() says so. */
enum vx_pwasm_status vx_pwasm_queue_push(struct vx_pwasm_shared *s, uint32_t id, struct vx_slice item,
                                         struct vx_pwasm_listener *tell);
void vx_pwasm_queue_untold(struct vx_pwasm_shared *s, uint32_t id);

/* The word has come to `listener`, who is to be told of one item, and then to ask again. False: there is none that it has not
 * been told of, or it is told no more; with that the word is over. */
bool vx_pwasm_queue_tell(struct vx_pwasm_shared *s, uint32_t id, struct vx_pwasm_listener listener);

/* An item out of its queue: the caller's, who frees it with free() or gives it back. */
struct vx_pwasm_item {
    struct vx_pwasm_item *next;
    size_t len;
    char data[];
};

/* Takes the oldest item. NOT_FOUND, EMPTY. */
enum vx_pwasm_status vx_pwasm_queue_pop(struct vx_pwasm_shared *s, uint32_t id, struct vx_pwasm_item **item);

/* Puts an item that could not be delivered back to where it was taken from: it is the oldest again. */
void vx_pwasm_queue_unpop(struct vx_pwasm_shared *s, uint32_t id, struct vx_pwasm_item *item);

#endif
