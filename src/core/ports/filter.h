/* SPDX-License-Identifier: Apache-2.0 */
/* Filters: programs that see, edit, hold and answer exchanges. The exchange runs a chain of them (exchange/filtering.c);
 * what a filter is made of, WebAssembly today, is the adapter's business.
 *
 * Three parts: what the chain calls (struct vx_filter_ops), what the adapter calls back for (vx_filter_* functions), and
 * how filters come and go with configurations (struct vx_filter_engine).
 *
 * Rules
 *   1. The chain calls a filter on the worker's thread only, never re-entrantly: no callback of any filter runs while
 *      another one does, on one worker.
 *   2. A filter calls back at any time on that thread: inside a callback, or outside (a timer, an answer to a call of its
 *      own), for any stream of its own that is open. Nothing happens inside such a call but that the stream notes it: the
 *      exchange goes on when the callback has returned or, outside one, at the end of the round. So an adapter never
 *      finds a stream closed under its feet, nor its VM entered again.
 *   3. Of one stream: open(); then for each direction on_headers, on_body as often as needed, on_trailers or a last on_body;
 *      then, once, log() and close(). The response may begin before the request is through, and its callbacks interleave
 *      with the request's. Callbacks may be left out at any place; after VX_FILTER_FAILED, vx_filter_fail(), or a pause
 *      longer than the filter's `pause_ns`, only close() follows, and what the filter does to the stream has no effect.
 *   4. Requests pass the chain in its order, responses in reverse. A response made by us, a filter's answer included, passes
 *      the filters that had been shown the request's head.
 */
#ifndef VX_CORE_PORTS_FILTER_H
#define VX_CORE_PORTS_FILTER_H

#include "core/base/timer.h"
#include "core/config/model.h"
#include "core/http/field_map.h"
#include "core/ports/http_client.h"
#include "core/ports/metrics_source.h"
#include "core/ports/stream.h"
#include "core/ports/text_sink.h"

struct vx_filter;
struct vx_filter_stream; /* one filter's part in one exchange; the chain's */
struct vx_snapshot;      /* exchange/snapshot.h */
struct vx_route;

enum vx_filter_direction { VX_FILTER_REQUEST, VX_FILTER_RESPONSE };

/* What a callback says of the part of the message that it was shown. An answer (vx_filter_answer) or a closing
 * (vx_filter_close) made during the callback overrides it. */
enum vx_filter_verdict {
    VX_FILTER_CONTINUE, /* it goes on, as it is now */
    /* It is held. Headers: no on_body comes until vx_filter_continue(), unless the filter's `body_continues`. Body: what
     * was shown is kept, the next on_body shows all of it together. The end of a message: nothing more comes until
     * vx_filter_continue(), which needs no further callback. A filter that continued in the callback itself may also
     * return CONTINUE or PAUSE, all the same. */
    VX_FILTER_PAUSE,
    VX_FILTER_FAILED, /* it cannot go on: `fails_open` decides what becomes of the exchange */
};

/* --- what the chain calls ------------------------------------------------------------------------------------- */

struct vx_filter_ops {
    /* A stream begins; `stream` lives until close(). Returns the filter's context for it, which the other calls get.
     * NULL: it cannot take part (no live instance, no memory): as VX_FILTER_FAILED. Maps can be read already. */
    void *(*open)(struct vx_filter *f, uint32_t worker, struct vx_filter_stream *stream, uint64_t now_ns);

    /* The head is here. `end`: neither body nor trailers follow. */
    enum vx_filter_verdict (*on_headers)(void *context, enum vx_filter_direction d, bool end,
                                         uint64_t now_ns);
    /* vx_filter_body() has `bytes` bytes: a piece, or all that has been held and a piece. `end`: nothing follows, the bytes
     * may be none then. With trailers no on_body has `end`. */
    enum vx_filter_verdict (*on_body)(void *context, enum vx_filter_direction d, size_t bytes, bool end,
                                      uint64_t now_ns);
    /* The message ends with these trailers. */
    enum vx_filter_verdict (*on_trailers)(void *context, enum vx_filter_direction d, uint64_t now_ns);

    /* Whether anything is under way that could yet continue or answer this stream while it is paused: a call, a timer, a
     * queue. Where nothing is, a pause is a rejection: the client gets 403 `filter_denied`. Asked after a pause that
     * no further callback of the stream itself will follow, and after vx_filter_review(). */
    bool (*may_resume)(void *context);

    /* The exchange is over: everything can be read for the last time. All filters of the chain are told before the first
     * is closed. Not called where open() or a callback failed. */
    void (*log)(void *context, uint64_t now_ns);
    /* Gives the context back. */
    void (*close)(void *context, uint64_t now_ns);

    /* A worker takes up a snapshot with this filter, and uses it until the next one. Timers and calls of the filter's own
     * run from the first time on, until it has ended. Calls go by the newest snapshot with this filter in it, which the
     * filter keeps (vx_snapshot_keep). */
    void (*enter)(struct vx_filter *f, uint32_t worker, struct vx_snapshot *snapshot, uint64_t now_ns);
};

