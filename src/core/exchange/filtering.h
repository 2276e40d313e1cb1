/* SPDX-License-Identifier: Apache-2.0 */
/* The filters of one exchange: filtering.c (their part in the exchange's life), filter_flow.c (how a message passes them),
 * filter_pause.c (how long they may hold it), filter_port.c (what filters may ask and do).
 *
 * In each direction the chain is a source: the exchange pulls from it what has passed, and it pulls from what is behind
 * it. So the loop that moves bodies does not know of filters, and a slow reader stops the fast writer through them. */
#ifndef VX_CORE_EXCHANGE_FILTERING_H
#define VX_CORE_EXCHANGE_FILTERING_H

#include "core/exchange/internal.h"
#include "core/ports/filter.h"

/* What one filter does with one direction. See filter_flow.c for how they follow one another. */
#define VX_FILTER_LANE_STATES(X)                                                                             \
    X(AWAITS)    /* nothing of the message has come */                                                       \
    X(HEAD_HELD) /* the filter holds the head */                                                             \
    X(FLOWS)     /* what comes is shown and goes on */                                                       \
    X(BODY_HELD) /* the filter holds what it was shown, more is to come */                                   \
    X(END_HELD)  /* it was shown all and holds it */                                                         \
    X(OVER)      /* all has gone on */

enum vx_filter_lane_state {
#define X(name) VX_LANE_##name,
    VX_FILTER_LANE_STATES(X)
#undef X
};

/* Bytes in the exchange's arena. */
struct vx_filter_bytes {
    char *ptr;
    size_t len, room;
};

struct vx_filter_lane {
    struct vx_filter_bytes held; /* in HEAD_HELD without body_continues: what came meanwhile, not shown yet */
    uint8_t state;               /* enum vx_filter_lane_state */
    uint64_t held_ns;            /* when a pause began that only the filter itself can end */
    bool end;                    /* all of the message has come here */
    bool continued;              /* vx_filter_continue() was called and has not had its effect yet */
};

enum vx_filter_phase { VX_PHASE_NONE, VX_PHASE_HEAD, VX_PHASE_BODY, VX_PHASE_END, VX_PHASE_LOG };

struct vx_filter_stream {
    struct vx_filtering *chain;
    struct vx_filter *filter;
    void *context;
    struct vx_filter_lane lanes[2]; /* by enum vx_filter_direction */
    uint8_t phase;                  /* of the callback that is running; enum vx_filter_phase */
    uint8_t phase_direction;
    bool gone;        /* it failed and the exchange goes on without it */
    bool saw_request; /* its head was shown, or passed for want of a callback */
    bool review;      /* vx_filter_review() was called */
};

/* One direction of the chain. Steps count the filters in the order in which the message passes them. */
struct vx_filter_side {
    struct vx_stream source;    /* what has passed; for the exchange to pull from */
    struct vx_stream *from;     /* what is to pass */
    struct vx_filter_bytes out; /* has passed, from `sent` on */
    size_t sent;
    struct vx_headers *trailers; /* NULL: none */
    struct vx_headers made;      /* trailers that filters gave to a message that had none */
    uint32_t first;              /* steps before it have nothing to do with the message */
    uint32_t at;                 /* the step that holds the head; the number of filters: it has passed */
    bool end_at_head;            /* neither body nor trailers follow */
    bool bodied;                 /* some filter wants to see what follows the head */
    bool read;                   /* `from` is at its end */
    bool done;                   /* the end has passed */
};

struct vx_filter_note;

struct vx_filtering {
    struct vx_exchange *exchange;
    struct vx_filter_stream *streams; /* in the chain's order */
    uint32_t count;
    struct vx_filter_side sides[2]; /* by enum vx_filter_direction */
    struct vx_field_map maps[4];    /* by enum vx_filter_map; headers NULL: not there yet */
    struct vx_response *response;   /* the head that is on its way, NULL: none */
    struct vx_error outcome; /* what a filter has decided and the exchange has to carry out; NONE: nothing */
    struct vx_response *answer; /* with VX_ERR_FILTER_ANSWERED */
    struct vx_slice answer_body;
    struct vx_stream reply; /* source of the body of an answer of our own: `reply_rest` */
    struct vx_slice reply_rest;
    struct vx_carrier carrier;    /* of the last attempt that is over; its session is held */
    struct vx_filter_note *notes; /* what filters left for one another */
    size_t note_bytes;
    struct vx_timer pause_timer; /* set while a filter holds what only itself can let go */
    uint64_t now_ns;             /* of the event that is being handled */
    bool signalled;              /* some stream has something for vx_filtering_settle */
    bool reroute;
};

