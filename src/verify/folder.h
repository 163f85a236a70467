#pragma once
// A checkpoint folder read without trust: whatever is damaged becomes a finding, and the rest is still there.

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "formats/model_config.h"
#include "formats/quant_description.h"
#include "formats/safetensors.h"
#include "formats/safetensors_index.h"
#include "verify/findings.h"

namespace latent8 {

// What config.json says besides the model.
struct ConfigMarks {
  std::string quantize, mla_quantize, mtp_quantize, fa_quant_type;
  bool fp8 = false;  // marked as an fp8 checkpoint
  std::map<std::int64_t, std::string>
      folds;                   // layer -> recorded fold of the latent ("none", "rotation", ...)
  bool records_folds = false;  // whether the checkpoint says what was folded
};

// Ownership: owns the mappings; views live as long as this object.
class VerifyFolder {
 public:
  // Throws: Error{kNotFound} if `dir` is no folder.
  VerifyFolder(const std::filesystem::path& dir, Findings& findings);

  const TensorView* find(std::string_view name) const;  // nullptr if no file has it
  // Whether `name` may lie in a file that could not be read, so that its absence says nothing more.
  bool lost_with_file(const std::string& name) const;
  std::optional<QuantType> type_of(std::string_view name) const;

  const std::map<std::string, TensorView, std::less<>>& tensors() const { return tensors_; }
  const std::optional<ModelConfig>& config() const { return config_; }
  const std::optional<QuantDescription>& description() const { return description_; }
  const ConfigMarks& marks() const { return marks_; }
  std::int64_t files() const { return static_cast<std::int64_t>(files_.size()); }
  std::int64_t bytes() const;

 private:
  void read_config(Findings& findings);
  void read_marks(const std::string& text, const std::string& where);
  void read_descriptions(Findings& findings);
  void map_files(Findings& findings);
  void read_index(Findings& findings);
  void check_index(Findings& findings);
  void check_leftovers(Findings& findings);

  std::filesystem::path dir_;
  std::vector<std::string> names_;  // of the folder's entries
  std::optional<ModelConfig> config_;
  ConfigMarks marks_;
  std::optional<QuantDescription> description_;
  std::optional<SafetensorsIndex> index_;
  std::string index_name_;
  std::map<std::string, SafetensorsFile> files_;  // by name
  std::map<std::string, TensorView, std::less<>> tensors_;
  std::map<std::string, std::string, std::less<>> file_of_;    // tensor -> file that has it
  std::map<std::string, std::string, std::less<>> named_for_;  // tensor -> file that the index names
  std::set<std::string> unreadable_;                           // files
};

}  // namespace latent8
