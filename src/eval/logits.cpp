#include "eval/logits.h"

#include <fmt/format.h>

#include <algorithm>

#include "formats/safetensors_writer.h"

namespace latent8 {
namespace {

// Tokens of the sequences that run together; bounds their hidden states and their cache.
constexpr std::int64_t kGroupTokens = 16'384;

std::int64_t rows_of(const std::vector<std::int32_t>& ids, std::int64_t last) {
  const auto length = static_cast<std::int64_t>(ids.size());
  return last > 0 ? std::min(last, length) : length;
}

std::vector<TensorToWrite> tensors_to_write(const DeepseekModel& model,
                                            std::span<const std::vector<std::int32_t>> sequences,
                                            std::int64_t last) {
  const std::int64_t vocab = model.config().vocab_size;
  std::vector<TensorToWrite> tensors;
  for (std::size_t n = 0; n < sequences.size(); ++n) {
    const std::int64_t rows = rows_of(sequences[n], last);
    tensors.push_back({fmt::format("{}.logits", n), DType::kF32, {rows, vocab}});
    if (model.has_mtp() && rows > 1)
      tensors.push_back({fmt::format("{}.mtp", n), DType::kF32, {rows - 1, vocab}});
  }
  return tensors;
}

using LogitsOf = void (DeepseekModel::*)(OpContext&, ConstMat<float>, Mat<float>) const;

// Logits of all rows of `hidden` to tensor `name`, a block of rows at a time.
void append_logits(const DeepseekModel& model, OpContext& ctx, LogitsOf logits_of, ConstMat<float> hidden,
                   const std::string& name, SafetensorsWriter& writer) {
  Matrix<float> logits(std::min(kLogitRows, hidden.rows), model.config().vocab_size);
  for (std::int64_t begin = 0; begin < hidden.rows; begin += kLogitRows) {
    const std::int64_t end = std::min(begin + kLogitRows, hidden.rows);
    (model.*logits_of)(ctx, hidden.row_range(begin, end), logits.view().row_range(0, end - begin));
    const std::span<const float> values(logits.row(0),
                                        static_cast<std::size_t>((end - begin) * logits.cols()));
    writer.append(name, std::as_bytes(values));
  }
}

}  // namespace

void write_logits(const DeepseekModel& model, OpContext& ctx,
                  std::span<const std::vector<std::int32_t>> sequences, std::int64_t last,
                  const EvalOptions& options, const std::filesystem::path& path,
                  const EvalProgress& progress) {
  std::int64_t total = 0;
  for (std::size_t n = 0; n < sequences.size(); ++n) {
    check_sequence(model.config(), sequences[n], fmt::format("sequence {}", n));
    total += static_cast<std::int64_t>(sequences[n].size());
  }
  SafetensorsWriter writer(path, tensors_to_write(model, sequences, last));
  std::int64_t finished = 0;
  for (std::size_t first = 0, end = 0; first < sequences.size(); first = end) {
    std::int64_t tokens = 0;
    do tokens += static_cast<std::int64_t>(sequences[end++].size());
    while (end < sequences.size() &&
           tokens + static_cast<std::int64_t>(sequences[end].size()) <= kGroupTokens);
    const auto hidden = run_sequences(model, ctx, sequences.subspan(first, end - first), options,
                                      model.has_mtp(), [&](std::int64_t done, std::int64_t of) {
                                        if (progress) progress(finished + done * tokens / of, total);
                                      });
    for (std::size_t n = first; n < end; ++n) {
      const SequenceHidden& h = hidden[n - first];
      const std::int64_t rows = rows_of(sequences[n], last), length = h.main.rows();
      append_logits(model, ctx, &DeepseekModel::logits, h.main.view().row_range(length - rows, length),
                    fmt::format("{}.logits", n), writer);
      if (model.has_mtp() && rows > 1)
        append_logits(model, ctx, &DeepseekModel::mtp_logits,
                      h.mtp.view().row_range(length - rows, length - 1), fmt::format("{}.mtp", n), writer);
    }
    finished += tokens;
  }
  writer.finish();
}

}  // namespace latent8
