/* SPDX-License-Identifier: Apache-2.0 */
/* Circuit breaker: Closed, Open, HalfOpen.
 *
 * Invariants
 *   1. State, counts, epoch and deadline are one 64-bit word; it only changes by compare-and-swap from a value that
 *      allows the step, so every transition below happens once however many workers see its cause.
 *   2. In HALF_OPEN, trials in flight + trials passed <= half_open_requests (of the policy that let them through).
 *   3. The epoch goes up with each opening and each new round of trials; a trial's result counts only in its epoch.
 *   4. In OPEN nothing but the time changes the state: results of requests sent before it opened are ignored.
 *   5. Loops end: a compare-and-swap that keeps failing is given up. That loses one count; should it lose a permit,
 *      the next round of trials has all of them again.
 *
 * state     | event                                        | next      | function
 * CLOSED    | success                                      | CLOSED    | vx_breaker_success: the row ends
 * CLOSED    | failure, below both limits                   | CLOSED    | vx_breaker_failure: the row grows
 * CLOSED    | failure, `failures` in a row or rate reached | OPEN      | vx_breaker_failure
 * OPEN      | a request before the open time is over       | OPEN      | vx_breaker_admit: denied
 * OPEN      | a request after it                           | HALF_OPEN | vx_breaker_admit: the first trial
 * HALF_OPEN | a request, permits left                      | HALF_OPEN | vx_breaker_admit: a trial
 * HALF_OPEN | a request, none left                         | HALF_OPEN | vx_breaker_admit: denied
 * HALF_OPEN | the same, open time over once more           | HALF_OPEN | vx_breaker_admit: a new round, first trial
 * HALF_OPEN | a trial passed, more needed                  | HALF_OPEN | vx_breaker_success
 * HALF_OPEN | the last needed trial passed                 | CLOSED    | vx_breaker_success
 * HALF_OPEN | a trial failed                               | OPEN      | vx_breaker_failure
 * HALF_OPEN | a trial without result                       | HALF_OPEN | vx_breaker_cancel: its permit is free again
 *
 * The new round is for trials that neither pass nor fail for long (a download, a tunnel): they must not keep the
 * breaker from closing.
 *
 * The failure rate is judged over a window of eight buckets. While a backend is well nothing is written: a failure
 * arms the window, and successes are counted until it has passed. So a rate is taken from the first failure on. */
#include "core/routing/resilience/breaker.h"

#include "core/base/assert.h"

/* The word, from the low bit: state 2, epoch 8, `a` 10, `b` 10, until 34.
 * CLOSED: a = failures in a row. HALF_OPEN: a = trials in flight, b = trials passed.
 * OPEN: until = end of the open time; HALF_OPEN: until = when a new round may begin. In units of 2^20 ns. */
enum { EPOCH_SHIFT = 2, A_SHIFT = 10, B_SHIFT = 20, UNTIL_SHIFT = 30, UNTIL_BITS = 34, TIME_SHIFT = 20 };
/* Bounds the compare-and-swap loops: more rounds than workers that could be in the way for long. */
enum { TRIES = 64 };

struct fields {
    enum vx_breaker_state state;
    uint8_t epoch;
    uint32_t a, b;
    uint64_t until;
};

const char *vx_breaker_state_name(enum vx_breaker_state s) {
    static const char *const names[] = {
#define X(name, text) text,
        VX_BREAKER_STATE_LIST(X)
#undef X
    };
    return names[s];
}

static struct fields unpack(uint64_t w) {
    return (struct fields){
        .state = (enum vx_breaker_state)(w & 3),
        .epoch = (uint8_t)(w >> EPOCH_SHIFT),
        .a = w >> A_SHIFT & 1023,
        .b = w >> B_SHIFT & 1023,
        .until = w >> UNTIL_SHIFT,
    };
}

static uint64_t pack(struct fields f) {
    return (uint64_t)f.state | (uint64_t)f.epoch << EPOCH_SHIFT | (uint64_t)f.a << A_SHIFT |
           (uint64_t)f.b << B_SHIFT | f.until << UNTIL_SHIFT;
}

static uint64_t load(const struct vx_breaker *b) {
    return atomic_load_explicit(&b->word, memory_order_relaxed);
}

static bool swap(struct vx_breaker *b, uint64_t *word, struct fields next) {
    return atomic_compare_exchange_weak_explicit(&b->word, word, pack(next), memory_order_acq_rel,
                                                 memory_order_relaxed);
}

static bool off(const struct vx_config_breaker *policy) {
    return policy->failures == 0 && policy->failure_rate_percent == 0;
}

