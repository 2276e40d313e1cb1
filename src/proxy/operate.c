/* SPDX-License-Identifier: Apache-2.0 */
/* See operate.h. A command is one question: find the socket, ask, run the loop until the answer is there, print it. */
#include "proxy/operate.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proxy/compose.h"
#include "proxy/engine.h"
#include "proxy/net/sockaddr.h"

enum { PATH_BYTES = 4096, PLUGIN_BYTES_MAX = 64 * 1024 * 1024 };

#define CONNECT_NS  UINT64_C(5000000000)
#define RESPONSE_NS UINT64_C(600000000000) /* a large plugin is compiled meanwhile */

enum { DONE = 0, FAILED = 1, WRONG = 2, MEANINGLESS = -1 };

/* What the command line says. */
struct command {
    const char *socket, *config; /* one of them at most */
    const char *words[3];        /* what is no option */
    int word_count;
    const char *name;     /* of a filter */
    const char *duration; /* --for */
    bool verbose;
    char path[PATH_BYTES]; /* the socket's */
};

/* A question under way. */
struct talk {
    struct vx_admin_call call;
    struct vx_admin_answer answer; /* one that is there at once */
    struct vx_engine engine;
    struct vx_target target;
    struct vx_target_shared shared;
    struct vx_admin_port *port;
    void (*print)(const struct vx_admin_answer *answer);
    int refused; /* exit code when the proxy says no */
    int code;
};

/* --- Answers ------------------------------------------------------------------------------------------------------ */

static void print_text(const struct vx_admin_answer *a) {
    bool ends = a->text.len && a->text.ptr[a->text.len - 1] == '\n';
    printf("%.*s%s", VX_SLICE_ARG(a->text), ends ? "" : "\n");
}

static void print_stats(const struct vx_admin_answer *a) {
    const struct vx_admin_stats *s = &a->stats;
    printf("version %.*s\npid %" PRIu32 "\nstate %.*s\nuptime_seconds %" PRIu64 "\nworkers %" PRIu32
           "\nactive_connections %" PRIu32 "\nconnections_total %" PRIu64 "\nconfig_version %" PRIu64
           "\nconfig_path %.*s\n",
           VX_SLICE_ARG(s->version), s->pid, VX_SLICE_ARG(s->state), s->uptime_seconds, s->workers,
           s->active_connections, s->connections_total, s->config_version, VX_SLICE_ARG(s->config_path));
}

static void print_bans(const struct vx_admin_answer *a) {
    for (uint32_t i = 0; i < a->ban_count; i++) {
        const struct vx_admin_ban *b = &a->bans[i];
        printf("%.*s for %" PRIu64 ".%03" PRIu64 " s, %s, %" PRIu32 " in a row\n", VX_SLICE_ARG(b->address),
               b->remaining_ms / 1000, b->remaining_ms % 1000, b->manual ? "by hand" : "by the policy",
               b->strikes);
    }
}

static void take_answer(struct talk *t, const struct vx_admin_answer *a) {
    if (a->outcome == VX_ADMIN_DONE) {
        t->print(a);
        t->code = DONE;
        return;
    }
    fprintf(stderr, "%s%.*s\n", a->outcome == VX_ADMIN_FAILED ? "vortex: no answer from the proxy: " : "",
            VX_SLICE_ARG(a->text));
    t->code = a->outcome == VX_ADMIN_REFUSED ? t->refused : FAILED;
}

static void answered(struct vx_admin_call *call, const struct vx_admin_answer *answer) {
    struct talk *t = (struct talk *)call;
    take_answer(t, answer);
    vx_loop_stop(t->engine.loop);
}

/* --- The socket --------------------------------------------------------------------------------------------------- */

/* From --socket, or `admin.socket` of the configuration. False: it was said why. */
static bool find_socket(struct command *c) {
    if (c->socket) {
        snprintf(c->path, sizeof c->path, "%s", c->socket);
        return true;
    }
    const char *file = c->config ? c->config : "vortex.yaml";
    const struct vx_config_source *source = vx_compose_config_source();
    struct vx_config_error error;
    struct vx_config *config = source->load(file, &error);
    char text[1024];
    if (!config) {
        source->explain(file, &error, text, sizeof text);
        fprintf(stderr, "%s\n", text);
        return false;
    }
    bool there = config->admin_socket.len > 0;
    snprintf(c->path, sizeof c->path, "%.*s", VX_SLICE_ARG(config->admin_socket));
    source->free(config);
    if (!there)
        fprintf(stderr, "vortex: %s has no `admin: { socket: PATH }`; name the socket with --socket\n", file);
    return there;
}

