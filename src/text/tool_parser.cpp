#include "text/tool_parser.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "text/suffix_prefix.h"
#include "text/tool_head.h"
#include "text/white_space.h"

namespace latent8 {
namespace {

using Json = nlohmann::ordered_json;
using Kind = ToolEvent::Kind;

const Json& properties_of(const Json* tools, const std::string& name) {
  static const Json none = nullptr;
  if (tools == nullptr || !tools->is_array()) return none;
  const Json::json_pointer function_name("/function/name"), properties("/function/parameters/properties");
  for (const Json& tool : *tools)
    if (tool.contains(function_name) && tool.at(function_name) == name)
      return tool.contains(properties) ? tool.at(properties) : none;
  return none;
}

}  // namespace

ToolParser::ToolParser(ToolFormat format, std::shared_ptr<const Json> tools, std::size_t max_calls)
    : format_(format), marks_(tool_marks(format)), tools_(std::move(tools)), max_calls_(max_calls) {}

std::vector<ToolEvent> ToolParser::push(std::string_view text) {
  std::vector<ToolEvent> events;
  held_ += text;
  while (advance(events)) {
  }
  return events;
}

std::vector<ToolEvent> ToolParser::finish() {
  std::vector<ToolEvent> events;
  if (state_ == State::kArguments) {
    std::string json;
    arguments_->finish(held_, json);
    add_arguments(std::move(json), events);
    end_call(events);
  } else if (calls_ == 0 || !trimmed(held_).empty()) {
    add_content(std::exchange(held_, ""), events);
  }
  return events;
}

bool ToolParser::advance(std::vector<ToolEvent>& events) {
  switch (state_) {
    case State::kText:
      return advance_text(events);
    case State::kHead:
      return advance_head(events);
    case State::kArguments:
      return advance_arguments(events);
  }
  return false;
}

bool ToolParser::advance_text(std::vector<ToolEvent>& events) {
  if (calls_ >= max_calls_) {
    held_.clear();
    return false;
  }
  std::size_t at = std::string::npos, partial = 0;
  const auto look_for = [&](const std::string& mark) {
    if (mark.empty()) return;
    at = std::min(at, held_.find(mark));
    partial = std::max(partial, longest_suffix_prefix(held_, mark));
  };
  look_for(marks_.section_begin);
  look_for(marks_.call_begin);
  if (in_section_) look_for(marks_.section_end);
  const bool found = at != std::string::npos;
  const std::string_view text = std::string_view(held_).substr(0, found ? at : held_.size() - partial);
  const std::size_t content = text.find_last_not_of(kSpace) + 1;
  add_content(held_.substr(0, content), events);
  held_.erase(0, content);
  if (!found) return false;
  const std::size_t mark = skip_space(held_);
  if (in_section_ && std::string_view(held_).substr(mark).starts_with(marks_.section_end)) {
    held_.erase(0, mark + marks_.section_end.size());
    in_section_ = false;
  } else {
    state_ = State::kHead;
  }
  return true;
}

bool ToolParser::advance_head(std::vector<ToolEvent>& events) {
  ToolHead head = read_tool_head(format_, marks_, held_);
  if (head.is == ToolHead::Is::kMore) return false;
  if (head.is == ToolHead::Is::kNo) {
    // The first mark is text; a call may still follow it.
    const std::size_t begin = skip_space(held_);
    const bool section = !marks_.section_begin.empty() &&
                         std::string_view(held_).substr(begin).starts_with(marks_.section_begin);
    const std::size_t length = begin + (section ? marks_.section_begin : marks_.call_begin).size();
    add_content(held_.substr(0, length), events);
    held_.erase(0, length);
    state_ = State::kText;
    return true;
  }
  held_.erase(0, head.length);
  if (format_ == ToolFormat::kKimiK2 && head.id.empty())
    head.id = fmt::format("functions.{}:{}", head.name, calls_);
  in_section_ = !marks_.section_begin.empty();
  arguments_ = make_tool_arguments(format_, head.in_fence, properties_of(tools_.get(), head.name));
  events.push_back({.kind = Kind::kBegin,
                    .index = calls_,
                    .text = "",
                    .name = std::move(head.name),
                    .id = std::move(head.id)});
  state_ = State::kArguments;
  return true;
}

bool ToolParser::advance_arguments(std::vector<ToolEvent>& events) {
  std::string json;
  const bool ended = arguments_->read(held_, json);
  add_arguments(std::move(json), events);
  if (ended) end_call(events);
  return ended;
}

void ToolParser::add_content(std::string text, std::vector<ToolEvent>& events) const {
  if (!text.empty())
    events.push_back({.kind = Kind::kContent, .index = 0, .text = std::move(text), .name = "", .id = ""});
}

void ToolParser::add_arguments(std::string text, std::vector<ToolEvent>& events) const {
  if (!text.empty())
    events.push_back(
        {.kind = Kind::kArguments, .index = calls_, .text = std::move(text), .name = "", .id = ""});
}

void ToolParser::end_call(std::vector<ToolEvent>& events) {
  events.push_back({.kind = Kind::kEnd, .index = calls_, .text = "", .name = "", .id = ""});
  add_content(arguments_->stray(), events);
  arguments_.reset();
  ++calls_;
  state_ = State::kText;
}

}  // namespace latent8
