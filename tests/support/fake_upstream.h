/* SPDX-License-Identifier: Apache-2.0 */
/* An HTTP client without connections, for tests of what calls one: keeps what each attempt was sent, and lets the test
 * answer or break it. It checks the rules of core/ports/stream.h (nothing after release(), nothing after finish()). */
#ifndef VX_TESTS_SUPPORT_FAKE_UPSTREAM_H
#define VX_TESTS_SUPPORT_FAKE_UPSTREAM_H

#include "core/ports/http_client.h"

enum { FAKE_UPSTREAMS = 12, FAKE_UPSTREAM_BODY = 262144, FAKE_ANSWER_FIELDS = 8 };

/* One attempt. */
struct fake_upstream {
    struct vx_upstream up;
    const struct vx_target *target;
    const struct vx_tls_session *tls;
    bool fresh;
    enum vx_framing framing; /* of the request's body, as announced */
    char path[128];          /* and this, without the query */
    char fields[4096];       /* `name: value\n` each, as they were when the attempt began */
    char *body;
    size_t body_len;
    size_t room; /* push() takes so many bytes more; SIZE_MAX: any number */
    bool finished, trailers_sent, released;
    bool shares; /* its failure with another one that has counted */
    unsigned flushes, again;

    /* The answer. */
    struct vx_response response;
    struct vx_header items[FAKE_ANSWER_FIELDS + 8];
    struct vx_slice rest;               /* of its body */
    size_t step;                        /* pull() gives so many bytes at once; 0: all */
    bool body_waits;                    /* behind `rest`: WAIT instead of END */
    bool body_broken;                   /* behind `rest`: FAILED */
    struct vx_headers *answer_trailers; /* NULL: none */
};

struct fake_client {
    struct vx_http_client port;
    struct fake_upstream ups[FAKE_UPSTREAMS];
    unsigned count;
    unsigned refuse;                  /* so many opens fail at once */
    enum vx_error_code with;          /* with this */
    bool reused;                      /* attempts go out on pooled connections */
    bool unsent;                      /* attempts have sent nothing yet */
    size_t room;                      /* of each attempt */
    const struct vx_tls_session *tls; /* beneath each attempt; NULL: not known */
};

void fake_client_init(struct fake_client *c);
/* Fails the test when an upstream was not released. */
void fake_client_free(struct fake_client *c);

/* The latest attempt. */
struct fake_upstream *fake_client_last(struct fake_client *c);

void fake_upstream_add_field(struct fake_upstream *u, const char *name, const char *value);
/* Tells the user of a head; for a final one `body` is what pull() gives, its length announced. */
void fake_upstream_answer(struct fake_upstream *u, uint16_t status, const char *body, uint64_t now_ns);
void fake_upstream_fail(struct fake_upstream *u, enum vx_error_code code, uint64_t now_ns);
void fake_upstream_writable(struct fake_upstream *u, size_t room, uint64_t now_ns);
void fake_upstream_readable(struct fake_upstream *u, const char *more, uint64_t now_ns);

#endif
