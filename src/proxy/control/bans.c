/* SPDX-License-Identifier: Apache-2.0 */
/* See bans.h. */
#include "proxy/control/bans.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/assert.h"
#include "core/limit/ban_policy.h"
#include "core/limit/ban_table.h"
#include "proxy/telemetry/byte_ring.h"
#include "proxy/telemetry/log.h"

enum {
    REPORT_BYTES = 32 * 1024, /* of a worker's ring: 4096 refusals */
    LINES_A_SECOND = 20,      /* about single bans in the log */
    KERNEL_RETRY_S = 5,       /* between attempts to get the kernel to help */
};

static const uint64_t second_ns = 1000000000;

/* One worker's side. */
struct gate {
    struct vx_ban_gate gate;
    struct vx_bans *bans;
    struct vx_metrics_worker *counters;
    struct vx_byte_ring reports;
    char *memory;
    struct vx_message word; /* to the control thread: there are some */
};

struct vx_bans {
    struct vx_loop *loop;
    struct vx_metrics_worker *counters;
    struct vx_ban_policy policy;
    struct vx_ban_table table;
    struct vx_ban_list *kernel;
    const struct vx_config *config; /* NULL: bans are off */
    _Atomic bool on;                /* the same, for the workers */
    struct vx_timer sweep;
    uint64_t kernel_retry_ns;
    bool restored;                       /* the bans that the kernel had at the start have been taken over */
    char kernel_said[VX_BANS_WHY_BYTES]; /* last, so that it is not repeated at each attempt */
    uint64_t lines_second;
    uint32_t lines; /* in that second */
    struct vx_log_limit crowd, map_full;
    struct gate *gates;
    uint32_t workers;
};

static uint64_t now_of(const struct vx_bans *b) {
    return vx_loop_runtime(b->loop)->now_ns;
}

/* --- Said in the log ---------------------------------------------------------------------------------------------- */

/* Whether a line about a single ban may be written: a flood of bans must not become one of lines. */
static bool may_say(struct vx_bans *b) {
    uint64_t second = now_of(b) / second_ns;
    if (b->lines_second != second)
        b->lines = 0;
    b->lines_second = second;
    if (b->lines < LINES_A_SECOND) {
        b->lines++;
        return true;
    }
    vx_log_limited(&b->crowd, 1000, VX_LOG_WARN,
                   "more bans begin and end than are logged one by one: %u active", b->policy.bans);
    return false;
}

static void say_banned(struct vx_bans *b, const struct vx_ban *ban) {
    char text[VX_ADDRESS_TEXT_MAX];
    if (!may_say(b))
        return;
    size_t n = vx_client_format(ban->client, text);
    double seconds = (double)(ban->until_ns - now_of(b)) / 1e9;
    if (ban->manual)
        vx_log(VX_LOG_INFO, "banned %.*s for %.1f s, as asked for", (int)n, text, seconds);
    else
        vx_log(VX_LOG_INFO, "banned %.*s for %.1f s: refused %u times within %.1f s (ban %u in a row)",
               (int)n, text, seconds, b->policy.settings.after, (double)b->policy.settings.within_ns / 1e9,
               ban->strikes);
}

static void say_unbanned(struct vx_bans *b, uint64_t client, const char *why) {
    char text[VX_ADDRESS_TEXT_MAX];
    if (may_say(b))
        vx_log(VX_LOG_INFO, "unbanned %.*s: %s", (int)vx_client_format(client, text), text, why);
}

/* --- Carried out -------------------------------------------------------------------------------------------------- */

static bool kernel_is_on(const struct vx_bans *b) {
    return b->kernel && strcmp(b->kernel->state(b->kernel), "off") != 0;
}

static void put_in_effect(struct vx_bans *b, const struct vx_ban *ban) {
    b->table.list.block(&b->table.list, ban);
    if (kernel_is_on(b) && !b->kernel->block(b->kernel, ban))
        vx_log_limited(&b->map_full, 1000, VX_LOG_WARN, "the kernel's map did not take a ban");
}

static void lift(struct vx_bans *b, uint64_t client) {
    b->table.list.unblock(&b->table.list, client);
    if (b->kernel)
        b->kernel->unblock(b->kernel, client);
}

/* --- Reports of refusals ------------------------------------------------------------------------------------------ */

static void take_report(struct vx_bans *b, uint64_t client, uint64_t now_ns) {
    struct vx_ban ban;
    if (!vx_ban_policy_refused(&b->policy, client, now_ns, &ban))
        return;
    put_in_effect(b, &ban);
    vx_metrics_add(b->counters, VX_WORKER_BANS_POLICY, 1);
    say_banned(b, &ban);
}

