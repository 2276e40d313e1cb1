/* SPDX-License-Identifier: Apache-2.0 */
/* See service.h. A method is a row: what it is asked with, how it asks the port, how the answer becomes a message. */
#include "admin/service/service.h"

#include <admin.pb-c.h>
#include <stdlib.h>

#include "admin/service/text.h"

#define M(name) vortex__admin__##name

struct admin_method {
    const ProtobufCMessageDescriptor *request;
    enum vx_admin_when (*ask)(struct vx_admin_port *port, const ProtobufCMessage *request,
                              struct vx_admin_call *call, struct vx_admin_answer *answer);
    /* `text` is the answer's, NUL-terminated and valid UTF-8. */
    void (*reply)(struct vx_grpc_call *grpc, const struct vx_admin_answer *answer, char *text);
    bool says_no; /* its answer can tell of a refusal; else that is an error of the call */
};

/* A question that was put to the port. */
struct asked {
    struct vx_admin_call call;
    struct vx_grpc_call *grpc;
    const struct admin_method *method;
};

static void send(struct vx_grpc_call *grpc, const ProtobufCMessage *message) {
    size_t bytes = protobuf_c_message_get_packed_size(message);
    char *room = vx_grpc_answer_room(grpc, bytes);
    if (!room) {
        vx_grpc_fail(grpc, VX_GRPC_RESOURCE_EXHAUSTED, VX_SLICE("out of memory"));
        return;
    }
    protobuf_c_message_pack(message, (uint8_t *)room);
    vx_grpc_answer(grpc);
}

/* --- What is asked ------------------------------------------------------------------------------------------------ */

static enum vx_admin_when ask_reload(struct vx_admin_port *port, const ProtobufCMessage *request,
                                     struct vx_admin_call *call, struct vx_admin_answer *answer) {
    const Vortex__Admin__ReloadConfigRequest *r = (const void *)request;
    return port->reload(port, vx_slice_of(r->config_path), call, answer);
}

static enum vx_admin_when ask_stats(struct vx_admin_port *port, const ProtobufCMessage *request,
                                    struct vx_admin_call *call, struct vx_admin_answer *answer) {
    (void)request;
    return port->stats(port, call, answer);
}

static enum vx_admin_when ask_update_plugin(struct vx_admin_port *port, const ProtobufCMessage *request,
                                            struct vx_admin_call *call, struct vx_admin_answer *answer) {
    const Vortex__Admin__UpdateWasmRequest *r = (const void *)request;
    struct vx_slice binary = vx_slice((const char *)r->wasm_binary.data, r->wasm_binary.len);
    return port->update_plugin(port, vx_slice_of(r->name), binary, call, answer);
}

static enum vx_admin_when ask_list_bans(struct vx_admin_port *port, const ProtobufCMessage *request,
                                        struct vx_admin_call *call, struct vx_admin_answer *answer) {
    (void)request;
    return port->list_bans(port, call, answer);
}

static enum vx_admin_when ask_add_ban(struct vx_admin_port *port, const ProtobufCMessage *request,
                                      struct vx_admin_call *call, struct vx_admin_answer *answer) {
    const Vortex__Admin__AddBanRequest *r = (const void *)request;
    return port->add_ban(port, vx_slice_of(r->address), r->duration_ms, call, answer);
}

static enum vx_admin_when ask_remove_ban(struct vx_admin_port *port, const ProtobufCMessage *request,
                                         struct vx_admin_call *call, struct vx_admin_answer *answer) {
    const Vortex__Admin__RemoveBanRequest *r = (const void *)request;
    return port->remove_ban(port, vx_slice_of(r->address), call, answer);
}

static enum vx_admin_when ask_dump(struct vx_admin_port *port, const ProtobufCMessage *request,
                                   struct vx_admin_call *call, struct vx_admin_answer *answer) {
    (void)request;
    return port->dump(port, call, answer);
}

/* --- What is answered --------------------------------------------------------------------------------------------- */

/* Whether it was done, and a sentence: these messages differ in nothing but their names. */
#define VERDICT(Message, name)                                                                               \
    static void reply_##name(struct vx_grpc_call *grpc, const struct vx_admin_answer *answer, char *text) {  \
        Vortex__Admin__##Message reply;                                                                      \
        M(name##__init)(&reply);                                                                             \
        reply.success = answer->outcome == VX_ADMIN_DONE;                                                    \
        reply.message = text;                                                                                \
        send(grpc, &reply.base);                                                                             \
    }
VERDICT(ReloadConfigResponse, reload_config_response)
VERDICT(UpdateWasmResponse, update_wasm_response)
VERDICT(AddBanResponse, add_ban_response)
VERDICT(RemoveBanResponse, remove_ban_response)

static void reply_stats(struct vx_grpc_call *grpc, const struct vx_admin_answer *answer, char *text) {
    (void)text;
    const struct vx_admin_stats *s = &answer->stats;
    char *path = vx_admin_text(s->config_path), *state = vx_admin_text(s->state),
         *version = vx_admin_text(s->version);
    Vortex__Admin__GetStatsResponse reply = VORTEX__ADMIN__GET_STATS_RESPONSE__INIT;
    reply.active_connections = s->active_connections;
    reply.connections_total = s->connections_total;
    reply.workers = s->workers;
    reply.config_version = s->config_version;
    reply.config_path = path;
    reply.uptime_seconds = s->uptime_seconds;
    reply.state = state;
    reply.version = version;
    reply.pid = s->pid;
    send(grpc, &reply.base); /* a text that found no memory is left out */
    free(path);
    free(state);
    free(version);
}

