# SPDX-License-Identifier: Apache-2.0
# Programs for the kernel: compiled by clang when Vortex is built, and embedded as a skeleton, so that nothing is compiled
# when it runs.

find_program(VX_CLANG NAMES clang-16 clang REQUIRED)
find_program(VX_BPFTOOL NAMES bpftool PATHS /usr/sbin /sbin REQUIRED)

# vx_bpf(TARGET SOURCE): NAME.skel.h, made of NAME.bpf.c, in a folder that TARGET includes from.
function(vx_bpf target source)
  get_filename_component(name ${source} NAME)
  string(REGEX REPLACE "\\.bpf\\.c$" "" name ${name})
  set(folder ${CMAKE_BINARY_DIR}/bpf)
  set(object ${folder}/${name}.bpf.o)
  set(skeleton ${folder}/${name}.skel.h)
  file(MAKE_DIRECTORY ${folder})
  # -g: the maps are described by BTF; the DWARF beside it stays out of the program. The kernel's architecture headers lie
  # in the compiler's folder of that name on Debian.
  add_custom_command(OUTPUT ${skeleton}
    COMMAND ${VX_CLANG} -target bpf -mcpu=v3 -O2 -g -Wall -Wextra -Werror
            -ffile-prefix-map=${CMAKE_SOURCE_DIR}/= -I${CMAKE_SOURCE_DIR}/src
            -isystem /usr/include/${CMAKE_LIBRARY_ARCHITECTURE} -c ${source} -o ${object}.full
    COMMAND ${VX_BPFTOOL} gen object ${object} ${object}.full
    # What bpftool writes is not ours to mend.
    COMMAND ${CMAKE_COMMAND} -E echo "/* NOLINTBEGIN */" > ${skeleton}
    COMMAND ${VX_BPFTOOL} gen skeleton ${object} name ${name}_bpf >> ${skeleton}
    COMMAND ${CMAKE_COMMAND} -E echo "/* NOLINTEND */" >> ${skeleton}
    DEPENDS ${source} ${CMAKE_SOURCE_DIR}/src/ebpf/xdp_drop.h
    COMMENT "Compiling ${name}.bpf.c for the kernel" VERBATIM)
  target_sources(${target} PRIVATE ${skeleton})
  target_include_directories(${target} SYSTEM PRIVATE ${folder})
endfunction()
