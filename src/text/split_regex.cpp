#include "text/split_regex.h"

#include <array>
#include <cstdint>
#include <utility>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/check.h"
#include "base/error.h"
#include "text/onig_syntax.h"

namespace latent8 {
namespace {

constexpr std::size_t kJitStackBytes = std::size_t{1} << 20;
// Linear patterns need a few steps per byte; a megabyte of spaces must pass, an exponential pattern must not.
constexpr std::uint32_t kMatchLimit = 100'000'000;
constexpr std::uint32_t kHeapLimitKib = 256 * 1024;

std::string pcre_message(int code) {
  std::array<PCRE2_UCHAR, 256> text{};
  pcre2_get_error_message(code, text.data(), text.size());
  return reinterpret_cast<const char*>(text.data());
}

}  // namespace

struct SplitRegex::Code {
  pcre2_code* code = nullptr;
  ~Code() { pcre2_code_free(code); }
};

struct SplitRegex::Matcher::State {
  pcre2_match_context* context = pcre2_match_context_create(nullptr);
  pcre2_jit_stack* stack = pcre2_jit_stack_create(32 * 1024, kJitStackBytes, nullptr);
  pcre2_match_data* data = pcre2_match_data_create(1, nullptr);
  State() {
    LATENT8_CHECK(context != nullptr && stack != nullptr && data != nullptr);
    pcre2_set_match_limit(context, kMatchLimit);
    pcre2_set_heap_limit(context, kHeapLimitKib);
    pcre2_jit_stack_assign(context, nullptr, stack);
  }
  ~State() {
    pcre2_match_data_free(data);
    pcre2_jit_stack_free(stack);
    pcre2_match_context_free(context);
  }
  State(const State&) = delete;
  State& operator=(const State&) = delete;
};

SplitRegex::Matcher::Matcher() : state_(std::make_unique<State>()) {}
SplitRegex::Matcher::~Matcher() = default;

SplitRegex::SplitRegex(std::string_view pattern, std::string_view where) {
  const std::string translated = pcre_from_onig(pattern, where);
  int error = 0;
  PCRE2_SIZE offset = 0;
  auto code = std::make_shared<Code>();
  code->code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                             PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &error, &offset, nullptr);
  if (code->code == nullptr) {
    throw_error(ErrorCode::kCorrupt, "{}: regex '{}' does not compile: {} (offset {} of '{}')", where,
                pattern, pcre_message(error), offset, translated);
  }
  // Without JIT (not built for this machine) the interpreter matches the same, slower.
  pcre2_jit_compile(code->code, PCRE2_JIT_COMPLETE);
  code_ = std::move(code);
}

void SplitRegex::for_each_match(std::string_view text, Matcher& matcher,
                                const std::function<void(TextRange)>& match) const {
  const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  const Matcher::State& state = *matcher.state_;
  for (std::size_t at = 0; at < text.size();) {
    const int rc = pcre2_match(code_->code, subject, text.size(), at, PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY,
                               state.data, state.context);
    if (rc == PCRE2_ERROR_NOMATCH) return;
    if (rc < 0) {
      throw_error(ErrorCode::kInvalidArgument, "text of {} bytes: the split regex gave up at byte {}: {}",
                  text.size(), at, pcre_message(rc));
    }
    const PCRE2_SIZE* range = pcre2_get_ovector_pointer(state.data);
    if (range[0] > range[1] || range[1] <= at) {  // \K inside look-around can do this
      throw_error(ErrorCode::kUnsupported, "the split regex matched backwards at byte {}", at);
    }
    match({range[0], range[1]});
    at = range[1];
  }
}

}  // namespace latent8
