/* SPDX-License-Identifier: Apache-2.0 */
/* A configuration with the certificates it names: loaded together or refused together. */
#include "support/file.h"
#include "support/tls.h"
#include "unit/proxy/control/control_test.h"

static struct vx_test_certs certs;
static struct vx_tls_tickets *tickets;

static int begin(void **state) {
    (void)state;
    vx_test_certs_start(&certs, "setup test");
    vx_test_cert(&certs, "server", "a.example");
    vx_test_cert(&certs, "other", "b.example");
    tickets = vx_tls_tickets_new(0);
    return tickets ? 0 : -1;
}

static int finish(void **state) {
    (void)state;
    vx_tls_tickets_drop(tickets);
    vx_test_certs_end(&certs);
    return 0;
}

static struct vx_setup *load(const char *text, struct vx_config_error *error) {
    char path[128];
    vx_test_write(&certs, "vortex.yaml", text);
    snprintf(path, sizeof path, "%s/vortex.yaml", certs.folder);
    return vx_setup_load(path, tickets, NULL, error);
}

#define ROUTE(name, tls)                                                                                     \
    "  - name: " name "\n    match: { path_prefix: /" name " }\n"                                            \
    "    backends: [ { id: 1, address: 127.0.0.1:9 } ]\n" tls

static void test_certificates_are_loaded_with_the_file(void **state) {
    (void)state;
    struct vx_config_error error;
    struct vx_setup *s = load("listeners:\n  - address: 127.0.0.1:1\n  - address: 127.0.0.1:2\n"
                              "    tls: { cert: server.pem, key: server.key }\nroutes:\n" ROUTE("r", ""),
                              &error);
    assert_non_null(s);
    assert_null(s->servers[0]);
    assert_non_null(s->servers[1]);
    assert_null(s->clients[0]);
    assert_int_equal(s->client_identities[0], 0);
    vx_setup_drop(vx_setup_hold(s)); /* one hold is left */
    assert_non_null(s->config);
    vx_setup_drop(s);
    vx_setup_drop(NULL);
}

static void test_a_bad_certificate_is_named_with_its_place(void **state) {
    (void)state;
    struct vx_config_error error;
    assert_null(load("listeners:\n  - address: 127.0.0.1:2\n    tls: { cert: missing.pem, key: server.key }\n"
                     "routes:\n" ROUTE("r", ""),
                     &error));
    assert_int_equal(error.place.line, 3);
    assert_non_null(strstr(error.text, "missing.pem"));
    assert_null(load("listeners:\n  - address: 127.0.0.1:2\n    tls: { cert: server.pem, key: other.key }\n"
                     "routes:\n" ROUTE("r", ""),
                     &error));
    assert_int_equal(error.place.line, 3);
    assert_null(
        load("listeners:\n  - address: 127.0.0.1:2\nroutes:\n" ROUTE("r", "    tls: { ca: missing.pem }\n"),
             &error));
    assert_int_equal(error.place.line, 7);
    assert_null(load("nonsense", &error));
}

#define THREE                                                                                                \
    "listeners:\n  - address: 127.0.0.1:2\nroutes:\n" ROUTE("a", "    tls: { ca: ca.pem }\n")                \
        ROUTE("b", "    tls: { ca: ca.pem }\n")                                                              \
            ROUTE("c", "    tls: { ca: ca.pem, server_name: x.example }\n")

static void test_the_way_to_speak_has_an_identity(void **state) {
    (void)state;
    struct vx_config_error error;
    struct vx_setup *s = load(THREE, &error);
    assert_non_null(s);
    assert_int_not_equal(s->client_identities[0], 0);
    assert_int_equal(s->client_identities[0], s->client_identities[1]);
    assert_ptr_equal(s->clients[0], s->clients[1]); /* alike: one context, one cache of sessions */
    assert_int_not_equal(s->client_identities[0], s->client_identities[2]);
    assert_ptr_not_equal(s->clients[0], s->clients[2]);
    uint64_t before = s->client_identities[0];
    vx_setup_drop(s);
    s = load(THREE, &error);
    assert_int_equal(s->client_identities[0], before); /* the same over reloads */
    vx_setup_drop(s);
    /* Other contents under the same name: idle connections made with the old ones must not be used again. */
    char path[128];
    size_t bytes;
    snprintf(path, sizeof path, "%s/other.pem", certs.folder);
    char *text = vx_test_read_file(path, &bytes);
    vx_test_write(&certs, "ca.pem", text);
    free(text);
    s = load(THREE, &error);
    assert_non_null(s);
    assert_int_not_equal(s->client_identities[0], before);
    vx_setup_drop(s);
}

