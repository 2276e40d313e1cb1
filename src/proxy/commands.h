/* SPDX-License-Identifier: Apache-2.0 */
/* The subcommands. Each returns the program's exit code; what went wrong is on stderr. Main thread. */
#ifndef VX_PROXY_COMMANDS_H
#define VX_PROXY_COMMANDS_H

#include <stdbool.h>
#include <stdint.h>

/* Runs the proxy until a signal ends it. */
int vx_command_run(const char *path);

/* Loads the configuration and everything it names, as `run` would, and says what is wrong. */
int vx_command_check(const char *path);

/* Serves proxy/handlers/echo.h on 127.0.0.1:port until SIGINT or SIGTERM. */
int vx_command_echo(uint16_t port);

/* 1..65535 in decimal digits. */
bool vx_command_parse_port(const char *text, uint16_t *port);

#endif
