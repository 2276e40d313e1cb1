/* SPDX-License-Identifier: Apache-2.0 */
/* URLs of the store of rate limits: what is accepted says where to go, and its parts are not longer than it is. */
#include <stdlib.h>

#include "core/config/rate_store.h"
#include "support/http_check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct vx_test_arena memory;
    const char *must = NULL;
    vx_test_arena_init(&memory, SIZE_MAX);
    struct vx_config_rate_store store = {
        .url = vx_arena_copy(&memory.arena, vx_slice((const char *)data, size))};
    if (!vx_config_check_store(store.url, &must)) {
        vx_test_require(must && must[0]);
    } else {
        vx_test_require(vx_config_complete_store(&store, &memory.arena));
        vx_test_require(store.user.len + store.password.len + store.master.len < size);
        vx_test_require((store.kind == VX_RATE_STORE_MEMORY) == (store.host_count == 0));
        for (uint32_t i = 0; i < store.host_count; i++)
            vx_test_require(store.hosts[i].port != 0 && store.hosts[i].kind != VX_ADDRESS_UNIX);
    }
    vx_test_arena_end(&memory);
    return 0;
}
