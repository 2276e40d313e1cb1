/* SPDX-License-Identifier: Apache-2.0 */
/* The fixture with three filters, a, b and c, in the chain of its first route. */
#ifndef VX_TESTS_EXCHANGE_FILTER_FIXTURE_H
#define VX_TESTS_EXCHANGE_FILTER_FIXTURE_H

#include <stdio.h>

#include "support/fake_filter.h"
#include "unit/core/exchange/fixture.h"

enum { FILTERS = 3 };

struct filtered {
    struct fixture *x;
    struct fake_filter_trace trace;
    struct fake_filter a, b, c;
    struct vx_filter *list[FILTERS];
    struct vx_filter_chain chain;
};

/* The first `count` of them take part. */
static inline struct filtered *filtered_new(uint32_t count) {
    struct filtered *t = calloc(1, sizeof *t);
    assert_non_null(t);
    fake_filter_init(&t->a, &t->trace, 'a');
    fake_filter_init(&t->b, &t->trace, 'b');
    fake_filter_init(&t->c, &t->trace, 'c');
    t->list[0] = &t->a.base;
    t->list[1] = &t->b.base;
    t->list[2] = &t->c.base;
    t->chain = (struct vx_filter_chain){t->list, count};
    t->x = fixture_new();
    fixture_start(t->x);
    t->x->made[0].chain = &t->chain;
    return t;
}

/* Begins a request with a body in one piece (NULL: none). */
static inline void filtered_begin(struct filtered *t, enum vx_method method, const char *body) {
    fixture_request(t->x, method, "/api/x?q=1");
    if (body)
        fake_downstream_add_body(&t->x->f, vx_slice_of(body));
    fixture_begin(t->x);
}

/* The round after somebody asked for one. */
static inline void filtered_turn(struct filtered *t) {
    struct fake_downstream *f = &t->x->f;
    assert_true(f->again > 0);
    f->again = 0;
    if (!f->released)
        f->down.stream.events->on_readable(f->down.stream.user, t->x->now_ns);
}

static inline struct fake_upstream *filtered_up(struct filtered *t) {
    return fixture_up(t->x);
}

static inline void filtered_answer(struct filtered *t, uint16_t status, const char *body) {
    fake_upstream_answer(filtered_up(t), status, body, t->x->now_ns);
}

/* The answer that the client got, whole. */
static inline void filtered_check(const struct filtered *t, uint16_t status, const char *body) {
    const struct fake_downstream *f = &t->x->f;
    fake_downstream_check_done(f);
    assert_int_equal(f->response.status, status);
    assert_int_equal(f->body_len, strlen(body));
    assert_memory_equal(f->body ? f->body : "", body, f->body_len);
}

static inline void filtered_check_error(const struct filtered *t, uint16_t status, const char *text) {
    char body[128];
    snprintf(body, sizeof body, "{\"error\":\"%s\"}", text);
    filtered_check(t, status, body);
}

static inline void filtered_free(struct filtered *t) {
    struct fake_filter *all[] = {&t->a, &t->b, &t->c};
    for (unsigned i = 0; i < FILTERS; i++)
        assert_int_equal(all[i]->opened, all[i]->closed);
    fixture_free(t->x);
    free(t);
}

#endif