static void read_reports(struct vx_message *m, uint64_t now_ns) {
    struct gate *g = VX_CONTAINER_OF(m, struct gate, word);
    struct vx_slice runs[2];
    size_t waiting = vx_byte_ring_peek(&g->reports, runs);
    for (unsigned r = 0; r < 2 && g->bans->config; r++)
        for (size_t at = 0; at < runs[r].len; at += sizeof(uint64_t))
            take_report(g->bans, vx_load8(runs[r].ptr + at), now_ns);
    vx_byte_ring_take(&g->reports, waiting);
}

/* The worker's thread. */
static void refused(struct vx_ban_gate *self, const struct vx_address *address, uint64_t now_ns) {
    struct gate *g = (struct gate *)self;
    uint64_t client = vx_client_of(address), used;
    (void)now_ns;
    if (!client || !atomic_load_explicit(&g->bans->on, memory_order_relaxed))
        return;
    if (!vx_byte_ring_put(&g->reports, vx_slice((const char *)&client, sizeof client), &used))
        vx_metrics_add(g->counters, VX_WORKER_BAN_REPORTS_DROPPED, 1);
    vx_loop_send(g->bans->loop, &g->word);
}

/* The worker's thread. */
static bool is_banned(struct vx_ban_gate *self, const struct vx_address *address, uint64_t now_ns) {
    const struct vx_ban_table *table = &((struct gate *)self)->bans->table;
    return atomic_load_explicit(&table->used, memory_order_relaxed) &&
           vx_ban_table_has(table, vx_client_of(address), now_ns);
}

/* --- The kernel --------------------------------------------------------------------------------------------------- */

/* A ban that the kernel has already. The first time it is one from before this program began; later, when the kernel was away
 * for a while, what is not known here any more has ended meanwhile. */
static void restore(void *user, const struct vx_ban *ban) {
    struct vx_bans *b = user;
    struct vx_ban known;
    bool new = !b->restored && ban->until_ns > now_of(b) && vx_ban_policy_add(&b->policy, ban, now_of(b));
    if (new)
        b->table.list.block(&b->table.list, ban);
    else if (!vx_ban_policy_find(&b->policy, ban->client, &known))
        b->kernel->unblock(b->kernel, ban->client);
}

static void say_kernel(struct vx_bans *b, const char *why, bool on) {
    if (strcmp(why, b->kernel_said) == 0)
        return;
    snprintf(b->kernel_said, sizeof b->kernel_said, "%s", why);
    if (*why)
        vx_log(VX_LOG_WARN, "bans: %s%s", why,
               on ? "" : "; banned clients are turned away when they connect, not by the kernel");
}

static void apply_kernel(struct vx_bans *b) {
    char why[VX_BANS_WHY_BYTES] = "";
    if (!b->kernel)
        return;
    bool was_on = kernel_is_on(b), ok = b->kernel->apply(b->kernel, b->config, why, sizeof why);
    bool on = kernel_is_on(b);
    b->kernel_retry_ns = now_of(b) + KERNEL_RETRY_S * second_ns;
    say_kernel(b, why, ok);
    if (!on || was_on)
        return;
    vx_log(VX_LOG_INFO, "bans: XDP (%s) drops packets on %.*s", b->kernel->state(b->kernel),
           VX_SLICE_ARG(b->config->bans.interface));
    b->kernel->each(b->kernel, restore, b);
    b->restored = true;
    struct vx_ban ban;
    for (uint32_t at = 0; vx_ban_policy_next(&b->policy, &at, &ban);)
        b->kernel->block(b->kernel, &ban);
}

/* --- The sweeper -------------------------------------------------------------------------------------------------- */

static void on_sweep(struct vx_timer *timer, uint64_t now_ns) {
    struct vx_bans *b = VX_CONTAINER_OF(timer, struct vx_bans, sweep);
    struct vx_ban ban;
    for (uint32_t at = 0; vx_ban_policy_sweep(&b->policy, &at, now_ns, &ban);) {
        lift(b, ban.client);
        say_unbanned(b, ban.client, ban.until_ns <= now_ns ? "its time is over" : "it is exempt now");
    }
    if (b->config->bans.interface.len && now_ns >= b->kernel_retry_ns && !kernel_is_on(b))
        apply_kernel(b);
    vx_timer_set(&vx_loop_runtime(b->loop)->wheel, &b->sweep, now_ns + b->config->bans.sweep_interval_ns);
}

/* --- Configuration ------------------------------------------------------------------------------------------------ */

