#include "ops/grouped_mlp.h"

#include <algorithm>
#include <cstring>

#include "ops/elementwise.h"

namespace latent8 {
namespace {

constexpr std::int64_t kBlockCols = 64;  // a packed panel of gemm_s8

void grow(Matrix<float>& m, std::int64_t rows, std::int64_t cols) {
  if (m.rows() < rows || m.cols() != cols) m = Matrix<float>(std::max(rows, m.rows()), cols);
}

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

// A block of output columns of one expert, over all its slots.
struct Item {
  std::int32_t expert;
  std::int32_t n0;
};

std::vector<Item> items_of(const GroupedMlpScratch& s, std::int64_t cols) {
  std::vector<Item> items;
  for (std::size_t e = 0; e + 1 < s.begin.size(); ++e) {
    if (s.begin[e] == s.begin[e + 1]) continue;
    for (std::int64_t n = 0; n < cols; n += kBlockCols)
      items.push_back({static_cast<std::int32_t>(e), static_cast<std::int32_t>(n)});
  }
  return items;
}

LinearInput slots_input(const Linear& w, Mat<float> x, const OpContext::Codes& codes) {
  LinearInput in{x, nullptr, nullptr, nullptr};
  if (w.kind == Linear::Kind::kFloat) return in;
  in.q = codes.q.data();
  in.sum = codes.sum.data();
  in.scale = w.kind == Linear::Kind::kW8A8Dynamic ? codes.scale.data() : nullptr;
  return in;
}

void combine(OpContext& ctx, const Routing& routing, const GroupedMlpScratch& s, Mat<float> out) {
  ctx.pool().parallel_for(out.rows, 4, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t t = begin; t < end; ++t) {
      float* to = out.row(t);
      std::memset(to, 0, static_cast<std::size_t>(out.cols) * sizeof(float));
      for (std::int64_t i = t * routing.top_k; i < (t + 1) * routing.top_k; ++i) {
        const float weight = routing.weight[static_cast<std::size_t>(i)];
        const float* from = s.out.row(s.slot_of[static_cast<std::size_t>(i)]);
        for (std::int64_t c = 0; c < out.cols; ++c) to[c] += weight * from[c];
      }
    }
  });
}

}  // namespace

