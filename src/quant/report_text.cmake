# Compiles report.html and report.css into latent8_quant.
foreach(part html css)
  set(report_${part} ${CMAKE_CURRENT_LIST_DIR}/report.${part})
  set(report_${part}_cpp ${CMAKE_BINARY_DIR}/report_${part}.cpp)
  add_custom_command(
    OUTPUT ${report_${part}_cpp}
    COMMAND ${CMAKE_COMMAND} -DINPUT=${report_${part}} -DOUTPUT=${report_${part}_cpp} -DHEADER=quant/report_text.h
            -DFUNCTION=report_${part}_text -P ${CMAKE_CURRENT_LIST_DIR}/embed_text.cmake
    DEPENDS ${report_${part}} ${CMAKE_CURRENT_LIST_DIR}/embed_text.cmake
    VERBATIM)
  target_sources(latent8_quant PRIVATE ${report_${part}_cpp})
endforeach()
