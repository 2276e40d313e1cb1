# SPDX-License-Identifier: Apache-2.0
# How the five libraries, test programs and benchmarks are declared.

# vx_library(NAME [LINK targets...]): libvortex_NAME.a from every .c file under this folder except main.c and
# what is for the kernel (*.bpf.c). A folder
# without sources makes no library; whoever links it then links nothing.
add_custom_target(vx_libraries)
function(vx_library name)
  cmake_parse_arguments(arg "" "" "LINK" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${name}/*.c)
  list(FILTER sources EXCLUDE REGEX "/src/proxy/main\\.c$|\\.bpf\\.c$")
  set(target vortex_${name})
  if(NOT sources)
    add_library(${target} INTERFACE)
    target_include_directories(${target} INTERFACE ${CMAKE_SOURCE_DIR}/src)
    target_link_libraries(${target} INTERFACE ${arg_LINK})
    return()
  endif()
  add_library(${target} STATIC ${sources})
  target_include_directories(${target} PUBLIC ${CMAKE_SOURCE_DIR}/src)
  target_link_libraries(${target} PUBLIC ${arg_LINK})
  add_dependencies(vx_libraries ${target})
endfunction()

# vx_ship(TARGET): link as what ships is linked. Where sanitizers run, they need the dynamic runtime instead.
function(vx_ship target)
  if(CMAKE_BUILD_TYPE STREQUAL "Release")
    target_sources(${target} PRIVATE ${CMAKE_SOURCE_DIR}/native/no_nss.c)
    target_link_libraries(${target} PRIVATE vx_jemalloc m)
    # `malloc` is asked for by name, so that jemalloc's is found before libc's.
    target_link_options(${target} PRIVATE -static -flto=auto -O2 -Wl,-O1 -Wl,-u,malloc)
  endif()
endfunction()

# vx_fast_link(TARGET): link the machine code of the objects and skip link-time optimisation.
function(vx_fast_link target)
  if(CMAKE_BUILD_TYPE STREQUAL "Release")
    target_link_options(${target} PRIVATE -fno-lto)
  endif()
endfunction()
