/* SPDX-License-Identifier: Apache-2.0 */
/* Our HTTP/1 parser beside llhttp, the one of Node.js: what both take must mean the same to both (method, target, fields,
 * body, where the message ends, whether the connection lives), and where only one takes an input the reason must be a row
 * of llhttp-differences.md. A smuggled request is one that two parsers read in two ways.
 *
 * The first byte says what the rest is: a request, a response, a response to HEAD. */
#include <stdio.h>
#include <stdlib.h>

#include <llhttp.h>

#include "core/http/chunked.h"
#include "support/http_check.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int fuzz_finish(void);

#define TABLE_FILE "tests/fuzz/llhttp-differences.md"

enum { TEXT_BYTES = 65536, REASON_BYTES = 128, MAX_ROWS = 128, ROW_BYTES = 160 };

/* --- the table --- */

static char rows[MAX_ROWS][ROW_BYTES];
static bool row_met[MAX_ROWS];
static size_t row_count;

/* Rows are `| who | what | why |`; "who: what" is kept. */
int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc;
    (void)argv;
    char line[1024];
    FILE *file = fopen(TABLE_FILE, "r");
    if (!file) {
        perror(TABLE_FILE);
        exit(1);
    }
    while (fgets(line, sizeof line, file)) {
        if (strncmp(line, "| we ", 5) != 0 && strncmp(line, "| they ", 7) != 0 &&
            strncmp(line, "| both ", 7) != 0)
            continue;
        char *first = strchr(line + 2, '|'), *second = first ? strchr(first + 1, '|') : NULL;
        vx_test_require(first && second && row_count < MAX_ROWS && second - line < ROW_BYTES);
        snprintf(rows[row_count++], ROW_BYTES, "%.*s: %.*s", (int)(first - line - 3), line + 2,
                 (int)(second - first - 3), first + 2);
    }
    fclose(file);
    vx_test_require(row_count > 0);
    return 0;
}

static bool is_explained(const char *who, const char *what) {
    char row[ROW_BYTES];
    snprintf(row, sizeof row, "%s: %s", who, what);
    for (size_t i = 0; i < row_count; i++)
        if (strcmp(rows[i], row) == 0)
            return row_met[i] = true;
    return false;
}

int fuzz_finish(void) {
    int unmet = 0;
    for (size_t i = 0; i < row_count; i++) {
        if (!row_met[i])
            fprintf(stderr, TABLE_FILE ": nothing in the corpus needs the row `%s`\n", rows[i]);
        unmet |= !row_met[i];
    }
    return unmet;
}

/* --- what a parser made of an input --- */

enum stage { HEAD_OPEN, HEAD_REFUSED, BODY_OPEN, BODY_REFUSED, MESSAGE_DONE };

struct reading {
    enum stage stage;
    char reason[REASON_BYTES]; /* for REFUSED */
    size_t consumed;           /* for MESSAGE_DONE */
    bool keep_alive, upgrade, until_close;
    bool interim;     /* a 1xx response */
    bool in_trailers; /* which are judged when they are complete, as heads are */
    size_t head_len, body_len;
    char head[TEXT_BYTES]; /* method, target or status and reason, version, fields */
    char body[TEXT_BYTES];
};

static struct reading ours, theirs;

static void append(char *text, size_t *len, const char *bytes, size_t n) {
    vx_test_require(n <= TEXT_BYTES - *len);
    if (n)
        memcpy(text + *len, bytes, n);
    *len += n;
}

static void append_slice(struct reading *r, struct vx_slice s, const char *after) {
    append(r->head, &r->head_len, s.ptr, s.len);
    append(r->head, &r->head_len, after, strlen(after));
}

static void refuse(struct reading *r, const char *what, const char *why) {
    snprintf(r->reason, sizeof r->reason, "%s%s", what, why);
    r->stage = r->stage == HEAD_OPEN ? HEAD_REFUSED : BODY_REFUSED;
}

/* --- ours --- */

static const struct vx_h1_limits limits = {16384, 200, 8192, false};

static void tell_fields(struct reading *r, const struct vx_headers *h) {
    for (uint16_t i = 0; i < h->count; i++) {
        append_slice(r, vx_header_name(&h->items[i]), ": ");
        append_slice(r, vx_header_value(&h->items[i]), "\n");
    }
}

