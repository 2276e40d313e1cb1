/* SPDX-License-Identifier: Apache-2.0 */
/* The ban list that needs no kernel: a table that one thread writes and the workers read without locks, when they accept a
 * connection and when a request begins. Memory of a fixed size.
 *
 *   1. Only the writer stores. A slot that changes its client is given an end of 0 first, then the client, then the end, so
 *      that a reader that finds its client before and after it read the end has read that client's end.
 *   2. A free slot has client 0; a lookup looks at its group's slots only. */
#ifndef VX_CORE_LIMIT_BAN_TABLE_H
#define VX_CORE_LIMIT_BAN_TABLE_H

#include <stdatomic.h>

#include "core/base/hash.h"
#include "core/ports/ban_list.h"

enum { VX_BAN_TABLE_WAYS = 8 };

struct vx_ban_slot {
    _Atomic uint64_t client;
    _Atomic uint64_t until_ns;
};

struct vx_ban_table {
    struct vx_ban_list list;
    struct vx_ban_slot *slots;
    uint32_t groups; /* of VX_BAN_TABLE_WAYS slots; a power of two */
    struct vx_hash_key key;
    _Atomic uint32_t used; /* slots: without any a lookup costs one load */
};

/* Memory for `clients` clients (a power of two, at least VX_BAN_TABLE_WAYS), which must be zero. */
size_t vx_ban_table_bytes(uint32_t clients);

/* `memory` is borrowed; its list's functions are the writer's thread's. `key` is random. */
void vx_ban_table_init(struct vx_ban_table *t, void *memory, uint32_t clients, struct vx_hash_key key);

/* Any thread. */
bool vx_ban_table_has(const struct vx_ban_table *t, uint64_t client, uint64_t now_ns);

#endif