static void turn_off(struct vx_bans *b) {
    struct vx_ban ban;
    for (uint32_t at = 0; vx_ban_policy_next(&b->policy, &at, &ban);)
        vx_ban_policy_remove(&b->policy, ban.client, now_of(b));
    vx_timer_unset(&b->sweep);
    b->table.list.apply(&b->table.list, NULL, NULL, 0);
    apply_kernel(b);
}

void vx_bans_apply(struct vx_bans *b, const struct vx_config *config) {
    bool was_on = b->config != NULL;
    const struct vx_config_bans *bans = &config->bans;
    struct vx_ban_settings settings = {bans->after, bans->within_ns, bans->duration_ns, bans->max_duration_ns,
                                       config};
    b->config = bans->enabled ? config : NULL;
    atomic_store_explicit(&b->on, bans->enabled, memory_order_relaxed);
    if (!bans->enabled) {
        if (was_on)
            turn_off(b);
        return;
    }
    vx_ban_policy_configure(&b->policy, &settings);
    b->kernel_said[0] = '\0';
    apply_kernel(b);
    vx_timer_set(&vx_loop_runtime(b->loop)->wheel, &b->sweep, now_of(b) + bans->sweep_interval_ns);
}

/* --- Numbers ------------------------------------------------------------------------------------------------------ */

static void measure_kernel(struct vx_bans *b) {
    static const struct {
        const char *reason;
        enum vx_worker_value value;
    } known[] = {
        {"passed", VX_WORKER_XDP_PASSED},
        {"banned", VX_WORKER_XDP_BANNED},
        {"prefix", VX_WORKER_XDP_PREFIX},
        {"malformed", VX_WORKER_XDP_MALFORMED},
        {"fragment", VX_WORKER_XDP_FRAGMENT},
        {"amplification", VX_WORKER_XDP_AMPLIFICATION},
        {"syn_rate", VX_WORKER_XDP_SYN_RATE},
        {"udp_rate", VX_WORKER_XDP_UDP_RATE},
        {"connection_rate", VX_WORKER_XDP_CONNECTION_RATE},
    };
    const char *state = b->kernel->state(b->kernel);
    struct vx_ban_drops rows[VX_BAN_DROPS_MAX];
    size_t count = b->kernel->drops(b->kernel, rows);
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < sizeof known / sizeof *known; k++)
            if (strcmp(rows[i].reason, known[k].reason) == 0)
                vx_metrics_set(b->counters, known[k].value, rows[i].packets);
    vx_metrics_set(b->counters, VX_WORKER_XDP_NATIVE, strcmp(state, "native") == 0);
    vx_metrics_set(b->counters, VX_WORKER_XDP_GENERIC, strcmp(state, "generic") == 0);
}

void vx_bans_measure(struct vx_bans *b) {
    vx_metrics_set(b->counters, VX_WORKER_BANS_ACTIVE, b->policy.bans);
    vx_metrics_set(b->counters, VX_WORKER_BANS_OVERLOOKED, b->policy.overlooked);
    if (b->kernel)
        measure_kernel(b);
}

/* --- For an operator ---------------------------------------------------------------------------------------------- */

/* The client that is meant by `address`, 0: `why` says why none. */
static uint64_t find_client(const struct vx_bans *b, struct vx_slice address, char *why) {
    struct vx_prefix prefix;
    if (!b->config) {
        snprintf(why, VX_BANS_WHY_BYTES, "bans are off; add `bans` to the configuration");
        return 0;
    }
    bool parsed = vx_prefix_parse(address, &prefix);
    unsigned most = parsed && prefix.address.kind == VX_ADDRESS_IP4 ? 32 : 128;
    bool one = parsed && (prefix.bits == most || (most == 128 && prefix.bits == 64));
    if (!one)
        snprintf(why, VX_BANS_WHY_BYTES, "`%.*s` is no IP address, such as 192.0.2.1 or 2001:db8::1",
                 (int)(address.len < 100 ? address.len : 100), address.ptr);
    return one ? vx_client_of(&prefix.address) : 0;
}

