/* SPDX-License-Identifier: Apache-2.0 */
/* The table behind error.h. */
#include "core/base/error.h"

static const struct vx_error_info infos[VX_ERR_COUNT] = {
#define X(name, status, source, word, text) [VX_ERR_##name] = {status, VX_BY_##source, word, text},
    VX_ERROR_LIST(X)
#undef X
};

const struct vx_error_info *vx_error_info(enum vx_error_code code) {
    return &infos[code < VX_ERR_COUNT ? code : VX_ERR_NONE];
}
