/* SPDX-License-Identifier: Apache-2.0 */
/* See suite.h. */
#include "sim/suite.h"

#include <stdio.h>
#include <stdlib.h>

#include "sim/regressions.h"

enum { SWEEP_WORLDS = 6 };

void suite_print(const char *name, uint64_t seed, uint32_t worlds, const struct sim_result *r) {
    printf("%-11s seed %-4llu %5u worlds %7llu exchanges: %7llu answered (%llu by the proxy), %llu cut, %llu "
           "tunnels, "
           "%llu retries, %.1f virtual s\n",
           name, (unsigned long long)seed, worlds, (unsigned long long)r->exchanges,
           (unsigned long long)r->answered, (unsigned long long)r->own_answers, (unsigned long long)r->cut,
           (unsigned long long)r->tunnels, (unsigned long long)r->retries, (double)r->virtual_ns / 1e9);
}

static void sum_up(struct sim_result *sum, const struct sim_result *r) {
    sum->exchanges += r->exchanges;
    sum->answered += r->answered;
    sum->cut += r->cut;
    sum->own_answers += r->own_answers;
    sum->tunnels += r->tunnels;
    sum->retries += r->retries;
    sum->breaker_openings += r->breaker_openings;
    sum->virtual_ns += r->virtual_ns;
    sum->rounds += r->rounds;
}

void suite_random(uint64_t seed, uint32_t exchanges) {
    uint32_t shares = 0;
    for (unsigned i = 0; i < scenario_count; i++)
        shares += scenarios[i].share;
    struct sim_result all = {0};
    uint32_t all_worlds = 0;
    for (unsigned i = 0; i < scenario_count; i++) {
        const struct scenario *s = &scenarios[i];
        struct sim_result sum = {0};
        uint32_t worlds = 0;
        uint64_t wanted = (uint64_t)exchanges * s->share / shares;
        for (; sum.exchanges < wanted; worlds++) {
            struct sim_options options = {
                .scenario = s, .seed = seed * 1000003 + worlds, .exchanges = s->exchanges};
            struct sim_result r = sim_run(&options);
            sum_up(&sum, &r);
        }
        if (worlds)
            suite_print(s->name, seed, worlds, &sum);
        all_worlds += worlds;
        sum_up(&all, &sum);
    }
    suite_print("sum", seed, all_worlds, &all);
    /* A run in which the interesting things no longer happen would prove nothing. */
    uint32_t least = exchanges / 1000;
    if (all.answered < exchanges / 2 || all.own_answers < least || all.cut < least || all.tunnels < least ||
        all.retries < least || all.breaker_openings < least / 10) {
        fprintf(stderr, "vortex_sim: too little happened: %llu breakers opened\n",
                (unsigned long long)all.breaker_openings);
        exit(1);
    }
}

void suite_same_twice(void) {
    const struct scenario *s = scenario_find("everything");
    struct sim_options options = {.scenario = s, .seed = 4711, .exchanges = s->exchanges};
    struct sim_result first = sim_run(&options), second = sim_run(&options);
    if (first.digest != second.digest || first.rounds != second.rounds) {
        fprintf(stderr, "vortex_sim: the same seed gave two different runs (%016llx, %016llx)\n",
                (unsigned long long)first.digest, (unsigned long long)second.digest);
        exit(1);
    }
    printf("same seed, same run: digest %016llx\n", (unsigned long long)first.digest);
}

static uint64_t sweep_kind(uint64_t seed, enum sim_fault kind) {
    const struct scenario *s = scenario_find("small");
    struct sim_options options = {.scenario = s, .seed = seed, .exchanges = s->exchanges};
    options.faults = (struct sim_fault_plan){.armed = true, .kind = kind, .at = UINT64_MAX};
    uint64_t calls = sim_run(&options).fault_calls[kind];
    for (uint64_t at = 1; at <= calls; at++) {
        options.faults = (struct sim_fault_plan){.armed = true, .kind = kind, .at = at};
        sim_run(&options);
    }
    return calls;
}

void suite_sweep(uint64_t seed) {
    for (int kind = 0; kind < SIM_FAULT_COUNT; kind++) {
        uint64_t calls = 0;
        for (unsigned i = 0; i < SWEEP_WORLDS; i++)
            calls += sweep_kind(seed * 7919 + i, (enum sim_fault)kind);
        printf("sweep: each of %llu calls of '%s' failed in turn\n", (unsigned long long)calls,
               sim_fault_name((enum sim_fault)kind));
    }
}

void suite_regressions(void) {
    for (unsigned i = 0; i < sizeof regressions / sizeof *regressions; i++) {
        const struct scenario *s = scenario_find(regressions[i].scenario);
        if (!s) {
            fprintf(stderr, "vortex_sim: a regression names the scenario %s, which is none\n",
                    regressions[i].scenario);
            exit(1);
        }
        struct sim_options options = {.scenario = s,
                                      .seed = regressions[i].seed,
                                      .exchanges = regressions[i].exchanges,
                                      .faults = regressions[i].faults};
        sim_run(&options);
    }
    printf("regressions: %zu\n", sizeof regressions / sizeof *regressions);
}
