/* SPDX-License-Identifier: Apache-2.0 */
/* The store of rate limits of a world: the table in memory behind a port that answers at once, late, or that it is away; and
 * a plain model that every answer is held against. */
#ifndef SIM_LIMITS_H
#define SIM_LIMITS_H

#include "core/config/model.h"
#include "core/ports/rate_store.h"
#include "core/ports/recorder.h"

struct sim;

enum { LIMITS_KEYS_MAX = 16, LIMITS_KEY_BYTES_MAX = 64 };

struct sim_limits {
    struct vx_rate_store store;
    struct sim *sim;
    struct vx_rate_memory *table;
    struct {
        char key[LIMITS_KEY_BYTES_MAX];
        size_t len;
        uint64_t paid_off_ns;
    } model[LIMITS_KEYS_MAX];
    unsigned key_count;
    struct sim_question *questions; /* put off, the newest first; freed with the world */
    uint64_t asked, refused;        /* told to exchanges */
    uint64_t records;               /* of refused requests */
};

void limits_init(struct sim *sim);
/* A route's limit, by its name; not enabled where the scenario has none. */
struct vx_config_rate_limit limits_of_route(const struct sim *sim);
/* A request has ended, which reached backends so often. */
void limits_recorded(struct sim *sim, const struct vx_exchange_record *r, unsigned deliveries);
/* Answers what is due; part of a round. */
void limits_answer(struct sim *sim);
void limits_end(struct sim *sim); /* checks that nothing waits, and frees */

#endif
