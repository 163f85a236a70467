#include "text/jinja/budget.h"

#include "base/check.h"
#include "base/error.h"

namespace latent8::jinja {

thread_local Budget* Budget::current_ = nullptr;

void Budget::refuse_work() const {
  throw_error(ErrorCode::kInvalidArgument, "the template needs more than {} steps", limits_.steps);
}

void Budget::refuse_memory() const {
  throw_error(ErrorCode::kInvalidArgument, "the template needs more than {} bytes", limits_.bytes);
}

Budget::Nesting::Nesting() : budget_(current_) {
  constexpr int kMaxNesting = 1000;
  LATENT8_CHECK(budget_ != nullptr);
  if (budget_->depth_ >= kMaxNesting) {
    throw_error(ErrorCode::kInvalidArgument, "the template nests more than {} levels deep", kMaxNesting);
  }
  ++budget_->depth_;
}

}  // namespace latent8::jinja
