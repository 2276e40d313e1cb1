/* SPDX-License-Identifier: Apache-2.0 */
/* The search for the lowest score, in every implementation this CPU has: against a plain loop, with marks, with lanes
 * that are no members, across blocks, and fair among equals. */
#include <math.h>

#include "unit/core/routing/balance/fixture.h"

enum { MAX_LINES = 300 };

/* Lines made by hand; members and marks as the test likes. */
struct lines {
    struct vx_backend_line line[MAX_LINES];
    struct vx_backend_line *pointers[MAX_LINES];
    _Alignas(64) float inverse_weight[MAX_LINES * VX_LANES];
    struct vx_backend_view view;
    struct vx_random random;
};

static struct lines *lines_new(uint32_t count) {
    struct lines *l = aligned_alloc(64, sizeof *l);
    assert_non_null(l);
    memset(l, 0, sizeof *l);
    l->random.state = 5;
    l->view.line_count = count;
    l->view.lines = l->pointers;
    l->view.first = count ? &l->line[0] : NULL;
    l->view.inverse_weight = l->inverse_weight;
    for (uint32_t i = 0; i < count; i++)
        l->pointers[i] = &l->line[i];
    for (uint32_t i = 0; i < MAX_LINES * VX_LANES; i++)
        l->inverse_weight[i] = 1;
    return l;
}

static void put(struct lines *l, uint32_t position, float ewma_us, uint32_t active) {
    atomic_store(&l->line[position / VX_LANES].ewma[position % VX_LANES], vx_bits_of_float(ewma_us));
    atomic_store(&l->line[position / VX_LANES].active[position % VX_LANES], active);
}

static float score_at(const struct lines *l, uint32_t position, bool use_ewma) {
    uint32_t active = atomic_load(&l->line[position / VX_LANES].active[position % VX_LANES]);
    float ewma_us = vx_float_of_bits(atomic_load(&l->line[position / VX_LANES].ewma[position % VX_LANES]));
    if (active & VX_LANE_SPECIAL)
        return INFINITY;
    return vx_ewma_score(use_ewma ? ewma_us : 0, active, l->inverse_weight[position]);
}

static const struct vx_score_search *search_of(int which) {
    return which ? vx_score_search_best() : vx_score_search_portable();
}

static uint32_t lowest(const struct lines *l, int which, bool use_ewma, struct vx_random *random) {
    const struct vx_score_search *s = search_of(which);
    if (l->view.line_count == 1)
        return (use_ewma ? s->ewma_line : s->queue_line).lowest(&l->view, random);
    return (use_ewma ? s->ewma_lines : s->queue_lines).lowest(&l->view, random);
}

static void fill_randomly(struct lines *l, struct vx_random *random, uint32_t one_in_marked) {
    for (uint32_t i = 0; i < l->view.line_count * VX_LANES; i++) {
        bool marked = one_in_marked && vx_random_below(random, one_in_marked) == 0;
        put(l, i, (float)vx_random_below(random, 50),
            vx_random_below(random, 4) | (marked ? VX_LANE_SPECIAL : 0));
        l->inverse_weight[i] =
            vx_random_below(random, 3) == 0 ? INFINITY : 1.0f / (float)(1 + vx_random_below(random, 4));
    }
}

static void check_against_loop(struct lines *l, int which, bool use_ewma) {
    float best = INFINITY;
    bool marks = false;
    for (uint32_t i = 0; i < l->view.line_count * VX_LANES; i++) {
        best = score_at(l, i, use_ewma) < best ? score_at(l, i, use_ewma) : best;
        marks |= (atomic_load(&l->line[i / VX_LANES].active[i % VX_LANES]) & VX_LANE_SPECIAL) != 0;
    }
    uint32_t found = lowest(l, which, use_ewma, &l->random);
    assert_int_equal((found & VX_POSITION_MARKED) != 0, marks);
    found &= ~VX_POSITION_MARKED;
    if (best == INFINITY) {
        assert_int_equal(found, VX_POSITION_NONE);
        return;
    }
    assert_true(found < l->view.line_count * VX_LANES);
    assert_true(score_at(l, found, use_ewma) == best);
}

