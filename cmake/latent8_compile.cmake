# Flags that every target gets: warnings, sanitizers, floating-point contract.
find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE_PROGRAM})
endif()

if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  message(WARNING "g++ spills the VNNI accumulators and halves every int8 kernel; use clang++-19 (a preset does)")
endif()

add_library(latent8_flags INTERFACE)
target_compile_options(latent8_flags INTERFACE
  -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wno-sign-conversion
  -ffp-contract=off -fno-math-errno -march=x86-64-v2
  -ffile-prefix-map=${CMAKE_SOURCE_DIR}/=)  # no path of this machine in messages, nor in what ccache compares
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # Designated initialisers that leave members at their defaults are house style; g++ 12 warns of them.
  target_compile_options(latent8_flags INTERFACE -Wno-missing-field-initializers)
endif()
if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  target_compile_options(latent8_flags INTERFACE -Werror -Wno-missing-field-initializers)
endif()
target_include_directories(latent8_flags INTERFACE ${CMAKE_SOURCE_DIR}/src ${CMAKE_SOURCE_DIR}/include)
if(LATENT8_SANITIZE)
  # A null pointer that is used ends the program in any case; checking for it doubles the time to compile a kernel.
  target_compile_options(latent8_flags INTERFACE -fsanitize=${LATENT8_SANITIZE} -fno-omit-frame-pointer
    -fno-sanitize-recover=all -fno-sanitize=null,object-size)
  target_link_options(latent8_flags INTERFACE -fsanitize=${LATENT8_SANITIZE})
endif()

find_program(MOLD_PROGRAM mold)
if(MOLD_PROGRAM AND CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  add_link_options(-fuse-ld=mold)
endif()
