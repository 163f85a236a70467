#pragma once
// The answers to a chat request as blocks of reasoning, text and tool calls, which each chat API tells in its
// own words.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "frontend/frontend.h"
#include "server/generation.h"
#include "server/reply_parts.h"
#include "text/tool_parser.h"

namespace latent8 {

struct AnswerBlock {
  enum class Kind : std::uint8_t { kReasoning, kText, kToolCall };
  Kind kind = Kind::kText;
  std::size_t index = 0;  // among the blocks of the answer
  std::string text;       // so far; of a call its arguments, in JSON if the model wrote some
  std::string id, name;   // of a call
  std::size_t call = 0;   // of a call: its number among the calls of the answer
};

struct ChatAnswer {
  std::vector<AnswerBlock> blocks;  // in the order in which they came
  FinishReason reason = FinishReason::kStop;
  std::optional<std::string> stop_string;  // the one that ended it

  bool has_calls() const;
  std::string text_of(AnswerBlock::Kind kind) const;  // of all blocks of this kind
};

struct ChatResult {
  std::vector<ChatAnswer> answers;
  UsageCount usage;     // of all
  std::string failure;  // "" unless the engine failed
};

// What an API makes of the answers. One call at a time. Blocks of one answer come one after the other:
// begin, deltas, end.
class ChatReply {
 public:
  virtual ~ChatReply() = default;
  virtual void on_start() {}
  virtual void on_token(std::size_t /*choice*/, const AnsweredToken& /*token*/) {}
  virtual void on_block_begin(std::size_t /*choice*/, const AnswerBlock& /*block*/) {}
  virtual void on_delta(std::size_t choice, const AnswerBlock& block, std::string_view delta) = 0;
  virtual void on_block_end(std::size_t /*choice*/, const AnswerBlock& /*block*/) {}
  virtual void on_finish(std::size_t /*choice*/, const ChatAnswer& /*answer*/) {}
  virtual void on_end(ChatResult result) = 0;
};

struct ToolOptions {
  ToolFormat format = ToolFormat::kNone;                // kNone: calls are not looked for
  std::shared_ptr<const nlohmann::ordered_json> tools;  // as ToolParser
  bool parallel = true;                                 // false: at most one call
};

// From what a Generation tells to what a ChatReply is told.
class ChatEvents {
 public:
  // reply must outlive this.
  ChatEvents(ChatReply& reply, std::size_t n, const ToolOptions& tools);

  void on_token(std::size_t choice, const AnsweredToken& token, bool is_reasoning);
  void on_text(std::size_t choice, std::string_view delta, bool is_reasoning);
  void on_finish(std::size_t choice, const TextFinish& finish);
  void on_end();

 private:
  void add(std::size_t choice, const std::vector<ToolEvent>& events);
  void add_text(std::size_t choice, AnswerBlock::Kind kind, std::string_view delta);
  void begin_block(std::size_t choice, AnswerBlock block);
  void end_block(std::size_t choice);

  ChatReply& reply_;
  std::vector<ToolParser> parsers_;  // by choice
  std::vector<char> open_;           // by choice: whether the last block may grow
  ChatResult result_;
};

}  // namespace latent8
