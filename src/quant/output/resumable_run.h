#pragma once
// A run of the quantiser that an interruption does not lose, whatever its units are: it finds what an earlier
// run left, writes the units that are missing, and makes a result of them.

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "latent8/quantize.h"
#include "quant/output/manifest.h"
#include "quant/output/output_folder.h"
#include "quant/output/shard_writer.h"
#include "source/file_watch.h"
#include "sys/thread_pool.h"

namespace latent8 {

// Ownership: refers to its arguments, which must outlive it.
class ResumableRun {
 public:
  // `now`: the inputs of this run, and what is known of its result before the first unit. If an earlier run
  // with the same inputs finished a unit, its manifest takes the place of `now`; else the folder is emptied.
  // Throws: as OutputFolder, read_manifest(); Error{kInvalidArgument} naming the inputs that differ.
  ResumableRun(const QuantizeOptions& options, const FileWatch& source, Manifest now);

  Manifest& manifest() { return manifest_; }
  QuantizeResult& result() { return manifest_.result; }
  const std::filesystem::path& partial() const { return folder_.partial(); }
  std::filesystem::path state() const { return folder_.state(); }
  ShardWriter& writer() { return *writer_; }

  // The result, if an earlier run made it and died before it had tidied up.
  std::optional<QuantizeResult> completed();

  // Makes the shards or finds them. Throws: as ShardWriter.
  void start_writing(ShardLayout layout);
  // Writes the units from the first unfinished one. After each, everything that a later run needs to go on is
  // on the disk: what `write` wrote with writer(), and the activations that it saved at border().
  // Throws: what `write` throws; Error{kIo} if the source changed.
  void write_units(std::int64_t units, const std::function<void(std::int64_t unit)>& write);
  // Where the residual stream that enters a layer is kept.
  std::filesystem::path border(std::int64_t layer) const;
  // Says that a layer's unit is the last one to read border(layer).
  void drop_border(std::int64_t layer) { used_ = border(layer); }
  double seconds_of_unit() const;  // since it began

  // What makes a folder of shards a checkpoint.
  struct Ending {
    std::vector<TensorToWrite> tensors;                                // in the order of the index
    std::function<void(const std::filesystem::path& dir)> files;       // writes what lies beside the shards
    bool sums = true;                                                  // with SHA256SUMS
    std::function<void(std::int64_t done, std::int64_t of)> progress;  // files read back
  };
  // Writes what is missing, reads the shards back, and gives the folder its name. Throws: as ShardWriter and
  // OutputFolder.
  QuantizeResult finish(const Ending& ending, ThreadPool& pool);

 private:
  void finish_unit(std::int64_t unit);
  void read_back(const Ending& ending, ThreadPool& pool);
  void write_sums(ThreadPool& pool);

  const FileWatch& source_;
  OutputFolder folder_;
  Manifest manifest_;
  std::optional<ShardWriter> writer_;
  std::optional<std::filesystem::path> used_;
  std::chrono::steady_clock::time_point start_;  // of the unit
};

}  // namespace latent8
