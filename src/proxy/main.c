/* SPDX-License-Identifier: Apache-2.0 */
/* The program: finds the subcommand and runs it. Exit codes: 0 fine, 1 failed while running, 2 wrong usage or
 * configuration. */
#include <stdio.h>
#include <string.h>

#include "proxy/commands.h"
#include "proxy/operate.h"

#ifndef VX_VERSION
#error "the build gives VX_VERSION"
#endif

/* Read by jemalloc when the program starts: threads keep what they freed up to 128 KiB, so that the blocks of large bodies
 * cost no search (without it they would from 32 KiB on). */
extern const char *const malloc_conf;
const char *const malloc_conf = "lg_tcache_max:17";

static const char usage[] =
    "usage: vortex [run] [-c FILE]          run the proxy (FILE: vortex.yaml)\n"
    "       vortex check [-c FILE]          check a configuration\n"
    "       vortex reload [PATH]            load the configuration anew, or another one\n"
    "       vortex stats [--verbose]        figures of the running proxy, or all it knows\n"
    "       vortex plugin push FILE.wasm [--name N]   replace the module of a filter\n"
    "       vortex bans list | add ADDRESS [--for DURATION] | remove ADDRESS\n"
    "           reload, stats, plugin and bans take --socket PATH, or -c FILE for its admin.socket\n"
    "       vortex echo --port N            a tiny HTTP backend, for trying things\n"
    "       vortex --version | --help\n";

static int wrong_usage(const char *what, const char *argument) {
    fprintf(stderr, "vortex: %s%s%s\n%s", what, argument ? " " : "", argument ? argument : "", usage);
    return 2;
}

/* `-c FILE` or nothing; *path stays as it is without it. */
static int parse_file(int argc, char **argv, const char **path) {
    for (int i = 0; i < argc; i++) {
        bool short_form = strcmp(argv[i], "-c") == 0 || strcmp(argv[i], "--config") == 0;
        if (!short_form)
            return wrong_usage(argv[i][0] == '-' ? "unknown argument" : "a file is named with -c, as in -c",
                               argv[i]);
        if (++i == argc)
            return wrong_usage("a file name is missing after", argv[i - 1]);
        *path = argv[i];
    }
    return 0;
}

static int with_file(int (*command)(const char *path), int argc, char **argv) {
    const char *path = "vortex.yaml";
    int wrong = parse_file(argc, argv, &path);
    return wrong ? wrong : command(path);
}

static int echo(int argc, char **argv) {
    uint16_t port;
    if (argc != 2 || strcmp(argv[0], "--port") != 0)
        return wrong_usage("`vortex echo` takes --port N", NULL);
    if (!vx_command_parse_port(argv[1], &port))
        return wrong_usage("not a port number:", argv[1]);
    return vx_command_echo(port);
}

static bool is_operation(const char *word) {
    static const char *const words[] = {"reload", "stats", "plugin", "bans"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(word, words[i]) == 0)
            return true;
    return false;
}

static int operate(int argc, char **argv) {
    const char *wrong = NULL, *what = NULL;
    int code = vx_operate(argc, argv, &wrong, &what);
    return code < 0 ? wrong_usage(wrong, what) : code;
}

/* `--help` is never anything else's value in good faith, so it is looked for everywhere. */
static bool asks_for_help(int argc, char **argv) {
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return true;
    return argc == 2 && strcmp(argv[1], "help") == 0;
}

int main(int argc, char **argv) {
    if (asks_for_help(argc, argv)) {
        fputs(usage, stdout);
        return 0;
    }
    if (argc < 2 || strcmp(argv[1], "-c") == 0 || strcmp(argv[1], "--config") == 0)
        return with_file(vx_command_run, argc - 1, argv + 1);
    if (strcmp(argv[1], "run") == 0)
        return with_file(vx_command_run, argc - 2, argv + 2);
    if (strcmp(argv[1], "check") == 0)
        return with_file(vx_command_check, argc - 2, argv + 2);
    if (is_operation(argv[1]))
        return operate(argc - 1, argv + 1);
    if (strcmp(argv[1], "echo") == 0)
        return echo(argc - 2, argv + 2);
    if (strcmp(argv[1], "--version") == 0) {
        puts("vortex " VX_VERSION);
        return 0;
    }
    return wrong_usage("unknown command", argv[1]);
}
