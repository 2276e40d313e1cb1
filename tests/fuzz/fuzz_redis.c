/* SPDX-License-Identifier: Apache-2.0 */
/* What a Redis, a Sentinel or a cluster's node may say: whatever it is, every question gets one answer and nothing is left
 * behind. The first byte chooses who speaks; the rest is cut into pieces at each byte 0xff, which also lets time pass and
 * asks another question. */
#include "unit/filters/redis/redis_test.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { QUESTIONS = 32 };

static const char *const urls[] = {"redis://:pw@10.0.0.1/2", "redis+sentinel://s1,s2/mymaster",
                                   "redis+cluster://n1:7000,n2"};

static struct vx_link *speaker(struct world *w, uint8_t which) {
    unsigned open = world_open_links(w);
    unsigned wanted = open ? which % open : 0;
    for (unsigned i = 0; i < w->link_count && open; i++)
        if (w->links[i].open && wanted-- == 0)
            return &w->links[i];
    return NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct asked asked[QUESTIONS];
    unsigned count = 0;
    if (size == 0)
        return 0;
    struct world *w = world_new(urls[data[0] % 3], VX_STORE_FAILURE_DENY);
    char key[16];
    for (size_t at = 1; at < size;) {
        size_t end = at;
        while (end < size && data[end] != 0xff)
            end++;
        struct vx_link *link = speaker(w, (uint8_t)at);
        if (link && end > at)
            link->events->on_bytes(link->user, vx_slice((const char *)data + at, end - at), w->now_ns);
        for (unsigned i = 0; i < w->link_count; i++)
            w->links[i].sent_len = 0;
        if (count < QUESTIONS && w->link_count < LINKS_MAX / 2) {
            snprintf(key, sizeof key, "%u", count % 5);
            asked[count].told = false;
            asked[count].told = world_ask(w, &asked[count], key) != VX_RATE_PENDING;
            count++;
        }
        if (w->link_count < LINKS_MAX / 2)
            world_wait(w, 3);
        else
            break;
        at = end + 1;
    }
    vx_redis_store_free(w->store, w->now_ns);
    for (unsigned i = 0; i < count; i++)
        if (!asked[i].told)
            abort();
    w->store = NULL;
    world_end(w);
    return 0;
}
