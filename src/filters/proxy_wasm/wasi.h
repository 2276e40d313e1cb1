/* SPDX-License-Identifier: Apache-2.0 */
/* WASI preview 1, as far as it means something to a plugin: clocks, random bytes, output that goes to the log, an empty
 * environment. There are no files and no sockets; what is asked of them is refused with the errors that SDKs and
 * language runtimes expect. */
#ifndef VX_FILTERS_PROXY_WASM_WASI_H
#define VX_FILTERS_PROXY_WASM_WASI_H

#include "filters/proxy_wasm/host.h"

/* The VM that a host function was called by. */
struct vx_pwasm_vm *vx_pwasm_caller(wasmtime_caller_t *caller);

wasm_trap_t *vx_wasi_answer(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *v,
                            size_t n); /* with the errno at `env` */
wasm_trap_t *vx_wasi_no_strings(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *v, size_t n);
wasm_trap_t *vx_wasi_clock_res_get(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *v, size_t n);
wasm_trap_t *vx_wasi_clock_time_get(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *v, size_t n);
wasm_trap_t *vx_wasi_fd_fdstat_get(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *v, size_t n);
wasm_trap_t *vx_wasi_fd_write(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *v, size_t n);
wasm_trap_t *vx_wasi_fd_pwrite(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *v, size_t n);
wasm_trap_t *vx_wasi_poll_oneoff(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *v, size_t n);
wasm_trap_t *vx_wasi_proc_exit(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *v, size_t n);
wasm_trap_t *vx_wasi_random_get(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *v, size_t n);

extern const uint32_t vx_wasi_success, vx_wasi_badf, vx_wasi_exist, vx_wasi_noent, vx_wasi_nosys,
    vx_wasi_notsup;

/* Name, type, function, what it answers. */
#define VX_WASI_FUNCTION_LIST(X)                                                                             \
    X(args_get, "ii:i", vx_wasi_answer, &vx_wasi_success)                                                    \
    X(args_sizes_get, "ii:i", vx_wasi_no_strings, NULL)                                                      \
    X(clock_res_get, "ii:i", vx_wasi_clock_res_get, NULL)                                                    \
    X(clock_time_get, "iIi:i", vx_wasi_clock_time_get, NULL)                                                 \
    X(environ_get, "ii:i", vx_wasi_answer, &vx_wasi_success)                                                 \
    X(environ_sizes_get, "ii:i", vx_wasi_no_strings, NULL)                                                   \
    X(fd_advise, "iIIi:i", vx_wasi_answer, &vx_wasi_nosys)                                                   \
    X(fd_allocate, "iII:i", vx_wasi_answer, &vx_wasi_nosys)                                                  \
    X(fd_close, "i:i", vx_wasi_answer, &vx_wasi_success)                                                     \
    X(fd_datasync, "i:i", vx_wasi_answer, &vx_wasi_nosys)                                                    \
    X(fd_fdstat_get, "ii:i", vx_wasi_fd_fdstat_get, NULL)                                                    \
    X(fd_fdstat_set_flags, "ii:i", vx_wasi_answer, &vx_wasi_nosys)                                           \
    X(fd_fdstat_set_rights, "iII:i", vx_wasi_answer, &vx_wasi_nosys)                                         \
    X(fd_filestat_get, "ii:i", vx_wasi_answer, &vx_wasi_badf)                                                \
    X(fd_filestat_set_size, "iI:i", vx_wasi_answer, &vx_wasi_badf)                                           \
    X(fd_filestat_set_times, "iIIi:i", vx_wasi_answer, &vx_wasi_nosys)                                       \
    X(fd_pread, "iiiIi:i", vx_wasi_answer, &vx_wasi_nosys)                                                   \
    X(fd_prestat_dir_name, "iii:i", vx_wasi_answer, &vx_wasi_nosys)                                          \
    X(fd_prestat_get, "ii:i", vx_wasi_answer, &vx_wasi_badf)                                                 \
    X(fd_pwrite, "iiiIi:i", vx_wasi_fd_pwrite, NULL)                                                         \
    X(fd_read, "iiii:i", vx_wasi_answer, &vx_wasi_nosys)                                                     \
    X(fd_readdir, "iiiIi:i", vx_wasi_answer, &vx_wasi_exist)                                                 \
    X(fd_renumber, "ii:i", vx_wasi_answer, &vx_wasi_nosys)                                                   \
    X(fd_seek, "iIii:i", vx_wasi_answer, &vx_wasi_success)                                                   \
    X(fd_sync, "i:i", vx_wasi_answer, &vx_wasi_badf)                                                         \
    X(fd_tell, "ii:i", vx_wasi_answer, &vx_wasi_nosys)                                                       \
    X(fd_write, "iiii:i", vx_wasi_fd_write, NULL)                                                            \
    X(path_create_directory, "iii:i", vx_wasi_answer, &vx_wasi_notsup)                                       \
    X(path_filestat_get, "iiiii:i", vx_wasi_answer, &vx_wasi_notsup)                                         \
    X(path_filestat_set_times, "iiiiIIi:i", vx_wasi_answer, &vx_wasi_notsup)                                 \
    X(path_link, "iiiiiii:i", vx_wasi_answer, &vx_wasi_notsup)                                               \
    X(path_open, "iiiiiIIii:i", vx_wasi_answer, &vx_wasi_noent)                                              \
    X(path_readlink, "iiiiii:i", vx_wasi_answer, &vx_wasi_notsup)                                            \
    X(path_remove_directory, "iii:i", vx_wasi_answer, &vx_wasi_notsup)                                       \
    X(path_rename, "iiiiii:i", vx_wasi_answer, &vx_wasi_notsup)                                              \
    X(path_symlink, "iiiii:i", vx_wasi_answer, &vx_wasi_notsup)                                              \
    X(path_unlink_file, "iii:i", vx_wasi_answer, &vx_wasi_notsup)                                            \
    X(poll_oneoff, "iiii:i", vx_wasi_poll_oneoff, NULL)                                                      \
    X(proc_exit, "i:", vx_wasi_proc_exit, NULL)                                                              \
    X(proc_raise, "i:i", vx_wasi_answer, &vx_wasi_nosys)                                                     \
    X(random_get, "ii:i", vx_wasi_random_get, NULL)                                                          \
    X(sched_yield, ":i", vx_wasi_answer, &vx_wasi_success)                                                   \
    X(sock_accept, "iii:i", vx_wasi_answer, &vx_wasi_notsup)                                                 \
    X(sock_recv, "iiiiii:i", vx_wasi_answer, &vx_wasi_notsup)                                                \
    X(sock_send, "iiiii:i", vx_wasi_answer, &vx_wasi_notsup)                                                 \
    X(sock_shutdown, "ii:i", vx_wasi_answer, &vx_wasi_notsup)

#endif
