/* SPDX-License-Identifier: Apache-2.0 */
/* Errors are values. A code says what went wrong, its source who is to blame (only a backend's faults count
 * against a backend), and whether another backend may be tried. */
#ifndef VX_CORE_BASE_ERROR_H
#define VX_CORE_BASE_ERROR_H

#include <stdbool.h>
#include <stdint.h>

enum vx_error_source { VX_BY_CLIENT, VX_BY_BACKEND, VX_BY_SELF };

/* name, HTTP status answered (0: none can be sent), source, stable word for log and span, text for the client.
 * The words are part of the public face: access log, spans and tests rely on them. */
#define VX_ERROR_LIST(X)                                                                                     \
    X(NONE, 0, SELF, "", "")                                                                                 \
    X(BAD_REQUEST, 400, CLIENT, "bad_request", "Bad Request")                                                \
    X(BAD_FRAMING, 400, CLIENT, "bad_framing", "Bad Request")                                                \
    X(BAD_HOST, 400, CLIENT, "bad_host", "Bad Request")                                                      \
    X(BAD_PATH, 400, CLIENT, "bad_path", "Bad Request")                                                      \
    X(NOT_HTTP, 0, CLIENT, "not_http", "")                                                                   \
    X(CLIENT_CERT_REQUIRED, 400, CLIENT, "client_certificate_required", "Client Certificate Required")       \
    X(BANNED, 403, CLIENT, "banned", "Forbidden")                                                            \
    X(NO_ROUTE, 404, CLIENT, "no_route", "Not Found")                                                        \
    X(NO_MODEL, 404, CLIENT, "no_model", "Model Not Found")                                                  \
    X(REQUEST_TIMEOUT, 408, CLIENT, "request_timeout", "Request Timeout")                                    \
    X(BODY_TOO_LARGE, 413, CLIENT, "body_too_large", "Content Too Large")                                    \
    X(URI_TOO_LONG, 414, CLIENT, "uri_too_long", "URI Too Long")                                             \
    X(EXPECTATION_FAILED, 417, CLIENT, "expectation_failed", "Expectation Failed")                           \
    X(FILTER_DENIED, 403, CLIENT, "filter_denied", "Forbidden")                                              \
    X(FILTER_ANSWERED, 0, CLIENT, "filter_answered", "")                                                     \
    X(FILTER_CLOSED, 0, CLIENT, "filter_closed", "")                                                         \
    X(FILTER_FAILED, 500, SELF, "filter_failed", "Internal Server Error")                                    \
    X(FILTER_TIMEOUT, 504, SELF, "filter_timeout", "Gateway Timeout")                                        \
    X(FILTER_BODY_TOO_LARGE, 500, SELF, "filter_body_too_large", "Internal Server Error")                    \
    X(MISDIRECTED, 421, CLIENT, "misdirected_request", "Misdirected Request")                                \
    X(RATE_LIMITED, 429, CLIENT, "rate_limited", "Rate limit exceeded")                                      \
    X(HEADERS_TOO_LARGE, 431, CLIENT, "headers_too_large", "Request Header Fields Too Large")                \
    X(CLIENT_GONE, 0, CLIENT, "client_gone", "")                                                             \
    X(CLIENT_WRITE_TIMEOUT, 0, CLIENT, "client_write_timeout", "")                                           \
    X(NOT_IMPLEMENTED, 501, CLIENT, "not_implemented", "Not Implemented")                                    \
    X(BAD_VERSION, 505, CLIENT, "bad_version", "HTTP Version Not Supported")                                 \
    X(CONNECT_FAILED, 502, BACKEND, "connect_failed", "Bad Gateway")                                         \
    X(CONNECT_TIMEOUT, 504, BACKEND, "connect_timeout", "Gateway Timeout")                                   \
    X(TLS_FAILED, 502, BACKEND, "backend_tls_failed", "Bad Gateway")                                         \
    X(BACKEND_CLOSED, 502, BACKEND, "backend_closed", "Bad Gateway")                                         \
    X(BACKEND_RESET, 502, BACKEND, "backend_reset", "Bad Gateway")                                           \
    X(BAD_RESPONSE, 502, BACKEND, "bad_response", "Bad Gateway")                                             \
    X(RESPONSE_TIMEOUT, 504, BACKEND, "response_timeout", "Gateway Timeout")                                 \
    X(BODY_TIMEOUT, 504, BACKEND, "backend_idle_timeout", "Gateway Timeout")                                 \
    X(WRITE_TIMEOUT, 504, BACKEND, "backend_write_timeout", "Gateway Timeout")                               \
    X(DEADLINE, 504, CLIENT, "deadline_exceeded", "Deadline Exceeded")                                       \
    X(BACKEND_REFUSED, 502, BACKEND, "backend_refused", "Bad Gateway")                                       \
    X(BREAKER_OPEN, 503, BACKEND, "breaker_open", "Service Unavailable")                                     \
    X(NO_BACKEND, 503, BACKEND, "no_backend", "Service Unavailable")                                         \
    X(QUEUE_FULL, 503, SELF, "queue_full", "Service Unavailable")                                            \
    X(QUEUE_TIMEOUT, 503, SELF, "queue_timeout", "Service Unavailable")                                      \
    X(DRAINING, 503, SELF, "draining", "Service Unavailable")                                                \
    X(OUT_OF_MEMORY, 503, SELF, "out_of_memory", "Service Unavailable")

enum vx_error_code {
#define X(name, status, source, word, text) VX_ERR_##name,
    VX_ERROR_LIST(X)
#undef X
        VX_ERR_COUNT
};

struct vx_error {
    enum vx_error_code code;
    enum vx_error_source source;
    bool retryable;     /* nothing of the request can have had an effect yet */
    const char *detail; /* static text for the log, or NULL */
};

struct vx_error_info {
    uint16_t status;
    enum vx_error_source source;
    const char *word;
    const char *text;
};

/* The row of VX_ERROR_LIST for `code`; static, never NULL. Any thread. */
const struct vx_error_info *vx_error_info(enum vx_error_code code);

/* An error with the code's usual source. `detail` is static text or NULL. */
static inline struct vx_error vx_error(enum vx_error_code code, bool retryable, const char *detail) {
    return (struct vx_error){code, vx_error_info(code)->source, retryable, detail};
}

#endif
