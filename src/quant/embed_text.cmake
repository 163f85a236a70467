# cmake -DINPUT=calibration.txt -DOUTPUT=calibration_text.cpp -P embed_text.cmake
file(READ ${INPUT} hex HEX)
string(REGEX REPLACE "(..)" "0x\\1," bytes "${hex}")
file(WRITE ${OUTPUT} "#include \"quant/calibration.h\"

namespace latent8 {
namespace {
constexpr unsigned char kText[] = {${bytes}};
}  // namespace

std::string_view builtin_calibration_text() { return {reinterpret_cast<const char*>(kText), sizeof(kText)}; }

}  // namespace latent8
")
