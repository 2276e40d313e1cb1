/* SPDX-License-Identifier: Apache-2.0 */
/* See ban_policy.h. */
#include "core/limit/ban_policy.h"

#include "core/base/assert.h"

size_t vx_ban_policy_bytes(uint32_t clients) {
    return clients * sizeof(struct vx_ban_record);
}

void vx_ban_policy_init(struct vx_ban_policy *p, void *memory, uint32_t clients, struct vx_hash_key key) {
    *p = (struct vx_ban_policy){.records = memory, .groups = clients / VX_BAN_WAYS, .key = key};
}

static uint64_t slot_ns(const struct vx_ban_policy *p) {
    uint64_t ns = p->settings.within_ns / VX_BAN_SLOTS;
    return ns ? ns : 1;
}

void vx_ban_policy_configure(struct vx_ban_policy *p, const struct vx_ban_settings *settings) {
    uint64_t before_ns = slot_ns(p);
    p->settings = *settings;
    if (slot_ns(p) == before_ns)
        return;
    /* The old slots are not the new ones. */
    for (uint32_t i = 0; i < p->groups * VX_BAN_WAYS; i++)
        memset(p->records[i].counts, 0, sizeof p->records[i].counts);
}

static bool in_any(uint64_t client, const struct vx_prefix *prefixes, uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        if (vx_client_in_prefix(client, &prefixes[i]))
            return true;
    return false;
}

bool vx_ban_policy_is_exempt(const struct vx_ban_policy *p, uint64_t client) {
    static const struct vx_prefix loopback = {{.kind = VX_ADDRESS_IP4, .ip = {127}}, 8};
    const struct vx_config *c = p->settings.exempt;
    return client == 0 || vx_client_in_prefix(client, &loopback) ||
           (c && (in_any(client, c->bans.never, c->bans.never_count) ||
                  in_any(client, c->bans.xdp.spare, c->bans.xdp.spare_count) ||
                  in_any(client, c->trusted_proxies, c->trusted_proxy_count)));
}

/* --- Records ------------------------------------------------------------------------------------------------------ */

static struct vx_ban_record *group_of(const struct vx_ban_policy *p, uint64_t client) {
    return p->records + (vx_hash_word(&p->key, client) & (p->groups - 1)) * VX_BAN_WAYS;
}

static struct vx_ban_record *find(const struct vx_ban_policy *p, uint64_t client) {
    struct vx_ban_record *group = group_of(p, client);
    for (unsigned i = 0; i < VX_BAN_WAYS; i++)
        if (group[i].client == client)
            return &group[i];
    return NULL;
}

/* When the client was last heard of. */
static uint64_t last_ns(const struct vx_ban_policy *p, const struct vx_ban_record *r) {
    uint64_t counted_ns = r->slot * slot_ns(p);
    return counted_ns > r->until_ns ? counted_ns : r->until_ns;
}

/* The client's record, a fresh one if it has none; NULL: all that could be replaced are banned. */
static struct vx_ban_record *find_or_make(struct vx_ban_policy *p, uint64_t client) {
    struct vx_ban_record *r = find(p, client), *group = group_of(p, client);
    if (r)
        return r;
    for (unsigned i = 0; i < VX_BAN_WAYS; i++)
        if (!group[i].banned && (!r || last_ns(p, &group[i]) < last_ns(p, r)))
            r = &group[i];
    if (r)
        *r = (struct vx_ban_record){.client = client};
    return r;
}

static struct vx_ban describe(const struct vx_ban_record *r) {
    return (struct vx_ban){r->client, r->until_ns, r->strikes, r->manual};
}

static void begin_ban(struct vx_ban_policy *p, struct vx_ban_record *r, uint64_t until_ns, uint8_t strikes) {
    p->bans += !r->banned;
    r->banned = true;
    r->until_ns = until_ns;
    r->strikes = strikes;
    memset(r->counts, 0, sizeof r->counts);
}

static void end_ban(struct vx_ban_policy *p, struct vx_ban_record *r, uint64_t now_ns) {
    VX_ASSERT(r->banned && p->bans > 0);
    p->bans--;
    r->banned = r->manual = false;
    if (r->until_ns > now_ns)
        r->until_ns = now_ns;
}

