#include "formats/checkpoint.h"

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <system_error>
#include <utility>

#include "base/check.h"
#include "base/error.h"
#include "base/log.h"
#include "formats/files.h"
#include "formats/foreign_file.h"
#include "formats/missing_file.h"
#include "formats/safetensors_index.h"

namespace latent8 {
namespace {

namespace fs = std::filesystem;

std::vector<fs::path> files_ending_with(const fs::path& dir, std::string_view ending) {
  std::vector<fs::path> paths;
  for (const std::string& name : list_folder(dir))
    if (name.ends_with(ending) && !is_hidden_name(name)) paths.push_back(dir / name);
  return paths;
}

// Throws: Error{kIo} if that cannot be told (a folder without search permission).
bool file_exists(const fs::path& path) {
  std::error_code error;
  const bool there = fs::exists(path, error);
  if (error) throw_error(ErrorCode::kIo, "cannot look at '{}': {}", path.string(), error.message());
  return there;
}

// Without an index: what lies beside a checkpoint's weights and is another program's is not read.
std::vector<fs::path> weight_files(const fs::path& dir) {
  std::vector<fs::path> paths = files_ending_with(dir, ".safetensors"), ours;
  for (const fs::path& path : paths)
    if (!is_other_weights(path.filename().string())) ours.push_back(path);
  if (ours.empty() || ours.size() == paths.size()) return paths;
  log_info(fmt::format("'{}': {} of {} *.safetensors are of an adapter or in another layout and are not read",
                       dir.string(), paths.size() - ours.size(), paths.size()));
  return ours;
}

void refuse_foreign_methods(const TensorMap& tensors, const fs::path& dir) {
  for (const auto& [name, view] : tensors)
    if (const auto method = foreign_method(name))
      throw_error(
          ErrorCode::kUnsupported,
          "'{}': tensor '{}' is of weights quantised by {} (of {}), which are not read; take the bf16 "
          "or fp8 checkpoint that they were made of",
          dir.string(), name, method->name, method->tools);
}

// Up to three names that share most of their beginning and end with `wanted`.
std::vector<std::string> similar_names(const TensorMap& tensors, std::string_view wanted) {
  std::vector<std::pair<std::size_t, std::string_view>> scored;
  for (const auto& [name, view] : tensors) {
    const std::size_t shorter = std::min(name.size(), wanted.size());
    std::size_t same = 0, same_end = 0;
    while (same < shorter && name[same] == wanted[same]) ++same;
    while (same + same_end < shorter &&
           name[name.size() - 1 - same_end] == wanted[wanted.size() - 1 - same_end])
      ++same_end;
    scored.emplace_back(std::max(name.size(), wanted.size()) - same - same_end, name);
  }
  const auto count = std::min<std::ptrdiff_t>(3, static_cast<std::ptrdiff_t>(scored.size()));
  std::partial_sort(scored.begin(), scored.begin() + count, scored.end());
  std::vector<std::string> names;
  for (auto it = scored.begin(); it != scored.begin() + count; ++it) names.emplace_back(it->second);
  return names;
}

}  // namespace

std::vector<std::string> missing_shards(const fs::path& dir, const SafetensorsIndex& index) {
  std::set<std::string> names;
  for (const auto& [tensor, file] : index.weight_map) names.insert(file);
  std::vector<std::string> missing;
  for (const std::string& name : names)
    if (!file_exists(dir / name)) missing.push_back(name);
  return missing;
}

std::string missing_text(const std::vector<std::string>& names) {
  constexpr std::size_t kShown = 5;
  std::string text;
  for (std::size_t i = 0; i < std::min(names.size(), kShown); ++i)
    text += (i == 0 ? "'" : ", '") + names[i] + "'";
  if (names.size() == 1)
    return fmt::format("the index names {}, but there is no such file; fetch it again", text);
  return fmt::format("the index names {} files that are not there: {}{}; fetch them again", names.size(),
                     text, names.size() > kShown ? ", ..." : "");
}

Checkpoint Checkpoint::open(const fs::path& dir) {
  Checkpoint checkpoint;
  checkpoint.dir_ = dir;
  checkpoint.read_json_files();
  const std::vector<fs::path> indices = files_ending_with(dir, ".safetensors.index.json");
  if (indices.size() > 1)
    throw_error(ErrorCode::kInvalidArgument, "'{}': one *.safetensors.index.json expected, got '{}' and '{}'",
                dir.string(), indices[0].filename().string(), indices[1].filename().string());
  const std::vector<fs::path> shards = weight_files(dir);
  if (!indices.empty())
    checkpoint.map_indexed(indices.front());
  else if (!shards.empty())
    checkpoint.map_all(shards);
  else
    throw_error(ErrorCode::kNotFound, "{}", missing_weights_text(dir));
  refuse_foreign_methods(checkpoint.tensors_, dir);
  if (checkpoint.config_.nested) checkpoint.keep_language_model();
  if (checkpoint.quant_) checkpoint.leave_out_unlisted();
  return checkpoint;
}

Checkpoint Checkpoint::of_tensors(ModelConfig config, TensorMap tensors,
                                  std::optional<QuantDescription> quant) {
  for (const auto& [name, view] : tensors)
    LATENT8_CHECK(view.bytes.empty() || std::cmp_equal(view.bytes.size(), view.size_bytes()));
  Checkpoint checkpoint;
  checkpoint.config_ = std::move(config);
  checkpoint.tensors_ = std::move(tensors);
  checkpoint.quant_ = std::move(quant);
  return checkpoint;
}

void Checkpoint::read_json_files() {
  const fs::path config = dir_ / "config.json";
  if (!file_exists(dir_) || !fs::is_directory(dir_))
    throw_error(ErrorCode::kNotFound, "'{}': a checkpoint directory expected, got {}", dir_.string(),
                file_exists(dir_) ? "a file" : "no such directory");
  if (!is_named(config)) throw_error(ErrorCode::kNotFound, "{}", missing_config_text(dir_));
  config_ = parse_model_config(read_text_file(config), config.string());
  const fs::path generation = dir_ / "generation_config.json";
  if (file_exists(generation))
    add_generation_config(config_, read_text_file(generation), generation.string());
  quant_ = read_quant_description(dir_, config_.quantize);
  if (!quant_ && !config_.quantize.empty())
    throw_error(
        ErrorCode::kNotFound,
        "'{}': config.json has 'quantize': '{}', so quant_model_description*.json is expected, got no "
        "such file",
        dir_.string(), config_.quantize);
  if (!quant_) return;
  if (quant_->fa_quant_type.empty()) quant_->fa_quant_type = config_.fa_quant_type;
  if (config_.fa_quant_type.empty()) config_.fa_quant_type = quant_->fa_quant_type;
}

void Checkpoint::map_indexed(const fs::path& path) {
  const SafetensorsIndex index = parse_safetensors_index(read_text_file(path), path.string());
  if (const std::vector<std::string> missing = missing_shards(dir_, index); !missing.empty())
    throw_error(ErrorCode::kNotFound, "{}: {}", path.string(), missing_text(missing));
  std::map<std::string, std::size_t> opened;  // file name -> position in files_
  std::size_t bytes = 0;
  for (const auto& [name, file] : index.weight_map) {
    const auto [it, first] = opened.emplace(file, files_.size());
    if (first) files_.emplace_back(dir_ / file);
    const TensorMap& shard = files_[it->second].tensors();
    const auto tensor = shard.find(name);
    if (tensor == shard.end())
      throw_error(ErrorCode::kCorrupt, "{}: tensor '{}' expected in '{}', but that file does not have it",
                  path.string(), name, file);
    tensors_.emplace(name, tensor->second);
    bytes += tensor->second.bytes.size();
  }
  if (index.total_size && *index.total_size != static_cast<double>(bytes))
    log_info(fmt::format("{}: total_size is {}, the tensors have {} bytes", path.string(), *index.total_size,
                         bytes));
}

void Checkpoint::map_all(const std::vector<fs::path>& paths) {
  for (const fs::path& path : paths) {
    files_.emplace_back(path);
    for (const auto& [name, view] : files_.back().tensors())
      if (!tensors_.emplace(name, view).second)
        throw_error(
            ErrorCode::kCorrupt,
            "'{}': tensor '{}' once expected, got it in '{}' and in a file before it; remove the files "
            "that do not belong here",
            dir_.string(), name, path.filename().string());
  }
}

// Models with images have their language model's tensors under a prefix, the others beside it.
void Checkpoint::keep_language_model() {
  constexpr std::string_view kOurs = "language_model.", kTheirs = "model.language_model.";
  const auto any = [&](std::string_view prefix) {
    const auto it = tensors_.lower_bound(prefix);
    return it != tensors_.end() && it->first.starts_with(prefix);
  };
  const bool hub = any(kOurs), transformers5 = !hub && any(kTheirs);
  if (!hub && !transformers5) return;  // the language model alone
  TensorMap kept;
  std::size_t others = 0;
  std::string example;
  for (const auto& [name, view] : tensors_) {
    const std::string_view text = name;
    if (hub && text.starts_with(kOurs))
      kept.emplace(text.substr(kOurs.size()), view);
    else if (transformers5 && text.starts_with(kTheirs))
      kept.emplace("model." + std::string(text.substr(kTheirs.size())), view);
    else if (transformers5 && text.starts_with("lm_head."))
      kept.emplace(name, view);
    else if (others++ == 0)
      example = name;
  }
  tensors_ = std::move(kept);
  if (others > 0)
    log_info(fmt::format("'{}': {} tensors beside the language model's are left alone, '{}' for one",
                         dir_.string(), others, example));
}

void Checkpoint::leave_out_unlisted() {
  for (auto it = tensors_.begin(); it != tensors_.end();) {
    if (quant_->type_of(it->first)) {
      ++it;
      continue;
    }
    if (it->first.find("norm.module.") == std::string::npos) unlisted_.push_back(it->first);
    it = tensors_.erase(it);
  }
}

TensorPlace Checkpoint::place_of(std::string_view name) const {
  const std::span<const std::byte> tensor = get(name).bytes;
  const auto address = [](const std::byte* p) { return reinterpret_cast<std::uintptr_t>(p); };
  const std::uintptr_t begin = address(tensor.data());
  std::size_t i = 0;
  for (;; ++i) {
    LATENT8_CHECK(i < files_.size());
    const std::uintptr_t file = address(files_[i].bytes().data());
    // An empty tensor may lie at the very end, which can be the beginning of another mapping: no matter.
    if (begin >= file && begin + tensor.size() <= file + files_[i].bytes().size()) break;
  }
  return {i, tensor.data() - files_[i].bytes().data()};
}

std::int64_t Checkpoint::tensor_bytes() const {
  std::int64_t bytes = 0;
  for (const auto& [name, tensor] : tensors_) bytes += static_cast<std::int64_t>(tensor.bytes.size());
  return bytes;
}

const TensorView* Checkpoint::find(std::string_view name) const {
  const auto it = tensors_.find(name);
  return it == tensors_.end() ? nullptr : &it->second;
}

const TensorView& Checkpoint::get(std::string_view name) const {
  if (const TensorView* tensor = find(name)) return *tensor;
  throw_error(ErrorCode::kNotFound, "'{}': tensor '{}' expected, got none of that name; similar names: {}",
              dir_.empty() ? "tensors in memory" : dir_.string(), name,
              fmt::join(similar_names(tensors_, name), ", "));
}

}  // namespace latent8
