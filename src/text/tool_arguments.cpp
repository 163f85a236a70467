#include "text/tool_arguments.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "formats/json.h"
#include "text/suffix_prefix.h"
#include "text/tool_marks.h"
#include "text/white_space.h"

namespace latent8 {
namespace {

using Json = nlohmann::ordered_json;

std::string json_string(std::string_view text) { return json_utf8(Json(text)); }

std::string escaped(std::string_view text) {
  const std::string whole = json_string(text);
  return whole.substr(1, whole.size() - 2);
}

// Arguments that the model writes as JSON: they pass as they are, also where they are no JSON.
class JsonArguments final : public ToolArguments {
 public:
  JsonArguments(ToolMarks marks, bool in_fence) : marks_(std::move(marks)), in_fence_(in_fence) {}

  bool read(std::string& held, std::string& out) override {
    std::size_t end = std::string::npos, partial = 0;
    for (const std::string* mark : ends()) {
      end = std::min(end, held.find(*mark));
      partial = std::max(partial, longest_suffix_prefix(held, *mark));
    }
    const bool ended = end != std::string::npos;
    take(held, ended ? end : held.size() - partial, out);
    if (!ended) return false;
    held.erase(0, held.find('<'));  // what take() left: the end of the fence
    if (held.starts_with(marks_.call_end)) held.erase(0, marks_.call_end.size());
    if (!begun_) out += "{}";
    return true;
  }

  void finish(std::string& held, std::string& out) override {
    take(held, held.size(), out);
    held.clear();
  }

 private:
  // A model may forget the end of a call before the next one, or before the end of all.
  std::array<const std::string*, 3> ends() const {
    return {&marks_.call_end, &marks_.call_begin, &marks_.section_end};
  }

  // Moves held[0, end) to out, without white space around it and without the end of the fence.
  void take(std::string& held, std::size_t end, std::string& out) {
    std::string_view text = without_space_behind(std::string_view(held).substr(0, end));
    if (in_fence_) {
      for (int i = 0; i < 3 && text.ends_with('`'); ++i) text.remove_suffix(1);
      text = without_space_behind(text);
    }
    const std::size_t taken = text.size();
    if (!begun_) text = trimmed(text);
    begun_ |= !text.empty();
    out += text;
    held.erase(0, taken);
  }

  ToolMarks marks_;
  bool in_fence_, begun_ = false;
};

// "string", "number", ... as JSON schema names the type of a value.
std::string_view schema_type(const Json& value) {
  if (value.is_string()) return "string";
  if (value.is_boolean()) return "boolean";
  if (value.is_number_integer()) return "integer";
  if (value.is_number()) return "number";
  if (value.is_array()) return "array";
  return value.is_object() ? "object" : "null";
}

// GLM's pairs of keys and values. A value whose schema says string is one as it stands; others are JSON, or
// strings where they are none.
class TaggedArguments final : public ToolArguments {
 public:
  TaggedArguments(ToolMarks marks, const Json& properties)
      : marks_(std::move(marks)), properties_(properties) {}

  bool read(std::string& held, std::string& out) override {
    while (state_ != State::kEnded && advance(held, out)) {
    }
    return state_ == State::kEnded;
  }

  void finish(std::string& held, std::string& out) override {
    if (state_ == State::kBetween) stray_ += held;
    if (state_ == State::kKey) out += separator() + '"' + escaped(held);
    if (state_ == State::kValue) out += is_string_ ? escaped(held) : held;
    held.clear();
  }

  std::string stray() const override { return std::string(trimmed(stray_)); }

 private:
  enum class State { kBetween, kKey, kBeforeValue, kValue, kEnded };

  // One step over held; false: more text is needed.
  bool advance(std::string& held, std::string& out) {
    switch (state_) {
      case State::kBetween:
        return advance_between(held, out);
      case State::kKey: {
        const std::size_t end = held.find(kArgKeyEnd);
        if (end == std::string::npos) return false;
        const std::string key(trimmed(std::string_view(held).substr(0, end)));
        held.erase(0, end + std::string_view(kArgKeyEnd).size());
        out += separator() + json_string(key) + ": ";
        choose_type(key);
        state_ = State::kBeforeValue;
        return true;
      }
      case State::kBeforeValue:
        return advance_to_value(held, out);
      case State::kValue:
        return advance_value(held, out);
      case State::kEnded:
        break;
    }
    return false;
  }

