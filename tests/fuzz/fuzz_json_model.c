/* SPDX-License-Identifier: Apache-2.0 */
/* The model of a JSON body, against yyjson: the same texts are JSON, and the same string is found. */
#include <stdlib.h>
#include <yyjson.h>

#include "core/http/json_model.h"
#include "support/http_check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* yyjson reads to any depth; we do not. Strings are skipped over as they stand. */
static bool is_deep(struct vx_slice text) {
    long depth = 0, deepest = 0;
    bool in_string = false;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (in_string && c == '\\')
            i++;
        else if (c == '"')
            in_string = !in_string;
        else if (!in_string && (c == '{' || c == '['))
            deepest = ++depth > deepest ? depth : deepest;
        else if (!in_string && (c == '}' || c == ']'))
            depth--;
    }
    return deepest > VX_JSON_MODEL_DEPTH;
}

/* The last member `model`; NULL when there is none or it is no string. */
static yyjson_val *last_model(yyjson_val *root) {
    yyjson_val *found = NULL, *name;
    yyjson_obj_iter members;
    if (!yyjson_obj_iter_init(root, &members))
        return NULL;
    while ((name = yyjson_obj_iter_next(&members)))
        if (yyjson_equals_strn(name, "model", 5))
            found = yyjson_obj_iter_get_val(name);
    return yyjson_is_str(found) ? found : NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct vx_test_arena memory;
    struct vx_slice model;
    vx_test_arena_init(&memory, SIZE_MAX);
    struct vx_slice text = vx_arena_copy(&memory.arena, vx_slice((const char *)data, size));
    enum vx_json_model_result result = vx_json_model(text, &memory.arena, &model);
    yyjson_read_err error;
    yyjson_doc *doc =
        yyjson_read_opts((char *)(uintptr_t)text.ptr, size, YYJSON_READ_NUMBER_AS_RAW, NULL, &error);
    /* A lone surrogate is JSON (RFC 8259 §8.2), and bytes that are not UTF-8 cannot hide a member: we read on. */
    bool lenient = !doc && (strstr(error.msg, "surrogate") || strstr(error.msg, "UTF-8"));
    if (!lenient && !is_deep(text))
        vx_test_require((result != VX_JSON_MODEL_INVALID) == (doc != NULL));
    if (doc && result != VX_JSON_MODEL_INVALID) {
        yyjson_val *want = last_model(yyjson_doc_get_root(doc));
        vx_test_require((result == VX_JSON_MODEL_FOUND) == (want != NULL));
        if (want)
            vx_test_require(vx_slice_eq(model, vx_slice(yyjson_get_str(want), yyjson_get_len(want))));
    }
    yyjson_doc_free(doc);
    vx_test_arena_end(&memory);
    return 0;
}