/* Which callbacks a filter has: the others are not called, and bodies nobody looks at cost nothing. */
enum vx_filter_wants {
    VX_FILTER_REQUEST_HEADERS = 1,
    VX_FILTER_REQUEST_BODY = 2,
    VX_FILTER_REQUEST_TRAILERS = 4,
    VX_FILTER_RESPONSE_HEADERS = 8,
    VX_FILTER_RESPONSE_BODY = 16,
    VX_FILTER_RESPONSE_TRAILERS = 32,
    VX_FILTER_EDITS_BODY = 64, /* may call vx_filter_splice(): a length announced before may not hold */
    VX_FILTER_WANTS_ALL = 127,
};

/* The head of an adapter's filter. Immutable once loaded; shared by all workers. */
struct vx_filter {
    const struct vx_filter_ops *ops;
    struct vx_slice name;
    uint32_t wants;      /* enum vx_filter_wants */
    uint32_t body_bytes; /* that it may hold, of one body */
    uint64_t pause_ns;   /* for which it may hold a message that only itself can let go; 0: any time */
    bool fails_open;     /* a failure takes the filter out of the exchange, not the exchange down */
    bool body_continues; /* a pause at the headers does not hold the body back from the filter */
};

/* The filters that a route's exchanges pass, in order. Part of a snapshot. */
struct vx_filter_chain {
    struct vx_filter **filters;
    uint32_t count; /* at most VX_CONFIG_FILTERS_MAX */
};

/* --- what the adapter calls ----------------------------------------------------------------------------------- */

/* In the order of Proxy-WASM's map types. */
enum vx_filter_map {
    VX_FILTER_MAP_REQUEST_HEADERS,
    VX_FILTER_MAP_REQUEST_TRAILERS,
    VX_FILTER_MAP_RESPONSE_HEADERS,
    VX_FILTER_MAP_RESPONSE_TRAILERS,
};

/* The map, NULL when there is none yet. *writable: the filter holds this part of the message now, in a callback or a
 * pause, so that edits have an effect; else it is for reading. Heads stay readable from when they have come to the end
 * of the exchange, the response's only as far as it has come on its way back. Trailers exist in the last callback of a
 * body also where none were sent: adding to them makes some. Valid until the next callback of the stream returns. */
struct vx_field_map *vx_filter_map(struct vx_filter_stream *s, enum vx_filter_map map, bool *writable);

/* The bytes that the filter was shown in a callback or holds in a pause. False: there is no such body now. The slice is
 * good until the next splice, or the callback returns. */
bool vx_filter_body(struct vx_filter_stream *s, enum vx_filter_direction d, struct vx_slice *bytes);

/* Replaces `remove` bytes at `start` by `insert`; both are cut to what there is, so start = SIZE_MAX appends. False:
 * there is no body now, no memory, or it would grow above the filter's limit. */
bool vx_filter_splice(struct vx_filter_stream *s, enum vx_filter_direction d, size_t start, size_t remove,
                      struct vx_slice insert);

/* What is paused in this direction goes on. Nothing is paused: no effect, but inside a callback of this direction it
 * stands for VX_FILTER_CONTINUE. */
void vx_filter_continue(struct vx_filter_stream *s, enum vx_filter_direction d);

/* An answer instead of what would have come. */
struct vx_filter_answer {
    uint16_t status; /* 200..599 */
    struct vx_slice body;
    const struct vx_field *fields; /* pseudo fields, framing and Connection among them have no effect */
    uint32_t field_count;
    /* For a gRPC request: the answer is HTTP 200 with this grpc-status, or the one that goes with `status` where it is
     * negative, and the body as grpc-message. */
    int32_t grpc_status;
};

/* Everything is copied. The first of several counts. Where the response's head has gone to the client already, the
 * response is cut. False: no memory, or a status or field that cannot be sent. */
bool vx_filter_answer(struct vx_filter_stream *s, const struct vx_filter_answer *answer);

/* Ends the exchange without an answer: the connection, or stream, to the client is reset. */
void vx_filter_close(struct vx_filter_stream *s);

/* The instance behind the stream has died outside of a callback of this stream. */
void vx_filter_fail(struct vx_filter_stream *s);

/* Something of what may_resume() counts has come to its end: whether the stream can go on is asked again. */
void vx_filter_review(struct vx_filter_stream *s);

/* The route is to be chosen anew, although nothing was edited that says so. */
void vx_filter_reroute(struct vx_filter_stream *s);

