/* SPDX-License-Identifier: Apache-2.0 */
/* `vortex run`: the control thread, which starts the workers, loads configurations, watches names and health, serves
 * the metrics page, and ends it all. */
#ifndef VX_PROXY_CONTROL_CONTROL_H
#define VX_PROXY_CONTROL_CONTROL_H

/* Runs the proxy with the configuration at `path` until a signal ends it. Returns the program's exit code: 0 after a
 * drain, 1 when it could not start or run, 2 for a bad configuration; what was wrong is on stderr. Main thread. */
int vx_control_run(const char *path);

#endif
