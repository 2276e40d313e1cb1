/* SPDX-License-Identifier: Apache-2.0 */
/* The book that is kept of each request: what the client asks, what a backend is to answer, and what each party saw of
 * it. The checks compare these pages. */
#ifndef SIM_EXCHANGE_H
#define SIM_EXCHANGE_H

#include "sim/sim.h"

enum { SIM_BUFFERED_BODY = 100000 }; /* limits.buffered_body */

enum sim_route {
    ROUTE_MAIN,
    ROUTE_LIMITED,
    ROUTE_MODELS,
    ROUTE_REWRITE,
    ROUTE_REDIRECT,
    ROUTE_VARIABLE,
    ROUTE_NONE
};

enum sim_body { BODY_NONE, BODY_LENGTH, BODY_CHUNKED };

/* What is wrong with a request. */
#define SIM_FLAW_LIST(X)                                                                                     \
    X(NONE, 0)                                                                                               \
    X(BOTH_LENGTHS, 400)                                                                                     \
    X(TWO_LENGTHS, 400)                                                                                      \
    X(BAD_LENGTH, 400)                                                                                       \
    X(OLD_CHUNKED, 400)                                                                                      \
    X(NOT_CHUNKED_LAST, 400)                                                                                 \
    X(FOLDED, 400)                                                                                           \
    X(NUL_BYTE, 400)                                                                                         \
    X(BARE_LF, 400)                                                                                          \
    X(SPACE_BEFORE_COLON, 400)                                                                               \
    X(TWO_HOSTS, 400)                                                                                        \
    X(NO_HOST, 400)                                                                                          \
    X(GARBAGE, 400)                                                                                          \
    X(BAD_PATH, 400)                                                                                         \
    X(EXPECTS_MORE, 417)                                                                                     \
    X(NEW_VERSION, 505)                                                                                      \
    X(LONG_TARGET, 414)                                                                                      \
    X(LONG_HEAD, 431)                                                                                        \
    X(CONNECT, 501)                                                                                          \
    X(BAD_CHUNK, 400) /* only in the body: the head is in order */

enum sim_flaw {
#define X(name, status) FLAW_##name,
    SIM_FLAW_LIST(X)
#undef X
        FLAW_COUNT
};

/* What a backend does with one delivery of a request. */
#define SIM_DEED_LIST(X)                                                                                     \
    X(ANSWER)        /* as planned */                                                                        \
    X(RESET_AT_HEAD) /* breaks off when it has the request's head */                                         \
    X(CLOSE_AT_HEAD)                                                                                         \
    X(RESET_IN_UPLOAD)                                                                                       \
    X(RESET_IN_HEAD) /* breaks off inside the answer's head */                                               \
    X(CLOSE_IN_HEAD)                                                                                         \
    X(RESET_IN_BODY)                                                                                         \
    X(CLOSE_IN_BODY)                                                                                         \
    X(GARBAGE)     /* answers with what is not HTTP */                                                       \
    X(BAD_FRAMING) /* length and chunked at once */                                                          \
    X(HUGE_HEAD)                                                                                             \
    X(UNASKED_101)                                                                                           \
    X(BAD_CHUNK) /* chunked coding that breaks in the middle */                                              \
    X(EXTRA)     /* bytes behind the answer */                                                               \
    X(SILENT)    /* never answers */                                                                         \
    X(STALL)     /* stops in the middle of the body */                                                       \
    X(DEAF)      /* reads no further than the head, and answers only an upgrade */

enum sim_deed {
#define X(name) DEED_##name,
    SIM_DEED_LIST(X)
#undef X
        DEED_COUNT
};

enum sim_framing { ANSWER_NONE, ANSWER_LENGTH, ANSWER_CHUNKED, ANSWER_UNTIL_CLOSE };

enum sim_afterwards { AFTER_STAY, AFTER_CLOSE_SAID, AFTER_CLOSE, AFTER_CLOSE_LATER, AFTER_RESET_LATER };

struct answer_plan {
    uint64_t body_bytes, key;
    uint64_t think_ns;
    uint16_t status;
    uint8_t deed;    /* enum sim_deed */
    uint8_t framing; /* enum sim_framing */
    uint8_t interims;
    uint8_t afterwards; /* enum sim_afterwards */
    bool trailers, old; /* HTTP/1.0 */
    bool http2;         /* its backend speaks that */
    bool early;
    bool accepts_upgrade;
    bool head_only; /* HEAD, 204, 304: no body follows */
};

/* One request. */
struct exchange {
    uint32_t id;
    struct client *client;
    const char *method;
    const char *model; /* NULL: none named */
    uint64_t body_bytes;
    uint64_t tunnel_up, tunnel_down; /* bytes each way after a 101 */
    uint8_t route, body, flaw;       /* enum sim_route, sim_body, sim_flaw */
    bool http2, http10, keeps_alive, expects, upgrades, trailers, model_in_body, json_without_model;
    bool idempotent;
    bool must_be_404; /* no backend lists the model, or no route */
    bool behind_flaw; /* pipelined behind a malformed one: never to be looked at */

    /* Seen by the proxy's ports */
    uint32_t begins, records;
    uint16_t recorded_status;
    uint16_t recorded_error;
    bool tunnel_begun, tunnel_ended;
    uint64_t recorded_ns;

    /* Seen by backends */
    uint32_t deliveries; /* heads that arrived */
    uint32_t uploads;    /* bodies that arrived whole */

    /* Seen by the client */
    bool sent_any, sent_whole;
    bool answered;  /* a final head has come, and its body is whole */
    bool head_seen; /* a final head has come */
    bool cut;       /* the connection ended before the answer was whole */
    bool was_reset; /* the connection ended by a reset */
    uint16_t status;
    bool client_at_fault; /* left, or stalled long enough: anything may have happened to it */

    /* What may explain a failure */
    bool excuse_502, excuse_504, excuse_408, excuse_cut;
};

static inline bool exchange_is_head(const struct exchange *e) {
    return e->method[0] == 'H';
}

/* A new request of `client`, made up by the scenario. */
struct exchange *exchange_new(struct sim *sim, struct client *client, bool alone, bool last);

/* NULL: there is none with this number. */
struct exchange *exchange_at(struct sim *sim, uint64_t id);

/* How an answer that was passed on names its way. */
static inline const char *exchange_via(const struct answer_plan *p) {
    return p->http2 ? "2.0 vortex" : p->old ? "1.0 vortex" : "1.1 vortex";
}

/* Byte `at` of its request body. */
unsigned char exchange_body_byte(const struct exchange *e, uint64_t at);

/* What the backend does with the n-th delivery (from 1). The same each time it is asked. */
struct answer_plan exchange_plan(struct sim *sim, const struct exchange *e, uint32_t delivery);

/* The path a backend of its route is to see, and the client to ask for. */
int exchange_path(const struct exchange *e, bool at_backend, char *out, size_t room);

/* Whether the proxy may give it `status` as an answer of its own. */
bool exchange_may_get(const struct sim *sim, const struct exchange *e, unsigned status);

/* The number in `/letter/number...` or `/rewritten/number`; UINT64_MAX: none. */
uint64_t exchange_id_in_path(const char *path, size_t len);

uint16_t exchange_flaw_status(enum sim_flaw flaw);
const char *exchange_flaw_name(enum sim_flaw flaw);
const char *exchange_deed_name(enum sim_deed deed);

/* At the end of the world: what was seen of each request fits together. */
void exchange_check_all(struct sim *sim);

#endif