static void read_trailers(struct reading *r, struct vx_slice rest, struct vx_arena *arena) {
    struct vx_h1_parser parser;
    struct vx_headers trailers;
    struct vx_error error;
    size_t consumed;
    vx_h1_parser_init(&parser);
    switch (vx_h1_parse_trailers(&parser, &limits, rest, arena, VX_BY_CLIENT, &trailers, &consumed, &error)) {
    case VX_H1_DONE:
        r->consumed += consumed;
        r->stage = MESSAGE_DONE;
        break;
    case VX_H1_ERROR:
        refuse(r, "trailers: ", error.detail);
        break;
    default:
        r->in_trailers = true;
        break;
    }
}

static const char *why_not_chunked(const struct vx_chunked *c) {
    if (c->extension_bytes)
        return "an extension";
    return c->digits == 15 ? "more than 15 digits" : "its framing";
}

static void read_chunked(struct reading *r, struct vx_slice rest, struct vx_arena *arena) {
    struct vx_chunked chunked;
    vx_chunked_init(&chunked);
    for (;;) {
        struct vx_slice data;
        size_t consumed;
        enum vx_chunked_result result = vx_chunked_decode(&chunked, rest, &data, &consumed);
        append(r->body, &r->body_len, data.ptr, data.len);
        r->consumed += consumed;
        rest = vx_slice_skip(rest, consumed);
        if (result == VX_CHUNKED_TRAILERS)
            read_trailers(r, rest, arena);
        else if (result == VX_CHUNKED_DONE)
            r->stage = MESSAGE_DONE;
        else if (result == VX_CHUNKED_ERROR)
            refuse(r, "chunked coding: ", why_not_chunked(&chunked));
        if (result != VX_CHUNKED_DATA)
            return;
    }
}

static void read_body(struct reading *r, enum vx_framing framing, uint64_t body_bytes, struct vx_slice rest,
                      struct vx_arena *arena) {
    size_t n = rest.len;
    r->stage = BODY_OPEN;
    switch (framing) {
    case VX_BODY_CHUNKED:
        read_chunked(r, rest, arena);
        return;
    case VX_BODY_NONE:
        n = 0;
        r->stage = MESSAGE_DONE;
        break;
    case VX_BODY_LENGTH:
        if (n >= body_bytes) {
            n = (size_t)body_bytes;
            r->stage = MESSAGE_DONE;
        }
        break;
    case VX_BODY_UNTIL_CLOSE:
        r->until_close = true;
        break;
    }
    append(r->body, &r->body_len, rest.ptr, n);
    r->consumed += n;
}

static void refuse_head(struct reading *r, const struct vx_error *error) {
    char word[REASON_BYTES];
    snprintf(word, sizeof word, "%s: ", vx_error_info(error->code)->word);
    refuse(r, word, error->detail);
}

static void read_request(struct reading *r, struct vx_slice in, struct vx_arena *arena) {
    struct vx_h1_parser parser;
    struct vx_request req;
    struct vx_error error;
    vx_h1_parser_init(&parser);
    switch (vx_h1_parse_request(&parser, &limits, in, arena, &req, &r->consumed, &error)) {
    case VX_H1_ERROR:
        refuse_head(r, &error);
        return;
    case VX_H1_MORE:
        return;
    case VX_H1_DONE:
        break;
    }
    append_slice(r, req.method_text, " ");
    append_slice(r, req.target, req.version == VX_HTTP_11 ? " 1.1\n" : " 1.0\n");
    tell_fields(r, &req.headers);
    r->keep_alive = req.keep_alive;
    r->upgrade = req.upgrade;
    read_body(r, req.framing, req.body_bytes, vx_slice_skip(in, r->consumed), arena);
}

static void read_response(struct reading *r, struct vx_slice in, enum vx_method method,
                          struct vx_arena *arena) {
    struct vx_h1_parser parser;
    struct vx_response resp;
    struct vx_error error;
    vx_h1_parser_init(&parser);
    switch (vx_h1_parse_response(&parser, &limits, in, arena, method, &resp, &r->consumed, &error)) {
    case VX_H1_ERROR:
        refuse_head(r, &error);
        return;
    case VX_H1_MORE:
        return;
    case VX_H1_DONE:
        break;
    }
    char status[16];
    snprintf(status, sizeof status, "%u ", resp.status);
    append_slice(r, vx_slice_of(status), "");
    append_slice(r, resp.reason, resp.version == VX_HTTP_11 ? " 1.1\n" : " 1.0\n");
    tell_fields(r, &resp.headers);
    r->keep_alive = resp.keep_alive;
    r->interim = resp.status < 200;
    r->upgrade = resp.upgrade;
    read_body(r, resp.framing, resp.body_bytes, vx_slice_skip(in, r->consumed), arena);
}

