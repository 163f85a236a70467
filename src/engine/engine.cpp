#include "latent8/engine.h"

#include <algorithm>
#include <atomic>
#include <thread>
#include <utility>

#include "base/check.h"
#include "engine/engine_loop.h"
#include "engine/options.h"
#include "formats/checkpoint.h"
#include "model/deepseek_model.h"

namespace latent8 {
namespace {

std::vector<std::int32_t> to_ids(const std::vector<std::int64_t>& ids) {
  std::vector<std::int32_t> out;
  for (const std::int64_t id : ids) out.push_back(static_cast<std::int32_t>(id));
  return out;
}

}  // namespace

class Engine::Impl {
 public:
  Impl(std::shared_ptr<const DeepseekModel> model, const EngineOptions& options)
      : options_(resolve_options(*model, options)),
        info_{.vocab_size = model->config().vocab_size,
              .block_size = options_.limits.block_size,
              .num_blocks = options_.limits.num_blocks,
              .max_model_len = std::min(options_.context_tokens, options_.cache_tokens()),
              .cache_bytes_per_token = options_.cache_bytes_per_token,
              .step_buffer_bytes = options_.step_buffer_bytes,
              .max_speculative_tokens = static_cast<int>(options_.limits.max_drafts),
              .eos_token_ids = to_ids(model->config().eos_token_ids)},
        loop_(std::move(model), options_, info_.eos_token_ids) {
    info_.threads = loop_.threads();
    thread_ = std::thread([this] { loop_.run(); });
  }

  ~Impl() {
    loop_.stop();
    thread_.join();
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  RequestId submit(Request request, TokenSink& sink) {
    check(request);
    const auto prompt = static_cast<std::int64_t>(request.token_ids.size());
    const std::int64_t room = info_.max_model_len - prompt, wanted = request.sampling.max_tokens;
    const std::int64_t limit = prompt + (wanted > 0 ? std::min(wanted, room) : room);
    const RequestId id = next_id_.fetch_add(1);
    loop_.submit(std::make_unique<Sequence>(id, std::move(request), sink, limit, info_.block_size));
    return id;
  }

  void check(const Request& request) const { check_request(request, info_.vocab_size, options_); }

  void cancel(RequestId id) { loop_.cancel(id); }
  EngineStats stats() const { return loop_.stats(); }
  const EngineInfo& info() const { return info_; }

 private:
  ResolvedOptions options_;
  EngineInfo info_;
  std::atomic<RequestId> next_id_{1};
  EngineLoop loop_;
  std::thread thread_;
};

Engine Engine::load(const std::filesystem::path& dir, const EngineOptions& options,
                    const ModelOptions& model_options) {
  return load(std::make_shared<const Checkpoint>(Checkpoint::open(dir)), options, model_options);
}

Engine Engine::load(std::shared_ptr<const Checkpoint> checkpoint, const EngineOptions& options,
                    const ModelOptions& model_options) {
  const LoadOptions load{.accept_unit_scales = model_options.accept_unit_scales,
                         .load_mtp = model_options.load_mtp || wants_mtp(options),
                         .copy = model_options.copy_weights,
                         .threads = options.threads,
                         .ignore_unread_tensors = model_options.ignore_unread_tensors};
  return Engine(std::make_shared<const DeepseekModel>(load_weights(std::move(checkpoint), load)), options);
}

Engine::Engine(std::shared_ptr<const DeepseekModel> model, const EngineOptions& options)
    : impl_(std::make_unique<Impl>(std::move(model), options)) {}

Engine::~Engine() = default;
Engine::Engine(Engine&&) noexcept = default;
Engine& Engine::operator=(Engine&&) noexcept = default;

RequestId Engine::submit(Request request, TokenSink& sink) { return impl_->submit(std::move(request), sink); }
void Engine::check(const Request& request) const { impl_->check(request); }
void Engine::cancel(RequestId id) { impl_->cancel(id); }
EngineStats Engine::stats() const { return impl_->stats(); }
const EngineInfo& Engine::info() const { return impl_->info(); }

}  // namespace latent8
