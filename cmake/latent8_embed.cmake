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
    DEPENDS ${input} ${script}
    VERBATIM)
  target_sources(latent8_${folder} PRIVATE ${output})
endfunction()
