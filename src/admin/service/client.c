/* SPDX-License-Identifier: Apache-2.0 */
/* See client.h. */
#include "admin/service/client.h"

#include <admin.pb-c.h>
#include <stdlib.h>

#include "admin/service/text.h"
#include "core/base/assert.h"

enum { ANSWER_BYTES_MAX = 64 * 1024 * 1024 };

struct client_method {
    const char *path;
    const ProtobufCMessageDescriptor *answer;
    void (*read)(const ProtobufCMessage *message, struct vx_admin_answer *out, struct vx_admin_ban **bans);
};

struct vx_admin_client {
    struct vx_admin_port port;
    struct vx_http_client *client;
    const struct vx_target *target;
    struct vx_chunk_source *memory;
    const uint64_t *now_ns;
    struct vx_grpc_ask ask;
    const struct client_method *method; /* NULL: nothing is asked */
    struct vx_admin_call *call;
};

/* --- Answers ------------------------------------------------------------------------------------------------------ */

static void verdict(struct vx_admin_answer *out, bool success, const char *message) {
    out->outcome = success ? VX_ADMIN_DONE : VX_ADMIN_REFUSED;
    out->text = vx_slice_of(message);
}

#define READ_VERDICT(Message, name)                                                                          \
    static void read_##name(const ProtobufCMessage *message, struct vx_admin_answer *out,                    \
                            struct vx_admin_ban **bans) {                                                    \
        (void)bans;                                                                                          \
        const Vortex__Admin__##Message *m = (const void *)message;                                           \
        verdict(out, m->success, m->message);                                                                \
    }
READ_VERDICT(ReloadConfigResponse, reload)
READ_VERDICT(UpdateWasmResponse, update_plugin)
READ_VERDICT(AddBanResponse, add_ban)
READ_VERDICT(RemoveBanResponse, remove_ban)

static void read_stats(const ProtobufCMessage *message, struct vx_admin_answer *out,
                       struct vx_admin_ban **bans) {
    (void)bans;
    const Vortex__Admin__GetStatsResponse *m = (const void *)message;
    out->stats = (struct vx_admin_stats){
        .active_connections = m->active_connections,
        .connections_total = m->connections_total,
        .workers = m->workers,
        .config_version = m->config_version,
        .config_path = vx_slice_of(m->config_path),
        .uptime_seconds = m->uptime_seconds,
        .state = vx_slice_of(m->state),
        .version = vx_slice_of(m->version),
        .pid = m->pid,
    };
}

static void read_bans(const ProtobufCMessage *message, struct vx_admin_answer *out,
                      struct vx_admin_ban **bans) {
    const Vortex__Admin__ListBansResponse *m = (const void *)message;
    *bans = calloc(m->n_bans + 1, sizeof **bans);
    if (!*bans) {
        *out = (struct vx_admin_answer){.outcome = VX_ADMIN_FAILED, .text = VX_SLICE("out of memory")};
        return;
    }
    for (size_t i = 0; i < m->n_bans; i++)
        (*bans)[i] = (struct vx_admin_ban){
            .address = vx_slice_of(m->bans[i]->address),
            .remaining_ms = m->bans[i]->remaining_ms,
            .strikes = m->bans[i]->strikes,
            .manual = m->bans[i]->manual,
        };
    out->bans = *bans;
    out->ban_count = (uint32_t)m->n_bans;
}

static void read_dump(const ProtobufCMessage *message, struct vx_admin_answer *out,
                      struct vx_admin_ban **bans) {
    (void)bans;
    out->text = vx_slice_of(((const Vortex__Admin__DumpResponse *)message)->text);
}

enum { RELOAD, STATS, UPDATE_PLUGIN, LIST_BANS, ADD_BAN, REMOVE_BAN, DUMP };

