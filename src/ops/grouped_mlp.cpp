#include "ops/grouped_mlp.h"

#include <algorithm>
#include <cstring>

#include "kernels/elementwise_args.h"
#include "kernels/kernel_table.h"

namespace latent8 {
namespace {

using Part = GroupedMlpScratch::Part;

bool is_float(const Linear& w) { return w.kind == Linear::Kind::kFloat; }

void group_by_expert(const Routing& routing, std::int64_t tokens, std::size_t experts, GroupedMlpScratch& s) {
  const auto slots = static_cast<std::size_t>(tokens * routing.top_k);
  s.begin.assign(experts + 1, 0);
  s.slot_of.resize(slots);
  s.token_of.resize(slots);
  for (const std::int32_t e : routing.expert) ++s.begin[static_cast<std::size_t>(e) + 1];
  for (std::size_t e = 0; e < experts; ++e) s.begin[e + 1] += s.begin[e];
  std::vector<std::int32_t> next(s.begin.begin(), s.begin.end() - 1);
  for (std::size_t i = 0; i < slots; ++i) {
    const std::int32_t slot = next[static_cast<std::size_t>(routing.expert[i])]++;
    s.slot_of[i] = slot;
    s.token_of[static_cast<std::size_t>(slot)] =
        static_cast<std::int32_t>(static_cast<std::int64_t>(i) / routing.top_k);
  }
}

std::int64_t slots_of(const GroupedMlpScratch& s, std::size_t expert) {
  return s.begin[expert + 1] - s.begin[expert];
}

// Cuts [0, size(expert)) of every expert that has tokens into parts of `step`.
template <class Size>
void cut_experts(const GroupedMlpScratch& s, std::int64_t step, const Size& size, std::vector<Part>& parts) {
  parts.clear();
  for (std::size_t e = 0; e + 1 < s.begin.size(); ++e) {
    const std::int64_t n = slots_of(s, e) > 0 ? size(e) : 0;
    for (std::int64_t at = 0; at < n; at += step)
      parts.push_back({static_cast<std::int32_t>(e), static_cast<std::int32_t>(at),
                       static_cast<std::int32_t>(std::min(at + step, n))});
  }
}

// Calls body(part, worker) for all parts.
template <class Body>
void for_each_part(OpContext& ctx, const std::vector<Part>& parts, const Body& body) {
  ctx.pool().parallel_for(std::ssize(parts), 1, [&](std::int64_t i, std::int64_t, int worker) {
    body(parts[static_cast<std::size_t>(i)], worker);
  });
}

// Hands out the codes of all experts in one buffer, one expert behind the other.
class CodeLayout {
 public:
  explicit CodeLayout(const KernelTable& table) : table_(table) {}
  // Where m rows of codes for w will lie; nothing for float weights.
  ActivationCodes place(const Linear& w, std::int64_t m) {
    if (is_float(w) || m == 0) return {};
    const ActivationCodes rows =
        buffer_ == nullptr ? ActivationCodes{} : buffer_->rows(bytes_, rows_, m, w.in_features);
    bytes_ += table_.code_bytes(m, w.in_features);
    rows_ += m;
    return w.kind == Linear::Kind::kW8A8Dynamic ? rows
                                                : ActivationCodes{rows.codes, nullptr, m, w.in_features};
  }
  // Begins anew; from now on place() gives memory.
  void reserve(CodeBuffer& buffer) {
    buffer.reserve(bytes_, rows_);
    buffer_ = &buffer;
    bytes_ = rows_ = 0;
  }

