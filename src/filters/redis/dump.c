/* SPDX-License-Identifier: Apache-2.0 */
/* What a Redis store says of itself. */
#include "filters/print.h"
#include "filters/redis/internal.h"

static const char *state_name(const struct vx_redis_connection *c) {
    static const char *const names[] = {
#define X(name) #name,
        VX_REDIS_CONNECTION_STATES(X)
#undef X
    };
    return names[c->state];
}

static void dump_connection(const char *what, const struct vx_redis_connection *c,
                            struct vx_text_sink *sink) {
    char address[VX_ADDRESS_TEXT_MAX];
    vx_address_format(&c->address, address);
    vx_print(sink, "    %s %s: %s, %u commands in flight, %u failures in a row", what, address, state_name(c),
             c->call_count, c->failures);
}

static void dump_nodes(const struct vx_redis_store *s, struct vx_text_sink *sink) {
    uint32_t slots[VX_REDIS_NODES_MAX] = {0};
    for (unsigned slot = 0; s->map && slot < VX_REDIS_SLOTS; slot++)
        if (s->map->nodes[slot] != VX_REDIS_NO_NODE)
            slots[s->map->nodes[slot]]++;
    for (uint16_t i = 0; i < s->node_count; i++) {
        const struct vx_redis_node *node = s->nodes[i];
        dump_connection(node->connection.must_master ? "master" : "node", &node->connection, sink);
        if (s->map)
            vx_print(sink, ", %u slots%s", slots[i], node->wanted ? "" : ", to be let go");
        vx_print(sink, "\n");
    }
}

void vx_redis_store_dump(const struct vx_redis_store *s, struct vx_text_sink *sink) {
    static const char *const kinds[] = {
        [VX_RATE_STORE_MEMORY] = "memory",
        [VX_RATE_STORE_REDIS] = "one Redis",
        [VX_RATE_STORE_SENTINEL] = "Redis behind Sentinels",
        [VX_RATE_STORE_CLUSTER] = "a Redis cluster",
    };
    static const char *const failures[] = {[VX_STORE_FAILURE_LOCAL] = "local",
                                           [VX_STORE_FAILURE_ALLOW] = "allow",
                                           [VX_STORE_FAILURE_DENY] = "deny"};
    static const char *const counts[VX_REDIS_COUNT_COUNT] = {
        [VX_REDIS_COUNT_ASKED] = "asked",   [VX_REDIS_COUNT_LOCAL_REFUSAL] = "refused here",
        [VX_REDIS_COUNT_LOST] = "lost",     [VX_REDIS_COUNT_ERROR] = "answered by an error",
        [VX_REDIS_COUNT_AWAY] = "not sent",
    };
    vx_print(sink, "  rate limits: %s, %s, on_store_failure %s, last trouble: %s\n   ", kinds[s->config.kind],
             vx_redis_store_is_up(s) ? "connected" : "away", failures[s->config.on_failure],
             s->trouble ? s->trouble : "none");
    for (unsigned i = 0; i < VX_REDIS_COUNT_COUNT; i++)
        vx_print(sink, " %llu %s%s", (unsigned long long)s->counts[i], counts[i],
                 i + 1 < VX_REDIS_COUNT_COUNT ? "," : "\n");
    dump_nodes(s, sink);
    if (s->sentinels) {
        dump_connection("Sentinel", &s->sentinels->asker, sink);
        vx_print(sink, "\n");
    }
}
