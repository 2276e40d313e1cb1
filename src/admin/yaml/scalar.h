/* SPDX-License-Identifier: Apache-2.0 */
/* The forms in which the configuration writes numbers. All are pure; false: not of that form, or beyond 64
 * bits. */
#ifndef VX_ADMIN_YAML_SCALAR_H
#define VX_ADMIN_YAML_SCALAR_H

#include "core/base/slice.h"

/* Decimal digits without sign; leading zeros are refused, because YAML 1.1 reads them as octal. */
bool vx_yaml_read_count(struct vx_slice text, uint64_t *out);

/* `500ms`, `5s`, `1m`, `2h`, `1d`, or larger units before smaller ones: `1m30s`. A lone `0` needs no unit. To
 * ns. */
bool vx_yaml_read_duration(struct vx_slice text, uint64_t *out_ns);

/* `64KiB`, `1MiB`, `2GiB`, or plain bytes. */
bool vx_yaml_read_size(struct vx_slice text, uint64_t *out_bytes);

/* `20%`: whole percents. */
bool vx_yaml_read_percent(struct vx_slice text, uint64_t *out);

/* true, false, on, off, yes, no in any case. */
bool vx_yaml_read_flag(struct vx_slice text, bool *out);

/* `0.5`: digits with at most nine of them after a point. */
bool vx_yaml_read_fraction(struct vx_slice text, double *out);

#endif
