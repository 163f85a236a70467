#pragma once
// Grammars that an answer must match: from their text to masks over a vocabulary. XGrammar does the work.

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "latent8/request.h"

namespace latent8 {

enum class GrammarKind : std::uint8_t {
  kJsonObject,     // any JSON object; no text
  kJsonSchema,     // JSON that this schema allows
  kRegex,          // text that this expression matches as a whole
  kEbnf,           // rules in GBNF's style, from "root"; where there is no "::=", in Lark's, from "start"
  kStructuralTag,  // free text with parts that have a form: XGrammar's JSON of that name
};

struct GrammarSpec {
  GrammarKind kind = GrammarKind::kJsonObject;
  std::string text;
  // kJsonSchema: members of objects and elements of arrays that the schema does not mention may not come.
  bool strict = true;

  bool operator==(const GrammarSpec&) const = default;
};

// What a grammar knows of a tokenizer.
struct GrammarVocabulary {
  std::vector<std::string> tokens;     // bytes by id; empty: the token never comes
  std::int32_t vocab_size = 0;         // of the model: >= tokens.size(); ids without a token never come
  std::vector<std::int32_t> stop_ids;  // end an answer; come where the grammar may end
  bool drops_first_space = false;      // a space at the beginning of an answer gets lost
};

// A compiled grammar. Thread-safety: immutable; masks of one grammar may be used from different threads.
class Grammar {
 public:
  virtual ~Grammar() = default;
  // A mask at the beginning of the grammar; after its end only stop tokens may come. It may outlive this.
  //   starts_answer  no token of the answer comes before it
  virtual std::unique_ptr<MaskProvider> make_mask(bool starts_answer) const = 0;
  virtual std::size_t bytes() const = 0;  // memory, roughly
};

// What compiles grammars for one vocabulary.
class GrammarBackend {
 public:
  virtual ~GrammarBackend() = default;
  // Throws: Error{kInvalidArgument | kUnsupported} that says what of the text cannot be done.
  virtual std::shared_ptr<const Grammar> compile(const GrammarSpec& spec) const = 0;
  // Whether strings of this pattern are JSON strings as they are.
  virtual bool keeps_json(const std::string& pattern) const = 0;
};

// Throws: Error{kUnsupported} in a build without XGrammar.
std::unique_ptr<const GrammarBackend> make_grammar_backend(const GrammarVocabulary& vocabulary);

struct GrammarLimits {
  std::size_t text_bytes = 256 << 10;    // of one grammar
  std::size_t cached_bytes = 256 << 20;  // of compiled grammars that are kept for the next request
  std::size_t cached_grammars = 256;
};

// Compiles on the thread of the caller and keeps what was used last. Thread-safety: all methods may be called
// from many threads; two that ask for the same new grammar may both compile it.
class GrammarCompiler {
 public:
  // vocabulary: called with the first grammar; sorting one takes a while.
  explicit GrammarCompiler(std::function<GrammarVocabulary()> vocabulary, GrammarLimits limits = {});
  ~GrammarCompiler();

  // Throws: Error{kInvalidArgument | kUnsupported} that says what cannot be done: see docs/serving.md,
  // "Constrained answers".
  std::shared_ptr<const Grammar> compile(const GrammarSpec& spec);

  std::size_t cached_grammars() const;

 private:
  struct Entry {
    GrammarSpec spec;
    std::shared_ptr<const Grammar> grammar;
  };
  GrammarSpec prepared(const GrammarSpec& spec);
  std::shared_ptr<const Grammar> cached(const GrammarSpec& spec);
  void keep(const GrammarSpec& spec, const std::shared_ptr<const Grammar>& grammar);
  const GrammarBackend& backend();

  GrammarLimits limits_;
  std::function<GrammarVocabulary()> vocabulary_;
  std::once_flag started_;
  std::unique_ptr<const GrammarBackend> backend_;
  mutable std::mutex mutex_;
  std::vector<Entry> entries_;  // guarded by mutex_; used last comes last
};

}  // namespace latent8