/* --- theirs --- */

/* A span may come in pieces; its end is told apart. The pieces lie side by side but for folded values. */
static struct {
    char url[TEXT_BYTES], fields[TEXT_BYTES];
    size_t url_len, fields_len, value_from;
    bool skip_body;
} collected;

static int on_url(llhttp_t *p, const char *at, size_t n) {
    (void)p;
    append(collected.url, &collected.url_len, at, n);
    return 0;
}

static int on_field(llhttp_t *p, const char *at, size_t n) {
    (void)p;
    if (theirs.stage == HEAD_OPEN)
        append(collected.fields, &collected.fields_len, at, n);
    return 0;
}

static int on_field_complete(llhttp_t *p) {
    on_field(p, ": ", 2);
    collected.value_from = collected.fields_len;
    return 0;
}

/* White space behind a value is none of it; they leave it there. */
static int on_value_complete(llhttp_t *p) {
    while (collected.fields_len > collected.value_from &&
           strchr(" \t", collected.fields[collected.fields_len - 1]))
        collected.fields_len--;
    return on_field(p, "\n", 1);
}

static int on_headers_complete(llhttp_t *p) {
    bool request = llhttp_get_type(p) == HTTP_REQUEST;
    char start[64];
    if (request)
        snprintf(start, sizeof start, "%s ", llhttp_method_name((llhttp_method_t)llhttp_get_method(p)));
    else
        snprintf(start, sizeof start, "%d ", llhttp_get_status_code(p));
    append_slice(&theirs, vx_slice_of(start), "");
    append_slice(&theirs, vx_slice(collected.url, collected.url_len), "");
    snprintf(start, sizeof start, " %d.%d\n", llhttp_get_http_major(p), llhttp_get_http_minor(p));
    append_slice(&theirs, vx_slice_of(start), "");
    append_slice(&theirs, vx_slice(collected.fields, collected.fields_len), "");
    if (collected.skip_body)
        p->flags |= F_SKIPBODY; /* as the return value will; their verdicts below rely on it */
    theirs.keep_alive = llhttp_should_keep_alive(p);
    theirs.upgrade = llhttp_get_upgrade(p);
    theirs.until_close = llhttp_message_needs_eof(p);
    theirs.stage = BODY_OPEN;
    return collected.skip_body ? 1 : 0;
}

static int on_body(llhttp_t *p, const char *at, size_t n) {
    (void)p;
    append(theirs.body, &theirs.body_len, at, n);
    return 0;
}

static int on_message_complete(llhttp_t *p) {
    (void)p;
    theirs.stage = MESSAGE_DONE;
    return HPE_PAUSED;
}

static void read_theirs(struct vx_slice in, enum vx_test_head kind) {
    llhttp_settings_t settings;
    llhttp_t parser;
    collected.url_len = collected.fields_len = 0;
    collected.skip_body = kind == VX_TEST_RESPONSE_TO_HEAD;
    llhttp_settings_init(&settings);
    settings.on_url = settings.on_status = on_url;
    settings.on_header_field = settings.on_header_value = on_field;
    settings.on_header_field_complete = on_field_complete;
    settings.on_header_value_complete = on_value_complete;
    settings.on_headers_complete = on_headers_complete;
    settings.on_body = on_body;
    settings.on_message_complete = on_message_complete;
    llhttp_init(&parser, kind == VX_TEST_REQUEST ? HTTP_REQUEST : HTTP_RESPONSE, &settings);
    enum llhttp_errno result = llhttp_execute(&parser, in.ptr, in.len);
    if (theirs.stage == MESSAGE_DONE)
        theirs.consumed = (size_t)(llhttp_get_error_pos(&parser) - in.ptr);
    else if (result != HPE_OK)
        refuse(&theirs, llhttp_get_error_reason(&parser), "");
}

/* --- the comparison --- */

static struct vx_slice input;

