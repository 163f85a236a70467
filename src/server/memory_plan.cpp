#include "server/memory_plan.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>

#include "base/aligned_buffer.h"
#include "formats/layer_schema.h"
#include "sys/file_descriptor.h"

namespace latent8 {
namespace {

std::string gib(double bytes) { return fmt::format("{:.2f} GiB", bytes / 0x1p30); }

}  // namespace

double weight_bytes_per_token(const Checkpoint& checkpoint) {
  const ModelConfig& config = checkpoint.config();
  const ModelSchema schema(config);
  double bytes = 0.0;
  for (const auto& [name, tensor] : checkpoint.tensors()) {
    const std::optional<ModelSchema::Found> found = schema.find(name);
    if (!found || found->layer >= config.num_hidden_layers) continue;
    double share = 1.0;
    if (found->expert >= 0)
      share = static_cast<double>(config.num_experts_per_tok) / static_cast<double>(config.n_routed_experts);
    else if (found->tensor->role == TensorRole::kEmbedTokens && !config.tie_word_embeddings)
      share = 1.0 / static_cast<double>(config.vocab_size);
    bytes += share * static_cast<double>(tensor.bytes.size());
  }
  return bytes;
}

std::string memory_plan(const Checkpoint& checkpoint, const EngineInfo& info, bool copied,
                        std::int64_t free_bytes) {
  const std::int64_t tokens = info.num_blocks * info.block_size;
  return fmt::format(
      "memory: weights {} {}; latent cache {}, {} tokens of {} bytes in blocks of {}: {:.1f} contexts of {} "
      "tokens; step buffers at most {}; {} free",
      gib(static_cast<double>(checkpoint.tensor_bytes())), copied ? "copied" : "mapped",
      gib(static_cast<double>(tokens * info.cache_bytes_per_token)), tokens, info.cache_bytes_per_token,
      info.block_size, static_cast<double>(tokens) / static_cast<double>(info.max_model_len),
      info.max_model_len, gib(static_cast<double>(info.step_buffer_bytes)),
      gib(static_cast<double>(free_bytes)));
}

double measured_read_rate(const Checkpoint& checkpoint) {
  constexpr std::int64_t kPiece = std::int64_t{4} << 20;
  constexpr double kTime_s = 0.5;
  const auto largest = std::max_element(
      checkpoint.files().begin(), checkpoint.files().end(), [](const auto& a, const auto& b) {
        return std::filesystem::file_size(a.path()) < std::filesystem::file_size(b.path());
      });
  if (largest == checkpoint.files().end()) return 0.0;
  FileDescriptor file(open(largest->path().c_str(), O_RDONLY | O_CLOEXEC | O_DIRECT));
  if (file.get() < 0) file = FileDescriptor(open(largest->path().c_str(), O_RDONLY | O_CLOEXEC));
  AlignedBuffer<std::byte> piece(kPiece);  // on a huge page, as O_DIRECT wants it
  using Clock = std::chrono::steady_clock;
  const auto start = Clock::now();
  double time_s = 0.0;
  std::int64_t bytes = 0;
  while (time_s < kTime_s) {
    const ssize_t got = pread(file.get(), piece.data(), static_cast<std::size_t>(kPiece), bytes);
    if (got <= 0) break;
    bytes += got;
    time_s = std::chrono::duration<double>(Clock::now() - start).count();
  }
  return time_s > 0.0 ? static_cast<double>(bytes) / time_s : 0.0;
}

std::string disk_warning(const Checkpoint& checkpoint, std::int64_t free_bytes, double read_rate) {
  const auto stored = static_cast<double>(checkpoint.tensor_bytes());
  const auto memory = static_cast<double>(free_bytes);
  if (stored <= memory || stored <= 0.0) return "";
  // A token's weights are spread over all of them: the share that is not in memory comes from the disk.
  const double from_disk = weight_bytes_per_token(checkpoint) * (1.0 - std::max(memory, 0.0) / stored);
  return fmt::format(
      "the weights, {}, do not fit into the {} that are free: a token reads about {} from the disk, which "
      "gave "
      "{:.2f} GB/s just now, so expect about {:.2g} tokens per second (an estimate)",
      gib(stored), gib(memory), gib(from_disk), read_rate / 1e9,
      from_disk > 0.0 ? read_rate / from_disk : 0.0);
}

}  // namespace latent8
