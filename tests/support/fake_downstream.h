/* SPDX-License-Identifier: Apache-2.0 */
/* A downstream without a connection, for tests of handlers: takes the answer into memory, gives a scripted request
 * body, and checks the rules of core/ports/stream.h as it goes (one final head, nothing after finish(), one
 * release()). */
#ifndef VX_TESTS_SUPPORT_FAKE_DOWNSTREAM_H
#define VX_TESTS_SUPPORT_FAKE_DOWNSTREAM_H

#include "core/ports/handler.h"

enum { FAKE_PIECES = 16, FAKE_FIELDS = 32, FAKE_INTERIMS = 4 };

struct fake_downstream {
    struct vx_downstream down;
    struct vx_request request;
    struct vx_client_info client;
    struct vx_arena arena;
    struct vx_chunk_source source;
    long chunks;        /* taken from the source and not given back */
    bool out_of_memory; /* the source gives nothing */
    char first[256];    /* the arena's first piece */

    /* The request's body: pieces, then an end of it. */
    struct vx_slice pieces[FAKE_PIECES];
    unsigned piece_count, piece_at;
    bool body_waits;  /* after the pieces: WAIT instead of END */
    bool body_broken; /* after the pieces: FAILED */
    struct vx_headers trailers;
    size_t consumed;

    /* The answer. */
    struct vx_response response; /* a copy; its fields are below */
    char fields[4096];           /* `name: value\n` each */
    uint16_t interims[FAKE_INTERIMS];
    unsigned interim_count;
    bool responded, finished, flushed;
    bool trailers_sent;
    char trailer_fields[1024]; /* `name: value\n` each */
    char *body;                /* from malloc */
    size_t body_len, body_room;

    size_t room;    /* push() takes so many bytes more; SIZE_MAX: any number */
    unsigned again; /* how often on_readable was asked for */
    unsigned released;
};

/* A request for `path` (with `?query`), HTTP/1.1, without fields and body. `f` may be used again after
 * fake_downstream_free. */
void fake_downstream_init(struct fake_downstream *f, enum vx_method method, const char *path);
void fake_downstream_free(struct fake_downstream *f);

void fake_downstream_add_field(struct fake_downstream *f, const char *name, const char *value);

/* One more piece of the body; `bytes` stays the caller's. The framing becomes VX_BODY_LENGTH with the sum. */
void fake_downstream_add_body(struct fake_downstream *f, struct vx_slice bytes);

/* Hands the request to the handler. */
void fake_downstream_begin(struct fake_downstream *f, struct vx_handler *handler, uint64_t now_ns);

/* Gives room for so many bytes more and tells the user. */
void fake_downstream_writable(struct fake_downstream *f, size_t room);

/* Fails the test unless the answer is complete, flushed and released, and (but for HEAD, 204, 304) has the length it
 * announced. */
void fake_downstream_check_done(const struct fake_downstream *f);

/* The body as a slice. */
struct vx_slice fake_downstream_body(const struct fake_downstream *f);

#endif
