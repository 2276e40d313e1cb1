/* SPDX-License-Identifier: Apache-2.0 */
/* What plugins cost beside requests: opening a sandbox, starting an instance, swapping a plugin, and the memory of a
 * thousand instances that are alive at once. Each line is one JSON object. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/micro.h"
#include "filters/filters.h"
#include "filters/proxy_wasm/host.h"
#include "support/guest.h"

enum { ROUNDS = 21, SANDBOXES = 200, STARTS = 50, SWAPS_A_ROUND = 500, LIVE = 1000, MIB = 1024 * 1024 };

static double resident_bytes(void) {
    FILE *f = fopen("/proc/self/statm", "r");
    unsigned long all = 0, resident = 0;
    char line[128];
    char *end = line;
    if (f && fgets(line, sizeof line, f)) {
        all = strtoul(line, &end, 10);
        resident = strtoul(end, NULL, 10);
    }
    if (f)
        fclose(f);
    return all ? (double)resident * (double)sysconf(_SC_PAGESIZE) : 0;
}

static void die(const char *what) {
    fprintf(stderr, "micro_plugins: %s\n", what);
    exit(1);
}

static void measure_sandboxes(void) {
    struct vx_wasm_settings settings = {.instances = LIVE};
    struct vx_wasm_engine *engine = vx_wasm_engine_new(&settings);
    struct vx_slice binary = vx_guest_load("allocator");
    struct vx_wasm_module module;
    struct vx_wasm_text why;
    struct vx_wasm_fault fault;
    if (!engine || !vx_wasm_module_load(&module, engine, binary, vx_pwasm_imports(), &why))
        die("the allocator guest does not load");
    double rounds[ROUNDS];
    for (int r = 0; r < ROUNDS; r++) {
        uint64_t begun_ns = micro_clock_ns(CLOCK_MONOTONIC);
        for (int i = 0; i < SANDBOXES; i++) {
            struct vx_wasm_instance instance;
            if (!vx_wasm_instance_open(&instance, &module, NULL, MIB, 1000000000, &fault))
                die(fault.text);
            vx_wasm_instance_close(&instance);
        }
        rounds[r] = (double)(micro_clock_ns(CLOCK_MONOTONIC) - begun_ns) / 1000 / SANDBOXES;
    }
    micro_report("sandbox with a memory, opened and closed", "us", rounds, ROUNDS);
    vx_wasm_module_unload(&module);
    vx_wasm_engine_free(engine);
    vx_guest_free(binary);
}

struct bench {
    struct vx_filter_engine *engine;
    struct vx_filter_worker worker;
    struct vx_slice binary;
    struct vx_config_filter config;
    char text[32];
};

/* There is one thread, so the worker's work can be done at once. */
static bool post_at_once(const struct vx_filter_worker *self, void (*work)(void *, uint64_t), void *arg) {
    (void)self;
    work(arg, 1);
    return true;
}

static struct vx_filter *load(struct bench *b, int version) {
    struct vx_config_error error;
    int n = snprintf(b->text, sizeof b->text, "version %d", version);
    b->config.config = vx_slice(b->text, (size_t)n);
    struct vx_filter *f = b->engine->load(b->engine, &b->config, b->binary, &error);
    if (!f)
        die(error.text);
    return f;
}

static void begin(struct bench *b, uint32_t workers) {
    const struct vx_config_wasm wasm = {.instances = 2 * LIVE + 2, .cache_path = VX_SLICE("auto")};
    *b = (struct bench){
        .engine = vx_filters_new(NULL),
        .worker = {.post = post_at_once},
        .binary = vx_guest_load("probe"),
        .config =
            {
                .name = VX_SLICE("probe"),
                .limits = {.memory_bytes = 64 * MIB,
                           .time_ns = 10000000,
                           .start_time_ns = 1000000000,
                           .body_bytes = MIB},
            },
    };
    if (!b->engine)
        die("no memory");
    b->engine->configure(b->engine, &wasm);
    for (uint32_t i = 0; i < workers; i++)
        b->engine->attach(b->engine, i, &b->worker);
}

static void end(struct bench *b) {
    vx_filters_free(b->engine);
    vx_guest_free(b->binary);
}

/* A thousand workers have an instance each. */
static void measure_live(void) {
    struct bench b;
    begin(&b, LIVE);
    double before = resident_bytes();
    uint64_t begun_ns = micro_clock_ns(CLOCK_MONOTONIC);
    struct vx_filter *f = load(&b, 0);
    double took_s = (double)(micro_clock_ns(CLOCK_MONOTONIC) - begun_ns) / 1e9,
           bytes = (resident_bytes() - before) / LIVE / 1024;
    double a_second = LIVE / took_s;
    micro_report("1000 plugin instances alive, resident memory of one", "KiB", &bytes, 1);
    micro_report("plugin instances started (with configuration)", "1/s", &a_second, 1);
    b.engine->drop(b.engine, f);
    end(&b);
}

/* The module is known, its configuration is new: what a reload does beside reading files. */
static void measure_swaps(void) {
    struct bench b;
    begin(&b, 2);
    struct vx_filter *old = load(&b, -1);
    double rounds[ROUNDS], early = 0;
    for (int r = 0, n = 0; r < ROUNDS; r++) {
        uint64_t begun_ns = micro_clock_ns(CLOCK_MONOTONIC);
        for (int i = 0; i < SWAPS_A_ROUND; i++) {
            struct vx_filter *new = load(&b, n++);
            b.engine->drop(b.engine, old);
            old = new;
        }
        rounds[r] = (double)(micro_clock_ns(CLOCK_MONOTONIC) - begun_ns) / 1000 / SWAPS_A_ROUND;
        /* By then each place in the pool has been used, and keeps some pages. */
        if (r == ROUNDS / 2)
            early = resident_bytes();
    }
    double grown = (resident_bytes() - early) / MIB;
    micro_report("swap of a plugin on two workers", "us", rounds, ROUNDS);
    micro_report("memory grown over the second half of 10500 swaps", "MiB", &grown, 1);
    b.engine->drop(b.engine, old);
    end(&b);
}

int main(void) {
    measure_sandboxes();
    measure_swaps();
    measure_live();
    return 0;
}
