/* SPDX-License-Identifier: Apache-2.0 */
/* See rate_limit.h. */
#include "core/config/rate_limit.h"

#include "core/config/check.h"

static const struct vx_slice header_prefix = {"header:", 7};

static bool names_header(struct vx_slice text) {
    const char *unused;
    return vx_slice_starts_with(text, header_prefix) &&
           vx_config_check_header_name(vx_slice_skip(text, header_prefix.len), &unused);
}

bool vx_config_check_limit_key(struct vx_slice text, const char **must) {
    if (vx_slice_eq(text, VX_SLICE("client_ip")) || vx_slice_eq(text, VX_SLICE("route")) ||
        names_header(text))
        return true;
    *must = "`client_ip`, `route` or a header as `header:x-api-key`";
    return false;
}

bool vx_config_check_limit_cost(struct vx_slice text, const char **must) {
    if (names_header(text))
        return true;
    *must = "a header as `header:x-ai-estimated-tokens`";
    return false;
}

/* The name behind `header:` in lower case; ptr NULL: no memory. */
static struct vx_slice header_name(struct vx_slice text, struct vx_arena *arena) {
    struct vx_slice name = vx_slice_skip(text, header_prefix.len);
    char *out = vx_arena_alloc(arena, name.len);
    for (size_t i = 0; out && i < name.len; i++)
        out[i] = vx_lower(name.ptr[i]);
    return vx_slice(out, name.len);
}

static bool read_part(struct vx_slice text, struct vx_config_limit_part *part, struct vx_arena *arena) {
    *part = (struct vx_config_limit_part){.kind = VX_LIMIT_BY_CLIENT};
    if (vx_slice_eq(text, VX_SLICE("route")))
        part->kind = VX_LIMIT_BY_ROUTE;
    if (!vx_slice_starts_with(text, header_prefix))
        return true;
    part->kind = VX_LIMIT_BY_HEADER;
    part->header = header_name(text, arena);
    return part->header.ptr != NULL;
}

bool vx_config_complete_limit(struct vx_config_rate_limit *limit, struct vx_slice scope,
                              struct vx_arena *arena) {
    limit->scope = scope;
    if (!limit->burst)
        limit->burst = (uint32_t)limit->requests;
    limit->parts = vx_arena_alloc(arena, (limit->key_count + 1) * sizeof *limit->parts);
    if (!limit->parts)
        return false;
    for (uint32_t i = 0; i < limit->key_count; i++)
        if (!read_part(limit->key_texts[i], &limit->parts[i], arena))
            return false;
    if (!limit->cost_text.len)
        return true;
    limit->cost_header = header_name(limit->cost_text, arena);
    return limit->cost_header.ptr != NULL;
}
