/* SPDX-License-Identifier: Apache-2.0 */
/* See host_h2.h. What these backends answer, whole or broken in one of the ways of SIM_DEED_LIST. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim/host_h2.h"

enum { PIECE_BYTES = 16384, FIELDS_MAX = 400, HUGE_FIELDS = 300 };

void host_h2_interim(struct host_job *job, const char *status) {
    nghttp2_nv fields[] = {h2_field(":status", status), h2_field("link", "</hint>")};
    nghttp2_submit_headers(job->c->ng, NGHTTP2_FLAG_NONE, job->stream, NULL, fields,
                           strcmp(status, "103") == 0 ? 2 : 1, NULL);
}

static void interims(struct host_job *job) {
    for (unsigned i = 0; i < job->plan.interims; i++)
        host_h2_interim(job, i == 0 && job->e->expects ? "100" : "103");
}

/* How much of the body goes out. */
static uint64_t body_end(const struct host_job *job) {
    const struct answer_plan *p = &job->plan;
    if (p->deed == DEED_RESET_IN_BODY || p->deed == DEED_CLOSE_IN_BODY || p->deed == DEED_STALL ||
        p->deed == DEED_BAD_CHUNK || p->deed == DEED_BAD_FRAMING)
        return p->body_bytes / 2;
    if (job->c->sim->mischief == SIM_SHORT_ANSWER && p->framing == ANSWER_CHUNKED && p->body_bytes)
        return p->body_bytes - 1;
    return p->body_bytes;
}

static void add_trailer(struct host_job *job, const char *name, const char *value, uint32_t *flags) {
    nghttp2_nv trailer = h2_field(name, value);
    *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
    nghttp2_submit_trailer(job->c->ng, job->stream, &trailer, 1);
}

/* All of the body that goes out has gone; what follows it, or a code that breaks it off. */
static nghttp2_ssize end_of_body(struct host_job *job, uint32_t *flags) {
    char id[32];
    switch ((enum sim_deed)job->plan.deed) {
    case DEED_RESET_IN_BODY:
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    case DEED_CLOSE_IN_BODY:
        job->c->breaks = true;
        return NGHTTP2_ERR_DEFERRED;
    case DEED_STALL:
        return NGHTTP2_ERR_DEFERRED;
    case DEED_BAD_CHUNK: /* what is no trailer field */
        *flags |= NGHTTP2_DATA_FLAG_EOF;
        add_trailer(job, ":status", "200", flags);
        return 0;
    default:
        *flags |= NGHTTP2_DATA_FLAG_EOF;
        snprintf(id, sizeof id, "%u", job->e->id);
        if (job->plan.trailers)
            add_trailer(job, "x-sum", id, flags);
        return 0;
    }
}

/* Whether the end comes with the last byte of a known length, not in a frame of its own. A client of HTTP/1 has its whole answer
 * before such a frame has come, and may leave then: where nobody may be seen to leave too early, there is none. */
static bool ends_with_last_byte(const struct host_job *job) {
    struct sim *sim = job->c->sim;
    return job->plan.framing == ANSWER_LENGTH && job->plan.deed == DEED_ANSWER &&
           (sim->scenario->all_answered || sim_chance(sim, 500));
}

static nghttp2_ssize read_body(nghttp2_session *ng, int32_t stream, uint8_t *to, size_t room, uint32_t *flags,
                               nghttp2_data_source *source, void *user) {
    (void)ng, (void)stream, (void)user;
    struct host_job *job = source->ptr;
    struct sim *sim = job->c->sim;
    uint64_t left = body_end(job) - job->sent;
    if (!left)
        return end_of_body(job, flags);
    size_t n = 1 + sim_below(sim, PIECE_BYTES);
    n = n < room ? n : room;
    n = n < left ? n : left;
    for (size_t i = 0; i < n; i++)
        to[i] = sim_pattern(job->plan.key, job->sent + i);
    if (sim->mischief == SIM_WRONG_BYTE && sim_below(sim, 8) == 0)
        to[n / 2] ^= 1;
    job->sent += n;
    if (n == left && ends_with_last_byte(job))
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (nghttp2_ssize)n;
}

static void answer_head(struct host_job *job) {
    const struct answer_plan *p = &job->plan;
    char status[8], id[16], delivery[16], length[32];
    nghttp2_nv fields[FIELDS_MAX];
    size_t count = 0;
    snprintf(status, sizeof status, "%u", p->status);
    snprintf(id, sizeof id, "%u", job->e->id);
    snprintf(delivery, sizeof delivery, "%u", job->delivery);
    snprintf(length, sizeof length, "%llu", (unsigned long long)p->body_bytes);
    fields[count++] = h2_field(":status", status);
    fields[count++] = h2_field("x-sim", id);
    fields[count++] = h2_field("x-delivery", delivery);
    if (p->framing == ANSWER_LENGTH)
        fields[count++] = h2_field("content-length", length);
    if (p->trailers)
        fields[count++] = h2_field("trailer", "X-Sum");
    for (unsigned i = 0; p->deed == DEED_HUGE_HEAD && i < HUGE_FIELDS; i++)
        fields[count++] = h2_field("x-huge", "h");
    nghttp2_data_provider2 body = {.source = {.ptr = job}, .read_callback = read_body};
    bool none = p->head_only || p->framing == ANSWER_NONE || (!p->body_bytes && ends_with_last_byte(job));
    nghttp2_submit_response2(job->c->ng, job->stream, fields, count, none ? NULL : &body);
}

void host_h2_answer(struct sim *sim, void *actor, uint64_t arg) {
    (void)arg;
    struct host_job *job = actor;
    struct host_h2 *c = job->c;
    if (host_h2_is_gone(c) || job->over || job->left_out || job->plan.deed == DEED_SILENT ||
        sim->mischief == SIM_NO_ANSWER)
        return;
    interims(job);
    switch ((enum sim_deed)job->plan.deed) {
    case DEED_RESET_IN_HEAD:
        host_h2_reset(job, NGHTTP2_INTERNAL_ERROR);
        break;
    case DEED_CLOSE_IN_HEAD:
        c->breaks = true;
        break;
    case DEED_GARBAGE:
        outgoing_text(&c->out, "HTTP/1.1 400 Bad Request\r\n\r\n");
        c->breaks = true;
        break;
    case DEED_UNASKED_101:
        host_h2_interim(job, "101");
        break;
    default:
        answer_head(job);
        break;
    }
    host_h2_send(c);
}

static void leave_idle(struct sim *sim, void *actor, uint64_t reset) {
    (void)sim;
    struct host_h2 *c = actor;
    bool answers_there = c->wire->up.start == c->wire->up.end;
    if (!host_h2_is_gone(c) && host_h2_is_idle(c) && answers_there && !outgoing_left(&c->out))
        host_h2_cut(c, reset);
}

void host_h2_after_answer(struct host_job *job) {
    struct host_h2 *c = job->c;
    struct sim *sim = c->sim;
    if (job->plan.deed != DEED_ANSWER)
        return;
    /* An early answer: the rest of the request is not wanted, or is taken all the same. */
    if (!job->upload_over && sim_chance(sim, 500))
        host_h2_reset(job, NGHTTP2_NO_ERROR);
    if (job->plan.afterwards == AFTER_CLOSE_SAID || job->plan.afterwards == AFTER_CLOSE)
        host_h2_go_away(c, c->last);
    else if (job->plan.afterwards != AFTER_STAY)
        sim_after(sim, sim_between(sim, 0, SIM_MS(8)), leave_idle, c,
                  job->plan.afterwards == AFTER_RESET_LATER);
}
