#include "quant/output/resume.h"

#include <utility>

#include "base/error.h"

namespace latent8 {

Manifest resume_or_begin(OutputFolder& folder, Manifest now, bool resume) {
  std::optional<Manifest> earlier;
  if (resume) earlier = read_manifest(folder.state());
  const auto different = earlier ? differences(*earlier, now) : std::vector<std::string>{};
  if (!different.empty() && !folder.completed()) {
    folder.keep();
    throw_error(
        ErrorCode::kInvalidArgument,
        "'{}' holds an unfinished result of other inputs ({}); run again with the same ones to go on, "
        "or start afresh (latent8 quantize --no-resume, or remove that folder), or choose another folder",
        folder.partial().string(), fmt::join(different, "; "));
  }
  if (earlier && different.empty() && earlier->finished > 0) {
    folder.keep();
    return std::move(*earlier);
  }
  folder.clear();
  return now;
}

}  // namespace latent8