/* The HTTP client would only say that it cannot connect. */
static bool can_connect(const char *path, const struct vx_address *address) {
    union vx_sockaddr sa;
    socklen_t len = vx_sockaddr_of(address, &sa);
    int fd = len ? socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0) : -1;
    bool connected = fd >= 0 && connect(fd, &sa.any, len) == 0;
    int error = len ? errno : ENAMETOOLONG;
    if (fd >= 0)
        close(fd);
    if (connected)
        return true;
    const char *why = strerror(error);
    if (error == ENOENT || error == ECONNREFUSED)
        why = "no proxy listens there";
    else if (error == EACCES || error == EPERM)
        why = "permission denied; the socket is for the proxy's own user";
    fprintf(stderr, "vortex: %s: %s\n", path, why);
    return false;
}

/* Opens what is needed to ask. False: it was said why. */
static bool begin(struct talk *t, const char *path) {
    t->call.answered = answered;
    t->target = (struct vx_target){
        .address = {.kind = VX_ADDRESS_UNIX, .text = vx_slice_of(path)},
        .name = vx_slice_of(path),
        .shared = &t->shared,
        .http2 = true,
        .connect_timeout_ns = CONNECT_NS,
        .response_timeout_ns = RESPONSE_NS,
        .idle_timeout_ns = RESPONSE_NS,
    };
    if (!can_connect(path, &t->target.address))
        return false;
    if (!vx_engine_init(&t->engine, 0)) {
        fprintf(stderr, "vortex: %s\n", strerror(errno));
        return false;
    }
    t->port = vx_compose_admin_client(&t->engine.clients.port, &t->target, &t->engine.arenas.source,
                                      &t->engine.rt.now_ns);
    if (t->port)
        return true;
    fprintf(stderr, "vortex: out of memory\n");
    vx_engine_free(&t->engine);
    return false;
}

/* Waits for the answer, unless it is there, and closes everything. */
static int end(struct talk *t, enum vx_admin_when when) {
    if (when == VX_ADMIN_NOW)
        take_answer(t, &t->answer);
    else
        vx_loop_run(t->engine.loop);
    vx_compose_admin_client_free(t->port);
    vx_engine_free(&t->engine);
    return t->code;
}

/* --- Commands ----------------------------------------------------------------------------------------------------- */

static int reload(struct command *c, struct talk *t) {
    char *path = NULL;
    if (c->word_count == 2 && !(path = realpath(c->words[1], NULL))) {
        fprintf(stderr, "vortex: %s: %s\n", c->words[1], strerror(errno));
        return WRONG;
    }
    int code = FAILED;
    t->print = print_text;
    t->refused = WRONG;
    if (begin(t, c->path))
        code = end(t, t->port->reload(t->port, vx_slice_of(path), &t->call, &t->answer));
    free(path);
    return code;
}

static int stats(struct command *c, struct talk *t) {
    t->print = c->verbose ? print_text : print_stats;
    if (!begin(t, c->path))
        return FAILED;
    return end(t, (c->verbose ? t->port->dump : t->port->stats)(t->port, &t->call, &t->answer));
}

/* The file in memory, for munmap; len 0: it was said why not. */
static struct vx_slice map_file(const char *path) {
    struct stat info = {0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    void *bytes = MAP_FAILED;
    const char *why = NULL;
    if (fd < 0 || fstat(fd, &info) != 0)
        why = strerror(errno);
    else if (!S_ISREG(info.st_mode) || info.st_size == 0)
        why = "this is no file with a module in it";
    else if (info.st_size > PLUGIN_BYTES_MAX)
        why = "larger than 64MiB";
    else if ((bytes = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0)) == MAP_FAILED)
        why = strerror(errno);
    if (fd >= 0)
        close(fd);
    if (!why)
        return vx_slice(bytes, (size_t)info.st_size);
    fprintf(stderr, "vortex: %s: %s\n", path, why);
    return VX_SLICE_NONE;
}

static int push_plugin(struct command *c, struct talk *t) {
    struct vx_slice binary = map_file(c->words[2]);
    if (!binary.len)
        return WRONG;
    int code = FAILED;
    t->print = print_text;
    t->refused = WRONG;
    if (begin(t, c->path))
        code = end(t, t->port->update_plugin(t->port, vx_slice_of(c->name), binary, &t->call, &t->answer));
    munmap((void *)binary.ptr, binary.len);
    return code;
}

