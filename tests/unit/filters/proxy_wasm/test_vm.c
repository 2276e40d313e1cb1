/* SPDX-License-Identifier: Apache-2.0 */
/* The life of an instance: the order of its callbacks, commands and reactors, versions, guests that call back in ways they
 * should not, WASI as runtimes use it at their start. */
#include "filters/proxy_wasm/vm.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "filters/proxy_wasm/host.h"
#include "filters/proxy_wasm/hub.h"
#include "support/fake_filter_stream.h"
#include "support/guest.h"

enum { NOTES = 1024 };

struct world {
    struct vx_wasm_engine *engine;
    struct vx_pwasm_hub hub;
    struct vx_pwasm_plan plan;
    struct vx_filter_stream stream;
    struct vx_log_port log;
    char logged[512]; /* the begin of each line, with a newline */
    unsigned lines;
    struct vx_wasm_text why;
};

static struct world *w; /* the test's own */

static void write_log(const struct vx_log_port *self, enum vx_log_level level, struct vx_slice text) {
    struct world *to = VX_CONTAINER_OF(self, struct world, log);
    (void)level;
    size_t n = strlen(to->logged);
    snprintf(to->logged + n, sizeof to->logged - n, "%.*s\n", text.len < 40 ? (int)text.len : 40, text.ptr);
    to->lines++;
}

static int setup(void **state) {
    (void)state;
    struct vx_wasm_settings settings = {.instances = 4};
    w = calloc(1, sizeof *w);
    w->log = (struct vx_log_port){.least = VX_LOG_DEBUG, .write = write_log};
    w->engine = vx_wasm_engine_new(&settings);
    return w->engine && vx_pwasm_hub_init(&w->hub, &w->log) ? 0 : -1;
}

static int teardown(void **state) {
    (void)state;
    if (w->plan.scope)
        vx_pwasm_scope_drop(w->plan.scope);
    vx_wasm_module_unload(&w->plan.code.module);
    vx_pwasm_hub_free(&w->hub);
    vx_wasm_engine_free(w->engine);
    free(w);
    return 0;
}

/* Starts the guest; NULL with w->why. */
static struct vx_pwasm_vm *start(const char *name, const char *vm_config) {
    struct vx_slice binary = vx_guest_load(name);
    struct vx_wasm_module module;
    if (!vx_wasm_module_load(&module, w->engine, binary, vx_pwasm_imports(), &w->why) ||
        !vx_pwasm_code_init(&w->plan.code, &module, &w->why))
        fail_msg("%s", w->why.text);
    vx_guest_free(binary);
    w->plan.name = VX_SLICE("guest");
    w->plan.config = VX_SLICE("12345");
    w->plan.vm_config = vx_slice_of(vm_config);
    w->plan.memory_bytes = 1 << 20;
    w->plan.time_ns = w->plan.start_time_ns = 100000000;
    w->plan.hub = &w->hub;
    w->plan.scope = vx_pwasm_scope_hold(w->hub.shared, w->plan.name);
    return vx_pwasm_vm_start(&w->plan, NULL, 0, &w->why);
}

static const char *notes(const struct vx_pwasm_vm *vm) {
    return (const char *)vx_wasm_instance_bytes(&vm->sandbox, NOTES, 64);
}

static void test_order_of_a_life(void **state) {
    (void)state;
    struct vx_pwasm_vm *vm = start("order", "123");
    assert_non_null(vm);
    assert_string_equal(notes(vm), "IMRVC");
    struct vx_pwasm_context *c = vx_pwasm_context_open(vm, &w->stream, 1);
    assert_int_equal(c->id, 2);
    assert_ptr_equal(vx_pwasm_vm_find(vm, 2), c);
    assert_ptr_equal(vx_pwasm_vm_find(vm, 1), &vm->root);
    assert_null(vx_pwasm_vm_find(vm, 3));
    vx_pwasm_context_close(c, 1);
    assert_null(vx_pwasm_vm_find(vm, 2));
    assert_string_equal(notes(vm), "IMRVCcdx");
    c = vx_pwasm_context_open(vm, &w->stream, 1);
    assert_int_equal(c->id, 3);
    vx_pwasm_context_close(c, 1);
    vx_pwasm_vm_end(vm);
}

