#include "text/split_regex.h"

#include <array>
#include <cstdint>
#include <optional>
#include <utility>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/check.h"
#include "base/error.h"
#include "text/onig_syntax.h"

namespace latent8 {
namespace {

constexpr std::size_t kJitStackBytes = std::size_t{16} << 20;
// Linear patterns need a few steps per byte; a megabyte of spaces must pass, an exponential pattern must not.
constexpr std::uint32_t kMatchLimit = 100'000'000;
constexpr std::uint32_t kHeapLimitKib = 256 * 1024;
constexpr std::size_t kShownPatternBytes = 80;  // of a pattern, in a message

std::string pcre_message(int code) {
  std::array<PCRE2_UCHAR, 256> text{};
  pcre2_get_error_message(code, text.data(), text.size());
  return reinterpret_cast<const char*>(text.data());
}

// `at` one character on; beyond the end if text is at its end.
std::size_t next_character(std::string_view text, std::size_t at) {
  ++at;
  while (at < text.size() && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) ++at;
  return at;
}

}  // namespace

struct SplitRegex::Code {
  // message: PCRE2's, where the pattern does not compile.
  Code(const std::string& pattern, std::string& message) {
    int error = 0;
    PCRE2_SIZE offset = 0;
    pcre2_compile_context* context = pcre2_compile_context_create(nullptr);
    LATENT8_CHECK(context != nullptr);
    pcre2_set_newline(context, PCRE2_NEWLINE_LF);
    code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                         PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &error, &offset, context);
    pcre2_compile_context_free(context);
    if (code == nullptr) {
      message = pcre_message(error);
      return;
    }
    // Without JIT (not built for this machine) the interpreter matches the same, slower.
    pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);
  }
  ~Code() { pcre2_code_free(code); }
  Code(const Code&) = delete;
  Code& operator=(const Code&) = delete;

  pcre2_code* code = nullptr;  // null: did not compile
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

  // The first match at or after `at`.
  std::optional<TextRange> find(const Code& code, std::string_view text, std::size_t at) const {
    const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data());
    int rc = pcre2_match(code.code, subject, text.size(), at, PCRE2_NO_UTF_CHECK, data, context);
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT)
      rc = pcre2_match(code.code, subject, text.size(), at, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, data, context);
    if (rc == PCRE2_ERROR_NOMATCH) return std::nullopt;
    if (rc < 0)
      throw_error(ErrorCode::kInvalidArgument, "text of {} bytes: the split regex gave up at byte {}: {}",
                  text.size(), at, pcre_message(rc));
    const PCRE2_SIZE* range = pcre2_get_ovector_pointer(data);
    LATENT8_CHECK(at <= range[0] && range[0] <= range[1]);  // only \K could break it
    return TextRange{range[0], range[1]};
  }
};

SplitRegex::Matcher::Matcher() : state_(std::make_unique<State>()) {}
SplitRegex::Matcher::~Matcher() = default;

SplitRegex SplitRegex::from_pcre(const std::string& pattern) {
  std::string message;
  auto code = std::make_shared<const Code>(pattern, message);
  if (code->code == nullptr) LATENT8_CHECK_EQ(message, "");
  return SplitRegex(std::move(code));
}

SplitRegex::SplitRegex(std::string_view pattern, std::string_view where) {
  std::string message;
  auto code = std::make_shared<const Code>(pcre_from_onig(pattern, where), message);
  // What is left over is a limit of PCRE2: a look-behind without a fixed length, a pattern too large.
  if (code->code == nullptr)
    throw_error(ErrorCode::kUnsupported, "{}: regex '{}' is not supported: {}", where,
                pattern.substr(0, kShownPatternBytes), message);
  code_ = std::move(code);
}

void SplitRegex::for_each_match(std::string_view text, Matcher& matcher,
                                const std::function<void(TextRange)>& match) const {
  std::optional<std::size_t> last_end;
  for (std::size_t at = 0; at <= text.size();) {
    const std::optional<TextRange> found = matcher.state_->find(*code_, text, at);
    if (!found) return;
    if (found->begin == found->end && found->begin == last_end) {
      at = next_character(text, at);
      continue;
    }
    match(*found);
    at = found->end;
    last_end = found->end;
  }
}

}  // namespace latent8
