/* SPDX-License-Identifier: Apache-2.0 */
/* Targets, paths and hosts: a normal form is its own normal form and holds nothing that had to go; the parts of a target
 * are the whole of it. */
#include <stdlib.h>

#include "core/http/uri.h"
#include "support/http_check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool has_segment(struct vx_slice path, struct vx_slice segment) {
    for (size_t i = 0; i < path.len; i++) {
        struct vx_slice rest = vx_slice_skip(path, i);
        if (rest.ptr[0] == '/' && vx_slice_starts_with(vx_slice_skip(rest, 1), segment) &&
            (rest.len == 1 + segment.len || rest.ptr[1 + segment.len] == '/'))
            return true;
    }
    return false;
}

static void check_path(struct vx_slice path, bool merge_slashes, struct vx_arena *arena) {
    struct vx_slice out, again;
    if (vx_path_normalise(path, merge_slashes, arena, &out))
        return;
    vx_test_require(out.len > 0 && out.len <= path.len && out.ptr[0] == '/');
    vx_test_require(!has_segment(out, VX_SLICE(".")) && !has_segment(out, VX_SLICE("..")));
    vx_test_require(!has_segment(out, VX_SLICE("%2e")) && !has_segment(out, VX_SLICE("%2E%2e")));
    for (size_t i = 0; merge_slashes && i + 1 < out.len; i++)
        vx_test_require(out.ptr[i] != '/' || out.ptr[i + 1] != '/');
    vx_test_require(vx_path_normalise(out, merge_slashes, arena, &again) == VX_ERR_NONE &&
                    vx_slice_eq(out, again));
}

static void check_host(struct vx_slice authority, struct vx_arena *arena) {
    struct vx_slice host, port, again;
    if (vx_host_normalise(authority, arena, &host, &port))
        return;
    vx_test_require(host.len > 0 && host.len + port.len <= authority.len);
    for (size_t i = 0; i < host.len; i++)
        vx_test_require(host.ptr[i] > ' ' && host.ptr[i] < 0x7f && !strchr("/?#@\\", host.ptr[i]) &&
                        vx_lower(host.ptr[i]) == host.ptr[i]);
    for (size_t i = 0; i < port.len; i++)
        vx_test_require(port.ptr[i] >= '0' && port.ptr[i] <= '9');
    /* `a..` loses one dot at a time. */
    if (host.ptr[host.len - 1] != '.')
        vx_test_require(vx_host_normalise(host, arena, &again, NULL) == VX_ERR_NONE &&
                        vx_slice_eq(host, again));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct vx_test_arena memory;
    struct vx_request_target target;
    vx_test_arena_init(&memory, SIZE_MAX);
    struct vx_slice text = vx_arena_copy(&memory.arena, vx_slice((const char *)data, size));
    check_host(text, &memory.arena);
    if (vx_request_target_split(text, &target) == VX_ERR_NONE) {
        size_t parts = target.authority.len + target.path.len + (target.query.ptr ? target.query.len + 1 : 0);
        if (target.form == VX_TARGET_ABSOLUTE)
            parts += target.https ? sizeof "https://" - 1 : sizeof "http://" - 1;
        vx_test_require(parts == text.len);
        if (target.form != VX_TARGET_ASTERISK && target.path.len) {
            check_path(target.path, true, &memory.arena);
            check_path(target.path, false, &memory.arena);
        }
    }
    vx_test_arena_end(&memory);
    return 0;
}
