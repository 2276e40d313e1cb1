/* SPDX-License-Identifier: Apache-2.0 */
/* What a world is made of: how often clients, backends and the wire do what. Rates are per mille. */
#ifndef SIM_SCENARIO_H
#define SIM_SCENARIO_H

#include <stdbool.h>
#include <stdint.h>

struct scenario {
    const char *name, *about;
    uint32_t exchanges; /* in one world of the default run */
    uint32_t share;     /* of the default run's exchanges, in parts */
    uint32_t clients;   /* at a time */

    /* Requests */
    uint32_t pipelined; /* connections that do not wait for answers */
    uint32_t one_shot;  /* connections of a single request */
    uint32_t http2;     /* connections that speak it, with several streams at a time */
    uint32_t http10, head, bodies, chunked, big, expect, upgrade, models, malformed;
    uint32_t bad_body;      /* bodies whose chunked coding breaks in the middle */
    uint32_t odd_routes;    /* no route, redirect, a route that comes and goes */
    uint32_t limited_route; /* to the route with max_connections and a queue */

    /* Clients' manners */
    uint32_t half_close; /* shut after the last request */
    uint32_t vanish;     /* close or reset somewhere */
    uint32_t mute;       /* fall silent for ever somewhere, and leave it to the proxy to end it */
    uint32_t slow;       /* dribble, up to being timed out */
    uint32_t stall;      /* stop reading for a while */
    uint32_t stay;       /* wait for the proxy to close an idle connection */

    /* Backends */
    uint32_t faults;      /* answers that break in some way */
    uint32_t errors;      /* 5xx */
    uint32_t silent;      /* answers that never come, or stop coming */
    uint32_t refuse;      /* connects refused */
    uint32_t unreachable; /* connects that lead nowhere */
    uint32_t outages;     /* times at which a backend is down altogether */
    uint32_t stale;       /* idle connections that the backend closes */
    uint32_t early;       /* answers before the upload has ended */
    uint32_t interim;     /* 1xx before the answer */
    uint32_t until_close, old_backend;
    uint32_t http2_backends; /* routes whose backends speak HTTP/2 */
    uint32_t refuse_streams; /* requests that such a backend refuses unseen */
    uint32_t goaway;         /* requests at which it goes away, leaving them out */
    uint32_t wordless;       /* connections that such a backend resets before its first word */
    uint32_t slow_backend;   /* think for long, short of a timeout */

    /* Rate limits */
    bool limits;         /* routes have some */
    uint32_t late_store; /* questions to the store that are answered later */
    uint32_t away_store; /* questions that are decided without it */

    uint32_t bans; /* requests of clients that are banned */

    /* The wire */
    uint32_t dribble;     /* wires whose segments are a few bytes */
    uint32_t narrow;      /* wires with small buffers */
    uint32_t short_io;    /* reads and writes that do less than they could */
    uint32_t spurious;    /* readiness without reason */
    uint32_t lost_memory; /* chunk takes that fail */
    bool small_chunks;    /* memory comes in small pieces, so that more of it has to be taken */
    bool handshakes;      /* connections of clients begin with one, as TLS does */
    uint32_t body_limit;  /* limits.body_bytes; 0: none */

    uint32_t filters; /* callbacks of filters that hold what they are shown; 0: there are no filters */

    /* Operations */
    uint32_t reload_every_ms; /* 0: never */
    uint32_t drain_after_ms;  /* 0: never */
    uint32_t cut_after_ms;    /* what still runs then is cut; 0: never */

    /* What may be taken for granted */
    bool all_answered;   /* no fault anywhere: each good request gets its backend's answer */
    bool backends_sound; /* clients may do what they like: no backend may be blamed */
    bool reuses;         /* backends keep connections open */
    bool gets_answered;  /* only stale connections: what may be sent again gets its answer */
    bool nothing_done;   /* backends leave requests out, but say so: each good request gets its answer */
};

extern const struct scenario scenarios[];
extern const unsigned scenario_count;

/* NULL: there is none of this name. */
const struct scenario *scenario_find(const char *name);

#endif
