#include "apps/files.h"

#include <array>
#include <cctype>
#include <charconv>
#include <cmath>
#include <string_view>

#include "base/error.h"
#include "formats/atomic_file.h"

namespace latent8 {
namespace {

namespace fs = std::filesystem;

// Bytes of "KiB", "k", "" and the like; 0 for anything else.
double unit_in_bytes(std::string unit) {
  for (char& c : unit) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  if (unit.empty() || unit == "b") return 1.0;
  constexpr std::string_view kPrefixes = "kmgtp";
  const std::size_t power = kPrefixes.find(unit[0]);
  const std::string_view rest = std::string_view(unit).substr(1);
  if (power == kPrefixes.npos || (!rest.empty() && rest != "b" && rest != "i" && rest != "ib")) return 0.0;
  return std::ldexp(1.0, 10 * (static_cast<int>(power) + 1));
}

bool lies_in(const fs::path& file, const fs::path& folder) {
  const fs::path relative =
      fs::weakly_canonical(fs::absolute(file)).lexically_relative(fs::weakly_canonical(fs::absolute(folder)));
  return !relative.empty() && *relative.begin() != "..";
}

}  // namespace

CLI::Validator size_in_bytes() {
  return CLI::Validator(
      [](std::string& text) -> std::string {
        double number = 0.0;
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
        std::string unit = text.substr(static_cast<std::size_t>(end - text.data()));
        unit.erase(0, unit.find_first_not_of(' '));
        const double bytes = std::floor(number * unit_in_bytes(unit));
        if (error != std::errc() || !(bytes >= 1.0) || !(bytes < 0x1p63))
          return "a size of at least a byte as 1.5GiB, 640MiB or 4096 expected, got '" + text + "'";
        text = std::to_string(static_cast<std::int64_t>(bytes));
        return "";
      },
      "SIZE");
}

void check_output_file(const std::string& flag, const fs::path& file, const std::vector<fs::path>& folders,
                       const std::function<bool(const fs::path&)>& ours) {
  for (const fs::path& folder : folders)
    if (lies_in(file, folder))
      throw_error(ErrorCode::kInvalidArgument, "{}: '{}': a file outside of '{}' expected", flag,
                  file.string(), folder.string());
  if (fs::exists(file) && !(fs::is_regular_file(file) && ours(file)))
    throw_error(ErrorCode::kInvalidArgument,
                "{}: '{}' exists and is none that this command has written; choose another name or remove it",
                flag, file.string());
  AtomicFile probe(file);  // removed again
}

}  // namespace latent8