static void test_versions_and_types(void **state) {
    (void)state;
    struct vx_pwasm_vm *vm = start("order", "123");
    const struct vx_pwasm_code *code = &w->plan.code;
    assert_int_equal(code->version, VX_PWASM_0_1_0);
    assert_true(vx_pwasm_code_has(code, VX_PWASM_ON_REQUEST_HEADERS));
    assert_false(code->told_end >> VX_PWASM_ON_REQUEST_HEADERS & 1);
    assert_false(vx_pwasm_code_has(code, VX_PWASM_ON_RESPONSE_HEADERS));
    assert_true(vx_slice_eq(code->allocator, VX_SLICE("malloc")));
    assert_false(code->edits_body);
    vx_pwasm_vm_end(vm);
}

static void test_false_at_start_is_a_refusal(void **state) {
    (void)state;
    assert_null(start("order", "1234"));
    assert_non_null(strstr(w->why.text, "proxy_on_vm_start returned false"));
}

static void test_command_may_end_its_start(void **state) {
    (void)state;
    assert_null(start("command", ""));
    /* It came as far as its configuration, whose exit is a failure. */
    assert_non_null(strstr(w->why.text, "proxy_on_configure failed"));
    assert_non_null(strstr(w->why.text, "proc_exit(3)"));
}

static void test_allocator_that_calls_back_runs_out_of_stack(void **state) {
    (void)state;
    assert_null(start("reenter", "12345"));
    assert_non_null(strstr(w->why.text, "stack"));
}

static void test_allocator_that_never_returns_meets_the_deadline(void **state) {
    (void)state;
    assert_null(start("reenter", "1234"));
    assert_non_null(strstr(w->why.text, "deadline"));
}

/* The list of pairs was measured before the allocator ran: what that adds must not be written past the room it gave. */
static void test_allocator_that_changes_what_it_makes_room_for(void **state) {
    (void)state;
    struct vx_pwasm_vm *vm = start("grows", "");
    assert_non_null(vm);
    fake_filter_stream_init(&w->stream);
    struct vx_pwasm_context *c = vx_pwasm_context_open(vm, &w->stream, 1);
    assert_non_null(c);
    assert_int_equal(notes(vm)[0], '0' + VX_PWASM_INTERNAL_FAILURE);
    vx_pwasm_context_close(c, 1);
    vx_pwasm_vm_end(vm);
}

static void test_wasi(void **state) {
    (void)state;
    static const uint32_t want[] = {
        0,  6,      /* written, six bytes */
        8,          /* no such file */
        21, 28,     /* vectors outside of memory, too many */
        0,  28, 21, /* random bytes: some, too many, nowhere */
        0,  21, 58, /* clocks */
        0,  0,  8,  0, 8, 0, 44,
    };
    struct vx_pwasm_vm *vm = start("wasi", "");
    assert_non_null(vm);
    uint32_t got[sizeof want / sizeof want[0]];
    memcpy(got, notes(vm), sizeof got);
    for (size_t i = 0; i < sizeof want / sizeof want[0]; i++)
        if (got[i] != want[i])
            fail_msg("answer %zu is %u, not %u", i, got[i], want[i]);
    assert_string_equal(w->logged, "filter guest: hello\n");
    vx_pwasm_vm_end(vm);
}

static void test_output_is_logged_by_line(void **state) {
    (void)state;
    assert_null(start("prints", ""));
    /* Of a write as large as the guest's memory no more than its bound: ten lines, each as long as the log takes one. */
    char want[512] =
        "filter guest: panic: odd\nfilter guest: goroutine 1:\nfilter guest: main()\nfilter guest: rest\n";
    enum { WRITE_MAX_BYTES = 16384, LONG_LINES = WRITE_MAX_BYTES / VX_PWASM_LOG_TEXT_MAX + 1 };
    assert_memory_equal(w->logged, want, strlen(want));
    assert_int_equal(w->lines, 4 + LONG_LINES + 1);
    assert_string_equal(strrchr(w->logged, 'p'), "panic:\n");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_order_of_a_life),
        TEST(test_versions_and_types),
        TEST(test_false_at_start_is_a_refusal),
        TEST(test_command_may_end_its_start),
        TEST(test_allocator_that_calls_back_runs_out_of_stack),
        TEST(test_allocator_that_never_returns_meets_the_deadline),
        TEST(test_allocator_that_changes_what_it_makes_room_for),
        TEST(test_wasi),
        TEST(test_output_is_logged_by_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
