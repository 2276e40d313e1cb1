/* SPDX-License-Identifier: Apache-2.0 */
/* See module.h. */
#include "filters/wasm/module.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "filters/wasm/cache.h"

__attribute__((format(printf, 2, 3))) static bool explain(struct vx_wasm_text *why, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(why->text, sizeof why->text, format, args);
    va_end(args);
    return false;
}

/* Takes `error` over. */
static bool explain_error(struct vx_wasm_text *why, const char *what, wasmtime_error_t *error) {
    wasm_name_t message;
    wasmtime_error_message(error, &message);
    /* The causes follow the message, each on a line of its own. */
    for (size_t i = 0; i < message.size; i++)
        if ((unsigned char)message.data[i] < ' ')
            message.data[i] = ' ';
    explain(why, "%s: %.*s", what, (int)message.size, message.data);
    wasm_byte_vec_delete(&message);
    wasmtime_error_delete(error);
    return false;
}

/* Types in short */

static bool put_types(char *out, size_t *at, const wasm_valtype_vec_t *types) {
    for (size_t i = 0; i < types->size; i++) {
        wasm_valkind_t kind = wasm_valtype_kind(types->data[i]);
        if (*at + 2 >= VX_WASM_TYPE_MAX || (kind != WASM_I32 && kind != WASM_I64))
            return false;
        out[(*at)++] = kind == WASM_I32 ? 'i' : 'I';
    }
    return true;
}

static void shorten(const wasm_functype_t *type, char out[VX_WASM_TYPE_MAX]) {
    size_t at = 0;
    bool whole = put_types(out, &at, wasm_functype_params(type));
    if (whole) {
        out[at++] = ':';
        whole = put_types(out, &at, wasm_functype_results(type));
    }
    out[whole ? at : 0] = '\0';
}

static void lengthen_part(const char **at, char end, wasm_valtype_vec_t *types) {
    wasm_valtype_t *list[VX_WASM_TYPE_MAX];
    size_t n = 0;
    for (; **at != end; ++*at)
        list[n++] = **at == 'i' ? wasm_valtype_new_i32() : wasm_valtype_new_i64();
    wasm_valtype_vec_new(types, n, list);
}

static wasm_functype_t *lengthen(const char *type) {
    wasm_valtype_vec_t params, results;
    lengthen_part(&type, ':', &params);
    type++;
    lengthen_part(&type, '\0', &results);
    return wasm_functype_new(&params, &results);
}

static bool same_name(const wasm_name_t *name, struct vx_slice text) {
    return vx_slice_eq(vx_slice(name->data, name->size), text);
}

/* Imports */

static bool names(const struct vx_wasm_import *row, const wasm_importtype_t *import) {
    return same_name(wasm_importtype_module(import), vx_slice_of(row->module)) &&
           same_name(wasm_importtype_name(import), vx_slice_of(row->name));
}

/* Whether the import is one of the rows, with its type. */
static bool check_import(const wasm_importtype_t *import, const struct vx_wasm_imports *imports,
                         struct vx_wasm_text *why) {
    const wasm_name_t *module = wasm_importtype_module(import), *name = wasm_importtype_name(import);
    const wasm_functype_t *function = wasm_externtype_as_functype_const(wasm_importtype_type(import));
    for (size_t i = 0; i < imports->count; i++) {
        const struct vx_wasm_import *row = &imports->rows[i];
        if (!names(row, import))
            continue;
        char type[VX_WASM_TYPE_MAX] = "";
        if (function)
            shorten(function, type);
        if (function && strcmp(type, row->type) == 0)
            return true;
        return explain(why, "it imports %s.%s with another type than (%s) it has here (i: i32, I: i64)",
                       row->module, row->name, row->type);
    }
    return explain(why, "it imports %.*s.%.*s, which Vortex does not have", (int)module->size, module->data,
                   (int)name->size, name->data);
}

