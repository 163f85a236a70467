#include "server/chat_events.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

namespace latent8 {

namespace {

using Kind = AnswerBlock::Kind;

}  // namespace

bool ChatAnswer::has_calls() const {
  return std::any_of(blocks.begin(), blocks.end(),
                     [](const AnswerBlock& block) { return block.kind == Kind::kToolCall; });
}

std::string ChatAnswer::text_of(Kind kind) const {
  std::string text;
  for (const AnswerBlock& block : blocks)
    if (block.kind == kind) text += block.text;
  return text;
}

ChatEvents::ChatEvents(ChatReply& reply, std::size_t n, const ToolOptions& tools) : reply_(reply), open_(n) {
  const std::size_t max_calls = tools.parallel ? std::numeric_limits<std::size_t>::max() : 1;
  for (std::size_t i = 0; i < n; ++i) parsers_.emplace_back(tools.format, tools.tools, max_calls);
  result_.answers.resize(n);
}

void ChatEvents::on_token(std::size_t choice, const AnsweredToken& token, bool is_reasoning) {
  result_.usage.reasoning += is_reasoning ? 1 : 0;
  reply_.on_token(choice, token);
}

void ChatEvents::on_text(std::size_t choice, std::string_view delta, bool is_reasoning) {
  if (is_reasoning)
    add_text(choice, Kind::kReasoning, delta);
  else
    add(choice, parsers_[choice].push(delta));
}

void ChatEvents::on_finish(std::size_t choice, const TextFinish& finish) {
  add(choice, parsers_[choice].finish());
  end_block(choice);
  ChatAnswer& answer = result_.answers[choice];
  answer.reason = finish.reason;
  answer.stop_string = finish.stop_string;
  result_.usage.prompt = finish.usage.prompt_tokens;
  if (choice == 0) result_.usage.cached = finish.usage.cached_tokens;
  result_.usage.completion += finish.usage.completion_tokens;
  if (finish.reason == FinishReason::kError)
    result_.failure = finish.message;
  else
    reply_.on_finish(choice, answer);
}

void ChatEvents::on_end() { reply_.on_end(std::move(result_)); }

void ChatEvents::add(std::size_t choice, const std::vector<ToolEvent>& events) {
  for (const ToolEvent& event : events) {
    switch (event.kind) {
      case ToolEvent::Kind::kContent:
        add_text(choice, Kind::kText, event.text);
        break;
      case ToolEvent::Kind::kBegin:
        begin_block(choice, {.kind = Kind::kToolCall,
                             .text = "",
                             .id = event.id.empty() ? new_id("call_") : event.id,
                             .name = event.name,
                             .call = event.index});
        break;
      case ToolEvent::Kind::kArguments:
        add_text(choice, Kind::kToolCall, event.text);
        break;
      case ToolEvent::Kind::kEnd:
        end_block(choice);
        break;
    }
  }
}

void ChatEvents::add_text(std::size_t choice, Kind kind, std::string_view delta) {
  std::vector<AnswerBlock>& blocks = result_.answers[choice].blocks;
  if (!open_[choice] || blocks.back().kind != kind)
    begin_block(choice, {.kind = kind, .text = "", .id = "", .name = ""});
  blocks.back().text += delta;
  reply_.on_delta(choice, blocks.back(), delta);
}

void ChatEvents::begin_block(std::size_t choice, AnswerBlock block) {
  end_block(choice);
  std::vector<AnswerBlock>& blocks = result_.answers[choice].blocks;
  block.index = blocks.size();
  blocks.push_back(std::move(block));
  open_[choice] = 1;
  reply_.on_block_begin(choice, blocks.back());
}

void ChatEvents::end_block(std::size_t choice) {
  if (std::exchange(open_[choice], char{0}) != 0)
    reply_.on_block_end(choice, result_.answers[choice].blocks.back());
}

}  // namespace latent8
