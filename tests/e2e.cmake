# End-to-end tests: the program as a user starts it, driven by Python's standard library. One ctest per file.
#   tests/e2e/<name>_test.py gets LATENT8 (the program), LATENT8_SOURCE_DIR and LATENT8_WORK_DIR in its environment.
# Tests that need the quantised model use support.quantized_model(), which makes it once per work directory.
find_package(Python3 REQUIRED COMPONENTS Interpreter)

file(GLOB e2e_tests CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/e2e/*_test.py)
foreach(file IN LISTS e2e_tests)
  get_filename_component(name ${file} NAME_WE)
  string(REGEX REPLACE "_test$" "" name ${name})
  add_test(NAME e2e.${name} COMMAND ${Python3_EXECUTABLE} -B ${file} -v)
  set_tests_properties(e2e.${name} PROPERTIES LABELS e2e TIMEOUT 900 COST 100 ENVIRONMENT
    "LATENT8=$<TARGET_FILE:latent8>;LATENT8_SOURCE_DIR=${CMAKE_SOURCE_DIR};LATENT8_WORK_DIR=${CMAKE_BINARY_DIR}/e2e")
endforeach()
