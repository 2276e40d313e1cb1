# SPDX-License-Identifier: Apache-2.0
# Compiler and linker flags, the same for every target of a build.
#
#   Release  -O2, LTO, static: what ships. Objects carry machine code beside the LTO form, so that the many test
#            programs link in a moment while `vortex` and the micro-benchmarks get whole-program optimisation.
#   Asan     AddressSanitizer + UndefinedBehaviorSanitizer, assertions on, dynamic.
#   Tsan     ThreadSanitizer, assertions on, dynamic.
#   Fuzz     clang's libFuzzer with both of the first two, assertions on.
#   Debug    -Og and assertions, for a debugger.

set(vx_build_types Release Asan Tsan Fuzz Debug)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "One of: ${vx_build_types}" FORCE)
endif()
if(NOT CMAKE_BUILD_TYPE IN_LIST vx_build_types)
  message(FATAL_ERROR "CMAKE_BUILD_TYPE is ${CMAKE_BUILD_TYPE}; use one of ${vx_build_types}")
endif()

set(CMAKE_C_STANDARD 11)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE OFF)

add_compile_options(
  -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition -Wpointer-arith
  -Wwrite-strings -Wundef -Wvla -Wformat=2 -Wconversion -Wno-sign-conversion
  -fno-common -ffunction-sections -fdata-sections -fno-pie
  # An assertion or a log line shows the path inside the tree, and builds in two places are alike.
  -ffile-prefix-map=${CMAKE_SOURCE_DIR}/=)
add_compile_definitions(_GNU_SOURCE VX_VERSION="${PROJECT_VERSION}")
add_link_options(-no-pie -Wl,--gc-sections -Wl,-z,relro,-z,now,-z,noexecstack)

if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
  # clang builds are for fuzzing only; its different opinion on a warning must not stop them.
  add_compile_options(-Werror)
endif()

# The baseline of 2009; wider instructions are chosen when the program starts.
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|amd64|AMD64)$")
  add_compile_options(-march=x86-64-v2 -mtune=generic)
endif()

set(CMAKE_C_FLAGS_RELEASE "-O2 -g -D_FORTIFY_SOURCE=2 -fstack-protector-strong -flto=auto -ffat-lto-objects")
if(CMAKE_C_COMPILER_ID STREQUAL "GNU" AND CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|amd64|AMD64)$")
  # What a request clears is a few hundred bytes; gcc would do that by `rep stosq`, which is slow to begin. For the linker,
  # since with LTO it is where code is made; clang-tidy reads the compiler's flags and does not know this one.
  string(APPEND CMAKE_EXE_LINKER_FLAGS_RELEASE " -mmemset-strategy=vector_loop:512:noalign,libcall:-1:noalign")
endif()
set(CMAKE_C_FLAGS_DEBUG "-Og -g3 -DVX_ASSERTIONS")
set(vx_asan "-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer")
set(CMAKE_C_FLAGS_ASAN "-O1 -g ${vx_asan} -DVX_ASSERTIONS")
set(CMAKE_C_FLAGS_TSAN "-O1 -g -fsanitize=thread -fno-omit-frame-pointer -DVX_ASSERTIONS")
# clang calls a null pointer plus zero, the end of an empty slice, an overflow; C2y defines it, and gcc never minded.
set(vx_fuzz "-fsanitize=fuzzer-no-link ${vx_asan} -fno-sanitize=pointer-overflow")
set(CMAKE_C_FLAGS_FUZZ "-O1 -g ${vx_fuzz} -DVX_ASSERTIONS")
# gcc-ar indexes LTO objects; plain ar would leave a library whose symbols the linker cannot see.
if(CMAKE_BUILD_TYPE STREQUAL "Release")
  set(CMAKE_AR ${CMAKE_C_COMPILER_AR})
  set(CMAKE_RANLIB ${CMAKE_C_COMPILER_RANLIB})
endif()
