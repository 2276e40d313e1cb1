/* SPDX-License-Identifier: Apache-2.0 */
/* The lowest score of a view. Two passes a block: score every lane and keep the minimum, then find who has it. The
 * second pass is what makes ties fair, and costs less than carrying indexes through the first.
 *
 * The vector loads read eight atomics at once. Each lane is naturally aligned and x86 does not tear it, which is all
 * a relaxed load promises; no lane is read together with another one for its meaning. ThreadSanitizer cannot know
 * that, so its builds have the portable loop only. */
#include <math.h>
#include <string.h>

#include "core/routing/balance/ewma.h"
#include "core/routing/balance/state.h"

#if defined(__x86_64__) && !defined(__SANITIZE_THREAD__)
#define HAVE_AVX2 1
#include <immintrin.h>
#else
#define HAVE_AVX2 0
#endif

enum { BLOCK_LINES = 128 };

/* The place of the `n`th bit from below that is set. */
static uint32_t nth_bit(uint32_t mask, uint32_t n) {
    while (n--)
        mask &= mask - 1;
    return (uint32_t)__builtin_ctz(mask);
}

/* One of the bits of `mask`, all equally likely. */
static uint32_t any_bit(uint32_t mask, struct vx_random *random) {
    if (VX_LIKELY((mask & (mask - 1)) == 0))
        return (uint32_t)__builtin_ctz(mask);
    return nth_bit(mask, vx_random_below(random, (uint32_t)__builtin_popcount(mask)));
}

/* A minimum under search. */
struct found {
    float score;
    uint32_t ties; /* how many had this score so far */
    uint32_t position;
};

/* Takes the `equals` lanes of a line into account, which all have the lowest score so far. */
static void take_equals(struct found *f, uint32_t line, uint32_t equals, struct vx_random *random) {
    uint32_t n = (uint32_t)__builtin_popcount(equals);
    f->ties += n;
    if (f->ties == n || vx_random_below(random, f->ties) < n)
        f->position = line * VX_LANES + any_bit(equals, random);
}

/* A lower minimum forgets who had the old one. */
static void lower(struct found *f, float score) {
    if (score < f->score)
        f->ties = 0;
    f->score = score;
}

static void load_lanes(const _Atomic uint32_t *from, uint32_t to[VX_LANES]) {
#if defined(__SANITIZE_THREAD__)
    for (int i = 0; i < VX_LANES; i++)
        to[i] = atomic_load_explicit(&from[i], memory_order_relaxed);
#else
    memcpy(to, (const void *)from, VX_LANES * sizeof *to);
#endif
}

/* Scores of one line, marked lanes as INFINITY; the marks are added to *marks. Loops without branches over eight, so
 * that a compiler makes vectors of whatever width the target has. */
static inline void score_portable(const struct vx_backend_line *line, const float *inverse_weight,
                                  bool use_ewma, float scores[VX_LANES], uint32_t marks[VX_LANES]) {
    uint32_t active[VX_LANES], ewma[VX_LANES] = {0};
    float average[VX_LANES];
    load_lanes(line->active, active);
    if (use_ewma)
        load_lanes(line->ewma, ewma);
    memcpy(average, ewma, sizeof average);
    for (int i = 0; i < VX_LANES; i++)
        scores[i] = (average[i] + 1.0f) * inverse_weight[i] * ((float)(int32_t)active[i] + 1.0f);
    for (int i = 0; i < VX_LANES; i++) {
        marks[i] |= active[i];
        scores[i] = (int32_t)active[i] < 0 ? INFINITY : scores[i];
    }
}

static float smallest_portable(const float scores[VX_LANES]) {
    float half[VX_LANES / 2];
    for (int i = 0; i < VX_LANES / 2; i++)
        half[i] = scores[i] < scores[i + VX_LANES / 2] ? scores[i] : scores[i + VX_LANES / 2];
    float a = half[0] < half[1] ? half[0] : half[1];
    float b = half[2] < half[3] ? half[2] : half[3];
    return a < b ? a : b;
}

