#include "grammar/json_schema.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "base/error.h"
#include "base/printable.h"
#include "formats/json.h"
#include "formats/nested_json.h"
#include "grammar/repetition.h"
#include "grammar/schema_keywords.h"

namespace latent8 {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kMaxDepth = 64;
// XGrammar's time to compile such an object grows with the cube: 1 s here, 26 s with twice as many.
constexpr std::size_t kMaxCountedProperties = 64;

class SchemaCheck {
 public:
  SchemaCheck(Json& root, std::string where, const PatternCheck& keeps_json, bool plain_json)
      : root_(root), where_(std::move(where)), keeps_json_(keeps_json), plain_json_(plain_json) {}

  void run() {
    visit(root_, "");
    while (!pending_.empty()) {
      const std::string uri = std::move(pending_.back());
      pending_.pop_back();
      if (uri != "#" && seen_.insert(uri).second) visit(place(uri, ""), uri.substr(1));
    }
  }

 private:
  [[noreturn]] void refuse(ErrorCode code, const std::string& path, const std::string& what) const {
    throw_error(code, "{}{}{}: {}", where_, path.empty() ? "" : " at ", printable(path), what);
  }
  [[noreturn]] void unsupported(const std::string& path, const std::string& what) const {
    refuse(ErrorCode::kUnsupported, path, what);
  }
  [[noreturn]] void invalid(const std::string& path, const std::string& what) const {
    refuse(ErrorCode::kInvalidArgument, path, what);
  }

  void visit(Json& schema, const std::string& path) {
    if (schema.is_boolean()) return;
    if (!schema.is_object())
      invalid(path, "a schema (an object, true or false) expected, got " + shown_json(schema));
    check_values(schema, path);
    for (const char* key : {"$defs", "definitions"})
      if (schema.contains(key) && schema[key].is_object()) visit_members(schema[key], path + "/" + key);
    const auto chooser = chooser_of(schema);
    if (chooser != kChoosers.end())
      visit_chosen(schema, *chooser, path);
    else
      visit_typed(schema, path);
  }

  void visit_members(Json& members, const std::string& path) {
    for (auto& [key, member] : members.items()) visit(member, path + "/" + key);
  }

  void check_values(const Json& schema, const std::string& path) const {
    for (const char* key : kNever)
      if (schema.contains(key)) unsupported(path, fmt::format("'{}' cannot be done", key));
    if (schema.contains("uniqueItems") && schema["uniqueItems"] == true)
      unsupported(path, "'uniqueItems' cannot be done");
    for (const SchemaKeyword& keyword : kAssertions)
      if (schema.contains(keyword.name) && !fits(schema[keyword.name], keyword.value))
        invalid(path, fmt::format("'{}': {} expected, got {}", keyword.name, name_of(keyword.value),
                                  shown_json(schema[keyword.name])));
    if (schema.contains("required"))
      for (const Json& name : schema["required"])
        if (!name.is_string()) invalid(path, "'required': a list of texts expected, got " + shown_json(name));
    if (schema.contains("type")) check_type(schema["type"], path);
  }

  void check_type(const Json& type, const std::string& path) const {
    const Json list = type.is_array() ? type : Json::array({type});
    for (const Json& one : list) {
      const bool known =
          one.is_string() && (one == "integer" || one == "number" || one == "string" || one == "boolean" ||
                              one == "null" || one == "array" || one == "object");
      if (!known)
        invalid(path,
                "'type': string, number, integer, boolean, null, array, object or a list of these "
                "expected, got " +
                    shown_json(one));
    }
    if (list.empty()) invalid(path, "'type': at least one type expected, got []");
  }