 private:
  const KernelTable& table_;
  CodeBuffer* buffer_ = nullptr;
  std::int64_t bytes_ = 0, rows_ = 0;
};

// Two passes over the experts: the first measures, the second hands out memory.
void place_codes(OpContext& ctx, std::span<const GatedMlp> experts, GroupedMlpScratch& s) {
  CodeLayout in(ctx.kernels()), down(ctx.kernels());
  s.codes.resize(experts.size());
  for (const bool measure : {true, false}) {
    for (std::size_t e = 0; e < experts.size(); ++e) {
      const GatedMlp& mlp = experts[e];
      const std::int64_t m = slots_of(s, e);
      if (m == 0) continue;
      s.codes[e].gate = in.place(mlp.gate_proj, m);
      s.codes[e].up = same_input(mlp.gate_proj, mlp.up_proj) ? s.codes[e].gate : in.place(mlp.up_proj, m);
      s.codes[e].down = down.place(mlp.down_proj, m);
    }
    if (!measure) return;
    in.reserve(ctx.codes);
    down.reserve(ctx.extra_codes);
  }
}

void reserve_scratch(OpContext& ctx, std::span<const GatedMlp> experts, const GroupedMlpScratch& s) {
  const KernelTable& table = ctx.kernels();
  for (std::size_t e = 0; e < experts.size(); ++e)
    if (const std::int64_t m = slots_of(s, e); m > 0)
      for (const Linear* w : {&experts[e].gate_proj, &experts[e].up_proj, &experts[e].down_proj})
        ctx.reserve_worker_scratch(linear_scratch_bytes(table, *w, m, table.gemm_cols));
}

// Rows of x for the slots [slot, slot + count) of one expert: copied for float weights, codes for int8 ones.
// Row r of `codes` is slot slot + r.
void gather(const KernelTable& table, const GatedMlp& mlp, ConstMat<float> x, const GroupedMlpScratch& s,
            const GroupedMlpScratch::ExpertCodes& codes, std::int64_t row, std::int64_t slot,
            std::int64_t count, Mat<float> gathered) {
  const bool copy = is_float(mlp.gate_proj) || is_float(mlp.up_proj);
  const bool same = same_input(mlp.gate_proj, mlp.up_proj);
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t t = s.token_of[static_cast<std::size_t>(slot + i)];
    const ConstMat<float> token = x.row_range(t, t + 1);
    if (copy)
      std::memcpy(gathered.row(slot + i), token.data, static_cast<std::size_t>(x.cols) * sizeof(float));
    quantize_rows(table, mlp.gate_proj, token, codes.gate, row + i);
    if (!same) quantize_rows(table, mlp.up_proj, token, codes.up, row + i);
  }
}

// Row t of out: its experts' rows in the order of choice, then shared.
void combine(OpContext& ctx, const Routing& routing, const GroupedMlpScratch& s,
             std::optional<ConstMat<float>> shared, Mat<float> out) {
  ctx.pool().parallel_for(out.rows, 4, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t t = begin; t < end; ++t) {
      float* to = out.row(t);
      std::memset(to, 0, static_cast<std::size_t>(out.cols) * sizeof(float));
      for (std::int64_t i = t * routing.top_k; i < (t + 1) * routing.top_k; ++i) {
        const float weight = routing.weight[static_cast<std::size_t>(i)];
        const float* from = s.out.view().row(s.slot_of[static_cast<std::size_t>(i)]);
        for (std::int64_t c = 0; c < out.cols; ++c) to[c] += weight * from[c];
      }
      if (!shared) continue;
      const float* from = shared->row(t);
      for (std::int64_t c = 0; c < out.cols; ++c) to[c] += from[c];
    }
  });
}

}  // namespace

