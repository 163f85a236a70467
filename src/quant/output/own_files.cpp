#include "quant/output/own_files.h"

#include <algorithm>
#include <system_error>
#include <vector>

#include "base/error.h"
#include "formats/files.h"
#include "formats/quant_description.h"
#include "formats/safetensors_index.h"
#include "formats/sha256sums.h"

namespace latent8 {
namespace {

namespace fs = std::filesystem;

// Runs `read`; a file that is not what its name says has nothing to tell.
template <class Read>
void if_readable(const Read& read) {
  try {
    read();
  } catch (const Error&) {
    return;
  }
}

bool is_description(const std::string& name) {
  return name.starts_with("quant_model_description") && name.ends_with(".json");
}

std::set<std::string> listed(const fs::path& dir) {
  std::set<std::string> names;
  if_readable([&] {
    for (FileSum& sum : parse_sha256sums(read_text_file(dir / kSumsFile), kSumsFile))
      names.insert(std::move(sum.name));
  });
  if (std::none_of(names.begin(), names.end(), is_description)) return {};
  names.insert(kSumsFile);
  return names;
}

}  // namespace

OwnFiles own_files(const fs::path& dir) {
  OwnFiles own{listed(dir), true};
  if (!own.names.empty()) return own;
  own.complete = false;
  const std::vector<std::string> names = list_folder(dir);
  for (const std::string& name : names)
    if (is_description(name))
      if_readable([&] {
        if (!parse_quant_description(read_text_file(dir / name), name).entries().empty())
          own.names.insert(name);
      });
  if (own.names.empty()) return own;
  for (const std::string& name : names)
    if (name.ends_with(".safetensors.index.json"))
      if_readable([&] {
        for (const auto& [tensor, file] :
             parse_safetensors_index(read_text_file(dir / name), name).weight_map)
          own.names.insert(file);
        own.names.insert(name);
      });
  return own;
}

void keep_other_files(const fs::path& from, const OwnFiles& own, const fs::path& to) {
  std::vector<fs::path> others;
  std::error_code error;
  fs::recursive_directory_iterator it(from, error);
  for (; !error && it != fs::recursive_directory_iterator(); it.increment(error)) {
    const fs::path name = it->path().lexically_relative(from);
    const bool folder = it->is_directory() && !it->is_symlink();
    if (!folder && !own.names.contains(name.generic_string())) others.push_back(name);
    if (folder && fs::is_empty(it->path())) others.push_back(name);
  }
  fs::path at = from;
  for (const fs::path& name : others) {
    if (error) break;
    at = from / name;
    fs::path target = to / name;
    const auto taken = [&] { return fs::exists(fs::symlink_status(target)); };
    if (taken() && (!own.complete || fs::is_directory(target))) continue;
    while (taken()) target += ".former";
    fs::create_directories(target.parent_path(), error);
    if (!error) fs::rename(at, target, error);
  }
  if (error)
    throw_error(ErrorCode::kIo, "'{}': cannot be moved to '{}': {}", at.string(), to.string(),
                error.message());
}

}  // namespace latent8
