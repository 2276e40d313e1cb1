/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The load generator's front: reads the options, runs the load, prints one JSON object on stdout.
 *
 *   load --port N [--host 127.0.0.1] [--source IP] [--path /] [--connections 64] [--warmup 1] [--window 3] [--rate N] [--tls] [--fresh]
 *        [--core N] [--pid N]...
 *
 * It exists beside wrk because wrk has no fixed rate, cannot read the proxy's CPU time at the ends of the
 * window, and costs the load's core so much that a lean proxy would never be busy.
 */
#include "load.h"

#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static double number(const char *name, const char *text, double lowest, double highest) {
    char *end = NULL;
    double value = strtod(text, &end);
    if (*text == '\0' || *end != '\0' || !(value >= lowest && value <= highest)) {
        fprintf(stderr, "load: --%s must be a number from %g to %g, not \"%s\"\n", name, lowest, highest,
                text);
        exit(2);
    }
    return value;
}

static void set_option(struct load_options *options, const char *name, const char *value) {
    if (strcmp(name, "port") == 0)
        options->port = (uint16_t)number(name, value, 1, UINT16_MAX);
    else if (strcmp(name, "host") == 0)
        options->host = value;
    else if (strcmp(name, "source") == 0)
        options->source = value;
    else if (strcmp(name, "path") == 0)
        options->path = value;
    else if (strcmp(name, "connections") == 0)
        options->connections = (unsigned)number(name, value, 1, 100000);
    else if (strcmp(name, "warmup") == 0)
        options->warmup_s = number(name, value, 0, 600);
    else if (strcmp(name, "window") == 0)
        options->window_s = number(name, value, 0.01, 600);
    else if (strcmp(name, "rate") == 0)
        options->rate = number(name, value, 1, 1e7);
    else if (strcmp(name, "core") == 0)
        options->core = (int)number(name, value, 0, 4095);
    else if (strcmp(name, "pid") == 0 && options->pid_count < LOAD_MAX_PIDS)
        options->pids[options->pid_count++] = (int)number(name, value, 1, INT32_MAX);
    else if (strcmp(name, "tls") == 0)
        options->tls = true;
    else if (strcmp(name, "fresh") == 0)
        options->fresh = true;
}

static struct load_options parse(int argc, char **argv) {
    static const struct option known[] = {
        {"port", required_argument, NULL, 'o'},
        {"host", required_argument, NULL, 'o'},
        {"source", required_argument, NULL, 'o'},
        {"path", required_argument, NULL, 'o'},
        {"connections", required_argument, NULL, 'o'},
        {"warmup", required_argument, NULL, 'o'},
        {"window", required_argument, NULL, 'o'},
        {"rate", required_argument, NULL, 'o'},
        {"core", required_argument, NULL, 'o'},
        {"pid", required_argument, NULL, 'o'},
        {"tls", no_argument, NULL, 'o'},
        {"fresh", no_argument, NULL, 'o'},
        {NULL, 0, NULL, 0},
    };
    struct load_options options = {
        .host = "127.0.0.1", .path = "/", .connections = 64, .warmup_s = 1, .window_s = 3, .core = -1};
    int index = 0;
    for (int found = getopt_long(argc, argv, "", known, &index); found != -1;
         found = getopt_long(argc, argv, "", known, &index)) {
        if (found != 'o')
            exit(2);
        set_option(&options, known[index].name, optarg);
    }
    if (optind != argc || options.port == 0 || (options.fresh && options.rate > 0)) {
        fprintf(stderr, "load: --port is required, nothing but options is taken, --fresh and --rate exclude "
                        "each other\n");
        exit(2);
    }
    return options;
}

static void print_histogram(const char *name, const struct load_histogram *histogram) {
    double mean_ns = histogram->count ? (double)histogram->sum_ns / (double)histogram->count : 0;
    printf(", \"%s\": {\"count\": %llu, \"mean\": %.2f, \"p50\": %.2f, \"p90\": %.2f, \"p99\": %.2f, "
           "\"p999\": %.2f, "
           "\"max\": %.2f}",
           name, (unsigned long long)histogram->count, mean_ns / 1e3,
           (double)load_histogram_quantile(histogram, 0.5) / 1e3,
           (double)load_histogram_quantile(histogram, 0.9) / 1e3,
           (double)load_histogram_quantile(histogram, 0.99) / 1e3,
           (double)load_histogram_quantile(histogram, 0.999) / 1e3, (double)histogram->max_ns / 1e3);
}

static void print_result(const struct load_result *result) {
    const struct load_cpu *begin = &result->cpu_begin;
    const struct load_cpu *end = &result->cpu_end;
    const struct load_errors *errors = &result->errors;
    printf("{\"window_ns\": %llu, \"requests\": %llu, \"body_bytes\": %llu, \"reconnects\": %llu",
           (unsigned long long)result->window_ns, (unsigned long long)result->requests,
           (unsigned long long)result->body_bytes, (unsigned long long)result->reconnects);
    printf(", \"errors\": {\"connect\": %llu, \"handshake\": %llu, \"closed\": %llu, \"status\": %llu, "
           "\"framing\": %llu, \"unfinished\": %llu, \"overflow\": %llu}",
           (unsigned long long)errors->connect, (unsigned long long)errors->handshake,
           (unsigned long long)errors->closed, (unsigned long long)errors->status,
           (unsigned long long)errors->framing, (unsigned long long)errors->unfinished,
           (unsigned long long)errors->overflow);
    printf(", \"cpu\": {\"run_ns\": %llu, \"user_ticks\": %llu, \"system_ticks\": %llu, \"core_busy_ticks\": "
           "%llu, "
           "\"core_steal_ticks\": %llu, \"core_all_ticks\": %llu}",
           (unsigned long long)(end->run_ns - begin->run_ns),
           (unsigned long long)(end->user_ticks - begin->user_ticks),
           (unsigned long long)(end->system_ticks - begin->system_ticks),
           (unsigned long long)(end->core_busy_ticks - begin->core_busy_ticks),
           (unsigned long long)(end->core_steal_ticks - begin->core_steal_ticks),
           (unsigned long long)(end->core_all_ticks - begin->core_all_ticks));
    print_histogram("latency_us", &result->latency);
    print_histogram("lag_us", &result->lag);
    printf("}\n");
}

int main(int argc, char **argv) {
    struct load_options options = parse(argc, argv);
    struct load_result *result = calloc(1, sizeof *result);
    if (!result || !load_run(&options, result))
        return 1;
    print_result(result);
    free(result);
    return 0;
}
