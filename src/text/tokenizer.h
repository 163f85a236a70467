#pragma once
// BPE tokenizers as Hugging Face's tokenizer.json or Kimi's tiktoken.model describe them.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace latent8 {

// Text to token ids and back. Equal to the `tokenizers` library on what it accepts; a part of the file that
// it cannot honour is refused by name at load.
// Thread-safety: immutable after construction; all methods may be called from many threads.
class Tokenizer {
 public:
  struct Parts;  // tokenizer_parts.h

  // Reads dir/tokenizer.json, or else dir/tiktoken.model, with what tokenizer_config.json and
  // special_tokens_map.json say about added tokens, BOS and EOS.
  // Throws: Error{kNotFound | kIo | kCorrupt | kUnsupported} naming the file and the part.
  static Tokenizer load(const std::filesystem::path& dir);
  ~Tokenizer();
  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;

  // The tokens of text; no BOS or EOS is added. Added tokens are recognised in the text where `special`;
  // otherwise none of them is, not even those that the file does not mark as special (DeepSeek's <think> and
  // <|User|> are of that kind), so that untrusted content cannot forge a control token.
  // Throws: Error{kInvalidArgument} naming the byte offset where text is not UTF-8.
  std::vector<std::int32_t> encode(std::string_view text, bool special = true) const;

  // The ids of a text that is a whole input: encode with the tokens around it that transformers adds with
  // add_special_tokens (BOS, mostly). A BOS that begins the text is not doubled.
  std::vector<std::int32_t> encode_prompt(std::string_view text) const;

  // A text of so many bytes has at least so many tokens, by the longest of the vocabulary; 0 where nothing
  // can be said, because the tokenizer may leave parts of a text out. Takes no time, which encode does: a run
  // of spaces, of which any number may be one piece, takes ten times as long as words.
  std::int64_t least_tokens(std::size_t bytes) const;

  // The text of ids, as the file's decoder joins it; bytes that are not UTF-8 become U+FFFD. Ids without a
  // token (a model's vocabulary may be padded) add nothing; special tokens add nothing unless keep_special.
  std::string decode(std::span<const std::int32_t> ids, bool keep_special = true) const;

  // One more than the largest id that has a token.
  std::int32_t vocab_size() const;
  // The id of a token as text: the content of an added token, or the bytes of an ordinary one.
  std::optional<std::int32_t> token_id(std::string_view token) const;
  bool is_special(std::int32_t id) const;
  bool is_added(std::int32_t id) const;
  // The raw bytes of a token, not always whole characters; empty for ids without a token. A decoder may drop
  // a space of the first token of a text.
  std::string_view token_bytes(std::int32_t id) const;

  std::optional<std::int32_t> bos_id() const;
  std::optional<std::int32_t> eos_id() const;

 private:
  friend class IncrementalDetokenizer;
  explicit Tokenizer(std::unique_ptr<const Parts> parts);
  static std::unique_ptr<const Parts> read_parts(const std::filesystem::path& dir);
  std::unique_ptr<const Parts> parts_;
};

}  // namespace latent8
