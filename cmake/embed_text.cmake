# cmake -DINPUT=FILE -DOUTPUT=FILE.cpp -DHEADER=FOLDER/NAME.h -DFUNCTION=NAME -P embed_text.cmake
# Writes the function, which HEADER declares: std::string_view FUNCTION(), the content of INPUT.
include(${CMAKE_CURRENT_LIST_DIR}/embedded_bytes.cmake)
embedded_bytes(${INPUT} bytes)
file(WRITE ${OUTPUT} "#include \"${HEADER}\"

namespace latent8 {
namespace {
constexpr unsigned char kText[] = {${bytes}};
}  // namespace

std::string_view ${FUNCTION}() { return {reinterpret_cast<const char*>(kText), sizeof(kText)}; }

}  // namespace latent8
")