static void fill_ban(Vortex__Admin__Ban *out, const struct vx_admin_ban *ban) {
    M(ban__init)(out);
    out->address = vx_admin_text(ban->address);
    out->remaining_ms = ban->remaining_ms;
    out->strikes = ban->strikes;
    out->manual = ban->manual;
}

static void reply_list_bans(struct vx_grpc_call *grpc, const struct vx_admin_answer *answer, char *text) {
    (void)text;
    Vortex__Admin__ListBansResponse reply = VORTEX__ADMIN__LIST_BANS_RESPONSE__INIT;
    Vortex__Admin__Ban *bans = calloc(answer->ban_count + (size_t)1, sizeof *bans);
    Vortex__Admin__Ban **list = calloc(answer->ban_count + (size_t)1, sizeof(Vortex__Admin__Ban *));
    if (bans && list) {
        for (uint32_t i = 0; i < answer->ban_count; i++) {
            fill_ban(&bans[i], &answer->bans[i]);
            list[i] = &bans[i];
        }
        reply.n_bans = answer->ban_count;
        reply.bans = list;
        send(grpc, &reply.base);
        for (uint32_t i = 0; i < answer->ban_count; i++)
            free(bans[i].address);
    } else {
        vx_grpc_fail(grpc, VX_GRPC_RESOURCE_EXHAUSTED, VX_SLICE("out of memory"));
    }
    free(bans);
    free(list);
}

static void reply_dump(struct vx_grpc_call *grpc, const struct vx_admin_answer *answer, char *text) {
    (void)answer;
    Vortex__Admin__DumpResponse reply = VORTEX__ADMIN__DUMP_RESPONSE__INIT;
    reply.text = text;
    send(grpc, &reply.base);
}

/* --- Between the two ---------------------------------------------------------------------------------------------- */

static void reply(const struct admin_method *method, struct vx_grpc_call *grpc,
                  const struct vx_admin_answer *answer) {
    if (answer->outcome == VX_ADMIN_FAILED || (answer->outcome != VX_ADMIN_DONE && !method->says_no)) {
        vx_grpc_fail(grpc, VX_GRPC_FAILED_PRECONDITION, answer->text);
        return;
    }
    struct vx_slice shown = answer->text;
    if (shown.len > VX_ADMIN_ANSWER_BYTES)
        shown.len = VX_ADMIN_ANSWER_BYTES;
    char *text = vx_admin_text(shown);
    if (text)
        method->reply(grpc, answer, text);
    else
        vx_grpc_fail(grpc, VX_GRPC_RESOURCE_EXHAUSTED, VX_SLICE("out of memory"));
    free(text);
}

static void answered(struct vx_admin_call *call, const struct vx_admin_answer *answer) {
    struct asked *a = (struct asked *)call;
    reply(a->method, a->grpc, answer);
    free(a);
}

static void run(void *user, const struct vx_grpc_method *of, struct vx_grpc_call *grpc,
                struct vx_slice message) {
    struct vx_admin_service *s = user;
    const struct admin_method *method = of->about;
    struct asked *a = calloc(1, sizeof *a);
    ProtobufCMessage *request =
        protobuf_c_message_unpack(method->request, NULL, message.len, (const uint8_t *)message.ptr);
    if (!a || !request) {
        vx_grpc_fail(grpc, VX_GRPC_INTERNAL,
                     a ? VX_SLICE("the message is not the one that this method takes")
                       : VX_SLICE("out of memory"));
        if (request)
            protobuf_c_message_free_unpacked(request, NULL);
        free(a);
        return;
    }
    *a = (struct asked){.call = {answered}, .grpc = grpc, .method = method};
    struct vx_admin_answer answer;
    memset(&answer, 0, sizeof answer);
    enum vx_admin_when when = method->ask(s->port, request, &a->call, &answer);
    protobuf_c_message_free_unpacked(request, NULL);
    if (when == VX_ADMIN_NOW) {
        reply(method, grpc, &answer);
        free(a);
    }
}

#define METHOD(request, ask, answer, no)                                                                     \
    &(const struct admin_method) {                                                                           \
        &M(request##__descriptor), ask, answer, no                                                           \
    }

static const struct vx_grpc_method methods[] = {
    {VX_SLICE("ReloadConfig"), METHOD(reload_config_request, ask_reload, reply_reload_config_response, true)},
    {VX_SLICE("GetStats"), METHOD(get_stats_request, ask_stats, reply_stats, false)},
    {VX_SLICE("UpdateWasmPlugin"),
     METHOD(update_wasm_request, ask_update_plugin, reply_update_wasm_response, true)},
    {VX_SLICE("ListBans"), METHOD(list_bans_request, ask_list_bans, reply_list_bans, false)},
    {VX_SLICE("AddBan"), METHOD(add_ban_request, ask_add_ban, reply_add_ban_response, true)},
    {VX_SLICE("RemoveBan"), METHOD(remove_ban_request, ask_remove_ban, reply_remove_ban_response, true)},
    {VX_SLICE("Dump"), METHOD(dump_request, ask_dump, reply_dump, false)},
};

static const struct vx_grpc_service service = {
    .name = VX_SLICE("vortex.admin.AdminService"),
    .methods = methods,
    .method_count = sizeof methods / sizeof *methods,
    .limits =
        {
            .message_bytes = VX_ADMIN_REQUEST_BYTES,
            .held_bytes = 2 * (uint64_t)VX_ADMIN_REQUEST_BYTES,
            .calls = VX_ADMIN_CALLS,
        },
    .run = run,
};

void vx_admin_service_init(struct vx_admin_service *s, struct vx_admin_port *port) {
    s->port = port;
    vx_grpc_server_init(&s->server, &service, s);
}