  // A schema that is read by one keyword.
  void visit_chosen(Json& schema, const std::string& chooser, const std::string& path) {
    const auto alone = [&](const char* key) {
      if (key != chooser && schema.contains(key))
        unsupported(path, fmt::format("'{}' beside '{}' cannot be done", key, chooser));
    };
    for (const char* key : kChoosers) alone(key);
    for (const SchemaKeyword& keyword : kAssertions)
      if (std::string_view(keyword.name) != "format") alone(keyword.name);
    if (chooser == "const" || chooser == "enum") return keep_values_of_type(schema, chooser, path);
    if (chooser == "$ref") {
      alone("type");
      return visit_reference(schema["$ref"], path);
    }
    Json& options = schema[chooser];
    if (!options.is_array() || options.empty())
      invalid(path, fmt::format("'{}': a list of schemas expected, got {}", chooser, shown_json(options)));
    if (chooser == "allOf" && options.size() > 1)
      unsupported(path, fmt::format("'allOf' of {} schemas cannot be done, of one can", options.size()));
    for (std::size_t i = 0; i < options.size(); ++i) {
      const std::string at = fmt::format("{}/{}/{}", path, chooser, i);
      if (schema.contains("type")) give_type(options[i], schema["type"], at);
      visit(options[i], at);
    }
    schema.erase("type");
  }

  // A type beside the options is a type of each.
  void give_type(Json& option, const Json& type, const std::string& path) const {
    if (!option.is_object() || option.contains("$ref") || option.contains("anyOf") ||
        option.contains("oneOf") || option.contains("allOf"))
      unsupported(path,
                  "a 'type' beside a list of schemas cannot be done where one of them is no plain schema");
    if (!option.contains("type")) option["type"] = type;
    if (option["type"] != type)
      unsupported(path, fmt::format("the type {} beside options of the type {} cannot be done",
                                    shown_json(option["type"]), shown_json(type)));
  }

  void keep_values_of_type(Json& schema, const std::string& chooser, const std::string& path) const {
    const Json given = chooser == "const" ? Json::array({schema["const"]}) : schema["enum"];
    if (!given.is_array() || given.empty())
      invalid(path, "'enum': a list of at least one value expected, got " + shown_json(given));
    if (!schema.contains("type")) return;
    const Json types = schema["type"].is_array() ? schema["type"] : Json::array({schema["type"]});
    Json kept = Json::array();
    for (const Json& value : given)
      if (std::any_of(types.begin(), types.end(),
                      [&](const Json& type) { return has_type(value, type.get<std::string>()); }))
        kept.push_back(value);
    if (kept.empty())
      invalid(path, fmt::format("'{}' has no value of the type {}", chooser, shown_json(schema["type"])));
    if (chooser == "enum") schema["enum"] = kept;
    schema.erase("type");
  }

  // What is there is looked at later, so that a chain of references needs no stack.
  void visit_reference(const Json& reference, const std::string& path) {
    std::string uri = reference.is_string() ? reference.get<std::string>() : "";
    for (int hops = 0;; ++hops) {
      if (uri != "#" && !uri.starts_with("#/"))
        unsupported(path, "'$ref': a place in this schema (#/...) expected, got " + shown_json(reference));
      if (!seen_.contains(uri)) pending_.push_back(uri);
      const Json& target = place(uri, path);
      if (!target.is_object() || !target.contains("$ref") || !target["$ref"].is_string()) return;
      if (hops == kMaxDepth)
        invalid(path, fmt::format("'$ref': {} leads back to itself or too far", printable(uri)));
      uri = target["$ref"].get<std::string>();
    }
  }

  Json& place(const std::string& uri, const std::string& path) const {
    Json* at = &root_;
    std::istringstream parts(uri.substr(1));
    for (std::string part; std::getline(parts, part, '/');) {
      if (part.empty()) continue;
      if (!at->is_object() || !at->contains(part))
        invalid(path, fmt::format("'$ref': nothing is at {}", printable(uri)));
      at = &(*at)[part];
    }
    return *at;
  }