/* --- Counting ----------------------------------------------------------------------------------------------------- */

/* Counts one refusal; returns how many the window holds now. */
static uint32_t count(struct vx_ban_policy *p, struct vx_ban_record *r, uint64_t now_ns) {
    uint64_t slot = now_ns / slot_ns(p);
    uint64_t passed = slot - r->slot < VX_BAN_SLOTS ? slot - r->slot : VX_BAN_SLOTS;
    for (uint64_t i = 0; i < passed; i++)
        r->counts[(slot - i) % VX_BAN_SLOTS] = 0;
    r->slot = slot;
    if (r->counts[slot % VX_BAN_SLOTS] < UINT16_MAX)
        r->counts[slot % VX_BAN_SLOTS]++;
    uint32_t sum = 0;
    for (unsigned i = 0; i < VX_BAN_SLOTS; i++)
        sum += r->counts[i];
    return sum;
}

static uint64_t duration_ns(const struct vx_ban_settings *s, uint8_t strikes) {
    unsigned doublings = strikes - 1u;
    if (doublings >= 63 || s->duration_ns > s->max_duration_ns >> doublings)
        return s->max_duration_ns;
    return s->duration_ns << doublings;
}

bool vx_ban_policy_refused(struct vx_ban_policy *p, uint64_t client, uint64_t now_ns, struct vx_ban *ban) {
    if (vx_ban_policy_is_exempt(p, client))
        return false;
    struct vx_ban_record *r = find_or_make(p, client);
    if (!r) {
        p->overlooked++;
        return false;
    }
    if (r->banned || count(p, r, now_ns) < p->settings.after)
        return false;
    bool forgotten = now_ns - r->until_ns > p->settings.max_duration_ns;
    uint8_t strikes = forgotten ? 1 : (uint8_t)(r->strikes + (r->strikes < UINT8_MAX));
    begin_ban(p, r, now_ns + duration_ns(&p->settings, strikes), strikes);
    *ban = describe(r);
    return true;
}

/* --- Others' wishes ----------------------------------------------------------------------------------------------- */

bool vx_ban_policy_add(struct vx_ban_policy *p, const struct vx_ban *ban, uint64_t now_ns) {
    struct vx_ban_record *r = vx_ban_policy_is_exempt(p, ban->client) ? NULL : find_or_make(p, ban->client);
    if (!r)
        return false;
    r->slot = now_ns / slot_ns(p);
    begin_ban(p, r, ban->until_ns, ban->strikes > r->strikes ? ban->strikes : r->strikes);
    r->manual = ban->manual;
    return true;
}

bool vx_ban_policy_remove(struct vx_ban_policy *p, uint64_t client, uint64_t now_ns) {
    struct vx_ban_record *r = client ? find(p, client) : NULL;
    if (!r || !r->banned)
        return false;
    end_ban(p, r, now_ns);
    /* Whoever was let go by hand begins anew. */
    r->strikes = 0;
    return true;
}

bool vx_ban_policy_find(const struct vx_ban_policy *p, uint64_t client, struct vx_ban *ban) {
    const struct vx_ban_record *r = client ? find(p, client) : NULL;
    if (!r || !r->banned)
        return false;
    *ban = describe(r);
    return true;
}

bool vx_ban_policy_sweep(struct vx_ban_policy *p, uint32_t *at, uint64_t now_ns, struct vx_ban *ban) {
    while (p->bans && *at < p->groups * VX_BAN_WAYS) {
        struct vx_ban_record *r = &p->records[(*at)++];
        if (!r->banned || (r->until_ns > now_ns && !vx_ban_policy_is_exempt(p, r->client)))
            continue;
        *ban = describe(r);
        end_ban(p, r, now_ns);
        return true;
    }
    return false;
}

bool vx_ban_policy_next(const struct vx_ban_policy *p, uint32_t *at, struct vx_ban *ban) {
    while (p->bans && *at < p->groups * VX_BAN_WAYS) {
        const struct vx_ban_record *r = &p->records[(*at)++];
        if (!r->banned)
            continue;
        *ban = describe(r);
        return true;
    }
    return false;
}
