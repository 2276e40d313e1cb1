/* SPDX-License-Identifier: Apache-2.0 */
/* See limits.h. */
#include "sim/limits.h"

#include <stdlib.h>
#include <string.h>

#include "filters/limit/memory.h"
#include "sim/sim.h"

/* A question whose answer is put off. */
struct sim_question {
    struct sim_question *next;
    struct vx_rate_request *request; /* NULL: answered, or its asker has gone */
    uint64_t due_ns;
};

static uint64_t *model_of(struct sim_limits *l, struct vx_slice key) {
    for (unsigned i = 0; i < l->key_count; i++)
        if (vx_slice_eq(vx_slice(l->model[i].key, l->model[i].len), key))
            return &l->model[i].paid_off_ns;
    if (l->key_count == LIMITS_KEYS_MAX || key.len > LIMITS_KEY_BYTES_MAX)
        sim_fail(l->sim, "a limit by a key that no route has");
    memcpy(l->model[l->key_count].key, key.ptr, key.len);
    l->model[l->key_count].len = key.len;
    return &l->model[l->key_count++].paid_off_ns;
}

/* What the table says, which must be what the arithmetic says. */
static enum vx_rate_verdict decide(struct sim_limits *l, struct vx_rate_request *r) {
    struct vx_rate_store *table = vx_rate_memory_store(l->table);
    uint64_t *paid_off_ns = model_of(l, r->key);
    bool pass = vx_gcra_take(&r->limit, paid_off_ns, l->sim->now_ns, r->cost);
    table->prepare(table, r);
    enum vx_rate_verdict verdict = table->take(table, r, l->sim->now_ns);
    if (verdict != (pass ? VX_RATE_PASS : VX_RATE_REFUSE) ||
        r->debt_ns != vx_gcra_debt_ns(*paid_off_ns, l->sim->now_ns))
        sim_fail(l->sim, "the table says %d with a debt of %llu ns, against the model", verdict,
                 (unsigned long long)r->debt_ns);
    l->refused += !pass;
    return verdict;
}

static enum vx_rate_verdict away(struct sim_limits *l, struct vx_rate_request *r) {
    r->debt_ns = 0;
    if (sim_chance(l->sim, 500))
        return VX_RATE_PASS_BLIND;
    l->refused++;
    return VX_RATE_REFUSE_BLIND;
}

static void wake(struct sim *sim, void *actor, uint64_t arg) {
    (void)sim, (void)actor, (void)arg; /* that there is a round is all that is needed */
}

static void prepare(struct vx_rate_store *store, struct vx_rate_request *r) {
    (void)store, (void)r;
}

static enum vx_rate_verdict take(struct vx_rate_store *store, struct vx_rate_request *r, uint64_t now_ns) {
    struct sim_limits *l = VX_CONTAINER_OF(store, struct sim_limits, store);
    l->asked++;
    if (sim_chance(l->sim, l->sim->scenario->away_store))
        return away(l, r);
    if (!sim_chance(l->sim, l->sim->scenario->late_store))
        return decide(l, r);
    struct sim_question *q = malloc(sizeof *q);
    if (!q)
        abort();
    uint64_t after_ns = sim_between(l->sim, 0, SIM_MS(3));
    *q = (struct sim_question){l->questions, r, now_ns + after_ns};
    l->questions = q;
    r->pending = q;
    sim_after(l->sim, after_ns, wake, NULL, 0);
    return VX_RATE_PENDING;
}

static void cancel(struct vx_rate_store *store, struct vx_rate_request *r) {
    struct sim_limits *l = VX_CONTAINER_OF(store, struct sim_limits, store);
    struct sim_question *q = r->pending;
    if (!q || q->request != r)
        sim_fail(l->sim, "a question was taken back that nobody asked");
    q->request = NULL;
}

void limits_init(struct sim *sim) {
    struct sim_limits *l = &sim->limits;
    *l = (struct sim_limits){.store = {.prepare = prepare, .take = take, .cancel = cancel}, .sim = sim};
    l->table = vx_rate_memory_new(1 << 16, (struct vx_hash_key){sim->seed, 1});
    if (!l->table)
        abort();
    sim->proxy.rate_store = &l->store;
}

struct vx_config_rate_limit limits_of_route(const struct sim *sim) {
    static struct vx_config_limit_part by_route = {.kind = VX_LIMIT_BY_ROUTE};
    if (!sim->scenario->limits)
        return (struct vx_config_rate_limit){0};
    return (struct vx_config_rate_limit){.enabled = true,
                                         .requests = 500,
                                         .per_ns = SIM_S(1),
                                         .burst = 20,
                                         .parts = &by_route,
                                         .key_count = 1};
}

void limits_recorded(struct sim *sim, const struct vx_exchange_record *r, unsigned deliveries) {
    if (r->error != VX_ERR_RATE_LIMITED)
        return;
    sim->limits.records++;
    if (r->attempts || deliveries || (r->status && r->status != 429)) /* 0: no memory for an answer */
        sim_fail(sim, "a refused request was answered with %u after %u attempts", r->status, r->attempts);
}

void limits_answer(struct sim *sim) {
    for (struct sim_question *q = sim->limits.questions; q; q = q->next) {
        struct vx_rate_request *r = q->request;
        if (!r || q->due_ns > sim->now_ns)
            continue;
        q->request = NULL;
        r->verdict =
            sim_chance(sim, sim->scenario->away_store) ? away(&sim->limits, r) : decide(&sim->limits, r);
        r->decided(r, sim->now_ns);
    }
}

void limits_end(struct sim *sim) {
    struct sim_limits *l = &sim->limits;
    if (l->records != l->refused)
        sim_fail(sim, "%llu requests were refused, %llu recorded so", (unsigned long long)l->refused,
                 (unsigned long long)l->records);
    /* Where backends fail, requests may come slowly enough for all to pass. */
    if (sim->scenario->limits && !sim->scenario->faults && sim->begins > 200 && !l->refused)
        sim_fail(sim, "nobody was refused: the limit is too wide to show anything");
    while (l->questions) {
        struct sim_question *next = l->questions->next;
        if (l->questions->request)
            sim_fail(sim, "a question was never answered");
        free(l->questions);
        l->questions = next;
    }
    vx_rate_memory_free(l->table);
}