static int list_bans(struct command *c, struct talk *t) {
    t->print = print_bans;
    return begin(t, c->path) ? end(t, t->port->list_bans(t->port, &t->call, &t->answer)) : FAILED;
}

static int add_ban(struct command *c, struct talk *t) {
    uint64_t duration_ns = 0;
    if (c->duration && (!vx_compose_config_source()->duration(vx_slice_of(c->duration), &duration_ns) ||
                        duration_ns < 1000000)) {
        fprintf(stderr, "vortex: --for takes a duration such as 90s, 10m or 2h, not %s\n", c->duration);
        return WRONG;
    }
    t->print = print_text;
    if (!begin(t, c->path))
        return FAILED;
    return end(
        t, t->port->add_ban(t->port, vx_slice_of(c->words[2]), duration_ns / 1000000, &t->call, &t->answer));
}

static int remove_ban(struct command *c, struct talk *t) {
    t->print = print_text;
    if (!begin(t, c->path))
        return FAILED;
    return end(t, t->port->remove_ban(t->port, vx_slice_of(c->words[2]), &t->call, &t->answer));
}

/* --- The command line --------------------------------------------------------------------------------------------- */

enum options { NAME = 1, FOR = 2, VERBOSE = 4 };

static const struct known {
    const char *word, *second; /* NULL: no second word */
    int least, most;           /* words, these included */
    unsigned options;
    int (*run)(struct command *c, struct talk *t);
} known[] = {
    {"reload", NULL, 1, 2, 0, reload},           {"stats", NULL, 1, 1, VERBOSE, stats},
    {"plugin", "push", 3, 3, NAME, push_plugin}, {"bans", "list", 2, 2, 0, list_bans},
    {"bans", "add", 3, 3, FOR, add_ban},         {"bans", "remove", 3, 3, 0, remove_ban},
};

static const struct known *find(const struct command *c) {
    for (size_t i = 0; c->word_count && i < sizeof known / sizeof *known; i++) {
        const struct known *k = &known[i];
        if (strcmp(c->words[0], k->word) == 0 &&
            (!k->second || (c->word_count > 1 && strcmp(c->words[1], k->second) == 0)) &&
            c->word_count >= k->least && c->word_count <= k->most)
            return k;
    }
    return NULL;
}

/* Where the value of this option goes; NULL: it is none that takes a value. */
static const char **value_of(struct command *c, const char *option, unsigned *given) {
    if (strcmp(option, "--socket") == 0)
        return &c->socket;
    if (strcmp(option, "-c") == 0 || strcmp(option, "--config") == 0)
        return &c->config;
    if (strcmp(option, "--name") == 0) {
        *given |= NAME;
        return &c->name;
    }
    if (strcmp(option, "--for") == 0) {
        *given |= FOR;
        return &c->duration;
    }
    return NULL;
}

/* False with *wrong and *what. */
static bool parse(struct command *c, int count, char **arguments, unsigned *given, const char **wrong,
                  const char **what) {
    for (int i = 0; i < count; i++) {
        *what = arguments[i];
        const char **value = value_of(c, arguments[i], given);
        if (value && ++i == count) {
            *wrong = "a value is missing after";
            return false;
        }
        if (value) {
            *value = arguments[i];
        } else if (strcmp(arguments[i], "--verbose") == 0) {
            c->verbose = true;
            *given |= VERBOSE;
        } else if (arguments[i][0] == '-' || c->word_count == 3) {
            *wrong = "unknown argument";
            return false;
        } else {
            c->words[c->word_count++] = arguments[i];
        }
    }
    return true;
}

int vx_operate(int count, char **arguments, const char **wrong, const char **what) {
    struct command c = {0};
    struct talk talk = {.refused = FAILED, .code = FAILED};
    unsigned given = 0;
    if (!parse(&c, count, arguments, &given, wrong, what))
        return MEANINGLESS;
    const struct known *k = find(&c);
    *wrong = "these arguments do not go with";
    *what = c.words[0];
    if (!k || (given & ~k->options))
        return MEANINGLESS;
    *wrong = "there can be one of --socket and -c, not both, for";
    if (c.socket && c.config)
        return MEANINGLESS;
    return find_socket(&c) ? k->run(&c, &talk) : WRONG;
}
