# cmake -DINPUT=FILE -DOUTPUT=FILE.cpp -DHEADER=FOLDER/NAME.h -DFUNCTION=NAME -P embed_text.cmake
# Writes the function, which HEADER declares: std::string_view FUNCTION(), the content of INPUT.
file(READ ${INPUT} hex HEX)
string(REGEX REPLACE "(..)" "0x\\1," bytes "${hex}")
file(WRITE ${OUTPUT} "#include \"${HEADER}\"

namespace latent8 {
namespace {
constexpr unsigned char kText[] = {${bytes}};
}  // namespace

std::string_view ${FUNCTION}() { return {reinterpret_cast<const char*>(kText), sizeof(kText)}; }

}  // namespace latent8
")
