#include "quant/output_folder.h"

#include <system_error>

#include "base/error.h"
#include "formats/atomic_file.h"

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
                "'{}': an empty or absent folder expected, got one with files; choose another, or overwrite "
                "it (--overwrite)",
                out.string());
  if (!fs::exists(out / "quant_model_description.json"))
    throw_error(ErrorCode::kInvalidArgument,
                "'{}': only a quantised checkpoint is overwritten, but quant_model_description.json is not "
                "there; remove the folder yourself or choose another",
                out.string());
}

// Says that latent8 made a partial folder, so that only such a one is ever removed.
constexpr const char* kMarker = ".latent8-partial";

void remove_stale(const fs::path& partial, std::error_code& error) {
  if (!fs::exists(partial)) return;
  if (!fs::exists(partial / kMarker) && !(fs::is_directory(partial) && fs::is_empty(partial)))
    throw_error(ErrorCode::kInvalidArgument,
                "'{}': needed for unfinished output, but it exists and latent8 did not make it; move it away",
                partial.string());
  fs::remove_all(partial, error);
}

}  // namespace

OutputFolder::OutputFolder(const fs::path& source, const fs::path& out, bool overwrite) {
  if (out.empty()) throw_error(ErrorCode::kInvalidArgument, "the output folder has no name");
  out_ = normal(out);
  if (lies_in(out_, normal(source)) || lies_in(normal(source), out_))
    throw_error(ErrorCode::kInvalidArgument, "'{}': a folder outside the source '{}' expected", out_.string(),
                source.string());
  check_out(out_, overwrite);
  std::error_code error;
  const fs::path partial = out_.string() + ".partial";
  remove_stale(partial, error);
  if (!error) fs::create_directories(partial, error);
  if (error)
    throw_error(ErrorCode::kIo, "'{}': cannot create the folder: {}", partial.string(), error.message());
  partial_ = partial;  // ours from here on
  write_file_atomically(partial_ / kMarker, "");
}

OutputFolder::~OutputFolder() {
  std::error_code ignored;
  if (!partial_.empty()) fs::remove_all(partial_, ignored);
}

void OutputFolder::commit() {
  // What `out` held is kept until its successor has the name.
  const fs::path former = out_.string() + ".former";
  std::error_code error;
  fs::remove(partial_ / kMarker, error);
  if (!error && fs::exists(out_)) fs::rename(out_, former, error);
  if (!error) fs::rename(partial_, out_, error);
  std::error_code ignored;
  if (error && fs::exists(former) && !fs::exists(out_)) fs::rename(former, out_, ignored);
  if (error)
    throw_error(ErrorCode::kIo, "'{}': cannot rename to '{}': {}", partial_.string(), out_.string(),
                error.message());
  partial_.clear();
  fs::remove_all(former, ignored);
}

}  // namespace latent8
