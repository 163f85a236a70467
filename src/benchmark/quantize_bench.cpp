#include "benchmark/quantize_bench.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "benchmark/clock.h"
#include "benchmark/machine_limits.h"
#include "benchmark/random_source.h"
#include "kernels/kernel_table.h"
#include "latent8/quantize.h"
#include "quant/output/state_file.h"
#include "quant/weights/expert_stream.h"
#include "source/source_reader.h"
#include "sys/parallel.h"
#include "sys/topology.h"

namespace latent8 {
namespace {

namespace fs = std::filesystem;

constexpr int kSteps = 8;
constexpr int kReadRepeats = 3;
constexpr std::int64_t kReadPiece = 1 << 20;
constexpr std::int64_t kLargestHotSet = std::int64_t{3} << 30;
constexpr std::int64_t kDiskRead = std::int64_t{4} << 30;

// Of the calling thread on a core.
double core_seconds() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

// A folder that is removed with what is in it.
class TemporaryFolder {
 public:
  explicit TemporaryFolder(const fs::path& parent)
      : path_(parent / fmt::format("latent8-bench-{}", getpid())) {
    fs::create_directories(path_);
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

// Part of a tensor, as large as a read.
struct Piece {
  std::string name;
  std::int64_t offset, bytes;
};

std::vector<Piece> pieces_of(const Checkpoint& source, const std::vector<std::string>& names,
                             std::int64_t limit) {
  std::vector<Piece> pieces;
  for (const std::string& name : names) {
    const std::int64_t size = source.get(name).size_bytes();
    for (std::int64_t at = 0; at < size && limit > 0; at += kReadPiece) {
      pieces.push_back({name, at, std::min(kReadPiece, size - at)});
      limit -= kReadPiece;
    }
  }
  return pieces;
}

std::int64_t bytes_of(const Checkpoint& source, const std::vector<std::string>& names) {
  std::int64_t sum = 0;
  for (const std::string& name : names) sum += source.get(name).size_bytes();
  return sum;
}

void drop_from_page_cache(const Checkpoint& source) {
  for (const SafetensorsFile& file : source.files()) {
    const FileDescriptor fd(open(file.path().c_str(), O_RDONLY | O_CLOEXEC));
    static_cast<void>(posix_fadvise(fd.get(), 0, 0, POSIX_FADV_DONTNEED));
  }
}

class Bench {
 public:
  explicit Bench(const QuantizeBenchOptions& options)
      : options_(options), folder_(options.dir), source_(folder_.path() / "source") {}

  QuantizeBench run() {
    make_source();
    // First, since the peak of resident memory never falls.
    result_.streamed = quantize_layer("quantising the layer as a stream", /*calibrate=*/false);
    result_.calibrated = quantize_layer("quantising the layer with calibration", /*calibrate=*/true);
    measure_rates();
    step("measuring memory");
    ThreadPool pool(options_.threads);
    result_.memory_gbs = LimitMeter(pool, kernels()).dram_gbs();
    return result_;
  }

 private:
  void step(std::string_view what) {
    if (options_.progress) options_.progress(step_, kSteps, what);
    ++step_;
  }

  void make_source() {
    step("making the layer");
    fs::create_directory(source_);
    RandomSourceOptions source;
    source.fp8 = options_.fp8;
    source.prompts = options_.prompts;
    source.prompt_tokens = options_.prompt_tokens;
    source.progress = [&](std::int64_t) {
      if (options_.progress) options_.progress(step_ - 1, kSteps, "making the layer");
    };
    const double begin = seconds_now();
    write_random_source(source_, options_.config, source);
    result_.disk_write_gbs = static_cast<double>(random_source_bytes(options_.config, options_.fp8)) /
                             (seconds_now() - begin) / 1e9;
  }

  LayerRun quantize_layer(const char* what, bool calibrate) {
    step(what);
    drop_from_page_cache(Checkpoint::open(source_));
    QuantizeOptions o;
    o.model = source_;
    o.out = folder_.path() / "quantised";
    o.dynamic = !calibrate;
    o.fa_quant = calibrate;
    o.calib = source_ / "calib.json";
    o.threads = options_.threads;
    o.rotate_model = options_.rotate_model;
    o.max_memory = options_.max_memory;
    o.progress = [&](const QuantizeProgress&) {
      if (options_.progress) options_.progress(step_ - 1, kSteps, what);
    };
    const QuantizeResult result = quantize(o);
    fs::remove_all(o.out);
    const LayerReport& layer = result.per_layer.at(0);
    result_.layer_bytes = layer.bytes_in;
    if (calibrate) result_.tokens = result.tokens;
    return {layer.seconds, static_cast<double>(layer.bytes_in) / layer.seconds / 1e9, peak_resident_bytes()};
  }

  void measure_rates() {
    const Checkpoint source = Checkpoint::open(source_);
    const SourceReader reader(source);
    ThreadPool pool(options_.threads), one(1);
    result_.threads = pool.threads();
    const std::vector<std::string> hot = hot_experts(source);
    result_.hot_bytes = bytes_of(source, hot);

    step("reading the disk");
    drop_from_page_cache(source);
    result_.disk_gbs = read_rate(pool, seconds_now, reader, pieces_of(source, experts(source), kDiskRead), 1);
    step("reading the page cache");
    const std::vector<Piece> pieces = pieces_of(source, hot, INT64_MAX);
    read_rate(pool, seconds_now, reader, pieces, 1);
    result_.page_cache = {read_rate(pool, seconds_now, reader, pieces, kReadRepeats),
                          read_rate(one, core_seconds, reader, pieces, kReadRepeats)};
    step("quantising from the page cache");
    result_.codes = {stream_rate(pool, seconds_now, reader, hot, false),
                     stream_rate(one, core_seconds, reader, hot, false)};
    step("writing codes");
    result_.written = {stream_rate(pool, seconds_now, reader, hot, true),
                       stream_rate(one, core_seconds, reader, hot, true)};
  }

  static std::vector<std::string> experts(const Checkpoint& source) {
    std::vector<std::string> names;
    for (const auto& [name, view] : source.tensors())
      if (name.find(".experts.") != std::string::npos && name.ends_with(".weight")) names.push_back(name);
    return names;
  }
  // As many as the page cache surely keeps, with what is written beside them.
  static std::vector<std::string> hot_experts(const Checkpoint& source) {
    const std::int64_t limit = std::min(kLargestHotSet, memory_info().available_bytes / 4);
    std::vector<std::string> names = experts(source);
    while (names.size() > 3 && bytes_of(source, names) > limit) names.pop_back();
    return names;
  }

  static double read_rate(ThreadPool& pool, double (*clock)(), const SourceReader& reader,
                          const std::vector<Piece>& pieces, int repeats) {
    std::vector<AlignedBuffer<std::byte>> buffers;
    for (int i = 0; i < pool.threads(); ++i) buffers.emplace_back(kReadPiece);
    std::int64_t bytes = 0;
    for (const Piece& piece : pieces) bytes += piece.bytes;
    double best = 0;
    for (int i = 0; i < repeats; ++i) {
      const double begin = clock();
      parallel_for_or_throw(pool, static_cast<std::int64_t>(pieces.size()), 1,
                            [&](std::int64_t at, std::int64_t, int worker) {
                              const Piece& piece = pieces[static_cast<std::size_t>(at)];
                              reader.read(piece.name, piece.offset,
                                          buffers[static_cast<std::size_t>(worker)].span().first(
                                              static_cast<std::size_t>(piece.bytes)));
                            });
      best = std::max(best, static_cast<double>(bytes) / (clock() - begin) / 1e9);
    }
    return best;
  }

  double stream_rate(ThreadPool& pool, double (*clock)(), const SourceReader& reader,
                     const std::vector<std::string>& names, bool write) const {
    std::vector<SourceTensor> tensors;
    std::vector<std::int64_t> offsets;
    std::int64_t codes = 0;
    for (const std::string& name : names) {
      tensors.emplace_back(reader, name);
      offsets.push_back(codes);
      codes += tensors.back().rows() * tensors.back().cols();
    }
    double best = 0;
    for (int i = 0; i < kReadRepeats; ++i) {
      const fs::path path = folder_.path() / "codes";
      const std::optional<StateFile> file =
          write ? std::optional(StateFile::create(path, codes)) : std::nullopt;
      const double begin = clock();
      stream_weights(pool, tensors, DType::kBf16, [&](std::size_t t, const QuantizedRows& rows) {
        if (file) file->write_at(offsets[t] + rows.row * tensors[t].cols(), std::as_bytes(rows.codes));
      });
      best =
          std::max(best, static_cast<double>(bytes_of(reader.checkpoint(), names)) / (clock() - begin) / 1e9);
      fs::remove(path);
    }
    return best;
  }

  const QuantizeBenchOptions& options_;
  const TemporaryFolder folder_;
  const fs::path source_;
  QuantizeBench result_;
  int step_ = 0;
};

}  // namespace

std::int64_t quantize_bench_disk_bytes(const QuantizeBenchOptions& options) {
  // The source, and an int8 or, for what stays float, bf16 copy of it beside state that is small.
  return random_source_bytes(options.config, options.fp8) + random_source_bytes(options.config, true) +
         (std::int64_t{1} << 30);
}

QuantizeBench run_quantize_bench(const QuantizeBenchOptions& options) {
  const std::int64_t needed = quantize_bench_disk_bytes(options);
  const auto free = static_cast<std::int64_t>(fs::space(options.dir).available);
  if (needed > free)
    throw_error(ErrorCode::kUnavailable,
                "'{}': {:.1f} GB of free disk expected for {} experts, got {:.1f}; use fewer --experts or "
                "another --dir",
                options.dir.string(), static_cast<double>(needed) / 1e9, options.config.n_routed_experts,
                static_cast<double>(free) / 1e9);
  return Bench(options).run();
}

}  // namespace latent8
