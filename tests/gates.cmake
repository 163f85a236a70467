# Gates: rules that a program can check. Label "gate"; each checker has a self-test that shows it a violation.
find_package(Python3 REQUIRED COMPONENTS Interpreter)

function(latent8_gate name)  # latent8_gate(floors ${CMAKE_SOURCE_DIR}): tools/check_<name>.py with these arguments
  add_test(NAME gate.${name} COMMAND ${Python3_EXECUTABLE} ${CMAKE_SOURCE_DIR}/tools/check_${name}.py ${ARGN})
  add_test(NAME gate.${name}_self_test
    COMMAND ${Python3_EXECUTABLE} ${CMAKE_SOURCE_DIR}/tools/check_${name}.py --self-test)
  set_tests_properties(gate.${name} gate.${name}_self_test PROPERTIES LABELS gate TIMEOUT 120)
endfunction()

latent8_gate(floors ${CMAKE_SOURCE_DIR})
latent8_gate(length ${CMAKE_SOURCE_DIR})
latent8_gate(docs ${CMAKE_SOURCE_DIR})
latent8_gate(symbols ${CMAKE_BINARY_DIR} --nm ${CMAKE_NM})
latent8_gate(format ${CMAKE_SOURCE_DIR})

# Every public header compiles alone.
file(GLOB public_headers CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/include/latent8/*.h)
set(header_sources)
foreach(header IN LISTS public_headers)
  get_filename_component(stem ${header} NAME_WE)
  set(source ${CMAKE_BINARY_DIR}/header_alone/${stem}.cpp)
  file(CONFIGURE OUTPUT ${source} CONTENT "#include \"latent8/${stem}.h\"\n#include \"latent8/${stem}.h\"\n")
  list(APPEND header_sources ${source})
endforeach()
add_library(public_headers_alone OBJECT ${header_sources})
target_link_libraries(public_headers_alone PRIVATE latent8_flags)
