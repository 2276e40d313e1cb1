/* SPDX-License-Identifier: Apache-2.0 */
/* What the connections of a server are at, counted. */
#include "core/base/assert.h"
#include "proxy/http/server.h"

enum {
    STATES_MAX = 16,
    LOOKED_AT_MAX = 20000, /* the worker has other things to do */
};

struct count {
    const char *state;
    uint32_t connections;
};

/* Names are static, so one name is one pointer; two of the same text would only be listed apart. */
static void count(struct count *counts, const char *state) {
    uint32_t i = 0;
    while (i < STATES_MAX - 1 && counts[i].state && counts[i].state != state)
        i++;
    counts[i].state = i < STATES_MAX - 1 ? state : "in other states";
    counts[i].connections++;
}

void vx_http_server_dump(const struct vx_http_server *s, struct vx_text *out) {
    struct count counts[STATES_MAX] = {{0}};
    uint32_t looked_at = 0;
    for (const struct vx_list *at = s->connections.next; at != &s->connections && looked_at < LOOKED_AT_MAX;
         at = at->next, looked_at++) {
        const struct vx_server_connection *c = VX_CONTAINER_OF(at, const struct vx_server_connection, link);
        count(counts, c->state(c));
    }
    for (uint32_t i = 0; i < STATES_MAX && counts[i].state; i++)
        vx_text_format(out, ", %u %s", counts[i].connections, counts[i].state);
    if (looked_at < s->connection_count)
        vx_text_format(out, ", %u not looked at", s->connection_count - looked_at);
}