  void visit_typed(Json& schema, const std::string& path) {
    const bool typed = schema.contains("type");
    const auto is = [&](const char* type, std::initializer_list<const char*> signs) {
      if (!typed)
        return std::any_of(signs.begin(), signs.end(), [&](auto key) { return schema.contains(key); });
      return schema["type"] == type ||
             (schema["type"].is_array() &&
              std::find(schema["type"].begin(), schema["type"].end(), type) != schema["type"].end());
    };
    const bool object = is("object", {"properties", "additionalProperties", "unevaluatedProperties"});
    const bool array = !(object && !typed) && is("array", {"items", "prefixItems", "unevaluatedItems"});
    if (!typed && !object && !array)
      for (const SchemaKeyword& keyword : kAssertions)
        if (schema.contains(keyword.name) && std::string_view(keyword.name) != "format")
          unsupported(path, fmt::format("'{}' without 'type' cannot be done", keyword.name));
    if (object) visit_object(schema, path);
    if (array) visit_array(schema, path);
    if (typed && is("string", {})) prepare_string(schema, path);
  }

  void visit_object(Json& schema, const std::string& path) {
    for (const char* key : {"properties", "patternProperties"})
      if (schema.contains(key)) visit_members(schema[key], path + "/" + key);
    if (schema.contains("propertyNames") && schema["propertyNames"].is_object() &&
        chooser_of(schema["propertyNames"]) == kChoosers.end())
      schema["propertyNames"]["type"] = "string";
    if ((schema.contains("minProperties") || schema.contains("maxProperties")) &&
        schema.contains("properties") && schema["properties"].size() > kMaxCountedProperties)
      unsupported(
          path,
          fmt::format("'minProperties' and 'maxProperties' beside more than {} properties cannot be done",
                      kMaxCountedProperties));
    for (const char* key : {"propertyNames", "additionalProperties", "unevaluatedProperties"})
      if (schema.contains(key)) visit(schema[key], path + "/" + key);
    if (schema.contains("patternProperties"))
      for (const auto& [pattern, unused] : schema["patternProperties"].items())
        check_given_pattern(pattern, path);
    for (const Json& name : schema.value("required", Json::array()))
      require(schema, name.get<std::string>(), path);
    // In strict mode an object of which nothing is said would have to be empty.
    const bool silent =
        std::none_of(kAssertions.begin(), kAssertions.end(), [&](const SchemaKeyword& keyword) {
          const std::string_view name = keyword.name;
          return schema.contains(keyword.name) && (name.ends_with("roperties") || name == "propertyNames");
        });
    if (silent) schema["additionalProperties"] = true;
  }

  // A required member that "properties" does not name may be anything that the rest allows.
  void require(Json& schema, const std::string& name, const std::string& path) const {
    if (schema.contains("properties") && schema["properties"].contains(name)) return;
    const bool others = schema.contains("patternProperties") || schema.contains("propertyNames");
    const Json allowed =
        schema.contains("additionalProperties") ? schema["additionalProperties"] : Json(true);
    if (others || allowed == false)
      unsupported(path, fmt::format("'required': '{}' is not in 'properties'", printable(name)));
    schema["properties"][name] = allowed;
  }

  void visit_array(Json& schema, const std::string& path) {
    for (const char* key : {"items", "unevaluatedItems"})
      if (schema.contains(key)) visit(schema[key], path + "/" + key);
    if (schema.contains("prefixItems")) {
      Json& prefix = schema["prefixItems"];
      for (std::size_t i = 0; i < prefix.size(); ++i) {
        if (prefix[i] == true) prefix[i] = Json::object();
        visit(prefix[i], fmt::format("{}/prefixItems/{}", path, i));
      }
    } else if (!schema.contains("items") && !schema.contains("unevaluatedItems")) {
      schema["items"] = true;
    }
  }

