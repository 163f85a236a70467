# cmake -DINPUT=FOLDER -DOUTPUT=FILE.cpp -DHEADER=FOLDER/NAME.h -DFUNCTION=NAME -P embed_folder.cmake
# Writes the function, which HEADER declares: std::span<const EmbeddedFile> FUNCTION(), the files of INPUT by name.
include(${CMAKE_CURRENT_LIST_DIR}/embedded_bytes.cmake)
file(GLOB files LIST_DIRECTORIES false RELATIVE ${INPUT} ${INPUT}/*)
set(arrays "")
set(entries "")
foreach(name IN LISTS files)
  string(MAKE_C_IDENTIFIER "k_${name}" array)
  embedded_bytes(${INPUT}/${name} bytes)
  string(APPEND arrays "constexpr unsigned char ${array}[] = {${bytes}};\n")
  string(APPEND entries "    {\"${name}\", {reinterpret_cast<const char*>(${array}), sizeof(${array})}},\n")
endforeach()
file(WRITE ${OUTPUT} "#include \"${HEADER}\"

namespace latent8 {
namespace {
${arrays}
const EmbeddedFile kFiles[] = {
${entries}};
}  // namespace

std::span<const EmbeddedFile> ${FUNCTION}() { return kFiles; }

}  // namespace latent8
")
