// The one file that sees XGrammar.

#include <xgrammar/xgrammar.h>

#include <algorithm>
#include <bit>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.h"
#include "grammar/grammar.h"
#include "grammar/json_schema.h"
#include "grammar/utf8_masks.h"

namespace {

// What XGrammar would leave out of a grammar, it says in a warning. nullptr: nobody asks.
thread_local std::vector<std::string>* warnings = nullptr;

class CollectWarnings {
 public:
  explicit CollectWarnings(std::vector<std::string>& to) { warnings = &to; }
  ~CollectWarnings() { warnings = nullptr; }
  CollectWarnings(const CollectWarnings&) = delete;
  CollectWarnings& operator=(const CollectWarnings&) = delete;
};

}  // namespace

// XGrammar's log (XGRAMMAR_LOG_CUSTOMIZE): what it declares in its private cpp/support/logging.h.
namespace xgrammar {

[[noreturn]] void LogFatalImpl(const std::string& file, int line, const std::string& message);
void LogMessageImpl(const std::string& file, int line, int level, const std::string& message);

void LogFatalImpl(const std::string&, int, const std::string& message) { throw std::runtime_error(message); }
void LogMessageImpl(const std::string&, int, int level, const std::string& message) {
  constexpr int kWarning = 2;
  if (warnings != nullptr && level == kWarning) warnings->push_back(message);
}

}  // namespace xgrammar

namespace latent8 {
namespace {

static_assert(std::endian::native == std::endian::little,
              "masks are read as int32 words and as uint64 words");

using Bits = std::vector<std::uint64_t>;

void set(Bits& bits, std::int32_t id) {
  bits[static_cast<std::size_t>(id) / 64] |= std::uint64_t{1} << (static_cast<std::size_t>(id) % 64);
}

// What masks of all grammars share.
struct Vocabulary {
  explicit Vocabulary(const GrammarVocabulary& from)
      : words(static_cast<std::size_t>(from.vocab_size + 63) / 64),
        info(from.tokens, xgrammar::VocabType::RAW, from.vocab_size, from.stop_ids),
        usable(words),
        stops(words),
        first(words),
        utf8(from.tokens, words) {
    for (std::size_t id = 0; id < from.tokens.size(); ++id) {
      if (from.tokens[id].empty()) continue;
      set(usable, static_cast<std::int32_t>(id));
      if (!from.drops_first_space || from.tokens[id][0] != ' ') set(first, static_cast<std::int32_t>(id));
    }
    for (const std::int32_t id : from.stop_ids) {
      set(usable, id);
      set(first, id);
      set(stops, id);
    }
  }

  std::size_t words;
  xgrammar::TokenizerInfo info;
  Bits usable, stops;
  Bits first;  // of usable: whose text is the same at the beginning of an answer
  Utf8Masks utf8;
};

class XGrammarMask final : public MaskProvider {
 public:
  XGrammarMask(std::shared_ptr<const Vocabulary> vocabulary, const xgrammar::CompiledGrammar& grammar,
               bool starts_answer)
      : vocabulary_(std::move(vocabulary)),
        matcher_(grammar),
        starts_answer_(starts_answer),
        allowed_(vocabulary_->words) {}

  void restrict(std::span<std::uint64_t> bits) noexcept override {
    const Bits& allowed = allowed_now();
    const Bits& usable = starts_answer_ && utf8_.size() == 1 ? vocabulary_->first : vocabulary_->usable;
    const Bits& utf8 = vocabulary_->utf8.allowed(utf8_.back());
    for (std::size_t i = 0; i < bits.size(); ++i) bits[i] &= allowed[i] & usable[i] & utf8[i];
  }

  void accept(std::int32_t token) noexcept override {
    if (beyond_ == 0 && !failed_) {
      try {
        if (matcher_.AcceptToken(token)) return utf8_.push_back(utf8_after(token));
      } catch (const std::exception&) {
        failed_ = true;
      }
    }
    ++beyond_;
  }

  void rollback(std::int64_t count) noexcept override {
    const std::int64_t unseen = std::min(count, beyond_);
    beyond_ -= unseen;
    try {
      utf8_.resize(utf8_.size() - static_cast<std::size_t>(count - unseen));
      matcher_.Rollback(static_cast<int>(count - unseen));
    } catch (const std::exception&) {
      failed_ = true;
    }
  }

 private:
  // A token that breaks a character was not allowed; that it came all the same is no reason to be stuck.
  Utf8State utf8_after(std::int32_t token) const {
    const std::string& bytes = vocabulary_->info.GetDecodedVocab()[static_cast<std::size_t>(token)];
    const bool stop = matcher_.IsTerminated();
    const Utf8State next = stop ? Utf8State::kStart : utf8_next(utf8_.back(), bytes);
    return next == Utf8State::kInvalid ? Utf8State::kStart : next;
  }

