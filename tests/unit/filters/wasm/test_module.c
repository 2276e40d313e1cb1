/* SPDX-License-Identifier: Apache-2.0 */
/* Loading modules: what is refused and why, what they export and import, and their compiled form on disk. */
#include "filters/wasm/module.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "filters/wasm/cache.h"
#include "support/guest.h"

static wasm_trap_t *nothing(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *v, size_t n) {
    (void)env;
    (void)caller;
    (void)v;
    (void)n;
    return NULL;
}

static const struct vx_wasm_import rows[] = {
    {"env", "add", "ii:i", nothing, NULL},
    {"env", "add64", "iI:I", nothing, NULL},
};
static const struct vx_wasm_imports imports = {rows, sizeof rows / sizeof rows[0]};

struct world {
    struct vx_wasm_engine *engine;
    char dir[64], cache[128];
    struct vx_slice binary;
};

static int setup(void **state) {
    struct world *w = calloc(1, sizeof *w);
    snprintf(w->dir, sizeof w->dir, "/tmp/vortex-cache-XXXXXX");
    if (!w || !mkdtemp(w->dir))
        return -1;
    snprintf(w->cache, sizeof w->cache, "%s/a/b", w->dir);
    struct vx_wasm_settings settings = {.instances = 2, .cache_dir = vx_slice_of(w->cache)};
    w->engine = vx_wasm_engine_new(&settings);
    w->binary = vx_guest_load("sandbox");
    *state = w;
    return w->engine ? 0 : -1;
}

static int teardown(void **state) {
    struct world *w = *state;
    char command[128];
    vx_wasm_engine_free(w->engine);
    vx_guest_free(w->binary);
    snprintf(command, sizeof command, "rm -rf '%s'", w->dir);
    int result = system(command);
    free(w);
    return result;
}

static void expect_refusal(struct world *w, struct vx_slice binary, const char *text) {
    struct vx_wasm_module m;
    struct vx_wasm_text why = {""};
    assert_false(vx_wasm_module_load(&m, w->engine, binary, &imports, &why));
    if (!strstr(why.text, text))
        fail_msg("`%s` does not say `%s`", why.text, text);
}

static void test_what_is_no_module_is_refused(void **state) {
    struct world *w = *state;
    expect_refusal(w, VX_SLICE(""), "not a WebAssembly module");
    expect_refusal(w, VX_SLICE("#!/bin/sh"), "not a WebAssembly module");
    expect_refusal(w, vx_slice("\0asm\1\0\0\0\377", 9), "does not compile");
    expect_refusal(w, vx_slice(w->binary.ptr, w->binary.len - 3), "does not compile");
}

static void test_imports_are_checked(void **state) {
    struct world *w = *state;
    struct vx_slice unknown = vx_guest_load("unknown_import"), wrong = vx_guest_load("wrong_import");
    expect_refusal(w, unknown, "env.launch_rocket");
    expect_refusal(w, wrong, "env.add with another type than (ii:i)");
    vx_guest_free(unknown);
    vx_guest_free(wrong);
}

static void test_exports_and_imports_are_known(void **state) {
    struct world *w = *state;
    struct vx_wasm_module m;
    struct vx_wasm_text why;
    char type[VX_WASM_TYPE_MAX];
    assert_true(vx_wasm_module_load(&m, w->engine, w->binary, &imports, &why));
    assert_true(vx_wasm_module_exports(&m, VX_SLICE("call_host64"), type));
    assert_string_equal(type, "iI:I");
    assert_true(vx_wasm_module_exports(&m, VX_SLICE("spin"), type));
    assert_string_equal(type, ":");
    assert_false(vx_wasm_module_exports(&m, VX_SLICE("memory"), type));
    assert_true(m.has_memory);
    assert_true(vx_wasm_module_wants(&m, VX_SLICE("env"), VX_SLICE("add64")));
    assert_false(vx_wasm_module_wants(&m, VX_SLICE("env"), VX_SLICE("spin")));
    vx_wasm_module_unload(&m);
}

static bool load_cached(struct world *w) {
    struct vx_wasm_module m;
    struct vx_wasm_text why;
    assert_true(vx_wasm_module_load(&m, w->engine, w->binary, &imports, &why));
    bool cached = m.cached;
    vx_wasm_module_unload(&m);
    return cached;
}

static void cached_path(struct world *w, char *path, size_t room) {
    struct vx_wasm_key key = vx_wasm_cache_key(w->binary);
    size_t n = (size_t)snprintf(path, room, "%s/", w->cache);
    for (int i = 0; i < VX_WASM_KEY_BYTES; i++)
        n += (size_t)snprintf(path + n, room - n, "%02x", key.bytes[i]);
}

static void overwrite(const char *path, long offset, const char *bytes, size_t n) {
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    fseek(f, offset, offset < 0 ? SEEK_END : SEEK_SET);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    fclose(f);
}

static void test_second_load_comes_from_disk(void **state) {
    struct world *w = *state;
    struct vx_wasm_key key = vx_wasm_cache_key(w->binary);
    vx_wasm_cache_forget(w->cache, &key);
    assert_false(load_cached(w));
    assert_true(load_cached(w));
    char path[256];
    struct stat s;
    cached_path(w, path, sizeof path);
    assert_int_equal(stat(path, &s), 0);
    assert_int_equal(s.st_mode & 0777, 0600);
    assert_int_equal(stat(w->cache, &s), 0);
    assert_int_equal(s.st_mode & 0777, 0700);
}

