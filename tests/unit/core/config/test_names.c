/* SPDX-License-Identifier: Apache-2.0 */
/* Routes by name, held against a plain search. */
#include "core/config/names.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

enum { MOST = 300 };

static char texts[MOST][16];
static struct vx_config_route routes[MOST];

static void check_count(uint32_t count) {
    static char memory[MOST * 16];
    struct vx_arena arena;
    struct vx_config config = {.routes = routes, .route_count = count};
    struct vx_config_names names;
    vx_arena_init(&arena, memory, sizeof(memory), NULL);
    for (uint32_t i = 0; i < count; i++) {
        snprintf(texts[i], sizeof(texts[i]), "r%u", i * 7919 % 601);
        routes[i] = (struct vx_config_route){.name = vx_slice_of(texts[i])};
    }
    assert_true(vx_config_names_build(&names, &config, &arena));
    for (uint32_t i = 1; i < count; i++) {
        const char *a = texts[names.order[i - 1]], *b = texts[names.order[i]];
        assert_true(strcmp(a, b) < 0);
    }
    for (uint32_t i = 0; i < count; i++)
        assert_ptr_equal(vx_config_names_find(&names, vx_slice_of(texts[i])), &routes[i]);
    static const char *const absent[] = {"", "r", "r0000", "q", "s", "r1x"};
    for (size_t i = 0; i < sizeof(absent) / sizeof(*absent); i++)
        assert_null(vx_config_names_find(&names, vx_slice_of(absent[i])));
}

static void every_count(void **state) {
    (void)state;
    for (uint32_t count = 0; count <= MOST; count++)
        check_count(count);
}

/* Equal names stand together, in the order of the file: so the later one is told to be the second. */
static void equal_names(void **state) {
    (void)state;
    static const char *const given[] = {"b", "a", "b", "ab", "a", "", "b"};
    static const uint32_t order[] = {5, 1, 4, 3, 0, 2, 6};
    char memory[256];
    struct vx_arena arena;
    struct vx_config config = {.routes = routes, .route_count = 7};
    struct vx_config_names names;
    vx_arena_init(&arena, memory, sizeof(memory), NULL);
    for (size_t i = 0; i < 7; i++)
        routes[i] = (struct vx_config_route){.name = vx_slice_of(given[i])};
    assert_true(vx_config_names_build(&names, &config, &arena));
    assert_memory_equal(names.order, order, sizeof(order));
    assert_ptr_equal(vx_config_names_find(&names, VX_SLICE("b")), &routes[0]);
}

static void no_memory(void **state) {
    (void)state;
    char memory[16];
    struct vx_arena arena;
    struct vx_config config = {.routes = routes, .route_count = 100};
    struct vx_config_names names;
    vx_arena_init(&arena, memory, sizeof(memory), NULL);
    assert_false(vx_config_names_build(&names, &config, &arena));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_count), cmocka_unit_test(equal_names),
                                       cmocka_unit_test(no_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
