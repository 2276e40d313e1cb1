/* SPDX-License-Identifier: Apache-2.0 */
/* See changes.h. */
#include "proxy/control/changes.h"

#include <stdarg.h>
#include <stdio.h>

#include "proxy/telemetry/log.h"

struct list {
    char *out;
    size_t used;
};

static __attribute__((format(printf, 2, 3))) void append(struct list *l, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    int n = vsnprintf(l->out + l->used, VX_CHANGES_TEXT_MAX - l->used, format, arguments);
    va_end(arguments);
    size_t room = VX_CHANGES_TEXT_MAX - 1 - l->used;
    if (n > 0)
        l->used += (size_t)n < room ? (size_t)n : room;
}

static const char *comma(const struct list *l) {
    return l->used ? ", " : "";
}

static void count(struct list *l, const char *what, uint32_t added, uint32_t removed, uint32_t changed) {
    if (!added && !removed && !changed)
        return;
    append(l, "%s%s", comma(l), what);
    if (added)
        append(l, " +%u", added);
    if (removed)
        append(l, " -%u", removed);
    if (changed)
        append(l, " ~%u", changed);
}

static void name_settings(struct list *l, uint32_t settings, bool live) {
    for (unsigned i = 0; i < VX_SETTING_COUNT; i++)
        if ((settings >> i & 1) && vx_config_setting_live((enum vx_config_setting)i) == live)
            append(l, "%s%s", comma(l), vx_config_setting_key((enum vx_config_setting)i));
}

void vx_changes_describe(const struct vx_config_diff *diff, char *out) {
    struct list l = {out, 0};
    out[0] = '\0';
    count(&l, "listeners", diff->listeners_added, diff->listeners_removed, diff->listeners_changed);
    count(&l, "routes", diff->routes_added, diff->routes_removed, diff->routes_changed);
    name_settings(&l, diff->settings, true);
    if (!l.used)
        append(&l, "nothing");
}

void vx_changes_describe_ignored(const struct vx_config_diff *diff, char *out) {
    struct list l = {out, 0};
    out[0] = '\0';
    name_settings(&l, diff->settings, false);
}

void vx_changes_log(const struct vx_config *before, const struct vx_config *after,
                    struct vx_chunk_source *chunks) {
    struct vx_config_diff diff;
    struct vx_arena scratch;
    char text[VX_CHANGES_TEXT_MAX];
    vx_arena_init(&scratch, NULL, 0, chunks);
    bool compared = vx_config_diff(before, after, &scratch, &diff);
    vx_arena_reset(&scratch);
    if (!compared)
        return; /* no memory: the reload itself will say so */
    vx_changes_describe(&diff, text);
    vx_log(VX_LOG_INFO, "the configuration changes: %s", text);
    vx_changes_describe_ignored(&diff, text);
    if (text[0])
        vx_log(VX_LOG_WARN, "changes with a restart only: %s", text);
}
