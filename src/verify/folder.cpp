#include "verify/folder.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "formats/files.h"
#include "formats/json.h"

namespace latent8 {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kIndexEnding = ".safetensors.index.json";
constexpr std::string_view kDescriptionStem = "quant_model_description";

// Runs `action`; an Error becomes a problem of `file`. Returns whether there was none.
template <class Action>
bool readable(const std::string& file, Findings& findings, const Action& action) {
  try {
    action();
    return true;
  } catch (const Error& error) {
    findings.problem(file, "", error.what());
  }
  return false;
}

std::string text_of(const nlohmann::json& object, const char* key) {
  const auto it = object.find(key);
  return it != object.end() && it->is_string() ? it->get<std::string>() : "";
}

}  // namespace

VerifyFolder::VerifyFolder(const fs::path& dir, Findings& findings) : dir_(dir), names_(list_folder(dir)) {
  read_config(findings);
  read_descriptions(findings);
  map_files(findings);
  read_index(findings);
  if (index_) check_index(findings);
  check_leftovers(findings);
}

const TensorView* VerifyFolder::find(std::string_view name) const {
  const auto it = tensors_.find(name);
  return it == tensors_.end() ? nullptr : &it->second;
}

bool VerifyFolder::lost_with_file(const std::string& name) const {
  if (unreadable_.empty()) return false;
  const auto named = named_for_.find(name);
  return named == named_for_.end() ? !index_ : unreadable_.count(named->second) != 0;
}

std::optional<QuantType> VerifyFolder::type_of(std::string_view name) const {
  return description_ ? description_->type_of(name) : std::nullopt;
}

std::int64_t VerifyFolder::bytes() const {
  std::int64_t sum = 0;
  for (const auto& [name, view] : tensors_) sum += static_cast<std::int64_t>(view.bytes.size());
  return sum;
}

void VerifyFolder::read_config(Findings& findings) {
  const fs::path path = dir_ / "config.json";
  std::string text;
  if (!readable("config.json", findings, [&] { text = read_text_file(path); })) return;
  readable("config.json", findings, [&] {
    read_marks(text, path.string());
    config_ = parse_model_config(text, path.string());
  });
}

void VerifyFolder::read_marks(const std::string& text, const std::string& where) {
  const nlohmann::json config = parse_json(text, where);
  if (!config.is_object()) return;  // refused with the model's config
  marks_.quantize = text_of(config, "quantize");
  marks_.mla_quantize = text_of(config, "mla_quantize");
  marks_.mtp_quantize = text_of(config, "mtp_quantize");
  if (const auto q = config.find("quantization_config"); q != config.end() && q->is_object()) {
    marks_.fa_quant_type = text_of(*q, "fa_quant_type");
    marks_.fp8 = text_of(*q, "quant_method") == "fp8";
  }
  const auto record = config.find("latent8");
  if (record == config.end() || !record->is_object()) return;
  const auto layers = record->find("layers");
  if (layers == record->end() || !layers->is_array()) return;
  marks_.records_folds = true;
  for (const nlohmann::json& entry : *layers) {
    if (!entry.is_object() || !entry.contains("layer") || !entry.at("layer").is_number_integer()) continue;
    marks_.folds[entry.at("layer").get<std::int64_t>()] = text_of(entry, "fold");
  }
}

void VerifyFolder::read_descriptions(Findings& findings) {
  readable("quant_model_description.json", findings, [&] {
    description_ = read_quant_description(dir_, marks_.quantize);
    if (!description_)
      findings.problem("quant_model_description.json", "a description of the quantised tensors",
                       "no such file; is it a float checkpoint?");
  });
  if (!description_) return;
  for (const std::string& name : names_) {
    if (!name.starts_with(kDescriptionStem) || !name.ends_with(".json") || name == description_->file_name)
      continue;
    readable(name, findings, [&] {
      const auto other = parse_quant_description(read_text_file(dir_ / name), (dir_ / name).string());
      auto a = other.entries(), b = description_->entries();
      std::sort(a.begin(), a.end());
      std::sort(b.begin(), b.end());
      if (a != b)
        findings.problem(name, fmt::format("the {} entries of {}", b.size(), description_->file_name),
                         fmt::format("{} entries that are not the same", a.size()));
    });
  }
}

