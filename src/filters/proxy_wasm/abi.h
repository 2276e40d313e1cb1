/* SPDX-License-Identifier: Apache-2.0 */
/* The numbers of the Proxy-WASM ABI, versions 0.1.0, 0.2.0 and 0.2.1 (https://github.com/proxy-wasm/spec), and of WASI
 * preview 1. */
#ifndef VX_FILTERS_PROXY_WASM_ABI_H
#define VX_FILTERS_PROXY_WASM_ABI_H

/* In the order in which they came. 0.1.0 differs in a few answers; 0.2.1 only adds a function. */
enum vx_pwasm_version { VX_PWASM_0_1_0, VX_PWASM_0_2_0, VX_PWASM_0_2_1 };

/* What host functions return. SDKs trap on a status that they do not expect of a function. */
enum vx_pwasm_status {
    VX_PWASM_OK = 0,
    VX_PWASM_NOT_FOUND = 1,
    VX_PWASM_BAD_ARGUMENT = 2,
    VX_PWASM_SERIALIZATION_FAILURE = 3,
    VX_PWASM_PARSE_FAILURE = 4,
    VX_PWASM_INVALID_MEMORY_ACCESS = 6,
    VX_PWASM_EMPTY = 7,
    VX_PWASM_CAS_MISMATCH = 8,
    VX_PWASM_INTERNAL_FAILURE = 10,
    VX_PWASM_UNIMPLEMENTED = 12,
};

enum {
    VX_PWASM_LEVEL_TRACE,
    VX_PWASM_LEVEL_DEBUG,
    VX_PWASM_LEVEL_INFO,
    VX_PWASM_LEVEL_WARN,
    VX_PWASM_LEVEL_ERROR,
    VX_PWASM_LEVEL_CRITICAL,
    VX_PWASM_LEVEL_COUNT
};

enum vx_pwasm_buffer {
    VX_PWASM_REQUEST_BODY,
    VX_PWASM_RESPONSE_BODY,
    VX_PWASM_DOWNSTREAM_DATA,
    VX_PWASM_UPSTREAM_DATA,
    VX_PWASM_CALL_BODY,
    VX_PWASM_GRPC_MESSAGE,
    VX_PWASM_VM_CONFIGURATION,
    VX_PWASM_PLUGIN_CONFIGURATION,
    VX_PWASM_FOREIGN_ARGUMENTS,
    VX_PWASM_BUFFER_COUNT
};

/* The first four are enum vx_filter_map. */
enum vx_pwasm_map {
    VX_PWASM_GRPC_INITIAL_METADATA = 4,
    VX_PWASM_GRPC_TRAILING_METADATA,
    VX_PWASM_CALL_HEADERS,
    VX_PWASM_CALL_TRAILERS,
    VX_PWASM_MAP_COUNT
};

enum {
    VX_PWASM_STREAM_REQUEST,
    VX_PWASM_STREAM_RESPONSE,
    VX_PWASM_STREAM_DOWNSTREAM,
    VX_PWASM_STREAM_UPSTREAM
};

enum vx_pwasm_metric { VX_PWASM_COUNTER, VX_PWASM_GAUGE, VX_PWASM_HISTOGRAM, VX_PWASM_METRIC_COUNT };

enum vx_wasi_errno {
    VX_WASI_SUCCESS = 0,
    VX_WASI_BADF = 8,
    VX_WASI_EXIST = 20,
    VX_WASI_FAULT = 21,
    VX_WASI_INVAL = 28,
    VX_WASI_NOENT = 44,
    VX_WASI_NOSYS = 52,
    VX_WASI_NOTSUP = 58,
};

/* What a guest may export: name in the code, its name, its type (see filters/wasm/module.h). */
#define VX_PWASM_EXPORT_LIST(X)                                                                              \
    X(CONTEXT_CREATE, "proxy_on_context_create", "ii:")                                                      \
    X(VM_START, "proxy_on_vm_start", "ii:i")                                                                 \
    X(CONFIGURE, "proxy_on_configure", "ii:i")                                                               \
    X(TICK, "proxy_on_tick", "i:")                                                                           \
    X(QUEUE_READY, "proxy_on_queue_ready", "ii:")                                                            \
    X(REQUEST_HEADERS, "proxy_on_request_headers", "iii:i")                                                  \
    X(REQUEST_BODY, "proxy_on_request_body", "iii:i")                                                        \
    X(REQUEST_TRAILERS, "proxy_on_request_trailers", "ii:i")                                                 \
    X(RESPONSE_HEADERS, "proxy_on_response_headers", "iii:i")                                                \
    X(RESPONSE_BODY, "proxy_on_response_body", "iii:i")                                                      \
    X(RESPONSE_TRAILERS, "proxy_on_response_trailers", "ii:i")                                               \
    X(HTTP_CALL_RESPONSE, "proxy_on_http_call_response", "iiiii:")                                           \
    X(GRPC_INITIAL_METADATA, "proxy_on_grpc_receive_initial_metadata", "iii:")                               \
    X(GRPC_RECEIVE, "proxy_on_grpc_receive", "iii:")                                                         \
    X(GRPC_TRAILING_METADATA, "proxy_on_grpc_receive_trailing_metadata", "iii:")                             \
    X(GRPC_CLOSE, "proxy_on_grpc_close", "iii:")                                                             \
    X(DONE, "proxy_on_done", "i:i")                                                                          \
    X(LOG, "proxy_on_log", "i:")                                                                             \
    X(DELETE, "proxy_on_delete", "i:")

enum vx_pwasm_export {
#define X(name, text, type) VX_PWASM_ON_##name,
    VX_PWASM_EXPORT_LIST(X)
#undef X
        VX_PWASM_EXPORT_COUNT
};

#endif
