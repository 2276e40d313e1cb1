/* SPDX-License-Identifier: Apache-2.0 */
/* Faults at the ports: each kind of call is counted, and the n-th one can be made to fail. So a small scenario is swept
 * by failing each call in turn, and memory can be made scarce at random. Also the mischief that the self-test plants in
 * the simulator itself, to see that its checks notice. */
#ifndef SIM_FAULTS_H
#define SIM_FAULTS_H

#include <stdbool.h>
#include <stdint.h>

#define SIM_FAULT_LIST(X)                                                                                    \
    X(READ, "read")               /* the transport breaks in a read */                                       \
    X(WRITE, "write")             /* the transport breaks in a write */                                      \
    X(WRITE_FULL, "full")         /* a write takes nothing although there was room */                        \
    X(DIAL, "dial")               /* no descriptor for a connection */                                       \
    X(CONNECT, "connect")         /* a connection is refused */                                              \
    X(ARENA, "arena")             /* no memory for an exchange */                                            \
    X(BLOCK, "block")             /* no memory for a buffer */                                               \
    X(OPEN, "open")               /* the client port begins nothing */                                       \
    X(PULL_DOWN, "pull-request")  /* a pull from the client's side fails */                                  \
    X(PULL_UP, "pull-response")   /* a pull from the backend's side fails */                                 \
    X(PUSH_DOWN, "push-response") /* a push to the client's side takes nothing for now */                    \
    X(PUSH_UP, "push-request")    /* a push to the backend's side takes nothing for now */

enum sim_fault {
#define X(name, text) SIM_FAULT_##name,
    SIM_FAULT_LIST(X)
#undef X
        SIM_FAULT_COUNT
};

struct sim_fault_plan {
    bool armed;
    enum sim_fault kind;
    uint64_t at;                     /* the call of this kind that fails, from 1 */
    uint64_t calls[SIM_FAULT_COUNT]; /* made so far */
    uint64_t injected;               /* faults that did happen */
};

enum sim_mischief {
    SIM_HONEST,
    SIM_WRONG_BYTE,         /* a backend sends one byte of another exchange's body */
    SIM_WRONG_REQUEST_BYTE, /* the wire changes a byte of an upload */
    SIM_TWICE,              /* a non-idempotent request is delivered twice */
    SIM_NO_ANSWER,          /* an answer is swallowed */
    SIM_TWO_ANSWERS,        /* an answer is sent twice */
    SIM_SHORT_ANSWER,       /* an answer that looks whole is shorter than planned */
    SIM_LEAK,               /* a chunk is never given back */
    SIM_LOST_RECORD,        /* the recorder is not told of one exchange */
    SIM_LOST_EDGE,          /* a readiness event is dropped */
    SIM_BLAME,              /* a backend of a scenario of faultless backends breaks */
    SIM_MISCHIEF_COUNT
};

struct sim;
struct vx_stream;

/* A push that was refused by a fault: its user is told of room a little later, as the port promises. */
struct sim_stalled_push {
    struct vx_stream *stream;
};

/* Counts one call; true: this is the one that fails. */
bool sim_fault_hits(struct sim *sim, enum sim_fault kind);

const char *sim_fault_name(enum sim_fault kind);

/* Puts the simulator between a stream and its user, for the PULL and PUSH faults. Only while such a fault is armed: a
 * stream seen through this cannot move() inside the wire. */
void sim_wrap_downstream(struct sim *sim, struct vx_stream *stream);
void sim_wrap_upstream(struct sim *sim, struct vx_stream *stream);

#endif
