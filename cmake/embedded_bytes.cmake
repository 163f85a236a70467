# embedded_bytes(FILE out): the bytes of a file as what stands between the braces of a C++ array.
function(embedded_bytes file out)
  file(READ ${file} hex HEX)
  string(REGEX REPLACE "(..)" "0x\\1," bytes "${hex}")
  set(${out} "${bytes}" PARENT_SCOPE)
endfunction()