static void agrees_with_a_plain_loop(void **state) {
    static const uint32_t counts[] = {0, 1, 2, 3, 5, 64, 127, 128, 129, 130, 256, 300};
    struct vx_random random = {11};
    (void)state;
    for (int which = 0; which < 2; which++) {
        for (uint32_t round = 0; round < 600; round++) {
            struct lines *l = lines_new(counts[round % (sizeof counts / sizeof *counts)]);
            fill_randomly(l, &random, round % 3);
            check_against_loop(l, which, round & 1);
            free(l);
        }
    }
}

static void nothing_to_choose(void **state) {
    (void)state;
    for (int which = 0; which < 2; which++) {
        for (uint32_t count = 0; count < 3; count++) {
            struct lines *l = lines_new(count);
            for (uint32_t i = 0; i < count * VX_LANES; i++)
                l->inverse_weight[i] = INFINITY;
            assert_int_equal(lowest(l, which, true, &l->random), VX_POSITION_NONE);
            for (uint32_t i = 0; i < count * VX_LANES; i++) {
                l->inverse_weight[i] = 1;
                put(l, i, 1, VX_LANE_SPECIAL | 3);
            }
            uint32_t expected = count ? VX_POSITION_NONE | VX_POSITION_MARKED : VX_POSITION_NONE;
            assert_int_equal(lowest(l, which, true, &l->random), expected);
            free(l);
        }
    }
}

/* Equals in one line, in several lines and in several blocks: each is chosen equally often. The seeds are fixed, and
 * the bounds are five standard deviations wide. */
static void equals_are_chosen_fairly(void **state) {
    static const uint32_t places[] = {0, 1, 7, 8, 100, 1023, 1024, 2000, 2399, 5};
    enum { PLACES = sizeof places / sizeof *places, DRAWS = 20000 };
    (void)state;
    for (int which = 0; which < 2; which++) {
        for (uint32_t lines = 1; lines <= MAX_LINES; lines += MAX_LINES - 1) {
            struct lines *l = lines_new(lines);
            uint32_t drawn[MAX_LINES * VX_LANES] = {0}, equals = 0;
            for (uint32_t i = 0; i < lines * VX_LANES; i++)
                put(l, i, 500, 1);
            for (uint32_t i = 0; i < PLACES; i++) {
                if (places[i] >= lines * VX_LANES)
                    continue;
                put(l, places[i], 300, 1);
                equals++;
            }
            for (int i = 0; i < DRAWS; i++)
                drawn[lowest(l, which, true, &l->random)]++;
            double expected = (double)DRAWS / equals, spread = 5 * sqrt(expected);
            for (uint32_t i = 0; i < PLACES; i++)
                if (places[i] < lines * VX_LANES)
                    assert_true(fabs(drawn[places[i]] - expected) < spread);
            free(l);
        }
    }
}

static void marked_lines_are_found(void **state) {
    (void)state;
    for (int which = 0; which < 2; which++) {
        struct lines *l = lines_new(MAX_LINES);
        const struct vx_score_search *s = search_of(which);
        assert_int_equal(s->marked_line(&l->view, 0), MAX_LINES);
        put(l, 3 * VX_LANES + 7, 1, VX_LANE_SPECIAL);
        put(l, 299 * VX_LANES, 1, VX_LANE_SPECIAL | 5);
        put(l, 4 * VX_LANES, 1, 5);
        assert_int_equal(s->marked_line(&l->view, 0), 3);
        assert_int_equal(s->marked_line(&l->view, 3), 3);
        assert_int_equal(s->marked_line(&l->view, 4), 299);
        assert_int_equal(s->marked_line(&l->view, MAX_LINES), MAX_LINES);
        free(l);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_a_plain_loop),
        cmocka_unit_test(nothing_to_choose),
        cmocka_unit_test(equals_are_chosen_fairly),
        cmocka_unit_test(marked_lines_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
