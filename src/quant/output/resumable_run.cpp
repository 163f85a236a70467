#include "quant/output/resumable_run.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "formats/atomic_file.h"
#include "formats/sha256sums.h"
#include "sys/parallel.h"
#include "sys/topology.h"

namespace latent8 {
namespace {

// The earlier run's manifest, if it finished a unit and had the inputs of `now`; else `now`, and the folder
// is empty.
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

}  // namespace

ResumableRun::ResumableRun(const QuantizeOptions& options, const FileWatch& source, Manifest now)
    : source_(source),
      folder_(options.model, options.out, options.overwrite, OutputFolder::Earlier::kKeep),
      manifest_(resume_or_begin(folder_, std::move(now), options.resume)) {}

std::optional<QuantizeResult> ResumableRun::completed() {
  if (!folder_.completed()) return {};
  folder_.commit();
  return manifest_.result;
}

void ResumableRun::start_writing(ShardLayout layout) {
  writer_.emplace(folder_.partial(), folder_.state(), std::move(layout), manifest_.finished);
}

void ResumableRun::write_units(std::int64_t units, const std::function<void(std::int64_t unit)>& write) {
  while (manifest_.finished < units) {
    start_ = std::chrono::steady_clock::now();
    write(manifest_.finished);
    finish_unit(manifest_.finished);
  }
}

void ResumableRun::finish_unit(std::int64_t unit) {
  writer_->finish_unit(unit);
  source_.check_unchanged();
  manifest_.result.seconds += seconds_of_unit();
  ++manifest_.finished;
  write_manifest(folder_.state(), manifest_);
  folder_.keep();
  if (used_) std::filesystem::remove(*used_);
  used_.reset();
}

std::filesystem::path ResumableRun::border(std::int64_t layer) const {
  return folder_.state() / fmt::format("activations-{}.bin", layer);
}

double ResumableRun::seconds_of_unit() const {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
}

// A group of shards at a time: those that were read stay known when the run dies.
void ResumableRun::read_back(const Ending& ending, ThreadPool& pool) {
  std::vector<std::string> names = writer_->shard_names();
  const auto count = static_cast<std::int64_t>(names.size());
  std::erase_if(names, [&](const std::string& name) {
    return std::any_of(manifest_.sums.begin(), manifest_.sums.end(),
                       [&](const auto& sum) { return sum.first == name; });
  });
  while (!names.empty()) {
    if (ending.progress) ending.progress(count - static_cast<std::int64_t>(names.size()), count);
    const std::size_t group = std::min(names.size(), static_cast<std::size_t>(pool.threads()));
    std::vector<std::string> sums(group);
    parallel_for_or_throw(pool, static_cast<std::int64_t>(group), 1, [&](std::int64_t i, std::int64_t, int) {
      const auto at = static_cast<std::size_t>(i);
      Sha256 sum;
      writer_->read_back(names[at], [&](std::span<const std::byte> bytes) {
        if (ending.sums) sum.add(bytes);
      });
      sums[at] = sum.hex();
    });
    for (std::size_t i = 0; i < group; ++i) manifest_.sums.emplace_back(names[i], sums[i]);
    names.erase(names.begin(), names.begin() + static_cast<std::ptrdiff_t>(group));
    write_manifest(folder_.state(), manifest_);
  }
}

void ResumableRun::write_sums(ThreadPool& pool) {
  std::vector<FileSum> files;
  for (std::string& name : files_below(folder_.partial()))
    if (!name.starts_with("state/")) files.push_back({std::move(name), ""});
  parallel_for_or_throw(
      pool, static_cast<std::int64_t>(files.size()), 1, [&](std::int64_t i, std::int64_t, int) {
        FileSum& file = files[static_cast<std::size_t>(i)];
        const auto known = std::find_if(manifest_.sums.begin(), manifest_.sums.end(),
                                        [&](const auto& sum) { return sum.first == file.name; });
        file.sha256 =
            known != manifest_.sums.end() ? known->second : sha256_of_file(folder_.partial() / file.name);
      });
  write_file_atomically(folder_.partial() / kSumsFile, sha256sums_text(files));
}

QuantizeResult ResumableRun::finish(const Ending& ending, ThreadPool& pool) {
  start_ = std::chrono::steady_clock::now();
  writer_->finish(ending.tensors);
  ending.files(folder_.partial());
  source_.check_unchanged();  // what was copied too
  read_back(ending, pool);
  if (ending.sums) write_sums(pool);
  QuantizeResult& result = manifest_.result;
  result.bytes_out = writer_->total();
  result.tensors = writer_->tensors();
  result.seconds += seconds_of_unit();
  result.peak_memory = peak_resident_bytes();
  write_manifest(folder_.state(), manifest_);
  folder_.commit();
  return result;
}

}  // namespace latent8