#define METHOD(name, message, read)                                                                          \
    { "/vortex.admin.AdminService/" name, &vortex__admin__##message##__descriptor, read }

static const struct client_method methods[] = {
    [RELOAD] = METHOD("ReloadConfig", reload_config_response, read_reload),
    [STATS] = METHOD("GetStats", get_stats_response, read_stats),
    [UPDATE_PLUGIN] = METHOD("UpdateWasmPlugin", update_wasm_response, read_update_plugin),
    [LIST_BANS] = METHOD("ListBans", list_bans_response, read_bans),
    [ADD_BAN] = METHOD("AddBan", add_ban_response, read_add_ban),
    [REMOVE_BAN] = METHOD("RemoveBan", remove_ban_response, read_remove_ban),
    [DUMP] = METHOD("Dump", dump_response, read_dump),
};

/* A refusal that is an error of the call is one here too. */
static enum vx_admin_outcome outcome_of(enum vx_grpc_code code) {
    return code == VX_GRPC_FAILED_PRECONDITION ? VX_ADMIN_REFUSED : VX_ADMIN_FAILED;
}

static void done(struct vx_grpc_ask *ask, enum vx_grpc_code code, struct vx_slice text,
                 struct vx_slice message) {
    struct vx_admin_client *c = VX_CONTAINER_OF(ask, struct vx_admin_client, ask);
    const struct client_method *method = c->method;
    struct vx_admin_answer answer;
    struct vx_admin_ban *bans = NULL;
    ProtobufCMessage *m = NULL;
    memset(&answer, 0, sizeof answer);
    if (code == VX_GRPC_OK)
        m = protobuf_c_message_unpack(method->answer, NULL, message.len, (const uint8_t *)message.ptr);
    if (m) {
        method->read(m, &answer, &bans);
    } else {
        answer.outcome = outcome_of(code);
        answer.text = text.len ? text : VX_SLICE("the answer cannot be read");
    }
    c->call->answered(c->call, &answer);
    c->method = NULL;
    if (m)
        protobuf_c_message_free_unpacked(m, NULL);
    free(bans);
}

/* --- Questions ---------------------------------------------------------------------------------------------------- */

static enum vx_admin_when fail(struct vx_admin_answer *answer, const char *text) {
    answer->outcome = VX_ADMIN_FAILED;
    answer->text = vx_slice_of(text);
    return VX_ADMIN_NOW;
}

struct vx_admin_client *vx_admin_client_of(struct vx_admin_port *port) {
    return VX_CONTAINER_OF(port, struct vx_admin_client, port);
}

static enum vx_admin_when ask(struct vx_admin_port *port, const struct client_method *method,
                              const ProtobufCMessage *request, struct vx_admin_call *call,
                              struct vx_admin_answer *answer) {
    struct vx_admin_client *c = vx_admin_client_of(port);
    const char *why;
    VX_CHECK(!c->method);
    memset(&c->ask, 0, sizeof c->ask);
    c->ask.done = done;
    char *room = vx_grpc_ask_room(&c->ask, protobuf_c_message_get_packed_size(request));
    if (!room)
        return fail(answer, "out of memory");
    protobuf_c_message_pack(request, (uint8_t *)room);
    struct vx_grpc_ask_options options = {
        .client = c->client,
        .target = c->target,
        .memory = c->memory,
        .path = method->path,
        .answer_bytes = ANSWER_BYTES_MAX,
    };
    if (!vx_grpc_ask_start(&c->ask, &options, &why, *c->now_ns))
        return fail(answer, why);
    c->method = method;
    c->call = call;
    return VX_ADMIN_LATER;
}

/* Asks with a copy of `text` in the request's field `*field`. */
static enum vx_admin_when ask_with_text(struct vx_admin_port *port, const struct client_method *method,
                                        const ProtobufCMessage *request, char **field, struct vx_slice text,
                                        struct vx_admin_call *call, struct vx_admin_answer *answer) {
    *field = vx_admin_text(text);
    if (!*field)
        return fail(answer, "out of memory");
    enum vx_admin_when when = ask(port, method, request, call, answer);
    free(*field);
    return when;
}

static enum vx_admin_when ask_reload(struct vx_admin_port *port, struct vx_slice path,
                                     struct vx_admin_call *call, struct vx_admin_answer *answer) {
    Vortex__Admin__ReloadConfigRequest request = VORTEX__ADMIN__RELOAD_CONFIG_REQUEST__INIT;
    return ask_with_text(port, &methods[RELOAD], &request.base, &request.config_path, path, call, answer);
}

static enum vx_admin_when ask_stats(struct vx_admin_port *port, struct vx_admin_call *call,
                                    struct vx_admin_answer *answer) {
    Vortex__Admin__GetStatsRequest request = VORTEX__ADMIN__GET_STATS_REQUEST__INIT;
    return ask(port, &methods[STATS], &request.base, call, answer);
}

static enum vx_admin_when ask_update_plugin(struct vx_admin_port *port, struct vx_slice name,
                                            struct vx_slice binary, struct vx_admin_call *call,
                                            struct vx_admin_answer *answer) {
    Vortex__Admin__UpdateWasmRequest request = VORTEX__ADMIN__UPDATE_WASM_REQUEST__INIT;
    request.wasm_binary = (ProtobufCBinaryData){binary.len, (uint8_t *)binary.ptr};
    return ask_with_text(port, &methods[UPDATE_PLUGIN], &request.base, &request.name, name, call, answer);
}

static enum vx_admin_when ask_list_bans(struct vx_admin_port *port, struct vx_admin_call *call,
                                        struct vx_admin_answer *answer) {
    Vortex__Admin__ListBansRequest request = VORTEX__ADMIN__LIST_BANS_REQUEST__INIT;
    return ask(port, &methods[LIST_BANS], &request.base, call, answer);
}

static enum vx_admin_when ask_add_ban(struct vx_admin_port *port, struct vx_slice address,
                                      uint64_t duration_ms, struct vx_admin_call *call,
                                      struct vx_admin_answer *answer) {
    Vortex__Admin__AddBanRequest request = VORTEX__ADMIN__ADD_BAN_REQUEST__INIT;
    request.duration_ms = duration_ms;
    return ask_with_text(port, &methods[ADD_BAN], &request.base, &request.address, address, call, answer);
}

static enum vx_admin_when ask_remove_ban(struct vx_admin_port *port, struct vx_slice address,
                                         struct vx_admin_call *call, struct vx_admin_answer *answer) {
    Vortex__Admin__RemoveBanRequest request = VORTEX__ADMIN__REMOVE_BAN_REQUEST__INIT;
    return ask_with_text(port, &methods[REMOVE_BAN], &request.base, &request.address, address, call, answer);
}

static enum vx_admin_when ask_dump(struct vx_admin_port *port, struct vx_admin_call *call,
                                   struct vx_admin_answer *answer) {
    Vortex__Admin__DumpRequest request = VORTEX__ADMIN__DUMP_REQUEST__INIT;
    return ask(port, &methods[DUMP], &request.base, call, answer);
}

struct vx_admin_client *vx_admin_client_new(struct vx_http_client *client, const struct vx_target *target,
                                            struct vx_chunk_source *memory, const uint64_t *now_ns) {
    struct vx_admin_client *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->port = (struct vx_admin_port){
        .reload = ask_reload,
        .stats = ask_stats,
        .update_plugin = ask_update_plugin,
        .list_bans = ask_list_bans,
        .add_ban = ask_add_ban,
        .remove_ban = ask_remove_ban,
        .dump = ask_dump,
    };
    c->client = client;
    c->target = target;
    c->memory = memory;
    c->now_ns = now_ns;
    return c;
}

struct vx_admin_port *vx_admin_client_port(struct vx_admin_client *c) {
    return &c->port;
}

void vx_admin_client_free(struct vx_admin_client *c) {
    if (c && c->method)
        vx_grpc_ask_cancel(&c->ask);
    free(c);
}
