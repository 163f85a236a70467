#include "frontend/answer_form.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <numeric>
#include <string>

#include "frontend/frontend.h"
#include "latent8/error.h"

namespace latent8 {
namespace {

bool has_grammars() {
  try {
    make_grammar_backend({.tokens = {"a", "b"}, .vocab_size = 2, .stop_ids = {1}});
    return true;
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kUnsupported) return false;
    throw;
  }
}

Frontend frontend_with_drafts(int drafts) {
  EngineOptions options;
  options.threads = 1;
  options.max_num_seqs = 1;
  options.max_model_len = 512;
  options.speculative = drafts > 0 ? Speculative::kMtp : Speculative::kNone;
  options.num_speculative_tokens = drafts;
  return Frontend::load(std::string(LATENT8_SOURCE_DIR) + "/models/tiny-r1", options);
}

GeneratedText answer_of(Frontend& frontend, const GrammarSpec& grammar, float temperature) {
  const nlohmann::ordered_json messages = {{{"role", "user"}, {"content", "Tell me about you."}}};
  TextRequest request;
  request.prompt = frontend.chat_prompt(messages, nullptr);
  request.sampling.temperature = temperature;
  request.sampling.max_tokens = 60;
  request.sampling.seed = 3;
  request.make_mask = frontend.masks({.grammar = grammar, .thinking_budget = 6}, request.prompt);
  return frontend.generate(std::move(request));
}

// Drafts go through the mask on trial, across the end of the reasoning and that of the grammar too.
TEST(AnswerForms, GiveTheSameAnswersWithDrafts) {
  if (!has_grammars()) GTEST_SKIP() << "built without XGrammar";
  const GrammarSpec grammars[] = {
      {GrammarKind::kJsonSchema,
       R"({"type": "object", "properties": {"name": {"type": "string", "maxLength": 12},
           "age": {"type": "integer", "minimum": 0, "maximum": 150}}, "required": ["name", "age"]})"},
      {GrammarKind::kRegex, "(yes|no), [a-f0-9]{2,30}!"},
      {GrammarKind::kEbnf, R"(root ::= "<" [a-z]{1,9} ("," [a-z]{1,9})* ">")"},
  };
  Frontend plain = frontend_with_drafts(0), drafting = frontend_with_drafts(3);
  for (const GrammarSpec& grammar : grammars) {
    for (const float temperature : {0.0F, 1.0F}) {
      const GeneratedText want = answer_of(plain, grammar, temperature);

      const GeneratedText got = answer_of(drafting, grammar, temperature);

      EXPECT_EQ(got.ids, want.ids) << grammar.text;
      EXPECT_EQ(got.content, want.content);
      EXPECT_EQ(got.finish.reason, want.finish.reason);
    }
  }
  const EngineStats stats = drafting.engine().stats();
  const auto total = [](const auto& counts) {
    return std::accumulate(counts.begin(), counts.end(), std::int64_t{0});
  };
  EXPECT_GT(total(stats.accepted), 0);
  EXPECT_LT(total(stats.accepted), total(stats.drafted));
}

}  // namespace
}  // namespace latent8
