# One static library per folder of src/. What a folder links is what it may include (docs/architecture.md, floors);
# tools/check_floors.py checks the includes themselves.
#
#   latent8_folder(kv base sys kernels)            # the folders that kv/ uses
function(latent8_folder name)
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/${name}/*.cpp)
  if(NOT sources)  # headers only
    file(WRITE ${CMAKE_BINARY_DIR}/empty.cpp "")
    set(sources ${CMAKE_BINARY_DIR}/empty.cpp)
  endif()
  add_library(latent8_${name} STATIC ${sources})
  target_link_libraries(latent8_${name} PUBLIC latent8_flags)
  foreach(dep IN LISTS ARGN)
    target_link_libraries(latent8_${name} PUBLIC latent8_${dep})
  endforeach()
endfunction()
