#include "server/tool_grammar.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "formats/nested_json.h"
#include "server/fields.h"
#include "text/tool_marks.h"

namespace latent8 {
namespace {

using Json = nlohmann::ordered_json;
using Mode = ToolChoice::Mode;

Json constant(const std::string& text) { return {{"type", "const_string"}, {"value", text}}; }

Json arguments_of(const Json& function, ToolArgumentsForm form, bool tagged) {
  Json schema = {{"type", "object"}, {"additionalProperties", true}};
  const bool free = function.contains("strict") && function["strict"] == false;
  if (form == ToolArgumentsForm::kSchemas && !free && function.contains("parameters") &&
      function["parameters"].is_object() && !function["parameters"].empty())
    schema = function["parameters"];
  Json format = {{"type", "json_schema"}, {"json_schema", std::move(schema)}};
  if (tagged) format["style"] = "glm_xml";
  return format;
}

// One call of one tool.
Json call_tag(ToolFormat format, const Json& function, ToolArgumentsForm form) {
  const ToolMarks marks = tool_marks(format);
  const std::string name = function["name"].get<std::string>();
  Json arguments = arguments_of(function, form, format == ToolFormat::kGlm47);
  std::string begin = marks.call_begin, end = marks.call_end;
  switch (format) {
    case ToolFormat::kNone:
      break;
    case ToolFormat::kDeepseekV3:
      begin += "function" + marks.separator + name + "\n```json\n";
      end = "\n```" + end;
      break;
    case ToolFormat::kDeepseekV31:
      begin += name + marks.separator;
      break;
    case ToolFormat::kKimiK2:
      begin += "functions." + name + ":";
      arguments = {{"type", "sequence"},
                   {"elements", Json::array({{{"type", "regex"}, {"pattern", "[0-9]{1,4}"}},
                                             constant(marks.separator),
                                             arguments})}};
      break;
    case ToolFormat::kGlm47:
      begin += name;
      break;
  }
  return {{"type", "tag"}, {"begin", begin}, {"content", std::move(arguments)}, {"end", end}};
}

// Several calls: in their section where the format has one.
Json calls_tag(ToolFormat format, Json calls, bool several) {
  const ToolMarks marks = tool_marks(format);
  const Json list = {{"type", "tags_with_separator"},
                     {"tags", std::move(calls)},
                     {"separator", format == ToolFormat::kDeepseekV3 ? "\n" : ""},
                     {"at_least_one", true},
                     {"stop_after_first", !several}};
  if (marks.section_begin.empty()) return list;
  return {{"type", "tag"}, {"begin", marks.section_begin}, {"content", list}, {"end", marks.section_end}};
}

// Text in which calls may come.
Json text_with_calls(ToolFormat format, Json calls, bool several) {
  const ToolMarks marks = tool_marks(format);
  const bool in_section = !marks.section_begin.empty();
  Json tags = in_section ? Json::array({calls_tag(format, std::move(calls), several)}) : std::move(calls);
  return {{"type", "triggered_tags"},
          {"triggers", Json::array({in_section ? marks.section_begin : marks.call_begin})},
          {"tags", std::move(tags)},
          {"stop_after_first", !several}};
}

Json content_tag(const GrammarSpec& content) {
  switch (content.kind) {
    case GrammarKind::kJsonObject:
      return {{"type", "json_schema"}, {"json_schema", {{"type", "object"}, {"additionalProperties", true}}}};
    case GrammarKind::kJsonSchema:
      return {{"type", "json_schema"},
              {"json_schema", parse_nested_json(content.text, "the schema", kMaxBodyDepth)}};
    case GrammarKind::kRegex:
      return {{"type", "regex"}, {"pattern", content.text}};
    case GrammarKind::kEbnf:
      return {{"type", "grammar"}, {"grammar", content.text}};
    case GrammarKind::kStructuralTag:
      break;
  }
  const Json tag = parse_nested_json(content.text, "the structural tag", kMaxBodyDepth);
  return tag.is_object() && tag.contains("format") ? tag["format"] : tag;
}

}  // namespace

std::optional<GrammarSpec> tool_grammar(const ToolOptions& tools, const ToolChoice& choice,
                                        ToolArgumentsForm arguments,
                                        const std::optional<GrammarSpec>& content) {
  if (tools.format == ToolFormat::kNone || tools.tools == nullptr || choice.mode == Mode::kNone) return {};
  Json calls = Json::array();
  for (const Json& tool : *tools.tools)
    if (choice.mode != Mode::kNamed || tool["function"]["name"] == choice.name)
      calls.push_back(call_tag(tools.format, tool["function"], arguments));
  Json format;
  if (choice.mode != Mode::kAuto)
    format = calls_tag(tools.format, std::move(calls), tools.parallel && choice.mode != Mode::kNamed);
  else if (content)
    format = {{"type", "or"},
              {"elements", Json::array({content_tag(*content),
                                        calls_tag(tools.format, std::move(calls), tools.parallel)})}};
  else
    format = text_with_calls(tools.format, std::move(calls), tools.parallel);
  return GrammarSpec{.kind = GrammarKind::kStructuralTag,
                     .text = Json{{"type", "structural_tag"}, {"format", std::move(format)}}.dump()};
}

}  // namespace latent8
