/* SPDX-License-Identifier: Apache-2.0 */
/* Heads on their way to and from a backend of HTTP/2: from the message model to fields, and back. */
#include "proxy/http2/client_internal.h"
#include "proxy/http2/websocket.h"

enum { OURS = 7 }; /* pseudo fields and content-length */

bool vx_h2_client_is_extended(const struct vx_request *request) {
    const struct vx_header *upgrade =
        request->upgrade ? vx_headers_find(&request->headers, VX_HEADER_UPGRADE) : NULL;
    return upgrade && vx_slice_ieq(vx_header_value(upgrade), VX_SLICE("websocket"));
}

/* The key of a WebSocket is a matter between us and a client of HTTP/1 (RFC 8441 §5.1), to be answered later on. */
static void add_fields(struct vx_h2_fields *fields, const struct h2_client_request *r) {
    struct vx_headers *headers = &r->request->headers;
    struct vx_header *key = r->extended ? vx_headers_find_name(headers, VX_SLICE("sec-websocket-key")) : NULL;
    if (key)
        key->flags |= VX_HEADER_REMOVED;
    vx_h2_fields_add_headers(fields, headers);
    if (key)
        key->flags &= (uint8_t)~VX_HEADER_REMOVED;
}

void vx_h2_client_write_head(struct vx_h2_fields *fields, const struct h2_client_request *r) {
    struct vx_request *request = r->request;
    const struct vx_header *host = vx_headers_find(&request->headers, VX_HEADER_HOST);
    struct vx_slice path = vx_request_path_and_query(request, r->st.arena);
    vx_h2_fields_init(fields, r->st.arena, request->headers.count + (size_t)OURS);
    fields->no_memory = fields->no_memory || !path.ptr;
    vx_h2_fields_add(fields, VX_SLICE(":method"), r->extended ? VX_SLICE("CONNECT") : request->method_text);
    if (r->extended)
        vx_h2_fields_add(fields, VX_SLICE(":protocol"), VX_SLICE("websocket"));
    vx_h2_fields_add(fields, VX_SLICE(":scheme"), r->target->tls ? VX_SLICE("https") : VX_SLICE("http"));
    vx_h2_fields_add(fields, VX_SLICE(":authority"), host ? vx_header_value(host) : r->target->name);
    vx_h2_fields_add(fields, VX_SLICE(":path"), path);
    add_fields(fields, r);
    if (request->framing == VX_BODY_LENGTH && !r->extended)
        vx_h2_fields_add_length(fields, request->body_bytes);
}

static bool refuse(struct vx_error *error, enum vx_error_code code, const char *detail) {
    *error = vx_error(code, false, detail);
    return false;
}

/* The 2xx that opens the tunnel is HTTP/1.1's 101. */
static bool accept_tunnel(struct h2_client_request *r, struct vx_error *error) {
    struct vx_response *response = &r->response;
    response->status = 101;
    response->upgrade = r->tunnel = true;
    response->framing = VX_BODY_NONE;
    vx_headers_remove(&response->headers, VX_HEADER_CONTENT_LENGTH);
    return (vx_headers_add(&response->headers, r->st.arena, VX_HEADER_UPGRADE,
                           vx_header_id_name(VX_HEADER_UPGRADE), VX_SLICE("websocket")) &&
            vx_websocket_add_accept(&response->headers, &r->request->headers, r->st.arena)) ||
           refuse(error, VX_ERR_OUT_OF_MEMORY, NULL);
}

bool vx_h2_client_read_head(struct h2_client_request *r, struct vx_error *error) {
    const struct vx_h2_head *head = &r->st.head;
    r->response = (struct vx_response){.status = head->status, .headers = head->fields};
    if (head->refused == VX_ERR_OUT_OF_MEMORY)
        return refuse(error, VX_ERR_OUT_OF_MEMORY, NULL);
    if (head->refused)
        return refuse(error, VX_ERR_BAD_RESPONSE, "more fields than allowed");
    if (!vx_h2_read_response(r->request->method, head->repeated, head->ended, &r->response, error))
        return false;
    if (head->status < 200)
        return true;
    r->answered = true;
    r->up.received_bytes += head->bytes;
    return !r->extended || head->status >= 300 || accept_tunnel(r, error);
}
