/* SPDX-License-Identifier: Apache-2.0 */
/* Which names are watched: a refused configuration leaves those in use alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
/* cmocka.h wants the three above. */
#include <cmocka.h>

#include "core/base/random.h"
#include "proxy/control/names.h"
#include "proxy/engine.h"

struct world {
    struct vx_engine engine;
    struct vx_names names;
    unsigned changed;
    struct vx_config_backend backends[2];
    struct vx_config_route route;
    struct vx_config config;
};

static void changed(void *user) {
    ((struct world *)user)->changed++;
}

static struct world *start(void) {
    struct world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    assert_true(vx_engine_init(&w->engine, 0));
    vx_names_init(&w->names, w->engine.loop, changed, w);
    w->route = (struct vx_config_route){.backends = w->backends, .backend_count = 1};
    w->config = (struct vx_config){.routes = &w->route, .route_count = 1};
    return w;
}

static void end(struct world *w) {
    vx_names_free(&w->names);
    vx_engine_free(&w->engine);
    free(w);
}

static struct vx_config_backend named(const char *name) {
    return (struct vx_config_backend){
        .address = {.kind = VX_ADDRESS_NAME, .port = 80, .text = vx_slice_of(name)}};
}

static bool is_watched(struct world *w, const char *name) {
    uint32_t count;
    vx_names_find(&w->names, vx_slice_of(name), &count);
    const char *why = NULL;
    struct vx_name *first = w->names.first;
    struct vx_config_backend backend = named(name);
    struct vx_config_route route = {.backends = &backend, .backend_count = 1};
    struct vx_config config = {.routes = &route, .route_count = 1};
    /* Watching what is watched already adds nothing. */
    assert_true(vx_names_watch(&w->names, &config, &why));
    return w->names.first == first;
}

static void test_addresses_need_no_resolver(void **state) {
    (void)state;
    struct world *w = start();
    const char *why = NULL;
    w->backends[0].address = (struct vx_address){.kind = VX_ADDRESS_IP4, .port = 80, .ip = {127, 0, 0, 1}};
    assert_true(vx_names_watch(&w->names, &w->config, &why));
    assert_null(w->names.resolver);
    assert_true(vx_names_settled(&w->names));
    end(w);
}

static void test_a_name_of_the_hosts_file_is_answered(void **state) {
    (void)state;
    struct world *w = start();
    const char *why = NULL;
    w->backends[0] = named("localhost");
    assert_true(vx_names_watch(&w->names, &w->config, &why));
    assert_false(vx_names_settled(&w->names)); /* never from inside the call */
    assert_int_equal(w->changed, 0);
    for (unsigned i = 0; i < 1000 && !vx_names_settled(&w->names); i++)
        vx_loop_run_once(w->engine.loop, 10000000);
    uint32_t count;
    const struct vx_address *addresses = vx_names_find(&w->names, VX_SLICE("LOCALHOST"), &count);
    assert_true(count >= 1);
    assert_true(addresses[0].kind == VX_ADDRESS_IP4 || addresses[0].kind == VX_ADDRESS_IP6);
    assert_int_equal(w->changed, 1);
    end(w);
}

static void test_what_is_in_use_stays_until_it_is_forgotten(void **state) {
    (void)state;
    struct world *w = start();
    const char *why = NULL;
    struct vx_config_backend next = named("next.invalid");
    struct vx_config_route route = {.backends = &next, .backend_count = 1};
    struct vx_config other = {.routes = &route, .route_count = 1};
    w->backends[0] = named("used.invalid");
    assert_true(vx_names_watch(&w->names, &w->config, &why));
    vx_names_forget(&w->names, &w->config);
    assert_true(is_watched(w, "used.invalid"));
    /* A reload that is refused later: */
    assert_true(vx_names_watch(&w->names, &other, &why));
    assert_true(is_watched(w, "used.invalid"));
    assert_true(is_watched(w, "next.invalid"));
    vx_names_forget(&w->names, &w->config);
    assert_true(is_watched(w, "used.invalid"));
    assert_false(is_watched(w, "next.invalid"));
    /* One that is taken up: */
    vx_names_forget(&w->names, &other);
    assert_true(is_watched(w, "next.invalid"));
    assert_false(is_watched(w, "used.invalid"));
    vx_names_forget(&w->names, NULL);
    assert_null(w->names.first);
    end(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses_need_no_resolver),
        cmocka_unit_test(test_a_name_of_the_hosts_file_is_answered),
        cmocka_unit_test(test_what_is_in_use_stays_until_it_is_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
