#include "apps/quantize_output.h"

#include <algorithm>
#include <ctime>
#include <fstream>
#include <map>

#include "apps/common.h"
#include "apps/files.h"
#include "formats/atomic_file.h"
#include "formats/files.h"
#include "report/report.h"
#include "sys/cpu_features.h"
#include "sys/topology.h"

namespace latent8 {
namespace {

constexpr std::size_t kMostWarnings = 3;

std::string format_seconds(double seconds) {
  const auto s = static_cast<std::int64_t>(seconds + 0.5);
  if (s < 60) return fmt::format("{} s", s);
  if (s < 3600) return fmt::format("{}:{:02} min", s / 60, s % 60);
  return fmt::format("{}:{:02} h", s / 3600, s % 3600 / 60);
}

class QuantizeProgressBar {
 public:
  void update(const QuantizeProgress& p) {
    using Clock = std::chrono::steady_clock;
    if (first_bytes_ < 0) {
      first_bytes_ = p.bytes;  // of layers that an interrupted run finished
      start_ = Clock::now();
    }
    const double seconds = std::chrono::duration<double>(Clock::now() - start_).count();
    const auto done = static_cast<double>(p.bytes - first_bytes_);
    std::string note = fmt::format("layer {} of {}", std::min(p.layer + 1, p.n_layers), p.n_layers);
    if (!p.part.empty()) note += ", " + p.part;
    if (done > 0 && seconds > 0) {
      const double rate = done / seconds;
      note += fmt::format(", {:.3g} GB/s, {} left", rate / 1e9,
                          format_seconds(static_cast<double>(p.total_bytes - p.bytes) / rate));
    }
    bar_.update(p.bytes, p.total_bytes, note);
    if (!stderr_is_terminal() && p.layer != shown_layer_) {
      shown_layer_ = p.layer;
      print_remark("quantize: {:3} %  {}\n", p.total_bytes > 0 ? p.bytes * 100 / p.total_bytes : 100, note);
    }
  }

 private:
  Progress bar_{"quantize", Progress::Lines::kNone};
  std::chrono::steady_clock::time_point start_;
  std::int64_t first_bytes_ = -1, shown_layer_ = -1;
};

// "none 1, rotation 4", in the order of the names.
std::string count_folds(const QuantizeResult& result) {
  std::map<std::string, int> counts;
  for (const LayerReport& layer : result.per_layer)
    if (layer.fa) ++counts[layer.fold];
  std::string text;
  for (const auto& [fold, count] : counts)
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", fold, count);
  return text;
}

std::string now() {
  const std::time_t time = std::time(nullptr);
  std::tm parts{};
  localtime_r(&time, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%d %H:%M", &parts);
  return text;
}

// What was typed, as a shell takes it.
std::string command_line() {
  constexpr const char* kPlain = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-./:=,@%+";
  std::ifstream file("/proc/self/cmdline", std::ios::binary);
  std::string text;
  for (std::string word; std::getline(file, word, '\0');) {
    if (word.empty() || word.find_first_not_of(kPlain) != std::string::npos) {
      for (std::size_t at = 0; (at = word.find('\'', at)) != std::string::npos; at += 4)
        word.replace(at, 1, "'\\''");
      word = "'" + word + "'";
    }
    text += (text.empty() ? "" : " ") + word;
  }
  return text;
}

}  // namespace

void check_report_file(const std::string& path, const QuantizeOptions& options) {
  std::filesystem::path out = options.out;
  if (!out.has_filename()) out = out.parent_path();
  check_output_file("--report", path, {options.model, out, out.string() + ".partial"},
                    [](const std::filesystem::path& file) { return is_report(read_text_file(file)); });
}

void write_report(const std::string& path, const QuantizeOptions& options, const QuantizeResult& result) {
  const Checkpoint checkpoint = Checkpoint::open(options.out);
  const CacheBytes cache = cache_bytes(checkpoint, CacheType::kF16);
  ReportContext context{
      options,
      command_line(),
      fmt::format("{}, {} threads, {}", cpu_name(),
                  options.threads > 0 ? options.threads : static_cast<int>(physical_cores().size()),
                  format_bytes(memory_info().total_bytes)),
      now(),
      cache.per_token,
      cache.fp16_per_token};
  write_file_atomically(path, report_html(result, context));
}

QuantizeResult quantize_with_progress(QuantizeOptions options) {
  QuantizeProgressBar bar;
  options.progress = [&bar](const QuantizeProgress& p) { bar.update(p); };
  return quantize(options);
}

std::string quantize_summary(const QuantizeOptions& options, const QuantizeResult& r) {
  std::string text = fmt::format("made         {}\n", options.out.string());
  text += fmt::format(
      "layers       {}, {} with an int8 cache{}{}\n", r.layers, r.fa_layers,
      r.mtp ? ", and the MTP layer" : "",
      r.resumed_layers > 0 ? fmt::format("; {} of them finished by an earlier run", r.resumed_layers) : "");
  text += fmt::format("size         {} in {} tensors, from {}\n", format_bytes(r.bytes_out), r.tensors,
                      format_bytes(r.bytes_in));
  if (const std::string folds = count_folds(r); !folds.empty())
    text += fmt::format("latent       {}\n", folds);
  if (const auto smoothed = std::count_if(r.per_layer.begin(), r.per_layer.end(),
                                          [](const LayerReport& l) { return !l.smoothed.empty(); });
      smoothed > 0)
    text += fmt::format("smoothed     attention of {} layers\n", smoothed);
  if (!r.copied.empty())
    text += fmt::format("copied       {} files of the source beside the tensors\n", r.copied.size());
  if (r.tokens > 0) text += fmt::format("calibration  {} prompts, {} tokens\n", r.prompts, r.tokens);
  if (r.peak_memory > 0) text += fmt::format("memory       {} at most\n", format_bytes(r.peak_memory));
  text += fmt::format("time         {}, {:.3g} GB/s of the source\n", format_seconds(r.seconds),
                      r.seconds > 0 ? static_cast<double>(r.bytes_in) / r.seconds / 1e9 : 0.0);
  const std::size_t shown =
      std::min(r.warnings.size(), r.warnings.size() > kMostWarnings ? kMostWarnings - 1 : kMostWarnings);
  for (std::size_t i = 0; i < shown; ++i) text += fmt::format("note         {}\n", r.warnings[i]);
  if (shown < r.warnings.size())
    text += fmt::format("note         and {} more (--json, --report)\n", r.warnings.size() - shown);
  return text;
}

}  // namespace latent8