/* filtering.c */

/* The route is known and the limits let the request pass: the filters of the route are shown it. May end the exchange, as
 * may the next ones. */
void vx_filtering_begin(struct vx_exchange *x, uint64_t now_ns);
/* The downstream is readable, or a filter asked for a turn. */
void vx_filtering_event(struct vx_exchange *x, uint64_t now_ns);
/* A final head, the backend's or ours, is to go through the filters to the client, its body coming from `from`. Takes the
 * place of one that was on its way; nothing has gone to the client. */
void vx_filtering_respond(struct vx_exchange *x, struct vx_response *response, struct vx_stream *from,
                          uint64_t now_ns);
/* The same with a body that lies in memory until the exchange ends. */
void vx_filtering_reply(struct vx_exchange *x, struct vx_response *response, struct vx_slice body,
                        uint64_t now_ns);
/* The same with the answer that a filter has decided on. */
void vx_filtering_answer(struct vx_exchange *x, uint64_t now_ns);
/* A response that a filter holds may have moved. */
void vx_filtering_response_event(struct vx_exchange *x, uint64_t now_ns);
/* What a direction's body is to be pulled from in this event; filters are called for it at `now_ns`. */
struct vx_stream *vx_filtering_source(struct vx_exchange *x, enum vx_filter_direction d, uint64_t now_ns);
/* Whether all of the response has been pulled from the backend, though not all of it has passed. */
bool vx_filtering_has_response(const struct vx_exchange *x);
/* An attempt is over and its upstream about to be released: filters may yet ask what carried it. */
void vx_filtering_note_carrier(struct vx_exchange *x);
/* The filters' part is over; the exchange goes on without them, or ends. */
void vx_filtering_end(struct vx_exchange *x, uint64_t now_ns);

/* filter_flow.c */

extern const struct vx_stream_ops vx_filter_source_ops;
/* The head goes on from step `at`, as far as the filters let it. */
void vx_filtering_pass_head(struct vx_filtering *f, enum vx_filter_direction d);
/* Pulls once and shows it to the filters. BYTES: something came; the others as from pull(). */
enum vx_pull vx_filtering_fill(struct vx_filtering *f, enum vx_filter_direction d);
/* Whether the filters as they stand have any use for more of the body. */
bool vx_filtering_may_read(const struct vx_filtering *f, enum vx_filter_direction d);
/* Carries out what filters did outside of their callbacks. */
void vx_filtering_settle(struct vx_filtering *f);
/* The filter has failed, as `code` says: it is out, or the exchange is. True: the exchange goes on. */
bool vx_filtering_lose(struct vx_filter_stream *s, enum vx_error_code code);
bool vx_filter_bytes_add(struct vx_filtering *f, struct vx_filter_bytes *b, struct vx_slice more);
/* Whether a filter that holds the head is shown the body all the same. */
bool vx_filtering_body_continues(const struct vx_filter_stream *s, enum vx_filter_direction d);

/* filter_pause.c */

/* Whether the filter holds what no further callback of the stream will make it let go. */
bool vx_filtering_is_stuck(const struct vx_filter_stream *s, enum vx_filter_direction d);
/* Then something of its own must; where nothing is under way, the exchange is refused. */
void vx_filtering_check_hope(struct vx_filter_stream *s);
/* It is from now on: looks whether there is hope, and for how long. */
void vx_filtering_begin_pause(struct vx_filter_stream *s, enum vx_filter_direction d);
/* For f->pause_timer: somebody has held a message for too long. */
void vx_filtering_pause_over(struct vx_timer *timer, uint64_t now_ns);

/* The exchange is not to go on: the first one to say so counts. */
static inline void vx_filtering_decide(struct vx_filtering *f, enum vx_error_code code, const char *detail) {
    if (f->outcome.code == VX_ERR_NONE)
        f->outcome = vx_error(code, false, detail);
}

/* Asks for a turn at the end of the round. */
static inline void vx_filtering_signal(struct vx_filtering *f) {
    struct vx_stream *down = &f->exchange->down->stream;
    f->signalled = true;
    if (f->exchange->filtering) /* else their part is just coming to its end */
        down->ops->again(down);
}

#endif
