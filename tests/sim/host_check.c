/* SPDX-License-Identifier: Apache-2.0 */
/* What a backend checks of each request's head, whatever version of HTTP brought it, and what it plans to do with it. */
#include <stdio.h>
#include <string.h>

#include "sim/client.h"
#include "sim/host.h"

void host_odd(const struct sim *sim, const struct message_text *head, const char *what) {
    sim_fail(sim, "a backend got %s in:\n%s", what, head->bytes ? head->bytes : "(nothing)");
}

struct exchange *host_exchange_of(struct sim *sim, const struct host *h, const struct message_text *head) {
    uint64_t id;
    if (!message_number(head, "x-sim", &id))
        host_odd(sim, head, "no X-Sim field");
    struct exchange *e = exchange_at(sim, id);
    if (!e)
        host_odd(sim, head, "an X-Sim field that nobody sent");
    if (h->route != e->route)
        host_odd(sim, head, "a request of another route");
    return e;
}

bool host_is_down(struct sim *sim, const struct host *h) {
    const uint64_t span = SIM_MS(60);
    if (!sim->scenario->outages)
        return false;
    struct vx_random r =
        sim_random_for(sim, UINT64_C(1) << 50 | h->route << 8 | h->index, sim->now_ns / span);
    return vx_random_below(&r, 1000) < sim->scenario->outages;
}

static void check_absent(const struct sim *sim, const struct message_text *head) {
    static const char *const names[] = {"keep-alive", "proxy-connection", "te",       "http2-settings",
                                        "x-hop",      "forwarded",        "x-real-ip"};
    const char *value;
    size_t len;
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
        if (message_field(head, names[i], 0, &value, &len))
            host_odd(sim, head, "a field that does not pass");
}

/* Over HTTP/2 the host is :authority, and there are no fields of a connection. */
static void check_connection(const struct sim *sim, const struct exchange *e, const struct message_text *head,
                             bool http2) {
    const char *value;
    size_t len;
    bool connection = message_field(head, "connection", 0, &value, &len);
    if (http2 && (connection || message_field(head, "upgrade", 0, &value, &len) ||
                  message_field(head, "host", 0, &value, &len) ||
                  message_field(head, "transfer-encoding", 0, &value, &len)))
        host_odd(sim, head, "a field that HTTP/2 does not know");
    if (!message_field_is(head, http2 ? ":authority" : "host", "sim.example"))
        host_odd(sim, head, "a wrong Host");
    if (!http2 && (e->upgrades ? !message_field_is(head, "upgrade", "simproto") || !connection : connection))
        host_odd(sim, head, "a wrong Connection or Upgrade field");
}

void host_check_fields(const struct sim *sim, const struct exchange *e, const struct message_text *head) {
    char ip[VX_ADDRESS_TEXT_MAX];
    const char *value;
    size_t len;
    ip[vx_address_format_ip(&e->client->address, ip)] = '\0';
    if (!message_field_is(head, "x-forwarded-for", ip) ||
        !message_field_is(head, "x-forwarded-proto", sim->scenario->handshakes ? "https" : "http"))
        host_odd(sim, head, "a wrong identity");
    if (!message_field_is(head, "via", e->http2 ? "2.0 vortex" : e->http10 ? "1.0 vortex" : "1.1 vortex"))
        host_odd(sim, head, "no Via, or a wrong one");
    check_connection(sim, e, head, sim->hosts[e->route * SIM_BACKENDS].http2);
    check_absent(sim, head);
    if (message_field(head, "expect", 0, &value, &len) && !e->expects)
        host_odd(sim, head, "an Expect field that nobody sent");
}

/* What the plan says about failures to come. */
static void note_excuses(struct sim *sim, struct exchange *e, const struct answer_plan *p) {
    if (p->deed == DEED_SILENT || p->deed == DEED_STALL || p->deed == DEED_DEAF)
        e->excuse_504 = true;
    else if (p->deed != DEED_ANSWER)
        e->excuse_502 = true;
    if (p->deed == DEED_EXTRA || p->afterwards == AFTER_CLOSE_LATER || p->afterwards == AFTER_RESET_LATER ||
        p->afterwards == AFTER_CLOSE)
        sim->excuse_502 = true;
    if (p->early)
        e->excuse_502 = true;
    e->excuse_cut = e->excuse_cut || p->deed != DEED_ANSWER;
}

struct answer_plan host_take_delivery(struct sim *sim, const struct wire *w, struct exchange *e) {
    const struct host *h = w->host;
    e->deliveries++;
    if (sim->mischief == SIM_TWICE && !e->idempotent)
        e->deliveries++;
    if (e->records && !e->tunnel_begun && sim->now_ns - e->recorded_ns > SIM_S(1))
        sim_fail(sim, "a backend got request %u, which had been answered long ago", e->id);
    struct answer_plan plan = exchange_plan(sim, e, e->deliveries);
    if (sim->mischief == SIM_BLAME && sim_below(sim, 4) == 0)
        plan.deed = DEED_RESET_AT_HEAD;
    if (host_is_down(sim, h))
        plan.deed = DEED_RESET_AT_HEAD;
    note_excuses(sim, e, &plan);
    sim_note(sim, e->id, plan.deed);
    if (sim->verbose)
        fprintf(stderr,
                "%llu backend %u.%u wire %u: request %u, delivery %u: %s%s, %u, framing %u of %llu, "
                "afterwards %u\n",
                (unsigned long long)sim->now_ns, h->route, h->index, w->number, e->id, e->deliveries,
                exchange_deed_name((enum sim_deed)plan.deed), plan.early ? " early" : "", plan.status,
                plan.framing, (unsigned long long)plan.body_bytes, plan.afterwards);
    return plan;
}
