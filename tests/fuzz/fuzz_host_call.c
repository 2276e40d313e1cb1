/* SPDX-License-Identifier: Apache-2.0 */
/* Host functions with any arguments over any memory: whatever a guest asks, the host stays whole. An input is a list of
 * calls: which function, its arguments (most of them small, so that they mean something), and bytes put into the guest's
 * memory before it. */
#include <stdlib.h>

#include "core/base/assert.h"
#include "filters/proxy_wasm/call.h"
#include "filters/proxy_wasm/host.h"
#include "filters/proxy_wasm/hub.h"
#include "support/fake_filter_stream.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { CALLS_MAX = 64, PAGE = 65536 };

/* (module (memory (export "memory") 1) (func (export "proxy_abi_version_0_2_0"))
 *   (func (export "malloc") (param i32) (result i32) (i32.const 40000))) */
static const uint8_t guest[] = {
    0x00, 'a',  's',  'm',  0x01, 0x00, 0x00, 0x00, 0x01, 0x09, 0x02, 0x60, 0x00, 0x00, 0x60,
    0x01, 0x7f, 0x01, 0x7f, 0x03, 0x03, 0x02, 0x00, 0x01, 0x05, 0x03, 0x01, 0x00, 0x01, 0x07,
    0x2d, 0x03, 0x06, 'm',  'e',  'm',  'o',  'r',  'y',  0x02, 0x00, 0x17, 'p',  'r',  'o',
    'x',  'y',  '_',  'a',  'b',  'i',  '_',  'v',  'e',  'r',  's',  'i',  'o',  'n',  '_',
    '0',  '_',  '2',  '_',  '0',  0x00, 0x00, 0x06, 'm',  'a',  'l',  'l',  'o',  'c',  0x00,
    0x01, 0x0a, 0x0b, 0x02, 0x02, 0x00, 0x0b, 0x06, 0x00, 0x41, 0xc0, 0xb8, 0x02, 0x0b,
};

static enum vx_pwasm_status (*const functions[])(struct vx_pwasm_vm *vm, const uint32_t *a) = {
#define X(name, type) vx_pwasm_host_##name,
    VX_PWASM_FUNCTION_LIST(X)
#undef X
};

struct world {
    struct vx_pwasm_hub hub;
    struct vx_pwasm_plan plan;
    struct vx_pwasm_vm vm;
    struct vx_filter_stream stream;
};

/* Compiled once. */
static const struct vx_pwasm_code *code(void) {
    static struct vx_pwasm_code one;
    struct vx_wasm_settings settings = {.instances = 2};
    struct vx_wasm_module module;
    struct vx_wasm_text why;
    if (one.module.module)
        return &one;
    struct vx_wasm_engine *engine = vx_wasm_engine_new(&settings);
    VX_CHECK(engine && vx_wasm_module_load(&module, engine, vx_slice((const char *)guest, sizeof guest),
                                           vx_pwasm_imports(), &why));
    VX_CHECK(vx_pwasm_code_init(&one, &module, &why));
    return &one;
}

static struct world *begin(void) {
    struct world *w = calloc(1, sizeof *w);
    struct vx_wasm_fault fault;
    VX_CHECK(w && vx_pwasm_hub_init(&w->hub, NULL));
    w->plan.code = *code();
    w->plan.name = VX_SLICE("fuzzed");
    w->plan.config = w->plan.vm_config = VX_SLICE("{\"some\":\"configuration\"}");
    w->plan.hub = &w->hub;
    w->plan.scope = vx_pwasm_scope_hold(w->hub.shared, w->plan.name);
    w->plan.body_bytes = 1000;
    vx_pwasm_vm_lend(&w->vm, &w->plan, NULL, 0);
    fake_filter_stream_init(&w->stream);
    w->stream.has_body[0] = w->stream.has_body[1] = true;
    w->stream.body_len[0] = 100;
    for (int i = 0; i < 4; i++)
        w->stream.has_map[i] = w->stream.writable[i] = true;
    w->vm.root.stream = &w->stream;
    VX_CHECK(vx_wasm_instance_open(&w->vm.sandbox, &w->plan.code.module, &w->vm, PAGE, UINT64_C(60000000000),
                                   &fault));
    VX_CHECK(vx_wasm_instance_function(&w->vm.sandbox, w->plan.code.allocator, &w->vm.allocator));
    return w;
}

static void finish(struct world *w) {
    vx_pwasm_calls_drop(&w->vm);
    vx_wasm_instance_close(&w->vm.sandbox);
    vx_pwasm_scope_drop(w->plan.scope);
    vx_pwasm_hub_free(&w->hub);
    free(w);
}

static uint32_t take(const uint8_t **at, const uint8_t *end, int bytes) {
    uint32_t n = 0;
    for (; bytes > 0 && *at < end; bytes--)
        n = n << 8 | *(*at)++;
    return n;
}

/* An argument: a byte says how wide it is. */
static uint32_t take_argument(const uint8_t **at, const uint8_t *end) {
    static const int widths[] = {0, 1, 1, 1, 1, 2, 2, 4};
    return take(at, end, widths[take(at, end, 1) % 8]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const uint8_t *at = data, *end = data + size;
    struct world *w = begin();
    for (int call = 0; call < CALLS_MAX && at < end; call++) {
        uint32_t which = take(&at, end, 1) % (sizeof functions / sizeof functions[0]);
        uint32_t a[VX_PWASM_ARGUMENTS_MAX];
        for (int i = 0; i < VX_PWASM_ARGUMENTS_MAX; i++)
            a[i] = take_argument(&at, end);
        uint32_t n = take(&at, end, 1), place = take(&at, end, 1);
        if (n > (uint32_t)(end - at))
            n = (uint32_t)(end - at);
        if (n)
            memcpy(vx_wasm_instance_bytes(&w->vm.sandbox, place, n), at, n);
        at += n;
        functions[which](&w->vm, a);
        VX_CHECK(!w->vm.nested_fault);
    }
    finish(w);
    return 0;
}