  const Bits& allowed_now() noexcept {
    try {
      if (!failed_ && matcher_.IsTerminated()) return vocabulary_->stops;
      std::fill(allowed_.begin(), allowed_.end(), 0);
      if (failed_ || beyond_ > 0) return allowed_;
      std::int64_t shape = xgrammar::GetBitmaskSize(vocabulary_->info.GetVocabSize());
      DLTensor tensor{.data = allowed_.data(),
                      .device = {.device_type = kDLCPU, .device_id = 0},
                      .ndim = 1,
                      .dtype = xgrammar::GetBitmaskDLType(),
                      .shape = &shape,
                      .strides = nullptr,
                      .byte_offset = 0};
      matcher_.FillNextTokenBitmask(&tensor);
    } catch (const std::exception&) {
      failed_ = true;
      std::fill(allowed_.begin(), allowed_.end(), 0);
    }
    return allowed_;
  }

  std::shared_ptr<const Vocabulary> vocabulary_;
  xgrammar::GrammarMatcher matcher_;
  bool starts_answer_;
  Bits allowed_;
  std::vector<Utf8State> utf8_ = {Utf8State::kStart};  // after each token that the matcher took
  std::int64_t beyond_ = 0;                            // tokens after its end, or after one that it refused
  bool failed_ = false;  // XGrammar threw: no token may come, and the request ends with an error
};

class CompiledXGrammar final : public Grammar {
 public:
  CompiledXGrammar(std::shared_ptr<const Vocabulary> vocabulary, xgrammar::CompiledGrammar compiled)
      : vocabulary_(std::move(vocabulary)), compiled_(std::move(compiled)) {}
  std::unique_ptr<MaskProvider> make_mask(bool starts_answer) const override {
    return std::make_unique<XGrammarMask>(vocabulary_, compiled_, starts_answer);
  }
  std::size_t bytes() const override { return compiled_.MemorySizeBytes(); }

 private:
  std::shared_ptr<const Vocabulary> vocabulary_;
  xgrammar::CompiledGrammar compiled_;
};

class XGrammarBackend final : public GrammarBackend {
 public:
  explicit XGrammarBackend(const GrammarVocabulary& vocabulary)
      : vocabulary_(std::make_shared<const Vocabulary>(vocabulary)),
        compiler_(vocabulary_->info, /*max_threads=*/1, /*cache_enabled=*/false) {}

  std::shared_ptr<const Grammar> compile(const GrammarSpec& spec) const override {
    std::vector<std::string> left_out;
    std::optional<xgrammar::CompiledGrammar> compiled;
    try {
      const CollectWarnings collect(left_out);
      compiled.emplace(run(spec));
    } catch (const std::bad_alloc&) {
      throw;
    } catch (const std::exception& error) {
      throw_error(ErrorCode::kInvalidArgument, "{}", what(error.what()));
    }
    if (!left_out.empty()) throw_error(ErrorCode::kUnsupported, "{}", left_out.front());
    auto grammar = std::make_shared<CompiledXGrammar>(vocabulary_, *std::move(compiled));
    Bits first(vocabulary_->words, ~std::uint64_t{0});
    grammar->make_mask(/*starts_answer=*/false)->restrict(first);
    if (std::all_of(first.begin(), first.end(), [](std::uint64_t word) { return word == 0; }))
      throw_error(ErrorCode::kInvalidArgument, "no text that the vocabulary can write matches this");
    return grammar;
  }

  // Where XGrammar's automata of expressions in JSON strings cannot do a pattern, it takes one that knows
  // nothing of JSON's escapes. Its printed grammar tells the two apart.
  bool keeps_json(const std::string& pattern) const override {
    const std::string schema = nlohmann::json{{"type", "string"}, {"pattern", pattern}}.dump();
    try {
      const std::string rules = xgrammar::Grammar::FromJSONSchema(schema).ToString();
      return rules.find("Regex(") != std::string::npos;
    } catch (const std::bad_alloc&) {
      throw;
    } catch (const std::exception&) {
      return true;  // compile() says why it cannot be done
    }
  }

 private:
  // Without its cache XGrammar's compiler changes nothing of itself: threads may share it.
  xgrammar::CompiledGrammar run(const GrammarSpec& spec) const {
    xgrammar::GrammarCompiler compiler = compiler_;
    switch (spec.kind) {
      case GrammarKind::kJsonObject:
      case GrammarKind::kJsonSchema:
        return compiler.CompileJSONSchema(spec.text, /*any_whitespace=*/true, std::nullopt, std::nullopt,
                                          spec.strict, kMaxWhiteSpace);
      case GrammarKind::kRegex:
        return compiler.CompileRegex(spec.text);
      case GrammarKind::kEbnf:
        return spec.text.find("::=") == std::string::npos ? compiler.CompileLark(spec.text)
                                                          : compiler.CompileGrammar(spec.text);
      case GrammarKind::kStructuralTag:
        return compiler.CompileStructuralTag(spec.text);
    }
    throw std::logic_error("kind");
  }

  // A failed check of XGrammar begins with its C++ expression.
  static std::string_view what(std::string_view message) {
    constexpr std::string_view kEnd = " is false: ";
    const std::size_t at = message.find(kEnd);
    return message.starts_with("Check failed: (") && at != std::string_view::npos
               ? message.substr(at + kEnd.size())
               : message;
  }

  std::shared_ptr<const Vocabulary> vocabulary_;
  xgrammar::GrammarCompiler compiler_;
};

}  // namespace

std::unique_ptr<const GrammarBackend> make_grammar_backend(const GrammarVocabulary& vocabulary) {
  return std::make_unique<XGrammarBackend>(vocabulary);
}

}  // namespace latent8