void grouped_mlp(OpContext& ctx, std::span<const GatedMlp> experts, const Routing& routing, ConstMat<float> x,
                 std::optional<ConstMat<float>> shared, GroupedMlpScratch& s, Mat<float> out) {
  const KernelTable& table = ctx.kernels();
  const std::int64_t hidden = x.cols, intermediate = experts[0].gate_proj.out_features;
  const std::int64_t slots = x.rows * routing.top_k;
  group_by_expert(routing, x.rows, experts.size(), s);
  place_codes(ctx, experts, s);
  reserve_scratch(ctx, experts, s);
  const Mat<float> gate = s.gate.reshape(slots, intermediate), up = s.up.reshape(slots, intermediate);
  const Mat<float> results = s.out.reshape(slots, hidden);
  const bool gathers = std::any_of(experts.begin(), experts.end(), [](const GatedMlp& mlp) {
    return is_float(mlp.gate_proj) || is_float(mlp.up_proj);
  });
  const Mat<float> gathered = s.gathered.reshape(gathers ? slots : 0, hidden);
  const auto first_slot = [&](const Part& part) { return s.begin[static_cast<std::size_t>(part.expert)]; };
  const auto mlp_of = [&](const Part& part) -> const GatedMlp& {
    return experts[static_cast<std::size_t>(part.expert)];
  };
  const auto codes_of = [&](const Part& part) -> const GroupedMlpScratch::ExpertCodes& {
    return s.codes[static_cast<std::size_t>(part.expert)];
  };
  // An expert's rows of a matrix of slots; none of one that is not there.
  const auto rows_of = [&](const Part& part, Mat<float> m) {
    return m.rows == 0 ? m
                       : m.row_range(first_slot(part), s.begin[static_cast<std::size_t>(part.expert) + 1]);
  };

  cut_experts(s, quantize_grain(table), [&](std::size_t e) { return slots_of(s, e); }, s.row_parts);
  for_each_part(ctx, s.row_parts, [&](const Part& part, int) {
    gather(table, mlp_of(part), x, s, codes_of(part), part.begin, first_slot(part) + part.begin,
           part.end - part.begin, gathered);
  });

  cut_experts(s, table.gemm_cols, [&](std::size_t) { return intermediate; }, s.intermediate_parts);
  for_each_part(ctx, s.intermediate_parts, [&](const Part& part, int worker) {
    const GatedMlp& mlp = mlp_of(part);
    const Mat<float> in = rows_of(part, gathered), g = rows_of(part, gate), u = rows_of(part, up);
    void* scratch = ctx.worker_scratch(worker);
    linear_block(table, mlp.gate_proj, {in, codes_of(part).gate}, 0, g.rows, part.begin, part.end, g,
                 scratch);
    linear_block(table, mlp.up_proj, {in, codes_of(part).up}, 0, g.rows, part.begin, part.end, u, scratch);
    table.silu_mul({g.data + part.begin, u.data + part.begin, g.data + part.begin, g.rows,
                    part.end - part.begin, g.row_stride, u.row_stride, g.row_stride});
  });

  if (!std::all_of(experts.begin(), experts.end(),
                   [](const GatedMlp& mlp) { return is_float(mlp.down_proj); }))
    for_each_part(ctx, s.row_parts, [&](const Part& part, int) {
      quantize_rows(table, mlp_of(part).down_proj, rows_of(part, gate).row_range(part.begin, part.end),
                    codes_of(part).down, part.begin);
    });

  cut_experts(s, table.gemm_cols, [&](std::size_t) { return hidden; }, s.hidden_parts);
  for_each_part(ctx, s.hidden_parts, [&](const Part& part, int worker) {
    const Mat<float> in = rows_of(part, gate);
    linear_block(table, mlp_of(part).down_proj, {in, codes_of(part).down}, 0, in.rows, part.begin, part.end,
                 rows_of(part, results), ctx.worker_scratch(worker));
  });
  combine(ctx, routing, s, shared, out);
}

void gated_mlp(OpContext& ctx, const GatedMlp& mlp, ConstMat<float> x, GroupedMlpScratch& s, Mat<float> out) {
  const KernelTable& table = ctx.kernels();
  const std::int64_t intermediate = mlp.gate_proj.out_features;
  const Mat<float> gate = s.gate.reshape(x.rows, intermediate), up = s.up.reshape(x.rows, intermediate);
  linear_pair(ctx, mlp.gate_proj, mlp.up_proj, x, gate, up);
  LinearInput in{gate, {}};
  if (!is_float(mlp.down_proj)) in.codes = reserve_codes(table, mlp.down_proj, x.rows, ctx.codes);
  ctx.pool().parallel_for(x.rows, quantize_grain(table), [&](std::int64_t begin, std::int64_t end, int) {
    const Mat<float> g = gate.row_range(begin, end), u = up.row_range(begin, end);
    table.silu_mul({g.data, u.data, g.data, g.rows, g.cols, g.row_stride, u.row_stride, g.row_stride});
    quantize_rows(table, mlp.down_proj, g, in.codes, begin);
  });
  linear_prepared(ctx, mlp.down_proj, in, x.rows, out);
}

}  // namespace latent8
