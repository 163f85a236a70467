#include "frontend/text_stream.h"

#include <gtest/gtest.h>

#include <string>

#include "support/errors.h"
#include "text/tool_marks.h"

namespace latent8 {
namespace {

const Tokenizer& stream_tokenizer() {
  static const Tokenizer instance = Tokenizer::load(std::string(LATENT8_SOURCE_DIR) + "/models/tiny-r1");
  return instance;
}

struct Text : TextSink {
  void on_text(std::string_view delta, bool is_reasoning) noexcept override {
    EXPECT_FALSE(delta.empty());
    (is_reasoning ? reasoning : content) += delta;
  }
  void on_finish(const TextFinish& f) noexcept override { finish = f; }
  std::string reasoning, content;
  TextFinish finish;
};

// Streams the tokens of `text` one by one until the stream wants no more; returns how many it took.
std::size_t stream(std::string_view text, TextOptions options, Text& out) {
  TextStream stream(stream_tokenizer(), std::move(options), out);
  std::size_t taken = 0;
  for (const std::int32_t id : stream_tokenizer().encode(text)) {
    ++taken;
    if (!stream.on_token({.id = id, .logprob = 0.0F, .top = {}})) break;
  }
  stream.on_finish({});
  return taken;
}

TEST(TextStream, GivesTheWholeTextOn) {
  Text out;

  stream(
      "Gr\xc3\xbc\xc3\x9f"
      "e, \xe4\xb8\x96\xe7\x95\x8c \xf0\x9f\x98\x80!",
      {}, out);

  EXPECT_EQ(out.content,
            "Gr\xc3\xbc\xc3\x9f"
            "e, \xe4\xb8\x96\xe7\x95\x8c \xf0\x9f\x98\x80!");
}

TEST(TextStream, EndsBeforeAStopStringThatSpansTokens) {
  Text out;

  const std::size_t taken = stream("one two three four five", {.stop = {"wo thr"}}, out);

  EXPECT_EQ(out.content, "one t");
  EXPECT_EQ(out.finish.stop_string, "wo thr");
  EXPECT_LT(taken, stream_tokenizer().encode("one two three four five").size());
}

TEST(TextStream, GivesOutWhatOnlyBeganLikeAStopString) {
  Text out;

  stream("one two thr", {.stop = {"two three"}}, out);

  EXPECT_EQ(out.content, "one two thr");
  EXPECT_FALSE(out.finish.stop_string);
}

TEST(TextStream, PartsReasoningFromTheAnswer) {
  Text out;

  stream("I think so.\n</think>\n\nYes.", {.split_reasoning = true, .starts_in_reasoning = true}, out);

  EXPECT_EQ(out.reasoning, "I think so.\n");
  EXPECT_EQ(out.content, "Yes.");
}

TEST(TextStream, KeepsThinkTagsWhenReasoningIsNotSplit) {
  Text out;

  stream("<think>\na</think>b", {}, out);

  EXPECT_EQ(out.content, "<think>\na</think>b");
}

TEST(TextStream, GivesNoTextForSilentTokens) {
  Text out;
  const std::int32_t eos = stream_tokenizer().eos_id().value();

  stream("done" + std::string(stream_tokenizer().token_bytes(eos)), {.silent = {eos}, .keep_special = true},
         out);

  EXPECT_EQ(out.content, "done");
}

TEST(TextStream, RefusesAnEmptyStopString) {
  Text out;

  error_of(ErrorCode::kInvalidArgument, [&] { TextStream(stream_tokenizer(), {.stop = {""}}, out); });
}

TEST(TextFinish, ComputesRatesFromTheUsage) {
  TextFinish finish;
  finish.usage = {
      .prompt_tokens = 100, .completion_tokens = 11, .queue_s = 0.5, .prefill_s = 2.0, .decode_s = 4.0};

  EXPECT_DOUBLE_EQ(finish.ttft_s(), 2.5);
  EXPECT_DOUBLE_EQ(finish.prefill_rate(), 50.0);
  EXPECT_DOUBLE_EQ(finish.decode_rate(), 2.5);
}

TEST(TextStream, KeepsTheMarksOfToolCallsWhereTheyAreAskedFor) {
  const ToolMarks marks = tool_marks(ToolFormat::kDeepseekV3);
  const std::string call = marks.section_begin + marks.call_begin + "function" + marks.separator + "f";
  Text plain, with_calls;

  stream(call, {}, plain);
  stream(call, {.tool_format = ToolFormat::kDeepseekV3}, with_calls);

  EXPECT_EQ(plain.content, "functionf");
  EXPECT_EQ(with_calls.content, call);
}

}  // namespace
}  // namespace latent8
