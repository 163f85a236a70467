#include "formats/folder_check.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <set>

#include "base/error.h"
#include "formats/checkpoint.h"
#include "formats/files.h"
#include "formats/foreign_file.h"
#include "formats/missing_file.h"
#include "formats/quant_description.h"
#include "sys/mapped_file.h"

namespace latent8 {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kIndexEnding = ".safetensors.index.json";

class Checker {
 public:
  explicit Checker(const fs::path& dir) : dir_(dir), names_(list_folder(dir)) {}

  FolderCheck run() {
    for (const std::string& name : names_) look_at(name);
    attempt("config.json", [&] { read_config(); });
    std::vector<std::string> indices;
    for (const std::string& name : names_)
      if (name.ends_with(kIndexEnding) && !is_hidden_name(name)) indices.push_back(name);
    for (const std::string& name : indices) attempt(name, [&] { read_index(name); });
    if (indices.size() > 1)
      problem(fmt::format("'{}': one *{} expected, got {}", dir_.string(), kIndexEnding, indices.size()));
    for (const std::string& name : names_)
      if (is_weight_file(name)) attempt(name, [&] { read_shard(name); });
    if (std::none_of(names_.begin(), names_.end(), is_weight_file)) problem(missing_weights_text(dir_));
    compare_with_index();
    return std::move(out_);
  }

 private:
  static bool is_weight_file(const std::string& name) {
    return name.ends_with(".safetensors") && !is_hidden_name(name);
  }
  void problem(std::string text) { out_.problems.push_back(std::move(text)); }

  // One problem per file: what is known to be no such file is not parsed too.
  template <class Action>
  void attempt(const std::string& name, const Action& action) {
    if (broken_.contains(name)) return;
    try {
      action();
    } catch (const Error& error) {
      problem(error.what());
      broken_.insert(name);
    }
  }

  void look_at(const std::string& name) {
    std::error_code error;
    if (fs::is_directory(dir_ / name, error)) return;
    if (name.starts_with("._")) {
      out_.notes.push_back(
          fmt::format("'{}' is an AppleDouble file, which macOS leaves; it is not read", name));
      return;
    }
    if (is_hidden_name(name)) return;
    if (is_unfinished_download(name))
      problem(fmt::format("'{}': a download that has not ended; fetch it again", (dir_ / name).string()));
    const bool read = is_weight_file(name) || name.ends_with(".json") || name.ends_with(".jinja") ||
                      name.ends_with(".model");
    if (read) attempt(name, [&] { refuse_foreign(MappedFile(dir_ / name).bytes(), (dir_ / name).string()); });
  }

  void read_config() {
    const fs::path path = dir_ / "config.json";
    if (!is_named(path)) throw_error(ErrorCode::kNotFound, "{}", missing_config_text(dir_));
    const ModelConfig config = parse_model_config(read_text_file(path), path.string());
    attempt("generation_config.json", [&] {
      const fs::path generation = dir_ / "generation_config.json";
      ModelConfig copy = config;
      if (has("generation_config.json"))
        add_generation_config(copy, read_text_file(generation), generation.string());
    });
    attempt("quant_model_description", [&] {
      if (!read_quant_description(dir_, config.quantize) && !config.quantize.empty())
        throw_error(
            ErrorCode::kNotFound,
            "'{}': quant_model_description*.json expected (config.json has 'quantize'), got no such file",
            dir_.string());
    });
  }

  void read_index(const std::string& name) {
    index_ = parse_safetensors_index(read_text_file(dir_ / name), (dir_ / name).string());
    index_name_ = name;
    if (const std::vector<std::string> missing = missing_shards(dir_, index_); !missing.empty())
      problem(fmt::format("{}: {}", (dir_ / name).string(), missing_text(missing)));
  }

  void read_shard(const std::string& name) {
    const SafetensorsFile file(dir_ / name);
    for (const auto& [tensor, view] : file.tensors()) {
      places_[tensor].push_back(name);
      bytes_ += static_cast<std::int64_t>(view.bytes.size());
    }
  }

  // As Checkpoint::open() takes them.
  void note_other_weights() {
    const auto ours = [](const std::string& name) { return is_weight_file(name) && !is_other_weights(name); };
    if (std::none_of(names_.begin(), names_.end(), ours)) return;
    for (const std::string& name : names_)
      if (is_weight_file(name) && is_other_weights(name))
        out_.notes.push_back(fmt::format("'{}' is of an adapter or in another layout; it is not read", name));
  }

  void compare_with_index() {
    if (index_name_.empty()) return note_other_weights();
    std::size_t absent = 0;
    std::string example;
    std::set<std::string> named;
    for (const auto& [tensor, file] : index_.weight_map) {
      named.insert(file);
      if (broken_.contains(file) || !has(file)) continue;
      const auto place = places_.find(tensor);
      if (place != places_.end() &&
          std::find(place->second.begin(), place->second.end(), file) != place->second.end())
        continue;
      if (absent++ == 0) example = fmt::format("'{}' in '{}'", tensor, file);
    }
    if (absent > 0)
      problem(fmt::format("{}: {} tensors are not in the files that it names, {} for one; fetch both again",
                          (dir_ / index_name_).string(), absent, example));
    for (const std::string& name : names_)
      if (is_weight_file(name) && !named.contains(name))
        out_.notes.push_back(fmt::format("'{}' is not in {} and is not read", name, index_name_));
    if (out_.problems.empty() && index_.total_size && *index_.total_size != static_cast<double>(bytes_))
      out_.notes.push_back(fmt::format("{}: total_size is {:.0f}, the tensors have {} bytes", index_name_,
                                       *index_.total_size, bytes_));
  }

  bool has(const std::string& name) const { return std::binary_search(names_.begin(), names_.end(), name); }

  const fs::path dir_;
  const std::vector<std::string> names_;  // in rising order
  FolderCheck out_;
  std::set<std::string> broken_;  // files with a problem of their own
  SafetensorsIndex index_;
  std::string index_name_;                                  // "" without an index that can be read
  std::map<std::string, std::vector<std::string>> places_;  // tensor -> files that have it
  std::int64_t bytes_ = 0;
};

}  // namespace

FolderCheck check_folder(const fs::path& dir) { return Checker(dir).run(); }

}  // namespace latent8