static bool check_imports(const wasmtime_module_t *module, const struct vx_wasm_imports *imports,
                          struct vx_wasm_text *why) {
    wasm_importtype_vec_t list;
    wasmtime_module_imports(module, &list);
    bool fine = true;
    for (size_t i = 0; i < list.size && fine; i++)
        fine = check_import(list.data[i], imports, why);
    wasm_importtype_vec_delete(&list);
    return fine;
}

static bool define(wasmtime_linker_t *linker, const struct vx_wasm_import *row, struct vx_wasm_text *why) {
    wasm_functype_t *type = lengthen(row->type);
    wasmtime_error_t *error = wasmtime_linker_define_func_unchecked(
        linker, row->module, strlen(row->module), row->name, strlen(row->name), type, row->call,
        (void *)(uintptr_t)row->data, NULL);
    wasm_functype_delete(type);
    return !error || explain_error(why, row->name, error);
}

static bool link(struct vx_wasm_module *m, const struct vx_wasm_imports *imports, struct vx_wasm_text *why) {
    if (!check_imports(m->module, imports, why))
        return false;
    wasmtime_linker_t *linker = wasmtime_linker_new(m->engine->engine);
    bool fine = true;
    for (size_t i = 0; i < imports->count && fine; i++)
        fine = define(linker, &imports->rows[i], why);
    if (fine) {
        wasmtime_error_t *error = wasmtime_linker_instantiate_pre(linker, m->module, &m->linked);
        fine = !error || explain_error(why, "it cannot be linked", error);
    }
    wasmtime_linker_delete(linker);
    return fine;
}

/* Compiling */

static bool from_cache(struct vx_wasm_module *m, const struct vx_wasm_key *key) {
    uint8_t *content;
    size_t bytes;
    if (!m->engine->cache_dir || !vx_wasm_cache_read(m->engine->cache_dir, key, &content, &bytes))
        return false;
    wasmtime_error_t *error = wasmtime_module_deserialize(m->engine->engine, content, bytes, &m->module);
    free(content);
    m->cached = !error;
    if (!error)
        return true;
    /* Compiled for another processor, or with other settings. */
    wasmtime_error_delete(error);
    vx_wasm_cache_forget(m->engine->cache_dir, key);
    return false;
}

/* That it cannot be kept costs the next start some time, and is no reason not to run now. */
static void to_cache(const struct vx_wasm_module *m, const struct vx_wasm_key *key) {
    wasm_byte_vec_t content;
    wasmtime_error_t *error = m->engine->cache_dir ? wasmtime_module_serialize(m->module, &content) : NULL;
    if (error)
        wasmtime_error_delete(error);
    if (error || !m->engine->cache_dir)
        return;
    if (!vx_wasm_cache_write(m->engine->cache_dir, key, (const uint8_t *)content.data, content.size))
        m->engine->cache_error = errno;
    wasm_byte_vec_delete(&content);
}

struct vx_wasm_ahead {
    struct vx_wasm_ahead *next;
    struct vx_wasm_key key;
    wasmtime_module_t *module;
    bool cached;
};

static const struct vx_wasm_ahead *find_ahead(const struct vx_wasm_engine *engine,
                                              const struct vx_wasm_key *key) {
    for (const struct vx_wasm_ahead *a = engine->ahead; a; a = a->next)
        if (memcmp(&a->key, key, sizeof *key) == 0)
            return a;
    return NULL;
}

/* What was compiled ahead stays there: several filters may be of one module. */
static bool from_ahead(struct vx_wasm_module *m, const struct vx_wasm_key *key) {
    const struct vx_wasm_ahead *a = find_ahead(m->engine, key);
    if (!a)
        return false;
    m->module = wasmtime_module_clone(a->module);
    m->cached = a->cached;
    return true;
}

