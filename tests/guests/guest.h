/* SPDX-License-Identifier: Apache-2.0 */
/* What a guest written in C without any library needs: its types, and how functions cross the border. */
#ifndef VX_TESTS_GUESTS_GUEST_H
#define VX_TESTS_GUESTS_GUEST_H

typedef unsigned char uint8_t;
typedef unsigned int uint32_t;
typedef int int32_t;
typedef unsigned long long uint64_t;
typedef long long int64_t;
typedef unsigned long size_t;

#define IMPORT(name) __attribute__((import_module("env"), import_name(#name))) extern
#define EXPORT(name) __attribute__((export_name(#name)))

#endif
