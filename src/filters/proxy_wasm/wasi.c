/* SPDX-License-Identifier: Apache-2.0 */
/* See wasi.h. */
#include "filters/proxy_wasm/wasi.h"

#include <sys/random.h>

#include "filters/clock.h"

enum {
    RANDOM_MAX = 65536,
    FDSTAT_BYTES = 24,
    RIGHT_TO_WRITE = 64,
    VECTORS_MAX = 1024,
    WRITE_MAX_BYTES = 16384 /* the rest is dropped: no deadline ends a host call */
};
enum { CLOCK_OF_DAY = 0, CLOCK_OF_TIME_PASSED = 1 };

const uint32_t vx_wasi_success = VX_WASI_SUCCESS, vx_wasi_badf = VX_WASI_BADF, vx_wasi_exist = VX_WASI_EXIST,
               vx_wasi_noent = VX_WASI_NOENT, vx_wasi_nosys = VX_WASI_NOSYS, vx_wasi_notsup = VX_WASI_NOTSUP;

static uint32_t arg(const wasmtime_val_raw_t *v, int i) {
    return (uint32_t)v[i].i32;
}

static wasm_trap_t *give(wasmtime_val_raw_t *v, enum vx_wasi_errno error) {
    v[0].i64 = (int64_t)error;
    return NULL;
}

wasm_trap_t *vx_wasi_answer(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *v, size_t n) {
    (void)caller;
    (void)n;
    return give(v, (enum vx_wasi_errno) * (const uint32_t *)env);
}

/* How many strings and how many bytes they have: none, for arguments and environment alike. */
wasm_trap_t *vx_wasi_no_strings(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *v, size_t n) {
    (void)env;
    (void)n;
    const struct vx_pwasm_vm *vm = vx_pwasm_caller(caller);
    bool fine = vx_pwasm_write(vm, arg(v, 0), 0, 4) && vx_pwasm_write(vm, arg(v, 1), 0, 4);
    return give(v, fine ? VX_WASI_SUCCESS : VX_WASI_FAULT);
}

wasm_trap_t *vx_wasi_clock_res_get(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *v, size_t n) {
    (void)env;
    (void)n;
    if (arg(v, 0) > CLOCK_OF_TIME_PASSED)
        return give(v, VX_WASI_NOTSUP);
    bool fine = vx_pwasm_write(vx_pwasm_caller(caller), arg(v, 1), 1, 8);
    return give(v, fine ? VX_WASI_SUCCESS : VX_WASI_FAULT);
}

wasm_trap_t *vx_wasi_clock_time_get(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *v, size_t n) {
    (void)env;
    (void)n;
    const struct vx_pwasm_vm *vm = vx_pwasm_caller(caller);
    uint32_t id = arg(v, 0);
    if (id > CLOCK_OF_TIME_PASSED)
        return give(v, VX_WASI_NOTSUP);
    uint64_t now_ns = id == CLOCK_OF_DAY ? vx_pwasm_vm_wall_ns(vm) : vx_clock_ns(CLOCK_MONOTONIC);
    return give(v, vx_pwasm_write(vm, arg(v, 2), now_ns, 8) ? VX_WASI_SUCCESS : VX_WASI_FAULT);
}

static bool is_output(uint32_t fd) {
    return fd == 1 || fd == 2;
}

wasm_trap_t *vx_wasi_fd_fdstat_get(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *v, size_t n) {
    (void)env;
    (void)n;
    if (!is_output(arg(v, 0)))
        return give(v, VX_WASI_BADF);
    uint8_t *stat = vx_wasm_instance_bytes(&vx_pwasm_caller(caller)->sandbox, arg(v, 1), FDSTAT_BYTES);
    if (!stat)
        return give(v, VX_WASI_FAULT);
    memset(stat, 0, FDSTAT_BYTES);
    stat[8] = RIGHT_TO_WRITE;
    return give(v, VX_WASI_SUCCESS);
}

/* Hands the pieces of a write on, as much of them as one call may bring; *total is the size of all. False: an address
 * outside of the guest's memory. */
static bool take_pieces(struct vx_pwasm_vm *vm, uint32_t level, uint32_t vectors, uint32_t count,
                        uint32_t *total) {
    size_t room = WRITE_MAX_BYTES;
    uint64_t sum = 0;
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *vector = vx_wasm_instance_bytes(&vm->sandbox, vectors, (uint64_t)count * 8);
        struct vx_slice piece;
        uint32_t place[2];
        if (!vector)
            return false;
        memcpy(place, vector + (size_t)i * 8, sizeof place);
        if (!vx_pwasm_read(vm, place[0], place[1], &piece))
            return false;
        sum += piece.len;
        piece.len = piece.len < room ? piece.len : room;
        room -= piece.len;
        vx_pwasm_output_write(vm, level, piece);
    }
    *total = (uint32_t)sum;
    return sum <= UINT32_MAX;
}

static enum vx_wasi_errno write_output(struct vx_pwasm_vm *vm, uint32_t fd, uint32_t vectors, uint32_t count,
                                       uint32_t written_at) {
    uint32_t total;
    if (!is_output(fd))
        return VX_WASI_BADF;
    if (count > VECTORS_MAX)
        return VX_WASI_INVAL;
    if (!take_pieces(vm, fd == 1 ? VX_PWASM_LEVEL_INFO : VX_PWASM_LEVEL_ERROR, vectors, count, &total) ||
        !vx_pwasm_write(vm, written_at, total, 4))
        return VX_WASI_FAULT;
    return VX_WASI_SUCCESS;
}

wasm_trap_t *vx_wasi_fd_write(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *v, size_t n) {
    (void)env;
    (void)n;
    return give(v, write_output(vx_pwasm_caller(caller), arg(v, 0), arg(v, 1), arg(v, 2), arg(v, 3)));
}

wasm_trap_t *vx_wasi_fd_pwrite(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *v, size_t n) {
    (void)env;
    (void)n;
    return give(v, write_output(vx_pwasm_caller(caller), arg(v, 0), arg(v, 1), arg(v, 2), arg(v, 4)));
}

/* Nothing ever happens, and waiting is not done here. An error would end Go's runtime. */
wasm_trap_t *vx_wasi_poll_oneoff(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *v, size_t n) {
    (void)env;
    (void)n;
    bool fine = vx_pwasm_write(vx_pwasm_caller(caller), arg(v, 3), 0, 4);
    return give(v, fine ? VX_WASI_SUCCESS : VX_WASI_FAULT);
}

wasm_trap_t *vx_wasi_proc_exit(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *v, size_t n) {
    (void)env;
    (void)caller;
    (void)n;
    return vx_wasm_exit_trap(arg(v, 0));
}

wasm_trap_t *vx_wasi_random_get(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *v, size_t n) {
    (void)env;
    (void)n;
    uint32_t len = arg(v, 1);
    if (len > RANDOM_MAX)
        return give(v, VX_WASI_INVAL);
    uint8_t *p = vx_wasm_instance_bytes(&vx_pwasm_caller(caller)->sandbox, arg(v, 0), len);
    if (!p)
        return give(v, VX_WASI_FAULT);
    for (uint32_t done = 0; done < len;) {
        ssize_t got = getrandom(p + done, len - done, 0);
        if (got > 0)
            done += (uint32_t)got;
    }
    return give(v, VX_WASI_SUCCESS);
}
