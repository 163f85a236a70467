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
  // character come out as U+FFFD. With byte fallback a run of byte tokens comes out when it ends: only then
  // is it known whether all of it is text.
  std::string push(std::int32_t id);

  // The rest: U+FFFD if the ids end inside a character. The object is then as if freshly made.
  std::string finish();

 private:
  // The text of the run of byte tokens that ends here.
  std::string end_run();
  // text without the spaces that the decoder drops at the beginning.
  std::string begun(std::string text);

  const Tokenizer* tokenizer_;
  bool keep_special_;
  bool at_first_token_ = true;
  std::size_t spaces_dropped_ = 0;
  bool dropping_ = true;  // nothing but dropped spaces has come out
  std::string pending_;   // at most 3 bytes, the front of a character; with byte fallback a run of bytes
};

}  // namespace latent8