static uint32_t limited(uint32_t n) {
    return n > VX_BREAKER_COUNT_MAX ? VX_BREAKER_COUNT_MAX : n;
}

static uint32_t trials(const struct vx_config_breaker *policy) {
    return policy->half_open_requests ? limited(policy->half_open_requests) : 1;
}

/* The 34 bits wrap after 208 days; the difference tells before from after within half of that. */
static bool passed(uint64_t until, uint64_t now_ns) {
    uint64_t mask = ((uint64_t)1 << UNTIL_BITS) - 1;
    return (((now_ns >> TIME_SHIFT) - until) & mask) < (uint64_t)1 << (UNTIL_BITS - 1);
}

/* Rounded up, so that an open time is never cut short. */
static uint64_t until_after(uint64_t now_ns, uint64_t wait_ns) {
    uint64_t at = ((now_ns + wait_ns) >> TIME_SHIFT) + 1;
    return at & (((uint64_t)1 << UNTIL_BITS) - 1);
}

/* What letting one request through makes of `f`; false: it is not let through. */
static bool admit_step(struct fields *f, const struct vx_config_breaker *policy, uint64_t now_ns) {
    if (f->state == VX_BREAKER_HALF_OPEN && f->a + f->b < trials(policy)) {
        f->a++;
        return true;
    }
    if (!passed(f->until, now_ns))
        return false;
    if (f->state == VX_BREAKER_HALF_OPEN)
        f->epoch++;
    f->state = VX_BREAKER_HALF_OPEN;
    f->a = 1;
    f->b = 0;
    f->until = until_after(now_ns, policy->open_for_ns);
    return true;
}

enum vx_breaker_state vx_breaker_state(const struct vx_breaker *b) {
    return (enum vx_breaker_state)(load(b) & 3);
}

bool vx_breaker_ready(const struct vx_breaker *b, const struct vx_config_breaker *policy, uint64_t now_ns) {
    struct fields f = unpack(load(b));
    return f.state == VX_BREAKER_CLOSED || off(policy) || admit_step(&f, policy, now_ns);
}

enum vx_breaker_verdict vx_breaker_admit(struct vx_breaker *b, const struct vx_config_breaker *policy,
                                         uint64_t now_ns, uint8_t *epoch) {
    uint64_t word = load(b);
    for (int i = 0; i < TRIES; i++) {
        struct fields f = unpack(word);
        if (f.state == VX_BREAKER_CLOSED || off(policy))
            return VX_BREAKER_PASS;
        if (!admit_step(&f, policy, now_ns))
            return VX_BREAKER_DENY;
        *epoch = f.epoch;
        if (swap(b, &word, f))
            return VX_BREAKER_TRIAL;
    }
    return VX_BREAKER_DENY;
}

/* A bucket: tick 24 bits, requests 20, failures 20. */
static uint64_t bucket_tick(uint64_t bucket) {
    return bucket >> 40;
}

static uint32_t window_tick(uint64_t now_ns) {
    return (uint32_t)(now_ns >> VX_BREAKER_BUCKET_SHIFT) & 0xffffff;
}

static void window_count(struct vx_breaker *b, uint32_t tick, uint64_t failed) {
    _Atomic uint64_t *bucket = &b->buckets[tick % VX_BREAKER_BUCKETS];
    uint64_t old = atomic_load_explicit(bucket, memory_order_relaxed);
    for (int i = 0; i < TRIES; i++) {
        uint64_t base = bucket_tick(old) == tick ? old : (uint64_t)tick << 40;
        if ((base >> 20 & 0xfffff) == 0xfffff)
            return; /* full: a million requests in a second have told enough */
        if (atomic_compare_exchange_weak_explicit(bucket, &old, base + (1u << 20) + failed,
                                                  memory_order_relaxed, memory_order_relaxed))
            return;
    }
}

static bool window_exceeds(const struct vx_breaker *b, uint32_t tick, uint32_t percent) {
    uint64_t requests = 0, failures = 0;
    for (int i = 0; i < VX_BREAKER_BUCKETS; i++) {
        uint64_t bucket = atomic_load_explicit(&b->buckets[i], memory_order_relaxed);
        if (((tick - bucket_tick(bucket)) & 0xffffff) >= VX_BREAKER_BUCKETS)
            continue;
        requests += bucket >> 20 & 0xfffff;
        failures += bucket & 0xfffff;
    }
    return requests >= VX_BREAKER_RATE_MINIMUM && failures * 100 >= requests * percent;
}