static bool compile(struct vx_wasm_module *m, struct vx_slice binary, struct vx_wasm_text *why) {
    struct vx_wasm_key key = vx_wasm_cache_key(binary);
    if (from_ahead(m, &key) || from_cache(m, &key))
        return true;
    wasmtime_error_t *error =
        wasmtime_module_new(m->engine->engine, (const uint8_t *)binary.ptr, binary.len, &m->module);
    if (error)
        return explain_error(why, "it does not compile", error);
    to_cache(m, &key);
    return true;
}

static bool is_wasm(struct vx_slice binary) {
    return vx_slice_starts_with(binary, vx_slice("\0asm", 4));
}

void vx_wasm_module_compile(struct vx_wasm_engine *engine, struct vx_slice binary) {
    struct vx_wasm_module m = {.engine = engine};
    struct vx_wasm_text why;
    if (!is_wasm(binary))
        return;
    struct vx_wasm_key key = vx_wasm_cache_key(binary);
    struct vx_wasm_ahead *a = find_ahead(engine, &key) ? NULL : calloc(1, sizeof *a);
    if (!a || !compile(&m, binary, &why)) {
        free(a);
        return;
    }
    *a = (struct vx_wasm_ahead){engine->ahead, key, m.module, m.cached};
    engine->ahead = a;
}

void vx_wasm_module_forget(struct vx_wasm_engine *engine) {
    while (engine->ahead) {
        struct vx_wasm_ahead *a = engine->ahead;
        engine->ahead = a->next;
        wasmtime_module_delete(a->module);
        free(a);
    }
}

static bool has_memory(const struct vx_wasm_module *m) {
    wasm_exporttype_vec_t list;
    wasmtime_module_exports(m->module, &list);
    bool found = false;
    for (size_t i = 0; i < list.size && !found; i++)
        found = wasm_externtype_as_memorytype_const(wasm_exporttype_type(list.data[i])) &&
                same_name(wasm_exporttype_name(list.data[i]), VX_SLICE("memory"));
    wasm_exporttype_vec_delete(&list);
    return found;
}

bool vx_wasm_module_load(struct vx_wasm_module *m, struct vx_wasm_engine *engine, struct vx_slice binary,
                         const struct vx_wasm_imports *imports, struct vx_wasm_text *why) {
    *m = (struct vx_wasm_module){.engine = engine};
    if (!is_wasm(binary))
        return explain(why, "it is not a WebAssembly module");
    if (compile(m, binary, why) && link(m, imports, why)) {
        m->has_memory = has_memory(m);
        return true;
    }
    vx_wasm_module_unload(m);
    return false;
}

void vx_wasm_module_unload(struct vx_wasm_module *m) {
    if (m->linked)
        wasmtime_instance_pre_delete(m->linked);
    if (m->module)
        wasmtime_module_delete(m->module);
    m->linked = NULL;
    m->module = NULL;
}

/* Questions */

bool vx_wasm_module_exports(const struct vx_wasm_module *m, struct vx_slice name,
                            char type[VX_WASM_TYPE_MAX]) {
    wasm_exporttype_vec_t list;
    wasmtime_module_exports(m->module, &list);
    bool found = false;
    for (size_t i = 0; i < list.size && !found; i++) {
        const wasm_functype_t *function =
            wasm_externtype_as_functype_const(wasm_exporttype_type(list.data[i]));
        found = function && same_name(wasm_exporttype_name(list.data[i]), name);
        if (found)
            shorten(function, type);
    }
    wasm_exporttype_vec_delete(&list);
    return found;
}

bool vx_wasm_module_wants(const struct vx_wasm_module *m, struct vx_slice module, struct vx_slice name) {
    wasm_importtype_vec_t list;
    wasmtime_module_imports(m->module, &list);
    bool found = false;
    for (size_t i = 0; i < list.size && !found; i++)
        found = same_name(wasm_importtype_module(list.data[i]), module) &&
                same_name(wasm_importtype_name(list.data[i]), name);
    wasm_importtype_vec_delete(&list);
    return found;
}