/* An engine that loads anything but "bad" and counts what is held. */

static unsigned held;

static void configure(struct vx_filter_engine *self, const struct vx_config_wasm *config) {
    (void)self, (void)config;
}

static struct vx_filter *load_filter(struct vx_filter_engine *self, const struct vx_config_filter *config,
                                     struct vx_slice binary, struct vx_config_error *error) {
    (void)self;
    if (vx_slice_eq(binary, VX_SLICE("bad"))) {
        *error = (struct vx_config_error){config->wasm_place, "it is bad"};
        return NULL;
    }
    struct vx_filter *f = calloc(1, sizeof *f);
    assert_non_null(f);
    f->body_bytes = (uint32_t)binary.len; /* tells them apart */
    held++;
    return f;
}

static void drop_filter(struct vx_filter_engine *self, struct vx_filter *f) {
    (void)self;
    free(f);
    held--;
}

static struct vx_filter_engine engine = {.configure = configure, .load = load_filter, .drop = drop_filter};

static struct vx_setup *load_with_filters(void) {
    struct vx_config_error error;
    char path[128];
    vx_test_write(&certs, "one.wasm", "");
    vx_test_write(&certs, "two.wasm", "");
    vx_test_write(&certs, "vortex.yaml",
                  "listeners:\n  - address: 127.0.0.1:2\n"
                  "filters:\n  - { name: one, wasm: one.wasm }\n  - { name: two, wasm: two.wasm }\n"
                  "routes:\n" ROUTE("r", ""));
    snprintf(path, sizeof path, "%s/vortex.yaml", certs.folder);
    struct vx_setup *s = vx_setup_load(path, tickets, &engine, &error);
    if (!s)
        fail_msg("%s", error.text);
    return s;
}

static void test_a_filter_is_exchanged(void **state) {
    (void)state;
    struct vx_config_error error;
    struct vx_setup *first = load_with_filters();
    assert_int_equal(held, 2);
    struct vx_setup *second = vx_setup_with_filter(first, 1, VX_SLICE("new"), &error);
    assert_non_null(second);
    assert_int_equal(held, 3);
    assert_ptr_equal(second->config, first->config);
    assert_ptr_equal(second->filters[0], first->filters[0]);
    assert_int_equal(second->filters[1]->body_bytes, 3);
    assert_true(second->loaded[1]->pushed && !second->loaded[0]->pushed);
    vx_setup_drop(first); /* the old module goes, what both have stays */
    assert_int_equal(held, 2);
    struct vx_setup *third = vx_setup_with_filter(second, 0, VX_SLICE("newer"), &error);
    assert_ptr_equal(third->filters[1], second->filters[1]);
    vx_setup_drop(second);
    assert_int_equal(held, 2);
    assert_int_equal(third->config->filter_count, 2);
    vx_setup_drop(third);
    assert_int_equal(held, 0);
}

static void test_a_bad_module_changes_nothing(void **state) {
    (void)state;
    struct vx_config_error error;
    struct vx_setup *s = load_with_filters();
    assert_null(vx_setup_with_filter(s, 0, VX_SLICE("bad"), &error));
    assert_string_equal(error.text, "it is bad");
    assert_int_equal(held, 2);
    assert_int_equal(s->sharers, 1);
    vx_setup_drop(s);
    assert_int_equal(held, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_certificates_are_loaded_with_the_file),
        cmocka_unit_test(test_a_bad_certificate_is_named_with_its_place),
        cmocka_unit_test(test_the_way_to_speak_has_an_identity),
        cmocka_unit_test(test_a_filter_is_exchanged),
        cmocka_unit_test(test_a_bad_module_changes_nothing),
    };
    return cmocka_run_group_tests(tests, begin, finish);
}