static void fail(const char *who, const char *what) {
    fprintf(stderr, "%s: %s\n--- input\n%.*s\n--- ours: stage %d %s\n%.*s--- theirs: stage %d %s\n%.*s", who,
            what, VX_SLICE_ARG(input), ours.stage, ours.reason, (int)ours.head_len, ours.head, theirs.stage,
            theirs.reason, (int)theirs.head_len, theirs.head);
    abort();
}

static void explain(const char *who, const char *what) {
    if (!is_explained(who, what))
        fail(who, what);
}

static bool same(const char *a, size_t a_len, const char *b, size_t b_len) {
    return a_len == b_len && (a_len == 0 || memcmp(a, b, a_len) == 0);
}

/* They do not take HTAB behind a value for white space, and so do not know the value. Only where there is a HTAB, or the
 * row would hide other differences of the same kind. */
static void explain_by_tab(const char *what) {
    if (!memchr(input.ptr, '\t', input.len))
        fail("both differ", what);
    explain("both differ", what);
}

/* Whether both bodies end alike. False: they do not, and that is explained. */
static bool compare_verdicts(void) {
    if (ours.upgrade && !theirs.upgrade)
        explain_by_tab("only we see an upgrade");
    if (!ours.upgrade && theirs.upgrade)
        explain("both differ", "only they see an upgrade");
    if (ours.until_close != theirs.until_close) {
        explain_by_tab("where the body ends");
        return false;
    }
    if (ours.keep_alive && !theirs.keep_alive)
        explain_by_tab("only we keep alive");
    if (!ours.keep_alive && theirs.keep_alive)
        explain("both differ", "only they keep alive");
    return true;
}

static bool refused_by_one(void) {
    if (ours.stage == BODY_REFUSED && theirs.stage != BODY_REFUSED)
        explain("we refuse", ours.reason);
    bool only_theirs = theirs.stage == BODY_REFUSED && ours.stage != BODY_REFUSED && !ours.in_trailers;
    if (only_theirs && ours.interim)
        explain("both differ", "a body behind an interim response");
    else if (only_theirs)
        explain("they refuse", theirs.reason);
    return ours.stage == BODY_REFUSED || theirs.stage == BODY_REFUSED;
}

static void compare_bodies(void) {
    size_t shorter = ours.body_len < theirs.body_len ? ours.body_len : theirs.body_len;
    if (!same(ours.body, shorter, theirs.body, shorter))
        fail("both differ", "the body");
    if (refused_by_one())
        return;
    bool same_end = ours.stage == theirs.stage && ours.body_len == theirs.body_len &&
                    (ours.stage != MESSAGE_DONE || ours.consumed == theirs.consumed);
    if (!same_end && ours.interim)
        explain("both differ", "a body behind an interim response");
    else if (!same_end)
        fail("both differ", "where the message ends");
}

static void compare_messages(void) {
    if (!same(ours.head, ours.head_len, theirs.head, theirs.head_len))
        fail("both differ", "the head");
    if (compare_verdicts())
        compare_bodies();
}

static void compare(void) {
    bool our_head = ours.stage >= BODY_OPEN, their_head = theirs.stage >= BODY_OPEN;
    if (our_head && their_head)
        compare_messages();
    else if (our_head && theirs.stage == HEAD_REFUSED)
        explain("they refuse", theirs.reason);
    else if (their_head && ours.stage == HEAD_REFUSED)
        explain("we refuse", ours.reason);
    else if (our_head || their_head)
        fail("both differ",
             our_head ? "only we see the end of the head" : "only they see the end of the head");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const enum vx_test_head kinds[] = {VX_TEST_REQUEST, VX_TEST_RESPONSE, VX_TEST_RESPONSE_TO_HEAD};
    if (size == 0 || size > TEXT_BYTES / 4)
        return 0;
    struct vx_test_arena memory;
    enum vx_test_head kind = kinds[data[0] % 3];
    input = vx_slice((const char *)data + 1, size - 1);
    ours = theirs = (struct reading){.stage = HEAD_OPEN};
    vx_test_arena_init(&memory, SIZE_MAX);
    if (kind == VX_TEST_REQUEST)
        read_request(&ours, input, &memory.arena);
    else
        read_response(&ours, input, kind == VX_TEST_RESPONSE ? VX_METHOD_GET : VX_METHOD_HEAD, &memory.arena);
    read_theirs(input, kind);
    compare();
    vx_test_arena_end(&memory);
    return 0;
}
