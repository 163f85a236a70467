#include "quant/compat/calibration.h"

#include <algorithm>

#include "base/error.h"
#include "formats/layer_schema.h"
#include "model/gate.h"
#include "ops/elementwise.h"
#include "quant/compat/exponent_search.h"
#include "quant/compat/fake_quant.h"
#include "quant/compat/int8_linear.h"
#include "quant/compat/smoothing.h"
#include "quant/output/state_file.h"

namespace latent8::compat {
namespace {

// The inputs of gate_proj and up_proj, and of down_proj.
enum MlpInput : std::size_t { kGateUp, kDown, kMlpInputs };

// A token of a call and the weight of the expert's output.
struct Share {
  std::int64_t token;
  float weight;
};

std::vector<Share> shares_of(const Stream::Call& call, std::int64_t expert) {
  std::vector<Share> shares;
  if (expert < 0) {
    for (std::int64_t t = 0; t < call.x.rows(); ++t) shares.push_back({t, 1.0F});
    return shares;
  }
  for (std::size_t i = 0; i < call.routing.expert.size(); ++i)
    if (call.routing.expert[i] == expert)
      shares.push_back({static_cast<std::int64_t>(i) / call.routing.top_k, call.routing.weight[i]});
  return shares;
}

std::span<float> elements(Matrix<float>& matrix) {
  return {matrix.row(0), static_cast<std::size_t>(matrix.rows() * matrix.cols())};
}

void observe_channels(Mat<float> x, std::vector<Range>& channels) {
  for (std::int64_t r = 0; r < x.rows; ++r) {
    const float* row = x.row(r);
    if (channels.empty())
      for (std::int64_t c = 0; c < x.cols; ++c) channels.push_back({row[c], row[c]});
    for (std::size_t c = 0; c < channels.size(); ++c) channels[c] = joined(channels[c], {row[c], row[c]});
  }
}

LinearTensors fake_quantised(ThreadPool& pool, DType type, const LinearTensors& linear) {
  LinearTensors out{Matrix<float>(linear.weight.rows(), linear.weight.cols()), linear.bias};
  std::copy_n(linear.weight.row(0), linear.weight.rows() * linear.weight.cols(), out.weight.row(0));
  fake_quantize_weight(pool, type, out.weight);
  return out;
}

// kv_b_proj stays float.
AttentionTensors fake_quantised(ThreadPool& pool, DType type, const AttentionTensors& w) {
  AttentionTensors out;
  out.input_layernorm = w.input_layernorm;
  out.q_a_layernorm = w.q_a_layernorm;
  out.kv_a_layernorm = w.kv_a_layernorm;
  out.q_a_proj = fake_quantised(pool, type, w.q_a_proj);
  out.q_b_proj = fake_quantised(pool, type, w.q_b_proj);
  out.kv_a_proj_with_mqa = fake_quantised(pool, type, w.kv_a_proj_with_mqa);
  out.o_proj = fake_quantised(pool, type, w.o_proj);
  out.kv_b_proj.weight = Matrix<float>(w.kv_b_proj.weight.rows(), w.kv_b_proj.weight.cols());
  std::copy_n(w.kv_b_proj.weight.row(0), w.kv_b_proj.weight.rows() * w.kv_b_proj.weight.cols(),
              out.kv_b_proj.weight.row(0));
  return out;
}

}  // namespace

Stream::Stream(const ModelConfig& config, OpContext& ctx, DType type, std::vector<TokenBatch> batches,
               bool fake_quantised)
    : config_(config), ctx_(ctx), type_(type), fake_quantised_(fake_quantised) {
  for (TokenBatch& batch : batches) calls_.push_back({std::move(batch), {}, {}, {}, {}});
}

void Stream::embed(const TensorReader& reader) {
  const std::string table = outside_schema(config_).weight(TensorRole::kEmbedTokens);
  for (Call& call : calls_) call.x = reader.rows(table, call.batch.ids);
}

void Stream::begin_mlp(const NormTensors& norm) {
  for (Call& call : calls_) {
    call.h = Matrix<float>(call.x.rows(), call.x.cols());
    call.delta = Matrix<float>(call.x.rows(), call.x.cols());
    rms_norm(ctx_, call.x.view(), {norm.weight, norm.bias}, static_cast<float>(config_.rms_norm_eps),
             call.h.view());
  }
}

void Stream::route(const Matrix<float>& gate, const std::vector<float>& bias) {
  for (Call& call : calls_) {
    Matrix<float> logits(call.h.rows(), gate.rows());
    linear(ctx_, view_of(gate), call.h.view(), logits.view());
    latent8::route(ctx_, routing_rule(config_), logits.view(), bias, call.routing);
  }
}

void Stream::mlp(const MlpTensors& weights, std::int64_t expert) {
  std::array<MeanRange, kMlpInputs> ranges;
  const auto at_input = [&](MlpInput which, Matrix<float>& x) {
    if (fake_quantised_) observe_and_fake_quantize(type_, ranges[which], x.view());
  };
  for (Call& call : calls_) {
    const std::vector<Share> shares = shares_of(call, expert);
    if (shares.empty()) continue;
    const auto rows = static_cast<std::int64_t>(shares.size());
    Matrix<float> x(rows, call.h.cols()), gate(rows, weights.gate_proj.rows()),
        up(rows, weights.up_proj.rows()), out(rows, call.h.cols());
    for (std::int64_t r = 0; r < rows; ++r)
      std::copy_n(call.h.row(shares[static_cast<std::size_t>(r)].token), x.cols(), x.row(r));
    at_input(kGateUp, x);
    linear(ctx_, view_of(weights.gate_proj), x.view(), gate.view());
    linear(ctx_, view_of(weights.up_proj), x.view(), up.view());
    silu_mul(ctx_, gate.view(), up.view(), gate.view());
    at_input(kDown, gate);
    linear(ctx_, view_of(weights.down_proj), gate.view(), out.view());
    for (std::int64_t r = 0; r < rows; ++r) {
      const Share share = shares[static_cast<std::size_t>(r)];
      for (std::int64_t c = 0; c < out.cols(); ++c)
        call.delta.row(share.token)[c] += share.weight * out.row(r)[c];
    }
  }
}

void Stream::end_mlp() {
  for (Call& call : calls_) add_inplace(ctx_, call.x.view(), call.delta.view());
}

Calibration::Calibration(const ModelConfig& config, DType type, ThreadPool& pool,
                         std::vector<TokenBatch> anti, std::vector<TokenBatch> calib)
    : config_(config),
      type_(type),
      ctx_(pool),
      attention_(config, ctx_),
      anti_(config, ctx_, type, std::move(anti), false),
      calib_(config, ctx_, type, std::move(calib), true) {}

void Calibration::embed(const TensorReader& reader) {
  anti_.embed(reader);
  calib_.embed(reader);
}

template <class Visit>
std::int64_t Calibration::for_each_matrix(const Visit& visit) {
  std::int64_t offset = 0;
  for (Stream* stream : {&anti_, &calib_})
    for (Stream::Call& call : stream->calls()) {
      visit(call, offset);
      offset += call.batch.tokens() * config_.hidden_size * static_cast<std::int64_t>(sizeof(float));
    }
  return offset;
}

void Calibration::save(const std::filesystem::path& path) {
  const std::int64_t bytes = for_each_matrix([](Stream::Call&, std::int64_t) {});
  const StateFile file = StateFile::create(path, bytes);
  for_each_matrix([&](Stream::Call& call, std::int64_t offset) {
    file.write_at(offset, std::as_bytes(elements(call.x)));
  });
  file.sync();
}

void Calibration::load(const std::filesystem::path& path) {
  const std::int64_t bytes = for_each_matrix([](Stream::Call&, std::int64_t) {});
  const StateFile file = StateFile::open(path, bytes);
  for_each_matrix([&](Stream::Call& call, std::int64_t offset) {
    call.x = Matrix<float>(call.batch.tokens(), config_.hidden_size);
    file.read_at(offset, std::as_writable_bytes(elements(call.x)));
  });
}

std::array<GroupStatistics, kGroups> Calibration::observe_groups(QuantizeOptions::Anti anti,
                                                                 AttentionTensors& w) {
  std::array<GroupStatistics, kGroups> groups;
  std::array<std::vector<float>, kGroups> inputs;  // for the search: of all calls, one after the other
  const bool search = anti == QuantizeOptions::Anti::kM6;
  const auto at_input = [&](Group group, Mat<float> x) {
    const auto g = static_cast<std::size_t>(group);
    round_and_observe(type_, x);
    observe_channels(x, groups[g].channels);
    for (std::int64_t r = 0; search && r < x.rows; ++r)
      inputs[g].insert(inputs[g].end(), x.row(r), x.row(r) + x.cols);
  };
  for (Stream::Call& call : anti_.calls()) attention_.run(w, call.batch, at_input, call.x.view());
  for (std::size_t g = 0; search && g < kGroups; ++g) {
    const auto cols = static_cast<std::int64_t>(groups[g].channels.size());
    Matrix<float> input(static_cast<std::int64_t>(inputs[g].size()) / cols, cols);
    std::copy(inputs[g].begin(), inputs[g].end(), input.row(0));
    groups[g].exponents =
        search_exponents(ctx_, type_, input, groups[g], linears_of(static_cast<Group>(g), w));
  }
  return groups;
}

void Calibration::observe_inputs(const AttentionTensors& w, bool fa, LayerStatistics& statistics) {
  if (calib_.calls().empty()) return;
  const AttentionTensors quantised = fake_quantised(ctx_.pool(), type_, w);
  const auto at_input = [&](Group group, Mat<float> x) {
    observe_and_fake_quantize(type_, statistics.inputs[static_cast<std::size_t>(group)], x);
  };
  for (Stream::Call& call : calib_.calls()) {
    attention_.run(quantised, call.batch, at_input, call.x.view());
    if (fa) join(statistics.fa, attention_.fa_ranges(type_, quantised, call.batch));
  }
}

void Calibration::begin_mlp(const NormTensors& norm) {
  anti_.begin_mlp(norm);
  calib_.begin_mlp(norm);
}

void Calibration::route(const Matrix<float>& gate, const std::vector<float>& bias) {
  anti_.route(gate, bias);
  calib_.route(gate, bias);
}

void Calibration::mlp(MlpTensors weights, std::int64_t expert) {
  anti_.mlp(weights, expert);
  if (calib_.calls().empty()) return;
  for (Matrix<float>* weight : {&weights.gate_proj, &weights.up_proj, &weights.down_proj})
    fake_quantize_weight(ctx_.pool(), type_, *weight);
  calib_.mlp(weights, expert);
}

void Calibration::end_mlp() {
  anti_.end_mlp();
  calib_.end_mlp();
}

}  // namespace latent8::compat