void VerifyFolder::map_files(Findings& findings) {
  for (const std::string& name : names_) {
    if (!name.ends_with(".safetensors")) continue;
    if (!readable(name, findings, [&] { files_.emplace(name, SafetensorsFile(dir_ / name)); })) {
      unreadable_.insert(name);
      continue;
    }
    for (const auto& [tensor, view] : files_.at(name).tensors()) {
      tensors_.emplace(tensor, view);
      const auto [first, inserted] = file_of_.emplace(tensor, name);
      if (!inserted)
        findings.problem(tensor, "one file with this tensor",
                         fmt::format("'{}' and '{}'", first->second, name));
    }
  }
  if (files_.empty() && unreadable_.empty())
    findings.problem(dir_.filename().string(), "*.safetensors", "no such file");
}

void VerifyFolder::read_index(Findings& findings) {
  std::vector<std::string> indices;
  for (const std::string& name : names_)
    if (name.ends_with(kIndexEnding)) indices.push_back(name);
  if (indices.size() > 1)
    findings.problem(indices[1], "one *.safetensors.index.json", fmt::format("also '{}'", indices[0]));
  if (indices.empty() && files_.size() + unreadable_.size() > 1)
    findings.problem(dir_.filename().string(), "*.safetensors.index.json beside several files",
                     "no such file");
  if (indices.empty()) return;
  index_name_ = indices.front();
  readable(index_name_, findings, [&] {
    index_ = parse_safetensors_index(read_text_file(dir_ / index_name_), (dir_ / index_name_).string());
    for (const auto& [tensor, file] : index_->weight_map) named_for_.emplace(tensor, file);
  });
}

void VerifyFolder::check_index(Findings& findings) {
  std::map<std::string, std::int64_t> missing_files;  // -> tensors that should be there
  for (const auto& [tensor, file] : index_->weight_map) {
    if (unreadable_.count(file) != 0) continue;
    if (files_.count(file) == 0) {
      ++missing_files[file];
      continue;
    }
    if (files_.at(file).tensors().count(tensor) != 0) continue;
    const auto other = file_of_.find(tensor);
    findings.problem(tensor, fmt::format("in '{}', as {} says,", file, index_name_),
                     other == file_of_.end() ? "in no file" : fmt::format("in '{}'", other->second));
  }
  for (const auto& [file, count] : missing_files) {
    findings.problem(file, fmt::format("a file with {} tensors", count), "no such file");
    unreadable_.insert(file);
  }
  for (const auto& [tensor, file] : file_of_)
    if (named_for_.count(tensor) == 0)
      findings.problem(tensor, fmt::format("named in {}, as it lies in '{}',", index_name_, file),
                       "no entry");
  if (!unreadable_.empty()) return;
  if (!index_->total_size)
    findings.problem(index_name_, fmt::format("total_size {}", bytes()), "none");
  else if (*index_->total_size != static_cast<double>(bytes()))
    findings.problem(index_name_, fmt::format("total_size {}", bytes()),
                     fmt::format("{:.0f}", *index_->total_size));
}

void VerifyFolder::check_leftovers(Findings& findings) {
  for (const std::string& name : names_)
    if (name == ".latent8-partial" || name == "state")
      findings.problem(name, "nothing of an unfinished run", "this; quantise again");
  for (const char* name : {"tokenizer.json", "tokenizer_config.json"})
    if (!fs::exists(dir_ / name)) findings.note(name, "is not there: text cannot be run without it");
}

}  // namespace latent8
