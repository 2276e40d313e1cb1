# SPDX-License-Identifier: Apache-2.0
# The archive of crates.io's libraries (native/), built or found by scripts/build-native, as the target vortex_native;
# and the Debian libraries, as imported targets.

# A bare cmake is a developer's, who wants the archive that builds faster; the Makefile names the one that ships.
set(VX_NATIVE_PROFILE dev-release CACHE STRING "Profile of the archive from native/: release or dev-release")

message(STATUS "Native archive: ${VX_NATIVE_PROFILE} (a first build takes minutes)")
execute_process(
  COMMAND ${CMAKE_SOURCE_DIR}/scripts/build-native --profile ${VX_NATIVE_PROFILE}
  OUTPUT_VARIABLE vx_native_dir OUTPUT_STRIP_TRAILING_WHITESPACE
  RESULT_VARIABLE vx_native_result)
if(NOT vx_native_result EQUAL 0)
  message(FATAL_ERROR "scripts/build-native failed; the reason stands above")
endif()
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS
  native/Cargo.toml native/Cargo.lock native/build.rs native/src/lib.rs native/cxxmin.c scripts/build-native)

add_library(vortex_native STATIC IMPORTED)
set_target_properties(vortex_native PROPERTIES
  IMPORTED_LOCATION ${vx_native_dir}/lib/libvortex_native.a
  INTERFACE_INCLUDE_DIRECTORIES ${vx_native_dir}/include
  INTERFACE_LINK_LIBRARIES "m;pthread;dl")

# Debian's libraries; the shipped program links their .a, test programs take what the linker prefers.
function(vx_debian_library target header static_name shared_name)
  if(CMAKE_BUILD_TYPE STREQUAL "Release")
    find_library(${target}_file NAMES ${static_name} REQUIRED)
  else()
    find_library(${target}_file NAMES ${shared_name} REQUIRED)
  endif()
  find_path(${target}_include ${header} REQUIRED)
  add_library(${target} UNKNOWN IMPORTED)
  set_target_properties(${target} PROPERTIES IMPORTED_LOCATION ${${target}_file}
    INTERFACE_INCLUDE_DIRECTORIES ${${target}_include})
endfunction()

vx_debian_library(vx_cares ares.h libcares.a cares)
vx_debian_library(vx_yaml yaml.h libyaml.a yaml)
vx_debian_library(vx_hiredis hiredis/hiredis.h libhiredis.a hiredis)
vx_debian_library(vx_bpf bpf/libbpf.h libbpf.a bpf)
vx_debian_library(vx_elf libelf.h libelf.a elf)
vx_debian_library(vx_z zlib.h libz.a z)
set_property(TARGET vx_elf PROPERTY INTERFACE_LINK_LIBRARIES vx_z)
set_property(TARGET vx_bpf PROPERTY INTERFACE_LINK_LIBRARIES "vx_elf;vx_z")
if(CMAKE_BUILD_TYPE STREQUAL "Release")
  vx_debian_library(vx_jemalloc jemalloc/jemalloc.h libjemalloc.a jemalloc)
endif()