  void prepare_string(Json& schema, const std::string& path) {
    if (schema.contains("format") && plain_json_) {
      if (const char* pattern = pattern_of_format(schema["format"].get<std::string>())) {
        if (schema.contains("pattern")) unsupported(path, "'pattern' beside 'format' cannot be done");
        schema["pattern"] = pattern;
        schema.erase("format");
      }
    }
    if (schema.contains("pattern")) return check_given_pattern(schema["pattern"].get<std::string>(), path);
    if (schema.contains("format") || !plain_json_) return;
    // Its own strings of a length may have control characters in them, which JSON does not.
    const std::int64_t least = schema.value("minLength", std::int64_t{0});
    if (!schema.contains("maxLength") && least == 0) return;
    std::string most = schema.contains("maxLength") ? schema["maxLength"].dump() : "";
    if (schema.contains("maxLength") && schema["maxLength"] < least)
      invalid(path, fmt::format("'maxLength' {} is below 'minLength' {}", most, least));
    const std::string pattern = fmt::format("^[^\"\\\\\\x00-\\x1f]{{{},{}}}$", least, most);
    check_pattern(pattern, path);
    schema["pattern"] = pattern;
    schema.erase("minLength");
    schema.erase("maxLength");
  }

  // Outside printable ASCII, XGrammar's expressions in JSON strings do not keep to JSON's escapes.
  void check_pattern(const std::string& pattern, const std::string& path) {
    if (std::any_of(pattern.begin(), pattern.end(), [](char c) { return c < 0x20 || c > 0x7e; }))
      unsupported(path, "a pattern of printable ASCII characters expected (others as \\uXXXX), got " +
                            shown_json(Json(pattern)));
    const std::string where =
        fmt::format("{}{}{}: the patterns", where_, path.empty() ? "" : " at ", printable(path));
    expanded_ = check_repetitions(pattern, Repetitions::kRegex, where, expanded_);
  }

  void check_given_pattern(const std::string& pattern, const std::string& path) {
    check_pattern(pattern, path);
    if (plain_json_ && !keeps_json_(pattern))
      unsupported(
          path, "a pattern whose strings need no escapes in JSON expected, got " + shown_json(Json(pattern)));
  }

  Json& root_;
  std::string where_;
  const PatternCheck& keeps_json_;
  bool plain_json_;                   // strings are JSON's, not the text between XML tags
  double expanded_ = 0.0;             // elements that repetition counts add in all patterns
  std::set<std::string> seen_;        // places that references name and that have been visited
  std::vector<std::string> pending_;  // and that have not
};

void check_tag(Json& tag, const PatternCheck& keeps_json) {
  if (tag.is_structured())
    for (Json& part : tag) check_tag(part, keeps_json);
  if (!tag.is_object() || !tag.contains("type")) return;
  const auto text = [&](const char* key) -> std::string {
    return tag.contains(key) && tag[key].is_string() ? tag[key].get<std::string>() : "";
  };
  if (tag["type"] == "json_schema" && tag.contains("json_schema")) {
    SchemaCheck(tag["json_schema"], "a schema of the structural tag", keeps_json,
                tag.value("style", Json("json")) == "json")
        .run();
    if (!tag.contains("max_whitespace_cnt")) tag["max_whitespace_cnt"] = kMaxWhiteSpace;
  }
  if (tag["type"] == "regex")
    check_repetitions(text("pattern"), Repetitions::kRegex, "an expression of the structural tag", 0.0,
                      kMaxExpandedAlone);
  if (tag["type"] == "grammar")
    check_repetitions(text("grammar"), Repetitions::kEbnf, "a grammar of the structural tag");
}

}  // namespace

std::string checked_json_schema(std::string_view text, const std::string& where,
                                const PatternCheck& keeps_json) {
  Json schema = parse_nested_json(text, where, kMaxDepth);
  SchemaCheck(schema, where, keeps_json, /*plain_json=*/true).run();
  return schema.dump();
}

std::string checked_structural_tag(std::string_view text, const PatternCheck& keeps_json) {
  Json tag = parse_nested_json(text, "the structural tag", kMaxDepth);
  check_tag(tag, keeps_json);
  return tag.dump();
}

}  // namespace latent8
