#pragma once
// Token ids to text as they arrive.

#include <cstdint>
#include <string>

#include "text/tokenizer.h"

namespace latent8 {

// Never gives out half a character: what is pushed is UTF-8 at every step, and all of it together with
// finish() equals decode() of all ids. Ownership: refers to the tokenizer, which must outlive it.
class IncrementalDetokenizer {
 public:
  IncrementalDetokenizer(const Tokenizer& tokenizer, bool keep_special)
      : tokenizer_(&tokenizer), keep_special_(keep_special) {}

  // The text that id completes; empty while a character is incomplete. Bytes that can no longer become a
  // character come out as U+FFFD.
  std::string push(std::int32_t id);

  // The rest: U+FFFD if the ids end inside a character. The object is then as if freshly made.
  std::string finish();

 private:
  const Tokenizer* tokenizer_;
  bool keep_special_;
  std::string pending_;  // at most 3 bytes: the front of a character
};

}  // namespace latent8