static inline uint32_t lowest_portable(const struct vx_backend_view *view, bool use_ewma,
                                       struct vx_random *random) {
    struct found f = {INFINITY, 0, VX_POSITION_NONE};
    float scores[VX_LANES];
    uint32_t marks[VX_LANES] = {0}, all_marks = 0;
    for (uint32_t line = 0; line < view->line_count; line++) {
        score_portable(view->lines[line], view->inverse_weight + line * VX_LANES, use_ewma, scores, marks);
        float lowest = smallest_portable(scores);
        if (VX_LIKELY(lowest > f.score) || lowest == INFINITY)
            continue;
        lower(&f, lowest);
        uint32_t equals = 0;
        for (int i = 0; i < VX_LANES; i++)
            equals |= (uint32_t)(scores[i] == lowest) << i;
        take_equals(&f, line, equals, random);
    }
    for (int i = 0; i < VX_LANES; i++)
        all_marks |= marks[i];
    return f.position | (all_marks & VX_LANE_SPECIAL ? VX_POSITION_MARKED : 0);
}

/* The pick of vx_score_method, given what the search found. */
static inline enum vx_pick_result pick_found(const struct vx_backend_set *set,
                                             const struct vx_backend_view *view,
                                             const struct vx_pick_request *request, uint32_t found,
                                             struct vx_backend_ticket *ticket) {
    if (VX_LIKELY(found < VX_POSITION_NONE))
        return vx_backend_open_ticket(view, request, found, ticket);
    return vx_backend_pick_slowly(set, view, request, ticket);
}

/* Both functions of a vx_score_method, for the CPUs that TARGET says. */
#define METHOD(name, lowest_fn, pick_fn, use_ewma)                                                           \
    TARGET static uint32_t name##_lowest(const struct vx_backend_view *view, struct vx_random *random) {     \
        return lowest_fn(view, use_ewma, random);                                                            \
    }                                                                                                        \
    TARGET static enum vx_pick_result name##_pick(                                                           \
        const struct vx_backend_set *set, const struct vx_backend_view *view,                                \
        const struct vx_pick_request *request, struct vx_backend_ticket *ticket) {                           \
        return pick_fn(set, view, request, use_ewma, ticket);                                                \
    }

static inline enum vx_pick_result pick_portable(const struct vx_backend_set *set,
                                                const struct vx_backend_view *view,
                                                const struct vx_pick_request *request, bool use_ewma,
                                                struct vx_backend_ticket *ticket) {
    return pick_found(set, view, request, lowest_portable(view, use_ewma, request->random), ticket);
}

#define TARGET
METHOD(ewma_portable, lowest_portable, pick_portable, true)
METHOD(queue_portable, lowest_portable, pick_portable, false)

static uint32_t marked_line_portable(const struct vx_backend_view *view, uint32_t line) {
    for (; line < view->line_count; line++) {
        uint32_t active[VX_LANES], marks = 0;
        load_lanes(view->lines[line]->active, active);
        for (int i = 0; i < VX_LANES; i++)
            marks |= active[i];
        if (marks & VX_LANE_SPECIAL)
            break;
    }
    return line;
}

#if HAVE_AVX2
#undef TARGET
#define TARGET __attribute__((target("avx2")))

/* Scores of one line, marked lanes as INFINITY. */
TARGET static inline __m256 score_avx2(const struct vx_backend_line *line, const float *inverse_weight,
                                       bool use_ewma, __m256i *marks) {
    const __m256 one = _mm256_set1_ps(1.0f);
    __m256i active = _mm256_load_si256((const __m256i *)(const void *)line->active);
    __m256 factor = _mm256_load_ps(inverse_weight);
    *marks = _mm256_or_si256(*marks, active);
    if (use_ewma) {
        __m256i ewma = _mm256_load_si256((const __m256i *)(const void *)line->ewma);
        factor = _mm256_mul_ps(_mm256_add_ps(_mm256_castsi256_ps(ewma), one), factor);
    }
    __m256 score = _mm256_mul_ps(factor, _mm256_add_ps(_mm256_cvtepi32_ps(active), one));
    /* The mark is the sign bit, which is what the blend looks at. */
    return _mm256_blendv_ps(score, _mm256_set1_ps(INFINITY), _mm256_castsi256_ps(active));
}