static void window_clear(struct vx_breaker *b) {
    atomic_store_explicit(&b->armed, 0, memory_order_relaxed);
    for (int i = 0; i < VX_BREAKER_BUCKETS; i++)
        atomic_store_explicit(&b->buckets[i], 0, memory_order_relaxed);
}

/* Counts a failure; true: the rate is reached. */
static bool window_failure(struct vx_breaker *b, const struct vx_config_breaker *policy, uint64_t now_ns) {
    if (policy->failure_rate_percent == 0)
        return false;
    uint32_t tick = window_tick(now_ns);
    /* 0 stands for not armed, so a tick whose end would be 0 ends one later. */
    uint32_t end = (tick + VX_BREAKER_BUCKETS) & 0xffffff;
    end += end == 0;
    if (atomic_load_explicit(&b->armed, memory_order_relaxed) != end)
        atomic_store_explicit(&b->armed, end, memory_order_relaxed);
    window_count(b, tick, 1);
    return window_exceeds(b, tick, policy->failure_rate_percent);
}

static void window_success(struct vx_breaker *b, uint64_t now_ns) {
    uint32_t armed = atomic_load_explicit(&b->armed, memory_order_relaxed);
    if (VX_LIKELY(armed == 0))
        return;
    uint32_t tick = window_tick(now_ns);
    if (((armed - tick) & 0xffffff) <= VX_BREAKER_BUCKETS)
        window_count(b, tick, 0);
    else
        atomic_store_explicit(&b->armed, 0, memory_order_relaxed);
}

/* Whether a trial of that epoch is one of those in flight. A trial that takes as long as 256 rounds finds its epoch come again;
 * then the trials in flight are others, if there are any. */
static bool is_of_round(const struct fields *f, uint8_t epoch) {
    return f->state == VX_BREAKER_HALF_OPEN && f->epoch == epoch && f->a > 0;
}

bool vx_breaker_success(struct vx_breaker *b, const struct vx_config_breaker *policy, bool trial,
                        uint8_t epoch, uint64_t now_ns) {
    uint64_t word = load(b);
    for (int i = 0; i < TRIES; i++) {
        struct fields f = unpack(word);
        if (f.state == VX_BREAKER_CLOSED) {
            if (i == 0)
                window_success(b, now_ns);
            if (f.a == 0)
                return false;
            f.a = 0;
            if (swap(b, &word, f))
                return false;
            continue;
        }
        if (!trial || !is_of_round(&f, epoch))
            return false;
        f.a--;
        f.b++;
        bool closes = f.b >= trials(policy);
        if (closes)
            f = (struct fields){.state = VX_BREAKER_CLOSED, .epoch = f.epoch};
        if (!swap(b, &word, f))
            continue;
        if (closes)
            window_clear(b);
        return closes;
    }
    return false;
}

bool vx_breaker_failure(struct vx_breaker *b, const struct vx_config_breaker *policy, bool trial,
                        uint8_t epoch, uint64_t now_ns) {
    if (off(policy))
        return false;
    uint64_t word = load(b);
    bool rate = (enum vx_breaker_state)(word & 3) == VX_BREAKER_CLOSED && window_failure(b, policy, now_ns);
    for (int i = 0; i < TRIES; i++) {
        struct fields f = unpack(word);
        if (f.state == VX_BREAKER_CLOSED) {
            f.a += f.a < VX_BREAKER_COUNT_MAX;
            if (!rate && (policy->failures == 0 || f.a < limited(policy->failures))) {
                if (swap(b, &word, f))
                    return false;
                continue;
            }
        } else if (!trial || !is_of_round(&f, epoch)) {
            return false;
        }
        f.state = VX_BREAKER_OPEN;
        f.epoch++;
        f.a = f.b = 0;
        f.until = until_after(now_ns, policy->open_for_ns);
        if (swap(b, &word, f))
            return true;
    }
    return false;
}

void vx_breaker_cancel(struct vx_breaker *b, uint8_t epoch) {
    uint64_t word = load(b);
    for (int i = 0; i < TRIES; i++) {
        struct fields f = unpack(word);
        if (!is_of_round(&f, epoch))
            return;
        f.a--;
        if (swap(b, &word, f))
            return;
    }
}

void vx_breaker_reset(struct vx_breaker *b) {
    window_clear(b);
    struct fields closed = {.state = VX_BREAKER_CLOSED};
    uint64_t word = load(b);
    for (int i = 0; i < TRIES; i++) {
        closed.epoch = (uint8_t)(unpack(word).epoch + 1);
        if (swap(b, &word, closed))
            return;
    }
}
