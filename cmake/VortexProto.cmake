# SPDX-License-Identifier: Apache-2.0
# vx_proto(TARGET FILE): the library of what protoc-c makes of a .proto, with its header <NAME.pb-c.h>. Generated code is
# not ours: no warnings, no lint.
find_program(vx_protoc_c protoc-c REQUIRED)
vx_debian_library(vx_protobuf_c protobuf-c/protobuf-c.h libprotobuf-c.a protobuf-c)

function(vx_proto target file)
  get_filename_component(name ${file} NAME_WE)
  get_filename_component(folder ${file} DIRECTORY)
  set(out ${CMAKE_BINARY_DIR}/proto)
  file(MAKE_DIRECTORY ${out})
  add_custom_command(OUTPUT ${out}/${name}.pb-c.c ${out}/${name}.pb-c.h
    COMMAND ${vx_protoc_c} --c_out=${out} --proto_path=${folder} ${name}.proto
    DEPENDS ${file} VERBATIM)
  add_library(${target} STATIC ${out}/${name}.pb-c.c)
  target_include_directories(${target} SYSTEM PUBLIC ${out})
  target_compile_options(${target} PRIVATE -w)
  target_link_libraries(${target} PUBLIC vx_protobuf_c)
endfunction()
