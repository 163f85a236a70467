# XGrammar's C++ core as a static library, from the sources that tools/deps.sh unpacks below build/. Without them
# everything else builds, and a request for a grammar is refused. LATENT8_XGRAMMAR OFF leaves it out, ON insists.
set(LATENT8_XGRAMMAR AUTO CACHE STRING "constrained decoding by XGrammar: AUTO, ON or OFF")
set(xgrammar_dir ${CMAKE_SOURCE_DIR}/build/xgrammar)

# CONFIGURE_DEPENDS: a build folder that was configured before the sources came takes them up by itself.
file(GLOB_RECURSE xgrammar_sources CONFIGURE_DEPENDS ${xgrammar_dir}/cpp/*.cc)
list(FILTER xgrammar_sources EXCLUDE REGEX "/cpp/tvm_ffi/")
if(xgrammar_sources AND LATENT8_XGRAMMAR)
  set(LATENT8_HAS_XGRAMMAR ON)
elseif(LATENT8_XGRAMMAR STREQUAL "ON")
  message(FATAL_ERROR "LATENT8_XGRAMMAR is ON: sources expected in ${xgrammar_dir}; tools/deps.sh fetches them")
else()
  set(LATENT8_HAS_XGRAMMAR OFF)
  message(STATUS "latent8: without XGrammar (no sources in ${xgrammar_dir}): no constrained decoding")
  return()
endif()

add_library(xgrammar STATIC ${xgrammar_sources})
target_include_directories(xgrammar SYSTEM
  PUBLIC ${xgrammar_dir}/include ${xgrammar_dir}/3rdparty/dlpack/include
  PRIVATE ${xgrammar_dir}/cpp ${xgrammar_dir}/3rdparty/picojson)
# Its log goes to ours: src/grammar/xgrammar.cpp defines what XGRAMMAR_LOG_CUSTOMIZE asks for.
target_compile_definitions(xgrammar PRIVATE XGRAMMAR_ENABLE_CPPTRACE=0 XGRAMMAR_ENABLE_INTERNAL_CHECK=0
  XGRAMMAR_LOG_CUSTOMIZE=1 NDEBUG)
set_target_properties(xgrammar PROPERTIES CXX_STANDARD 17 UNITY_BUILD OFF)
target_compile_options(xgrammar PRIVATE -w -g0 $<IF:$<CONFIG:Release>,-O2,-O1>)
target_link_libraries(xgrammar PUBLIC Threads::Threads)
# ThreadSanitizer has to see its atomics. The others would check a library that is not ours, for minutes of compiling.
if(LATENT8_SANITIZE MATCHES thread)
  target_compile_options(xgrammar PRIVATE -fsanitize=thread -fno-omit-frame-pointer)
endif()
