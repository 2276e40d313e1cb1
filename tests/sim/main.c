/* SPDX-License-Identifier: Apache-2.0 */
/* vortex_sim: runs worlds. See docs/testing.md. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim/suite.h"

enum { DEFAULT_EXCHANGES = 100000 };

struct arguments {
    const char *scenario;
    uint64_t seed;
    uint32_t exchanges;
    bool has_seed, verbose, self_test, sweep;
    struct sim_fault_plan faults;
};

static _Noreturn void usage(void) {
    fprintf(stderr,
            "usage: vortex_sim [--seed N] [--exchanges N] [--scenario NAME] [--fault KIND:N] [--verbose]\n"
            "                  [--self-test] [--sweep]\n"
            "Without arguments: a fixed run of all scenarios, the sweep, the regressions and the self-test.\n"
            "scenarios:\n");
    for (unsigned i = 0; i < scenario_count; i++)
        fprintf(stderr, "  %-11s %s\n", scenarios[i].name, scenarios[i].about);
    exit(2);
}

static uint64_t number(const char *text) {
    char *end;
    errno = 0;
    uint64_t n = strtoull(text, &end, 10);
    if (errno || *end || end == text)
        usage();
    return n;
}

static void parse_fault(struct arguments *a, const char *text) {
    const char *colon = strchr(text, ':');
    if (!colon)
        usage();
    for (int kind = 0; kind < SIM_FAULT_COUNT; kind++) {
        const char *name = sim_fault_name((enum sim_fault)kind);
        if (strlen(name) == (size_t)(colon - text) && strncmp(text, name, strlen(name)) == 0) {
            a->faults =
                (struct sim_fault_plan){.armed = true, .kind = (enum sim_fault)kind, .at = number(colon + 1)};
            return;
        }
    }
    usage();
}

static struct arguments parse(int argc, char **argv) {
    struct arguments a = {.seed = 1};
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (strcmp(argv[i], "--verbose") == 0) {
            a.verbose = true;
            continue;
        }
        if (strcmp(argv[i], "--self-test") == 0) {
            a.self_test = true;
            continue;
        }
        if (strcmp(argv[i], "--sweep") == 0) {
            a.sweep = true;
            continue;
        }
        if (!value)
            usage();
        if (strcmp(argv[i], "--seed") == 0) {
            a.seed = number(value);
            a.has_seed = true;
        } else if (strcmp(argv[i], "--exchanges") == 0) {
            a.exchanges = (uint32_t)number(value);
        } else if (strcmp(argv[i], "--scenario") == 0) {
            a.scenario = value;
        } else if (strcmp(argv[i], "--fault") == 0) {
            parse_fault(&a, value);
        } else {
            usage();
        }
        i++;
    }
    return a;
}

/* One world, as a failure told to replay it. */
static void replay(const struct arguments *a) {
    const struct scenario *s = scenario_find(a->scenario);
    if (!s)
        usage();
    struct sim_options options = {.scenario = s,
                                  .seed = a->seed,
                                  .exchanges = a->exchanges ? a->exchanges : s->exchanges,
                                  .verbose = a->verbose,
                                  .faults = a->faults};
    struct sim_result r = sim_run(&options);
    suite_print(s->name, a->seed, 1, &r);
    printf("digest %016llx\n", (unsigned long long)r.digest);
}

int main(int argc, char **argv) {
    struct arguments a = parse(argc, argv);
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (a.scenario) {
        replay(&a);
        return 0;
    }
    if (a.self_test) {
        suite_self_test();
        return 0;
    }
    if (a.sweep) {
        suite_sweep(a.seed);
        return 0;
    }
    suite_random(a.seed, a.exchanges ? a.exchanges : DEFAULT_EXCHANGES);
    if (!a.has_seed) {
        suite_same_twice();
        suite_sweep(a.seed);
        suite_regressions();
        suite_self_test();
    }
    printf("vortex_sim: all invariants held\n");
    return 0;
}
