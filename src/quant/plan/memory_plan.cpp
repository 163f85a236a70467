#include "quant/plan/memory_plan.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "quant/calibrate/hessian.h"
#include "quant/layer/layer_quantizer.h"
#include "quant/layer/module_stream.h"
#include "quant/weights/smoothing.h"
#include "source/model_rotation.h"
#include "sys/topology.h"

namespace latent8 {
namespace {

// Prompts run in steps of this many tokens where memory allows: enough for weights to be read a few times
// only.
constexpr std::int64_t kStepTokens = 1024;
constexpr std::int64_t kFloat = sizeof(float);

// Of buffers with one row per token of a step.
std::int64_t bytes_per_token(const ModelConfig& c) {
  const std::int64_t heads = c.num_attention_heads;
  const std::int64_t attention = 2 * (c.kv_lora_rank + c.qk_rope_head_dim) + c.q_lora_rank.value_or(0) +
                                 heads * (c.qk_head_dim() + c.kv_lora_rank + c.v_head_dim);
  const std::int64_t mlp =
      c.n_routed_experts + 2 * std::max(c.intermediate_size, std::max<std::int64_t>(1, c.n_shared_experts) *
                                                                 c.moe_intermediate_size);
  const std::int64_t mtp = c.num_nextn_predict_layers > 0 ? 2 * c.hidden_size : 0;
  // Beside them: attention's output that a trial of the latent compares with, or what DownError looks at.
  const std::int64_t statistics = std::max(heads * c.v_head_dim, c.intermediate_size + c.hidden_size);
  return kFloat * (4 * c.hidden_size + attention + mlp + mtp + statistics);
}

// Of one thread's keys, values and scores of a head, and its rows of weights (OutputErrors has most).
std::int64_t bytes_per_thread(const ModelConfig& c, std::int64_t longest_prompt) {
  const std::int64_t widest =
      std::max({c.hidden_size, c.intermediate_size, c.num_attention_heads * c.v_head_dim});
  return kFloat * (longest_prompt * (c.qk_head_dim() + c.v_head_dim + 64) + 100 * widest);
}

// The weights that a unit needs in memory at once: its attention, or its MLP without routed experts, or one
// expert and the one read ahead, or the MTP layer's input; and the codes of the largest linear among them.
std::int64_t working_bytes(const Checkpoint& source, const PlannedUnit& unit, QuantizeOptions::Anti anti) {
  using ModulePart = PlannedModule::Part;
  using Anti = QuantizeOptions::Anti;
  std::array<std::int64_t, 2> parts{};     // attention, MLP
  std::array<std::int64_t, 2> hessians{};  // of which attention has one at a time, the MLP two
  std::int64_t codes = 0, expert = 0, mtp_input = 0, smoothing = 0, smoothed = 0, hidden_rows = 0;
  for (const PlannedModule& module : unit.modules) {
    if (module.input == InputKind::kMtp) mtp_input = std::max(mtp_input, source_bytes(source, module));
    if (module.part == ModulePart::kOther) continue;
    if (module.part == ModulePart::kAttention) parts[0] += source_bytes(source, module);
    if (module.part == ModulePart::kMlp) parts[1] += source_bytes(source, module);
    if (module.part == ModulePart::kExpert && module.expert == 0) expert += source_bytes(source, module);
    if (module.tensors.empty()) continue;
    const TensorToWrite& weight = module.tensors[0].tensor;
    codes = std::max(codes, weight.bytes());
    if (module.part == ModulePart::kExpert || weight.dtype != DType::kI8 || weight.shape.size() != 2)
      continue;
    // The weight in float32 beside its codes, and its input's second moment.
    const std::int64_t in = weight.shape[1], hessian = Hessian::bytes(in) + kFloat * weight.bytes();
    const bool hidden = module.input == InputKind::kHidden;
    if (module.part == ModulePart::kAttention && (anti == Anti::kM6 || (anti == Anti::kM4 && hidden))) {
      smoothed += kFloat * weight.bytes();  // they stay float32 until they are quantised
      hidden_rows += hidden ? weight.shape[0] : 0;
      smoothing = std::max(smoothing, smoothing_bytes(hidden ? hidden_rows : weight.shape[0], in));
    }
    std::int64_t& sum = hessians[module.part == ModulePart::kAttention ? 0 : 1];
    sum = std::max(sum, module.part == ModulePart::kAttention ? hessian : 2 * hessian);
  }
  return std::max({parts[0] + smoothed + std::max(hessians[0], smoothing), parts[1] + hessians[1], 2 * expert,
                   mtp_input}) +
         codes;
}

// Linears of a unit that is streamed are quantised one at a time.
std::int64_t streamed_bytes(const PlannedUnit& unit) {
  std::int64_t codes = 0;
  for (const PlannedModule& module : unit.modules)
    if (module.kind == PlannedModule::Kind::kDynamic)
      codes = std::max(codes, module.tensors[0].tensor.bytes());
  return codes;
}

// Rows that are computed together while they are read, and where they are read to: every thread has those of
// a rotated hidden state, one those of the largest tensor.
std::int64_t computed_bytes(const TensorSource& source, const CheckpointPlan& plan, int threads) {
  std::int64_t largest = 0, common = 0;
  for (const PlannedUnit& unit : plan.units)
    for (const PlannedModule& module : unit.modules)
      for (const std::string& name : source_names(source.checkpoint(), module)) {
        const std::int64_t rows = source.row_unit(name);
        if (rows == 1) continue;
        const std::int64_t bytes = 2 * rows * kFloat * source.checkpoint().get(name).shape.back();
        largest = std::max(largest, bytes);
        if (rows == BlockRotation::kBlock) common = std::max(common, bytes);
      }
  return largest + threads * common;
}

}  // namespace

std::int64_t memory_slack(int threads) { return (std::int64_t{32} + 2 * threads) << 20; }

MemoryPlan plan_memory(const TensorSource& source, const CheckpointPlan& plan, const MemoryNeeds& needs) {
  const ModelConfig& config = source.checkpoint().config();
  const std::int64_t cap = needs.cap > 0 ? needs.cap : memory_info().total_bytes / 4;
  const bool calibrated = needs.longest_prompt > 0;
  std::int64_t working = 0;
  for (const PlannedUnit& unit : plan.units)
    working = std::max(
        working, calibrated ? working_bytes(source.checkpoint(), unit, needs.anti) : streamed_bytes(unit));
  std::int64_t fixed =
      resident_bytes() + memory_slack(needs.threads) + working + computed_bytes(source, plan, needs.threads);
  if (calibrated) fixed += needs.threads * bytes_per_thread(config, needs.longest_prompt);
  const std::int64_t per_token = calibrated ? bytes_per_token(config) : 0;
  const std::int64_t least = fixed + needs.longest_prompt * per_token;
  if (least > cap)
    throw_error(ErrorCode::kInvalidArgument,
                "memory: at least {} MiB expected for {}, got {} MiB; raise the cap (latent8 quantize "
                "--max-memory){}",
                (least >> 20) + 1,
                calibrated
                    ? fmt::format("one layer's attention and a prompt of {} tokens", needs.longest_prompt)
                    : "the largest linear",
                cap >> 20, calibrated ? " or split the longest calibration prompts" : "");
  MemoryPlan out;
  if (!calibrated) return out;
  // Half of what is left at most: activations that stay in memory save more than long steps.
  const std::int64_t fit = (cap - fixed) / 2 / per_token;
  out.step_tokens = std::clamp(fit, needs.longest_prompt, std::max(kStepTokens, needs.longest_prompt));
  out.budget = cap - fixed - out.step_tokens * per_token;
  return out;
}

}  // namespace latent8
