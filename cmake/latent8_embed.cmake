# Compiles a file into a folder's library, as bytes, because sources are ASCII and texts may not be.
#
#   latent8_embed(quant quant/calibrate/calibration.txt quant/calibrate/calibration.h builtin_calibration_text)
#
# defines the function, which the header declares: std::string_view builtin_calibration_text(), the file's content.
function(latent8_embed folder file header function)
  set(input ${CMAKE_CURRENT_SOURCE_DIR}/${file})
  set(output ${CMAKE_BINARY_DIR}/embedded/${function}.cpp)
  set(script ${CMAKE_SOURCE_DIR}/cmake/embed_text.cmake)
  add_custom_command(
    OUTPUT ${output}
    COMMAND ${CMAKE_COMMAND} -DINPUT=${input} -DOUTPUT=${output} -DHEADER=${header} -DFUNCTION=${function} -P ${script}
    DEPENDS ${input} ${script} ${CMAKE_SOURCE_DIR}/cmake/embedded_bytes.cmake
    VERBATIM)
  target_sources(latent8_${folder} PRIVATE ${output})
  set_source_files_properties(${output} PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
endfunction()

# The same for all files of a folder of src/:
#
#   latent8_embed_folder(server server/page server/page.h page_files)
#
# defines std::span<const EmbeddedFile> page_files(), which the header declares with its type {name, bytes}.
function(latent8_embed_folder folder files_folder header function)
  set(input ${CMAKE_CURRENT_SOURCE_DIR}/${files_folder})
  set(output ${CMAKE_BINARY_DIR}/embedded/${function}.cpp)
  set(script ${CMAKE_SOURCE_DIR}/cmake/embed_folder.cmake)
  file(GLOB files CONFIGURE_DEPENDS ${input}/*)
  add_custom_command(
    OUTPUT ${output}
    COMMAND ${CMAKE_COMMAND} -DINPUT=${input} -DOUTPUT=${output} -DHEADER=${header} -DFUNCTION=${function} -P ${script}
    DEPENDS ${files} ${script} ${CMAKE_SOURCE_DIR}/cmake/embedded_bytes.cmake
    VERBATIM)
  target_sources(latent8_${folder} PRIVATE ${output})
  set_source_files_properties(${output} PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
endfunction()
