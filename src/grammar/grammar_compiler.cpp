#include <algorithm>

#include "base/error.h"
#include "grammar/grammar.h"
#include "grammar/json_schema.h"
#include "grammar/repetition.h"
#include "grammar/timed_backend.h"

namespace latent8 {
namespace {

constexpr double kLongest_s = 30.0;  // 10,000 long values of an enum take 3 s with 129K tokens

}  // namespace

GrammarCompiler::GrammarCompiler(std::function<GrammarVocabulary()> vocabulary, GrammarLimits limits)
    : limits_(limits), vocabulary_(std::move(vocabulary)) {}
GrammarCompiler::~GrammarCompiler() = default;

const GrammarBackend& GrammarCompiler::backend() {
  std::call_once(started_, [this] {
    backend_ = std::make_unique<const TimedBackend>(make_grammar_backend(vocabulary_()), kLongest_s);
  });
  return *backend_;
}

// The text as the backend gets it.
GrammarSpec GrammarCompiler::prepared(const GrammarSpec& spec) {
  const PatternCheck keeps_json = [this](const std::string& pattern) {
    return backend().keeps_json(pattern);
  };
  GrammarSpec out = spec;
  switch (spec.kind) {
    case GrammarKind::kJsonObject:
      out = {.kind = GrammarKind::kJsonSchema, .text = R"({"type":"object","additionalProperties":true})"};
      break;
    case GrammarKind::kJsonSchema:
      out.text = checked_json_schema(spec.text, "the schema", keeps_json);
      break;
    case GrammarKind::kRegex:
      check_repetitions(spec.text, Repetitions::kRegex, "the expression", 0.0, kMaxExpandedAlone);
      break;
    case GrammarKind::kEbnf:
      check_repetitions(spec.text, Repetitions::kEbnf, "the grammar");
      break;
    case GrammarKind::kStructuralTag:
      out.text = checked_structural_tag(spec.text, keeps_json);
      break;
  }
  return out;
}

std::shared_ptr<const Grammar> GrammarCompiler::compile(const GrammarSpec& spec) {
  if (spec.text.size() > limits_.text_bytes)
    throw_error(ErrorCode::kInvalidArgument, "a grammar of at most {} bytes expected, got {}",
                limits_.text_bytes, spec.text.size());
  if (auto found = cached(spec)) return found;
  std::shared_ptr<const Grammar> grammar = backend().compile(prepared(spec));
  keep(spec, grammar);
  return grammar;
}

std::size_t GrammarCompiler::cached_grammars() const {
  const std::lock_guard lock(mutex_);
  return entries_.size();
}

std::shared_ptr<const Grammar> GrammarCompiler::cached(const GrammarSpec& spec) {
  const std::lock_guard lock(mutex_);
  const auto found =
      std::find_if(entries_.begin(), entries_.end(), [&](const Entry& entry) { return entry.spec == spec; });
  if (found == entries_.end()) return nullptr;
  std::rotate(found, found + 1, entries_.end());
  return entries_.back().grammar;
}

void GrammarCompiler::keep(const GrammarSpec& spec, const std::shared_ptr<const Grammar>& grammar) {
  const std::lock_guard lock(mutex_);
  entries_.push_back({spec, grammar});
  std::size_t bytes = 0;
  for (const Entry& entry : entries_) bytes += entry.spec.text.size() + entry.grammar->bytes();
  auto first_kept = entries_.begin();
  for (; first_kept != entries_.end(); ++first_kept) {
    const auto count = static_cast<std::size_t>(entries_.end() - first_kept);
    if (bytes <= limits_.cached_bytes && count <= limits_.cached_grammars) break;
    bytes -= first_kept->spec.text.size() + first_kept->grammar->bytes();
  }
  entries_.erase(entries_.begin(), first_kept);
}

}  // namespace latent8