  // At the next key, at the end, or at another call that begins where this one was not ended.
  bool advance_between(std::string& held, std::string& out) {
    std::size_t at = held.find(kArgKey), partial = longest_suffix_prefix(held, kArgKey);
    for (const std::string* mark : {&marks_.call_end, &marks_.call_begin}) {
      at = std::min(at, held.find(*mark));
      partial = std::max(partial, longest_suffix_prefix(held, *mark));
    }
    const bool found = at != std::string::npos;
    const std::size_t passed = found ? at : held.size() - partial;
    stray_ += held.substr(0, passed);
    held.erase(0, passed);
    if (!found) return false;
    if (held.starts_with(kArgKey)) {
      held.erase(0, std::string_view(kArgKey).size());
      state_ = State::kKey;
      return true;
    }
    if (held.starts_with(marks_.call_end)) held.erase(0, marks_.call_end.size());
    out += begun_ ? "}" : "{}";
    state_ = State::kEnded;
    return true;
  }

  bool advance_to_value(std::string& held, std::string& out) {
    const std::size_t begin = held.find_first_not_of(kSpace);
    if (begin == std::string::npos) return false;
    const std::string_view rest = std::string_view(held).substr(begin);
    if (rest.starts_with(kArgValue)) {
      held.erase(0, begin + std::string_view(kArgValue).size());
      if (is_string_) out += '"';
      state_ = State::kValue;
      return true;
    }
    if (std::string_view(kArgValue).starts_with(rest)) return false;
    out += "null";  // a key without a value
    state_ = State::kBetween;
    return true;
  }

  bool advance_value(std::string& held, std::string& out) {
    const std::size_t end = held.find(kArgValueEnd);
    const bool found = end != std::string::npos;
    if (is_string_) {
      const std::size_t safe = found ? end : held.size() - longest_suffix_prefix(held, kArgValueEnd);
      out += escaped(std::string_view(held).substr(0, safe));
      held.erase(0, safe);
    }
    if (!found) return false;
    if (is_string_)
      out += '"';
    else
      out += json_value(std::string_view(held).substr(0, end));
    held.erase(0, held.find(kArgValueEnd) + std::string_view(kArgValueEnd).size());
    state_ = State::kBetween;
    return true;
  }

  std::string separator() { return std::exchange(begun_, true) ? ", " : "{"; }

  void choose_type(const std::string& key) {
    const auto property = properties_.is_object() ? properties_.find(key) : properties_.end();
    const bool has_type =
        property != properties_.end() && property->is_object() && property->contains("type");
    type_ = has_type ? (*property)["type"] : Json(nullptr);
    is_string_ = type_ == "string";
  }

  std::string json_value(std::string_view text) const {
    const std::string value(trimmed(text));
    const Json parsed = Json::parse(value, nullptr, /*allow_exceptions=*/false);
    const std::string_view type = schema_type(parsed);
    const bool fits = !type_.is_array() || std::find(type_.begin(), type_.end(), type) != type_.end() ||
                      (type == "integer" && std::find(type_.begin(), type_.end(), "number") != type_.end());
    return !parsed.is_discarded() && fits ? value : json_string(text);
  }

  ToolMarks marks_;
  const Json& properties_;
  Json type_;  // of the value that is read, as its schema says
  bool is_string_ = false, begun_ = false;
  std::string stray_;
  State state_ = State::kBetween;
};

}  // namespace

std::unique_ptr<ToolArguments> make_tool_arguments(ToolFormat format, bool in_fence, const Json& properties) {
  if (format == ToolFormat::kGlm47) return std::make_unique<TaggedArguments>(tool_marks(format), properties);
  return std::make_unique<JsonArguments>(tool_marks(format), in_fence);
}

}  // namespace latent8