/* The smallest of eight lanes, in every lane. */
TARGET static inline __m256 smallest_avx2(__m256 v) {
    v = _mm256_min_ps(v, _mm256_permute2f128_ps(v, v, 1));
    v = _mm256_min_ps(v, _mm256_permute_ps(v, 0x4e));
    return _mm256_min_ps(v, _mm256_permute_ps(v, 0xb1));
}

TARGET static inline uint32_t equals_avx2(__m256 a, __m256 b) {
    return (uint32_t)_mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_EQ_OQ));
}

/* VX_POSITION_MARKED if any lane has the mark. */
TARGET static inline uint32_t marked_avx2(__m256i lanes) {
    return _mm256_movemask_ps(_mm256_castsi256_ps(lanes)) ? VX_POSITION_MARKED : 0;
}

/* Up to eight backends, which is most routes: all in registers. */
TARGET static inline uint32_t lowest_of_line_avx2(const struct vx_backend_view *view, bool use_ewma,
                                                  struct vx_random *random) {
    __m256i marks = _mm256_setzero_si256();
    __m256 scores = score_avx2(view->first, view->inverse_weight, use_ewma, &marks);
    __m256 lowest = smallest_avx2(scores);
    uint32_t equals = equals_avx2(scores, lowest);
    if (VX_UNLIKELY(_mm256_cvtss_f32(lowest) == INFINITY))
        return VX_POSITION_NONE | marked_avx2(marks);
    return any_bit(equals, random) | marked_avx2(marks);
}

/* A pick among equals, away from the one below so that this needs no stack frame. */
static __attribute__((noinline)) enum vx_pick_result pick_any_of(const struct vx_backend_view *view,
                                                                 const struct vx_pick_request *request,
                                                                 uint32_t equals,
                                                                 struct vx_backend_ticket *ticket) {
    return vx_backend_open_ticket(view, request, any_bit(equals, request->random), ticket);
}

TARGET static inline enum vx_pick_result pick_in_line_avx2(const struct vx_backend_set *set,
                                                           const struct vx_backend_view *view,
                                                           const struct vx_pick_request *request,
                                                           bool use_ewma, struct vx_backend_ticket *ticket) {
    __m256i marks = _mm256_setzero_si256();
    __m256 scores = score_avx2(view->first, view->inverse_weight, use_ewma, &marks);
    __m256 lowest = smallest_avx2(scores);
    uint32_t equals = equals_avx2(scores, lowest);
    if (VX_UNLIKELY(marked_avx2(marks) || _mm256_cvtss_f32(lowest) == INFINITY))
        return vx_backend_pick_slowly(set, view, request, ticket);
    if (VX_UNLIKELY(equals & (equals - 1))) {
        /* gcc 12 forgets it before this jump, and SSE code with upper halves in use takes 100 ns more. */
        _mm256_zeroupper();
        return pick_any_of(view, request, equals, ticket);
    }
    /* Below VX_LANES anyway; said so that the compiler need not look for the line again. */
    return vx_backend_open_ticket(view, request, (uint32_t)__builtin_ctz(equals) % VX_LANES, ticket);
}

/* Who in a block has the score `low`. Four lines are looked at together: only one has it, as a rule. */
TARGET static void find_equals_avx2(struct found *f, const __m256 *scores, uint32_t lines, uint32_t first,
                                    __m256 low, struct vx_random *random) {
    for (uint32_t i = 0; i < lines; i += 4) {
        __m256 a = _mm256_or_ps(_mm256_cmp_ps(scores[i], low, _CMP_EQ_OQ),
                                _mm256_cmp_ps(scores[i + 1], low, _CMP_EQ_OQ));
        __m256 b = _mm256_or_ps(_mm256_cmp_ps(scores[i + 2], low, _CMP_EQ_OQ),
                                _mm256_cmp_ps(scores[i + 3], low, _CMP_EQ_OQ));
        if (VX_LIKELY(_mm256_movemask_ps(_mm256_or_ps(a, b)) == 0))
            continue;
        for (uint32_t j = i; j < i + 4; j++) {
            uint32_t equals = equals_avx2(scores[j], low);
            if (equals)
                take_equals(f, first + j, equals, random);
        }
    }
}

