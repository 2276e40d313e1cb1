/* SPDX-License-Identifier: Apache-2.0 */
/* Two workers that share places among max_connections, whatever version of HTTP their clients speak. What one has to say to
 * the other waits until the test delivers it. */
#ifndef VX_TESTS_SUPPORT_TWO_WORKERS_H
#define VX_TESTS_SUPPORT_TWO_WORKERS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "proxy/runtime/places.h"
#include "support/fake_transport.h"

struct two_workers {
    struct fake_net *net; /* of both */
    struct vx_places *places[2];
    void (*spare)(unsigned worker);
    bool told[2], asked[2]; /* and not delivered */
    bool deaf;              /* they hear nothing of places */
};

static struct two_workers two;

static inline void two_tell(struct vx_places *self, uint32_t other) {
    assert_int_not_equal(other, self->worker);
    two.told[other] = !two.deaf;
}

static inline void two_ask(struct vx_places *self) {
    two.asked[1 - self->worker] = true;
}

/* `second` is made ready here. */
static inline void two_start(struct fake_net *net, struct vx_places *first, struct vx_places *second,
                             void (*spare)(unsigned worker)) {
    two = (struct two_workers){.net = net, .places = {first, second}, .spare = spare};
    vx_places_init(second, 1);
    for (unsigned i = 0; i < 2; i++) {
        two.places[i]->tell = two_tell;
        two.places[i]->ask = two_ask;
    }
}

/* Each worker reads what has come for it by now. */
static inline void two_deliver(void) {
    struct two_workers was = two;
    for (unsigned i = 0; i < 2; i++)
        two.asked[i] = two.told[i] = false;
    for (unsigned i = 0; i < 2; i++) {
        if (was.asked[i])
            two.spare(i);
        if (was.told[i])
            vx_places_look(two.places[i]);
    }
    fake_net_round(two.net);
}

/* The clients end one after the other: nobody is there to be told. */
static inline void two_end(void) {
    for (unsigned i = 0; i < 2; i++)
        two.places[i]->tell = NULL;
}

#endif
