#include "quant/output_folder.h"

#include <system_error>

#include "base/error.h"

namespace latent8 {
namespace {

namespace fs = std::filesystem;

// Without a trailing slash, so that a suffix can follow.
fs::path normal(const fs::path& path) {
  fs::path out = fs::weakly_canonical(fs::absolute(path));
  return out.has_filename() ? out : out.parent_path();
}

bool lies_in(const fs::path& inner, const fs::path& outer) {
  const fs::path relative = inner.lexically_relative(outer);
  return !relative.empty() && *relative.begin() != "..";
}

void check_out(const fs::path& out, bool overwrite) {
  if (!fs::exists(out)) return;
  if (!fs::is_directory(out))
    throw_error(ErrorCode::kInvalidArgument, "'{}': a folder expected, got a file", out.string());
  if (fs::is_empty(out)) return;
  if (!overwrite)
    throw_error(ErrorCode::kInvalidArgument,
                "'{}': an empty or absent folder expected, got one with files; choose another or overwrite",
                out.string());
  if (!fs::exists(out / "quant_model_description.json"))
    throw_error(ErrorCode::kInvalidArgument,
                "'{}': only a quantised checkpoint is overwritten, but quant_model_description.json is not "
                "there; remove the folder yourself or choose another",
                out.string());
}

}  // namespace

OutputFolder::OutputFolder(const fs::path& source, const fs::path& out, bool overwrite) {
  if (out.empty()) throw_error(ErrorCode::kInvalidArgument, "the output folder has no name");
  out_ = normal(out);
  partial_ = out_.string() + ".partial";
  if (lies_in(out_, normal(source)) || lies_in(normal(source), out_))
    throw_error(ErrorCode::kInvalidArgument, "'{}': a folder outside the source '{}' expected", out_.string(),
                source.string());
  check_out(out_, overwrite);
  std::error_code error;
  fs::remove_all(partial_, error);
  if (!error) fs::create_directories(partial_, error);
  if (error)
    throw_error(ErrorCode::kIo, "'{}': cannot create the folder: {}", partial_.string(), error.message());
}

OutputFolder::~OutputFolder() {
  std::error_code ignored;
  if (!partial_.empty()) fs::remove_all(partial_, ignored);
}

void OutputFolder::commit() {
  std::error_code error;
  if (fs::exists(out_)) fs::remove_all(out_, error);
  if (!error) fs::rename(partial_, out_, error);
  if (error)
    throw_error(ErrorCode::kIo, "'{}': cannot rename to '{}': {}", partial_.string(), out_.string(),
                error.message());
  partial_.clear();
}

}  // namespace latent8
