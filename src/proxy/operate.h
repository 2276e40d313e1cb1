/* SPDX-License-Identifier: Apache-2.0 */
/* The subcommands that speak to a running proxy over its admin socket: reload, stats, plugin push, bans. Main thread. */
#ifndef VX_PROXY_OPERATE_H
#define VX_PROXY_OPERATE_H

/* Runs the one that `arguments` name (`reload [PATH]`, `stats [--verbose]`, `plugin push FILE [--name N]`, `bans list`,
 * `bans add ADDR [--for D]`, `bans remove ADDR`), each with `--socket PATH` or `-c FILE`. Returns the program's exit code: 0
 * done, 1 no proxy answered or it said no, 2 wrong usage or configuration, or -1 with *wrong (and *what, which may be NULL)
 * set: these arguments mean nothing. */
int vx_operate(int count, char **arguments, const char **wrong, const char **what);

#endif
