/* SPDX-License-Identifier: Apache-2.0 */
/* What single texts of a configuration must look like. A source calls these with the value at hand, so that its error
 * points at the value; vx_config_validate calls them again for all, whatever the source.
 * All are pure. False: *must is static text that goes on after "must be": "a path that begins with `/`". */
#ifndef VX_CORE_CONFIG_CHECK_H
#define VX_CORE_CONFIG_CHECK_H

#include <stdbool.h>

#include "core/base/slice.h"

/* A route's name: 1 to 128 bytes, no white space or control characters. */
bool vx_config_check_name(struct vx_slice text, const char **must);

/* The name of an AI model: 1 to 256 bytes, no control characters. */
bool vx_config_check_model(struct vx_slice text, const char **must);

/* `*`, `*.example.org`, a host name, an IPv4 address or a bracketed IPv6 address, all without port. */
bool vx_config_check_host_pattern(struct vx_slice text, const char **must);

/* A path or prefix to be compared with normalised request paths: begins with `/` and is in that form itself. */
bool vx_config_check_path(struct vx_slice text, const char **must);

/* A path that may have a query: what a health check asks for. */
bool vx_config_check_request_target(struct vx_slice text, const char **must);

/* A method in capital letters. */
bool vx_config_check_method(struct vx_slice text, const char **must);

/* RFC 9110 §5.1 and §5.5. */
bool vx_config_check_header_name(struct vx_slice text, const char **must);
bool vx_config_check_header_value(struct vx_slice text, const char **must);

/* A path or a URI with a scheme, to be put into Location. */
bool vx_config_check_location(struct vx_slice text, const char **must);

/* A host with or without port, to be put into Host. */
bool vx_config_check_authority(struct vx_slice text, const char **must);

/* A host name or an IP address, as a certificate has it. */
bool vx_config_check_server_name(struct vx_slice text, const char **must);

/* The name of a network interface, as the kernel allows it. */
bool vx_config_check_interface(struct vx_slice text, const char **must);

/* `off`, or an absolute path. */
bool vx_config_check_pin(struct vx_slice text, const char **must);

#endif
