# Compiles calibration.txt into latent8_quant, as bytes, because sources are ASCII and the text is not.
set(calibration_text ${CMAKE_CURRENT_LIST_DIR}/calibration.txt)
set(calibration_cpp ${CMAKE_BINARY_DIR}/calibration_text.cpp)
add_custom_command(
  OUTPUT ${calibration_cpp}
  COMMAND ${CMAKE_COMMAND} -DINPUT=${calibration_text} -DOUTPUT=${calibration_cpp} -DHEADER=quant/calibration.h
          -DFUNCTION=builtin_calibration_text -P ${CMAKE_CURRENT_LIST_DIR}/embed_text.cmake
  DEPENDS ${calibration_text} ${CMAKE_CURRENT_LIST_DIR}/embed_text.cmake
  VERBATIM)
target_sources(latent8_quant PRIVATE ${calibration_cpp})