/* What is known of the exchange at this moment, for properties. Borrowed, valid until the next callback. */
struct vx_filter_facts {
    const struct vx_request *request;   /* as it stands; headers included */
    const struct vx_response *response; /* the head that goes to the client; NULL: none yet */
    const struct vx_client_info *client;
    struct vx_slice client_ip;          /* after trusted proxies */
    const struct vx_snapshot *snapshot; /* that the exchange began with */
    const struct vx_route *route;
    const struct vx_target *target;                             /* NULL: no backend was picked yet */
    struct vx_carrier carrier;                                  /* of the last attempt, as far as known */
    uint64_t started_ns;                                        /* monotonic */
    uint64_t request_head_bytes, request_bytes, response_bytes; /* the last as sent so far, head included */
    uint64_t backend_ns;                                        /* to the backend's head; 0: not known */
    uint16_t attempts;                                          /* at backends, so far */
    enum vx_error_code error;                                   /* VX_ERR_NONE: none so far */
    const char *error_detail;                                   /* static, or NULL */
};
void vx_filter_facts(const struct vx_filter_stream *s, struct vx_filter_facts *facts);

/* Values that filters leave at the exchange for one another. get: false when there is none; set: copied, false: no
 * memory, or VX_FIELD_MAP_BYTES_MAX are kept already. */
bool vx_filter_state_get(const struct vx_filter_stream *s, struct vx_slice key, struct vx_slice *value);
bool vx_filter_state_set(struct vx_filter_stream *s, struct vx_slice key, struct vx_slice value);

/* --- coming and going ----------------------------------------------------------------------------------------- */

/* What filters may use of the worker they run on. Given to the engine when the worker is made; outlives its filters. */
struct vx_filter_worker {
    struct vx_timer_wheel *wheel;
    struct vx_http_client *client;
    /* Runs `run(arg)` on this worker's thread, soon. Any thread. False: its inbox is full. */
    bool (*post)(const struct vx_filter_worker *self, void (*run)(void *arg, uint64_t now_ns), void *arg);
    uint64_t (*wall_ns)(void); /* since 1970 */
};

/* The one that makes filters. Control thread, but for what says otherwise.
 *
 * How a filter ends
 *   1. Its end begins when its last hold is dropped; no snapshot that an exchange uses or may yet use has it then. It is not
 *      found any more by load(): the same module loaded again is another filter.
 *   2. It ends on each worker by itself, on that worker's thread, and may take time there, which the filter's settings bound
 *      (limits.end_time). Its timers, calls and shared things work meanwhile.
 *   3. It is freed when it has ended on every worker, in tend().
 *   4. How many filters end at a time is bounded too: one more has the one that has taken longest cut short.
 *   5. A worker whose thread has ended is detached: whatever is there ends at once.
 */
struct vx_filter_engine {
    /* Says what workers have; for each of them before its thread starts, and before the first load(). `worker` lives until
     * detach(). Where no worker is attached (`vortex check`), filters are compiled and started all the same. */
    void (*attach)(struct vx_filter_engine *self, uint32_t index, const struct vx_filter_worker *worker);
    /* The worker's thread has ended, or never ran, and no stream is open there. What filters have there ends at once, with
     * the calls that are due to it. */
    void (*detach)(struct vx_filter_engine *self, uint32_t index);
    /* How large it may become and where it keeps compiled modules; before the first load(), later calls change nothing. */
    void (*configure)(struct vx_filter_engine *self, const struct vx_config_wasm *config);
    /* Compiles ahead what load() of the same bytes will need, so that it is quick; what is wrong is load()'s to say.
     * `config` may be NULL where `binary` is not empty. This, and configure() before it, are the only calls for another
     * thread than the control thread's: one at a time, and no load() or configure() there meanwhile. */
    void (*compile)(struct vx_filter_engine *self, const struct vx_config_filter *config,
                    struct vx_slice binary);
    /* Forgets what was compiled ahead and is not in use. */
    void (*forget_compiled)(struct vx_filter_engine *self);
    /* Compiles the module and starts it, an instance for each worker: may take seconds. `binary` are its bytes; empty: those
     * of the file that `config` names. A module whose bytes and settings are those of one that is loaded already is that
     * one, held once more. NULL: *error says what is wrong, with the place in `config`. */
    struct vx_filter *(*load)(struct vx_filter_engine *self, const struct vx_config_filter *config,
                              struct vx_slice binary, struct vx_config_error *error);
    /* Lets go of one hold; the last one begins the filter's end. */
    void (*drop)(struct vx_filter_engine *self, struct vx_filter *f);
    /* The worker has no exchange any more and gets none: all filters end there, as if they had been dropped. */
    void (*wind_up)(struct vx_filter_engine *self, uint32_t worker);
    /* Whether anything of rule 2 is under way. */
    bool (*is_ending)(struct vx_filter_engine *self);
    /* Starts instances anew for those that have failed, and frees filters that have ended. To be called some ten times a
     * second. */
    void (*tend)(struct vx_filter_engine *self);
    /* Lines of text about what is loaded or coming to its end, and how it does; also while compile() runs. */
    void (*dump)(struct vx_filter_engine *self, struct vx_text_sink *sink);
    /* About the instances that take part on a worker. That worker's thread. */
    void (*dump_worker)(struct vx_filter_engine *self, uint32_t worker, struct vx_text_sink *sink);
};

#endif