TARGET static inline uint32_t lowest_of_lines_avx2(const struct vx_backend_view *view, bool use_ewma,
                                                   struct vx_random *random) {
    const __m256 none = _mm256_set1_ps(INFINITY);
    struct found f = {INFINITY, 0, VX_POSITION_NONE};
    __m256i marks = _mm256_setzero_si256();
    __m256 scores[BLOCK_LINES];
    for (uint32_t first = 0; first < view->line_count; first += BLOCK_LINES) {
        uint32_t lines = view->line_count - first < BLOCK_LINES ? view->line_count - first : BLOCK_LINES;
        struct vx_backend_line *const *line = view->lines + first;
        const float *inverse_weight = view->inverse_weight + (size_t)first * VX_LANES;
        __m256 low = none;
        for (uint32_t i = 0; i < lines; i++, inverse_weight += VX_LANES) {
            scores[i] = score_avx2(line[i], inverse_weight, use_ewma, &marks);
            low = _mm256_min_ps(low, scores[i]);
        }
        for (uint32_t i = lines; i % 4 != 0; i++)
            scores[i] = none;
        low = smallest_avx2(low);
        float lowest = _mm256_cvtss_f32(low);
        if (lowest > f.score || lowest == INFINITY)
            continue;
        lower(&f, lowest);
        find_equals_avx2(&f, scores, lines, first, low, random);
    }
    return f.position | marked_avx2(marks);
}

TARGET static inline enum vx_pick_result pick_in_lines_avx2(const struct vx_backend_set *set,
                                                            const struct vx_backend_view *view,
                                                            const struct vx_pick_request *request,
                                                            bool use_ewma, struct vx_backend_ticket *ticket) {
    return pick_found(set, view, request, lowest_of_lines_avx2(view, use_ewma, request->random), ticket);
}

METHOD(ewma_line_avx2, lowest_of_line_avx2, pick_in_line_avx2, true)
METHOD(ewma_lines_avx2, lowest_of_lines_avx2, pick_in_lines_avx2, true)
METHOD(queue_line_avx2, lowest_of_line_avx2, pick_in_line_avx2, false)
METHOD(queue_lines_avx2, lowest_of_lines_avx2, pick_in_lines_avx2, false)

TARGET static uint32_t marked_line_avx2(const struct vx_backend_view *view, uint32_t line) {
    while (line < view->line_count &&
           !marked_avx2(_mm256_load_si256((const __m256i *)(const void *)view->lines[line]->active)))
        line++;
    return line;
}
#endif

#define METHOD_OF(name)                                                                                      \
    { name##_lowest, name##_pick }

const struct vx_score_search *vx_score_search_portable(void) {
    static const struct vx_score_search portable = {
        .ewma_line = METHOD_OF(ewma_portable),
        .ewma_lines = METHOD_OF(ewma_portable),
        .queue_line = METHOD_OF(queue_portable),
        .queue_lines = METHOD_OF(queue_portable),
        .marked_line = marked_line_portable,
    };
    return &portable;
}

const struct vx_score_search *vx_score_search_best(void) {
#if HAVE_AVX2
    static const struct vx_score_search avx2 = {
        .ewma_line = METHOD_OF(ewma_line_avx2),
        .ewma_lines = METHOD_OF(ewma_lines_avx2),
        .queue_line = METHOD_OF(queue_line_avx2),
        .queue_lines = METHOD_OF(queue_lines_avx2),
        .marked_line = marked_line_avx2,
    };
    if (__builtin_cpu_supports("avx2"))
        return &avx2;
#endif
    return vx_score_search_portable();
}