bool vx_bans_add(struct vx_bans *b, struct vx_slice address, uint64_t duration_ns, char *why) {
    char text[VX_ADDRESS_TEXT_MAX];
    why[0] = '\0';
    uint64_t client = find_client(b, address, why), now_ns = now_of(b);
    if (*why)
        return false;
    if (vx_ban_policy_is_exempt(&b->policy, client)) {
        snprintf(why, VX_BANS_WHY_BYTES,
                 "%.*s is never banned: it is loopback, a trusted proxy, or in `never` or `spare`",
                 VX_SLICE_ARG(address));
        return false;
    }
    struct vx_ban ban = {.client = client,
                         .until_ns = now_ns + (duration_ns ? duration_ns : b->policy.settings.duration_ns),
                         .strikes = 1,
                         .manual = true};
    if (ban.until_ns < now_ns)
        ban.until_ns = UINT64_MAX;
    if (!vx_ban_policy_add(&b->policy, &ban, now_ns)) {
        snprintf(why, VX_BANS_WHY_BYTES, "there is no room for a ban of %.*s",
                 (int)vx_client_format(client, text), text);
        return false;
    }
    put_in_effect(b, &ban);
    vx_metrics_add(b->counters, VX_WORKER_BANS_MANUAL, 1);
    say_banned(b, &ban);
    return true;
}

bool vx_bans_remove(struct vx_bans *b, struct vx_slice address, char *why) {
    why[0] = '\0';
    uint64_t client = find_client(b, address, why);
    if (*why)
        return false;
    if (!vx_ban_policy_remove(&b->policy, client, now_of(b))) {
        snprintf(why, VX_BANS_WHY_BYTES, "%.*s is not banned", VX_SLICE_ARG(address));
        return false;
    }
    lift(b, client);
    say_unbanned(b, client, "as asked for");
    return true;
}

bool vx_bans_next(const struct vx_bans *b, uint32_t *at, struct vx_ban *ban) {
    return vx_ban_policy_next(&b->policy, at, ban);
}

/* --- Beginning and end -------------------------------------------------------------------------------------------- */

static bool make_gates(struct vx_bans *b, struct vx_metrics *metrics) {
    b->gates = aligned_alloc(_Alignof(struct gate), b->workers * sizeof *b->gates);
    if (!b->gates)
        return false;
    memset(b->gates, 0, b->workers * sizeof *b->gates);
    for (uint32_t w = 0; w < b->workers; w++) {
        struct gate *g = &b->gates[w];
        g->gate = (struct vx_ban_gate){.is_banned = is_banned, .refused = refused};
        g->bans = b;
        g->word.run = read_reports;
        g->counters = vx_metrics_worker(metrics, w);
        g->memory = malloc(REPORT_BYTES);
        if (!g->memory)
            return false;
        vx_byte_ring_init(&g->reports, g->memory, REPORT_BYTES);
    }
    return true;
}

struct vx_bans *vx_bans_new(struct vx_loop *loop, struct vx_metrics *metrics, uint32_t workers,
                            struct vx_ban_list *kernel) {
    struct vx_bans *b = calloc(1, sizeof *b);
    if (!b) {
        if (kernel)
            kernel->free(kernel);
        return NULL;
    }
    b->loop = loop;
    b->counters = vx_metrics_worker(metrics, workers);
    b->workers = workers;
    b->kernel = kernel;
    vx_timer_init(&b->sweep, on_sweep);
    struct vx_random *random = &vx_loop_runtime(loop)->random;
    struct vx_hash_key keys[2];
    for (unsigned i = 0; i < 2; i++)
        keys[i] = (struct vx_hash_key){vx_random_next(random), vx_random_next(random)};
    /* Untouched pages cost nothing: neither does a program without bans. */
    void *records = calloc(1, vx_ban_policy_bytes(VX_BANS_CLIENTS)),
         *slots = calloc(1, vx_ban_table_bytes(VX_BANS_CLIENTS));
    vx_ban_policy_init(&b->policy, records, VX_BANS_CLIENTS, keys[0]);
    vx_ban_table_init(&b->table, slots, VX_BANS_CLIENTS, keys[1]);
    if (records && slots && make_gates(b, metrics))
        return b;
    vx_bans_free(b);
    return NULL;
}

struct vx_ban_gate *vx_bans_gate(struct vx_bans *b, uint32_t worker) {
    return &b->gates[worker].gate;
}

void vx_bans_free(struct vx_bans *b) {
    if (!b)
        return;
    /* What was sent must not come when there is nobody any more. */
    for (uint32_t w = 0; b->gates && w < b->workers; w++)
        while (atomic_load_explicit(&b->gates[w].word.under_way, memory_order_acquire))
            vx_loop_run_once(b->loop, 0);
    vx_timer_remove(&vx_loop_runtime(b->loop)->wheel, &b->sweep);
    if (b->kernel)
        b->kernel->free(b->kernel);
    for (uint32_t w = 0; b->gates && w < b->workers; w++)
        free(b->gates[w].memory);
    free(b->gates);
    free(b->policy.records);
    free(b->table.slots);
    free(b);
}