static void test_where_it_comes_from_is_known_of_what_was_compiled_ahead(void **state) {
    struct world *w = *state;
    struct vx_wasm_key key = vx_wasm_cache_key(w->binary);
    vx_wasm_cache_forget(w->cache, &key);
    vx_wasm_module_compile(w->engine, w->binary);
    assert_false(load_cached(w));
    vx_wasm_module_forget(w->engine);
    vx_wasm_module_compile(w->engine, w->binary);
    assert_true(load_cached(w));
    vx_wasm_module_forget(w->engine);
}

/* Two filters of one module, as for two routes, and no cache. */
static void test_it_is_compiled_ahead_for_all_who_load_it(void **state) {
    struct world *w = *state;
    struct vx_wasm_module m[2];
    struct vx_wasm_text why;
    char *dir = w->engine->cache_dir;
    void *code[2], *end;
    w->engine->cache_dir = NULL;
    vx_wasm_module_compile(w->engine, w->binary);
    vx_wasm_module_compile(w->engine, w->binary);
    for (int i = 0; i < 2; i++) {
        assert_true(vx_wasm_module_load(&m[i], w->engine, w->binary, &imports, &why));
        wasmtime_module_image_range(m[i].module, &code[i], &end);
    }
    assert_ptr_equal(code[0], code[1]);
    vx_wasm_module_forget(w->engine);
    vx_wasm_module_unload(&m[0]);
    vx_wasm_module_unload(&m[1]);
    w->engine->cache_dir = dir;
}

static void test_damaged_file_is_made_anew(void **state) {
    struct world *w = *state;
    char path[256];
    cached_path(w, path, sizeof path);
    load_cached(w);
    overwrite(path, -1, "\xff\xfe", 2); /* longer by one */
    assert_false(load_cached(w));
    assert_true(load_cached(w));
    overwrite(path, 5000, "x", 1);
    assert_false(load_cached(w));
    overwrite(path, 0, "VXWASM99", 8);
    assert_false(load_cached(w));
    assert_int_equal(truncate(path, 100), 0);
    assert_false(load_cached(w));
    assert_int_equal(truncate(path, 10), 0);
    assert_false(load_cached(w));
    assert_true(load_cached(w));
}

static void test_file_that_others_may_write_is_not_read(void **state) {
    struct world *w = *state;
    char path[256];
    cached_path(w, path, sizeof path);
    load_cached(w);
    assert_int_equal(chmod(path, 0620), 0);
    assert_false(load_cached(w));
    assert_true(load_cached(w));
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0); /* whose other end nobody opens */
    assert_false(load_cached(w));
    assert_true(load_cached(w));
}

/* What lies in a folder of others is theirs to choose, whoever the files belong to. */
static void test_folder_that_others_may_write_to_is_not_used(void **state) {
    struct world *w = *state;
    static const mode_t open_modes[] = {0777, 0720, 01777};
    load_cached(w);
    assert_true(load_cached(w));
    for (unsigned i = 0; i < sizeof open_modes / sizeof *open_modes; i++) {
        assert_int_equal(chmod(w->cache, open_modes[i]), 0);
        w->engine->cache_error = 0;
        assert_false(load_cached(w));
        assert_int_equal(w->engine->cache_error, EPERM);
    }
    assert_string_equal(vx_wasm_cache_explain(EPERM),
                        "others may write to it, or it belongs to somebody else");
    assert_string_equal(vx_wasm_cache_explain(ENOSPC), strerror(ENOSPC));
    assert_int_equal(chmod(w->cache, 0755), 0);
    w->engine->cache_error = 0;
    assert_true(load_cached(w));
    assert_int_equal(w->engine->cache_error, 0);
    if (geteuid() != 0)
        return; /* nobody else can give a folder away */
    assert_int_equal(chown(w->cache, 12345, (gid_t)-1), 0);
    assert_false(load_cached(w));
    assert_int_equal(w->engine->cache_error, EPERM);
    assert_int_equal(chown(w->cache, 0, (gid_t)-1), 0);
    assert_true(load_cached(w));
}

/* A file in good order that Wasmtime does not take: compiled by another version, or for another processor. */
static void test_foreign_content_is_compiled_anew(void **state) {
    struct world *w = *state;
    struct vx_wasm_key key = vx_wasm_cache_key(w->binary);
    assert_true(vx_wasm_cache_write(w->cache, &key, (const uint8_t *)"not an image", 12));
    assert_false(load_cached(w));
    assert_true(load_cached(w));
}

static void test_without_a_folder_modules_still_load(void **state) {
    struct world *w = *state;
    char *dir = w->engine->cache_dir, nowhere[] = "/proc/nothing/here";
    w->engine->cache_dir = nowhere;
    assert_false(load_cached(w));
    w->engine->cache_dir = NULL;
    assert_false(load_cached(w));
    w->engine->cache_dir = dir;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_no_module_is_refused),
        cmocka_unit_test(test_imports_are_checked),
        cmocka_unit_test(test_exports_and_imports_are_known),
        cmocka_unit_test(test_second_load_comes_from_disk),
        cmocka_unit_test(test_where_it_comes_from_is_known_of_what_was_compiled_ahead),
        cmocka_unit_test(test_it_is_compiled_ahead_for_all_who_load_it),
        cmocka_unit_test(test_damaged_file_is_made_anew),
        cmocka_unit_test(test_file_that_others_may_write_is_not_read),
        cmocka_unit_test(test_folder_that_others_may_write_to_is_not_used),
        cmocka_unit_test(test_foreign_content_is_compiled_anew),
        cmocka_unit_test(test_without_a_folder_modules_still_load),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