void grouped_mlp(OpContext& ctx, std::span<const GatedMlp> experts, const Routing& routing, ConstMat<float> x,
                 GroupedMlpScratch& s, Mat<float> out) {
  const GatedMlp& any =
      experts[0];  // all experts have the same shapes; kinds may differ from layer to layer only
  const std::int64_t hidden = any.gate_proj.in_features, intermediate = any.gate_proj.out_features;
  const std::int64_t slots = x.rows * routing.top_k;
  group_by_expert(routing, x.rows, experts.size(), s);
  grow(s.gate, slots, intermediate);
  grow(s.up, slots, intermediate);
  grow(s.out, slots, hidden);
  const bool quantized = any.gate_proj.kind != Linear::Kind::kFloat;
  if (!quantized) grow(s.gathered, slots, hidden);
  ctx.codes.reserve(slots, std::max(hidden, intermediate));
  ctx.extra_codes.reserve(slots, hidden);
  ctx.reserve_worker_scratch(
      std::max(linear_scratch_bytes(any.gate_proj), linear_scratch_bytes(any.down_proj)));
  const auto expert_of_slot = [&](std::int64_t slot) -> const GatedMlp& {
    const auto it = std::upper_bound(s.begin.begin(), s.begin.end(), static_cast<std::int32_t>(slot));
    return experts[static_cast<std::size_t>(it - s.begin.begin() - 1)];
  };

  ctx.pool().parallel_for(slots, 8, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t slot = begin; slot < end; ++slot) {
      const GatedMlp& mlp = expert_of_slot(slot);
      const float* row = x.row(s.token_of[static_cast<std::size_t>(slot)]);
      if (!quantized) {
        std::memcpy(s.gathered.row(slot), row, static_cast<std::size_t>(hidden) * sizeof(float));
        continue;
      }
      quantize_row(ctx.kernels(), mlp.gate_proj, row, slot, ctx.codes);
      if (!same_input(mlp.gate_proj, mlp.up_proj))
        quantize_row(ctx.kernels(), mlp.up_proj, row, slot, ctx.extra_codes);
    }
  });

  const std::vector<Item> up_items = items_of(s, intermediate);
  ctx.pool().parallel_for(
      static_cast<std::int64_t>(up_items.size()), 1, [&](std::int64_t i, std::int64_t, int worker) {
        const auto [e, n0] = up_items[static_cast<std::size_t>(i)];
        const GatedMlp& mlp = experts[static_cast<std::size_t>(e)];
        const std::int64_t m0 = s.begin[static_cast<std::size_t>(e)],
                           m1 = s.begin[static_cast<std::size_t>(e) + 1];
        const std::int64_t n1 = std::min<std::int64_t>(n0 + kBlockCols, intermediate);
        const bool same = same_input(mlp.gate_proj, mlp.up_proj);
        const LinearInput gate_in = slots_input(mlp.gate_proj, s.gathered.view(), ctx.codes);
        const LinearInput up_in =
            slots_input(mlp.up_proj, s.gathered.view(), same ? ctx.codes : ctx.extra_codes);
        void* scratch = ctx.worker_scratch(worker);
        linear_block(ctx.kernels(), mlp.gate_proj, gate_in, m0, m1, n0, n1, s.gate.view(), scratch);
        linear_block(ctx.kernels(), mlp.up_proj, up_in, m0, m1, n0, n1, s.up.view(), scratch);
        ctx.kernels().silu_mul({s.gate.row(m0) + n0, s.up.row(m0) + n0, s.gate.row(m0) + n0, m1 - m0, n1 - n0,
                                s.gate.cols(), s.up.cols(), s.gate.cols()});
      });

  if (any.down_proj.kind != Linear::Kind::kFloat)
    ctx.pool().parallel_for(slots, 8, [&](std::int64_t begin, std::int64_t end, int) {
      for (std::int64_t slot = begin; slot < end; ++slot)
        quantize_row(ctx.kernels(), expert_of_slot(slot).down_proj, s.gate.row(slot), slot, ctx.codes);
    });

  const std::vector<Item> down_items = items_of(s, hidden);
  ctx.pool().parallel_for(
      static_cast<std::int64_t>(down_items.size()), 1, [&](std::int64_t i, std::int64_t, int worker) {
        const auto [e, n0] = down_items[static_cast<std::size_t>(i)];
        const Linear& w = experts[static_cast<std::size_t>(e)].down_proj;
        linear_block(ctx.kernels(), w, slots_input(w, s.gate.view(), ctx.codes),
                     s.begin[static_cast<std::size_t>(e)], s.begin[static_cast<std::size_t>(e) + 1], n0,
                     std::min<std::int64_t>(n0 + kBlockCols, hidden), s.out.view(),
                     ctx.worker_scratch(worker));
      });
  combine(ctx, routing, s, out);
}

void gated_mlp(OpContext& ctx, const GatedMlp& mlp, ConstMat<float> x, GroupedMlpScratch& s, Mat<float> out) {
  const std::int64_t intermediate = mlp.gate_proj.out_features;
  grow(s.gate, x.rows, intermediate);
  grow(s.up, x.rows, intermediate);
  const Mat<float> gate = s.gate.view().row_range(0, x.rows), up = s.up.view().row_range(0, x.rows);
  linear_pair(ctx, mlp.gate_proj, mlp.up_proj, x, gate, up);
  silu_mul(ctx, gate, up, gate);
  linear(ctx, mlp.down_proj, gate, out);
}

}  // namespace latent8
